#include "text/bpe_int.h"
#include "text/unicode_int.h"

#include <string.h>

void tr_bpe_text_fini(tr_bpe_text *t)
{
    tr_free(t->s);
    tr_free(t->mark);
    tr_free(t->wide);
    *t = (tr_bpe_text){ 0 };
}

static tress_status grow(void **p, size_t *n_room, size_t n, size_t size)
{
    tress_status st = TRESS_OK;
    size_t n_new = *n_room ? *n_room : 64;
    while (n_new < n) n_new *= 2;
    if (n_new == *n_room) return TRESS_OK;
    TR_TRY(tr_realloc(p, *n_room * size, n_new * size));
    *n_room = n_new;
done:
    return st;
}

/* A word: composed, then lower case. No character of a word takes part in what happens to the next one, since a blank
 * stands between them that composes with nothing. */
static tress_status add_word(tr_bpe_text *t, const char *s, size_t n)
{
    tress_status st = TRESS_OK;
    bool ascii = true;
    for (size_t i = 0; i < n && ascii; i++) ascii = (uint8_t)s[i] < 0x80;
    if (ascii) {
        TR_TRY(grow((void **)&t->s, &t->n_room, t->n + n, 1));
        for (size_t i = 0; i < n; i++) t->s[t->n++] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
        return TRESS_OK;
    }
    size_t n_wide;
    TR_TRY(grow((void **)&t->wide, &t->n_wide_room, 2 * n, sizeof *t->wide));
    TR_TRY(tr_char_compose(t->wide, &n_wide, t->n_wide_room, s, n));
    TR_TRY(grow((void **)&t->s, &t->n_room, t->n + 8 * n_wide, 1));
    for (size_t i = 0; i < n_wide; i++) {
        uint32_t low[2];
        const int k = tr_char_lower(low, (uint32_t)t->wide[i]);
        for (int j = 0; j < k; j++) t->n += (size_t)tr_utf8_put(t->s + t->n, low[j]);
    }
done:
    return st;
}

tress_status tr_bpe_text_add(tr_bpe_text *t, const char *s, size_t n, size_t at)
{
    tress_status st = TRESS_OK;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int k = tr_utf8_next(s + i, n - i, &c);
        const size_t begin = i;
        const bool blank = tr_char_is_space(c);
        while (i < n && tr_char_is_space(c) == blank) {
            i += (size_t)k;
            if (i < n) k = tr_utf8_next(s + i, n - i, &c);
        }
        if (blank) {
            TR_TRY(grow((void **)&t->s, &t->n_room, t->n + 1, 1));
            t->s[t->n++] = ' ';
            continue;
        }
        TR_TRY(grow((void **)&t->mark, &t->n_mark_room, t->n_mark + 1, sizeof *t->mark));
        t->mark[t->n_mark][0] = (uint32_t)t->n;
        t->mark[t->n_mark++][1] = (uint32_t)(at + begin);
        TR_TRY(add_word(t, s + begin, i - begin));
    }
done:
    return st;
}
