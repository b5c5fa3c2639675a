/* render_scenes - procedural scenes into a flat file for pre-training, on every core.
 *
 *     render_scenes OUT FIRST_SEED COUNT SIZE SECONDS [plaits]
 *
 * Each record of OUT: photo RGB, bald RGB, matte, strokes (0 or 255), size * size bytes a plane, then 256 bytes of text:
 * caption, style and colour, NUL-separated. Seeds divisible by 50 are held out and never rendered. Loose hair and gathered
 * hair only, unless `plaits` is given: braids are what a LoRA teaches later. OUT.count holds how many records are whole. */
#include "synth/synth.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT 256
#define CHUNK 240

typedef struct job { int fd, size; uint64_t first; int64_t done; double until; bool plaits; } job;

static uint64_t seed_of(uint64_t i) { return i + i / 49 + 1; }        /* 1..49, 51..99, ...: multiples of 50 stay out */

static tress_status render(void *self, int64_t i, int i_thread)
{
    job *j = self;
    (void)i_thread;
    if (tr_seconds() > j->until) return TRESS_OK;
    tress_status st = TRESS_OK;
    tr_synth_picture p = { 0 };
    uint8_t *record = NULL;
    const int64_t n = (int64_t)j->size * j->size, total = 8 * n + TEXT;
    const uint64_t seed = seed_of(j->first + (uint64_t)(j->done + i));
    static const int open_style[] = { 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5 };        /* straight, wavy, curly, bob, ponytail, bun */
    const int style = j->plaits ? -1 : open_style[(seed * 2654435761u >> 8) % (sizeof open_style / sizeof *open_style)];
    TR_TRY(tr_synth_draw(&p, seed, style, j->size));
    TR_TRY(tr_alloc((void **)&record, (size_t)total));
    for (int64_t k = 0; k < 3 * n; k++) {
        record[k] = (uint8_t)(p.photo.data[k] * 255 + .5f);
        record[3 * n + k] = (uint8_t)(p.bald.data[k] * 255 + .5f);
    }
    for (int64_t k = 0; k < n; k++) {
        record[6 * n + k] = (uint8_t)(p.matte.data[k] * 255 + .5f);
        record[7 * n + k] = p.sketch.data[k] > 0 || p.sketch.data[k + n] > 0 || p.sketch.data[k + 2 * n] > 0 ? 255 : 0;
    }
    char *text = (char *)record + 8 * n;
    const int a = snprintf(text, TEXT, "%s", p.caption), b = snprintf(text + a + 1, (size_t)(TEXT - a - 1), "%s", p.style);
    snprintf(text + a + b + 2, (size_t)(TEXT - a - b - 2), "%s", p.colour);
    if (pwrite(j->fd, record, (size_t)total, (j->done + i) * total) != (ssize_t)total) st = tr_fail(TRESS_E_IO, "the output cannot be written");
done:
    tr_free(record);
    tr_synth_picture_fini(&p);
    return st;
}

int main(int argc, char **argv)
{
    if (argc < 6) return fprintf(stderr, "usage: render_scenes OUT FIRST_SEED COUNT SIZE SECONDS [plaits]\n"), 2;
    char name[4096];
    job j = { .fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0666), .size = atoi(argv[4]), .first = strtoull(argv[2], NULL, 10), .plaits = argc > 6 };
    const int64_t count = atoll(argv[3]);
    const double start = tr_seconds();
    j.until = start + atof(argv[5]);
    if (j.fd < 0) return perror(argv[1]), 6;
    snprintf(name, sizeof name, "%s.count", argv[1]);
    while (j.done < count && tr_seconds() < j.until) {
        const int64_t n = count - j.done < CHUNK ? count - j.done : CHUNK;
        if (tr_parallel(tr_thread_count(), n, render, &j) != TRESS_OK) return fprintf(stderr, "%s\n", tr_message()), 1;
        if (tr_seconds() > j.until) break;                      /* the last chunk may be holed */
        j.done += n;
        char temporary[4200];
        snprintf(temporary, sizeof temporary, "%s.new", name);
        FILE *f = fopen(temporary, "w");
        if (!f || fprintf(f, "%lld\n", (long long)j.done) < 0 || fclose(f) != 0 || rename(temporary, name) != 0) return perror(name), 6;
    }
    printf("%lld scenes in %.1f s\n", (long long)j.done, tr_seconds() - start);
    return close(j.fd) == 0 ? 0 : 6;
}
