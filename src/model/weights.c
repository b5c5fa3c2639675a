#include "model/weights_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *tr_module_name(tr_module m)
{
    static const char *const name[] = { "transformer", "controlnet", "vae", "text_encoder", "text_encoder_2", "text_encoder_3" };
    TR_ASSERT((int)m >= 0 && (size_t)m < sizeof name / sizeof name[0]);
    return name[m];
}

/* ---- making ---------------------------------------------------------------------------------------------- */

tress_status tr_weights_grow(void *p, int n, int *cap, size_t size)
{
    if (n < *cap) return TRESS_OK;
    void *old = NULL;
    memcpy(&old, p, sizeof old);                                          /* p is the address of a pointer of any type */
    const int want = *cap ? 2 * *cap : 64;
    const tress_status st = tr_realloc(&old, (size_t)*cap * size, (size_t)want * size);
    if (st != TRESS_OK) return st;
    memcpy(p, &old, sizeof old);
    *cap = want;
    return TRESS_OK;
}

tress_status tr_weights_own(tr_weights *w, void **out, size_t n)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    TR_TRY(tr_weights_grow(&w->own, w->n_own, &w->cap_own, sizeof *w->own));
    TR_TRY(tr_alloc_raw(&p, n));
    w->own[w->n_own++] = p;
    *out = p;
done:
    return st;
}

tress_status tr_weights_add(tr_weights *w, const char *name, const char *source, const char *file, tr_tensor t)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_grow(&w->item, w->n_item, &w->cap_item, sizeof *w->item));
    tr_weight *i = &w->item[w->n_item];
    *i = (tr_weight){ .source = source, .file = file, .t = t };
    const size_t align = tr_dtype_size(t.dtype);
    if ((uintptr_t)t.data % align != 0) {                                 /* a writer that did not pad its header */
        void *copy = NULL;
        const size_t n = (size_t)tr_count(t) * align;
        TR_TRY(tr_weights_own(w, &copy, n));
        memcpy(copy, t.data, n);
        i->t.data = copy;
    }
    TR_TRY(tr_strdup(&i->name, name));
    w->n_item++;
done:
    return st;
}

static int by_name(const void *a, const void *b)
{
    const tr_weight *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;                                             /* FNV-1a */
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 16777619u;
    return h;
}

tress_status tr_weights_index(tr_weights *w)
{
    tress_status st = TRESS_OK;
    if (w->n_item > 0) qsort(w->item, (size_t)w->n_item, sizeof *w->item, by_name);
    for (int i = 1; i < w->n_item; i++) {
        const tr_weight *a = &w->item[i - 1], *b = &w->item[i];
        if (strcmp(a->name, b->name) == 0)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "tensor %s is there twice: %s in %s and %s in %s", a->name, a->source, a->file, b->source, b->file));
    }
    uint32_t n = 64;
    while (n < 2 * (uint32_t)w->n_item) n *= 2;
    tr_free(w->slot);
    w->slot = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc_array(&p, n, sizeof *w->slot));
    w->slot = p;
    w->n_slot = n;
    for (int i = 0; i < w->n_item; i++) {
        uint32_t k = hash(w->item[i].name) & (n - 1);
        while (w->slot[k]) k = (k + 1) & (n - 1);
        w->slot[k] = i + 1;
    }
done:
    return st;
}

/* A CLIP-L of an original file is used without projection (the vendor, ComfyUI and diffusers' single-file loader agree), which
 * diffusers' folder says with an identity matrix: so say we. */
