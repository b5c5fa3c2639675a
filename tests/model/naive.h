/* naive.h - the SD3 transformer in float64, as its formulas read and without a thought for speed: what gradients are differences of.
 * Esser et al. 2024, arXiv:2403.03206, fig. 2. Of one small size; the weights come from a safetensors file by the names of diffusers.
 * Shares no code with src/model. Scale, shift and gate are the rows of adaLN; LN is without affine. */
#ifndef TRESS_TESTS_MODEL_NAIVE_H
#define TRESS_TESTS_MODEL_NAIVE_H

#include "sd3.h"

enum { N_BATCH = 2, ROWS = 2, COLS = 3, N_TOKEN = ROWS * COLS, N_TEXT_MAX = 3, N_BLOCK_MAX = 3, D = 64, CHANNELS = 16, D_CONTEXT = 8,
       D_POOLED = 8, POS_MAX = 4, TIME = 256, PATCH = 4 * CHANNELS, N_LATENT = CHANNELS * 4 * N_TOKEN };
#define NAIVE_EPS 1e-6

typedef struct naive_layer {
    char    name[96];
    int     d_out, d_in, rank;
    double *w, *b;                              /* [d_in, d_out], [d_out] */
    double *a, *up;                             /* [rank, d_in], [d_out, rank]; rank 0: no adapter */
} naive_layer;

typedef struct naive {
    tr_safetensors *file;
    int    n_block, n_head, n_text, n_residual;
    bool   qk_norm, dual[N_BLOCK_MAX], residual_last;
    double low_scale, logw, residual_scale;
    naive_layer layer[128];
    int    n_layer;
    double latent[N_BATCH][N_LATENT], context[N_BATCH][N_TEXT_MAX][D_CONTEXT], pooled[N_BATCH][D_POOLED], timestep[N_BATCH];
    double residual[N_BLOCK_MAX][N_BATCH][N_TOKEN][D];
    double image[N_BLOCK_MAX + 1][N_BATCH][N_TOKEN][D], text[N_BLOCK_MAX + 1][N_BATCH][N_TEXT_MAX][D];     /* what enters a block */
    double image_mod[N_BLOCK_MAX][N_BATCH][9][D], text_mod[N_BLOCK_MAX][N_BATCH][6][D], head_mod[N_BATCH][2][D];
    double v[N_BATCH][N_LATENT];
} naive;

/* ---- layers ------------------------------------------------------------------------------------------------ */
static double *naive_read(const naive *m, const char *name, int64_t n)
{
    tr_tensor t;
    void *p = NULL;
    if (!tr_safetensors_find(m->file, name, &t) || tr_count(t) != n) fail_msg("%s: not there with %d elements", name, (int)n);
    OK(tr_alloc_array(&p, n, sizeof(double)));
    for (int64_t i = 0; i < n; i++) ((double *)p)[i] = (double)((const float *)t.data)[i];
    return p;
}

static naive_layer *naive_find(naive *m, const char *name)
{
    for (int i = 0; i < m->n_layer; i++)
        if (strcmp(m->layer[i].name, name) == 0) return &m->layer[i];
    return NULL;
}

static naive_layer *naive_layer_of(naive *m, const char *name, int d_out, int d_in)
{
    naive_layer *l = naive_find(m, name);
    char part[128];
    if (l) return l;
    assert_true(m->n_layer < 128);
    l = &m->layer[m->n_layer++];
    *l = (naive_layer){ .d_out = d_out, .d_in = d_in };
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(part, sizeof part, "%s.weight", name);
    double *w = naive_read(m, part, (int64_t)d_out * d_in);
    void *turned = NULL;
    OK(tr_alloc_array(&turned, (int64_t)d_out * d_in, sizeof(double)));
    l->w = turned;
    for (int i = 0; i < d_out; i++)
        for (int j = 0; j < d_in; j++) l->w[j * d_out + i] = w[i * d_in + j];
    tr_free(w);
    snprintf(part, sizeof part, "%s.bias", name);
    l->b = naive_read(m, part, d_out);
    return l;
}

