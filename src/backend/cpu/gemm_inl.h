/* gemm_inl.h - what the sets of inner loops share, over the vectors of vec.h. The including .c defines TR_VEC, the tile and
 * load_weights: V_N weights of a type, or the first n of them. */
#include <float.h>

#define INLINE static inline __attribute__((always_inline))

static void widen(float *to, const void *from, tr_dtype t, int64_t n)
{
    const char *p = from;
    const int64_t size = (int64_t)tr_dtype_size(t);
    int64_t i = 0;
    for (; i + V_N <= n; i += V_N) v_store(to + i, load_weights(p + i * size, t, V_N));
    if (i < n) v_store_part(to + i, load_weights(p + i * size, t, n - i), n - i);
}

INLINE void pack_rows_type(float *to, const char *from, const tr_dtype t, int64_t pitch, int n_col, int64_t k)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    for (int64_t i = 0; i < k; i++, from += pitch, to += COLS) {
        if (n_col >= COLS) {
#pragma GCC unroll 8
            for (int j = 0; j < COLS; j += V_N) v_store(to + j, load_weights(from + j * size, t, V_N));
        } else {
            int j = 0;
            for (; j + V_N <= n_col; j += V_N) v_store(to + j, load_weights(from + j * size, t, V_N));
            if (j < n_col) {
                v_store(to + j, v_set(0));
                v_store_part(to + j, load_weights(from + j * size, t, n_col - j), n_col - j);
                j += V_N;
            }
            for (; j < COLS; j += V_N) v_store(to + j, v_set(0));
        }
    }
}

static void pack_rows(float *to, const void *from, tr_dtype t, int64_t pitch, int n_col, int64_t k)
{
    switch (t) {
    case TR_F32:  pack_rows_type(to, from, TR_F32, pitch, n_col, k); return;
    case TR_F16:  pack_rows_type(to, from, TR_F16, pitch, n_col, k); return;
    case TR_BF16: pack_rows_type(to, from, TR_BF16, pitch, n_col, k); return;
    default:      pack_rows_type(to, from, TR_F8_E4M3, pitch, n_col, k); return;
    }
}

/* ---- few rows: each weight is read once ------------------------------------------------------------------- */
INLINE void dots_n(float sum[TR_DOT_ROWS][TR_DOT_ROWS], const float *x, int64_t ldx, const int n_x, const char *w, const tr_dtype t,
                   int64_t pitch, int n_w, int64_t k)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    const char *row[TR_DOT_ROWS];
    vf s[TR_DOT_ROWS][TR_DOT_ROWS];
    for (int j = 0; j < TR_DOT_ROWS; j++) row[j] = w + (j < n_w ? j : n_w - 1) * pitch;      /* read again rather than branch */
#pragma GCC unroll 4
    for (int i = 0; i < n_x; i++)
#pragma GCC unroll 4
        for (int j = 0; j < TR_DOT_ROWS; j++) s[i][j] = v_set(0);
    int64_t c = 0;
    for (; c + V_N <= k; c += V_N) {
        vf wide[TR_DOT_ROWS];
#pragma GCC unroll 4
        for (int j = 0; j < TR_DOT_ROWS; j++) wide[j] = load_weights(row[j] + c * size, t, V_N);
#pragma GCC unroll 4
        for (int i = 0; i < n_x; i++) {
            const vf xi = v_load(x + i * ldx + c);
#pragma GCC unroll 4
            for (int j = 0; j < TR_DOT_ROWS; j++) s[i][j] = v_fma(xi, wide[j], s[i][j]);
        }
    }
    if (c < k)
        for (int j = 0; j < TR_DOT_ROWS; j++) {
            const vf wide = load_weights(row[j] + c * size, t, k - c);
            for (int i = 0; i < n_x; i++) s[i][j] = v_fma(v_load_part(x + i * ldx + c, k - c), wide, s[i][j]);
        }
#pragma GCC unroll 4
    for (int i = 0; i < n_x; i++)
#pragma GCC unroll 4
        for (int j = 0; j < TR_DOT_ROWS; j++) sum[i][j] = v_sum(s[i][j]);
}

