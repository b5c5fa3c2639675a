/* Corners that real vocabularies do not reach, with vocabularies of a few entries; ids as `tokenizers` gives them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/charsmap_int.h"
#include "text/map_int.h"
#include "text/scan_int.h"
#include "text/text.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                    \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != TRESS_OK) fail_msg("%s: %s", #call, tr_message());                              \
    } while (0)

static char dir[256];

static void put(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, TRESS_BINARY_DIR "/test-handmade-%d", (int)getpid());
    return tr_dir_make(dir) == TRESS_OK ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const all[] = { "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json" };
    char path[400];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, all[i]);
        remove(path);
    }
    return remove(dir);
}

static const char pieces[] = "{ \"model\": { \"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": [[\"<pad>\", 0], [\"</s>\", 0], [\"<unk>\", 0], [\"x1\", -12.0], [\"1\", -11],"
                             " [\"y\", -3], [\"z\", -1.1e1], [\"xy\", -12], [\"yz\", -2], [\"\\u2581\", -1], [\"ab\", -2], [\"a\", -1], [\"b\", -1]] },"
                             " \"pre_tokenizer\": { \"type\": \"WhitespaceSplit\" } }";

static void expect(const tr_unigram *t, const char *text, const int32_t *want, int n)
{
    int32_t ids[16];
    OK(tr_unigram_encode(t, text, strlen(text), ids, 16, NULL));
    for (int i = 0; i <= n; i++)
        if (ids[i] != (i < n ? want[i] : 1)) fail_msg("\"%s\": id %d is %d, expected %d", text, i, ids[i], i < n ? want[i] : 1);
}

/* The penalty of unknowns, ties, and runs of unknowns with a written one between them. */
static void unigram(void **state)
{
    (void)state;
    tr_unigram *t = NULL;
    put("tokenizer.json", pieces);
    OK(tr_unigram_open(&t, dir));
    expect(t, "xyz", (int32_t[]){ 9, 7, 6 }, 3);                /* -12 - 11, against an unknown x at -12 - 10 and yz at -2 */
    expect(t, "ab", (int32_t[]){ 9, 10 }, 2);                   /* of two equal sums the piece that was found first */
    expect(t, "qqab", (int32_t[]){ 9, 2, 10 }, 3);
    expect(t, "aab", (int32_t[]){ 9, 11, 10 }, 3);
    expect(t, "b<extra_id_0>b", (int32_t[]){ 9, 12, 13, 9, 12 }, 5);     /* tokens that the file lacks come behind it */
    expect(t, "\xEF\xBC\x9C", (int32_t[]){ 9, 2 }, 2);
    assert_int_equal(tr_unigram_size(t), 113);
    tr_unigram_close(t);
    /* Scores do not hang on the locale, where there is one with a decimal comma; without it, the call that sets it fails. */
    const bool comma = setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
    OK(tr_unigram_open(&t, dir));
    expect(t, "xyz", (int32_t[]){ 9, 7, 6 }, 3);
    tr_unigram_close(t);
    if (comma) assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_NUMERIC, "C");
}

/* Of two tokens that begin at one place the longer is taken, and the one that begins first before any. */
static void added(void **state)
{
    (void)state;
    tr_bpe *t = NULL;
    int32_t ids[16];
    put("vocab.json", "{ \"<|startoftext|>\": 0, \"<|endoftext|>\": 1 }");
    put("merges.txt", "");
    put("tokenizer_config.json", "{ \"added_tokens_decoder\": { \"7\": { \"content\": \"abc\", \"normalized\": false }, \"6\": { \"content\": \"ab\", \"normalized\": false },"
                                 " \"9\": { \"content\": \"B C\", \"normalized\": true }, \"8\": { \"content\": \"cab\", \"normalized\": false } } }");
    char moved[400], path[400];
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    snprintf(moved, sizeof moved, "%s/tokenizer.off", dir);
    rename(path, moved);
    OK(tr_bpe_open(&t, dir));
    assert_int_equal(tr_bpe_size(t), 6);                        /* ids go on behind the vocabulary, in the order of the keys: ab, abc, cab, B C */
    static const struct { const char *text; int n; int32_t want[8]; } list[] = {
        { "ab", 1, { 2 } }, { "abc", 1, { 3 } }, { "abcab", 2, { 3, 2 } }, { "cabc", 2, { 4, 1 } }, { "AB", 2, { 1, 1 } }, { "B \t c", 1, { 5 } }, { "xB cx", 3, { 1, 5, 1 } },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        OK(tr_bpe_encode(t, list[i].text, strlen(list[i].text), ids, 16, NULL));
        assert_int_equal(ids[0], 0);
        for (int k = 0; k < list[i].n; k++)
            if (ids[1 + k] != list[i].want[k]) fail_msg("\"%s\": id %d is %d, expected %d", list[i].text, k, ids[1 + k], list[i].want[k]);
        assert_int_equal(ids[1 + list[i].n], 1);
    }
    tr_bpe_close(t);
    remove(moved);
}

