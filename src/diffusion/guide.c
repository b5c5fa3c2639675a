#include "diffusion/guide.h"

#include <math.h>

/* Rows of the batch the networks see: first the b of the negative branch, then the b of the words (diffusers' order). */
struct tr_guide {
    tr_guide_args a;
    tr_device *device;
    int        b, h, w;
    bool       cfg;
    int        n_row;                           /* b, or 2 b with guidance */
    int        n_control;                       /* rows the ControlNet runs on: b when both branches see the same */
    tr_tensor  x, v;                            /* [n_row, 16, h, w] */
    tr_tensor  v_skip;                          /* [b, 16, h, w], or none */
    tr_tensor  tokens;                          /* [n_row, t, d] */
    int64_t    n_drawn;                         /* tokens: t, or those of a.row */
    tr_tensor  drawn;                           /* [n_row, n_drawn, d]: those, or none: all are */
    int32_t   *place;                           /* [t] as in tr_mmdit_args, or NULL */
    tr_tensor  control_gate;                    /* [n_drawn, d]: a.control_row across, or none */
    tr_tensor  context, pooled;                 /* [n_row, n, d_context], [n_row, d_pooled] */
    tr_tensor  condition;                       /* [n_control, c, h, w] */
    tr_tensor  control_context;                 /* [n_control, n * repeat, d_context], for a net that reads words */
    tr_tensor  control_pooled;                  /* [n_control, d_pooled] */
    tr_tensor  residual[TR_BLOCK_MAX];          /* [n_row, n_drawn, d] */
    int        n_residual;
    float     *timestep;                        /* [n_row] */
    /* What depends on time and the pooled text alone, of n_window steps from window_begin on. */
    tr_tensor  mods, control_mods;              /* [n_window n_row, width], [n_window n_control, width]; or none */
    int        n_window, window_begin;          /* window_begin < 0: not made yet */
    float     *window_time;                     /* [n_window n_row] */
    tr_tensor  mods_now, control_mods_now;      /* of this step, always at the same place: [n_row, width], [n_control, width] */
    struct way {                                /* steps that queue the same ops */
        int         n_met;
        const void *v, *x;
        tr_record  *record;
    } way[4 << TR_SEE_MAX];                     /* with ControlNet: 1, with the pass that skips blocks: 2, with reference i: 4 << i */
    tr_mmdit_see see[TR_SEE_MAX];               /* of this step */
    int        n_see;
};

#define WINDOW_MAX 32                           /* steps: 160 MB for SD3.5-Large in 16 bits, both branches */

static tress_status take(tr_guide *g, tr_tensor *out, tr_dims d) { return tr_device_take(g->device, out, tr_device_dtype(g->device), d); }

/* from [1 or b, ...] into rows begin..begin+b-1 of `to`. */
static tress_status spread(tr_stream *s, tr_tensor to, int64_t begin, int64_t b, tr_tensor from)
{
    tress_status st = TRESS_OK;
    for (int64_t i = 0; i < b; i++)
        TR_TRY(tr_copy(s, tr_slice(to, 0, begin + i, 1), tr_slice(from, 0, from.shape[0] == 1 ? 0 : i, 1)));
done:
    return st;
}

static bool fits(tr_tensor t, int rank, int64_t b, int64_t last)
{
    return !tr_is_none(t) && t.rank == rank && (t.shape[0] == 1 || t.shape[0] == b) && t.shape[rank - 1] == last;
}

