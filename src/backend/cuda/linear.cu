/* Linear layers and what they need backward, as products of cuBLASLt (lt.h).
 *
 * y = residual + gate * (mul * act(scale * (x w^T + b + low up^T))) + more_scale more. What cuBLASLt does while a tile is still in registers is left to it:
 * the bias, GELU's tanh form in narrow types (its tanh is good to 2^-11), the scale or a gate as alpha, one for each column, and the
 * residual as c. low up^T comes first and is c of the large product, so that it is inside of the activation. For the rest, and where
 * cuBLASLt says that it has no such algorithm, the product goes to y or to room, in y's type, and one pass finishes it: 2 or 3 operands
 * of [n, m] read, one written.
 *
 * Operands of the product are of the stream's type. Others, and those that do not lie at multiples of 16 bytes, are copied first.
 * Limits: 2 n m k flops, see DESIGN.md section 5 for what cuBLASLt reaches; for few rows the bytes of w. */
#include "backend/cuda/lt.h"

#include <string.h>

#define ROWS_Y 65535                            /* of a grid */

/* ---- copies into the stream's type, aligned --------------------------------------------------------------- */
static inline int64_t padded(int64_t n, tr_dtype t)
{
    const int64_t unit = TR_LT_ALIGN / (int64_t)tr_dtype_size(t);
    return (n + unit - 1) / unit * unit;
}

/* Eight as tr_get8 does, F8 with one load. */
__device__ inline void get8(float (&x)[8], tr_view_of v, int64_t i)
{
    if (v.dtype != TR_F8_E4M3) return tr_get8(x, v, i);
    const uint2 u = *(const uint2 *)((const __nv_fp8_storage_t *)v.data + i);
    const __nv_fp8_e4m3 *f = (const __nv_fp8_e4m3 *)&u;
    for (int k = 0; k < 8; k++) x[k] = (float)f[k];
}

/* to[rows, cols_to] = from[rows, cols], zeros beyond cols. by_8: eight columns a thread, cols and cols_to are multiples of eight.
 * Moves: what it reads and writes, once; F8 to F16, [9728, 2432]: 71 MB, 21 us at 3.35 TB/s. */
__global__ void pack(tr_view_of to, int64_t ld_to, int64_t cols_to, tr_view_of from, int64_t ld_from, int64_t cols, int64_t rows, bool by_8)
{
    const int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, j = by_8 ? 8 * at : at;
    if (j >= cols_to) return;
    for (int64_t i = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += (int64_t)gridDim.y * blockDim.y) {
        if (by_8) {
            float x[8];
            get8(x, from, i * ld_from + j);
            tr_put8(to, i * ld_to + j, x);
        } else {
            tr_put(to, i * ld_to + j, j < cols ? tr_get(from, i * ld_from + j) : 0.0f);
        }
    }
}

/* Threads of a warp beside each other in a row, eight rows a block. */
static dim3 grid_of(int64_t rows, int64_t per_row)
{
    const int64_t y = (rows + 7) / 8;
    return dim3((unsigned)((per_row + 31) / 32), (unsigned)(y < ROWS_Y ? y : ROWS_Y));
}
static const dim3 block_of(32, 8);

/* A [rows, cols] operand as the product will read it. */
struct operand {
    tr_tensor   t;                              /* what was given; none: no operand */
    bool        copy;
    size_t      at;                             /* of the copy in the room */
    const void *data;
    int64_t     ld;
};

/* Can cuBLASLt use t as it is? */
static bool fits(tr_tensor t, tr_dtype type)
{
    if (t.dtype != type || (uintptr_t)t.data % TR_LT_ALIGN) return false;
    return t.shape[0] <= 1 || (t.stride[0] >= t.shape[1] && (size_t)t.stride[0] * tr_dtype_size(type) % TR_LT_ALIGN == 0);
}

static int64_t ld_of(tr_tensor t) { return t.shape[0] <= 1 ? padded(t.shape[1], t.dtype) : t.stride[0]; }

/* A piece of the room that is taken at the end. */
static size_t place(size_t *all, int64_t count, tr_dtype t)
{
    const size_t at = *all;
    *all += ((size_t)count * tr_dtype_size(t) + 255) / 256 * 256;
    return at;
}