/* A double array by hand: 'a' to "X", 'b' with a far offset to "", and offsets that lead nowhere. */
static void charsmap(void **state)
{
    (void)state;
    enum { UNITS = 1024 };
    static uint8_t blob[4 + 4 * UNITS + 8];
    uint32_t unit[UNITS] = { 0 };
    tr_charsmap m;
    tr_normal to = { 0 };
    unit[0] = 256 << 10;                                        /* the root's children are at 256 ^ byte */
    unit[256 ^ 'a'] = (uint32_t)((256 ^ 'a') ^ 512) << 10 | 0x100 | 'a';
    unit[512] = 0x80000000u | 0;
    unit[256 ^ 'b'] = ((uint32_t)((256 ^ 'b') ^ 256 ^ 'b') | 2) << 10 | 0x200 | 0x100 | 'b';           /* its offset counts in 256s: at 'b' ^ 512 */
    unit[(256 ^ 'b') ^ 512] = 0x80000000u | 2;
    unit[256 ^ 'c'] = 0x1FFFFFu << 10 | 0x100 | 'c';            /* out of the array */
    unit[256 ^ 'd'] = (uint32_t)((256 ^ 'd') ^ 600) << 10 | 0x100 | 'd';
    unit[600] = 0x80000000u | 1000;                             /* out of the text */
    unit[256 ^ '\r'] = (uint32_t)((256 ^ '\r') ^ 640) << 10 | 0x100 | '\r';
    unit[640] = 0x80000000u | 0;
    unit[256] = 700 << 10 | 0x100;                              /* a child for NUL, which no search may reach */
    blob[1] = (4 * UNITS) >> 8 & 0xFF;
    for (int i = 0; i < UNITS; i++)
        for (int k = 0; k < 4; k++) blob[4 + 4 * i + k] = (uint8_t)(unit[i] >> 8 * k);
    memcpy(blob + 4 + 4 * UNITS, "X\0\0", 3);
    OK(tr_charsmap_init(&m, blob, 4 + 4 * UNITS + 3, "by hand"));
    static const struct { const char *from; size_t n; const char *to; } list[] = {
        { "a", 1, "X" }, { "aza", 3, "XzX" }, { "b", 1, "" }, { "c", 1, "c" }, { "d", 1, "d" }, { "\r\n", 2, "X" }, { "\n\r", 2, "\nX" },
        { "a\xCC\x81", 3, "X" },                                /* the shortest prefix stands for the whole cluster */
        { "a\xCC\x81\xCC\x81", 5, "X" }, { "a\xCC\x81\xCC\x81\xCC\x81", 7, "X\xCC\x81\xCC\x81\xCC\x81" },                   /* 6 bytes and more: by characters */
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        to.n = 0;
        OK(tr_charsmap_apply(&m, &to, list[i].from, list[i].n, 10));
        OK(tr_normal_add(&to, "", 1, 0));
        assert_string_equal(to.s, list[i].to);
        if (to.n > 1) assert_int_equal(to.from[0], 10);
    }
    to.n = 0;
    OK(tr_charsmap_apply(&m, &to, "\0a", 2, 0));
    assert_int_equal(to.n, 2);
    assert_memory_equal(to.s, "\0X", 2);
    tr_normal_fini(&to);
    tr_charsmap_fini(&m);
    blob[4 + 4 * UNITS] = 0xFF;
    assert_int_equal(tr_charsmap_init(&m, blob, sizeof blob, "by hand"), TRESS_E_FORMAT);
}

