/* canny.c - OpenCV's edge detector in the same integers: its bit-exact 8-bit Gaussian (modules/imgproc/src/smooth.dispatch.cpp,
 * kernel of 8 fraction bits with error diffusion), then Canny (modules/imgproc/src/canny.cpp, aperture 3, L1 norm).
 * Canny 1986. Limit: memory; a few passes over bytes and 16-bit words. */
#include "image/sketch.h"

#include <math.h>
#include <string.h>

#define RADIUS_MAX 255

/* Half of a Gaussian in 1/256, index 0 the centre; its length less one is returned. The rounding error of each tap goes to
 * the next one inward, and the centre takes what is missing from 256. */
static int make_kernel(int k[RADIUS_MAX + 1], double sigma)
{
    double w[RADIUS_MAX + 1], sum = 0, carry = 0;
    int radius = ((int)nearbyint(sigma * 6 + 1) | 1) / 2, rest = 256;            /* OpenCV's size for 8 bits: 3 sigma a side */
    if (radius > RADIUS_MAX) radius = RADIUS_MAX;
    for (int i = 0; i <= radius; i++) {
        w[i] = exp(-0.5 * i * i / (sigma * sigma));
        sum += i ? 2 * w[i] : w[i];
    }
    for (int i = radius; i > 0; i--) {
        const double v = w[i] / sum * 256 + carry;
        k[i] = (int)nearbyint(v);
        carry = v - k[i];
        rest -= 2 * k[i];
    }
    k[0] = rest;
    return radius;
}

static int mirrored(int i, int n)               /* without repeating the edge: 2 1 0 1 2 */
{
    if (n == 1) return 0;
    while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
    return i;
}

#define ROWS 32

typedef struct job {
    int w, h, radius, low, high;
    int k[RADIUS_MAX + 1];
    const uint8_t *in;                          /* [h, w] */
    uint16_t *half;                             /* [h, w] blurred across, 8 fraction bits */
    uint8_t  *blur;                             /* [h, w] */
    int16_t  *dx, *dy;                          /* [h, w] */
    uint16_t *mag;                              /* [h + 2, w + 2], a frame of zeros */
    uint8_t  *map;                              /* [h + 2, w + 2] */
} job;
enum { NONE, WEAK, EDGE };                      /* map */

static int last_row(const job *j, int64_t i)
{
    const int y = (int)i * ROWS + ROWS;
    return y < j->h ? y : j->h;
}

static tress_status blur_across(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    (void)i_thread;
    for (int y = (int)i * ROWS; y < last_row(j, i); y++) {
        const uint8_t *in = j->in + (int64_t)y * j->w;
        uint16_t *out = j->half + (int64_t)y * j->w;
        for (int x = 0; x < j->w; x++) {
            int s = j->k[0] * in[x];
            if (x >= j->radius && x + j->radius < j->w)
                for (int t = 1; t <= j->radius; t++) s += j->k[t] * (in[x - t] + in[x + t]);
            else
                for (int t = 1; t <= j->radius; t++) s += j->k[t] * (in[mirrored(x - t, j->w)] + in[mirrored(x + t, j->w)]);
            out[x] = (uint16_t)s;
        }
    }
    return TRESS_OK;
}

#define COLUMNS 256

static tress_status blur_down(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    uint32_t sum[COLUMNS];
    (void)i_thread;
    for (int y = (int)i * ROWS; y < last_row(j, i); y++)
        for (int x0 = 0; x0 < j->w; x0 += COLUMNS) {
            const int n = j->w - x0 < COLUMNS ? j->w - x0 : COLUMNS;
            const uint16_t *c = j->half + (int64_t)y * j->w + x0;
            uint8_t *out = j->blur + (int64_t)y * j->w + x0;
            for (int x = 0; x < n; x++) sum[x] = 32768u + (uint32_t)j->k[0] * c[x];
            for (int t = 1; t <= j->radius; t++) {
                const uint16_t *a = j->half + (int64_t)mirrored(y - t, j->h) * j->w + x0, *b = j->half + (int64_t)mirrored(y + t, j->h) * j->w + x0;
                for (int x = 0; x < n; x++) sum[x] += (uint32_t)j->k[t] * ((uint32_t)a[x] + b[x]);
            }
            for (int x = 0; x < n; x++) out[x] = (uint8_t)(sum[x] >> 16);
        }
    return TRESS_OK;
}