static operand plan_operand(tr_tensor t, tr_dtype type, size_t *all)
{
    operand o = { t, false, 0, t.data, 0 };
    if (tr_is_none(t)) return o;
    o.copy = !fits(t, type);
    o.ld = o.copy ? padded(t.shape[1], type) : ld_of(t);
    if (o.copy) o.at = place(all, t.shape[0] * o.ld, type);
    return o;
}

static tress_status make_operand(tr_cuda *c, operand *o, tr_dtype type, char *room)
{
    if (!o->copy) return TRESS_OK;
    const int64_t rows = o->t.shape[0], cols = o->t.shape[1], step = rows > 1 ? o->t.stride[0] : cols;
    const bool by_8 = tr_by_8(o->t, cols, rows > 1 ? step : 0);
    const tr_view_of to = { room + o->at, (int)type };
    pack<<<grid_of(rows, by_8 ? o->ld / 8 : o->ld), block_of, 0, c->stream>>>(to, o->ld, o->ld, tr_of(o->t), step, cols, rows, by_8);
    o->data = to.data;
    return tr_cuda_launched("linear, copying an operand");
}

/* ---- the finishing pass ----------------------------------------------------------------------------------- */
struct finishing {
    tr_view_of y, h, b, mul, gate, residual, more;      /* data NULL: not there */
    int64_t    ld_y, ld_h, ld_mul, ld_gate, ld_residual, ld_more;
    int64_t    n, m, rows_of_gate;
    float      scale, more_scale;
    int        act;
};

__device__ inline void load(float (&x)[8], tr_view_of v, int64_t i) { get8(x, v, i); }
__device__ inline void load(float (&x)[1], tr_view_of v, int64_t i) { x[0] = tr_get(v, i); }
__device__ inline void store(tr_view_of v, int64_t i, const float (&x)[8]) { tr_put8(v, i, x); }
__device__ inline void store(tr_view_of v, int64_t i, const float (&x)[1]) { tr_put(v, i, x[0]); }

/* y = residual + gate (mul act(scale (h + b))) + more_scale more, N columns a thread, 8 or 1. y may be h or the residual.
 * Moves y, h, mul, the residual and more once: [8192, 2432] of 16 bits with a residual: 120 MB, 36 us at 3.35 TB/s. */
template <int N> __global__ void finish(finishing f)
{
    const int64_t j = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (j >= f.m) return;
    for (int64_t i = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; i < f.n; i += (int64_t)gridDim.y * blockDim.y) {
        float v[N], x[N];
        load(v, f.h, i * f.ld_h + j);
        if (f.b.data) {
            load(x, f.b, j);
            for (int k = 0; k < N; k++) v[k] += x[k];
        }
        for (int k = 0; k < N; k++) v[k] = tr_act_of(f.scale * v[k], f.act);
        if (f.mul.data) {
            load(x, f.mul, i * f.ld_mul + j);
            for (int k = 0; k < N; k++) v[k] *= x[k];
        }
        if (f.gate.data) {
            load(x, f.gate, i / f.rows_of_gate * f.ld_gate + j);
            for (int k = 0; k < N; k++) v[k] *= x[k];
        }
        if (f.residual.data) {
            load(x, f.residual, i * f.ld_residual + j);
            for (int k = 0; k < N; k++) v[k] += x[k];
        }
        if (f.more.data) {
            load(x, f.more, i * f.ld_more + j);
            for (int k = 0; k < N; k++) v[k] = fmaf(f.more_scale, x[k], v[k]);
        }
        store(f.y, i * f.ld_y + j, v);
    }
}

/* The same where all operands are of one 16-bit type and there is neither mul nor an activation: what blocks of a model ask for. A piece
 * a thread, everything asked for at once. On an H200 31 us for 120 MB: 3.9 of the 4.2 TB/s that a copy reaches. */
