/* tokenizer.json, or spiece.model, into a tr_unigram. */
#include "text/unigram_int.h"

#include <locale.h>
#include <math.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 20)
#define N_PIECE_MAX (1 << 20)
#define N_NODE_MAX (1 << 24)                    /* a node and a byte make one 32-bit number */
#define LEN_MAX 1024

static tress_status new_node(tr_unigram *t, int32_t *out, const char *where)
{
    tress_status st = TRESS_OK;
    if (t->n_node == N_NODE_MAX) return tr_fail(TRESS_E_FORMAT, "%s: the pieces have more than %d different beginnings", where, N_NODE_MAX);
    if (t->n_node == t->n_node_room) {
        const int n_room = t->n_node_room ? 2 * t->n_node_room : 8192;
        TR_TRY(tr_realloc((void **)&t->node, (size_t)t->n_node_room * sizeof *t->node, (size_t)n_room * sizeof *t->node));
        t->n_node_room = n_room;
    }
    t->node[t->n_node].id = -1;
    *out = t->n_node++;
done:
    return st;
}

tress_status tr_unigram_put(tr_unigram *t, const char *s, size_t n, double score, const char *where)
{
    tress_status st = TRESS_OK;
    if (n == 0 || n > LEN_MAX) return tr_fail(TRESS_E_FORMAT, "%s: piece %d has %zu bytes, expected 1 to %d", where, t->n_piece, n, LEN_MAX);
    if (t->n_piece == N_PIECE_MAX) return tr_fail(TRESS_E_FORMAT, "%s: more than %d pieces", where, N_PIECE_MAX);
    if (!isfinite(score)) return tr_fail(TRESS_E_FORMAT, "%s: piece %d has a score that is no finite number", where, t->n_piece);
    int32_t node = 0;
    if (t->n_node == 0) TR_TRY(new_node(t, &node, where));
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = (uint8_t)s[i];
        uint32_t *at = NULL;
        int32_t next = i == 0 ? t->root[c] : 0;
        if (i > 0) {
            TR_TRY(tr_map64_put(&t->child, (uint64_t)(uint32_t)node << 8 | c, 0, &at));
            next = (int32_t)*at;
        }
        if (next == 0) {
            TR_TRY(new_node(t, &next, where));
            if (i == 0) t->root[c] = next;
            else *at = (uint32_t)next;
        }
        node = next;
    }
    t->node[node].id = t->n_piece++;                    /* the last of two equal pieces counts, as there */
    t->node[node].score = score;
    if (t->n_piece == 1 || score < t->score_min) t->score_min = score;
done:
    return st;
}

int tr_unigram_find(const tr_unigram *t, const char *s, size_t n)
{
    int32_t node = n > 0 ? t->root[(uint8_t)s[0]] : 0;
    for (size_t i = 1; i < n && node > 0; i++) {
        const uint32_t *child = tr_map64_get(&t->child, (uint64_t)(uint32_t)node << 8 | (uint8_t)s[i]);
        node = child ? (int32_t)*child : 0;
    }
    return node > 0 ? t->node[node].id : -1;
}

/* Ids and patterns of the added tokens, and which id each special one has. */
static tress_status set_added(tr_unigram *t, const char *where)
{
    tress_status st = TRESS_OK;
    tr_normal x = { 0 };
    t->n_id = t->n_piece;
    for (int i = 0; i < t->added.n; i++) {
        tr_added_token *k = &t->added.token[i];
        const size_t n = strlen(k->content);
        k->id = tr_unigram_find(t, k->content, n);
        if (k->id < 0) k->id = t->n_id++;
        if (k->normalized) TR_TRY(tr_unigram_normalise(t, &x, k->content, n, 0));
        k->n_pattern = k->normalized ? x.n : n;
        TR_TRY(tr_alloc((void **)&k->pattern, k->n_pattern + 1));
        if (k->n_pattern > 0) memcpy(k->pattern, k->normalized ? x.s : k->content, k->n_pattern);
    }
    tr_added_ready(&t->added);
    t->end = t->pad = -1;
    for (int k = 0; k < t->added.n; k++) {
        if (strcmp(t->added.token[k].content, t->added.name[TR_EOS]) == 0) t->end = t->added.token[k].id;
        if (strcmp(t->added.token[k].content, t->added.name[TR_PAD]) == 0) t->pad = t->added.token[k].id;
    }
    if (t->end < 0 || t->pad < 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the %s token is empty", where, t->end < 0 ? "end" : "padding"));
done:
    tr_normal_fini(&x);
    return st;
}

tress_status tr_unigram_open_as(tr_unigram **out, const char *dir, tr_unigram_rule rule)
{
    tress_status st = TRESS_OK;
    static const char *const fallback[TR_SPECIAL_N] = { NULL, "</s>", "<unk>", NULL, "<pad>", NULL, NULL };
    tr_unigram *t = NULL;
    tr_added file = { 0 };
    char *path = NULL;
    int64_t unk = -1;
    /* Scores are read by strtod, which must see a decimal point whatever the program's locale is. */
    locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0), old = (locale_t)0;
    if (c_locale == (locale_t)0) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the C locale"));
    old = uselocale(c_locale);
    TR_TRY(tr_alloc((void **)&t, sizeof *t));
    t->split_blanks = true;
    TR_TRY(tr_path_join(&path, dir, "tokenizer.json"));
    if (tr_file_exists(path)) {
        TR_TRY(tr_unigram_read_json(t, &file, &unk, path, rule));
    } else {
        char *spiece = NULL;
        TR_TRY(tr_path_join(&spiece, dir, "spiece.model"));
        if (!tr_file_exists(spiece)) {
            tr_free(spiece);
            TR_TRY(tr_fail(TRESS_E_IO, "neither %s nor spiece.model can be read", path));
        }
        tr_free(path);
        path = spiece;
        TR_TRY(tr_unigram_read_spiece(t, &unk, path));
    }
    if (unk < 0 || unk >= t->n_piece) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the unknown piece is %" PRId64 " of %d", path, unk, t->n_piece));
    t->unk = (int)unk;
    TR_TRY(tr_added_read(&t->added, dir, fallback, &file, 100));
    TR_TRY(set_added(t, dir));
    *out = t;
    t = NULL;
done:
    if (old != (locale_t)0) uselocale(old);
    if (c_locale != (locale_t)0) freelocale(c_locale);
    tr_unigram_close(t);
    tr_added_fini(&file);
    tr_free(path);
    return st == TRESS_OK ? st : tr_note(st, "reading the tokenizer %s", dir);
}

tress_status tr_unigram_open(tr_unigram **out, const char *dir) { return tr_unigram_open_as(out, dir, TR_UNIGRAM_CLASS); }