/* Keys that all begin at one place end in an error, not in hours. */
static void collisions(void **state)
{
    (void)state;
    tr_map64 m = { 0 };
    uint32_t *at;
    tress_status st = TRESS_OK;
    int n = 0;
    OK(tr_map64_reserve(&m, 1 << 15));
    for (uint64_t key = 1; st == TRESS_OK && n < 4000; key++) {
        if (tr_map64_start(&m, key) != 7) continue;
        st = tr_map64_put(&m, key, (uint32_t)n, &at);
        if (st == TRESS_OK) assert_int_equal(*tr_map64_get(&m, key), n++);
    }
    assert_int_equal(st, TRESS_E_FORMAT);
    assert_int_equal(n, TR_MAP64_PROBES + 1);
    assert_null(tr_map64_get(&m, 0));
    tr_map64_fini(&m);
}

static void scan(void **state)
{
    (void)state;
    static const char text[] = " { \"a\\u0041\\n\\ud83d\\ude00\\\"\" : [ 1 , -20, 3.5e-1, true, null, [], {} , \"\xC3\xA9\" ] , \"skip\":{\"a\":[[1,2],{\"b\":\"]\"}]}} ";
    tr_scan p;
    tr_text_view v;
    bool more, b, stable = true;
    int64_t i;
    double d;
    tr_scan_init(&p, text, sizeof text - 1, "text");
    OK(tr_scan_enter(&p, '{'));
    OK(tr_scan_next_stable(&p, &more, &v, &stable));
    assert_true(more && tr_scan_is(v, "aA\n\xF0\x9F\x98\x80\"") && !stable);
    OK(tr_scan_enter(&p, '['));
    OK(tr_scan_next(&p, &more, NULL));
    OK(tr_scan_int(&p, &i, 0, 5));
    assert_int_equal(i, 1);
    OK(tr_scan_next(&p, &more, NULL));
    OK(tr_scan_int(&p, &i, -20, 5));
    assert_int_equal(i, -20);
    OK(tr_scan_next(&p, &more, NULL));
    OK(tr_scan_double(&p, &d));
    assert_true(d == 0.35);
    OK(tr_scan_next(&p, &more, NULL));
    OK(tr_scan_bool(&p, &b));
    assert_true(b);
    for (int k = 0; k < 3; k++) {
        OK(tr_scan_next(&p, &more, NULL));
        OK(tr_scan_skip(&p));
    }
    OK(tr_scan_next(&p, &more, NULL));
    stable = true;
    OK(tr_scan_string(&p, &v, &stable));
    assert_true(stable && tr_scan_is(v, "\xC3\xA9"));
    OK(tr_scan_next(&p, &more, NULL));
    assert_false(more);
    OK(tr_scan_next(&p, &more, &v));
    assert_true(more && tr_scan_is(v, "skip"));
    OK(tr_scan_skip(&p));
    OK(tr_scan_next(&p, &more, &v));
    assert_false(more);
    OK(tr_scan_end(&p));
    tr_scan_fini(&p);
    static const char *const bad[] = { "01", "-", "1.", "1e", "+1", ".5", "tru", "nul", "'a'", "\"\\u12\"", "\"\\ud83d\"", "\"\\udc00\"", "\"\x01\"", "[1,]", "[,1]", "{\"a\":1,}", "[1}", "{]", "[" };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        tr_scan_init(&p, bad[k], strlen(bad[k]), "text");
        tress_status st = tr_scan_skip(&p);
        if (st == TRESS_OK) st = tr_scan_end(&p);
        if (st != TRESS_E_FORMAT || strncmp(tr_message(), "text: byte ", 11) != 0) fail_msg("%s: status %d, %s", bad[k], st, tr_message());
        tr_scan_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unigram), cmocka_unit_test(added), cmocka_unit_test(charsmap), cmocka_unit_test(collisions), cmocka_unit_test(scan),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
