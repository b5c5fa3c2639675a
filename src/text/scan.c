#include "text/scan_int.h"

#include "text/unicode_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

void tr_scan_init(tr_scan *p, const char *text, size_t n, const char *where)
{
    *p = (tr_scan){ .where = where, .s = text, .n = n };
}

void tr_scan_fini(tr_scan *p)
{
    tr_free(p->room);
    p->room = NULL;
}

tress_status tr_scan_fail(const tr_scan *p, const char *what)
{
    return tr_fail(TRESS_E_FORMAT, "%s: byte %zu: %s", p->where, p->at, what);
}

bool tr_scan_is(tr_text_view v, const char *s) { return v.n == strlen(s) && memcmp(v.s, s, v.n) == 0; }

static char after_blanks(tr_scan *p)
{
    while (p->at < p->n && (p->s[p->at] == ' ' || p->s[p->at] == '\n' || p->s[p->at] == '\t' || p->s[p->at] == '\r')) p->at++;
    return p->at < p->n ? p->s[p->at] : '\0';
}

char tr_scan_peek(tr_scan *p)
{
    const char c = after_blanks(p);
    return c >= '0' && c <= '9' ? '0' : c;
}

tress_status tr_scan_enter(tr_scan *p, char bracket)
{
    if (after_blanks(p) != bracket) return tr_scan_fail(p, bracket == '{' ? "expected an object" : "expected an array");
    if (p->depth == DEPTH_MAX) return tr_scan_fail(p, "JSON nested deeper than 16");
    p->is_object[++p->depth] = bracket == '{';
    p->first = true;
    p->at++;
    return TRESS_OK;
}

tress_status tr_scan_next(tr_scan *p, bool *more, tr_text_view *key) { return tr_scan_next_stable(p, more, key, NULL); }

tress_status tr_scan_next_stable(tr_scan *p, bool *more, tr_text_view *key, bool *stable)
{
    tress_status st = TRESS_OK;
    const bool is_object = p->is_object[p->depth];
    char c = after_blanks(p);
    if (c == (is_object ? '}' : ']')) {
        p->at++;
        p->depth--;
        p->first = false;
        return *more = false, TRESS_OK;
    }
    if (!p->first) {
        if (c != ',') return tr_scan_fail(p, is_object ? "expected , or }" : "expected , or ]");
        p->at++;
        c = after_blanks(p);
    }
    p->first = false;
    *more = true;
    if (is_object) {
        tr_text_view ignored;
        if (c != '"') return tr_scan_fail(p, "expected a key");
        TR_TRY(tr_scan_string(p, key ? key : &ignored, stable));
        if (after_blanks(p) != ':') return tr_scan_fail(p, "expected :");
        p->at++;
    }
done:
    return st;
}

static bool hex4(const char *s, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        const char c = s[i];
        if (c >= '0' && c <= '9') v = v << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f') v = v << 4 | (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') v = v << 4 | (uint32_t)(c - 'A' + 10);
        else return false;
    }
    return *out = v, true;
}

/* The string from begin (behind its quote) to end, whose escapes are put into the room. */
static tress_status unescape(tr_scan *p, size_t begin, size_t end, tr_text_view *out)
{
    tress_status st = TRESS_OK;
    size_t at = 0;
    if (end - begin > p->n_room) {
        tr_free(p->room);
        p->room = NULL;
        p->n_room = 0;
        TR_TRY(tr_alloc_raw((void **)&p->room, end - begin));
        p->n_room = end - begin;
    }
    for (size_t i = begin; i < end;) {
        if (p->s[i] != '\\') {
            p->room[at++] = p->s[i++];
            continue;
        }
        const char c = p->s[i + 1];                     /* the closing quote stands behind, so there is one */
        i += 2;
        switch (c) {
        case '"': case '\\': case '/': p->room[at++] = c; break;
        case 'b': p->room[at++] = '\b'; break;
        case 'f': p->room[at++] = '\f'; break;
        case 'n': p->room[at++] = '\n'; break;
        case 'r': p->room[at++] = '\r'; break;
        case 't': p->room[at++] = '\t'; break;
        case 'u': {
            uint32_t v, low;
            if (end - i < 4 || !hex4(p->s + i, &v)) return tr_scan_fail(p, "a bad \\u escape");
            i += 4;
            if (v >= 0xD800 && v < 0xDC00) {
                if (end - i < 6 || p->s[i] != '\\' || p->s[i + 1] != 'u' || !hex4(p->s + i + 2, &low) || low < 0xDC00 || low > 0xDFFF)
                    return tr_scan_fail(p, "half a surrogate pair");
                v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
                i += 6;
            } else if (v >= 0xDC00 && v < 0xE000) {
                return tr_scan_fail(p, "half a surrogate pair");
            }
            at += (size_t)tr_utf8_put(p->room + at, v);
            break;
        }
        default: return tr_scan_fail(p, "an unknown escape");
        }
    }
    *out = (tr_text_view){ p->room, at };
done:
    return st;
}

/* Bytes of a string that mean themselves and nothing else: ASCII without controls, quote and backslash. */
#define P1 1
#define P4 P1, P1, P1, P1
#define P16 P4, P4, P4, P4
static const uint8_t plain[256] = { [' '] = 1, ['!'] = 1, ['#'] = 1, [0x24] = P4, P4, P4, [0x30] = P16, P16, [0x50] = P4, P4, P4, [0x5D] = 1, 1, 1,
                                    [0x60] = P16, P16 };

