/* vocab.json and merges.txt, or the tokenizer.json that holds both, into the tables of a tr_bpe. */
#include "text/bpe_int.h"
#include "text/scan_int.h"
#include "text/unicode_int.h"

#include <string.h>

#define FILE_MAX ((size_t)64 << 20)
#define N_ID_MAX (1 << 20)
#define LEN_MAX 1024                            /* bytes of one entry */

typedef struct entry { tr_text_view name; int32_t id; } entry;
typedef struct vocab {                          /* while the files are read */
    entry *list; int n, n_room;
    tr_map64 by_name;                           /* hash of the name -> index into list */
    char *copies; size_t n_copies, n_copies_max;         /* names that had escapes; never moves */
    uint8_t *taken;                             /* one bit for each id below N_ID_MAX: given */
    int id_max;
} vocab;

static void vocab_fini(vocab *v)
{
    tr_free(v->list);
    tr_free(v->copies);
    tr_free(v->taken);
    tr_map64_fini(&v->by_name);
}

static tress_status vocab_init(vocab *v, size_t n_text)
{
    tress_status st = TRESS_OK;
    const size_t n_guess = n_text / 16 < 65536 ? n_text / 16 : 65536;
    v->id_max = -1;
    v->n_copies_max = n_text;
    TR_TRY(tr_alloc_raw((void **)&v->copies, n_text));
    TR_TRY(tr_alloc((void **)&v->taken, N_ID_MAX / 8));
    TR_TRY(tr_map64_reserve(&v->by_name, (uint32_t)n_guess));
done:
    return st;
}

static int vocab_find(const vocab *v, const char *s, size_t n)
{
    const uint32_t *i = tr_map64_get(&v->by_name, tr_map64_name(s, n));
    return i && v->list[*i].name.n == n && memcmp(v->list[*i].name.s, s, n) == 0 ? v->list[*i].id : -1;
}

static tress_status vocab_put(vocab *v, tr_scan *p, tr_text_view name, bool stable, int64_t id)
{
    tress_status st = TRESS_OK;
    uint32_t *at;
    if (name.n == 0 || name.n > LEN_MAX)
        return tr_fail(TRESS_E_FORMAT, "%s: entry %d has a name of %zu bytes, expected 1 to %d", p->where, v->n, name.n, LEN_MAX);
    if (v->taken[id / 8] >> id % 8 & 1) return tr_fail(TRESS_E_FORMAT, "%s: the id %" PRId64 " is given twice, the second time to \"%.*s\"", p->where, id, (int)name.n, name.s);
    if (!stable) {
        TR_ASSERT(name.n <= v->n_copies_max - v->n_copies);      /* together they are shorter than the text they come from */
        memcpy(v->copies + v->n_copies, name.s, name.n);
        name.s = v->copies + v->n_copies;
        v->n_copies += name.n;
    }
    if (v->n == v->n_room) {
        const int n_room = v->n_room ? 2 * v->n_room : 65536;
        TR_TRY(tr_realloc((void **)&v->list, (size_t)v->n_room * sizeof *v->list, (size_t)n_room * sizeof *v->list));
        v->n_room = n_room;
    }
    TR_TRY(tr_map64_put(&v->by_name, tr_map64_name(name.s, name.n), (uint32_t)v->n, &at));
    if (*at != (uint32_t)v->n) return tr_fail(TRESS_E_FORMAT, "%s: \"%.*s\" stands there twice", p->where, (int)name.n, name.s);
    v->list[v->n++] = (entry){ name, (int32_t)id };
    v->taken[id / 8] |= (uint8_t)(1 << id % 8);
    if (id > v->id_max) v->id_max = (int)id;
done:
    return st;
}

/* { "token": id, .. } */
static tress_status read_vocab(vocab *v, tr_scan *p)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_scan_enter(p, '{'));
    for (;;) {
        tr_text_view name;
        bool more, stable = true;
        int64_t id;
        TR_TRY(tr_scan_next_stable(p, &more, &name, &stable));
        if (!more) break;
        TR_TRY(tr_scan_int(p, &id, 0, N_ID_MAX - 1));
        TR_TRY(vocab_put(v, p, name, stable, id));
    }