static void naive_close(naive *m)
{
    for (int i = 0; i < m->n_layer; i++) {
        tr_free(m->layer[i].w);
        tr_free(m->layer[i].b);
        tr_free(m->layer[i].a);
        tr_free(m->layer[i].up);
    }
    tr_safetensors_close(m->file);
}

/* y = W x + b + low_scale B (A x) */
static void linear(naive *m, double *y, const double *x, const char *prefix, const char *name, int d_out, int d_in)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const naive_layer *l = naive_layer_of(m, full, d_out, d_in);
    for (int i = 0; i < d_out; i++) y[i] = l->b[i];
    for (int j = 0; j < d_in; j++)
        for (int i = 0; i < d_out; i++) y[i] += l->w[j * d_out + i] * x[j];
    for (int r = 0; r < l->rank; r++) {
        double low = 0;
        for (int j = 0; j < d_in; j++) low += l->a[r * d_in + j] * x[j];
        for (int i = 0; i < d_out; i++) y[i] += m->low_scale * l->up[i * l->rank + r] * low;
    }
}

static double silu(double x) { return x / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))); }

/* y = LN(x) (1 + scale) + shift */
static void modulate(double *y, const double *x, const double *scale, const double *shift)
{
    double mean = 0, var = 0;
    for (int i = 0; i < D; i++) mean += x[i] / D;
    for (int i = 0; i < D; i++) var += (x[i] - mean) * (x[i] - mean) / D;
    for (int i = 0; i < D; i++) y[i] = (x[i] - mean) / sqrt(var + NAIVE_EPS) * (1 + scale[i]) + shift[i];
}

/* Each head of x by itself. */
static void rms_norm(const naive *m, double *x, const char *prefix, const char *name)
{
    char full[128];
    const int d_head = D / m->n_head;
    tr_tensor w;
    if (!m->qk_norm) return;
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    assert_true(tr_safetensors_find(m->file, full, &w));
    for (int h = 0; h < m->n_head; h++) {
        double sum = 0, *const at = x + h * d_head;
        for (int i = 0; i < d_head; i++) sum += at[i] * at[i];
        const double by = 1 / sqrt(sum / d_head + NAIVE_EPS);
        for (int i = 0; i < d_head; i++) at[i] *= by * (double)((const float *)w.data)[i];
    }
}

/* ---- attention --------------------------------------------------------------------------------------------- */
enum { KEY_MAX = N_TOKEN + N_TEXT_MAX };
/* o = softmax(q k / sqrt(d_head) + logw) v for one query, head by head. */
static void attend(const naive *m, double o[D], const double q[D], int n_key, double k[KEY_MAX][D], double v[KEY_MAX][D],
                   const double logw[KEY_MAX])
{
    const int d_head = D / m->n_head;
    for (int h = 0; h < m->n_head; h++) {
        double p[KEY_MAX], most = -INFINITY, sum = 0;
        for (int j = 0; j < n_key; j++) {
            p[j] = 0;
            for (int i = h * d_head; i < (h + 1) * d_head; i++) p[j] += q[i] * k[j][i];
            p[j] = p[j] / sqrt(d_head) + logw[j];
            most = p[j] > most ? p[j] : most;
        }
        for (int j = 0; j < n_key; j++) sum += p[j] = exp(p[j] - most);
        for (int i = h * d_head; i < (h + 1) * d_head; i++) {
            o[i] = 0;
            for (int j = 0; j < n_key; j++) o[i] += p[j] / sum * v[j][i];
        }
    }
}

/* x += gate_mlp down(gelu(up((scale_mlp; shift_mlp)))) */
static void feed_forward(naive *m, double x[D], double mod[][D], const char *prefix, const char *up, const char *down)
{
    double h[D], u[4 * D];
    modulate(h, x, mod[4], mod[3]);
    linear(m, u, h, prefix, up, 4 * D, D);
    for (int i = 0; i < 4 * D; i++) u[i] = gelu(u[i]);
    linear(m, h, u, prefix, down, D, 4 * D);
    for (int i = 0; i < D; i++) x[i] += mod[5][i] * h[i];
}

