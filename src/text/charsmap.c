#include "text/charsmap_int.h"

#include "text/unicode_int.h"

#include <string.h>

#define CLUSTER_MAX 6                           /* bytes: clusters this long go character by character */

static uint32_t le32(const uint8_t *b) { return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }

/* Where the replacement of the shortest prefix of s[n] begins; -1: no prefix is in the map. Offsets of the file that
 * lead out of the array end the search. */
static int32_t lookup(const tr_charsmap *m, const char *s, size_t n)
{
    if (m->n_unit == 0) return -1;
    const uint32_t root = m->unit[0];
    size_t at = (size_t)(root >> 10) << ((root & 0x200) >> 6);
    for (size_t i = 0; i < n && s[i]; i++) {
        const uint8_t c = (uint8_t)s[i];
        at ^= c;
        if (at >= m->n_unit) return -1;
        const uint32_t u = m->unit[at];
        if ((u & 0x800000FF) != c) return -1;
        at ^= (size_t)(u >> 10) << ((u & 0x200) >> 6);
        if (u & 0x100) {
            if (at >= m->n_unit) return -1;
            const uint32_t to = m->unit[at] & 0x7FFFFFFF;
            /* Into the middle of a character: no file that is sound does that. */
            return to < m->n_text && ((uint8_t)m->text[to] & 0xC0) != 0x80 ? (int32_t)to : -1;
        }
    }
    return -1;
}

tress_status tr_charsmap_init(tr_charsmap *m, const uint8_t *blob, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    *m = (tr_charsmap){ 0 };
    memset(m->ascii, 0xFF, sizeof m->ascii);
    if (n == 0) return TRESS_OK;
    const size_t n_array = n >= 4 ? le32(blob) : 0;
    if (n < 4 || n_array > n - 4 || n_array % 4 != 0 || n_array == 0)
        return tr_fail(TRESS_E_FORMAT, "%s: precompiled_charsmap: %zu bytes with an array of %zu", where, n, n_array);
    m->n_unit = n_array / 4;
    m->n_text = n - 4 - n_array;
    TR_TRY(tr_alloc_raw((void **)&m->unit, n_array));
    TR_TRY(tr_alloc((void **)&m->text, m->n_text + 1));
    for (size_t i = 0; i < m->n_unit; i++) m->unit[i] = le32(blob + 4 + 4 * i);
    memcpy(m->text, blob + 4 + n_array, m->n_text);
    if (tr_utf8_valid(m->text, m->n_text) != m->n_text) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: precompiled_charsmap: the replacements are not UTF-8", where));
    for (int c = 0; c < 128; c++) {
        const char s = (char)c;
        m->ascii[c] = lookup(m, &s, 1);
    }
done:
    if (st != TRESS_OK) tr_charsmap_fini(m);
    return st;
}

void tr_charsmap_fini(tr_charsmap *m)
{
    tr_free(m->unit);
    tr_free(m->text);
    *m = (tr_charsmap){ 0 };
}

void tr_normal_fini(tr_normal *t)
{
    tr_free(t->s);
    tr_free(t->from);
    *t = (tr_normal){ 0 };
}

tress_status tr_normal_add(tr_normal *t, const char *s, size_t n, uint32_t from)
{
    tress_status st = TRESS_OK;
    if (n > t->n_room - t->n) {
        /* No prompt of 64 KiB becomes this long by a real map, whose longest replacement is 33 bytes. */
        if (n > ((size_t)16 << 20) - t->n) return tr_fail(TRESS_E_FORMAT, "precompiled_charsmap makes a prompt longer than 16 MiB");
        size_t n_room = t->n_room ? t->n_room : 256;
        while (n_room < t->n + n) n_room *= 2;
        TR_TRY(tr_realloc((void **)&t->s, t->n_room, n_room));
        TR_TRY(tr_realloc((void **)&t->from, t->n_room * sizeof *t->from, n_room * sizeof *t->from));
        t->n_room = n_room;
    }
    if (n) memcpy(t->s + t->n, s, n);
    for (size_t i = 0; i < n; i++) t->from[t->n + i] = from;
    t->n += n;
done:
    return st;
}

static tress_status add_mapped(const tr_charsmap *m, tr_normal *to, int32_t where, const char *s, size_t n, size_t at)
{
    if (where < 0 || m->n_unit == 0) return tr_normal_add(to, s, n, (uint32_t)at);         /* a file may have no map */
    return tr_normal_add(to, m->text + where, strlen(m->text + where), (uint32_t)at);
}

tress_status tr_charsmap_apply(const tr_charsmap *m, tr_normal *to, const char *s, size_t n, size_t at)
{
    tress_status st = TRESS_OK;
    for (size_t i = 0; i < n;) {
        /* Between two ASCII characters a cluster ends, but for CR LF. */
        if ((uint8_t)s[i] < 0x80 && (i + 1 == n || ((uint8_t)s[i + 1] < 0x80 && s[i] != '\r'))) {
            TR_TRY(add_mapped(m, to, m->ascii[(uint8_t)s[i]], s + i, 1, at + i));
            i++;
            continue;
        }
        uint32_t a, b;
        int32_t state = 0;
        size_t end = i + (size_t)tr_utf8_next(s + i, n - i, &a);
        while (end < n) {
            const size_t k = (size_t)tr_utf8_next(s + end, n - end, &b);
            if (tr_char_breaks(a, b, &state)) break;
            a = b;
            end += k;
        }
        const int32_t whole = end - i < CLUSTER_MAX ? lookup(m, s + i, end - i) : -1;
        if (whole >= 0) {
            TR_TRY(add_mapped(m, to, whole, s + i, end - i, at + i));
            i = end;
            continue;
        }
        while (i < end) {
            const size_t k = (size_t)tr_utf8_next(s + i, n - i, &a);
            TR_TRY(add_mapped(m, to, lookup(m, s + i, k), s + i, k, at + i));
            i += k;
        }
    }
done:
    return st;
}
