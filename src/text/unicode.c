#include "text/unicode_int.h"

#include "text/unicode_newer.h"

#include <string.h>
#include <utf8proc.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

int tr_utf8_next(const char *s, size_t n, uint32_t *c)
{
    const uint8_t *b = (const uint8_t *)s;
    if (b[0] < 0x80 || n < 2) return *c = b[0], 1;
    if (b[0] < 0xE0 || n < 3) return *c = (uint32_t)(b[0] & 0x1F) << 6 | (b[1] & 0x3F), 2;
    if (b[0] < 0xF0 || n < 4) return *c = (uint32_t)(b[0] & 0x0F) << 12 | (uint32_t)(b[1] & 0x3F) << 6 | (b[2] & 0x3F), 3;
    return *c = (uint32_t)(b[0] & 7) << 18 | (uint32_t)(b[1] & 0x3F) << 12 | (uint32_t)(b[2] & 0x3F) << 6 | (b[3] & 0x3F), 4;
}

int tr_utf8_put(char out[4], uint32_t c)
{
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xC0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3F)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xE0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3F)), out[2] = (char)(0x80 | (c & 0x3F)), 3;
    return out[0] = (char)(0xF0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3F)), out[2] = (char)(0x80 | (c >> 6 & 0x3F)),
           out[3] = (char)(0x80 | (c & 0x3F)), 4;
}

/* Bytes at b[n] that begin a character: all of it (*whole), or as many as could still have become one (Unicode 15, 3.9,
 * "maximal subpart"). At least 1. */
static size_t measure(const uint8_t *b, size_t n, bool *whole)
{
    *whole = false;
    const uint8_t c = b[0];
    if (c < 0x80) return *whole = true, 1;
    if (c < 0xC2 || c > 0xF4) return 1;
    const size_t want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    const uint8_t low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;               /* overlong below */
    const uint8_t high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;              /* surrogates, 110000 above */
    if (n < 2 || b[1] < low || b[1] > high) return 1;
    for (size_t i = 2; i < want; i++)
        if (i >= n || (b[i] & 0xC0) != 0x80) return i;
    return *whole = true, want;
}

size_t tr_utf8_valid(const char *s, size_t n)
{
    bool whole;
    for (size_t i = 0, k; i < n; i += k) {
        k = measure((const uint8_t *)s + i, n - i, &whole);
        if (!whole) return i;
    }
    return n;
}

tress_status tr_utf8_repair(char **out, size_t *n_out, const char *s, size_t n)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    size_t n_bytes, at = 0;
    TR_TRY(tr_mul_bytes(&n_bytes, (int64_t)n + 1, 3));                             /* a bad byte becomes three */
    TR_TRY(tr_alloc_raw(&p, n_bytes));
    char *to = p;
    for (size_t i = 0, k; i < n; i += k) {
        bool whole;
        k = measure((const uint8_t *)s + i, n - i, &whole);
        if (whole) {
            memcpy(to + at, s + i, k);
            at += k;
        } else {
            memcpy(to + at, "\xEF\xBF\xBD", 3);
            at += 3;
        }
    }
    to[at] = '\0';
    *out = to;
    *n_out = at;
done:
    return st;
}

size_t tr_utf8_unrepaired(const char *s, size_t n, size_t at)
{
    size_t i = 0;
    for (size_t to = 0; i < n && to < at;) {
        bool whole;
        const size_t k = measure((const uint8_t *)s + i, n - i, &whole);
        i += k;
        to += whole ? k : 3;
    }
    return i;
}

tress_status tr_prompt_clean(char **clean, const char **text, size_t *n)
{
    if (*n > TR_PROMPT_MAX) return tr_fail(TRESS_E_ARG, "a prompt of %zu bytes, expected at most %d", *n, TR_PROMPT_MAX);
    if (tr_utf8_valid(*text, *n) == *n) return TRESS_OK;
    const tress_status st = tr_utf8_repair(clean, n, *text, *n);
    if (st == TRESS_OK) *text = *clean;
    return st;
}

static bool in_ranges(const tr_range *r, size_t n, uint32_t c)
{
    if (c < r[0].first || c > r[n - 1].last) return false;
    size_t low = 0, high = n - 1;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (c > r[mid].last) low = mid + 1;
        else high = mid;
    }
    return c >= r[low].first && c <= r[low].last;
}

bool tr_char_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