/* Sobel 3 x 3 with the border repeated, and |dx| + |dy|. */
static tress_status gradient(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const int w = j->w;
    (void)i_thread;
    for (int y = (int)i * ROWS; y < last_row(j, i); y++) {
        const uint8_t *b = j->blur + (int64_t)y * w, *a = y ? b - w : b, *c = y + 1 < j->h ? b + w : b;
        int16_t *dx = j->dx + (int64_t)y * w, *dy = j->dy + (int64_t)y * w;
        uint16_t *mag = j->mag + (int64_t)(y + 1) * (w + 2) + 1;
        for (int x = 1; x < w - 1; x++) {
            const int l = x - 1, r = x + 1;
            const int gx = (a[r] - a[l]) + 2 * (b[r] - b[l]) + (c[r] - c[l]), gy = (c[l] - a[l]) + 2 * (c[x] - a[x]) + (c[r] - a[r]);
            dx[x] = (int16_t)gx;
            dy[x] = (int16_t)gy;
            mag[x] = (uint16_t)((gx < 0 ? -gx : gx) + (gy < 0 ? -gy : gy));
        }
        for (int x = 0; x < w; x += w > 1 ? w - 1 : 1) {
            const int l = x ? x - 1 : x, r = x + 1 < w ? x + 1 : x;
            const int gx = (a[r] - a[l]) + 2 * (b[r] - b[l]) + (c[r] - c[l]), gy = (c[l] - a[l]) + 2 * (c[x] - a[x]) + (c[r] - a[r]);
            dx[x] = (int16_t)gx;
            dy[x] = (int16_t)gy;
            mag[x] = (uint16_t)((gx < 0 ? -gx : gx) + (gy < 0 ? -gy : gy));
        }
    }
    return TRESS_OK;
}

/* Keep a pixel that is the largest across its edge: > towards one side, >= towards the other, so of two equals one stays. */
static tress_status thin(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const int64_t pitch = j->w + 2;
    (void)i_thread;
    for (int y = (int)i * ROWS; y < last_row(j, i); y++) {
        const int16_t *dx = j->dx + (int64_t)y * j->w, *dy = j->dy + (int64_t)y * j->w;
        const uint16_t *b = j->mag + (y + 1) * pitch + 1, *a = b - pitch, *c = b + pitch;
        uint8_t *map = j->map + (y + 1) * pitch + 1;
        for (int x = 0; x < j->w; x++) {
            const int m = b[x];
            if (m <= j->low) continue;
            const int ax = dx[x] < 0 ? -dx[x] : dx[x], ay = (dy[x] < 0 ? -dy[x] : dy[x]) << 15;
            const int t22 = ax * 13573, t67 = t22 + (ax << 16);                  /* tan 22.5 in 1/32768; tan 67.5 = 2 + it */
            bool keep;
            if (ay < t22) {
                keep = m > b[x - 1] && m >= b[x + 1];
            } else if (ay > t67) {
                keep = m > a[x] && m >= c[x];
            } else {
                const int s = (dx[x] ^ dy[x]) < 0 ? -1 : 1;
                keep = m > a[x - s] && m > c[x + s];
            }
            if (keep) map[x] = m > j->high ? EDGE : WEAK;
        }
    }
    return TRESS_OK;
}

