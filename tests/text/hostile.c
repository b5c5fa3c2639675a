/* Vocabulary files that are cut off, changed or made to hurt: each opens to something sound or fails with its own name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call)                                                                                    \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != TRESS_OK) fail_msg("%s: %s", #call, tr_message());                              \
    } while (0)
#define OWN TRESS_SOURCE_DIR "/examples/tokenizers/"
#define FILE_MAX ((size_t)1 << 20)

static char dir[256];

static void path_of(char out[400], const char *name) { snprintf(out, 400, "%s/%s", dir, name); }

static void put(const char *name, const char *bytes, size_t n)
{
    char path[400];
    path_of(path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}
static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

static void take_away(const char *name)
{
    char path[400];
    path_of(path, name);
    remove(path);
}

static void clear(void)
{
    static const char *const all[] = { "vocab.json", "merges.txt", "tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) take_away(all[i]);
}

static void copy(const char *from, const char *name)
{
    char path[400], *text = NULL;
    size_t n;
    snprintf(path, sizeof path, OWN "%s/%s", from, name);
    OK(tr_file_read(&text, &n, path, FILE_MAX));
    put(name, text, n);
    tr_free(text);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, TRESS_BINARY_DIR "/test-hostile-%d", (int)getpid());
    return tr_dir_make(dir) == TRESS_OK ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    clear();
    return remove(dir);
}

static const char *const probes[] = { "", "long wavy red hair, studio light!", "<|endoftext|> </s> <extra_id_3>", "cre\xCC\x80me \xEB\xB9\xA8\xEA\xB0\x84 \xEF\xBC\xA1 \xFF\x01" };

/* Opens, and if that goes well every id is in range; else the message names the folder. */
static bool try_bpe(void)
{
    tr_bpe *t = NULL;
    int32_t ids[77];
    const tress_status st = tr_bpe_open(&t, dir);
    if (st != TRESS_OK) {
        assert_null(t);
        if (st != TRESS_E_FORMAT && st != TRESS_E_IO) fail_msg("status %d: %s", st, tr_message());
        if (!strstr(tr_message(), dir)) fail_msg("no file in \"%s\"", tr_message());
        return false;
    }
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        OK(tr_bpe_encode(t, probes[i], strlen(probes[i]), ids, 77, NULL));
        for (int k = 0; k < 77; k++) assert_true(ids[k] >= 0 && ids[k] < tr_bpe_size(t));
    }
    tr_bpe_close(t);
    return true;
}

static bool try_unigram(void)
{
    bool opened = false;
    int32_t ids[64];
    for (tr_unigram_rule rule = TR_UNIGRAM_CLASS; rule <= TR_UNIGRAM_FILE; rule++) {
        tr_unigram *t = NULL;
        const tress_status st = tr_unigram_open_as(&t, dir, rule);
        if (st != TRESS_OK) {
            assert_null(t);
            if (st != TRESS_E_FORMAT && st != TRESS_E_IO) fail_msg("status %d: %s", st, tr_message());
            if (!strstr(tr_message(), dir)) fail_msg("no file in \"%s\"", tr_message());
            continue;
        }
        for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
            const tress_status encoded = tr_unigram_encode(t, probes[i], strlen(probes[i]), ids, 64, NULL);
            for (int k = 0; encoded == TRESS_OK && k < 64; k++) assert_true(ids[k] >= 0 && ids[k] < tr_unigram_size(t));
        }
        tr_unigram_close(t);
        opened = true;
    }
    return opened;
}

static uint64_t x = 42;
static uint32_t pick(uint32_t n)
{
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return (uint32_t)(x * UINT64_C(0x2545F4914F6CDD1D) >> 32) % n;
}

/* Cut the file at n_cut places and change bytes in n_flip ways. */
static void spoil(const char *from, const char *name, int n_cut, int n_flip, bool (*attempt)(void))
{
    char path[400], *text = NULL;
    size_t n;
    int n_opened = 0;
    snprintf(path, sizeof path, OWN "%s/%s", from, name);
    OK(tr_file_read(&text, &n, path, FILE_MAX));
    assert_true(attempt());
    for (int i = 0; i < n_cut; i++) {
        put(name, text, i < 16 ? (size_t)i : i < 24 ? n - (size_t)(i - 15) : pick((uint32_t)n));
        n_opened += attempt();
    }
    for (int i = 0; i < n_flip; i++) {
        static const char nasty[] = "\0\xFF\"\\[]{}:,-9eE.\x80 \n";
        char kept[8];
        size_t at[8];
        const int k = 1 + (int)pick(3);
        for (int j = 0; j < k; j++) {
            at[j] = pick((uint32_t)n);
            kept[j] = text[at[j]];
            text[at[j]] = pick(2) ? nasty[pick(sizeof nasty - 1)] : (char)(text[at[j]] ^ 1 << pick(8));
        }
        put(name, text, n);
        n_opened += attempt();
        for (int j = k - 1; j >= 0; j--) text[at[j]] = kept[j];
    }
    put(name, text, n);
    assert_true(attempt());
    print_message("%s/%s: %d spoilt files, %d of them opened\n", from, name, n_cut + n_flip, n_opened);
    tr_free(text);
}

