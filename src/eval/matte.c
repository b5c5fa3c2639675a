/* matte.c - is the hair where the matte is, all of it, and nowhere else? */
#include "eval/eval_int.h"

#include <math.h>
#include <stdlib.h>

static double apart(tr_lab p, tr_lab q) { return sqrt((p.l - q.l) * (p.l - q.l) + (p.a - q.a) * (p.a - q.a) + (p.b - q.b) * (p.b - q.b)); }

#define CELL 6                                  /* of Lab in the search of the commonest colour */
#define N_L 20                                  /* a free cell round all that are used */
#define N_AB 46

static void cell_of(int k[3], tr_lab c)
{
    k[0] = (int)fmin(N_L - 2, fmax(1, 1 + floor(c.l / CELL)));
    k[1] = (int)fmin(N_AB - 2, fmax(1, floor(c.a / CELL) + N_AB / 2));
    k[2] = (int)fmin(N_AB - 2, fmax(1, floor(c.b / CELL) + N_AB / 2));
}

/* The commonest colour of sure hair: the mean of the fullest block of 3 x 3 x 3 cells, since light spreads hair over some. */
static tress_status mode_of(tr_lab *out, const eval_view *v)
{
    tress_status st = TRESS_OK;
    int32_t *count = NULL, most = -1;
    int best[3] = { 1, 1, 1 };
    tr_lab sum = { 0 };
    double n = 0;
    TR_TRY(tr_alloc_array((void **)&count, N_L * N_AB * N_AB, sizeof *count));
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        int k[3];
        if (!(v->matte.data[i] > 0.9f)) continue;
        cell_of(k, eval_lab(v->result.lab, i));
        count[(k[0] * N_AB + k[1]) * N_AB + k[2]]++;
    }
    for (int l = 1; l < N_L - 1; l++)
        for (int a = 1; a < N_AB - 1; a++)
            for (int b = 1; b < N_AB - 1; b++) {
                int32_t here = 0;
                for (int t = 0; t < 27; t++) here += count[((l + t / 9 - 1) * N_AB + a + t / 3 % 3 - 1) * N_AB + b + t % 3 - 1];
                if (here > most) most = here, best[0] = l, best[1] = a, best[2] = b;
            }
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        int k[3];
        const tr_lab c = eval_lab(v->result.lab, i);
        if (!(v->matte.data[i] > 0.9f)) continue;
        cell_of(k, c);
        if (abs(k[0] - best[0]) > 1 || abs(k[1] - best[1]) > 1 || abs(k[2] - best[2]) > 1) continue;
        sum.l += c.l;
        sum.a += c.a;
        sum.b += c.b;
        n++;
    }
    *out = n > 0 ? (tr_lab){ sum.l / n, sum.a / n, sum.b / n } : sum;
done:
    tr_free(count);
    return st;
}

tress_status eval_matte(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    eval_flow flow = { 0 };
    tr_lab mode, median;
    double inside = 0, outside = 0;
    int64_t n = 0, n_hole = 0;
    bool hair = false;
    TR_TRY(eval_hair_colour(&median, &hair, v, v->result.lab));
    if (!hair) goto done;
    TR_TRY(mode_of(&mode, v));
    TR_TRY(eval_flow_make(&flow, v->result.luma));
    const double reach = fmax(2, 8 * v->scale);
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        const tr_lab c = eval_lab(v->result.lab, i);
        if (v->matte.data[i] > 0.9f) {
            n++;
            n_hole += apart(c, mode) > 40;
        }
        if (!(v->alpha.data[i] > 0) || !(apart(c, median) < 25)) continue;
        *((double)v->far.data[i] > reach ? &outside : &inside) += (double)flow.clear.data[i];
    }
    if (n) value[TR_METRIC_HOLE] = (double)n_hole / (double)n;
    if (inside + outside > 0) value[TR_METRIC_LEAK] = outside / (inside + outside);
done:
    eval_flow_fini(&flow);
    return st;
}
