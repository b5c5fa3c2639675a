/* y = x for any strides and float types. Memory-bound: every element is read and written once. Dims are put in the order of
 * y's steps and merged where both run on; then either rows run along together, or the two inner directions differ (a change
 * of layout) and go through tiles that fit the first-level cache, or it is element by element. */
#include "backend/cpu/each.h"

#include <string.h>

#define TILE 32

typedef struct plan {
    int     rank;
    int64_t n[TR_RANK_MAX], ys[TR_RANK_MAX], xs[TR_RANK_MAX];    /* ys falls */
    char   *y;
    const char *x;
    tr_dtype yt, xt;
    size_t  y_size, x_size;
    const tr_rows *k;
} plan;

static void swap_dims(plan *p, int a, int b)
{
    const int64_t n = p->n[a], ys = p->ys[a], xs = p->xs[a];
    p->n[a] = p->n[b], p->ys[a] = p->ys[b], p->xs[a] = p->xs[b];
    p->n[b] = n, p->ys[b] = ys, p->xs[b] = xs;
}

static plan make_plan(const tr_rows *k, tr_tensor y, tr_tensor x)
{
    plan p = { .y = y.data, .x = x.data, .yt = y.dtype, .xt = x.dtype, .y_size = tr_dtype_size(y.dtype), .x_size = tr_dtype_size(x.dtype), .k = k };
    for (int a = 0; a < y.rank; a++) {
        if (y.shape[a] == 1) continue;
        p.n[p.rank] = y.shape[a], p.ys[p.rank] = y.stride[a], p.xs[p.rank] = x.stride[a];
        for (int b = p.rank++; b > 0 && p.ys[b] > p.ys[b - 1]; b--) swap_dims(&p, b, b - 1);
    }
    for (int a = p.rank - 1; a > 0; a--)                     /* merge a into a - 1 where both run on */
        if (p.ys[a - 1] == p.n[a] * p.ys[a] && p.xs[a - 1] == p.n[a] * p.xs[a]) {
            p.n[a - 1] *= p.n[a], p.ys[a - 1] = p.ys[a], p.xs[a - 1] = p.xs[a];
            for (int b = a; b + 1 < p.rank; b++) p.n[b] = p.n[b + 1], p.ys[b] = p.ys[b + 1], p.xs[b] = p.xs[b + 1];
            p.rank--;
        }
    if (p.rank == 0) {
        p.rank = 1;
        p.n[0] = p.ys[0] = p.xs[0] = 1;
    }
    return p;
}

/* Where the i-th combination of the first n_dim dims begins. */
static void locate(const plan *p, int n_dim, int64_t i, char **y, const char **x)
{
    int64_t yo = 0, xo = 0;
    for (int a = n_dim - 1; a >= 0; a--) {
        yo += i % p->n[a] * p->ys[a];
        xo += i % p->n[a] * p->xs[a];
        i /= p->n[a];
    }
    *y = p->y + yo * (int64_t)p->y_size;
    *x = p->x + xo * (int64_t)p->x_size;
}

/* n elements that lie one after the other in both. */
static void run_of(const plan *p, char *y, const char *x, int64_t n)
{
    if (p->yt == p->xt) memmove(y, x, (size_t)n * p->y_size);
    else if (p->yt == TR_F32) p->k->to_f32((float *)(void *)y, x, p->xt, n);
    else if (p->xt == TR_F32 && (uintptr_t)x % sizeof(float) == 0) p->k->from_f32(y, (const float *)(const void *)x, p->yt, n);
    else
        for (float v[256]; n > 0; n -= 256, y += 256 * p->y_size, x += 256 * p->x_size) {
            p->k->to_f32(v, x, p->xt, n < 256 ? n : 256);
            p->k->from_f32(y, v, p->yt, n < 256 ? n : 256);
        }
}

/* y[i, j] = x[i, j], i < ni along x (x step 1, y step ys), j < nj along y (y step 1, x step xs); sizes are multiplied in. */
static void tile_of_4(char *y, const char *x, int64_t ni, int64_t nj, int64_t ys, int64_t xs)
{
    uint32_t t[TILE][TILE], turned[TILE];
    for (int64_t j = 0; j < nj; j++) memcpy(t[j], x + j * xs, (size_t)ni * 4);
    for (int64_t i = 0; i < ni; i++) {
        for (int64_t j = 0; j < nj; j++) turned[j] = t[j][i];
        memcpy(y + i * ys, turned, (size_t)nj * 4);
    }
}