static tress_status check_words(const tr_guide *g, tr_tensor context, tr_tensor pooled, const char *which)
{
    const tr_mmdit_config *c = tr_mmdit_get_config(g->a.transformer);
    char found[TR_DIMS_TEXT];
    if (!fits(context, 3, g->b, c->d_context))
        return tr_fail(TRESS_E_SHAPE, "%sencoder_hidden_states are %s, expected [%d, rows, %d]", which,
                       tr_dims_text(found, context.rank, context.shape), g->b, c->d_context);
    if (!fits(pooled, 2, g->b, c->d_pooled))
        return tr_fail(TRESS_E_SHAPE, "%spooled_projections are %s, expected [%d, %d]", which,
                       tr_dims_text(found, pooled.rank, pooled.shape), g->b, c->d_pooled);
    if (context.shape[1] != g->a.context.shape[1])
        return tr_fail(TRESS_E_SHAPE, "%sencoder_hidden_states have %" PRId64 " rows, encoder_hidden_states %" PRId64
                       "; both go through the transformer in one pass", which, context.shape[1], g->a.context.shape[1]);
    return TRESS_OK;
}

static tress_status check(const tr_guide *g)
{
    tress_status st = TRESS_OK;
    const tr_guide_args *a = &g->a;
    const tr_mmdit_config *c = tr_mmdit_get_config(a->transformer);
    TR_TRY(check_words(g, a->context, a->pooled, ""));
    if (g->cfg) TR_TRY(check_words(g, a->context_neg, a->pooled_neg, "negative_"));
    if (g->h % c->patch || g->w % c->patch || g->h / c->patch > c->pos_max || g->w / c->patch > c->pos_max)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "a latent of %d x %d (width x height): each side must be a multiple of %d and at most %d",
                       g->w, g->h, c->patch, c->pos_max * c->patch));
    for (int i = 0; i < a->n_skip; i++)
        if (a->skip[i] < 0 || a->skip[i] >= c->n_block)
            TR_TRY(tr_fail(TRESS_E_ARG, "block %d is to be skipped, the transformer has blocks 0 to %d", a->skip[i], c->n_block - 1));
    if (a->controlnet) {
        const tr_controlnet_config *k = tr_controlnet_get_config(a->controlnet);
        const int64_t channels = k->channels_in + k->channels_extra;
        char found[TR_DIMS_TEXT];
        TR_TRY(tr_controlnet_fits(a->controlnet, a->transformer));
        if (!fits(a->condition, 4, g->b, g->w) || a->condition.shape[1] != channels || a->condition.shape[2] != g->h)
            TR_TRY(tr_fail(TRESS_E_SHAPE, "the control latent is %s, expected [%d, %" PRId64 ", %d, %d]",
                           tr_dims_text(found, a->condition.rank, a->condition.shape), g->b, channels, g->h, g->w));
        if (k->d_context && k->d_context != c->d_context)
            TR_TRY(tr_fail(TRESS_E_CONTRACT, "the ControlNet reads words %d wide, the transformer %d", k->d_context, c->d_context));
    }
done:
    return st;
}

/* rows [n k, width] = modulate(sigma of steps begin .. begin + k, pooled [n, d]), step after step. */
static tress_status modulate_window(tr_guide *g, tr_stream *s, tr_tensor rows, int begin, int64_t n, tr_tensor pooled, bool control)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int left = g->a.n_step - begin, k = left < g->n_window ? left : g->n_window;
    tr_tensor all;
    TR_TRY(tr_scratch(s, &all, pooled.dtype, TR_DIMS(n * k, pooled.shape[1])));
    for (int i = 0; i < k; i++) {
        TR_TRY(tr_copy(s, tr_slice(all, 0, i * n, n), pooled));
        for (int64_t j = 0; j < n; j++) g->window_time[i * n + j] = 1000.0f * g->a.sigma[begin + i];
    }
    rows = tr_slice(rows, 0, 0, n * k);
    const tr_tensor time = tr_view(g->window_time, TR_F32, TR_DIMS(n * k));
    if (control) TR_TRY(tr_controlnet_modulate(g->a.controlnet, s, rows, time, all));
    else TR_TRY(tr_mmdit_modulate(g->a.transformer, s, rows, time, all));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* The window holds this step. */
