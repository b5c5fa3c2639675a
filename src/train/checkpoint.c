#include "train/checkpoint.h"

#include "train/say_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tr_checkpoint {
    tr_safetensors *file;
};

/* ---- the digest -------------------------------------------------------------------------------------------- */
/* Over the metadata but the digest itself, sorted by key, then each tensor, sorted by name. Every text and number goes in with its
 * length or width, so that nothing can move from one field into the next. */
typedef struct text_pair { const char *key, *value; } text_pair;

static int by_key(const void *a, const void *b) { return strcmp(((const text_pair *)a)->key, ((const text_pair *)b)->key); }
static int by_name(const void *a, const void *b) { return strcmp(((const tr_named *)a)->name, ((const tr_named *)b)->name); }

static tress_status add_number(tr_sha256 *h, uint64_t v)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(v >> 8 * i);
    return tr_sha256_add(h, b, sizeof b);
}

static tress_status add_text(tr_sha256 *h, const char *s)
{
    tress_status st = add_number(h, strlen(s));
    return st == TRESS_OK ? tr_sha256_add(h, s, strlen(s)) : st;
}

/* Sorts both lists. */
static tress_status digest(char hex[65], text_pair *meta, int n_meta, tr_named *list, int n)
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    if (n_meta > 1) qsort(meta, (size_t)n_meta, sizeof *meta, by_key);
    if (n > 1) qsort(list, (size_t)n, sizeof *list, by_name);
    TR_TRY(tr_sha256_new(&h));
    TR_TRY(add_number(h, (uint64_t)n_meta));
    for (int i = 0; i < n_meta; i++) {
        TR_TRY(add_text(h, meta[i].key));
        TR_TRY(add_text(h, meta[i].value));
    }
    TR_TRY(add_number(h, (uint64_t)n));
    for (int i = 0; i < n; i++) {
        const tr_tensor t = list[i].t;
        TR_TRY(add_text(h, list[i].name));
        TR_TRY(add_text(h, tr_dtype_name(t.dtype)));
        TR_TRY(add_number(h, (uint64_t)t.rank));
        for (int k = 0; k < t.rank; k++) TR_TRY(add_number(h, (uint64_t)t.shape[k]));
        const size_t bytes = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
        if (bytes) TR_TRY(tr_sha256_add(h, t.data, bytes));
    }
    TR_TRY(tr_sha256_hex(h, hex));
done:
    tr_sha256_free(h);
    return st;
}

static tress_status digest_file(char hex[65], const tr_safetensors *f)
{
    tress_status st = TRESS_OK;
    void *meta = NULL, *list = NULL;
    const int n_all = tr_safetensors_meta_count(f), n = tr_safetensors_count(f);
    int n_meta = 0;
    TR_TRY(tr_alloc_array(&meta, n_all, sizeof(text_pair)));
    TR_TRY(tr_alloc_array(&list, n, sizeof(tr_named)));
    for (int i = 0; i < n_all; i++) {
        text_pair p = { 0 };
        tr_safetensors_meta_at(f, i, &p.key, &p.value);
        if (strcmp(p.key, TR_CHECKPOINT_DIGEST) != 0) ((text_pair *)meta)[n_meta++] = p;
    }
    for (int i = 0; i < n; i++) ((tr_named *)list)[i] = (tr_named){ tr_safetensors_name(f, i), tr_safetensors_at(f, i) };
    TR_TRY(digest(hex, meta, n_meta, list, n));
done:
    tr_free(meta);
    tr_free(list);
    return st;
}

/* ---- values ------------------------------------------------------------------------------------------------ */
/* The first element that is NaN or infinite, or -1: one whose exponent bits are all set. */
static int64_t find_nonfinite(tr_tensor t)
{
    const int64_t n = tr_count(t);
    const char *p = t.data;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        float x;
        double y;
        bool ok = true;
        switch (t.dtype) {
        case TR_F32: memcpy(&x, p + 4 * i, 4); ok = isfinite(x); break;
        case TR_F64: memcpy(&y, p + 8 * i, 8); ok = isfinite(y); break;
        case TR_F16: memcpy(&h, p + 2 * i, 2); ok = (h & 0x7c00) != 0x7c00; break;
        case TR_BF16: memcpy(&h, p + 2 * i, 2); ok = (h & 0x7f80) != 0x7f80; break;
        case TR_F8_E4M3: ok = (p[i] & 0x7f) != 0x7f; break;
        case TR_F8_E5M2: ok = (p[i] & 0x7c) != 0x7c; break;
        default: return -1;
        }
        if (!ok) return i;
    }
    return -1;
}

/* ---- out --------------------------------------------------------------------------------------------------- */
/* What was written reads back as what was meant. */
static tress_status check_written(void *self, const char *temp)
{
    tress_status st = TRESS_OK;
    const char *want = self;
    char got[65] = "";
    tr_safetensors *f = NULL;
    TR_TRY(tr_safetensors_open(&f, temp));
    const char *said = tr_safetensors_meta(f, TR_CHECKPOINT_DIGEST);
    TR_TRY(digest_file(got, f));
    if (!said || strcmp(said, want) != 0 || strcmp(got, want) != 0)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s does not read back as it was written", temp));
done:
    tr_safetensors_close(f);
    return st;
}

