#include "io/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((uint64_t)16 << 20)
#define DEPTH_MAX  8
#define TENSOR_MAX 65536
#define NAME_MAX_BYTES 256
#define COMMA_MAX  ((size_t)TENSOR_MAX * 12)        /* a tensor of rank 6 has 10 commas in it and one behind it */

typedef struct entry { const char *name; tr_tensor t; size_t begin, end; } entry;
typedef struct pair { const char *key, *value; } pair;

struct tr_safetensors {
    tr_map  map;
    json_t *root;                   /* names and metadata are views into it */
    entry  *entry;                  /* sorted by name */
    pair   *meta;
    int     n_entry, n_meta;
};

#define BAD(...) tr_fail(TRESS_E_FORMAT, __VA_ARGS__)

/* Printable: no control characters, C1 (U+0080 to U+009F) included. jansson has made sure that it is UTF-8. */
static bool is_printable(const char *s)
{
    for (const unsigned char *c = (const unsigned char *)s; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) return false;
    return true;
}

/* What jansson lets pass but a header may not have: negative numbers (-0), a flood of values, odd padding. */
static tress_status check_text(const char *text, size_t n, const char *path)
{
    bool in_string = false;
    size_t n_comma = 0;
    if (n < 2 || text[0] != '{') return BAD("%s: the header does not begin with {", path);
    while (n > 1 && text[n - 1] == ' ') n--;
    if (text[n - 1] != '}') return BAD("%s: the header does not end with } and spaces", path);
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '-') {
            return BAD("%s: the header holds a negative number at byte %zu", path, i + 8);
        } else if (c == ',' && ++n_comma > COMMA_MAX) {
            return BAD("%s: the header holds more than %zu values", path, COMMA_MAX);
        }
    }
    return TRESS_OK;
}

static tress_status read_meta(tr_safetensors *f, json_t *o)
{
    const char *path = f->map.path, *key;
    json_t *v;
    void *p = NULL;
    if (!json_is_object(o)) return BAD("%s: __metadata__ is not an object", path);
    tress_status st = tr_alloc_array(&p, (int64_t)json_object_size(o), sizeof(pair));
    if (st != TRESS_OK) return st;
    f->meta = p;
    json_object_foreach(o, key, v) {
        if (!json_is_string(v)) return BAD("%s: __metadata__ \"%.64s\" is not a string", path, key);
        f->meta[f->n_meta++] = (pair){ key, json_string_value(v) };
    }
    return TRESS_OK;
}