static tress_status turn_window(tr_guide *g, tr_stream *s, int step)
{
    tress_status st = TRESS_OK;
    if (tr_is_none(g->mods) || (g->window_begin >= 0 && step >= g->window_begin && step < g->window_begin + g->n_window)) return TRESS_OK;
    const int begin = step / g->n_window * g->n_window;
    g->window_begin = -1;
    TR_TRY(modulate_window(g, s, g->mods, begin, g->n_row, g->pooled, false));
    if (!tr_is_none(g->control_mods)) TR_TRY(modulate_window(g, s, g->control_mods, begin, g->n_control, g->control_pooled, true));
    g->window_begin = begin;
done:
    return st;
}

/* The rows of this step to where they are looked for. */
static tress_status fetch_mods(tr_guide *g, tr_stream *s, int step)
{
    tress_status st = TRESS_OK;
    TR_TRY(turn_window(g, s, step));
    const int64_t at = step - g->window_begin;
    if (!tr_is_none(g->mods)) TR_TRY(tr_copy(s, g->mods_now, tr_slice(g->mods, 0, at * g->n_row, g->n_row)));
    if (!tr_is_none(g->control_mods)) TR_TRY(tr_copy(s, g->control_mods_now, tr_slice(g->control_mods, 0, at * g->n_control, g->n_control)));
done:
    return st;
}

static tress_status take_window(tr_guide *g)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    g->window_begin = -1;
    if (!g->a.sigma) return TRESS_OK;
    g->n_window = g->a.n_step < WINDOW_MAX ? g->a.n_step : WINDOW_MAX;
    TR_TRY(tr_alloc_array(&p, (int64_t)g->n_window * g->n_row, sizeof(float)));
    g->window_time = p;
    const int64_t width = tr_mmdit_mod_width(g->a.transformer);
    TR_TRY(take(g, &g->mods, TR_DIMS((int64_t)g->n_window * g->n_row, width)));
    TR_TRY(take(g, &g->mods_now, TR_DIMS(g->n_row, width)));
    if (!g->a.controlnet) return TRESS_OK;
    const int64_t control_width = tr_controlnet_mod_width(g->a.controlnet);
    TR_TRY(take(g, &g->control_mods, TR_DIMS((int64_t)g->n_window * g->n_control, control_width)));
    TR_TRY(take(g, &g->control_mods_now, TR_DIMS(g->n_control, control_width)));
done:
    return st;
}

/* What the ControlNet is given besides the latent: made once, the same at every step. */
static tress_status prepare_control(tr_guide *g, tr_stream *s)
{
    tress_status st = TRESS_OK;
    const tr_guide_args *a = &g->a;
    const tr_mmdit_config *c = tr_mmdit_get_config(a->transformer);
    const tr_controlnet_config *k = tr_controlnet_get_config(a->controlnet);
    const bool zero = a->control_pooled_zero || k->zero_pooled;
    const int64_t b = g->b, repeat = a->context_repeat > 1 ? a->context_repeat : 1, n = a->context.shape[1];
    const int64_t d = (int64_t)c->n_head * c->d_head, channels = a->condition.shape[1];

    g->n_control = zero && !k->d_context ? g->b : g->n_row;         /* nothing tells the branches apart: one pass for both */
    TR_TRY(take(g, &g->condition, TR_DIMS(g->n_control, channels, g->h, g->w)));
    TR_TRY(take(g, &g->control_pooled, TR_DIMS(g->n_control, k->d_pooled)));
    if (zero) TR_TRY(tr_set(s, g->control_pooled, 0));
    for (int64_t begin = 0; begin < g->n_control; begin += b) {
        const bool negative = g->cfg && begin == 0;
        TR_TRY(spread(s, g->condition, begin, b, a->condition));
        if (!zero) TR_TRY(spread(s, g->control_pooled, begin, b, negative ? a->pooled_neg : a->pooled));
    }
    if (k->d_context) {
        TR_TRY(take(g, &g->control_context, TR_DIMS(g->n_control, n * repeat, k->d_context)));
        for (int64_t begin = 0; begin < g->n_control; begin += b)
            for (int64_t i = 0; i < n * repeat; i++)
                TR_TRY(spread(s, tr_slice(g->control_context, 1, i, 1), begin, b,
                              tr_slice(g->cfg && begin == 0 ? a->context_neg : a->context, 1, i / repeat, 1)));
    }
    g->n_residual = k->n_block;
    for (int i = 0; i < g->n_residual; i++) TR_TRY(take(g, &g->residual[i], TR_DIMS(g->n_row, g->n_drawn, d)));
    if (a->control_row) {
        TR_TRY(take(g, &g->control_gate, TR_DIMS(g->n_drawn, d)));
        for (int64_t i = 0; i < g->n_drawn; i++) TR_TRY(tr_set(s, tr_slice(g->control_gate, 0, i, 1), a->control_row[i]));
    }
done:
    return st;
}