tress_status tr_checkpoint_save(const char *path, const tr_named *list, int n, const char *const *meta)
{
    tress_status st = TRESS_OK;
    void *pairs = NULL, *sorted = NULL, *flat = NULL;
    char hex[65] = "";
    int n_meta = 0;
    for (int i = 0; i < n; i++) {
        TR_ASSERT(tr_is_contiguous(list[i].t));
        const int64_t bad = find_nonfinite(list[i].t);
        if (bad >= 0)
            TR_TRY(tr_fail(TRESS_E_NONFINITE, "%s is not written: tensor %s holds NaN or infinity at element %" PRId64, path,
                           list[i].name, bad));
    }
    while (meta && meta[2 * n_meta]) n_meta++;
    TR_TRY(tr_alloc_array(&pairs, n_meta, sizeof(text_pair)));
    TR_TRY(tr_alloc_array(&sorted, n, sizeof(tr_named)));
    TR_TRY(tr_alloc_array(&flat, 2 * (int64_t)n_meta + 3, sizeof(char *)));
    text_pair *p = pairs;
    const char **all = flat;
    for (int i = 0; i < n_meta; i++) {
        p[i] = (text_pair){ meta[2 * i], meta[2 * i + 1] };
        TR_ASSERT(p[i].value && strcmp(p[i].key, TR_CHECKPOINT_DIGEST) != 0);
    }
    if (n) memcpy(sorted, list, (size_t)n * sizeof *list);
    TR_TRY(digest(hex, p, n_meta, sorted, n));
    for (int i = 0; i < n_meta; i++) {
        if (i && strcmp(p[i - 1].key, p[i].key) == 0)
            TR_TRY(tr_fail(TRESS_E_ARG, "metadata %s is to be written twice", p[i].key));
        all[2 * i] = p[i].key;
        all[2 * i + 1] = p[i].value;
    }
    all[2 * n_meta] = TR_CHECKPOINT_DIGEST;
    all[2 * n_meta + 1] = hex;
    TR_TRY(tr_safetensors_write_checked(path, list, n, all, check_written, hex));
done:
    tr_free(pairs);
    tr_free(sorted);
    tr_free(flat);
    return st;
}

/* ---- in ---------------------------------------------------------------------------------------------------- */
tress_status tr_checkpoint_open(tr_checkpoint **out, const char *path)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_checkpoint *c = NULL;
    char got[65] = "";
    TR_TRY(tr_alloc(&p, sizeof *c));
    c = p;
    TR_TRY(tr_safetensors_open(&c->file, path));
    const char *want = tr_safetensors_meta(c->file, TR_CHECKPOINT_DIGEST);
    if (!want) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: is no checkpoint: its metadata has no %s", path, TR_CHECKPOINT_DIGEST));
    TR_TRY(digest_file(got, c->file));
    if (strcmp(got, want) != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: is damaged: its digest does not match", path));
    *out = c;
    c = NULL;
done:
    tr_checkpoint_close(c);
    return st;
}

void tr_checkpoint_close(tr_checkpoint *c)
{
    if (!c) return;
    tr_safetensors_close(c->file);
    tr_free(c);
}

const char *tr_checkpoint_file(const tr_checkpoint *c) { return tr_safetensors_path(c->file); }
const char *tr_checkpoint_meta(const tr_checkpoint *c, const char *key) { return tr_safetensors_meta(c->file, key); }
bool tr_checkpoint_has(const tr_checkpoint *c, const char *name) { return tr_safetensors_find(c->file, name, NULL); }
int tr_checkpoint_count(const tr_checkpoint *c) { return tr_safetensors_count(c->file); }

tress_status tr_checkpoint_read(const tr_checkpoint *c, const char *name, tr_tensor out)
{
    const char *path = tr_checkpoint_file(c);
    tr_tensor t = tr_none();
    tr_dims d = { .rank = out.rank };
    TR_ASSERT(tr_is_contiguous(out));
    memcpy(d.n, out.shape, sizeof d.n);
    if (!tr_safetensors_find(c->file, name, &t)) return tr_fail(TRESS_E_FORMAT, "%s: has no tensor %s", path, name);
    if (t.dtype != out.dtype)
        return tr_fail(TRESS_E_FORMAT, "%s: tensor %s is %s, expected %s", path, name, tr_dtype_name(t.dtype),
                       tr_dtype_name(out.dtype));
    if (!tr_has_dims(t, d)) {
        char got[TR_DIMS_TEXT], want[TR_DIMS_TEXT];
        return tr_fail(TRESS_E_SHAPE, "%s: tensor %s is %s, expected %s", path, name, tr_dims_text(got, t.rank, t.shape),
                       tr_dims_text(want, d.rank, d.n));
    }
    const int64_t bad = find_nonfinite(t);          /* ours never are; a file made by others may be */
    if (bad >= 0) return tr_fail(TRESS_E_FORMAT, "%s: tensor %s holds NaN or infinity at element %" PRId64, path, name, bad);
    const size_t bytes = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
    if (bytes) memcpy(out.data, t.data, bytes);
    return TRESS_OK;
}

tress_status tr_checkpoint_int(const tr_checkpoint *c, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const char *path = tr_checkpoint_file(c), *s = tr_checkpoint_meta(c, key);
    if (!s) return tr_fail(TRESS_E_FORMAT, "%s: its metadata has no %s", path, key);
    const char *digit = s + (*s == '-');
    int64_t v = 0;
    bool ok = *digit != 0 && strlen(digit) <= 18;   /* cannot overflow */
    for (const char *p = digit; ok && *p; p++) {
        ok = *p >= '0' && *p <= '9';
        v = v * 10 + (*p - '0');
    }
    if (!ok) return tr_fail(TRESS_E_FORMAT, "%s: %s is \"%.32s\", expected a whole number", path, key, s);
    if (*s == '-') v = -v;
    if (v < min || v > max)
        return tr_fail(TRESS_E_FORMAT, "%s: %s is %" PRId64 ", expected %" PRId64 " to %" PRId64, path, key, v, min, max);
    *out = v;
    return TRESS_OK;
}
