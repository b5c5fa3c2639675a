/* fill.c - a hole filled smoothly from its surroundings by push and pull over a pyramid: Gortler et al. 1996 (The Lumigraph),
 * section 3.4. Push: each coarser level is the mean of the known pixels below it; pull: what is unknown comes from above. */
#include "image/matte.h"

#include <string.h>

#define LEVEL_MAX 18                            /* 65535 halves to 1 in 16 */

/* Known share in plane 3, colours weighted by it in planes 0 to 2. */
static tress_status push(tr_planes *out, tr_planes fine)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    TR_TRY(tr_planes_new(&p, 4, (fine.h + 1) / 2, (fine.w + 1) / 2));
    for (int c = 0; c < 4; c++)
        for (int y = 0; y < p.h; y++)
            for (int x = 0; x < p.w; x++) {
                const float *v = tr_plane(fine, c) + (int64_t)2 * y * fine.w + 2 * x;
                const bool right = 2 * x + 1 < fine.w, below = 2 * y + 1 < fine.h;
                float sum = v[0];
                if (right) sum += v[1];
                if (below) sum += v[fine.w];
                if (right && below) sum += v[fine.w + 1];
                tr_plane(p, c)[(int64_t)y * p.w + x] = sum / (float)((right ? 2 : 1) * (below ? 2 : 1));
            }
    *out = p;
done:
    return st;
}

static float between(const float *v, int w, int h, int x, int y)                 /* fine pixel (x, y) in the coarse plane, bilinear */
{
    const int x0 = (x - 1) >> 1, y0 = (y - 1) >> 1;                              /* (x + 0.5) / 2 - 0.5, rounded down */
    const float tx = x & 1 ? 0.25f : 0.75f, ty = y & 1 ? 0.25f : 0.75f;
    const int l = x0 < 0 ? 0 : x0, r = x0 + 1 < w ? x0 + 1 : w - 1, t = y0 < 0 ? 0 : y0, b = y0 + 1 < h ? y0 + 1 : h - 1;
    const float top = v[(int64_t)t * w + l] * (1 - tx) + v[(int64_t)t * w + r] * tx;
    const float bottom = v[(int64_t)b * w + l] * (1 - tx) + v[(int64_t)b * w + r] * tx;
    return top * (1 - ty) + bottom * ty;
}

static void pull(tr_planes fine, tr_planes coarse)
{
    const float *known = tr_plane(fine, 3);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < fine.h; y++)
            for (int x = 0; x < fine.w; x++) {
                const int64_t i = (int64_t)y * fine.w + x;
                if (known[i] < 1) tr_plane(fine, c)[i] += (1 - known[i]) * between(tr_plane(coarse, c), coarse.w, coarse.h, x, y);
            }
}

tress_status tr_fill(tr_planes *out, tr_planes photo, tr_planes region)
{
    tress_status st = TRESS_OK;
    tr_planes level[LEVEL_MAX] = { { 0 } }, p = { 0 };
    int n = 0;
    const int64_t n_pixel = (int64_t)photo.w * photo.h;
    if (photo.c != 3 || region.c != 1 || region.w != photo.w || region.h != photo.h)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "a region of %d x %d to fill in a photo of %d x %d with %d planes", region.w, region.h, photo.w, photo.h, photo.c));
    TR_TRY(tr_planes_new(&level[n++], 4, photo.h, photo.w));
    for (int64_t i = 0; i < n_pixel; i++) {
        const float known = region.data[i] > 0 ? 0.0f : 1.0f;
        for (int c = 0; c < 3; c++) tr_plane(level[0], c)[i] = known > 0 ? tr_plane(photo, c)[i] : 0.0f;
        tr_plane(level[0], 3)[i] = known;
    }
    while (level[n - 1].w > 1 || level[n - 1].h > 1) {
        TR_TRY(push(&level[n], level[n - 1]));
        n++;
    }
    for (int c = 0; c < 3; c++) {               /* the one pixel on top: the mean of all that is known, mid grey of nothing */
        const float known = level[n - 1].data[3];
        if (n > 1 || known < 1) level[n - 1].data[c] = known > 0 ? level[n - 1].data[c] / known : 0.5f;
    }
    for (int k = n - 2; k >= 0; k--) pull(level[k], level[k + 1]);
    TR_TRY(tr_planes_new(&p, 3, photo.h, photo.w));
    memcpy(p.data, level[0].data, (size_t)n_pixel * 3 * sizeof(float));
    *out = p;
done:
    for (int k = 0; k < n; k++) tr_planes_fini(&level[k]);
    return st;
}
