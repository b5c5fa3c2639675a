/* Unigram pieces as T5 has them: Kudo 2018, arXiv:1804.10959; the best path by Viterbi; spec/text.md section 5. */
#include "text/unigram_int.h"
#include "text/unicode_int.h"

#include <string.h>

#define MARK "\xE2\x96\x81"                     /* U+2581, what stands for a space */
#define UNK_PENALTY 10.0                        /* below the lowest score: both tokenizers and sentencepiece */

typedef struct best { double score; int32_t id; int32_t from; } best;  /* from -1: no path ends here yet */

typedef struct encoder {
    const tr_unigram *t;
    int32_t *ids; int n, n_max;
    size_t cut_byte;
    best *path; uint32_t *step; size_t n_room;  /* for a piece of n_room bytes */
    tr_normal word;                             /* one word behind its mark */
} encoder;

static void emit(encoder *e, int id, size_t byte)
{
    if (e->n < e->n_max) e->ids[e->n] = id;
    else if (e->n == e->n_max) e->cut_byte = byte;
    e->n++;
}

static void offer(best *to, double score, int id, size_t from)
{
    if (to->from >= 0 && !(score > to->score)) return;
    *to = (best){ score, id, (int32_t)from };
}

/* The pieces of s[n] whose scores sum to the most; of equal sums the one found first. Characters that are no piece cost
 * more than any piece, and neighbours of that kind become one unknown. */
static tress_status encode_piece(encoder *e, const char *s, size_t n, const uint32_t *from)
{
    tress_status st = TRESS_OK;
    const tr_unigram *t = e->t;
    if (n + 1 > e->n_room) {
        size_t n_room = 64;
        while (n_room < n + 1) n_room *= 2;
        tr_free(e->path);
        tr_free(e->step);
        e->path = NULL;
        e->step = NULL;
        e->n_room = 0;
        TR_TRY(tr_alloc_raw((void **)&e->path, n_room * sizeof *e->path));
        TR_TRY(tr_alloc_raw((void **)&e->step, n_room * sizeof *e->step));
        e->n_room = n_room;
    }
    for (size_t i = 1; i <= n; i++) e->path[i].from = -1;
    e->path[0] = (best){ 0, -1, 0 };
    uint32_t c;
    for (size_t i = 0, k; i < n; i += k) {
        k = (size_t)tr_utf8_next(s + i, n - i, &c);
        const double so_far = e->path[i].score;
        bool single = false;
        int32_t node = t->root[(uint8_t)s[i]];
        for (size_t j = i + 1; node > 0; j++) {
            if (t->node[node].id >= 0) {
                offer(&e->path[j], t->node[node].score + so_far, t->node[node].id, i);
                if (j == i + k) single = true;
            }
            if (j == n) break;
            const uint32_t *child = tr_map64_get(&t->child, (uint64_t)(uint32_t)node << 8 | (uint8_t)s[j]);
            node = child ? (int32_t)*child : 0;
        }
        if (!single) offer(&e->path[i + k], t->score_min - UNK_PENALTY + so_far, t->unk, i);
    }
    size_t n_step = 0;
    for (size_t at = n; at > 0; at = (size_t)e->path[at].from) e->step[n_step++] = (uint32_t)at;
    bool after_unk = false;
    for (size_t i = n_step; i-- > 0;) {
        const best *b = &e->path[e->step[i]];
        if (b->id != t->unk || !after_unk) emit(e, b->id, from[b->from]);
        after_unk = b->id == t->unk;
    }
done:
    return st;
}

/* Words begin at marks: those that stand in the text, and the one put before it where `marked` asks for it. */
static tress_status encode_word(encoder *e, const char *s, size_t n, const uint32_t *from, bool marked)
{
    tress_status st = TRESS_OK;
    tr_normal *w = &e->word;
    w->n = 0;
    if (n == 0) return TRESS_OK;
    if (marked && !(n >= 3 && memcmp(s, MARK, 3) == 0) && s[0] != ' ') TR_TRY(tr_normal_add(w, MARK, 3, from[0]));
    for (size_t i = 0; i < n;) {
        if (s[i] == ' ') {
            TR_TRY(tr_normal_add(w, MARK, 3, from[i++]));
            continue;
        }
        size_t end = i;
        while (end < n && s[end] != ' ') end++;
        for (; i < end; i++) TR_TRY(tr_normal_add(w, s + i, 1, from[i]));
    }
    for (size_t i = 0; i < w->n;) {
        size_t end = i + 1;
        while (end < w->n && !(w->n - end >= 3 && memcmp(w->s + end, MARK, 3) == 0)) end++;
        TR_TRY(encode_piece(e, w->s + i, end - i, w->from + i));
        i = end;
    }
done:
    return st;
}