static tress_status add_identity(tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor norm;
    void *p = NULL;
    if (!tr_weights_find(w, "text_model.final_layer_norm.weight", &norm) || norm.rank != 1) return TRESS_OK;   /* the model's own look-up says more */
    const int64_t d = norm.shape[0];
    size_t n = 0;
    TR_TRY(tr_bytes(&n, TR_F32, TR_DIMS(d, d)));
    TR_TRY(tr_weights_own(w, &p, n));
    memset(p, 0, n);
    for (int64_t i = 0; i < d; i++) ((float *)p)[i * d + i] = 1;
    TR_TRY(tr_weights_add(w, "text_projection.weight", "(identity)", w->item[0].file, tr_view(p, TR_F32, TR_DIMS(d, d))));
    TR_TRY(tr_weights_index(w));
done:
    return st;
}

static tress_status open_weights(tr_weights **out, const char *path, tr_module module, const char *variant, bool optional)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    char *beside = NULL;
    void *p = NULL;
    bool absent = false;
    TR_TRY(tr_alloc(&p, sizeof *w));
    w = p;
    w->module = module;
    TR_TRY(tr_weights_find_files(w, path, variant));
    TR_TRY(tr_weights_map(w, &absent));
    if (absent && !tr_dir_exists(path)) TR_TRY(tr_weights_find_beside(&beside, path, module));
    if (beside) {
        tr_safetensors_close(w->file[0]);                                 /* an original file: there is only this one, and no config */
        w->n_file = 0;
        TR_TRY(tr_weights_add_file(w, beside));
        tr_free(w->where);
        w->where = beside;
        beside = NULL;
        TR_TRY(tr_weights_map(w, &absent));
    }
    if (absent && optional) {
        *out = NULL;
        goto done;
    }
    if (absent) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: no %s in it: its tensors are named like %s", w->where, tr_module_name(module),
                               tr_safetensors_count(w->file[0]) > 0 ? tr_safetensors_name(w->file[0], 0) : "nothing"));
    TR_TRY(tr_weights_index(w));
    if (module == TR_MODULE_CLIP_L && !tr_weights_find(w, "text_projection.weight", &(tr_tensor){ 0 })) TR_TRY(add_identity(w));
    *out = w;
    w = NULL;
done:
    tr_free(beside);
    tr_weights_close(w);
    return st;
}

tress_status tr_weights_open(tr_weights **out, const char *path, tr_module module, const char *variant)
{
    return open_weights(out, path, module, variant, false);
}

tress_status tr_weights_open_optional(tr_weights **out, const char *path, tr_module module, const char *variant)
{
    return open_weights(out, path, module, variant, true);
}

tress_status tr_weights_holds(bool *out, const char *path, tr_module module)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    char *sub = NULL, *beside = NULL;
    void *p = NULL;
    bool holds = false;
    if (tr_dir_exists(path)) {
        tr_module m = module;
        TR_TRY(tr_path_join(&sub, path, tr_module_name(module)));
        holds = tr_dir_exists(sub);
        if (!holds) {
            TR_TRY(tr_weights_folder_module(&m, &holds, path));
            holds = holds && m == module;
        }
    } else {
        TR_TRY(tr_alloc(&p, sizeof *w));
        w = p;
        w->module = module;
        TR_TRY(tr_weights_add_file(w, path));
        holds = tr_weights_is_here(w);
        if (!holds) TR_TRY(tr_weights_find_beside(&beside, path, module));
        holds = holds || beside;
    }
    *out = holds;
done:
    tr_free(sub);
    tr_free(beside);
    tr_weights_close(w);
    return st;
}

tress_status tr_weights_shapes_only(tr_weights **out, tr_dtype t)
{
    TR_ASSERT(tr_dtype_is_float(t));
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *w));
    w = p;
    w->shapes_only = true;
    w->shapes_dtype = t;
    TR_TRY(tr_strdup(&w->where, "shapes only"));
    *out = w;
    w = NULL;
done:
    tr_weights_close(w);
    return st;
}