done:
    return st;
}

/* The rule that joins a and b: both and their joint name are entries. The last of two rules for one pair counts. */
static tress_status put_rule(tr_bpe *t, const vocab *v, int *n_room, const char *a, size_t n_a, const char *b, size_t n_b, const char *where)
{
    tress_status st = TRESS_OK;
    char both[2 * LEN_MAX];
    uint32_t *at;
    if (n_a == 0 || n_b == 0 || n_a > LEN_MAX || n_b > LEN_MAX)
        return tr_fail(TRESS_E_FORMAT, "%s: merge %d is not two names of 1 to %d bytes", where, t->n_rule + 1, LEN_MAX);
    memcpy(both, a, n_a);
    memcpy(both + n_a, b, n_b);
    const int id_a = vocab_find(v, a, n_a), id_b = vocab_find(v, b, n_b), id = vocab_find(v, both, n_a + n_b);
    if (id_a < 0 || id_b < 0 || id < 0)
        return tr_fail(TRESS_E_FORMAT, "%s: merge %d joins \"%.*s\" and \"%.*s\", and not all of these and their sum are in the vocabulary",
                       where, t->n_rule + 1, (int)n_a, a, (int)n_b, b);
    if (t->n_rule == *n_room) {
        const int more = *n_room ? 2 * *n_room : 65536;
        if (more > 2 * N_ID_MAX) return tr_fail(TRESS_E_FORMAT, "%s: more than %d merges", where, *n_room);
        TR_TRY(tr_realloc((void **)&t->rule, (size_t)*n_room * sizeof *t->rule, (size_t)more * sizeof *t->rule));
        *n_room = more;
    }
    t->rule[t->n_rule] = (tr_bpe_rule){ t->n_rule, id };
    TR_TRY(tr_map64_put(&t->pair, (uint64_t)(uint32_t)id_a << 32 | (uint32_t)id_b, (uint32_t)t->n_rule, &at));
    *at = (uint32_t)t->n_rule++;
done:
    return st;
}

/* Lines "a b", in the order of their rank; lines that begin with "#version" do not count. */
static tress_status read_merges(tr_bpe *t, const vocab *v, const char *s, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    int n_room = 0;
    TR_TRY(tr_map64_reserve(&t->pair, (uint32_t)(n / 10 < 65536 ? n / 10 : 65536)));
    for (size_t i = 0; i < n;) {
        const char *line = s + i, *end = memchr(line, '\n', n - i);
        size_t n_line = end ? (size_t)(end - line) : n - i;
        i += n_line + 1;
        if (n_line > 0 && line[n_line - 1] == '\r') n_line--;
        if (n_line >= 8 && memcmp(line, "#version", 8) == 0) continue;
        const char *gap = memchr(line, ' ', n_line);
        if (!gap || memchr(gap + 1, ' ', n_line - (size_t)(gap + 1 - line)))
            return tr_fail(TRESS_E_FORMAT, "%s: merge %d is \"%.*s\", expected two names with one space between them", where, t->n_rule + 1,
                           (int)(n_line < 80 ? n_line : 80), line);
        TR_TRY(put_rule(t, v, &n_room, line, (size_t)(gap - line), gap + 1, n_line - (size_t)(gap + 1 - line), where));
    }
done:
    return st;
}