template <int TYPE> __global__ void __launch_bounds__(256) finish_same(finishing f, int n_piece)
{
    const int64_t item = (int64_t)blockIdx.x * 256 + threadIdx.x, i = item < INT32_MAX ? (int)item / n_piece : item / n_piece, j = (item - i * n_piece) * 8;
    if (i >= f.n) return;
    tr_eight<TYPE> residual = {}, more = {}, b = {}, gate = {};
    const tr_eight<TYPE> h = tr_eight_get<TYPE>(f.h.data, i * f.ld_h + j);
    if (f.residual.data) residual = tr_eight_get<TYPE>(f.residual.data, i * f.ld_residual + j);
    if (f.more.data) more = tr_eight_get<TYPE>(f.more.data, i * f.ld_more + j);
    if (f.b.data) b = tr_eight_fixed<TYPE>(f.b.data, j);
    if (f.gate.data) gate = tr_eight_fixed<TYPE>(f.gate.data, i / f.rows_of_gate * f.ld_gate + j);
    float v[8], x[8];
    tr_eight_float<TYPE>(v, h);
    tr_eight_float<TYPE>(x, b);
    for (int k = 0; k < 8; k++) v[k] = f.scale * (v[k] + x[k]);
    if (f.gate.data) {
        tr_eight_float<TYPE>(x, gate);
        for (int k = 0; k < 8; k++) v[k] *= x[k];
    }
    tr_eight_float<TYPE>(x, residual);
    for (int k = 0; k < 8; k++) v[k] += x[k];
    tr_eight_float<TYPE>(x, more);
    for (int k = 0; k < 8; k++) v[k] = fmaf(f.more_scale, x[k], v[k]);
    tr_eight_put<TYPE>(f.y.data, i * f.ld_y + j, v);
}

/* 1 where t may be moved eight at a time in the finishing pass, or is not there. */
static bool by_8_or_none(tr_tensor t, int64_t m) { return tr_is_none(t) || tr_by_8(t, m, t.rank == 2 && t.shape[0] > 1 ? t.stride[0] : 0); }

static bool is_or_none(tr_tensor t, tr_dtype type) { return tr_is_none(t) || t.dtype == type; }

static tress_status run_finish(tr_cuda *c, tr_tensor y, tr_tensor h, tr_tensor b, const tr_epilogue *e)
{
    const int64_t n = y.shape[0], m = y.shape[1];
    finishing f = { tr_of(y), tr_of(h), tr_of(b), tr_of(e->mul), tr_of(e->gate), tr_of(e->residual), tr_of(e->more), y.stride[0], h.stride[0],
                    e->mul.stride[0], e->gate.stride[0], e->residual.stride[0], e->more.stride[0], n, m, tr_is_none(e->gate) ? 1 : n / e->gate.shape[0], e->scale,
                    e->more_scale, (int)e->act };
    const bool by_8 = by_8_or_none(y, m) && by_8_or_none(h, m) && by_8_or_none(b, m) && by_8_or_none(e->mul, m) && by_8_or_none(e->gate, m) &&
                      by_8_or_none(e->residual, m) && by_8_or_none(e->more, m);
    const bool same = by_8 && y.dtype != TR_F32 && h.dtype == y.dtype && is_or_none(b, y.dtype) && is_or_none(e->gate, y.dtype) && is_or_none(e->residual, y.dtype) &&
                      is_or_none(e->more, y.dtype) && tr_is_none(e->mul) && e->act == TR_ACT_NONE;
    const int64_t n_block = (n * (m / 8) + 255) / 256;
    if (same && n_block <= INT32_MAX && y.dtype == TR_F16) finish_same<TR_F16><<<(unsigned)n_block, 256, 0, c->stream>>>(f, (int)(m / 8));
    else if (same && n_block <= INT32_MAX) finish_same<TR_BF16><<<(unsigned)n_block, 256, 0, c->stream>>>(f, (int)(m / 8));
    else if (by_8) finish<8><<<grid_of(n, m / 8), block_of, 0, c->stream>>>(f);
    else finish<1><<<grid_of(n, m), block_of, 0, c->stream>>>(f);
    return tr_cuda_launched("linear, finishing");
}

/* ---- alphas and the bias ----------------------------------------------------------------------------------- */
/* alphas[g, m] = scale gate, bias[g, m] = scale gate b; each may be left out, as may gate (g is 1) and b. A few thousand numbers. */
__global__ void make_vectors(float *alphas, tr_view_of bias, tr_view_of gate, int64_t ld_gate, tr_view_of b, float scale, int64_t m)
{
    const int64_t j = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y;
    if (j >= m) return;
    const float a = gate.data ? scale * tr_get(gate, i * ld_gate + j) : scale;
    if (alphas) alphas[i * m + j] = a;
    if (bias.data) tr_put(bias, i * m + j, a * tr_get(b, j));
}

