/* Planes by bands of rows. A row of a plane has the same bytes whichever band it is computed in: bands begin and end at
 * multiples of TR_CONV_ROWS, group norm has its statistics by rows, and the rest is row by row. */
#include "model/vae_int.h"

#define BAND_BYTES (4 << 20)                    /* of a normalised band when memory does not matter: it stays in a CPU's caches */
#define HALO (TR_CONV_ROWS + 1)                 /* rows beyond a band that two 3x3 convolutions, in whole steps, read */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t step_down(int64_t row) { return row / TR_CONV_ROWS * TR_CONV_ROWS; }
static int64_t step_up(int64_t row) { return step_down(row + TR_CONV_ROWS - 1); }
static tr_tensor rows_of(tr_tensor t, int64_t begin, int64_t end) { return tr_slice(t, 1, begin, end - begin); }

/* ---- memory ---------------------------------------------------------------------------------------------- */
#define UNIT 128                                /* elements of a pool: what is handed out stays 256-byte aligned */

tr_vae_mark tr_vae_push(tr_vae_run *r)
{
    return (tr_vae_mark){ { r->used[0], r->used[1] }, tr_scratch_push(r->s) };
}

void tr_vae_pop(tr_vae_run *r, tr_vae_mark m)
{
    r->used[0] = m.used[0];
    r->used[1] = m.used[1];
    tr_scratch_pop(r->s, m.scratch);
}

static int pool_with(const tr_vae_run *r, int64_t n)
{
    for (int i = 0; i < 2; i++)
        if (n <= r->pool[i].shape[0] - r->used[i]) return i;
    return -1;
}

bool tr_vae_has_room(const tr_vae_run *r, int64_t n) { return pool_with(r, n) >= 0; }

tress_status tr_vae_take(tr_vae_run *r, tr_tensor *out, tr_dtype t, tr_dims d)
{
    size_t bytes = 0;
    const tress_status st = tr_bytes(&bytes, t, d);
    if (st != TRESS_OK) return st;
    const int64_t n = ((int64_t)(bytes / tr_dtype_size(r->pool[0].dtype)) + UNIT) / UNIT * UNIT;
    const int i = pool_with(r, n);
    if (i < 0) return tr_scratch(r->s, out, t, d);
    *out = tr_view(tr_slice(r->pool[i], 0, r->used[i], n).data, t, d);
    r->used[i] += n;
    return TRESS_OK;
}

tr_tensor tr_vae_claim(tr_vae_run *r, int i, int64_t h, int64_t w, int64_t c)
{
    const int64_t n = (h * w * c + UNIT - 1) / UNIT * UNIT;
    TR_ASSERT(n <= r->pool[i].shape[0]);
    r->used[i] = n;
    return tr_view(r->pool[i].data, r->pool[i].dtype, TR_DIMS(1, h, w, c));
}

/* ---- rows ------------------------------------------------------------------------------------------------ */
static int64_t band_of(const tr_vae_run *r, const tr_plane *p)
{
    const int64_t row = most(1, p->w * p->c * (int64_t)sizeof(float));
    if (!r->band && !tr_device_is_host(tr_stream_device(r->s))) return most(1, p->h);        /* a GPU wants all at once */
    return r->band ? step_up(r->band) : most(2 * TR_CONV_ROWS, step_up(BAND_BYTES / row));
}

static tress_status compute(tr_vae_run *r, tr_plane *p, tr_tensor y, int64_t begin, int64_t end);

/* Rows begin..end of p: a view of its storage or window, or computed into a new window. compute and fetch call each other
 * as deep as the graph stacks virtual planes: four. */
static tress_status fetch(tr_vae_run *r, tr_plane *p, int64_t begin, int64_t end, tr_tensor *out)
{
    tress_status st = TRESS_OK;
    tr_tensor window;
    if (!tr_is_none(p->window) && begin >= p->begin && end <= p->begin + p->window.shape[1]) {
        *out = rows_of(p->window, begin - p->begin, end - p->begin);
        return TRESS_OK;
    }
    if (!tr_is_none(p->stored)) {
        *out = rows_of(p->stored, begin, end);
        return TRESS_OK;
    }
    TR_ASSERT(p->from);
    const int64_t a = step_down(begin), b = least(p->h, step_up(end));
    TR_TRY(tr_vae_take(r, &window, tr_stream_dtype(r->s), TR_DIMS(1, b - a, p->w, p->c)));
    TR_TRY(compute(r, p, window, a, b));
    p->window = window;
    p->begin = a;
    *out = rows_of(window, begin - a, end - a);
done:
    return st;
}

