/* strings.h - the strings of tools/golden/tokens.py, put together again from tests/golden/text/parts.txt and the same seed. */
#ifndef TRESS_TESTS_TEXT_STRINGS_H
#define TRESS_TESTS_TEXT_STRINGS_H

#include "text/unicode_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct strings_script { uint32_t range[16][2]; int n; } strings_script;
typedef struct strings_text { char *s; size_t n; } strings_text;
typedef struct strings {
    strings_script script[64]; int n_script;
    strings_text   piece[512]; int n_piece;
    strings_text   repeat[64]; int n_repeat;
    strings_text   word[1024]; int n_word;
    uint64_t       x;                           /* of the random numbers */
    strings_text   out;                         /* the string that is being put together */
    size_t         room;
} strings;

/* xorshift64*: Vigna 2016, arXiv:1402.6246. */
static inline uint32_t strings_pick(strings *t, uint32_t n)
{
    t->x ^= t->x >> 12;
    t->x ^= t->x << 25;
    t->x ^= t->x >> 27;
    return (uint32_t)(t->x * UINT64_C(0x2545F4914F6CDD1D) >> 32) % n;
}

static inline void strings_add(strings *t, const char *s, size_t n)
{
    if (t->out.n + n + 1 > t->room) {
        t->room = 2 * (t->out.n + n + 1);
        t->out.s = realloc(t->out.s, t->room);
        if (!t->out.s) abort();
    }
    if (n > 0) memcpy(t->out.s + t->out.n, s, n);
    t->out.n += n;
    t->out.s[t->out.n] = 0;
}

static inline strings_text strings_hex(const char *hex, int count)
{
    const size_t n = strlen(hex) / 2;
    strings_text v = { malloc(n * (size_t)count + 1), n * (size_t)count };
    if (!v.s) abort();
    for (size_t i = 0; i < v.n; i++) {
        unsigned byte = 0;
        if (sscanf(hex + 2 * (i % n), "%2x", &byte) != 1) abort();
        v.s[i] = (char)byte;
    }
    return v;
}

static inline bool strings_open(strings *t, const char *path, uint64_t seed)
{
    char line[4096];
    FILE *f = fopen(path, "rb");
    memset(t, 0, sizeof *t);
    t->x = seed;
    if (!f) return false;
    while (fgets(line, sizeof line, f)) {
        char *save = NULL, *key = strtok_r(line, " \n", &save), *a = strtok_r(NULL, " \n", &save);
        if (!key || !a) continue;
        if (strcmp(key, "script") == 0) {
            strings_script *s = &t->script[t->n_script++];
            for (char *r; (r = strtok_r(NULL, " \n", &save)) && s->n < 16; s->n++)
                if (sscanf(r, "%x-%x", &s->range[s->n][0], &s->range[s->n][1]) != 2) abort();
        } else if (strcmp(key, "piece") == 0) {
            t->piece[t->n_piece++] = strings_hex(a, 1);
        } else if (strcmp(key, "repeat") == 0) {
            t->repeat[t->n_repeat++] = strings_hex(strtok_r(NULL, " \n", &save), atoi(a));
        } else if (strcmp(key, "word") == 0) {
            char *copy = malloc(strlen(a) + 1);
            if (!copy) abort();
            t->word[t->n_word++] = (strings_text){ strcpy(copy, a), strlen(a) };
        }
        if (t->n_script == 64 || t->n_piece == 512 || t->n_repeat == 64 || t->n_word == 1024) abort();
    }
    fclose(f);
    return true;
}

static inline void strings_close(strings *t)
{
    for (int i = 0; i < t->n_piece; i++) free(t->piece[i].s);
    for (int i = 0; i < t->n_repeat; i++) free(t->repeat[i].s);
    for (int i = 0; i < t->n_word; i++) free(t->word[i].s);
    free(t->out.s);
}

static inline const strings_script *strings_any(strings *t) { return &t->script[strings_pick(t, (uint32_t)t->n_script)]; }

static inline void strings_char(strings *t, const strings_script *s)
{
    char c[4];
    const uint32_t *r = s->range[strings_pick(t, (uint32_t)s->n)];
    const uint32_t v = r[0] + strings_pick(t, r[1] - r[0] + 1);
    strings_add(t, c, (size_t)tr_utf8_put(c, v));
}

static inline void strings_word(strings *t, const strings_script *s)
{
    for (uint32_t n = 1 + strings_pick(t, 9); n > 0; n--) strings_char(t, s);
}

static inline void strings_gap(strings *t, const char *const *list, uint32_t n)
{
    const char *gap = list[strings_pick(t, n)];
    strings_add(t, gap, strlen(gap));
}

/* String i, which must be asked for in order: 0, 1, .. */
static inline strings_text strings_next(strings *t, int i)
{
    static const char *const joins[] = { " ", " ", ", ", "  ", "\n", "-" }, *const gaps[] = { "", " ", "  ", ", ", "-" };
    if (i < t->n_piece) return t->piece[i];
    if (i < t->n_piece + t->n_repeat) return t->repeat[i - t->n_piece];
    t->out.n = 0;
    strings_add(t, "", 0);
    const uint32_t kind = strings_pick(t, 100);
    if (kind < 22) {
        const uint32_t n = 1 + strings_pick(t, 12), how = strings_pick(t, 6);
        const char *gap = joins[strings_pick(t, 6)];
        for (uint32_t k = 0; k < n; k++) {
            const strings_text w = t->word[strings_pick(t, (uint32_t)t->n_word)];
            if (k > 0) strings_add(t, gap, strlen(gap));
            for (size_t j = 0; j < w.n; j++) {
                const bool up = w.s[j] >= 'a' && w.s[j] <= 'z' && (how == 0 || (how == 1 && j == 0));
                const char c = (char)(up ? w.s[j] - 32 : w.s[j]);
                strings_add(t, &c, 1);
            }
        }
    } else if (kind < 68) {
        const strings_script *s = strings_any(t);
        const uint32_t n = 1 + strings_pick(t, 5);
        for (uint32_t k = 0; k < n; k++) {
            if (k > 0) strings_add(t, " ", 1);
            strings_word(t, s);
        }
    } else if (kind < 80) {
        for (uint32_t n = 1 + strings_pick(t, 6); n > 0; n--) {
            strings_word(t, strings_any(t));
            strings_gap(t, gaps, 5);
        }
    } else if (kind < 95) {
        for (uint32_t n = 1 + strings_pick(t, 5); n > 0; n--) {
            const uint32_t what = strings_pick(t, 4);
            if (what < 2) {
                const strings_text p = t->piece[strings_pick(t, (uint32_t)t->n_piece)];
                strings_add(t, p.s, p.n);
            } else if (what == 2) {
                const strings_text w = t->word[strings_pick(t, (uint32_t)t->n_word)];
                strings_add(t, w.s, w.n);
            } else {
                strings_word(t, strings_any(t));
            }
            strings_gap(t, gaps, 2);
        }
    } else {
        for (uint32_t n = 1 + strings_pick(t, 40); n > 0; n--) strings_char(t, strings_any(t));
    }
    return t->out;
}

#endif