static void tile_of_any(const plan *p, char *y, const char *x, int64_t ni, int64_t nj, int64_t ys, int64_t xs)
{
    if (p->yt == p->xt) {
        for (int64_t i = 0; i < ni; i++)
            for (int64_t j = 0; j < nj; j++) memcpy(y + i * ys + j * (int64_t)p->y_size, x + j * xs + i * (int64_t)p->x_size, p->y_size);
        return;
    }
    float t[TILE][TILE], turned[TILE];
    for (int64_t j = 0; j < nj; j++) p->k->to_f32(t[j], x + j * xs, p->xt, ni);
    for (int64_t i = 0; i < ni; i++) {
        for (int64_t j = 0; j < nj; j++) turned[j] = t[j][i];
        p->k->from_f32(y + i * ys, turned, p->yt, nj);
    }
}

static void copy_rows(const tr_stream *s, const plan *p)
{
    const int last = p->rank - 1;
    const int64_t n = p->n[last], n_piece = tr_pieces(n), together = tr_rows_together(n);
    int64_t n_row = 1;
    for (int a = 0; a < last; a++) n_row *= p->n[a];
    const int64_t n_item = (n_row + together - 1) / together * n_piece;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item % n_piece * TR_ITEM, m = n - at < TR_ITEM ? n - at : TR_ITEM, first = item / n_piece * together;
        for (int64_t i = first; i < first + together && i < n_row; i++) {
            char *y;
            const char *x;
            locate(p, last, i, &y, &x);
            run_of(p, y + at * (int64_t)p->y_size, x + at * (int64_t)p->x_size, m);
        }
    }
}

/* Dim last - 1 is x's dense one, dim last is y's. */
static void copy_turned(const tr_stream *s, const plan *p)
{
    const int last = p->rank - 1;
    const int64_t ni = p->n[last - 1], nj = p->n[last], n_tile = (ni + TILE - 1) / TILE;
    const int64_t ys = p->ys[last - 1] * (int64_t)p->y_size, xs = p->xs[last] * (int64_t)p->x_size;
    int64_t n_outer = 1;
    for (int a = 0; a < last - 1; a++) n_outer *= p->n[a];
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_outer * ni * nj > TR_ITEM)
    for (int64_t item = 0; item < n_outer * n_tile; item++) {
        const int64_t i = item % n_tile * TILE, mi = ni - i < TILE ? ni - i : TILE;
        char *y;
        const char *x;
        locate(p, last - 1, item / n_tile, &y, &x);
        for (int64_t j = 0; j < nj; j += TILE) {
            const int64_t mj = nj - j < TILE ? nj - j : TILE;
            char *to = y + i * ys + j * (int64_t)p->y_size;
            const char *from = x + j * xs + i * (int64_t)p->x_size;
            if (p->yt == p->xt && p->y_size == 4) tile_of_4(to, from, mi, mj, ys, xs);
            else tile_of_any(p, to, from, mi, mj, ys, xs);
        }
    }
}

static void copy_elements(const tr_stream *s, const plan *p)
{
    int64_t n = 1;
    for (int a = 0; a < p->rank; a++) n *= p->n[a];
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > TR_ITEM)
    for (int64_t i = 0; i < n; i++) {
        char *y;
        const char *x;
        locate(p, p->rank, i, &y, &x);
        run_of(p, y, x, 1);
    }
}

tress_status tr_cpu_copy(tr_stream *s, tr_tensor y, tr_tensor x)
{
    if (tr_count(y) == 0) return TRESS_OK;
    plan p = make_plan(tr_cpu_rows(s), y, x);
    const int last = p.rank - 1;
    int dense = -1;
    for (int a = 0; a <= last; a++)
        if (p.xs[a] == 1) dense = a;
    if (p.ys[last] == 1 && p.xs[last] == 1) {
        copy_rows(s, &p);
    } else if (p.ys[last] == 1 && dense >= 0) {
        swap_dims(&p, dense, last - 1);
        copy_turned(s, &p);
    } else {
        copy_elements(s, &p);
    }
    return TRESS_OK;
}