/* Normalised text without tokens; `first` when it begins the prompt. */
static tress_status encode_words(encoder *e, const char *s, size_t n, const uint32_t *from, bool first)
{
    tress_status st = TRESS_OK;
    const tr_unigram *t = e->t;
    if (!t->split_blanks) return encode_word(e, s, n, from, first || !t->mark_first_only);
    uint32_t c;
    for (size_t i = 0; i < n;) {
        size_t k = (size_t)tr_utf8_next(s + i, n - i, &c), end = i;
        if (tr_char_is_space(c)) {
            i += k;
            continue;
        }
        while (end < n) {
            k = (size_t)tr_utf8_next(s + end, n - end, &c);
            if (tr_char_is_space(c)) break;
            end += k;
        }
        TR_TRY(encode_word(e, s + i, end - i, from + i, !t->mark_first_only || (first && i == 0)));
        i = end;
    }
done:
    return st;
}

tress_status tr_unigram_normalise(const tr_unigram *t, tr_normal *x, const char *s, size_t n, size_t at)
{
    tress_status st = TRESS_OK;
    x->n = 0;
    TR_TRY(tr_charsmap_apply(&t->map, x, s, n, at));
    if (t->strip_right) {
        size_t keep = 0;
        uint32_t c;
        for (size_t i = 0; i < x->n;) {
            i += (size_t)tr_utf8_next(x->s + i, x->n - i, &c);
            if (!tr_char_is_space(c)) keep = i;
        }
        x->n = keep;
    }
    if (t->blanks_to_mark) {
        /* In place: two spaces and more become the three bytes of a mark, so a pair needs one byte that it does not have. */
        tr_normal to = { 0 };
        for (size_t i = 0; i < x->n && st == TRESS_OK;) {
            size_t k = i;
            while (k < x->n && x->s[k] == ' ') k++;
            if (k - i >= 2) {
                st = tr_normal_add(&to, MARK, 3, x->from[i]);
                i = k;
            } else {
                st = tr_normal_add(&to, x->s + i, 1, x->from[i]);
                i++;
            }
        }
        tr_normal_fini(x);
        *x = to;
    }
done:
    return st;
}

static tress_status encode_text(encoder *e, tr_normal *x, const char *s, size_t n, size_t at)
{
    tress_status st = TRESS_OK;
    if (n == 0) return TRESS_OK;
    TR_TRY(tr_unigram_normalise(e->t, x, s, n, at));
    for (size_t i = 0; i < x->n;) {
        size_t begin = i, end = x->n;
        const int token = tr_added_find(&e->t->added, true, x->s, x->n, &begin, &end);
        if (token < 0) begin = x->n;
        TR_TRY(encode_words(e, x->s + i, begin - i, x->from + i, at == 0 && i == 0));
        if (token >= 0) emit(e, e->t->added.token[token].id, x->from[begin]);
        i = token >= 0 ? end : x->n;
    }
done:
    return st;
}

tress_status tr_unigram_encode(const tr_unigram *t, const char *text, size_t n_text, int32_t *ids, int n, tr_cut *cut)
{
    tress_status st = TRESS_OK;
    const char *given = text;
    const size_t n_given = n_text;
    char *clean = NULL;
    tr_normal x = { 0 };
    TR_ASSERT(n >= 1);
    encoder e = { .t = t, .ids = ids, .n_max = n - 1 };
    TR_TRY(tr_prompt_clean(&clean, &text, &n_text));
    for (size_t i = 0; i < n_text;) {
        size_t begin = i, end = n_text;
        const int token = tr_added_find(&t->added, false, text, n_text, &begin, &end);
        if (token < 0) begin = n_text;
        TR_TRY(encode_text(&e, &x, text + i, begin - i, i));
        if (token >= 0) emit(&e, t->added.token[token].id, begin);
        i = token >= 0 ? end : n_text;
    }
    const int n_kept = e.n < e.n_max ? e.n : e.n_max;
    ids[n_kept] = t->end;
    for (int i = n_kept + 1; i < n; i++) ids[i] = t->pad;
    if (cut) *cut = (tr_cut){ e.n - n_kept, e.n > n_kept ? (clean ? tr_utf8_unrepaired(given, n_given, e.cut_byte) : e.cut_byte) : 0 };
done:
    tr_free(clean);
    tr_free(e.path);
    tr_free(e.step);
    tr_normal_fini(&e.word);
    tr_normal_fini(&x);
    return st;
}

void tr_unigram_close(tr_unigram *t)
{
    if (!t) return;
    tr_map64_fini(&t->child);
    tr_free(t->node);
    tr_charsmap_fini(&t->map);
    tr_added_fini(&t->added);
    tr_free(t);
}

int tr_unigram_size(const tr_unigram *t) { return t->n_id; }
