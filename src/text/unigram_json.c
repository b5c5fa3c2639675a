/* tokenizer.json with a Unigram model. */
#include "text/scan_int.h"
#include "text/unigram_int.h"

#include <string.h>

#define FILE_MAX ((size_t)64 << 20)

/* [["piece", score], ..] */
static tress_status read_pieces(tr_unigram *t, tr_scan *p)
{
    tress_status st = TRESS_OK;
    bool more;
    TR_TRY(tr_scan_enter(p, '['));
    for (;;) {
        tr_text_view name;
        char copy[1024];
        double score;
        bool stable = true;
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (!more) break;
        TR_TRY(tr_scan_enter(p, '['));
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (!more) return tr_scan_fail(p, "a piece without a name");
        TR_TRY(tr_scan_string(p, &name, &stable));
        if (name.n > sizeof copy) return tr_scan_fail(p, "a piece of more than 1024 bytes");
        if (!stable && name.n > 0) name.s = memcpy(copy, name.s, name.n);
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (!more) return tr_scan_fail(p, "a piece without a score");
        TR_TRY(tr_scan_double(p, &score));
        TR_TRY(tr_unigram_put(t, name.s, name.n, score, p->where));
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (more) return tr_scan_fail(p, "a piece with more than a name and a score");
    }
done:
    return st;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static tress_status read_charsmap(tr_unigram *t, tr_scan *p)
{
    tress_status st = TRESS_OK;
    uint8_t *blob = NULL;
    tr_text_view v;
    size_t n = 0;
    if (t->map.n_unit > 0) return tr_scan_fail(p, "a second precompiled_charsmap");
    if (tr_scan_peek(p) == 'n') return tr_scan_skip(p);          /* null: no map */
    TR_TRY(tr_scan_string(p, &v, NULL));
    TR_TRY(tr_alloc_raw((void **)&blob, v.n / 4 * 3 + 3));
    size_t n_text = v.n;
    while (n_text > 0 && v.n - n_text < 2 && v.s[n_text - 1] == '=') n_text--;
    if (v.n % 4 != 0 || n_text % 4 == 1) TR_TRY(tr_scan_fail(p, "precompiled_charsmap is not base64"));
    uint32_t bits = 0;
    for (size_t i = 0; i < n_text; i++) {
        const int x = base64_value(v.s[i]);
        if (x < 0) TR_TRY(tr_scan_fail(p, "precompiled_charsmap is not base64"));
        bits = bits << 6 | (uint32_t)x;
        if (i % 4 == 3) {
            blob[n++] = (uint8_t)(bits >> 16);
            blob[n++] = (uint8_t)(bits >> 8);
            blob[n++] = (uint8_t)bits;
        }
    }
    if (n_text % 4 == 2) blob[n++] = (uint8_t)(bits >> 4);
    if (n_text % 4 == 3) {
        blob[n++] = (uint8_t)(bits >> 10);
        blob[n++] = (uint8_t)(bits >> 2);
    }
    TR_TRY(tr_charsmap_init(&t->map, blob, n, p->where));
done:
    tr_free(blob);
    return st;
}

/* One step of a normaliser or pre-tokeniser, or a sequence of them; the object's members may stand in any order. */
typedef struct step {
    char type[32], scheme[16], content[16], pattern[16];
    bool strip_left, strip_right, split;
} step;

static tress_status copy_text(tr_scan *p, char *to, size_t n_max)
{
    tress_status st = TRESS_OK;
    tr_text_view v;
    TR_TRY(tr_scan_string(p, &v, NULL));
    if (v.n >= n_max) return tr_scan_fail(p, "a name of a step that no T5 vocabulary has");
    memcpy(to, v.s, v.n);
    to[v.n] = '\0';
done:
    return st;
}

static tress_status use_step(tr_unigram *t, tr_scan *p, const step *s, bool by_file)
{
    if (!by_file || strcmp(s->type, "Sequence") == 0 || strcmp(s->type, "Precompiled") == 0) return TRESS_OK;
    if (strcmp(s->type, "Strip") == 0 && !s->strip_left && s->strip_right) return t->strip_right = true, TRESS_OK;
    if (strcmp(s->type, "Replace") == 0 && strcmp(s->pattern, " {2,}") == 0 && strcmp(s->content, "\xE2\x96\x81") == 0)
        return t->blanks_to_mark = true, TRESS_OK;
    if (strcmp(s->type, "WhitespaceSplit") == 0) return t->split_blanks = true, TRESS_OK;
    if (strcmp(s->type, "Metaspace") == 0 && s->split && strcmp(s->content, "\xE2\x96\x81") == 0 &&
        (strcmp(s->scheme, "first") == 0 || strcmp(s->scheme, "always") == 0))
        return t->mark_first_only = s->scheme[0] == 'f', TRESS_OK;
    return tr_fail(TRESS_E_FORMAT, "%s: byte %zu: the step \"%s\" is none that a T5 vocabulary has, or has other settings", p->where, p->at, s->type);
}

/* The members of a step; steps inside a sequence are used as they end. */
static tress_status read_step(tr_unigram *t, tr_scan *p, bool by_file)
{
    tress_status st = TRESS_OK;
    const int depth = p->depth;
    step s[4] = { { .scheme = "always", .split = true } };       /* [depth]: object, sequence, object of it, pattern */
    int at = 0;
    tr_text_view key;
    bool more;
    if (tr_scan_peek(p) == 'n') return tr_scan_skip(p);
    TR_TRY(tr_scan_enter(p, '{'));
    while (p->depth > depth) {
        TR_TRY(tr_scan_next(p, &more, &key));
        if (!more) {                                             /* left a bracket */
            if (at == 0 || at == 2) TR_TRY(use_step(t, p, &s[at], by_file));
            at--;
            continue;
        }
        if (at == 1) {                                           /* a step of the sequence */
            TR_TRY(tr_scan_enter(p, '{'));
            s[at = 2] = (step){ .scheme = "always", .split = true };
        } else if (at == 3) {
            TR_TRY(tr_scan_is(key, "Regex") || tr_scan_is(key, "String") ? copy_text(p, s[2].pattern, sizeof s[2].pattern) : tr_scan_skip(p));
        } else if (tr_scan_is(key, "type")) {
            TR_TRY(copy_text(p, s[at].type, sizeof s[at].type));
        } else if (tr_scan_is(key, "precompiled_charsmap")) {
            TR_TRY(read_charsmap(t, p));
        } else if (at == 0 && (tr_scan_is(key, "normalizers") || tr_scan_is(key, "pretokenizers"))) {
            TR_TRY(tr_scan_enter(p, '['));
            at = 1;
        } else if (at == 2 && tr_scan_is(key, "pattern") && tr_scan_peek(p) == '{') {
            TR_TRY(tr_scan_enter(p, '{'));
            at = 3;
        } else if (by_file && (tr_scan_is(key, "content") || tr_scan_is(key, "replacement"))) {
            TR_TRY(copy_text(p, s[at].content, sizeof s[at].content));
        } else if (by_file && tr_scan_is(key, "prepend_scheme")) {
            TR_TRY(copy_text(p, s[at].scheme, sizeof s[at].scheme));
        } else if (by_file && tr_scan_is(key, "strip_left")) {
            TR_TRY(tr_scan_bool(p, &s[at].strip_left));
        } else if (by_file && tr_scan_is(key, "strip_right")) {
            TR_TRY(tr_scan_bool(p, &s[at].strip_right));
        } else if (by_file && tr_scan_is(key, "split")) {
            TR_TRY(tr_scan_bool(p, &s[at].split));
        } else {
            TR_TRY(tr_scan_skip(p));
        }
    }
done:
    return st;
}

static tress_status read_model(tr_unigram *t, tr_scan *p, int64_t *unk)
{
    tress_status st = TRESS_OK;
    tr_text_view key, type = { NULL, 0 };
    bool more, byte_fallback = false;
    TR_TRY(tr_scan_enter(p, '{'));
    for (;;) {
        TR_TRY(tr_scan_next(p, &more, &key));
        if (!more) break;
        if (tr_scan_is(key, "vocab")) {
            if (t->n_piece > 0) return tr_scan_fail(p, "a second vocabulary");
            if (tr_scan_peek(p) != '[') return tr_scan_fail(p, "expected a list of pieces with scores: no Unigram model");
            TR_TRY(read_pieces(t, p));
        } else if (tr_scan_is(key, "unk_id") && tr_scan_peek(p) != 'n') {
            TR_TRY(tr_scan_int(p, unk, 0, INT32_MAX));
        } else if (tr_scan_is(key, "byte_fallback")) {
            TR_TRY(tr_scan_bool(p, &byte_fallback));
            if (byte_fallback) return tr_scan_fail(p, "byte_fallback is on, which no T5 vocabulary has");
        } else if (tr_scan_is(key, "type")) {
            TR_TRY(tr_scan_string(p, &type, NULL));
            if (!tr_scan_is(type, "Unigram")) return tr_fail(TRESS_E_FORMAT, "%s: found a model of type \"%.*s\", expected Unigram", p->where, (int)type.n, type.s);
        } else {
            TR_TRY(tr_scan_skip(p));
        }
    }
done:
    return st;
}

tress_status tr_unigram_read_json(tr_unigram *t, tr_added *file, int64_t *unk, const char *path, tr_unigram_rule rule)
{
    tress_status st = TRESS_OK;
    char *text = NULL;
    size_t n;
    tr_scan scan = { 0 };
    tr_text_view key;
    bool more;
    const bool by_file = rule == TR_UNIGRAM_FILE;
    TR_TRY(tr_file_read(&text, &n, path, FILE_MAX));
    tr_scan_init(&scan, text, n, path);
    if (by_file) t->split_blanks = false;
    TR_TRY(tr_map64_reserve(&t->child, (uint32_t)(n / 24 < 131072 ? n / 24 : 131072)));
    TR_TRY(tr_scan_enter(&scan, '{'));
    for (;;) {
        TR_TRY(tr_scan_next(&scan, &more, &key));
        if (!more) break;
        if (tr_scan_is(key, "model")) TR_TRY(read_model(t, &scan, unk));
        else if (tr_scan_is(key, "normalizer") || tr_scan_is(key, "pre_tokenizer")) TR_TRY(read_step(t, &scan, by_file));
        else if (tr_scan_is(key, "added_tokens") && tr_scan_peek(&scan) == '[') TR_TRY(tr_scan_added(&scan, file));
        else TR_TRY(tr_scan_skip(&scan));
    }
    TR_TRY(tr_scan_end(&scan));
    if (!by_file) *unk = 2;                             /* the class says so, not the file */
done:
    tr_scan_fini(&scan);
    tr_free(text);
    return st;
}