void tr_weights_close(tr_weights *w)
{
    if (!w) return;
    tr_weights_unplace(w);
    for (int i = 0; i < w->n_item; i++) tr_free(w->item[i].name);
    for (int i = 0; i < w->n_own; i++) tr_free(w->own[i]);
    for (int i = 0; i < w->n_note; i++) tr_free(w->note[i]);
    for (int i = 0; i < w->n_file; i++) tr_safetensors_close(w->file[i]);
    for (int i = 0; i < w->n_old; i++) munmap(w->zeros_old[i], w->n_zeros_old[i]);
    if (w->zeros) munmap(w->zeros, w->n_zeros);
    if (w->config) json_decref(w->config);
    tr_free(w->item);
    tr_free(w->slot);
    tr_free(w->own);
    tr_free(w->note);
    tr_free(w->file);
    tr_free(w->zeros_old);
    tr_free(w->n_zeros_old);
    tr_free(w->where);
    tr_free(w);
}

/* ---- looking up ------------------------------------------------------------------------------------------ */

const json_t *tr_weights_config(const tr_weights *w) { return w->config; }
const char *tr_weights_where(const tr_weights *w) { return w->where; }
tr_module tr_weights_module(const tr_weights *w) { return w->module; }
tr_layout tr_weights_layout(const tr_weights *w) { return w->layout; }
int tr_weights_count(const tr_weights *w) { return w->n_item; }
int64_t tr_weights_bytes(const tr_weights *w) { return w->bytes; }
int tr_weights_note_count(const tr_weights *w) { return w->n_note; }

const char *tr_weights_name(const tr_weights *w, int i)
{
    TR_ASSERT(i >= 0 && i < w->n_item);
    return w->item[i].name;
}

tr_tensor tr_weights_at(const tr_weights *w, int i)
{
    TR_ASSERT(i >= 0 && i < w->n_item);
    return w->item[i].t;
}

const char *tr_weights_note(const tr_weights *w, int i)
{
    TR_ASSERT(i >= 0 && i < w->n_note);
    return w->note[i];
}

static tr_weight *find(const tr_weights *w, const char *name)
{
    if (!w->slot) return NULL;
    for (uint32_t k = hash(name) & (w->n_slot - 1); w->slot[k]; k = (k + 1) & (w->n_slot - 1)) {
        tr_weight *i = &w->item[w->slot[k] - 1];
        if (strcmp(i->name, name) == 0) return i;
    }
    return NULL;
}

bool tr_weights_find(const tr_weights *w, const char *name, tr_tensor *out)
{
    const tr_weight *i = find(w, name);
    if (i) *out = i->t;
    return i != NULL;
}

/* One range of zero pages as large as the largest tensor asked for: reading it touches no memory of its own. */
static tress_status give_shape(tr_weights *w, tr_tensor *out, tr_dims d, int group)
{
    tress_status st = TRESS_OK;
    size_t n = 0;
    for (int i = 0; i < d.rank; i++)
        if (d.n[i] < 0) d.n[i] = 1;
    if (w->random) return tr_weights_draw(w, out, d, group);
    TR_TRY(tr_bytes(&n, w->shapes_dtype, d));
    if (n + 64 > w->n_zeros) {
        if (w->zeros) {
            int cap = w->cap_old;
            TR_TRY(tr_weights_grow(&w->zeros_old, w->n_old, &cap, sizeof *w->zeros_old));
            cap = w->cap_old;
            TR_TRY(tr_weights_grow(&w->n_zeros_old, w->n_old, &cap, sizeof *w->n_zeros_old));
            w->cap_old = cap;
        }
        const size_t want = 2 * n > ((size_t)1 << 30) ? 2 * n : (size_t)1 << 30;
        void *p = mmap(NULL, want, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) TR_TRY(tr_fail(TRESS_E_OOM, "no room for a range of %zu bytes that stands for weights", want));
        if (w->zeros) {
            w->zeros_old[w->n_old] = w->zeros;
            w->n_zeros_old[w->n_old++] = w->n_zeros;
        }
        w->zeros = p;
        w->n_zeros = want;
    }
    w->bytes += (int64_t)n;
    *out = tr_view(w->zeros, w->shapes_dtype, d);
    if (w->stream) TR_TRY(tr_weights_copy(w, out, *out, group));
done:
    return st;
}

