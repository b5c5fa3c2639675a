/* overlay.c - where the hair goes and what was drawn of it, over the photo. */
#include "image/composite.h"

#define RED 0.4f                                /* of the matte over the photo */

static tress_status lay(tr_planes rgb, tr_planes over, int i_channel, float strength)
{
    if (!over.data) return TRESS_OK;
    if (rgb.c != 3 || over.c != 1 || over.w != rgb.w || over.h != rgb.h)
        return tr_fail(TRESS_E_SHAPE, "%d x %d pixels to lay over %d x %d", over.w, over.h, rgb.w, rgb.h);
    for (int c = 0; c < 3; c++) {
        const float colour = c == i_channel ? 1.0f : 0.0f;
        for (int64_t i = 0; i < (int64_t)rgb.w * rgb.h; i++) {
            float *v = tr_plane(rgb, c) + i;
            *v += strength * over.data[i] * (colour - *v);
        }
    }
    return TRESS_OK;
}

tress_status tr_overlay(tr_planes rgb, tr_planes matte, tr_planes strokes)
{
    const tress_status st = lay(rgb, matte, 0, RED);
    return st == TRESS_OK ? lay(rgb, strokes, 1, 1) : st;
}