/* ---- x w^T and x w ----------------------------------------------------------------------------------------- */
struct job {
    tr_cuda    *c;
    tr_tensor   y, x, w, b, low, up;
    bool        across;                         /* w [k, m], up [r, m] rather than w [m, k], up [m, r] */
    tr_epilogue e;                              /* scale is never 0 */
    tr_dtype    type;                           /* of the operands */
    size_t      n_room;
    char       *room;
    operand     ox, ow, ol, ou;
};

/* The product of rows [n, k] and a weight that gives [n, m]. */
static tr_lt_shape shape_of(const job *a, const operand *x, const operand *w, tr_dtype cd, int64_t ldd)
{
    tr_lt_shape s;
    memset(&s, 0, sizeof s);
    s.ab = a->type;
    s.cd = cd;
    s.turn_a = !a->across;
    s.n_batch = 1;
    s.m = a->y.shape[1];
    s.n = a->y.shape[0];
    s.k = x->t.shape[1];
    s.lda = w->ld;
    s.ldb = x->ld;
    s.ldd = ldd;
    return s;
}

/* In batches of rows, each with its own row of alphas and bias. */
static void in_batches(tr_lt_shape *s, int64_t g)
{
    if (g <= 1) return;
    s->n /= g;
    s->n_batch = (int32_t)g;
    s->step_b = s->n * s->ldb;
    s->step_c = s->n * s->ldc;
    s->step_d = s->n * s->ldd;
}

static tress_status take_room(job *a)
{
    tress_status st = TRESS_OK;
    void *p = nullptr;
    if (a->n_room) TR_TRY(tr_cuda_room(a->c, &p, a->n_room));
    a->room = (char *)p;
    TR_TRY(make_operand(a->c, &a->ox, a->type, a->room));
    TR_TRY(make_operand(a->c, &a->ow, a->type, a->room));
    TR_TRY(make_operand(a->c, &a->ol, a->type, a->room));
    TR_TRY(make_operand(a->c, &a->ou, a->type, a->room));
done:
    return st;
}

static tr_lt_product product_of(const tr_lt_shape *s, const operand *x, const operand *w, void *d)
{
    return { *s, w->data, x->data, nullptr, d, 1, nullptr, nullptr };
}

/* Everything inside of cuBLASLt. *done_ = false where it is not for it. */
static tress_status run_fused(job *a, bool *done_)
{
    const tr_tensor y = a->y, residual = a->e.residual, gate = a->e.gate;
    const bool adapted = !tr_is_none(a->low), gated = !tr_is_none(gate), added = !tr_is_none(residual), biased = !tr_is_none(a->b);
    const bool gelu = a->e.act == TR_ACT_GELU_TANH && y.dtype == a->type && y.dtype != TR_F32 && !gated && !added;
    const int64_t g = gated ? gate.shape[0] : 1, m = y.shape[1];
    const bool own_bias = biased && (a->b.dtype != y.dtype || a->e.scale != 1 || gated || (uintptr_t)a->b.data % TR_LT_ALIGN);
    const size_t n_before = a->n_room;
    tress_status st = TRESS_OK;
    const tr_lt_plan *plan = nullptr, *plan_low = nullptr;
    tr_lt_shape s, s_low;
    tr_lt_product p;
    size_t at_alphas = 0, at_bias = 0;
    tr_view_of bias = { nullptr, (int)y.dtype };
    float *alphas = nullptr;
    *done_ = false;
    if (!fits(y, y.dtype) || (added && (residual.dtype != y.dtype || !fits(residual, y.dtype))) || !tr_is_none(a->e.mul) || !tr_is_none(a->e.more)) return TRESS_OK;
    if (a->e.act != TR_ACT_NONE && !gelu) return TRESS_OK;
    if (g > ROWS_Y || (y.shape[0] == g && g > 1)) return TRESS_OK;            /* a gate for each row: no batch of products */

    s = shape_of(a, &a->ox, &a->ow, y.dtype, ld_of(y));
    s.vector = gated;
    s.epilogue = (biased ? TR_LT_BIAS : 0) | (gelu ? TR_LT_GELU : 0);
    s.add = adapted || added;
    if (s.add) s.ldc = adapted ? s.ldd : ld_of(residual);
    in_batches(&s, g);
    TR_TRY(tr_lt_find(&plan, a->c, &s));
    if (!plan) return TRESS_OK;
    if (adapted) {
        s_low = shape_of(a, &a->ol, &a->ou, y.dtype, ld_of(y));
        s_low.vector = gated;
        s_low.add = added;
        if (added) s_low.ldc = ld_of(residual);
        in_batches(&s_low, g);
        TR_TRY(tr_lt_find(&plan_low, a->c, &s_low));
        if (!plan_low) return TRESS_OK;
    }

    if (gated) at_alphas = place(&a->n_room, g * m, TR_F32);
    if (own_bias) at_bias = place(&a->n_room, g * m, y.dtype);
    TR_TRY(take_room(a));
    if (gated) alphas = (float *)(a->room + at_alphas);
    if (own_bias) bias.data = a->room + at_bias;
    if (gated || own_bias) {
        make_vectors<<<dim3((unsigned)((m + 127) / 128), (unsigned)g), 128, 0, a->c->stream>>>(alphas, bias, tr_of(gate), gate.stride[0], tr_of(a->b), a->e.scale, m);
        TR_TRY(tr_cuda_launched("linear, alphas and bias"));
    }
    if (adapted) {
        p = product_of(&s_low, &a->ol, &a->ou, y.data);
        p.alpha = a->e.scale;
        p.alphas = alphas;
        p.c = residual.data;
        TR_TRY(tr_lt_run(a->c, plan_low, &p));
    }
    p = product_of(&s, &a->ox, &a->ow, y.data);
    p.alpha = a->e.scale;
    p.alphas = alphas;
    p.c = adapted ? y.data : residual.data;
    p.bias = own_bias ? bias.data : a->b.data;
    TR_TRY(tr_lt_run(a->c, plan, &p));
    *done_ = true;
done:
    a->n_room = *done_ ? a->n_room : n_before;
    return st;
}