tress_status tr_guide_new(tr_guide **out, tr_stream *s, const tr_guide_args *a, int b, int h, int w)
{
    tress_status st = TRESS_OK;
    tr_guide *g = NULL;
    void *p = NULL;
    TR_ASSERT(b >= 1 && h >= 1 && w >= 1);
    TR_TRY(tr_alloc(&p, sizeof *g));
    g = p;
    g->a = *a;
    g->device = tr_stream_device(s);
    g->b = b;
    g->h = h;
    g->w = w;
    g->cfg = !tr_is_none(a->context_neg);
    g->n_row = g->cfg ? 2 * b : b;
    if (a->control_strength == 0 && !a->control_row) g->a.controlnet = NULL;
    TR_TRY(check(g));

    const tr_mmdit_config *c = tr_mmdit_get_config(a->transformer);
    const int64_t t = (int64_t)(h / c->patch) * (w / c->patch), d = (int64_t)c->n_head * c->d_head;
    TR_TRY(tr_alloc_array(&p, g->n_row, sizeof(float)));
    g->timestep = p;
    TR_TRY(take(g, &g->x, TR_DIMS(g->n_row, c->channels_in, h, w)));
    TR_TRY(take(g, &g->v, TR_DIMS(g->n_row, c->channels_out, h, w)));
    TR_TRY(take(g, &g->tokens, TR_DIMS(g->n_row, t, d)));
    TR_TRY(take(g, &g->context, TR_DIMS(g->n_row, a->context.shape[1], c->d_context)));
    TR_TRY(take(g, &g->pooled, TR_DIMS(g->n_row, c->d_pooled)));
    g->n_drawn = a->row ? a->n_row : t;
    if (a->row) {
        TR_TRY(take(g, &g->drawn, TR_DIMS(g->n_row, g->n_drawn, d)));
        TR_TRY(tr_alloc_array(&p, t, sizeof *g->place));
        g->place = p;
        for (int64_t i = 0; i < t; i++) g->place[i] = (int32_t)a->n_row;
        for (int64_t i = 0; i < a->n_row; i++) g->place[a->row[i]] = (int32_t)i;
    }
    if (a->n_skip > 0 && g->cfg) TR_TRY(take(g, &g->v_skip, TR_DIMS(b, c->channels_out, h, w)));
    if (g->cfg) {
        TR_TRY(spread(s, g->context, 0, b, a->context_neg));
        TR_TRY(spread(s, g->pooled, 0, b, a->pooled_neg));
    }
    TR_TRY(spread(s, g->context, g->n_row - b, b, a->context));
    TR_TRY(spread(s, g->pooled, g->n_row - b, b, a->pooled));
    if (g->a.controlnet) TR_TRY(prepare_control(g, s));
    TR_TRY(take_window(g));
    *out = g;
    g = NULL;
done:
    tr_guide_free(g);
    return st;
}

