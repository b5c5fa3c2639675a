/* The strokes of loose hair lie on lines that one sees: contrast is higher under them than under the same strokes moved aside. */
#include "synth/synth.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SIZE 256
enum { STYLES = 6, SEEDS = 4 };

static float tone(const tr_planes *p, int x, int y)
{
    const int64_t i = (int64_t)y * p->w + x, n = (int64_t)p->h * p->w;
    return .3f * p->data[i] + .59f * p->data[i + n] + .11f * p->data[i + 2 * n];
}

/* Mean contrast of the photo on the strokes moved by (dx, dy), where there is hair all round. */
static double under(const tr_synth_picture *p, int dx, int dy)
{
    const int64_t n = (int64_t)SIZE * SIZE;
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const int x = (int)(i % SIZE) + dx, y = (int)(i / SIZE) + dy;
        if (p->sketch.data[i] <= 0 && p->sketch.data[i + n] <= 0 && p->sketch.data[i + 2 * n] <= 0) continue;
        if (x < 4 || y < 4 || x >= SIZE - 4 || y >= SIZE - 4) continue;
        bool hair = true;
        for (int k = 0; k < 9; k++) hair = hair && p->matte.data[(int64_t)(y + 3 * (k / 3 - 1)) * SIZE + x + 3 * (k % 3 - 1)] > .98f;
        if (!hair) continue;
        sum += hypot((double)tone(&p->photo, x + 1, y) - (double)tone(&p->photo, x - 1, y), (double)tone(&p->photo, x, y + 1) - (double)tone(&p->photo, x, y - 1));
        count++;
    }
    assert_true(count > 30);
    return sum / (double)count;
}

static void strokes_lie_on_contrast(void **state)
{
    (void)state;
    double total = 0;
    for (int i = 0; i < STYLES * SEEDS; i++) {
        tr_synth_picture p;
        assert_int_equal(tr_synth_draw(&p, 50 * (uint64_t)(i + 1), i % STYLES, SIZE), TRESS_OK);
        const double moved = .25 * (under(&p, 6, 0) + under(&p, -6, 0) + under(&p, 0, 6) + under(&p, 0, -6));
        total += log(under(&p, 0, 0) / moved);
        tr_synth_picture_fini(&p);
    }
    const double ratio = exp(total / (STYLES * SEEDS));
    if (!(ratio > 1.25)) fail_msg("contrast under strokes is %.3f of that beside them", ratio);
    print_message("contrast under strokes is %.3f of that beside them\n", ratio);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(strokes_lie_on_contrast) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