static tress_status read_entry(entry *e, const char *path, const char *name, const json_t *o, size_t n_data, const uint8_t *data)
{
    tr_dims d = { 0 };
    if (!name[0] || strlen(name) > NAME_MAX_BYTES) return BAD("%s: a tensor's name has %zu bytes, expected 1 to %d", path, strlen(name), NAME_MAX_BYTES);
    if (!is_printable(name)) return BAD("%s: a tensor's name holds control characters", path);
    if (!json_is_object(o)) return BAD("%s: tensor %s is not an object", path, name);
    const json_t *dtype = json_object_get(o, "dtype"), *shape = json_object_get(o, "shape"), *offsets = json_object_get(o, "data_offsets");
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) || json_object_size(o) != 3)
        return BAD("%s: tensor %s needs a dtype, a shape, data_offsets and nothing else", path, name);
    tr_dtype t = TR_F32;
    if (!tr_dtype_parse(&t, json_string_value(dtype))) return BAD("%s: tensor %s has the unknown dtype %.32s", path, name, json_string_value(dtype));
    if (json_array_size(shape) > TR_RANK_MAX)
        return BAD("%s: tensor %s has rank %zu, expected at most %d", path, name, json_array_size(shape), TR_RANK_MAX);
    d.rank = (int)json_array_size(shape);
    int64_t span = (int64_t)tr_dtype_size(t);       /* as if no extent were 0: nothing computed from this shape can overflow */
    bool empty = false;
    for (int k = 0; k < d.rank; k++) {
        const json_t *v = json_array_get(shape, (size_t)k);
        d.n[k] = json_integer_value(v);
        if (!json_is_integer(v) || d.n[k] < 0) return BAD("%s: tensor %s has an extent that is not a whole number", path, name);
        if (d.n[k] == 0) empty = true;
        else if (__builtin_mul_overflow(span, d.n[k], &span)) return BAD("%s: tensor %s has a shape beyond 64 bits", path, name);
    }
    if (json_array_size(offsets) != 2) return BAD("%s: tensor %s has %zu data_offsets, expected 2", path, name, json_array_size(offsets));
    const json_t *b = json_array_get(offsets, 0), *z = json_array_get(offsets, 1);
    if (!json_is_integer(b) || !json_is_integer(z)) return BAD("%s: tensor %s has data_offsets that are not whole numbers", path, name);
    const int64_t begin = json_integer_value(b), end = json_integer_value(z);
    if (begin < 0 || end < begin || (uint64_t)end > n_data)
        return BAD("%s: tensor %s lies at %" PRId64 " to %" PRId64 ", expected within 0 to %zu", path, name, begin, end, n_data);
    const int64_t want = empty ? 0 : span;
    if (end - begin != want)
        return BAD("%s: tensor %s has %" PRId64 " bytes, its shape and dtype need %" PRId64, path, name, end - begin, want);
    *e = (entry){ name, tr_view((void *)(uintptr_t)(data + begin), t, d), (size_t)begin, (size_t)end };
    return TRESS_OK;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

static tress_status check_places(tr_safetensors *f, size_t n_data)
{
    size_t at = 0;
    const char *path = f->map.path;
    qsort(f->entry, (size_t)f->n_entry, sizeof(entry), by_place);
    for (int i = 0; i < f->n_entry; i++) {
        const entry *e = &f->entry[i];
        if (e->begin < at) return BAD("%s: tensor %s begins at %zu, inside the one before it, which ends at %zu", path, e->name, e->begin, at);
        if (e->begin > at) return BAD("%s: tensor %s begins at %zu, which leaves a hole after %zu", path, e->name, e->begin, at);
        at = e->end;
    }
    if (at != n_data) return BAD("%s: the tensors end at %zu, the file's data at %zu", path, at, n_data);
    return TRESS_OK;
}

static tress_status read_header(tr_safetensors *f)
{
    const char *path = f->map.path, *key;
    json_t *v;
    void *p = NULL;
    uint64_t n = 0;
    if (f->map.n < 8) return BAD("%s: has %zu bytes, too few for a safetensors file", path, f->map.n);
    for (int i = 7; i >= 0; i--) n = n << 8 | f->map.bytes[i];
    if (n > HEADER_MAX) return BAD("%s: a header of %" PRIu64 " bytes, expected at most %" PRIu64 ": not a safetensors file?", path, n, HEADER_MAX);
    if (n > f->map.n - 8) return BAD("%s: a header of %" PRIu64 " bytes in a file of %zu: it was cut short", path, n, f->map.n);
    const char *text = (const char *)f->map.bytes + 8;
    const size_t n_data = f->map.n - 8 - (size_t)n;
    tress_status st = check_text(text, (size_t)n, path);
    if (st != TRESS_OK) return st;
    if ((st = tr_json_parse(&f->root, text, (size_t)n, DEPTH_MAX, path)) != TRESS_OK) return st;
    if (json_object_size(f->root) > TENSOR_MAX + 1)
        return BAD("%s: %zu tensors, expected at most %d", path, json_object_size(f->root), TENSOR_MAX);
    if ((st = tr_alloc_array(&p, (int64_t)json_object_size(f->root), sizeof(entry))) != TRESS_OK) return st;
    f->entry = p;
    json_object_foreach(f->root, key, v) {
        if (strcmp(key, "__metadata__") == 0) st = read_meta(f, v);
        else st = read_entry(&f->entry[f->n_entry++], path, key, v, n_data, f->map.bytes + 8 + n);
        if (st != TRESS_OK) return st;
    }
    if (f->n_entry > TENSOR_MAX) return BAD("%s: %d tensors, expected at most %d", path, f->n_entry, TENSOR_MAX);
    if ((st = check_places(f, n_data)) != TRESS_OK) return st;
    qsort(f->entry, (size_t)f->n_entry, sizeof(entry), by_name);
    return TRESS_OK;
}

