/* winograd_inl.h - the transforms of F(4x4, 3x3) over the vectors of vec.h: 16 results from 36 products instead of 144.
 * Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308. Points 0, +-3/4, +-3/2 and infinity rather than the usual 0, +-1, +-2:
 * half the error (1.0e-6 against 2.2e-6 relative at 128 channels; direct sums 2e-7), the same number of operations.
 *     Barabasz et al. 2018, arXiv:1803.10986, on the choice of points */

/* 1-D: w[3] to u[6], d[6] to v[6], m[6] to y[4].  a = 3/4, b = 3/2, p = a^2, q = b^2. */
INLINE void wino_g(vf u[6], vf w0, vf w1, vf w2)
{
    const vf even_a = v_fma(v_set(0.5625f), w2, w0), even_b = v_fma(v_set(2.25f), w2, w0);
    const vf by_a = v_set(-128.0f / 243), by_b = v_set(32.0f / 243);        /* 1 / (2 p (p - q)), 1 / (2 q (q - p)) */
    u[0] = v_mul(v_set(64.0f / 81), w0);                                     /* 1 / (p q) */
    u[1] = v_mul(by_a, v_fma(v_set(0.75f), w1, even_a));
    u[2] = v_mul(by_a, v_nfma(v_set(0.75f), w1, even_a));
    u[3] = v_mul(by_b, v_fma(v_set(1.5f), w1, even_b));
    u[4] = v_mul(by_b, v_nfma(v_set(1.5f), w1, even_b));
    u[5] = w2;
}

INLINE void wino_b(vf v[6], vf d0, vf d1, vf d2, vf d3, vf d4, vf d5)
{
    const vf p = v_set(0.5625f), q = v_set(2.25f), both = v_set(2.8125f), product = v_set(1.265625f), a = v_set(0.75f), b = v_set(1.5f);
    const vf even_a = v_nfma(q, d2, d4), odd_a = v_nfma(q, d1, d3), even_b = v_nfma(p, d2, d4), odd_b = v_nfma(p, d1, d3);
    v[0] = v_fma(product, d0, v_nfma(both, d2, d4));
    v[1] = v_fma(a, odd_a, even_a);
    v[2] = v_nfma(a, odd_a, even_a);
    v[3] = v_fma(b, odd_b, even_b);
    v[4] = v_nfma(b, odd_b, even_b);
    v[5] = v_fma(product, d1, v_nfma(both, d3, d5));
}

INLINE void wino_a(vf y[4], vf m0, vf m1, vf m2, vf m3, vf m4, vf m5)
{
    const vf sum_a = v_add(m1, m2), less_a = v_sub(m1, m2), sum_b = v_add(m3, m4), less_b = v_sub(m3, m4);
    y[0] = v_add(m0, v_add(sum_a, sum_b));
    y[1] = v_fma(v_set(0.75f), less_a, v_mul(v_set(1.5f), less_b));
    y[2] = v_fma(v_set(0.5625f), sum_a, v_mul(v_set(2.25f), sum_b));
    y[3] = v_fma(v_set(0.421875f), less_a, v_fma(v_set(3.375f), less_b, m5));
}

static void wino_weights(float *u, int64_t u_step, const float *w, int64_t n_c)
{
    for (int64_t c = 0; c < n_c; c++, w += 9 * COLS, u += COLS)
        for (int j = 0; j < COLS; j += V_N) {
            vf down[3][6];                      /* by column of the kernel */
#pragma GCC unroll 3
            for (int x = 0; x < 3; x++) wino_g(down[x], v_load(w + x * COLS + j), v_load(w + (3 + x) * COLS + j), v_load(w + (6 + x) * COLS + j));
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) {
                vf across[6];
                wino_g(across, down[0][i], down[1][i], down[2][i]);
#pragma GCC unroll 6
                for (int l = 0; l < 6; l++) v_store(u + (6 * i + l) * u_step + j, across[l]);
            }
        }
}

INLINE vf wino_load(const float *p, int64_t left) { return left >= V_N ? v_load(p) : v_load_part(p, left); }
INLINE void wino_store(float *p, vf a, int64_t left)
{
    if (left >= V_N) v_store(p, a);
    else v_store_part(p, a, left);
}

static void wino_input(float *v, int64_t v_step, const float *const d[36], int64_t n_c)
{
    for (int64_t c = 0; c < n_c; c += V_N) {
        const int64_t left = n_c - c;
        vf down[6][6];
#pragma GCC unroll 6
        for (int x = 0; x < 6; x++)
            wino_b(down[x], wino_load(d[x] + c, left), wino_load(d[6 + x] + c, left), wino_load(d[12 + x] + c, left),
                   wino_load(d[18 + x] + c, left), wino_load(d[24 + x] + c, left), wino_load(d[30 + x] + c, left));
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) {
            vf across[6];
            wino_b(across, down[0][i], down[1][i], down[2][i], down[3][i], down[4][i], down[5][i]);
#pragma GCC unroll 6
            for (int l = 0; l < 6; l++) wino_store(v + (6 * i + l) * v_step + c, across[l], left);
        }
    }
}

static void wino_output(float *const y[16], const float *const residual[16], const float *m, int64_t m_step, const float *bias, int64_t n_m)
{
    for (int64_t j = 0; j < n_m; j += V_N) {
        const int64_t left = n_m - j;
        const vf add = wino_load(bias + j, left);
        vf down[6][4];
#pragma GCC unroll 6
        for (int x = 0; x < 6; x++)
            wino_a(down[x], v_load(m + x * m_step + j), v_load(m + (6 + x) * m_step + j), v_load(m + (12 + x) * m_step + j),
                   v_load(m + (18 + x) * m_step + j), v_load(m + (24 + x) * m_step + j), v_load(m + (30 + x) * m_step + j));
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            vf across[4];
            wino_a(across, down[0][i], down[1][i], down[2][i], down[3][i], down[4][i], down[5][i]);
#pragma GCC unroll 4
            for (int l = 0; l < 4; l++) {
                if (!y[4 * i + l]) continue;
                vf a = v_add(across[l], add);
                if (residual) a = v_add(a, wino_load(residual[4 * i + l] + j, left));
                wino_store(y[4 * i + l] + j, a, left);
            }
        }
    }
}