/* Sample b through block i: image and text [i] -> [i + 1], the ControlNet's residual added. */
static void block(naive *m, int i, int b)
{
    const bool last = i + 1 == m->n_block;
    const int n = m->n_text, n_key = N_TOKEN + n;
    double h[D], q[KEY_MAX][D], k[KEY_MAX][D], v[KEY_MAX][D], o[D], y[D], logw[KEY_MAX] = { 0 };
    double second[N_TOKEN][D] = { { 0 } };
    double (*x)[D] = m->image[i + 1][b], (*c)[D] = m->text[i + 1][b], (*mod)[D] = m->image_mod[i][b], (*mod_c)[D] = m->text_mod[i][b];
    char at[64];
    memcpy(x, m->image[i][b], sizeof m->image[i][b]);
    memcpy(c, m->text[i][b], sizeof m->text[i][b]);

    snprintf(at, sizeof at, "transformer_blocks.%d.attn2.", i);
    for (int t = 0; m->dual[i] && t < N_TOKEN; t++) {
        modulate(h, x[t], mod[7], mod[6]);
        linear(m, q[t], h, at, "to_q", D, D);
        linear(m, k[t], h, at, "to_k", D, D);
        linear(m, v[t], h, at, "to_v", D, D);
        rms_norm(m, q[t], at, "norm_q");
        rms_norm(m, k[t], at, "norm_k");
    }
    for (int t = 0; m->dual[i] && t < N_TOKEN; t++) {
        attend(m, o, q[t], N_TOKEN, k, v, logw);
        linear(m, second[t], o, at, "to_out.0", D, D);
    }

    snprintf(at, sizeof at, "transformer_blocks.%d.attn.", i);
    for (int t = 0; t < N_TOKEN; t++) {
        modulate(h, x[t], mod[1], mod[0]);
        linear(m, q[t], h, at, "to_q", D, D);
        linear(m, k[t], h, at, "to_k", D, D);
        linear(m, v[t], h, at, "to_v", D, D);
        rms_norm(m, q[t], at, "norm_q");
        rms_norm(m, k[t], at, "norm_k");
    }
    for (int t = N_TOKEN; t < n_key; t++) {
        logw[t] = m->logw;
        if (last) modulate(h, c[t - N_TOKEN], mod_c[0], mod_c[1]);
        else modulate(h, c[t - N_TOKEN], mod_c[1], mod_c[0]);
        linear(m, k[t], h, at, "add_k_proj", D, D);
        linear(m, v[t], h, at, "add_v_proj", D, D);
        rms_norm(m, k[t], at, "norm_added_k");
        if (last) continue;
        linear(m, q[t], h, at, "add_q_proj", D, D);
        rms_norm(m, q[t], at, "norm_added_q");
    }
    for (int t = 0; t < (last ? N_TOKEN : n_key); t++) {
        const bool words = t >= N_TOKEN;
        double *to = words ? c[t - N_TOKEN] : x[t], *const gate = words ? mod_c[2] : mod[2];
        attend(m, o, q[t], n_key, k, v, logw);
        linear(m, y, o, at, words ? "to_add_out" : "to_out.0", D, D);
        for (int d = 0; d < D; d++) to[d] += gate[d] * y[d];
    }
    snprintf(at, sizeof at, "transformer_blocks.%d.", i);
    for (int t = 0; t < N_TOKEN; t++) {
        for (int d = 0; m->dual[i] && d < D; d++) x[t][d] += mod[8][d] * second[t][d];
        feed_forward(m, x[t], mod, at, "ff.net.0.proj", "ff.net.2");
    }
    for (int t = 0; !last && t < n; t++) feed_forward(m, c[t], mod_c, at, "ff_context.net.0.proj", "ff_context.net.2");

    if (m->n_residual == 0 || (last && !m->residual_last)) return;
    for (int t = 0; t < N_TOKEN; t++)
        for (int d = 0; d < D; d++) x[t][d] += m->residual_scale * m->residual[i * m->n_residual / m->n_block][b][t][d];
}