/* One row of x: there is nothing to share, so rows of weights come one at a time and memory is read in one stream. */
INLINE void dots_1(float sum[TR_DOT_ROWS][TR_DOT_ROWS], const float *x, const char *w, const tr_dtype t, int64_t pitch, int n_w, int64_t k)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    for (int l = 0; l < n_w; l++, w += pitch) {
        vf s[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) s[j] = v_set(0);
        int64_t c = 0;
        for (; c + 4 * V_N <= k; c += 4 * V_N)
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) s[j] = v_fma(v_load(x + c + j * V_N), load_weights(w + (c + j * V_N) * size, t, V_N), s[j]);
        for (; c < k; c += V_N) s[0] = v_fma(v_load_part(x + c, k - c), load_weights(w + c * size, t, k - c), s[0]);
        sum[0][l] = v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
    }
}

INLINE void dots_of_type(float sum[TR_DOT_ROWS][TR_DOT_ROWS], const float *x, int64_t ldx, int n_x, const char *w, const tr_dtype t,
                         int64_t pitch, int n_w, int64_t k)
{
    switch (n_x) {
    case 1: dots_1(sum, x, w, t, pitch, n_w, k); return;
    case 2: dots_n(sum, x, ldx, 2, w, t, pitch, n_w, k); return;
    case 3: dots_n(sum, x, ldx, 3, w, t, pitch, n_w, k); return;
    default: dots_n(sum, x, ldx, 4, w, t, pitch, n_w, k); return;
    }
}

static void dots(float sum[TR_DOT_ROWS][TR_DOT_ROWS], const float *x, int64_t ldx, int n_x, const void *w, tr_dtype t, int64_t pitch,
                 int n_w, int64_t k)
{
    switch (t) {
    case TR_F32:  dots_of_type(sum, x, ldx, n_x, w, TR_F32, pitch, n_w, k); return;
    case TR_F16:  dots_of_type(sum, x, ldx, n_x, w, TR_F16, pitch, n_w, k); return;
    case TR_BF16: dots_of_type(sum, x, ldx, n_x, w, TR_BF16, pitch, n_w, k); return;
    default:      dots_of_type(sum, x, ldx, n_x, w, TR_F8_E4M3, pitch, n_w, k); return;
    }
}

/* A row of w at a time, so that memory is read in one stream for each block of columns. */
#define ACROSS_N (TR_ACROSS_COLS / V_N < 4 ? TR_ACROSS_COLS / V_N : 4)       /* vectors side by side */
INLINE void across_n(float *sum, const float *x, int64_t ldx, const int n_x, const char *w, const tr_dtype t, int64_t pitch, int64_t left,
                     int64_t k, bool add)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    const bool whole = left >= ACROSS_N * V_N;
    vf s[TR_DOT_ROWS][ACROSS_N];
    for (int i = 0; i < n_x; i++)
        for (int j = 0; j < ACROSS_N; j++) {
            float *at = sum + i * TR_ACROSS_COLS + j * V_N;
            s[i][j] = !add ? v_set(0) : whole ? v_load(at) : left > j * V_N ? v_load_part(at, left - j * V_N) : v_set(0);
        }
    for (int64_t c = 0; c < k; c++, w += pitch) {
        vf wide[ACROSS_N];
#pragma GCC unroll 4
        for (int j = 0; j < ACROSS_N; j++)
            wide[j] = whole ? load_weights(w + j * V_N * size, t, V_N) : left > j * V_N ? load_weights(w + j * V_N * size, t, left - j * V_N) : v_set(0);
#pragma GCC unroll 4
        for (int i = 0; i < n_x; i++) {
            const vf xi = v_set(x[i * ldx + c]);
#pragma GCC unroll 4
            for (int j = 0; j < ACROSS_N; j++) s[i][j] = v_fma(xi, wide[j], s[i][j]);
        }
    }
    for (int i = 0; i < n_x; i++)
        for (int j = 0; j < ACROSS_N; j++) {
            float *at = sum + i * TR_ACROSS_COLS + j * V_N;
            if (whole) v_store(at, s[i][j]);
            else if (left > j * V_N) v_store_part(at, s[i][j], left - j * V_N);
        }
}

INLINE void across_type(float *sum, const float *x, int64_t ldx, int n_x, const char *w, const tr_dtype t, int64_t pitch, int64_t n,
                        int64_t k, bool add)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    for (int64_t j = 0; j < n; j += ACROSS_N * V_N)
        switch (n_x) {
        case 1:  across_n(sum + j, x, ldx, 1, w + j * size, t, pitch, n - j, k, add); break;
        case 2:  across_n(sum + j, x, ldx, 2, w + j * size, t, pitch, n - j, k, add); break;
        case 3:  across_n(sum + j, x, ldx, 3, w + j * size, t, pitch, n - j, k, add); break;
        default: across_n(sum + j, x, ldx, 4, w + j * size, t, pitch, n - j, k, add); break;
        }
}

