/* bands.c - two pictures joined octave by octave over a pyramid. Burt and Adelson 1983, sections 3 and 4. Since all of it is linear,
 * one pyramid of their difference is enough: joined = photo + sum over octaves of alpha_k (drawn - photo)_k. */
#include "image/composite.h"

#include <string.h>

#define LEVEL_MAX 12

static int mirrored(int i, int n)               /* the edge is the axis: 2 1 0 1 2 */
{
    if (i < 0) i = -i;
    if (i >= n) i = 2 * (n - 1) - i;
    return i < 0 ? 0 : i;
}

/* Every second pixel of the picture under 1 4 6 4 1 / 16. */
static tress_status reduce(tr_planes *out, tr_planes in)
{
    static const float k[3] = { 6 / 16.0f, 4 / 16.0f, 1 / 16.0f };
    tress_status st = TRESS_OK;
    tr_planes half = { 0 }, whole = { 0 };
    const int w = (in.w + 1) / 2, h = (in.h + 1) / 2;
    TR_TRY(tr_planes_new(&half, in.c, in.h, w));
    TR_TRY(tr_planes_new(&whole, in.c, h, w));
    for (int c = 0; c < in.c; c++) {
        for (int y = 0; y < in.h; y++) {
            const float *v = tr_plane(in, c) + (int64_t)y * in.w;
            float *to = tr_plane(half, c) + (int64_t)y * w;
            for (int x = 0; x < w; x++) {
                to[x] = k[0] * v[2 * x];
                for (int t = 1; t < 3; t++) to[x] += k[t] * (v[mirrored(2 * x - t, in.w)] + v[mirrored(2 * x + t, in.w)]);
            }
        }
        for (int y = 0; y < h; y++) {
            float *to = tr_plane(whole, c) + (int64_t)y * w;
            const float *rows[5];
            for (int t = -2; t <= 2; t++) rows[t + 2] = tr_plane(half, c) + (int64_t)mirrored(2 * y + t, in.h) * w;
            for (int x = 0; x < w; x++) to[x] = k[0] * rows[2][x] + k[1] * (rows[1][x] + rows[3][x]) + k[2] * (rows[0][x] + rows[4][x]);
        }
    }
    *out = whole;
    whole = (tr_planes){ 0 };
done:
    tr_planes_fini(&half);
    tr_planes_fini(&whole);
    return st;
}

/* to += sign * coarse at twice the size: even pixels 1 6 1 / 8, odd ones 4 4 / 8 of their neighbours. */
static void add_expanded(tr_planes to, tr_planes coarse, float sign)
{
    for (int c = 0; c < to.c; c++)
        for (int y = 0; y < to.h; y++) {
            const float *p = tr_plane(coarse, c);
            const int j = y / 2, above = mirrored(j - 1, coarse.h), below = mirrored(j + 1, coarse.h);
            float *v = tr_plane(to, c) + (int64_t)y * to.w;
            for (int x = 0; x < to.w; x++) {
                const int i = x / 2, l = mirrored(i - 1, coarse.w), r = mirrored(i + 1, coarse.w);
                float column[3];
                for (int t = 0; t < 3; t++) {
                    const int u = t == 0 ? l : t == 1 ? i : r;
                    const float mid = p[(int64_t)j * coarse.w + u], down = p[(int64_t)below * coarse.w + u];
                    column[t] = y & 1 ? (mid + down) / 2 : (p[(int64_t)above * coarse.w + u] + 6 * mid + down) / 8;
                }
                v[x] += sign * (x & 1 ? (column[1] + column[2]) / 2 : (column[0] + 6 * column[1] + column[2]) / 8);
            }
        }
}

static void weigh(tr_planes band, tr_planes alpha)
{
    for (int c = 0; c < band.c; c++)
        for (int64_t i = 0; i < (int64_t)band.w * band.h; i++) tr_plane(band, c)[i] *= alpha.data[i];
}

tress_status tr_join_bands(tr_planes drawn, tr_planes photo, tr_planes alpha, int n_level)
{
    tress_status st = TRESS_OK;
    tr_planes band[LEVEL_MAX + 1] = { { 0 } }, weight[LEVEL_MAX + 1] = { { 0 } };
    const int64_t n = (int64_t)drawn.w * drawn.h;
    if (drawn.c != photo.c || drawn.w != photo.w || drawn.h != photo.h || alpha.c != 1 || alpha.w != drawn.w || alpha.h != drawn.h)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "a drawing of %d x %d joined with a photo of %d x %d by an alpha of %d x %d", drawn.w, drawn.h, photo.w, photo.h, alpha.w, alpha.h));
    if (n_level > LEVEL_MAX) n_level = LEVEL_MAX;
    TR_TRY(tr_planes_new(&band[0], drawn.c, drawn.h, drawn.w));
    TR_TRY(tr_planes_new(&weight[0], 1, drawn.h, drawn.w));
    for (int64_t i = 0; i < drawn.c * n; i++) band[0].data[i] = drawn.data[i] - photo.data[i];
    memcpy(weight[0].data, alpha.data, (size_t)n * sizeof(float));
    int top = 0;
    for (; top < n_level && band[top].w > 4 && band[top].h > 4; top++) {
        TR_TRY(reduce(&band[top + 1], band[top]));
        TR_TRY(reduce(&weight[top + 1], weight[top]));
        add_expanded(band[top], band[top + 1], -1);
    }
    for (int k = top; k >= 0; k--) {
        weigh(band[k], weight[k]);
        if (k < top) add_expanded(band[k], band[k + 1], 1);
    }
    for (int64_t i = 0; i < drawn.c * n; i++) drawn.data[i] = photo.data[i] + band[0].data[i];
done:
    for (int k = 0; k <= LEVEL_MAX; k++) {
        tr_planes_fini(&band[k]);
        tr_planes_fini(&weight[k]);
    }
    return st;
}