/* ---- around the blocks ------------------------------------------------------------------------------------- */
/* What depends on no adapter: tokens, text, and the rows of adaLN. */
static void naive_begin(naive *m)
{
    double *pos = naive_read(m, "pos_embed.pos_embed", POS_MAX * POS_MAX * D);
    for (int b = 0; b < N_BATCH; b++) {
        double wave[TIME], hidden[D], time[D], temb[D], patch[PATCH];
        for (int t = 0; t < N_TOKEN; t++) {
            const int r = t / COLS, c = t % COLS, top = (POS_MAX - ROWS) / 2, left = (POS_MAX - COLS) / 2;
            for (int i = 0; i < PATCH; i++) patch[i] = m->latent[b][(i / 4 * 2 * ROWS + 2 * r + i / 2 % 2) * 2 * COLS + 2 * c + i % 2];
            linear(m, m->image[0][b][t], patch, "", "pos_embed.proj", D, PATCH);
            for (int d = 0; d < D; d++) m->image[0][b][t][d] += pos[((top + r) * POS_MAX + left + c) * D + d];
        }
        for (int t = 0; t < m->n_text; t++) linear(m, m->text[0][b][t], m->context[b][t], "", "context_embedder", D, D_CONTEXT);
        for (int i = 0; i < TIME / 2; i++) {
            const double f = m->timestep[b] * pow(10000, -i / (TIME / 2.0));
            wave[i] = cos(f);
            wave[TIME / 2 + i] = sin(f);
        }
        linear(m, hidden, wave, "time_text_embed.", "timestep_embedder.linear_1", D, TIME);
        for (int d = 0; d < D; d++) hidden[d] = silu(hidden[d]);
        linear(m, time, hidden, "time_text_embed.", "timestep_embedder.linear_2", D, D);
        linear(m, hidden, m->pooled[b], "time_text_embed.", "text_embedder.linear_1", D, D_POOLED);
        for (int d = 0; d < D; d++) hidden[d] = silu(hidden[d]);
        linear(m, temb, hidden, "time_text_embed.", "text_embedder.linear_2", D, D);
        for (int d = 0; d < D; d++) temb[d] = silu(temb[d] + time[d]);
        for (int i = 0; i < m->n_block; i++) {
            char at[64];
            snprintf(at, sizeof at, "transformer_blocks.%d.", i);
            linear(m, (double *)m->image_mod[i][b], temb, at, "norm1.linear", (m->dual[i] ? 9 : 6) * D, D);
            linear(m, (double *)m->text_mod[i][b], temb, at, "norm1_context.linear", (i + 1 == m->n_block ? 2 : 6) * D, D);
        }
        linear(m, (double *)m->head_mod[b], temb, "", "norm_out.linear", 2 * D, D);
    }
    tr_free(pos);
}

/* v from the blocks `first` and up: what is below is as the last call left it. */
static void naive_forward(naive *m, int first)
{
    for (int b = 0; b < N_BATCH; b++) {
        for (int i = first; i < m->n_block; i++) block(m, i, b);
        for (int t = 0; t < N_TOKEN; t++) {
            double h[D], patch[PATCH];
            modulate(h, m->image[m->n_block][b][t], m->head_mod[b][0], m->head_mod[b][1]);
            linear(m, patch, h, "", "proj_out", PATCH, D);
            for (int i = 0; i < PATCH; i++) {
                const int c = i % CHANNELS, y = 2 * (t / COLS) + i / CHANNELS / 2, x = 2 * (t % COLS) + i / CHANNELS % 2;
                m->v[b][(c * 2 * ROWS + y) * 2 * COLS + x] = patch[i];
            }
        }
    }
}

#endif
