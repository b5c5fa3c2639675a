/* Is everything that a file holds known to the model that was built from it, and finite? */
#include "model/weights_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tensors that real files carry and that do nothing here. */
static bool is_harmless(const tr_weights *w, const char *name)
{
    static const char *const clip[] = { "text_model.embeddings.position_ids", "logit_scale", "attn_mask", "visual_projection.weight" };
    tr_key_match m = { 0 };
    char last[TR_NAME_MAX];
    switch (w->module) {
    case TR_MODULE_TRANSFORMER:
    case TR_MODULE_CONTROLNET: {
        if (strcmp(name, "control_type") == 0) return w->module == TR_MODULE_CONTROLNET;
        /* the text half of the last block is dropped after attention: its query reaches nothing */
        if (!tr_key_fits("transformer_blocks.#.attn.add_q_proj.$", false, name, &m) &&
            !tr_key_fits("transformer_blocks.#.attn.norm_added_q.$", false, name, &m)) return false;
        snprintf(last, sizeof last, "transformer_blocks.%d.attn.to_q.weight", m.index[0] + 1);
        tr_tensor t;
        return !tr_weights_find(w, last, &t);
    }
    case TR_MODULE_CLIP_L:
    case TR_MODULE_CLIP_G:
        for (size_t i = 0; i < sizeof clip / sizeof clip[0]; i++)
            if (strcmp(name, clip[i]) == 0) return true;
        return strncmp(name, "vision_model.", 13) == 0;
    case TR_MODULE_T5:                                                    /* the alias of shared.weight; the decoder of a whole T5 */
        return strcmp(name, "encoder.embed_tokens.weight") == 0 || strcmp(name, "lm_head.weight") == 0 || strncmp(name, "decoder.", 8) == 0;
    case TR_MODULE_VAE:
        return false;
    }
    return false;
}

#define PIECE ((int64_t)1 << 22)                /* bytes scanned as one item of work */

typedef struct scan { const tr_weights *w; const int64_t *first; } scan;    /* first[i]: number of the first piece of tensor i */

/* Whether any of n elements has all exponent bits set, which is NaN or infinity (in F8_E4M3: is NaN). Plain loops over blocks
 * that the compiler turns into vectors: this runs at the speed of memory. */
#define SCAN(name, type, mask, hit)                                                                  \
    static int64_t name(const uint8_t *bytes, int64_t n)                                             \
    {                                                                                                \
        enum { BLOCK = 1024 };                                                                       \
        const type *x = (const type *)(const void *)bytes;                                           \
        for (int64_t i = 0; i < n; i += BLOCK) {                                                     \
            const int64_t m = n - i < BLOCK ? n - i : BLOCK;                                         \
            type bad = 0;                                                                            \
            for (int64_t j = 0; j < m; j++) bad |= (type)((x[i + j] & (mask)) == (hit));             \
            for (int64_t j = 0; bad && j < m; j++)                                                   \
                if ((x[i + j] & (mask)) == (hit)) return i + j;                                      \
        }                                                                                            \
        return -1;                                                                                   \
    }
SCAN(scan_f32, uint32_t, 0x7f800000u, 0x7f800000u)
SCAN(scan_f16, uint16_t, 0x7c00u, 0x7c00u)
SCAN(scan_bf16, uint16_t, 0x7f80u, 0x7f80u)
SCAN(scan_f8, uint8_t, 0x7fu, 0x7fu)

static tress_status scan_piece(void *self, int64_t i, int i_thread)
{
    const scan *s = self;
    int lo = 0, hi = s->w->n_item;                                        /* the tensor: first[lo] <= i < first[lo + 1] */
    while (hi - lo > 1) {
        const int mid = lo + (hi - lo) / 2;
        if (s->first[mid] <= i) lo = mid;
        else hi = mid;
    }
    const tr_weight *t = &s->w->item[lo];
    const int64_t size = (int64_t)tr_dtype_size(t->t.dtype), from = (i - s->first[lo]) * (PIECE / size);
    const int64_t left = tr_count(t->t) - from, n = left < PIECE / size ? left : PIECE / size;
    const uint8_t *bytes = (const uint8_t *)t->t.data + from * size;
    const int64_t at = t->t.dtype == TR_F32 ? scan_f32(bytes, n) : t->t.dtype == TR_F16 ? scan_f16(bytes, n)
                     : t->t.dtype == TR_BF16 ? scan_bf16(bytes, n) : scan_f8(bytes, n);
    (void)i_thread;
    if (at < 0) return TRESS_OK;
    char dims[TR_DIMS_TEXT];
    return tr_fail(TRESS_E_FORMAT, "%s: tensor %s %s: element %" PRId64 " is %s, expected finite weights", t->file, t->source,
                   tr_dims_text(dims, t->t.rank, t->t.shape), from + at, isnan(tr_weights_value(t->t, from + at)) ? "NaN" : "infinite");
}

tress_status tr_weights_check(tr_weights *w, int n_thread)
{
    tress_status st = TRESS_OK;
    int64_t *first = NULL, n = 0;
    void *p = NULL;
    int unknown = 0;
    const tr_weight *one = NULL;
    if (w->shapes_only) return TRESS_OK;
    for (int i = 0; i < w->n_item; i++)
        if (!w->item[i].used && !is_harmless(w, w->item[i].name) && unknown++ == 0) one = &w->item[i];
    if (unknown > 0) {
        char dims[TR_DIMS_TEXT], more[48] = "";
        if (unknown > 1) snprintf(more, sizeof more, ", nor are %d others", unknown - 1);
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: tensor %s %s %s is no part of this %s%s", one->file, one->source, tr_dtype_name(one->t.dtype),
                       tr_dims_text(dims, one->t.rank, one->t.shape), tr_module_name(w->module), more));
    }
    if (w->stream) {                            /* scanned where it is; the files are read again only to name what is wrong */
        bool bad = false;
        TR_TRY(tr_weights_placed_check(w, &bad));
        if (!bad) {
            TR_TRY(tr_weights_add_notes(w));
            goto done;
        }
    }
    TR_TRY(tr_alloc_array(&p, w->n_item + 1, sizeof *first));
    first = p;
    for (int i = 0; i < w->n_item; i++) {
        first[i] = n;
        if (w->item[i].used) {
            const int64_t size = (int64_t)tr_dtype_size(w->item[i].t.dtype);
            n += (tr_count(w->item[i].t) + PIECE / size - 1) / (PIECE / size);
        }
    }
    first[w->n_item] = n;
    TR_TRY(tr_parallel(n_thread, n, scan_piece, &(scan){ w, first }));
    if (w->stream)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: its values are finite, but not all of them in %s: use --dtype bf16", w->where,
                       tr_dtype_name(tr_device_dtype(tr_stream_device(w->stream)))));
    TR_TRY(tr_weights_add_notes(w));
done:
    tr_free(first);
    return st;
}

tress_status tr_weights_add_note(tr_weights *w, const char *format, ...)
{
    tress_status st = TRESS_OK;
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    TR_TRY(tr_weights_grow(&w->note, w->n_note, &w->cap_note, sizeof *w->note));
    TR_TRY(tr_strdup(&w->note[w->n_note], text));
    w->n_note++;
done:
    return st;
}