static void across(float sum[TR_DOT_ROWS][TR_ACROSS_COLS], const float *x, int64_t ldx, int n_x, const void *w, tr_dtype t, int64_t pitch,
                   int64_t n, int64_t k, bool add)
{
    switch (t) {
    case TR_F32:  across_type(sum[0], x, ldx, n_x, w, TR_F32, pitch, n, k, add); return;
    case TR_F16:  across_type(sum[0], x, ldx, n_x, w, TR_F16, pitch, n, k, add); return;
    case TR_BF16: across_type(sum[0], x, ldx, n_x, w, TR_BF16, pitch, n, k, add); return;
    default:      across_type(sum[0], x, ldx, n_x, w, TR_F8_E4M3, pitch, n, k, add); return;
    }
}

/* ---- the epilogue ----------------------------------------------------------------------------------------- */
INLINE vf activate(vf x, const tr_act act)
{
    const vf one = v_set(1.0f);
    switch (act) {
    case TR_ACT_SILU:       return v_div(x, v_add(one, v_exp(v_sub(v_set(0.0f), x))));
    case TR_ACT_GELU_QUICK: return v_div(x, v_add(one, v_exp(v_mul(v_set(-1.702f), x))));
    case TR_ACT_GELU_TANH: {                    /* (1 + tanh u) / 2 = 1 / (1 + exp(-2u)); 2 sqrt(2 / pi), and that times 0.044715 */
        const vf u = v_mul(x, v_fma(v_mul(x, x), v_set(-0.0713548163f), v_set(-1.59576912f)));
        return v_div(x, v_add(one, v_exp(u)));
    }
    case TR_ACT_GELU_ERF:   return v_mul(x, v_phi(x));
    default:                return x;
    }
}

INLINE void finish_with(float *y, const float *h, int64_t n, const tr_finish *f, const tr_act act)
{
    const vf scale = v_set(f->scale), more_scale = v_set(f->more_scale);
    int64_t j = 0;
    for (; j + V_N <= n; j += V_N) {
        vf a = v_load(h + j);
        if (f->bias) a = v_add(a, v_load(f->bias + j));
        a = activate(v_mul(a, scale), act);
        if (f->mul) a = v_mul(a, v_load(f->mul + j));
        if (f->gate) a = v_mul(a, v_load(f->gate + j));
        if (f->residual) a = v_add(a, v_load(f->residual + j));
        if (f->more) a = v_fma(more_scale, v_load(f->more + j), a);
        v_store(y + j, a);
    }
    if (j < n) {
        const int64_t left = n - j;
        vf a = v_load_part(h + j, left);
        if (f->bias) a = v_add(a, v_load_part(f->bias + j, left));
        a = activate(v_mul(a, scale), act);
        if (f->mul) a = v_mul(a, v_load_part(f->mul + j, left));
        if (f->gate) a = v_mul(a, v_load_part(f->gate + j, left));
        if (f->residual) a = v_add(a, v_load_part(f->residual + j, left));
        if (f->more) a = v_fma(more_scale, v_load_part(f->more + j, left), a);
        v_store_part(y + j, a, left);
    }
}

static void finish(float *y, const float *h, int64_t n, const tr_finish *f)
{
    switch (f->act) {
    case TR_ACT_NONE:       finish_with(y, h, n, f, TR_ACT_NONE); return;
    case TR_ACT_SILU:       finish_with(y, h, n, f, TR_ACT_SILU); return;
    case TR_ACT_GELU_TANH:  finish_with(y, h, n, f, TR_ACT_GELU_TANH); return;
    case TR_ACT_GELU_ERF:   finish_with(y, h, n, f, TR_ACT_GELU_ERF); return;
    case TR_ACT_GELU_QUICK: finish_with(y, h, n, f, TR_ACT_GELU_QUICK); return;
    }
}

/* ---- softmax ---------------------------------------------------------------------------------------------- */
/* The logit of V_N keys, or of the first `left` of them; the others are -infinity. */
INLINE vf logit(const tr_softmax *s, const float *p, const float *bias, vf scale, vf logw, int64_t j, int64_t left, const bool whole)
{
    vf a = whole ? v_load(p + j) : v_load_part(p + j, left);
    a = v_mul(a, scale);
    if (bias) a = v_add(a, whole ? v_load(bias + j) : v_load_part(bias + j, left));
    if (s->key_logw) a = v_add(a, whole ? v_load(s->key_logw + j) : v_load_part(s->key_logw + j, left));
    return v_add(a, logw);
}

