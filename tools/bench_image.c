/* bench_image.c - what pictures cost: medians of 5, on a picture of 4000 x 3000 pixels of noise and shapes.
 *     bench_image      JSON lines: work, milliseconds, and the milliseconds that the bytes moved would take at 10 GB/s */
#include "image/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { W = 4000, H = 3000, REPEAT = 5 };
#define N ((int64_t)W * H)

typedef struct bench {
    tr_image *photo, *grey;
    tr_planes rgb, luma, mask;
    uint8_t *png, *jpeg, *webp;
    size_t n_png, n_jpeg, n_webp;
} bench;

static tress_status drop(tress_status st, tr_image *img)
{
    tr_image_free(img);
    return st;
}
static tress_status drop_planes(tress_status st, tr_planes p)
{
    tr_planes_fini(&p);
    return st;
}

static tress_status png_in(bench *b) { tr_image *i = NULL; const tress_status st = tr_image_decode(&i, b->png, b->n_png, "png"); return drop(st, i); }
static tress_status jpeg_in(bench *b) { tr_image *i = NULL; const tress_status st = tr_image_decode(&i, b->jpeg, b->n_jpeg, "jpeg"); return drop(st, i); }
static tress_status webp_in(bench *b) { tr_image *i = NULL; const tress_status st = tr_image_decode(&i, b->webp, b->n_webp, "webp"); return drop(st, i); }
static tress_status png_out(bench *b)
{
    uint8_t *p = NULL;
    size_t n = 0;
    const tress_status st = tr_image_encode_png(&p, &n, b->photo, NULL);
    tr_free(p);
    return st;
}
static tress_status planes(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_image_rgb(&p, b->photo); return drop_planes(st, p); }
static tress_status quantise(bench *b) { tr_image *i = NULL; const tress_status st = tr_planes_image(&i, b->rgb, 8); return drop(st, i); }
static tress_status reduce(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_resize(&p, b->rgb, 1024, 768, TR_FILTER_LANCZOS); return drop_planes(st, p); }
static tress_status reduce_bilinear(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_resize(&p, b->rgb, 1024, 768, TR_FILTER_BILINEAR); return drop_planes(st, p); }
static tress_status distance(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_distance(&p, b->mask); return drop_planes(st, p); }
static tress_status edges(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_canny(&p, b->luma, 1.4, 100, 200); return drop_planes(st, p); }
static tress_status fill(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_fill(&p, b->rgb, b->mask); return drop_planes(st, p); }
static tress_status soft(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_matte_soft(&p, b->mask); return drop_planes(st, p); }
static tress_status turn(bench *b)
{
    tr_planes p = { 0 };
    const tress_status st = tr_affine_apply(&p, b->rgb, tr_affine_place(W, H, 512, 384, 0.256, 7, false), 1024, 768, TR_FILTER_BICUBIC, 0);
    return drop_planes(st, p);
}
static tress_status strokes(bench *b) { tr_planes p = { 0 }; const tress_status st = tr_sketch_render(&p, b->grey, 1024, 768, TRESS_CONTROL_LINES); return drop_planes(st, p); }
static tress_status paste(bench *b)
{
    tr_image *i = NULL;
    const tress_status st = tr_composite(&i, b->photo, b->rgb, (int[4]){ 0, 0, W, H }, b->mask);
    return drop(st, i);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tress_status prepare(bench *b)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_image_new(&b->photo, W, H, 3, 8));
    TR_TRY(tr_image_new(&b->grey, W, H, 1, 8));
    uint8_t *v = b->photo->data, *g = b->grey->data;
    for (int64_t i = 0; i < N; i++) {
        const double x = (double)(i % W), y = (double)(i / W), wave = 90 * sin(x / 61) * cos(y / 47) + 30 * sin(x / 7 + y / 11);
        for (int c = 0; c < 3; c++) v[3 * i + c] = (uint8_t)(128 + wave * (1 - 0.2 * c) + 6 * tr_philox_uniform(1, 0, (uint64_t)(3 * i + c)));
        g[i] = fabs(fmod(x + 40 * sin(y / 200), 97) - 48) < 4 ? 255 : 0;
    }
    TR_TRY(tr_image_rgb(&b->rgb, b->photo));
    TR_TRY(tr_image_grey(&b->luma, b->photo));
    TR_TRY(tr_planes_new(&b->mask, 1, H, W));
    for (int64_t i = 0; i < N; i++) b->mask.data[i] = hypot((double)(i % W) - 2000, (double)(i / W) - 1200) < 900;
    TR_TRY(tr_image_encode(&b->png, &b->n_png, b->photo, "a.png", NULL));
    TR_TRY(tr_image_encode(&b->jpeg, &b->n_jpeg, b->photo, "a.jpg", NULL));
    TR_TRY(tr_image_encode(&b->webp, &b->n_webp, b->photo, "a.webp", NULL));
done:
    return st;
}

int main(void)
{
    static const struct { const char *name; tress_status (*work)(bench *b); double bytes; } all[] = {
        { "png decode", png_in, 0 },                     { "png encode", png_out, 0 },
        { "jpeg decode", jpeg_in, 0 },                   { "webp decode", webp_in, 0 },
        { "samples to planes", planes, 15.0 * N },       { "planes to samples", quantise, 15.0 * N },
        { "lanczos to 1024", reduce, 18.1 * N },         { "bilinear to 1024", reduce_bilinear, 18.1 * N },
        { "distance", distance, 20.0 * N },              { "canny", edges, 45.0 * N },
        { "fill", fill, 80.0 * N },                      { "soft matte", soft, 60.0 * N },
        { "place, bicubic, to 1024", turn, 18.1 * N },   { "lines to 1024", strokes, 60.0 * N },
        { "composite", paste, 22.0 * N },
    };
    tress_status st = TRESS_OK;
    bench b = { 0 };
    TR_TRY(prepare(&b));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        double ms[REPEAT];
        for (int k = 0; k < REPEAT; k++) {
            const double begin = tr_seconds();
            TR_TRY(all[i].work(&b));
            ms[k] = 1e3 * (tr_seconds() - begin);
        }
        qsort(ms, REPEAT, sizeof ms[0], compare);
        printf("{\"work\": \"%s\", \"ms\": %.1f, \"least\": %.1f, \"limit_ms\": %.1f, \"threads\": %d}\n", all[i].name, ms[REPEAT / 2], ms[0], all[i].bytes / 1e7, tr_thread_count());
        fflush(stdout);
    }
done:
    if (st != TRESS_OK) fprintf(stderr, "bench_image: %s\n", tr_message());
    tr_image_free(b.photo);
    tr_image_free(b.grey);
    tr_planes_fini(&b.rgb);
    tr_planes_fini(&b.luma);
    tr_planes_fini(&b.mask);
    tr_free(b.png);
    tr_free(b.jpeg);
    tr_free(b.webp);
    return tress_exit_code(st);
}
