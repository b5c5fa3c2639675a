/* What is known of the released models but could not be read from them here: told, not refused, when a file differs. */
#include "model/weights_int.h"

#include <math.h>

/* The stored buffers of SD3 and SD3.5 (192 and 384 a side) hold coordinates (i - (P - 64) / 2) / 4: docs/formats.md. */
static tress_status note_positions(tr_weights *w)
{
    tr_tensor t;
    if (!tr_weights_find(w, "pos_embed.pos_embed", &t) || t.rank != 3 || (t.shape[1] != 192 * 192 && t.shape[1] != 384 * 384)) return TRESS_OK;
    const int64_t side = t.shape[1] == 192 * 192 ? 192 : 384, d = t.shape[2], q = d / 4;
    for (int64_t r = 0; r < 64; r += 9)
        for (int64_t j = 0; j < q; j += 1 + q / 7) {
            const int64_t c = (r * 5 + 3) % 64, row = ((side - 64) / 2 + r) * side + (side - 64) / 2 + c;
            const double f = pow(10000, -(double)j / (double)q), want = sin((double)c / 4 * f), found = (double)tr_weights_value(t, row * d + j);
            if (!(fabs(found - want) <= 0.02))                            /* bf16 rounds by 0.004 */
                return tr_weights_add_note(w, "%s: pos_embed at row %d, column %d, channel %d is %.4f; the released models have %.4f there: the stored buffer is used",
                                           w->where, (int)r, (int)c, (int)j, found, want);
        }
    return TRESS_OK;
}

static tress_status note_projection(tr_weights *w)
{
    tr_tensor t;
    if (!tr_weights_find(w, "text_projection.weight", &t) || t.rank != 2 || t.shape[0] != 768) return TRESS_OK;      /* the released CLIP-L */
    bool is_identity = t.shape[0] == t.shape[1];
    for (int64_t i = 0; is_identity && i < t.shape[0]; i++)
        for (int64_t j = 0; is_identity && j < t.shape[1]; j++)
            is_identity = tr_weights_value(t, i * t.shape[1] + j) == (i == j ? 1.0f : 0.0f);
    if (is_identity) return TRESS_OK;
    return tr_weights_add_note(w, "%s: text_projection is not the identity that original files imply: it is applied", w->where);
}

static tress_status note_controlnet(tr_weights *w)
{
    static const char *const kind[] = { "blur", "canny", "depth" };
    tress_status st = TRESS_OK;
    tr_tensor t;
    if (tr_weights_find(w, "control_type", &t) && t.dtype == TR_I32 && tr_count(t) == 1) {
        const int32_t *v = t.data;
        if (*v != 1) TR_TRY(tr_weights_add_note(w, "%s: control_type is %d (%s), not 1 (canny)", w->where, (int)*v, *v >= 0 && *v < 3 ? kind[*v] : "unknown"));
    }
    if (tr_weights_find(w, "controlnet_blocks.0.weight", &t) && t.rank == 2 && t.shape[0] == 2432) {      /* the 8B of SD3.5-Large */
        if (tr_weights_find(w, "pos_embed.proj.weight", &t) || tr_weights_find(w, "context_embedder.weight", &t))
            TR_TRY(tr_weights_add_note(w, "%s: has a patch or text embedding of its own; the released 8B nets have none", w->where));
        if (!tr_weights_find(w, "controlnet_blocks.18.weight", &t) || tr_weights_find(w, "controlnet_blocks.19.weight", &t))
            TR_TRY(tr_weights_add_note(w, "%s: has another number of blocks than the 19 of the released 8B nets", w->where));
        if (tr_weights_find(w, "time_text_embed.text_embedder.linear_1.weight", &t) && t.rank == 2 && t.shape[1] != 2048)
            TR_TRY(tr_weights_add_note(w, "%s: pooled width is %" PRId64 "; the released 8B nets have 2048", w->where, t.shape[1]));
    }
done:
    return st;
}

static tress_status note_vae(tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor t;
    if (!w->config) return TRESS_OK;
    /* only of an autoencoder of the released one's size: a small model has its own statistics, and says them */
    if (tr_weights_find(w, "decoder.conv_in.weight", &t) && t.rank == 4 && t.shape[0] == 512 && t.shape[1] == 16) {
        double scale = 0, shift = 0;
        TR_TRY(tr_json_double(&scale, w->config, "scaling_factor", -1e6, 1e6, 0, w->where));
        if (!json_is_null(json_object_get(w->config, "shift_factor")))
            TR_TRY(tr_json_double(&shift, w->config, "shift_factor", -1e6, 1e6, 0, w->where));
        if (fabs(scale - 1.5305) > 1e-6 || fabs(shift - 0.0609) > 1e-6)
            TR_TRY(tr_weights_add_note(w, "%s: scaling_factor %g and shift_factor %g; SD3 and SD3.5 have 1.5305 and 0.0609", w->where, scale, shift));
    }
done:
    return st;
}

tress_status tr_weights_add_notes(tr_weights *w)
{
    switch (w->module) {
    case TR_MODULE_TRANSFORMER: return note_positions(w);
    case TR_MODULE_CONTROLNET: return note_controlnet(w);
    case TR_MODULE_VAE: return note_vae(w);
    case TR_MODULE_CLIP_L: return note_projection(w);
    case TR_MODULE_CLIP_G:
    case TR_MODULE_T5: return TRESS_OK;
    }
    return TRESS_OK;
}