tress_status tr_scan_string(tr_scan *p, tr_text_view *out, bool *stable)
{
    if (after_blanks(p) != '"') return tr_scan_fail(p, "expected a string");
    const size_t begin = p->at + 1;
    size_t i = begin;
    bool escapes = false, ascii = true;
    for (;; i++) {
        /* The NUL behind the text ends this loop at the latest. */
        while (plain[(uint8_t)p->s[i]]) i++;
        const uint8_t c = i < p->n ? (uint8_t)p->s[i] : 0;
        if (c == '"') break;
        if (c < 0x20) return tr_scan_fail(p, i < p->n ? "a control character in a string" : "a string without end");
        if (c >= 0x80) ascii = false;
        if (c == '\\') {
            escapes = true;
            i++;
            if (i >= p->n) return tr_scan_fail(p, "a string without end");
            if ((uint8_t)p->s[i] < 0x20 || (uint8_t)p->s[i] >= 0x80) return tr_scan_fail(p, "an unknown escape");
        }
    }
    if (!ascii && tr_utf8_valid(p->s + begin, i - begin) != i - begin) return tr_scan_fail(p, "a string that is not UTF-8");
    p->at = i + 1;
    if (escapes) {
        if (stable) *stable = false;
        return unescape(p, begin, i, out);
    }
    *out = (tr_text_view){ p->s + begin, i - begin };
    return TRESS_OK;
}

/* Bytes of the number at the front, by JSON's grammar; 0: there is none. */
static size_t number_length(const char *s, size_t n, bool *is_int)
{
    size_t i = 0, mark;
    *is_int = true;
    if (i < n && s[i] == '-') i++;
    mark = i;
    while (i < n && s[i] >= '0' && s[i] <= '9') i++;
    if (i == mark || (i - mark > 1 && s[mark] == '0')) return 0;
    if (i < n && s[i] == '.') {
        *is_int = false;
        mark = ++i;
        while (i < n && s[i] >= '0' && s[i] <= '9') i++;
        if (i == mark) return 0;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        *is_int = false;
        i++;
        if (i < n && (s[i] == '+' || s[i] == '-')) i++;
        mark = i;
        while (i < n && s[i] >= '0' && s[i] <= '9') i++;
        if (i == mark) return 0;
    }
    return i;
}

tress_status tr_scan_int(tr_scan *p, int64_t *out, int64_t min, int64_t max)
{
    bool is_int;
    (void)after_blanks(p);
    const size_t n = number_length(p->s + p->at, p->n - p->at, &is_int);
    if (n == 0 || !is_int || n > 19) return tr_scan_fail(p, "expected an integer");
    const bool negative = p->s[p->at] == '-';
    int64_t v = 0;
    for (size_t i = negative; i < n; i++) {
        if (v > (INT64_MAX - 9) / 10) return tr_scan_fail(p, "an integer too large");
        v = v * 10 + (p->s[p->at + i] - '0');
    }
    if (negative) v = -v;
    if (v < min || v > max)
        return tr_fail(TRESS_E_FORMAT, "%s: byte %zu: found %" PRId64 ", expected %" PRId64 " to %" PRId64, p->where, p->at, v, min, max);
    p->at += n;
    return *out = v, TRESS_OK;
}

/* strtod reads the number in the caller's locale: whoever reads many sets the C locale of the thread around them. */
tress_status tr_scan_double(tr_scan *p, double *out)
{
    bool is_int;
    char *end;
    (void)after_blanks(p);
    const size_t n = number_length(p->s + p->at, p->n - p->at, &is_int);
    if (n == 0 || n > 400) return tr_scan_fail(p, "expected a number");
    const double v = strtod(p->s + p->at, &end);
    if (end != p->s + p->at + n || !isfinite(v)) return tr_scan_fail(p, "expected a finite number");
    p->at += n;
    return *out = v, TRESS_OK;
}

tress_status tr_scan_bool(tr_scan *p, bool *out)
{
    (void)after_blanks(p);
    if (p->n - p->at >= 4 && memcmp(p->s + p->at, "true", 4) == 0) return p->at += 4, *out = true, TRESS_OK;
    if (p->n - p->at >= 5 && memcmp(p->s + p->at, "false", 5) == 0) return p->at += 5, *out = false, TRESS_OK;
    return tr_scan_fail(p, "expected true or false");
}

/* One value that is no bracket. */
static tress_status skip_simple(tr_scan *p)
{
    tr_text_view v;
    bool b, is_int;
    const char c = tr_scan_peek(p);
    if (c == '"') return tr_scan_string(p, &v, NULL);
    if (c == 't' || c == 'f') return tr_scan_bool(p, &b);
    if (c == 'n' && p->n - p->at >= 4 && memcmp(p->s + p->at, "null", 4) == 0) return p->at += 4, TRESS_OK;
    const size_t n = c == '0' || c == '-' ? number_length(p->s + p->at, p->n - p->at, &is_int) : 0;
    if (n == 0) return tr_scan_fail(p, "expected a value");
    return p->at += n, TRESS_OK;
}

tress_status tr_scan_skip(tr_scan *p)
{
    tress_status st = TRESS_OK;
    const int depth = p->depth;
    do {
        const char c = tr_scan_peek(p);
        bool more = true;
        if (c == '{' || c == '[') TR_TRY(tr_scan_enter(p, c));
        else TR_TRY(skip_simple(p));
        while (p->depth > depth) {                      /* to the next value, closing what ends here */
            TR_TRY(tr_scan_next(p, &more, NULL));
            if (more) break;
        }
    } while (p->depth > depth);
done:
    return st;
}

tress_status tr_scan_end(tr_scan *p)
{
    (void)after_blanks(p);
    return p->at == p->n ? TRESS_OK : tr_scan_fail(p, "bytes behind the end of the JSON");
}
