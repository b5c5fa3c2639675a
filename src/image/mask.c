/* mask.c - stroke masks at another size. A pen stroke is a line with a width; scaling it as an area would turn a 3-pixel pen
 * into a 6-pixel one at twice the size, and would lose it at a quarter. */
#include "image/matte.h"
#include "image/resize.h"
#include "image/sketch_int.h"

#include <math.h>

/* Would taking the middle away keep the 8-connected pieces and 4-connected ground together? v: the eight neighbours in
 * turn from the right, 1 for mask. Yokoi's connectivity number of an 8-connected mask is 1 exactly then. */
static bool simple(const bool v[8])
{
    int n = 0;
    for (int k = 0; k < 8; k += 2) n += !v[k] && !(!v[k] && !v[(k + 1) & 7] && !v[(k + 2) & 7]);
    return n == 1;
}

enum { SET = 1, RIDGE = 2 };                    /* RIDGE: as deep as every neighbour */

static bool removable(const uint8_t *m, int64_t pitch)
{
    const bool v[8] = { m[1], m[1 - pitch], m[-pitch], m[-1 - pitch], m[-1], m[pitch - 1], m[pitch], m[pitch + 1] };
    int n = 0;
    for (int k = 0; k < 8; k++) n += v[k];
    if (n <= 1) return n == 1 && !(*m & RIDGE); /* the end of a line stays; a hair on a rough edge has no ridge and goes */
    return simple(v);
}

static bool is_ridge(tr_planes depth, int x, int y)
{
    const float here = depth.data[(int64_t)y * depth.w + x];
    for (int v = y > 0 ? y - 1 : y; v <= y + 1 && v < depth.h; v++)
        for (int u = x > 0 ? x - 1 : x; u <= x + 1 && u < depth.w; u++)
            if (depth.data[(int64_t)v * depth.w + u] > here) return false;
    return true;
}

tress_status tr_mask_thin(tr_planes mask, tr_planes keep)
{
    tress_status st = TRESS_OK;
    tr_planes ground = { 0 }, depth = { 0 };
    uint8_t *m = NULL;                          /* [h + 2, w + 2] */
    uint32_t *order = NULL;
    int64_t *bucket = NULL;
    const int64_t pitch = mask.w + 2, n = (int64_t)mask.w * mask.h;
    int64_t n_mask = 0, n_left, n_gone;
    int deepest = 0;
    TR_TRY(tr_alloc_array((void **)&m, pitch * (mask.h + 2), 1));
    TR_TRY(tr_planes_new(&ground, 1, mask.h, mask.w));
    for (int64_t i = 0; i < n; i++) {
        ground.data[i] = mask.data[i] > 0 ? 0.0f : 1.0f;
        n_mask += mask.data[i] > 0;
    }
    TR_TRY(tr_distance(&depth, ground));
    for (int64_t i = 0; i < n; i++)
        if (mask.data[i] > 0 && (int)(4 * depth.data[i]) > deepest) deepest = (int)(4 * depth.data[i]);
    TR_TRY(tr_alloc_array((void **)&order, n_mask, sizeof *order));
    TR_TRY(tr_alloc_array((void **)&bucket, deepest + 2, sizeof *bucket));
    for (int64_t i = 0; i < n; i++)             /* counting sort by quarter pixels of depth */
        if (mask.data[i] > 0 && !(keep.data && keep.data[i] > 0)) bucket[(int)(4 * depth.data[i]) + 1]++;
    for (int k = 0; k <= deepest; k++) bucket[k + 1] += bucket[k];
    for (int y = 0; y < mask.h; y++)
        for (int x = 0; x < mask.w; x++) {
            const int64_t i = (int64_t)y * mask.w + x, at = (y + 1) * pitch + x + 1;
            if (!(mask.data[i] > 0)) continue;
            m[at] = is_ridge(depth, x, y) ? SET | RIDGE : SET;
            if (keep.data && keep.data[i] > 0) continue;                         /* never a candidate */
            order[bucket[(int)(4 * depth.data[i])]++] = (uint32_t)at;
        }
    n_left = bucket[deepest];                   /* every bucket ends where the next began */
    do {                                        /* a pixel may become removable by a later one's going */
        int64_t n_kept = 0;
        n_gone = 0;
        for (int64_t i = 0; i < n_left; i++) {
            if (removable(m + order[i], pitch)) {
                m[order[i]] = 0;
                n_gone++;
            } else {
                order[n_kept++] = order[i];
            }
        }
        n_left = n_kept;
    } while (n_gone);
    for (int y = 0; y < mask.h; y++)
        for (int x = 0; x < mask.w; x++) mask.data[(int64_t)y * mask.w + x] = m[(y + 1) * pitch + x + 1] != 0;
done:
    tr_planes_fini(&ground);
    tr_planes_fini(&depth);
    tr_free(m);
    tr_free(order);
    tr_free(bucket);
    return st;
}