static tress_status no_way(const tr_lt_shape *s)
{
    return tr_fail(TRESS_E_GPU, "cuBLASLt has no algorithm for a product of %s, %" PRId64 " x %" PRId64 " x %" PRId64, tr_dtype_name((tr_dtype)s->ab), s->m, s->n, s->k);
}

/* The products into y or room, then the finishing pass. */
static tress_status run_in_two(job *a)
{
    const bool adapted = !tr_is_none(a->low);
    const int64_t n = a->y.shape[0], m = a->y.shape[1];
    const tr_dtype kept = fits(a->y, a->y.dtype) ? a->y.dtype : TR_F32;      /* y lies oddly: no speed to be had, so no rounding either */
    const bool in_y = fits(a->y, a->y.dtype) && a->e.residual.data != a->y.data && a->e.mul.data != a->y.data && a->e.more.data != a->y.data;
    bool with_bias = !tr_is_none(a->b) && a->b.dtype == kept && (uintptr_t)a->b.data % TR_LT_ALIGN == 0;
    tress_status st = TRESS_OK;
    const tr_lt_plan *plan = nullptr, *plan_low = nullptr;
    tr_lt_shape s, s_low;
    tr_lt_product p;
    tr_tensor h = a->y;
    size_t at_h = 0;
    if (!in_y) {
        h.dtype = kept;
        h.stride[0] = padded(m, kept);
        at_h = place(&a->n_room, n * h.stride[0], kept);
    }
    s = shape_of(a, &a->ox, &a->ow, kept, ld_of(h));
    s.add = adapted;
    if (adapted) s.ldc = s.ldd;
    s.epilogue = with_bias ? TR_LT_BIAS : 0;
    TR_TRY(tr_lt_find(&plan, a->c, &s));
    if (!plan && with_bias) {
        with_bias = false;
        s.epilogue = 0;
        TR_TRY(tr_lt_find(&plan, a->c, &s));
    }
    if (!plan) TR_TRY(no_way(&s));
    if (adapted) {
        s_low = shape_of(a, &a->ol, &a->ou, kept, ld_of(h));
        TR_TRY(tr_lt_find(&plan_low, a->c, &s_low));
        if (!plan_low) TR_TRY(no_way(&s_low));
    }
    TR_TRY(take_room(a));
    if (!in_y) h.data = a->room + at_h;
    if (adapted) {
        p = product_of(&s_low, &a->ol, &a->ou, h.data);
        TR_TRY(tr_lt_run(a->c, plan_low, &p));
    }
    p = product_of(&s, &a->ox, &a->ow, h.data);
    p.c = h.data;
    p.bias = a->b.data;
    TR_TRY(tr_lt_run(a->c, plan, &p));
    TR_TRY(run_finish(a->c, a->y, h, with_bias ? tr_none() : a->b, &a->e));
done:
    return st;
}