void tr_guide_free(tr_guide *g)
{
    if (!g) return;
    for (size_t i = 0; i < sizeof g->way / sizeof *g->way; i++) tr_record_free(g->way[i].record);
    tr_tensor *const all[] = { &g->x, &g->v, &g->v_skip, &g->tokens, &g->context, &g->pooled, &g->condition, &g->control_context,
                               &g->control_pooled, &g->mods, &g->control_mods, &g->mods_now, &g->control_mods_now, &g->drawn, &g->control_gate };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!tr_is_none(*all[i])) tr_device_give(g->device, *all[i]);
    for (int i = 0; i < g->n_residual; i++)
        if (!tr_is_none(g->residual[i])) tr_device_give(g->device, g->residual[i]);
    tr_free(g->place);
    tr_free(g->timestep);
    tr_free(g->window_time);
    tr_free(g);
}

/* The bounds are floats that stand for decimals, so they are compared as floats: 0.2 of 10 steps is step 2 exactly. */
static bool control_on(const tr_guide *g, int step)
{
    const double n = g->a.n_step;
    return g->a.controlnet && !((float)(step / n) < g->a.control_start || (float)((step + 1) / n) > g->a.control_end);
}

static bool skip_on(const tr_guide *g, int step)
{
    const float n = (float)g->a.n_step;
    return !tr_is_none(g->v_skip) && (float)step > n * g->a.skip_start && (float)step < n * g->a.skip_end;
}

static tress_status run_control(tr_guide *g, tr_stream *s)
{
    tress_status st = TRESS_OK;
    const int64_t n = g->n_control;
    tr_tensor residual[TR_BLOCK_MAX];
    for (int i = 0; i < g->n_residual; i++) residual[i] = tr_slice(g->residual[i], 0, 0, n);
    const tr_controlnet_args c = {
        .x = tr_slice(g->x, 0, 0, n), .tokens = tr_slice(g->tokens, 0, 0, n), .condition = g->condition,
        .context = g->control_context, .pooled = g->control_pooled,
        .timestep = tr_view(g->timestep, TR_F32, TR_DIMS(n)), .mods = g->control_mods_now, .residual = residual,
        .row = g->a.row, .n_row = g->a.n_row,
    };
    TR_TRY(tr_controlnet_forward(g->a.controlnet, s, &c));
    for (int i = 0; !tr_is_none(g->control_gate) && i < g->n_residual; i++)
        for (int64_t j = 0; j < n; j++) {
            const tr_tensor rows = tr_index(residual[i], 0, j);
            TR_TRY(tr_gate(s, rows, rows, g->control_gate));
        }
    if (n < g->n_row)
        for (int i = 0; i < g->n_residual; i++)
            TR_TRY(tr_copy(s, tr_slice(g->residual[i], 0, n, g->n_row - n), residual[i]));
done:
    return st;
}

/* The references brought to this step; *way gains those that are seen. */
static tress_status look(tr_guide *g, tr_stream *s, float sigma, int step, int *way)
{
    tress_status st = TRESS_OK;
    g->n_see = 0;
    for (int i = 0; i < g->a.n_refer; i++) {
        bool on = false;
        TR_TRY(tr_refer_step(g->a.refer[i], s, sigma, step, &g->see[g->n_see], &on));
        g->n_see += on;
        *way += on ? 4 << i : 0;
    }
done:
    return st;
}