/* Mean width of the strokes in pixels: twice the area over the outline. An outline counted in pixel edges is longer than
 * the true one by 4/pi on average over all directions. */
static double mean_width(tr_planes m)
{
    int64_t area = 0, outline = 0;
    for (int y = 0; y < m.h; y++)
        for (int x = 0; x < m.w; x++) {
            const float *v = m.data + (int64_t)y * m.w + x;
            area += *v > 0;
            if (x + 1 < m.w) outline += (v[0] > 0) != (v[1] > 0);
            if (y + 1 < m.h) outline += (v[0] > 0) != (v[m.w] > 0);
        }
    return outline ? 2 * (double)area / ((double)outline * M_PI / 4) : (double)m.w;
}

tress_status tr_mask_resize(tr_planes *out, tr_planes mask, int width, int height)
{
    tress_status st = TRESS_OK;
    tr_planes cover = { 0 }, line = { 0 }, keep = { 0 };
    const int64_t n = (int64_t)width * height;
    const double pen = mean_width(mask), fx = (double)width / mask.w, fy = (double)height / mask.h, f = sqrt(fx * fy);
    if (width == mask.w && height == mask.h) return tr_resize(out, mask, width, height, TR_FILTER_BOX);
    TR_TRY(tr_resize(&cover, mask, width, height, f < 1 ? TR_FILTER_BOX : TR_FILTER_BILINEAR));
    TR_TRY(tr_planes_new(&line, 1, height, width));
    /* Shrinking, a line of one pixel covers f of a pixel, and less of each where it passes between two or cuts a corner: an
     * eighth of it finds every link of the chain. Growing, half coverage is the outline, but between two pixels that touch by a corner
     * it is a single point, and three eighths a neck as wide as the rows of new pixels lie apart. */
    const double seen = f < 1 ? 0.125 * f : 0.375;
    for (int64_t i = 0; i < n; i++) line.data[i] = cover.data[i] >= seen;
    for (int y = 1; y < height - 1; y++)        /* a hole of one pixel is the raster's, not the drawing's */
        for (int x = 1; x < width - 1; x++) {
            float *v = line.data + (int64_t)y * width + x;
            if (v[-1] > 0 && v[1] > 0 && v[-width] > 0 && v[width] > 0) *v = 1;
        }
    /* What stays as it is: half coverage when shrinking; the strokes less the width that they grew by else. */
    if (f < 1) {
        const double half = 0.5 * (pen * f < 1 ? pen * f : 1);
        for (int64_t i = 0; i < n; i++) cover.data[i] = cover.data[i] >= half;
    } else {
        const double shell = pen * (f - 1) / 2 + 0.5;
        for (int64_t i = 0; i < n; i++) cover.data[i] = !(cover.data[i] >= 0.5f);
        TR_TRY(tr_distance(&keep, cover));
        for (int64_t i = 0; i < n; i++) cover.data[i] = keep.data[i] > shell;
    }
    TR_TRY(tr_mask_thin(line, cover));          /* the rest goes, as far as no connection is lost */
    *out = line;
    line = (tr_planes){ 0 };
done:
    tr_planes_fini(&cover);
    tr_planes_fini(&line);
    tr_planes_fini(&keep);
    return st;
}