static void spoilt_bpe(void **state)
{
    (void)state;
    static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };
    clear();
    for (int i = 0; i < 4; i++) copy("tokenizer_2", names[i]);
    for (int i = 0; i < 4; i++) spoil("tokenizer_2", names[i], 40, 60, try_bpe);
}

static void spoilt_unigram(void **state)
{
    (void)state;
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json" };
    clear();
    for (int i = 0; i < 2; i++) copy("tokenizer_3", names[i]);
    for (int i = 0; i < 2; i++) spoil("tokenizer_3", names[i], 40, 60, try_unigram);
}

static void spoilt_spiece(void **state)
{
    (void)state;
    clear();
    copy("tokenizer_3", "spiece.model");
    spoil("tokenizer_3", "spiece.model", 60, 160, try_unigram);
}

/* ---- by name --------------------------------------------------------------------------------------------- */
static void bpe_says(const char *part)
{
    tr_bpe *t = NULL;
    const tress_status st = tr_bpe_open(&t, dir);
    if (st == TRESS_OK || !strstr(tr_message(), part)) fail_msg("status %d, message \"%s\", expected \"%s\" in it", st, tr_message(), part);
}

static void unigram_says(const char *part)
{
    tr_unigram *t = NULL;
    const tress_status st = tr_unigram_open_as(&t, dir, TR_UNIGRAM_FILE);
    if (st == TRESS_OK || !strstr(tr_message(), part)) fail_msg("status %d, message \"%s\", expected \"%s\" in it", st, tr_message(), part);
}

#define ENDS "\"<|startoftext|>\": 0, \"<|endoftext|>\": 1"

