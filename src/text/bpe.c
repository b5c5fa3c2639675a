/* Byte-pair encoding as CLIP has it: Sennrich et al. 2016, arXiv:1508.07909, over bytes; spec/text.md section 4. */
#include "text/bpe_int.h"
#include "text/unicode_int.h"

#include <string.h>


typedef struct symbol { int32_t id, prev, next; } symbol;              /* next == -2: merged into its left neighbour */
typedef struct merge { int32_t rank, at, id; } merge;

typedef struct encoder {
    const tr_bpe *t;
    int32_t *ids; int n, n_max;                 /* found so far; those beyond n_max are only counted */
    size_t  cut_byte;                           /* where the first id beyond n_max comes from */
    symbol *symbol; merge *heap; size_t n_room; /* for words of n_room bytes */
    int n_heap;
} encoder;

static void emit(encoder *e, int id, size_t byte)
{
    if (e->n < e->n_max) e->ids[e->n] = id;
    else if (e->n == e->n_max) e->cut_byte = byte;
    e->n++;
}

static bool before(merge a, merge b) { return a.rank != b.rank ? a.rank < b.rank : a.at < b.at; }

static void heap_push(encoder *e, merge m)
{
    int i = e->n_heap++;
    while (i > 0 && before(m, e->heap[(i - 1) / 2])) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = m;
}

static merge heap_pop(encoder *e)
{
    const merge top = e->heap[0], last = e->heap[--e->n_heap];
    int i = 0;
    for (;;) {
        int k = 2 * i + 1;
        if (k >= e->n_heap) break;
        if (k + 1 < e->n_heap && before(e->heap[k + 1], e->heap[k])) k++;
        if (!before(e->heap[k], last)) break;
        e->heap[i] = e->heap[k];
        i = k;
    }
    e->heap[i] = last;
    return top;
}

static const tr_bpe_rule *rule_of(const tr_bpe *t, int32_t a, int32_t b)
{
    const uint32_t *i = tr_map64_get(&t->pair, (uint64_t)(uint32_t)a << 32 | (uint32_t)b);
    return i ? &t->rule[*i] : NULL;
}

static void push_pair(encoder *e, int32_t at)
{
    const int32_t next = e->symbol[at].next;
    const tr_bpe_rule *r = next >= 0 ? rule_of(e->t, e->symbol[at].id, e->symbol[next].id) : NULL;
    if (r) heap_push(e, (merge){ r->rank, at, r->id });
}

/* One word: of all adjacent pairs with a rule the one of lowest rank, the leftmost of those, until none has a rule. */
static tress_status encode_word(encoder *e, const char *s, size_t n, size_t byte)
{
    tress_status st = TRESS_OK;
    if (n > e->n_room) {
        size_t n_room = 64;
        while (n_room < n) n_room *= 2;
        tr_free(e->symbol);
        tr_free(e->heap);
        e->symbol = NULL;
        e->heap = NULL;
        e->n_room = 0;
        TR_TRY(tr_alloc_raw((void **)&e->symbol, n_room * sizeof *e->symbol));
        TR_TRY(tr_alloc_raw((void **)&e->heap, 3 * n_room * sizeof *e->heap));     /* n - 1 at first, two for each merge */
        e->n_room = n_room;
    }
    for (size_t i = 0; i < n; i++)
        e->symbol[i] = (symbol){ e->t->byte_id[i + 1 == n][(uint8_t)s[i]], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1 };
    e->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++) push_pair(e, (int32_t)i);
    while (e->n_heap > 0) {
        const merge m = heap_pop(e);
        symbol *a = &e->symbol[m.at];
        if (a->next < 0) continue;                      /* it is the last one, or was merged away */
        const symbol *b = &e->symbol[a->next];
        const tr_bpe_rule *r = rule_of(e->t, a->id, b->id);
        if (!r || r->id != m.id) continue;              /* an entry from before one of the two changed */
        a->id = m.id;
        const int32_t gone = a->next;
        a->next = b->next;
        if (b->next >= 0) e->symbol[b->next].prev = m.at;
        e->symbol[gone].next = -2;
        if (a->prev >= 0) push_pair(e, a->prev);
        push_pair(e, m.at);
    }
    for (int32_t i = 0; i >= 0; i = e->symbol[i].next) emit(e, e->symbol[i].id, byte);