/* p[n] to logits where they have more parts than the scale; the largest logit. */
INLINE float largest_logit(const tr_softmax *s, float *p, const float *bias, vf scale, vf logw, int64_t n, const bool scale_only)
{
    vf most = v_set(-INFINITY);
    int64_t j = 0;
    for (; j + V_N <= n; j += V_N) {
        const vf a = scale_only ? v_load(p + j) : logit(s, p, bias, scale, logw, j, V_N, true);
        most = v_max(most, a);
        if (!scale_only) v_store(p + j, a);
    }
    if (j < n) {
        float last[V_N];
        if (!scale_only) v_store_part(p + j, logit(s, p, bias, scale, logw, j, n - j, false), n - j);
        for (int l = 0; l < V_N; l++) last[l] = l < n - j ? p[j + l] : -INFINITY;
        most = v_max(most, v_load(last));
    }
    return v_most(most);
}

/* p = exp(by p - shift); its sum. */
INLINE float exponentials(float *p, vf by, vf shift, int64_t n)
{
    vf sum = v_set(0);
    int64_t j = 0;
    for (; j + V_N <= n; j += V_N) {
        const vf a = v_exp(v_fma(v_load(p + j), by, shift));
        sum = v_add(sum, a);
        v_store(p + j, a);
    }
    if (j < n) {
        v_store_part(p + j, v_exp(v_fma(v_load_part(p + j, n - j), by, shift)), n - j);
        sum = v_add(sum, v_load_part(p + j, n - j));
    }
    return v_sum(sum);
}

static void softmax(const tr_softmax *s)
{
    const bool scale_only = !s->bias && !s->key_logw && !s->query_logw && s->scale > 0;     /* then the largest product is the largest logit */
    for (int i = 0; i < s->rows; i++) {
        float *p = s->p + i * TR_GEMM_PITCH;
        int64_t n = s->causal && s->first_seen + i < s->n ? s->first_seen + i : s->n;
        if (n < 0) n = 0;
        float here;
        if (scale_only) here = s->scale * largest_logit(s, p, NULL, v_set(0), v_set(0), n, true);
        else here = largest_logit(s, p, s->bias ? s->bias + i * s->bias_pitch : NULL, v_set(s->scale),
                                  v_set(s->query_logw ? s->query_logw[i] : 0), n, false);
        const float before = s->max[i], now = here > before || here != here ? here : before;
        const float shift = now == -INFINITY ? 0 : -now;        /* nothing seen yet: every exp is 0 */
        const float sum = exponentials(p, v_set(scale_only ? s->scale : 1), v_set(shift), n);
        for (int64_t j = n; j < s->n; j++) p[j] = 0;
        s->shrink[i] = before == now ? 1 : expf(before - now);  /* exp(-infinity) the first time */
        s->sum[i] = s->sum[i] * s->shrink[i] + sum;
        s->max[i] = now;
    }
}

static void scale_rows(float *o, int64_t ldo, int rows, int64_t d, const float *f)
{
    for (int i = 0; i < rows; i++) {
        if (f[i] == 1) continue;
        float *row = o + i * ldo;
        const vf by = v_set(f[i]);
        int64_t j = 0;
        for (; j + V_N <= d; j += V_N) v_store(row + j, v_mul(v_load(row + j), by));
        if (j < d) v_store_part(row + j, v_mul(v_load_part(row + j, d - j), by), d - j);
    }
}

static void softmax_back(float *p, float *ds, int64_t n, float scale, float logw, const float *lse, const float *delta)
{
    const vf by = v_set(scale), add = v_set(logw);
    int64_t j = 0;
    for (; j + V_N <= n; j += V_N) {
        const vf w = v_exp(v_sub(v_fma(v_load(p + j), by, add), v_load(lse + j)));
        v_store(ds + j, v_mul(v_mul(w, v_sub(v_load(ds + j), v_load(delta + j))), by));
        v_store(p + j, w);
    }
    if (j < n) {
        const int64_t left = n - j;
        const vf w = v_exp(v_sub(v_fma(v_load_part(p + j, left), by, add), v_load_part(lse + j, left)));
        v_store_part(ds + j, v_mul(v_mul(w, v_sub(v_load_part(ds + j, left), v_load_part(delta + j, left))), by), left);
        v_store_part(p + j, w, left);
    }
}