static void named_bpe(void **state)
{
    (void)state;
    clear();
    bpe_says("vocab.json");
    put_text("vocab.json", "{" ENDS "}");
    bpe_says("merges.txt");
    put_text("merges.txt", "#version: 0.2\n");
    assert_true(try_bpe());
    static const struct { const char *vocab, *merges, *part; } list[] = {
        { "[]", "", "vocab.json: byte 0: expected an object" },
        { "{}", "", "an empty vocabulary" },
        { "{" ENDS "} x", "", "behind the end of the JSON" },
        { "{" ENDS ", \"a\": -1}", "", "found -1, expected 0 to" },
        { "{" ENDS ", \"a\": 1048576}", "", "found 1048576" },
        { "{" ENDS ", \"a\": 99999999999999999999}", "", "expected an integer" },
        { "{" ENDS ", \"a\": 1.5}", "", "expected an integer" },
        { "{" ENDS ", \"a\": 1}", "", "the id 1 is given twice, the second time to \"a\"" },
        { "{" ENDS ", \"a\": 2, \"a\": 3}", "", "\"a\" stands there twice" },
        { "{" ENDS ", \"\": 2}", "", "a name of 0 bytes" },
        { "{" ENDS ", \"\\ud800\": 2}", "", "half a surrogate pair" },
        { "{" ENDS ", \"\\x\": 2}", "", "an unknown escape" },
        { "{" ENDS ", \"\xC0\xAF\": 2}", "", "not UTF-8" },
        { "{" ENDS ", \"a\nb\": 2}", "", "a control character" },
        { "{" ENDS ", \"a", "", "a string without end" },
        { "{" ENDS ", \"a\" 2}", "", "expected :" },
        { "{" ENDS " \"a\": 2}", "", "expected , or }" },
        { "{" ENDS ", \"a\": 2}", "a\n", "merge 1 is \"a\", expected two names" },
        { "{" ENDS ", \"a\": 2}", "a a a\n", "merge 1 is \"a a a\"" },
        { "{" ENDS ", \"a\": 2}", "a a\n", "merge 1 joins \"a\" and \"a\"" },
        { "{" ENDS ", \"a\": 2}", " a\n", "merge 1 is not two names" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        put_text("vocab.json", list[i].vocab);
        put_text("merges.txt", list[i].merges);
        bpe_says(list[i].part);
    }
    put_text("vocab.json", "{ \"a\": 0 }");
    put_text("merges.txt", "");
    bpe_says("neither a symbol for the byte 0x00 nor an unknown token");
    put_text("vocab.json", "{" ENDS "}");
    static const struct { const char *config, *part; } configs[] = {
        { "[]", "tokenizer_config.json: expected a JSON object" },
        { "{ \"pad_token\": 3 }", "\"pad_token\" is no token" },
        { "{ \"pad_token\": \"\" }", "the padding token is empty" },
        { "{ \"pad_token\": { \"lstrip\": true, \"content\": \"x\" } }", "asks for \"lstrip\"" },
        { "{ \"added_tokens_decoder\": { \"x\": { \"content\": \"x\" } } }", "has the key \"x\"" },
        { "{ \"added_tokens_decoder\": { \"1\": { } } }", "has no \"content\"" },
        { "{ \"added_tokens_decoder\": [] }", "is no object" },
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        put_text("tokenizer_config.json", configs[i].config);
        bpe_says(configs[i].part);
    }
    take_away("tokenizer_config.json");
    put_text("special_tokens_map.json", "{ \"eos_token\": { \"content\": 5 } }");
    bpe_says("special_tokens_map.json");
    take_away("special_tokens_map.json");
    /* One file for both. */
    put_text("tokenizer.json", "{ \"model\": { \"merges\": [\"a b\"], \"vocab\": {" ENDS ", \"a\": 2, \"b</w>\": 3, \"ab</w>\": 4, \"b\": 5, \"ab\": 6 } } }");
    assert_true(try_bpe());
    put_text("tokenizer.json", "{ \"model\": { \"vocab\": {" ENDS "} } }");
    bpe_says("\"merges\" is missing");
    put_text("tokenizer.json", "{ \"model\": { \"merges\": [[\"a\"]], \"vocab\": {" ENDS "} } }");
    bpe_says("a merge of one name");
    char deep[200] = "{ \"x\": ";
    for (int i = 0; i < 40; i++) strcat(deep, "[");
    put_text("tokenizer.json", deep);
    bpe_says("nested deeper than 16");
}

#define PIECES "[[\"<pad>\", 0], [\"</s>\", 0], [\"<unk>\", 0], [\"a\", -1.5]]"
#define MODEL(vocab) "{ \"model\": { \"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": " vocab " } }"

static void named_unigram(void **state)
{
    (void)state;
    clear();
    unigram_says("neither");
    put_text("tokenizer.json", MODEL(PIECES));
    assert_true(try_unigram());
    static const struct { const char *file, *part; } list[] = {
        { "[]", "expected an object" },
        { "{}", "the unknown piece is -1 of 0" },
        { MODEL("[]"), "the unknown piece is 2 of 0" },
        { MODEL("{}"), "no Unigram model" },
        { MODEL("[[\"a\", 1e999]]"), "expected a finite number" },
        { MODEL("[[\"a\", NaN]]"), "expected a number" },
        { MODEL("[[\"a\"]]"), "a piece without a score" },
        { MODEL("[[]]"), "a piece without a name" },
        { MODEL("[[\"a\", 1, 2]]"), "more than a name and a score" },
        { MODEL("[[\"\", 1]]"), "piece 0 has 0 bytes" },
        { "{ \"model\": { \"type\": \"BPE\", \"vocab\": " PIECES " } }", "found a model of type \"BPE\"" },
        { "{ \"model\": { \"unk_id\": 9, \"vocab\": " PIECES " } }", "the unknown piece is 9 of 4" },
        { "{ \"model\": { \"unk_id\": 2, \"vocab\": " PIECES ", \"vocab\": " PIECES " } }", "a second vocabulary" },
        { "{ \"model\": { \"byte_fallback\": true, \"vocab\": " PIECES " } }", "byte_fallback" },
        { "{ \"normalizer\": { \"type\": \"Lowercase\" }, \"model\": {} }", "the step \"Lowercase\"" },
        { "{ \"pre_tokenizer\": { \"type\": \"Metaspace\", \"replacement\": \"_\" }, \"model\": {} }", "the step \"Metaspace\"" },
        { "{ \"normalizer\": { \"type\": \"Precompiled\", \"precompiled_charsmap\": \"!!!!\" } }", "is not base64" },
        { "{ \"normalizer\": { \"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAAAAA==\" } }", "4 bytes with an array of 0" },
        { "{ \"normalizer\": { \"type\": \"Precompiled\", \"precompiled_charsmap\": \"////fwAAAAA=\" } }", "8 bytes with an array of 2147483647" },
        { "{ \"added_tokens\": [{ \"content\": \"x\", \"single_word\": true }] }", "single_word" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        put_text("tokenizer.json", list[i].file);
        unigram_says(list[i].part);
    }
    clear();
    static const struct { const char *bytes; size_t n; const char *part; } models[] = {
        { "\x0A\x7F", 2, "malformed protobuf" },
        { "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11, "malformed protobuf" },
        { "\x0A\x02\x0A\x7F", 4, "piece 0 is malformed" },
        { "\x0A\x00", 2, "piece 0 has 0 bytes" },
        { "\x0A\x03\x0A\x01\xFF", 5, "piece 0 is not UTF-8" },
        { "\x0A\x08\x0A\x01" "a\x15\x00\x00\x80\x7F", 10, "no finite number" },
        { "\x1A\x03\x12\x01\x00", 5, "precompiled_charsmap: 1 bytes" },
        { "\x07", 1, "malformed protobuf" },
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        put("spiece.model", models[i].bytes, models[i].n);
        unigram_says(models[i].part);
    }
}

/* A file above the limit is not read at all. */
static void too_large(void **state)
{
    (void)state;
    char path[400];
    clear();
    put_text("tokenizer.json", "{}");
    path_of(path, "tokenizer.json");
    assert_int_equal(truncate(path, ((off_t)64 << 20) + 1), 0);
    unigram_says("tokenizer.json");
    bpe_says("tokenizer.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spoilt_bpe), cmocka_unit_test(spoilt_unigram), cmocka_unit_test(spoilt_spiece), cmocka_unit_test(named_bpe), cmocka_unit_test(named_unigram),
        cmocka_unit_test(too_large),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