/* Weak pixels that touch an edge become edges, in turn. The result does not depend on the order of the visits. */
static tress_status follow(job *j)
{
    tress_status st = TRESS_OK;
    const int64_t pitch = j->w + 2, n = pitch * (j->h + 2);
    const int64_t step[8] = { -pitch - 1, -pitch, -pitch + 1, -1, 1, pitch - 1, pitch, pitch + 1 };
    uint32_t *stack = NULL;
    int64_t n_stack = 0, n_edge = 0, n_weak = 0;
    for (int64_t i = 0; i < n; i++) {
        n_edge += j->map[i] == EDGE;
        n_weak += j->map[i] == WEAK;
    }
    TR_TRY(tr_alloc_array((void **)&stack, n_edge + n_weak, sizeof *stack));     /* each is pushed once */
    for (int64_t i = 0; i < n; i++)
        if (j->map[i] == EDGE) stack[n_stack++] = (uint32_t)i;
    while (n_stack) {
        const int64_t at = stack[--n_stack];
        for (int k = 0; k < 8; k++)
            if (j->map[at + step[k]] == WEAK) {
                j->map[at + step[k]] = EDGE;
                stack[n_stack++] = (uint32_t)(at + step[k]);
            }
    }
done:
    tr_free(stack);
    return st;
}

tress_status tr_canny(tr_planes *out, tr_planes grey, double sigma, int low, int high)
{
    tress_status st = TRESS_OK;
    tr_planes edges = { 0 };
    uint8_t *bytes = NULL;
    const int64_t n = (int64_t)grey.w * grey.h, n_frame = (int64_t)(grey.w + 2) * (grey.h + 2);
    job j = { .w = grey.w, .h = grey.h, .low = low < high ? low : high, .high = low < high ? high : low };
    if (grey.c != 1 || !(sigma >= 0 && sigma <= 40) || low < 0 || high < 0)
        TR_TRY(tr_fail(TRESS_E_ARG, "edges of %d planes with sigma %g, thresholds %d and %d; expected 1 plane, sigma 0 to 40, thresholds from 0", grey.c,
                       sigma, low, high));
    const int64_t n_block = (j.h + ROWS - 1) / ROWS;
    TR_TRY(tr_alloc_array((void **)&bytes, n, 1));
    TR_TRY(tr_alloc_array((void **)&j.half, n, sizeof *j.half));
    TR_TRY(tr_alloc_array((void **)&j.blur, n, 1));
    TR_TRY(tr_alloc_array((void **)&j.dx, n, sizeof *j.dx));
    TR_TRY(tr_alloc_array((void **)&j.dy, n, sizeof *j.dy));
    TR_TRY(tr_alloc_array((void **)&j.mag, n_frame, sizeof *j.mag));
    TR_TRY(tr_alloc_array((void **)&j.map, n_frame, 1));
    for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)tr_quantise(grey.data[i], 255);
    j.in = bytes;
    if (sigma > 0) {
        j.radius = make_kernel(j.k, sigma);
        TR_TRY(tr_parallel(tr_thread_count(), n_block, blur_across, &j));
        TR_TRY(tr_parallel(tr_thread_count(), n_block, blur_down, &j));
    } else {
        memcpy(j.blur, bytes, (size_t)n);
    }
    TR_TRY(tr_parallel(tr_thread_count(), n_block, gradient, &j));
    TR_TRY(tr_parallel(tr_thread_count(), n_block, thin, &j));
    TR_TRY(follow(&j));
    TR_TRY(tr_planes_new(&edges, 1, j.h, j.w));
    for (int y = 0; y < j.h; y++)
        for (int x = 0; x < j.w; x++) edges.data[(int64_t)y * j.w + x] = j.map[(int64_t)(y + 1) * (j.w + 2) + x + 1] == EDGE;
    *out = edges;
    edges = (tr_planes){ 0 };
done:
    tr_planes_fini(&edges);
    tr_free(bytes);
    tr_free(j.half);
    tr_free(j.blur);
    tr_free(j.dx);
    tr_free(j.dy);
    tr_free(j.mag);
    tr_free(j.map);
    return st;
}