/* y = rows begin..end of p by its recipe. */
static tress_status compute(tr_vae_run *r, tr_plane *p, tr_tensor y, int64_t begin, int64_t end)
{
    tress_status st = TRESS_OK;
    const int64_t k = p->conv->w.shape[2], stride = p->stride ? p->stride : 1, up = p->upsample ? p->upsample : 1;
    /* 3x3: a zero row on each side; with stride 2 on the bottom and right only. */
    const int64_t top = k == 3 && stride == 1 ? 1 : 0, bottom = k == 3 ? 1 : 0;
    const int64_t lo = begin * stride - top, hi = (end - 1) * stride - top + k;      /* rows of the enlarged input */
    const int64_t a = most(0, lo) / up, b = least(p->from->h, (hi + up - 1) / up);
    tr_tensor x, n, residual = { 0 };
    const tr_plane from = *p->from, plus = p->plus ? *p->plus : (tr_plane){ 0 };     /* their windows are put back */
    const tr_vae_mark m = tr_vae_push(r);
    TR_TRY(tr_stream_poll(r->s));
    if (p->plus && tr_is_none(p->plus->stored)) {
        /* Once for both uses: what the planes between will ask for, and what is added. */
        const bool direct = p->from == p->plus || !tr_is_none(p->from->stored);
        const int64_t wide_a = direct ? begin : most(0, step_down(a) - 1), wide_b = direct ? end : least(p->plus->h, step_up(b) + 1);
        TR_TRY(fetch(r, p->plus, wide_a, wide_b, &x));
    }
    TR_TRY(fetch(r, p->from, a, b, &x));
    if (p->norm) {
        TR_TRY(tr_vae_take(r, &n, tr_stream_dtype(r->s), TR_DIMS(1, b - a, p->from->w, p->from->c)));
        TR_TRY(tr_group_norm(r->s, n, x, p->stats, p->norm->w, p->norm->b, TR_VAE_EPS, TR_ACT_SILU));
        x = n;
    }
    if (p->plus) {
        TR_TRY(fetch(r, p->plus, begin, end, &residual));
        if (p->shortcut && !tr_is_none(p->shortcut->w)) {
            TR_TRY(tr_vae_take(r, &n, tr_stream_dtype(r->s), TR_DIMS(1, end - begin, p->w, p->c)));
            TR_TRY(tr_conv2d(r->s, n, residual, p->shortcut->w, p->shortcut->b, &(tr_conv_args){ .stride = 1, .upsample = 1 }));
            residual = n;
        }
    }
    TR_TRY(tr_conv2d(r->s, y, x, p->conv->w, p->conv->b,
                     &(tr_conv_args){ .stride = (int)stride, .upsample = (int)up, .pad_top = (int)(a * up - lo), .pad_bottom = (int)(hi - b * up),
                                      .pad_left = (int)top, .pad_right = (int)bottom, .residual = residual }));
done:
    p->from->window = from.window;
    p->from->begin = from.begin;
    if (p->plus) p->plus->window = plus.window, p->plus->begin = plus.begin;
    tr_vae_pop(r, m);
    return st;
}

/* ---- whole planes ---------------------------------------------------------------------------------------- */
tress_status tr_plane_stats(tr_vae_run *r, tr_plane *p, tr_tensor stats)
{
    tress_status st = TRESS_OK;
    const int64_t step = band_of(r, p);
    const tr_vae_mark m = tr_vae_push(r);
    for (int64_t a = 0; a < p->h; a += step) {
        const int64_t b = least(p->h, a + step);
        tr_tensor x;
        TR_TRY(fetch(r, p, a, b, &x));
        TR_TRY(tr_group_stats(r->s, rows_of(stats, a, b), x));
        p->window = tr_none();
        tr_vae_pop(r, m);
    }
done:
    p->window = tr_none();
    tr_vae_pop(r, m);
    return st;
}