static void dims_text(char buf[TR_DIMS_TEXT], tr_dims d)
{
    int at = snprintf(buf, TR_DIMS_TEXT, "[");
    for (int i = 0; i < d.rank; i++) {
        if (d.n[i] < 0) at += snprintf(buf + at, TR_DIMS_TEXT - (size_t)at, "%sany", i ? ", " : "");
        else at += snprintf(buf + at, TR_DIMS_TEXT - (size_t)at, "%s%" PRId64, i ? ", " : "", d.n[i]);
    }
    snprintf(buf + at, TR_DIMS_TEXT - (size_t)at, "]");
}

static tress_status get(tr_weights *w, tr_tensor *out, tr_dims d, bool optional, const char *format, va_list ap)
{
    char name[TR_NAME_MAX], want[TR_DIMS_TEXT], found[TR_DIMS_TEXT], also[TR_NAME_MAX + 16] = "";
    const int len = vsnprintf(name, sizeof name, format, ap);
    TR_ASSERT(len >= 0 && (size_t)len < sizeof name);
    if (w->shapes_only) return give_shape(w, out, d, tr_weights_group_of(name));
    tr_weight *i = find(w, name);
    if (!i && optional) return *out = tr_none(), TRESS_OK;
    dims_text(want, d);
    if (!i) return tr_fail(TRESS_E_FORMAT, "%s: tensor %s is missing, expected %s", w->where, name, want);
    if (strcmp(i->name, i->source) != 0) snprintf(also, sizeof also, " (from %s)", i->source);
    tr_dims_text(found, i->t.rank, i->t.shape);
    bool fits = i->t.rank == d.rank;
    for (int k = 0; fits && k < d.rank; k++) fits = d.n[k] < 0 ? i->t.shape[k] > 0 : i->t.shape[k] == d.n[k];
    if (!fits) return tr_fail(TRESS_E_SHAPE, "%s: tensor %s%s: found %s, expected %s", i->file, name, also, found, want);
    if (i->t.dtype > TR_F8_E4M3)
        return tr_fail(TRESS_E_FORMAT, "%s: tensor %s%s: found type %s, expected F32, F16, BF16 or F8_E4M3", i->file, name, also, tr_dtype_name(i->t.dtype));
    if (!i->used && w->stream) {
        i->group = i->t.rank < 2 ? -1 : tr_weights_group_of(name);
        const tress_status st = tr_weights_copy(w, &i->placed, i->t, i->group);
        if (st != TRESS_OK) return tr_note(st, "%s: tensor %s", i->file, name);
    }
    const tr_tensor t = w->stream ? i->placed : i->t;
    if (!i->used) w->bytes += tr_count(t) * (int64_t)tr_dtype_size(t.dtype);
    i->used = true;
    *out = t;
    return TRESS_OK;
}

tress_status tr_weights_get(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const tress_status st = get(w, out, d, false, format, ap);
    va_end(ap);
    return st;
}

tress_status tr_weights_get_optional(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const tress_status st = get(w, out, d, true, format, ap);
    va_end(ap);
    return st;
}

float tr_weights_value(tr_tensor t, int64_t i)
{
    const uint8_t *p = (const uint8_t *)t.data + (size_t)i * tr_dtype_size(t.dtype);
    float f;
    uint16_t h;
    switch (t.dtype) {
    case TR_F32: memcpy(&f, p, sizeof f); return f;
    case TR_F16: memcpy(&h, p, sizeof h); return tr_f16_to_f32(h);
    case TR_BF16: memcpy(&h, p, sizeof h); return tr_bf16_to_f32(h);
    case TR_F8_E4M3: return tr_f8e4m3_to_f32(*p);
    default: TR_ASSERT(!"a float type of weights"); return 0;
    }
}