tress_status tr_safetensors_open(tr_safetensors **out, const char *path)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_safetensors *f = NULL;
    TR_TRY(tr_alloc(&p, sizeof *f));
    f = p;
    TR_TRY(tr_map_open(&f->map, path));
    TR_TRY(read_header(f));
    *out = f;
    f = NULL;
done:
    tr_safetensors_close(f);
    return st;
}

void tr_safetensors_close(tr_safetensors *f)
{
    if (!f) return;
    tr_free(f->entry);
    tr_free(f->meta);
    json_decref(f->root);
    tr_map_close(&f->map);
    tr_free(f);
}

const char *tr_safetensors_path(const tr_safetensors *f) { return f->map.path; }
int tr_safetensors_count(const tr_safetensors *f) { return f->n_entry; }

static const entry *at(const tr_safetensors *f, int i)
{
    TR_ASSERT(i >= 0 && i < f->n_entry);
    return &f->entry[i];
}

const char *tr_safetensors_name(const tr_safetensors *f, int i) { return at(f, i)->name; }
tr_tensor tr_safetensors_at(const tr_safetensors *f, int i) { return at(f, i)->t; }

bool tr_safetensors_find(const tr_safetensors *f, const char *name, tr_tensor *out)
{
    const entry key = { .name = name };
    const entry *e = f->n_entry ? bsearch(&key, f->entry, (size_t)f->n_entry, sizeof key, by_name) : NULL;
    if (e && out) *out = e->t;
    return e != NULL;
}

const char *tr_safetensors_meta(const tr_safetensors *f, const char *key)
{
    for (int i = 0; i < f->n_meta; i++)
        if (strcmp(f->meta[i].key, key) == 0) return f->meta[i].value;
    return NULL;
}

int tr_safetensors_meta_count(const tr_safetensors *f) { return f->n_meta; }

void tr_safetensors_meta_at(const tr_safetensors *f, int i, const char **key, const char **value)
{
    TR_ASSERT(i >= 0 && i < f->n_meta);
    *key = f->meta[i].key;
    *value = f->meta[i].value;
}

/* One element at p, which may be unaligned. */
static float load(const char *p, tr_dtype t)
{
    uint16_t h;
    float x;
    double y;
    switch (t) {
    case TR_F32: memcpy(&x, p, 4); return x;
    case TR_F16: memcpy(&h, p, 2); return tr_f16_to_f32(h);
    case TR_BF16: memcpy(&h, p, 2); return tr_bf16_to_f32(h);
    case TR_F8_E4M3: return tr_f8e4m3_to_f32(*(const uint8_t *)p);
    case TR_F8_E5M2: return tr_f16_to_f32((uint16_t)(*(const uint8_t *)p << 8));       /* the upper half of an F16 */
    case TR_F64: memcpy(&y, p, 8); return (float)y;
    default: return NAN;
    }
}

tress_status tr_safetensors_read_f32(const tr_safetensors *f, const char *name, float *out, tr_dims d)
{
    tr_tensor t = tr_none();
    if (!tr_safetensors_find(f, name, &t)) return BAD("%s: has no tensor %s", f->map.path, name);
    if (!tr_has_dims(t, d)) {
        char got[TR_DIMS_TEXT], want[TR_DIMS_TEXT];
        return tr_fail(TRESS_E_SHAPE, "%s: tensor %s is %s, expected %s", f->map.path, name, tr_dims_text(got, t.rank, t.shape),
                       tr_dims_text(want, d.rank, d.n));
    }
    if (!tr_dtype_is_float(t.dtype)) return BAD("%s: tensor %s is %s, expected a float type", f->map.path, name, tr_dtype_name(t.dtype));
    const int64_t n = tr_count(t);
    const size_t size = tr_dtype_size(t.dtype);
    for (int64_t i = 0; i < n; i++) {
        out[i] = load((const char *)t.data + (size_t)i * size, t.dtype);
        if (!isfinite(out[i])) return BAD("%s: tensor %s holds %g at element %" PRId64, f->map.path, name, (double)out[i], i);
    }
    return TRESS_OK;
}