tress_status tr_plane_store(tr_vae_run *r, tr_plane *p, tr_tensor to)
{
    tress_status st = TRESS_OK;
    const int64_t step = band_of(r, p);
    for (int64_t a = 0; a < p->h; a += step) {
        const int64_t b = least(p->h, a + step);
        TR_TRY(compute(r, p, rows_of(to, a, b), a, b));
    }
    p->stored = to;
done:
    return st;
}

tress_status tr_plane_store_over(tr_vae_run *r, tr_plane *p)
{
    tress_status st = TRESS_OK;
    tr_plane *x = p->plus;
    const tr_tensor all = x->stored;
    const int64_t step = band_of(r, p), h = p->h;
    tr_tensor carry, window;
    const tr_vae_mark m = tr_vae_push(r);
    TR_TRY(tr_vae_take(r, &carry, tr_stream_dtype(r->s), TR_DIMS(1, HALO, p->w, p->c)));
    x->stored = tr_none();                      /* from here on rows of x come from the window alone */
    for (int64_t a = 0; a < h; a += step) {
        const int64_t b = least(h, a + step), lo = most(0, a - HALO), hi = least(h, b + HALO);
        const tr_vae_mark band = tr_vae_push(r);
        TR_TRY(tr_vae_take(r, &window, tr_stream_dtype(r->s), TR_DIMS(1, hi - lo, p->w, p->c)));
        if (a > lo) TR_TRY(tr_copy(r->s, rows_of(window, 0, a - lo), rows_of(carry, HALO - (a - lo), HALO)));
        TR_TRY(tr_copy(r->s, rows_of(window, a - lo, hi - lo), rows_of(all, a, hi)));
        if (b < h) {                            /* the rows above the next band, before they are written over */
            const int64_t keep = least(HALO, b);
            TR_TRY(tr_copy(r->s, rows_of(carry, HALO - keep, HALO), rows_of(window, b - keep - lo, b - lo)));
        }
        x->window = window;
        x->begin = lo;
        TR_TRY(compute(r, p, rows_of(all, a, b), a, b));
        tr_vae_pop(r, band);
    }
    p->stored = all;
done:
    x->window = tr_none();
    tr_vae_pop(r, m);
    return st;
}

tress_status tr_plane_store_turned(tr_vae_run *r, tr_plane *p, tr_tensor to)
{
    static const int channels_last[] = { 0, 2, 3, 1 };
    tress_status st = TRESS_OK;
    const int64_t step = band_of(r, p);
    const tr_tensor turned = tr_permute(to, channels_last);
    const tr_vae_mark m = tr_vae_push(r);
    for (int64_t a = 0; a < p->h; a += step) {
        const int64_t b = least(p->h, a + step);
        tr_tensor x;
        TR_TRY(fetch(r, p, a, b, &x));
        TR_TRY(tr_copy(r->s, rows_of(turned, a, b), x));
        p->window = tr_none();
        tr_vae_pop(r, m);
    }
done:
    p->window = tr_none();
    tr_vae_pop(r, m);
    return st;
}

tress_status tr_plane_store_both(tr_vae_run *r, tr_plane *q, tr_tensor to_q, const tr_vae_conv *shortcut, tr_tensor to_y)
{
    tress_status st = TRESS_OK;
    tr_plane *p = q->from;
    const int64_t step = band_of(r, q);
    const tr_vae_mark m = tr_vae_push(r);
    for (int64_t a = 0; a < q->h; a += step) {
        const int64_t b = least(q->h, a + step);
        tr_tensor x;
        TR_TRY(fetch(r, p, most(0, a - 1), least(p->h, b + 1), &x));         /* once for both */
        TR_TRY(compute(r, q, rows_of(to_q, a, b), a, b));
        TR_TRY(fetch(r, p, a, b, &x));
        if (tr_is_none(shortcut->w)) TR_TRY(tr_copy(r->s, rows_of(to_y, a, b), x));
        else TR_TRY(tr_conv2d(r->s, rows_of(to_y, a, b), x, shortcut->w, shortcut->b, &(tr_conv_args){ .stride = 1, .upsample = 1 }));
        p->window = tr_none();
        tr_vae_pop(r, m);
    }
    q->stored = to_q;
done:
    p->window = tr_none();
    tr_vae_pop(r, m);
    return st;
}