tr_char_class tr_char_get_class(uint32_t c)
{
    if (tr_char_is_space(c)) return TR_CHAR_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return TR_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO: return TR_CHAR_NUMBER;
    default: break;
    }
    if (in_ranges(newer_letter, N_OF(newer_letter), c)) return TR_CHAR_LETTER;
    return in_ranges(newer_number, N_OF(newer_number), c) ? TR_CHAR_NUMBER : TR_CHAR_OTHER;
}

int tr_char_lower(uint32_t out[2], uint32_t c)
{
    if (c < 0x80) return out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c, 1;
    if (c == 0x130) return out[0] = 'i', out[1] = 0x307, 2;        /* the only letter whose lower case is two characters */
    for (size_t i = 0; i < N_OF(newer_lower); i++)
        if (c >= newer_lower[i].first && c <= newer_lower[i].last) return out[0] = (uint32_t)((int32_t)c + newer_lower[i].delta), 1;
    return out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), 1;
}

static int order_of(int32_t c) { return utf8proc_get_property(c)->combining_class; }

/* Canonical order of c[n]: within a run of marks the lower class first, equal ones as they came. By binary search and one
 * move each: utf8proc's own exchange of neighbours takes seconds for 64 KiB of marks. */
static void put_in_order(int32_t *c, size_t n)
{
    size_t run = 0;                                                    /* where the run of marks begins */
    for (size_t i = 0; i < n; i++) {
        const int32_t mark = c[i];
        const int order = order_of(mark);
        if (order == 0) {
            run = i + 1;
            continue;
        }
        if (i == run || order_of(c[i - 1]) <= order) continue;
        size_t low = run, high = i;                                    /* the first of a higher class */
        while (low < high) {
            const size_t mid = (low + high) / 2;
            if (order_of(c[mid]) > order) high = mid;
            else low = mid + 1;
        }
        memmove(c + low + 1, c + low, (i - low) * sizeof *c);
        c[low] = mark;
    }
}

static tress_status compose_run(int32_t *out, size_t *n_out, size_t room, const char *s, size_t n)
{
    const utf8proc_option_t option = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    size_t at = 0;
    int last = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        i += (size_t)tr_utf8_next(s + i, n - i, &c);
        const utf8proc_ssize_t k = utf8proc_decompose_char((utf8proc_int32_t)c, out + at, (utf8proc_ssize_t)(room - at), option, &last);
        if (k < 0) return tr_fail(TRESS_E_OOM, "a text cannot be decomposed: %s", utf8proc_errmsg(k));
        TR_ASSERT((size_t)k <= room - at);
        at += (size_t)k;
    }
    put_in_order(out, at);
    const utf8proc_ssize_t k = utf8proc_normalize_utf32(out, (utf8proc_ssize_t)at, option);
    if (k < 0) return tr_fail(TRESS_E_OOM, "a text cannot be composed: %s", utf8proc_errmsg(k));
    return *n_out = (size_t)k, TRESS_OK;
}

tress_status tr_char_compose(int32_t *out, size_t *n_out, size_t room, const char *s, size_t n)
{
    tress_status st = TRESS_OK;
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        /* A run up to the next mark that is too young for the tables: that one is copied, and nothing crosses it. */
        size_t end = i, k = 0;
        uint32_t c = 0;
        while (end < n) {
            k = (size_t)tr_utf8_next(s + end, n - end, &c);
            if (in_ranges(newer_inert, N_OF(newer_inert), c)) break;
            end += k;
        }
        if (end > i) {
            size_t n_run = 0;
            TR_TRY(compose_run(out + at, &n_run, room - at, s + i, end - i));
            at += n_run;
        }
        if (end < n) {
            TR_ASSERT(at < room);
            out[at++] = (int32_t)c;
            end += k;
        }
        i = end;
    }
    *n_out = at;
done:
    return st;
}

bool tr_char_breaks(uint32_t a, uint32_t b, int32_t *state)
{
    uint32_t c[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        if (c[i] < 0x897) continue;
        if (in_ranges(newer_extend, N_OF(newer_extend), c[i])) c[i] = 0x301;
        else if (in_ranges(newer_prepend, N_OF(newer_prepend), c[i])) c[i] = 0x600;
        else if (in_ranges(newer_alone, N_OF(newer_alone), c[i])) c[i] = 'a';
    }
    return utf8proc_grapheme_break_stateful((utf8proc_int32_t)c[0], (utf8proc_int32_t)c[1], state);
}
