/* What becomes of prompts that are empty, too long, Korean, emoji, control characters or no text at all. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/text.h"

#include <stdlib.h>
#include <string.h>

#define OK(call)                                                                                    \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != TRESS_OK) fail_msg("%s: %s", #call, tr_message());                              \
    } while (0)
#define OWN TRESS_SOURCE_DIR "/examples/tokenizers/"
#define LONG 65536

typedef struct tools { tr_bpe *l, *g; tr_unigram *t; } tools;

static int open_tools(void **state)
{
    static tools t;
    OK(tr_bpe_open(&t.l, OWN "tokenizer"));
    OK(tr_bpe_open(&t.g, OWN "tokenizer_2"));
    OK(tr_unigram_open(&t.t, OWN "tokenizer_3"));
    *state = &t;
    return 0;
}

static int close_tools(void **state)
{
    tools *t = *state;
    tr_bpe_close(t->l);
    tr_bpe_close(t->g);
    tr_unigram_close(t->t);
    return 0;
}

enum { START = 3070, END = 3071 };

static void empty(void **state)
{
    const tools *t = *state;
    int32_t ids[77];
    tr_cut cut = { 9, 9 };
    OK(tr_bpe_encode(t->l, "", 0, ids, 77, &cut));
    assert_int_equal(ids[0], START);
    for (int i = 1; i < 77; i++) assert_int_equal(ids[i], END);
    assert_int_equal(cut.n_token, 0);
    assert_int_equal(cut.byte, 0);
    OK(tr_bpe_encode(t->g, " \t\n ", 4, ids, 77, NULL));
    assert_int_equal(ids[1], END);
    for (int i = 2; i < 77; i++) assert_int_equal(ids[i], 0);
    OK(tr_unigram_encode(t->t, "  ", 2, ids, 77, &cut));
    assert_int_equal(ids[0], 1);
    for (int i = 1; i < 77; i++) assert_int_equal(ids[i], 0);
    OK(tr_unigram_encode(t->t, "", 0, ids, 1, &cut));
    assert_int_equal(ids[0], 1);
}

/* The first n ids are those of the whole text, the end stands behind them, and what was cut can be read out of the text. */
static void cut(void **state)
{
    const tools *t = *state;
    int32_t whole[700], ids[77];
    char text[2048] = "";
    tr_cut c;
    for (int i = 0; i < 40; i++) strcat(text, "long wavy  RED hair, ");
    for (int k = 0; k < 2; k++) {
        memset(whole, 0xFF, sizeof whole);
        if (k == 0) OK(tr_bpe_encode(t->l, text, strlen(text), whole, 700, &c));
        else OK(tr_unigram_encode(t->t, text, strlen(text), whole, 700, &c));
        assert_int_equal(c.n_token, 0);
        int n_whole = k == 0 ? 1 : 0;
        while (whole[n_whole] != (k == 0 ? END : 1)) n_whole++;
        if (k == 0) assert_int_equal(n_whole, 1 + 40 * 5);
        if (k == 0) OK(tr_bpe_encode(t->l, text, strlen(text), ids, 77, &c));
        else OK(tr_unigram_encode(t->t, text, strlen(text), ids, 77, &c));
        assert_memory_equal(ids, whole, 76 * sizeof *ids);
        assert_int_equal(ids[76], k == 0 ? END : 1);
        assert_int_equal(c.n_token, n_whole - 76);
        assert_true(c.byte < strlen(text));
        if (k == 0) assert_int_equal(strncmp(text + c.byte, "long wavy", 9), 0); /* 75 words are 15 times five */
        int32_t rest[700];
        if (k == 0) {                                   /* what was cut, read alone, is what is missing: it begins with a word */
            OK(tr_bpe_encode(t->l, text + c.byte, strlen(text) - c.byte, rest, 700, NULL));
            assert_memory_equal(rest + 1, whole + 76, (size_t)(n_whole - 76) * sizeof *rest);
        }
    }
    /* A limit that just fits cuts nothing. */
    OK(tr_bpe_encode(t->l, "red hair", 8, ids, 4, &c));
    assert_int_equal(c.n_token, 0);
    OK(tr_bpe_encode(t->l, "red hair", 8, ids, 3, &c));
    assert_int_equal(c.n_token, 1);
    assert_int_equal(c.byte, 4);
    assert_int_equal(ids[2], END);
    OK(tr_bpe_encode(t->l, "red hair", 8, ids, 2, &c));
    assert_int_equal(c.n_token, 2);
    assert_int_equal(ids[0], START);
    assert_int_equal(ids[1], END);
}

static int bpe_count(const tr_bpe *t, const char *s)
{
    static int32_t ids[512];
    tr_cut c;
    OK(tr_bpe_encode(t, s, strlen(s), ids, 512, &c));
    assert_int_equal(c.n_token, 0);
    int n = 1;
    while (ids[n] != END) n++;
    return n - 1;
}

static void same_ids(const tools *t, const char *a, size_t n_a, const char *b, size_t n_b)
{
    int32_t x[100], y[100];
    OK(tr_bpe_encode(t->l, a, n_a, x, 100, NULL));
    OK(tr_bpe_encode(t->l, b, n_b, y, 100, NULL));
    assert_memory_equal(x, y, sizeof x);
    OK(tr_unigram_encode(t->t, a, n_a, x, 100, NULL));
    OK(tr_unigram_encode(t->t, b, n_b, y, 100, NULL));
    assert_memory_equal(x, y, sizeof x);
}
#define SAME(a, b) same_ids(t, a, sizeof a - 1, b, sizeof b - 1)