/* ---- out --------------------------------------------------------------------------------------------------- */
/* The reference library's order of dtypes; it writes the last first, so that everything lies aligned. */
static int dtype_rank(tr_dtype t)
{
    static const tr_dtype order[] = { TR_BOOL, TR_U8, TR_I8, TR_F8_E5M2, TR_F8_E4M3, TR_I16, TR_U16, TR_F16, TR_BF16,
                                      TR_I32, TR_U32, TR_F32, TR_F64, TR_I64, TR_U64 };
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (order[i] == t) return i;
    TR_ASSERT(!"a dtype that safetensors knows");
    return -1;
}

typedef struct place { tr_named named; int i; } place;            /* i: where it stood in the caller's list */

static int by_name_alone(const void *a, const void *b) { return strcmp(((const place *)a)->named.name, ((const place *)b)->named.name); }

static int by_dtype_then_name(const void *a, const void *b)
{
    const place *x = a, *y = b;
    const int rx = dtype_rank(x->named.t.dtype), ry = dtype_rank(y->named.t.dtype);
    return rx != ry ? ry - rx : strcmp(x->named.name, y->named.name);
}

/* s as a JSON string, quotes included. */
static tress_status add_string(tr_str *b, const char *s)
{
    json_t *v = json_string(s);                     /* refuses what is not UTF-8 */
    if (!v) return tr_fail(TRESS_E_ARG, "a name or metadata text is not UTF-8");
    char *text = json_dumps(v, JSON_ENCODE_ANY);
    json_decref(v);
    if (!text) return tr_fail(TRESS_E_OOM, "out of memory in JSON");
    tress_status st = tr_str_add(b, text, strlen(text));
    free(text);                                     /* jansson's own */
    return st;
}

static tress_status add_header(tr_str *b, const place *list, int n, const char *const *meta, size_t *n_data)
{
    tress_status st = TRESS_OK;
    const char *comma = "";
    size_t at_byte = 0;
    TR_TRY(tr_str_add(b, "{", 1));
    if (meta && meta[0]) {
        TR_TRY(tr_str_printf(b, "\"__metadata__\":{"));
        for (int i = 0; meta[i] && meta[i + 1]; i += 2) {
            TR_TRY(tr_str_printf(b, "%s", i ? "," : ""));
            TR_TRY(add_string(b, meta[i]));
            TR_TRY(tr_str_printf(b, ":"));
            TR_TRY(add_string(b, meta[i + 1]));
        }
        TR_TRY(tr_str_printf(b, "}"));
        comma = ",";
    }
    for (int i = 0; i < n; i++) {
        const tr_tensor t = list[i].named.t;
        tr_dims d = { .rank = t.rank };
        size_t size = 0;
        memcpy(d.n, t.shape, sizeof d.n);
        TR_TRY(tr_bytes(&size, t.dtype, d));
        TR_TRY(tr_str_printf(b, "%s", comma));
        TR_TRY(add_string(b, list[i].named.name));
        TR_TRY(tr_str_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", tr_dtype_name(t.dtype)));
        for (int k = 0; k < t.rank; k++) TR_TRY(tr_str_printf(b, "%s%" PRId64, k ? "," : "", t.shape[k]));
        TR_TRY(tr_str_printf(b, "],\"data_offsets\":[%zu,%zu]}", at_byte, at_byte + size));
        at_byte += size;
        comma = ",";
    }
    TR_TRY(tr_str_add(b, "}", 1));
    *n_data = at_byte;
    while (b->len % 8) TR_TRY(tr_str_add(b, " ", 1));
    if (b->len > HEADER_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "a header of %zu bytes, more than %" PRIu64, b->len, HEADER_MAX));
done:
    return st;
}