/* ["a b", ..] or [["a", "b"], ..] */
static tress_status read_merge_list(tr_bpe *t, const vocab *v, tr_scan *p)
{
    tress_status st = TRESS_OK;
    int n_room = 0;
    char left[LEN_MAX];
    TR_TRY(tr_scan_enter(p, '['));
    for (;;) {
        tr_text_view a, b;
        bool more;
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (!more) break;
        if (tr_scan_peek(p) == '[') {
            TR_TRY(tr_scan_enter(p, '['));
            TR_TRY(tr_scan_next(p, &more, NULL));
            if (!more) return tr_scan_fail(p, "a merge of no names");
            TR_TRY(tr_scan_string(p, &a, NULL));
            if (a.n > LEN_MAX) return tr_scan_fail(p, "a merge with a name too long");
            memcpy(left, a.s, a.n);
            TR_TRY(tr_scan_next(p, &more, NULL));
            if (!more) return tr_scan_fail(p, "a merge of one name");
            TR_TRY(tr_scan_string(p, &b, NULL));
            TR_TRY(put_rule(t, v, &n_room, left, a.n, b.s, b.n, p->where));
            TR_TRY(tr_scan_next(p, &more, NULL));
            if (more) return tr_scan_fail(p, "a merge of three names");
        } else {
            TR_TRY(tr_scan_string(p, &a, NULL));
            const char *gap = memchr(a.s, ' ', a.n);
            if (!gap || memchr(gap + 1, ' ', a.n - (size_t)(gap + 1 - a.s))) return tr_scan_fail(p, "a merge that is not two names with one space between them");
            TR_TRY(put_rule(t, v, &n_room, a.s, (size_t)(gap - a.s), gap + 1, a.n - (size_t)(gap + 1 - a.s), p->where));
        }
    }
done:
    return st;
}

/* tokenizer.json: model.vocab, model.merges and added_tokens, in whatever order. Merges before the vocabulary are read in a
 * second pass. */
static tress_status read_whole(tr_bpe *t, vocab *v, tr_added *file, const char *text, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    tr_scan scan = { 0 }, later = { 0 };
    bool more, seen_vocab = false, seen_merges = false;
    tr_text_view key;
    tr_scan_init(&scan, text, n, where);
    TR_TRY(tr_scan_enter(&scan, '{'));
    for (;;) {
        TR_TRY(tr_scan_next(&scan, &more, &key));
        if (!more) break;
        if (tr_scan_is(key, "added_tokens") && tr_scan_peek(&scan) == '[') {
            TR_TRY(tr_scan_added(&scan, file));
        } else if (tr_scan_is(key, "model")) {
            TR_TRY(tr_scan_enter(&scan, '{'));
            for (;;) {
                TR_TRY(tr_scan_next(&scan, &more, &key));
                if (!more) break;
                if (tr_scan_is(key, "vocab")) {
                    if (seen_vocab) TR_TRY(tr_scan_fail(&scan, "a second vocabulary"));
                    TR_TRY(read_vocab(v, &scan));
                    seen_vocab = true;
                } else if (tr_scan_is(key, "merges")) {
                    if (seen_merges) TR_TRY(tr_scan_fail(&scan, "a second list of merges"));
                    seen_merges = true;
                    later = scan;
                    later.room = NULL;
                    later.n_room = 0;
                    TR_TRY(tr_scan_skip(&scan));
                } else {
                    TR_TRY(tr_scan_skip(&scan));
                }
            }
        } else {
            TR_TRY(tr_scan_skip(&scan));
        }
    }
    TR_TRY(tr_scan_end(&scan));
    if (!seen_vocab || !seen_merges) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: no byte-pair model: \"%s\" is missing", where, seen_vocab ? "merges" : "vocab"));
    TR_TRY(read_merge_list(t, v, &later));
done:
    tr_scan_fini(&scan);
    tr_scan_fini(&later);
    return st;
}

/* The characters that stand for bytes: 33..126, 161..172 and 174..255 for themselves, U+0100 on for the others. */
static tress_status set_bytes(tr_bpe *t, const vocab *v, int unk, const char *where)
{
    uint32_t other = 0x100;
    for (int b = 0; b < 256; b++) {
        char name[8];
        const bool whole = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        const int n = tr_utf8_put(name, whole ? (uint32_t)b : other++);
        memcpy(name + n, "</w>", 4);
        for (int ends = 0; ends < 2; ends++) {
            int id = vocab_find(v, name, (size_t)(ends ? n + 4 : n));
            if (id < 0) id = unk;
            if (id < 0) return tr_fail(TRESS_E_FORMAT, "%s: neither a symbol for the byte 0x%02x nor an unknown token", where, (unsigned)b);
            t->byte_id[ends][b] = id;
        }
    }
    return TRESS_OK;
}