static void scripts(void **state)
{
    const tools *t = *state;
    int32_t ids[64];
    tr_cut c;
    assert_int_equal(bpe_count(t->l, "\xEB\xB9\xA8\xEA\xB0\x84 \xEB\xA8\xB8\xEB\xA6\xAC"), 12);    /* 빨간 머리: three bytes each, nothing to merge */
    assert_true(bpe_count(t->l, "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\xA6\xB0") >= 2);            /* woman, joiner, red hair */
    assert_true(bpe_count(t->l, "\x01\x02\x7F") >= 1);
    /* Composed and apart, jamo and syllables, upper and lower: the same words. */
    SAME("cr\xC3\xA8me", "cre\xCC\x80me");
    same_ids(t, "\xEA\xB0\x80", 3, "\xEA\xB0\x80", 3);
    int32_t a[16], b[16];
    OK(tr_bpe_encode(t->l, "\xE1\x84\x80\xE1\x85\xA1", 6, a, 16, NULL));
    OK(tr_bpe_encode(t->l, "\xEA\xB0\x80", 3, b, 16, NULL));
    assert_memory_equal(a, b, sizeof a);
    OK(tr_bpe_encode(t->l, "RED HAIR", 8, a, 16, NULL));
    OK(tr_bpe_encode(t->l, " red\t\nhair ", 11, b, 16, NULL));
    assert_memory_equal(a, b, sizeof a);
    /* Characters no piece knows: one unknown for a run of them, none for what the map takes away. */
    OK(tr_unigram_encode(t->t, "\xEB\xB9\xA8\xEA\xB0\x84", 6, ids, 64, &c));
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 2);
    assert_int_equal(ids[2], 1);
    SAME("\xEF\xBC\xA1", "\xEF\xBC\xA1");
    OK(tr_unigram_encode(t->t, "\x01\x02", 2, ids, 64, &c));
    assert_int_equal(ids[0], 1);
    /* "!" pads bigG's tokenizer, and is then a token of its own wherever it stands. */
    OK(tr_bpe_encode(t->g, "wow!!", 5, ids, 64, NULL));
    int i = 1;
    while (ids[i] != END) i++;
    assert_int_equal(ids[i - 1], 0);
    assert_int_equal(ids[i - 2], 0);
    OK(tr_bpe_encode(t->l, "!", 1, ids, 64, NULL));
    assert_int_equal(ids[1], 256);
}

/* Bytes that are no UTF-8 read as U+FFFD, the longest ill-formed beginning as one. */
static void not_utf8(void **state)
{
    const tools *t = *state;
    SAME("red\xFFhair", "red\xEF\xBF\xBDhair");
    SAME("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");
    SAME("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    SAME("\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    SAME("\xF0\x9F\x91", "\xEF\xBF\xBD");
    SAME("a\xE2\x80", "a\xEF\xBF\xBD");
    SAME("a\xE2\x80z", "a\xEF\xBF\xBDz");
    SAME("red\0hair", "red\0hair");
    /* The cut is told in bytes of the text as it was given. */
    int32_t ids[4];
    tr_cut c;
    OK(tr_bpe_encode(t->l, "\xFF\xFF\xFF red hair", 12, ids, 4, &c));
    assert_true(c.n_token > 0 && c.byte <= 12);
    char bad[300];
    memset(bad, 0xFF, sizeof bad);
    OK(tr_unigram_encode(t->t, bad, sizeof bad, ids, 4, &c));
    assert_true(c.byte <= sizeof bad);
    OK(tr_bpe_encode(t->l, bad, sizeof bad, ids, 4, &c));
    assert_true(c.byte <= sizeof bad);
}

/* 64 KiB of what is worst for each step is read in a moment, and one byte more is refused. */
static void long_texts(void **state)
{
    const tools *t = *state;
    static const char *const unit[] = { "a", "!", "<", "\xCC\x81\xCC\xA3", "\xCC\xA3\xCC\x81\xCC\xB4", "e\xCC\x81", "\xE2\x80\x8D", "<|endoftext|", "<extra_id_1", " ", "\xFF", "\xE1\x84\x80\xE1\x85\xA1", "\xC4\xB0", "ab", "\xEF\xB7\xBA" };
    char *text = malloc(LONG + 1);
    int32_t *ids = malloc(LONG * sizeof *ids);
    for (size_t k = 0; k < sizeof unit / sizeof *unit; k++) {
        const size_t n = strlen(unit[k]);
        const double begin = tr_seconds();
        for (size_t i = 0; i < LONG; i++) text[i] = unit[k][i % n];
        OK(tr_bpe_encode(t->l, text, LONG, ids, 77, NULL));
        OK(tr_bpe_encode(t->g, text, LONG, ids, LONG, NULL));
        OK(tr_unigram_encode(t->t, text, LONG, ids, 256, NULL));
        if (tr_seconds() - begin > 20) fail_msg("64 KiB of \"%s\" took %.1f s", unit[k], tr_seconds() - begin);
    }
    text[LONG] = 'a';
    assert_int_equal(tr_bpe_encode(t->l, text, LONG + 1, ids, 77, NULL), TRESS_E_ARG);
    assert_non_null(strstr(tr_message(), "65537 bytes, expected at most 65536"));
    assert_int_equal(tr_unigram_encode(t->t, text, LONG + 1, ids, 77, NULL), TRESS_E_ARG);
    free(text);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty), cmocka_unit_test(cut), cmocka_unit_test(scripts), cmocka_unit_test(not_utf8), cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, open_tools, close_tools);
}