/* fill == NULL: the tensors' own data. */
static tress_status write_file(const char *path, const tr_named *list, int n, const char *const *meta, tr_safetensors_fill fill, void *self,
                               tr_out_check check, void *check_self)
{
    tress_status st = TRESS_OK;
    void *p = NULL, *piece = NULL;
    tr_out *f = NULL;
    size_t n_data = 0;
    tr_str header = { .max = 2 * HEADER_MAX };
    if (n > TENSOR_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "%d tensors, expected at most %d", n, TENSOR_MAX));
    TR_TRY(tr_alloc_array(&p, n, sizeof(place)));
    place *sorted = p;
    for (int i = 0; i < n; i++) {
        sorted[i] = (place){ list[i], i };
        TR_ASSERT(fill || tr_is_contiguous(list[i].t));
        if (!list[i].name[0] || strlen(list[i].name) > NAME_MAX_BYTES || !is_printable(list[i].name) || strcmp(list[i].name, "__metadata__") == 0)
            TR_TRY(tr_fail(TRESS_E_ARG, "\"%.64s\" cannot be the name of a tensor", list[i].name));
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_name_alone);
    for (int i = 1; i < n; i++)
        if (by_name_alone(&sorted[i - 1], &sorted[i]) == 0) TR_TRY(tr_fail(TRESS_E_ARG, "tensor %s is to be written twice", sorted[i].named.name));
    qsort(sorted, (size_t)n, sizeof *sorted, by_dtype_then_name);
    TR_TRY(add_header(&header, sorted, n, meta, &n_data));
    uint8_t size[8];
    for (int i = 0; i < 8; i++) size[i] = (uint8_t)((uint64_t)header.len >> 8 * i);
    TR_TRY(tr_out_open(&f, path));
    TR_TRY(tr_out_reserve(f, sizeof size + header.len + n_data));
    TR_TRY(tr_out_write(f, size, sizeof size));
    TR_TRY(tr_out_write(f, header.s, header.len));
    if (fill) TR_TRY(tr_alloc_raw(&piece, TR_FILL_BYTES));
    for (int i = 0; i < n; i++) {
        const tr_tensor t = sorted[i].named.t;
        const size_t total = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
        if (!fill) TR_TRY(tr_out_write(f, t.data, total));
        for (size_t at_byte = 0; fill && at_byte < total; at_byte += TR_FILL_BYTES) {
            const size_t k = total - at_byte < TR_FILL_BYTES ? total - at_byte : TR_FILL_BYTES;
            TR_TRY(fill(self, sorted[i].i, at_byte, piece, k));
            TR_TRY(tr_out_write(f, piece, k));
        }
    }
    TR_TRY(tr_out_commit_checked(f, check, check_self));
done:
    tr_out_close(f);
    tr_str_fini(&header);
    tr_free(piece);
    tr_free(p);
    return st == TRESS_OK ? st : tr_note(st, "writing %s", path);
}

tress_status tr_safetensors_write(const char *path, const tr_named *list, int n, const char *const *meta)
{
    return write_file(path, list, n, meta, NULL, NULL, NULL, NULL);
}

tress_status tr_safetensors_write_filled(const char *path, const tr_named *list, int n, const char *const *meta, tr_safetensors_fill fill, void *self)
{
    TR_ASSERT(fill);
    return write_file(path, list, n, meta, fill, self, NULL, NULL);
}

tress_status tr_safetensors_write_checked(const char *path, const tr_named *list, int n, const char *const *meta, tr_out_check check, void *self)
{
    return write_file(path, list, n, meta, NULL, NULL, check, self);
}