/* Ids of the added tokens: their own where the vocabulary has them, new ones behind it otherwise. */
static tress_status set_added(tr_bpe *t, const vocab *v, const char *where)
{
    tress_status st = TRESS_OK;
    static const char *const what[TR_SPECIAL_N] = { "start", "end", "unknown", NULL, "padding" };
    int id[TR_SPECIAL_N], next = v->n;
    tr_bpe_text x = { 0 };
    for (int i = 0; i < t->added.n; i++) {
        tr_added_token *k = &t->added.token[i];
        k->id = vocab_find(v, k->content, strlen(k->content));
        if (k->id < 0) k->id = next++;
        if (k->id >= t->n_id) t->n_id = k->id + 1;
        x.n = x.n_mark = 0;
        if (k->normalized) {
            TR_TRY(tr_bpe_text_add(&x, k->content, strlen(k->content), 0));
            k->n_pattern = x.n;
            TR_TRY(tr_alloc((void **)&k->pattern, x.n));
            memcpy(k->pattern, x.s, x.n);
        } else {
            k->n_pattern = strlen(k->content);
            TR_TRY(tr_strdup(&k->pattern, k->content));
        }
    }
    tr_added_ready(&t->added);
    for (int i = 0; i < TR_SPECIAL_N; i++) {
        id[i] = -1;
        for (int k = 0; k < t->added.n; k++)
            if (t->added.name[i] && strcmp(t->added.token[k].content, t->added.name[i]) == 0) id[i] = t->added.token[k].id;
        if (what[i] && id[i] < 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the %s token is empty", where, what[i]));
    }
    t->start = id[TR_BOS];
    t->end = id[TR_EOS];
    t->pad = id[TR_PAD];
done:
    tr_bpe_text_fini(&x);
    return st;
}

tress_status tr_bpe_open(tr_bpe **out, const char *dir)
{
    tress_status st = TRESS_OK;
    static const char *const fallback[TR_SPECIAL_N] = { "<|startoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>", NULL, NULL };
    tr_bpe *t = NULL;
    vocab v = { 0 };
    tr_added file = { 0 };
    char *path = NULL, *path_2 = NULL, *text = NULL, *text_2 = NULL;
    size_t n, n_2;
    tr_scan scan = { 0 };
    TR_TRY(tr_alloc((void **)&t, sizeof *t));
    TR_TRY(tr_path_join(&path, dir, "tokenizer.json"));
    if (tr_file_exists(path)) {
        TR_TRY(tr_file_read(&text, &n, path, FILE_MAX));
        TR_TRY(vocab_init(&v, n));
        TR_TRY(read_whole(t, &v, &file, text, n, path));
    } else {
        tr_free(path);
        path = NULL;
        TR_TRY(tr_path_join(&path, dir, "vocab.json"));
        TR_TRY(tr_path_join(&path_2, dir, "merges.txt"));
        TR_TRY(tr_file_read(&text, &n, path, FILE_MAX));
        TR_TRY(vocab_init(&v, n));
        tr_scan_init(&scan, text, n, path);
        TR_TRY(read_vocab(&v, &scan));
        TR_TRY(tr_scan_end(&scan));
        TR_TRY(tr_file_read(&text_2, &n_2, path_2, FILE_MAX));
        TR_TRY(read_merges(t, &v, text_2, n_2, path_2));
    }
    if (v.n == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: an empty vocabulary", path));
    t->n_id = v.id_max + 1;
    TR_TRY(tr_added_read(&t->added, dir, fallback, &file, 0));
    const char *unk = t->added.name[TR_UNK];
    TR_TRY(set_bytes(t, &v, vocab_find(&v, unk, strlen(unk)), path));
    TR_TRY(set_added(t, &v, dir));
    *out = t;
    t = NULL;
done:
    tr_bpe_close(t);
    vocab_fini(&v);
    tr_added_fini(&file);
    tr_scan_fini(&scan);
    tr_free(path);
    tr_free(path_2);
    tr_free(text);
    tr_free(text_2);
    return st == TRESS_OK ? st : tr_note(st, "reading the tokenizer %s", dir);
}