done:
    return st;
}

/* Bytes of the word at s: 's 't 're 've 'm 'll 'd | letters | one number | anything else that is no blank. */
static size_t word_length(const char *s, size_t n)
{
    uint32_t c;
    size_t i = (size_t)tr_utf8_next(s, n, &c);
    if (c == '\'' && n >= 2) {
        if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
        if (n >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l'))) return 3;
    }
    const tr_char_class first = tr_char_get_class(c);
    while (i < n && first != TR_CHAR_NUMBER) {
        const size_t k = (size_t)tr_utf8_next(s + i, n - i, &c);
        if (tr_char_get_class(c) != first) break;
        i += k;
    }
    return i;
}

/* A start or end token that was not taken out before is one match of the pattern, and then falls apart. */
static size_t literal_length(const char *s, size_t n)
{
    if (n >= 15 && memcmp(s, "<|startoftext|>", 15) == 0) return 15;
    return n >= 13 && memcmp(s, "<|endoftext|>", 13) == 0 ? 13 : 0;
}

/* Where in the input the word stands whose normalised text begins at or before `at`. */
static size_t input_byte(const tr_bpe_text *x, size_t at)
{
    size_t low = 0, high = x->n_mark;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (x->mark[mid][0] <= at) low = mid + 1;
        else high = mid;
    }
    return low > 0 ? x->mark[low - 1][1] : 0;
}

/* The normalised text from at to end, which holds no token. */
static tress_status encode_words(encoder *e, const tr_bpe_text *x, size_t at, size_t end)
{
    tress_status st = TRESS_OK;
    while (at < end) {
        const char *s = x->s + at;
        const size_t literal = literal_length(s, end - at), byte = input_byte(x, at);
        size_t k = 1;
        if (literal) {
            TR_TRY(encode_word(e, s, 2, byte));
            TR_TRY(encode_word(e, s + 2, literal - 4, byte));
            TR_TRY(encode_word(e, s + literal - 2, 2, byte));
            k = literal;
        } else if (*s != ' ') {                         /* the only blank that is left */
            k = word_length(s, end - at);
            TR_TRY(encode_word(e, s, k, byte));
        }
        at += k;
    }
done:
    return st;
}

/* Text without written-as-is tokens, beginning at byte `at` of the input. */
static tress_status encode_text(encoder *e, tr_bpe_text *x, const char *s, size_t n, size_t at)
{
    tress_status st = TRESS_OK;
    x->n = x->n_mark = 0;
    TR_TRY(tr_bpe_text_add(x, s, n, at));
    for (size_t i = 0; i < x->n;) {
        size_t begin = i, end = x->n;
        const int token = tr_added_find(&e->t->added, true, x->s, x->n, &begin, &end);
        if (token < 0) begin = x->n;
        TR_TRY(encode_words(e, x, i, begin));
        i = begin;
        if (token >= 0) {
            emit(e, e->t->added.token[token].id, input_byte(x, begin));
            i = end;
        }
    }
done:
    return st;
}

tress_status tr_bpe_encode(const tr_bpe *t, const char *text, size_t n_text, int32_t *ids, int n, tr_cut *cut)
{
    tress_status st = TRESS_OK;
    const char *given = text;
    const size_t n_given = n_text;
    char *clean = NULL;
    tr_bpe_text x = { 0 };
    TR_ASSERT(n >= 2);
    encoder e = { .t = t, .ids = ids + 1, .n_max = n - 2 };
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
    ids[0] = t->start;
    ids[1 + n_kept] = t->end;
    for (int i = n_kept + 2; i < n; i++) ids[i] = t->pad;
    if (cut) *cut = (tr_cut){ e.n - n_kept, e.n > n_kept ? (clean ? tr_utf8_unrepaired(given, n_given, e.cut_byte) : e.cut_byte) : 0 };
done:
    tr_free(clean);
    tr_free(e.symbol);
    tr_free(e.heap);
    tr_bpe_text_fini(&x);
    return st;
}

void tr_bpe_close(tr_bpe *t)
{
    if (!t) return;
    tr_map64_fini(&t->pair);
    tr_free(t->rule);
    tr_added_fini(&t->added);
    tr_free(t);
}

int tr_bpe_size(const tr_bpe *t) { return t->n_id; }
int tr_bpe_end_id(const tr_bpe *t) { return t->end; }