/* Everything that a step queues once its modulation and its references are there. */
static tress_status run_step(tr_guide *g, tr_stream *s, tr_tensor v, tr_tensor x, bool control, bool skip)
{
    tress_status st = TRESS_OK;
    const int64_t b = g->b, n_row = g->n_row;
    TR_TRY(tr_copy(s, tr_slice(g->x, 0, 0, b), x));
    TR_TRY(tr_mmdit_embed(g->a.transformer, s, tr_slice(g->tokens, 0, 0, b), x));
    if (g->cfg) {                                                   /* both branches start from the same tokens */
        TR_TRY(tr_copy(s, tr_slice(g->x, 0, b, b), x));
        TR_TRY(tr_copy(s, tr_slice(g->tokens, 0, b, b), tr_slice(g->tokens, 0, 0, b)));
    }
    if (control) TR_TRY(run_control(g, s));
    if (g->place) TR_TRY(tr_mmdit_gather(s, g->drawn, g->tokens, g->a.row));
    tr_mmdit_args m = {
        .x = g->x, .tokens = g->place ? g->drawn : g->tokens, .place = g->place, .n_row = g->n_drawn, .context = g->context, .pooled = g->pooled,
        .context_logw = g->a.context_repeat > 1 ? logf((float)g->a.context_repeat) : 0.0f,
        .timestep = tr_view(g->timestep, TR_F32, TR_DIMS(n_row)), .mods = g->mods_now,
        .residual = control ? g->residual : NULL, .n_residual = control ? g->n_residual : 0,
        .residual_scale = g->a.control_row ? 1 : g->a.control_strength, .see = g->see, .n_see = g->n_see, .residual_last = g->a.control_last,
        .out = g->cfg ? g->v : v,
    };
    TR_TRY(tr_mmdit_forward(g->a.transformer, s, &m));
    if (!g->cfg) goto done;

    const tr_tensor vu = tr_slice(g->v, 0, 0, b), vc = tr_slice(g->v, 0, b, b);
    TR_TRY(tr_axpby(s, v, g->a.cfg_scale, vc, 1.0f - g->a.cfg_scale, vu));
    if (skip) {                                                     /* the vendor's third pass: words, no ControlNet */
        m.x = tr_slice(g->x, 0, b, b);
        m.tokens = tr_slice(m.tokens, 0, b, b);
        m.context = tr_slice(g->context, 0, b, b);
        m.pooled = tr_slice(g->pooled, 0, b, b);
        m.timestep = tr_view(g->timestep, TR_F32, TR_DIMS(b));
        if (!tr_is_none(m.mods)) m.mods = tr_slice(m.mods, 0, b, b);
        m.residual = NULL;
        m.n_residual = 0;
        m.skip = g->a.skip;
        m.n_skip = g->a.n_skip;
        m.out = g->v_skip;
        TR_TRY(tr_mmdit_forward(g->a.transformer, s, &m));
        TR_TRY(tr_axpby(s, v, 1.0f, v, g->a.skip_scale, vc));
        TR_TRY(tr_axpby(s, v, 1.0f, v, -g->a.skip_scale, g->v_skip));
    }
done:
    return st;
}

#define MEET_BEFORE 2                           /* the first step takes scratch piece by piece, the second in one */

/* The same by one call, once such steps have been met. */
static tress_status replay_step(struct way *w, tr_guide *g, tr_stream *s, tr_tensor v, tr_tensor x, bool control, bool skip)
{
    tress_status st = TRESS_OK;
    if (w->v != v.data || w->x != x.data) {
        tr_record_free(w->record);
        *w = (struct way){ .v = v.data, .x = x.data };
    }
    if (w->n_met++ < MEET_BEFORE || !tr_stream_records(s) || tr_is_none(g->mods) || g->a.weights_travel) return run_step(g, s, v, x, control, skip);
    if (!w->record) {
        TR_TRY(tr_record_begin(s));
        st = run_step(g, s, v, x, control, skip);
        const tress_status ended = tr_record_end(s, st == TRESS_OK ? &w->record : NULL);
        if (st == TRESS_OK) st = ended;
        if (st != TRESS_OK) goto done;
    }
    TR_TRY(tr_record_run(w->record));
done:
    return st;
}

tress_status tr_guide_velocity(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step)
{
    tr_guide *g = self;
    tress_status st = TRESS_OK;
    const bool control = control_on(g, step), skip = skip_on(g, step);
    for (int i = 0; i < g->n_row; i++) g->timestep[i] = 1000.0f * sigma;
    int way = control + 2 * skip;
    TR_TRY(fetch_mods(g, s, step));
    TR_TRY(look(g, s, sigma, step, &way));
    TR_TRY(replay_step(&g->way[way], g, s, v, x, control, skip));
done:
    return st;
}