static tress_status run(tr_stream *s, job *a, const tr_epilogue *e)
{
    tress_status st = TRESS_OK;
    bool finished = false;
    if (a->y.shape[0] == 0 || a->y.shape[1] == 0) return TRESS_OK;
    a->c = tr_cuda_of(s);
    a->type = tr_stream_dtype(s);
    if (e) a->e = *e;
    if (a->e.scale == 0) a->e.scale = 1;
    a->ox = plan_operand(a->x, a->type, &a->n_room);
    a->ow = plan_operand(a->w, a->type, &a->n_room);
    a->ol = plan_operand(a->low, a->type, &a->n_room);
    a->ou = plan_operand(a->up, a->type, &a->n_room);
    TR_TRY(run_fused(a, &finished));
    if (!finished) TR_TRY(run_in_two(a));
done:
    return st;
}

tress_status tr_cuda_linear(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, tr_tensor low, tr_tensor up, const tr_epilogue *e)
{
    job a = {};
    a.y = y, a.x = x, a.w = w, a.b = b, a.low = low, a.up = up;
    return run(s, &a, e);
}

tress_status tr_cuda_linear_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor w, tr_tensor low, tr_tensor a_, const tr_epilogue *e)
{
    job a = {};
    a.y = dx, a.x = dy, a.w = w, a.low = low, a.up = a_;
    a.across = true;
    return run(s, &a, e);
}

/* dw += dy^T x: in cuBLASLt's order [k, m] += x [k, n] dy^T [n, m]. Where dw does not lie as it likes, the product goes to room and is
 * added in a pass. */
tress_status tr_cuda_linear_grad(tr_stream *s, tr_tensor dw, tr_tensor dy, tr_tensor x)
{
    tr_cuda *c = tr_cuda_of(s);
    const tr_dtype type = tr_stream_dtype(s);
    const int64_t m = dw.shape[0], k = dw.shape[1];
    const bool in_place = fits(dw, TR_F32);
    size_t n_room = 0, at_h = 0;
    operand od, ox;
    tress_status st = TRESS_OK;
    const tr_lt_plan *plan = nullptr;
    tr_lt_shape shape;
    tr_lt_product p;
    tr_tensor h = dw;
    void *room = nullptr;
    if (x.shape[0] == 0 || m == 0 || k == 0) return TRESS_OK;
    od = plan_operand(dy, type, &n_room);
    ox = plan_operand(x, type, &n_room);
    if (!in_place) {
        h.stride[0] = padded(k, TR_F32);
        at_h = place(&n_room, m * h.stride[0], TR_F32);
    }
    memset(&shape, 0, sizeof shape);
    shape.ab = type;
    shape.cd = TR_F32;
    shape.turn_b = 1;
    shape.add = in_place;
    shape.n_batch = 1;
    shape.m = k;
    shape.n = m;
    shape.k = x.shape[0];
    shape.lda = ox.ld;
    shape.ldb = od.ld;
    shape.ldd = ld_of(h);
    shape.ldc = in_place ? shape.ldd : 0;
    TR_TRY(tr_lt_find(&plan, c, &shape));
    if (!plan) TR_TRY(no_way(&shape));
    if (n_room) TR_TRY(tr_cuda_room(c, &room, n_room));
    TR_TRY(make_operand(c, &od, type, (char *)room));
    TR_TRY(make_operand(c, &ox, type, (char *)room));
    if (!in_place) h.data = (char *)room + at_h;
    p = product_of(&shape, &od, &ox, h.data);
    p.c = h.data;
    TR_TRY(tr_lt_run(c, plan, &p));
    if (!in_place) {
        tr_epilogue add = {};
        add.scale = 1;
        add.residual = dw;
        TR_TRY(run_finish(c, dw, h, tr_none(), &add));
    }
done:
    return st;
}
