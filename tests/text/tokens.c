/* The tokenizers against the fast ones of transformers: 24,000 strings of many scripts, with the project's own vocabularies
 * and, where the data folder is, the real ones. The golden holds a hash of each string's ids. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeded.h"
#include "text/strings.h"
#include "text/text.h"

#include <unistd.h>

#define OK(call)                                                                                    \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != TRESS_OK) fail_msg("%s: %s", #call, tr_message());                              \
    } while (0)

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/text/"
#define OWN TRESS_SOURCE_DIR "/examples/tokenizers/"

static const char *shared(void)
{
    const char *e = getenv("TRESS_SHARED_DATA");
    return e ? e : TRESS_SOURCE_DIR "/../shared/data";
}

typedef struct tool { tr_bpe *b; tr_unigram *u; } tool;

static tress_status encode(const tool *t, const char *s, size_t n_text, int32_t *ids, int n)
{
    return t->b ? tr_bpe_encode(t->b, s, n_text, ids, n, NULL) : tr_unigram_encode(t->u, s, n_text, ids, n, NULL);
}

static void against_golden(const tool *t, const char *name)
{
    json_t *note = NULL;
    tr_safetensors *file = NULL;
    tr_tensor want;
    static strings list;
    OK(seeded_json(&note, GOLDEN "tokens.json"));
    OK(tr_safetensors_open(&file, GOLDEN "tokens.safetensors"));
    assert_true(tr_safetensors_find(file, name, &want));
    const int n = (int)json_integer_value(json_object_get(json_object_get(note, "n_id"), name));
    const int n_string = (int)json_integer_value(json_object_get(note, "n_string"));
    assert_int_equal(want.dtype, TR_I32);
    assert_int_equal(tr_count(want), n_string);
    assert_true(n_string >= 20000);
    assert_true(strings_open(&list, GOLDEN "parts.txt", (uint64_t)json_integer_value(json_object_get(note, "seed"))));
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    int n_differ = 0;
    uint32_t sum = 0x811C9DC5;
    for (int i = 0; i < n_string; i++) {
        const strings_text s = strings_next(&list, i);
        uint32_t h = 0x811C9DC5;
        int32_t expected;
        memcpy(&expected, (const char *)want.data + 4 * (size_t)i, 4);
        OK(encode(t, s.s, s.n, ids, n));
        for (int k = 0; k < n; k++) h = (h ^ (uint32_t)ids[k]) * 0x01000193;
        for (size_t k = 0; k < s.n; k++) sum = (sum ^ (uint8_t)s.s[k]) * 0x01000193;
        sum = (sum ^ '\n') * 0x01000193;
        if (h == (uint32_t)expected) continue;
        if (n_differ++ < 5) {
            print_message("%s: string %d \"%.*s\": found", name, i, (int)(s.n < 60 ? s.n : 60), s.s);
            for (int k = 0; k < n && k < 24; k++) print_message(" %d", ids[k]);
            print_message("\n");
        }
    }
    /* The strings themselves: a difference here is the generator's, not the tokenizer's. */
    assert_int_equal(sum, json_integer_value(json_object_get(note, "strings_fnv")));
    if (n_differ) fail_msg("%s: %d of %d strings have other ids; tools/golden/tokens.py --live build/tokenize shows both", name, n_differ, n_string);
    free(ids);
    strings_close(&list);
    json_decref(note);
    tr_safetensors_close(file);
}

static void bpe(const char *dir, const char *name)
{
    tool t = { 0 };
    OK(tr_bpe_open(&t.b, dir));
    against_golden(&t, name);
    tr_bpe_close(t.b);
}

static void unigram(const char *dir, const char *name, tr_unigram_rule rule)
{
    tool t = { 0 };
    OK(tr_unigram_open_as(&t.u, dir, rule));
    against_golden(&t, name);
    tr_unigram_close(t.u);
}

static void own_clip(void **state) { (void)state, bpe(OWN "tokenizer", "own-clip"); }
static void own_clip_2(void **state) { (void)state, bpe(OWN "tokenizer_2", "own-clip-2"); }
static void own_t5(void **state) { (void)state, unigram(OWN "tokenizer_3", "own-t5", TR_UNIGRAM_CLASS); }
static void own_t5_file(void **state) { (void)state, unigram(OWN "tokenizer_3", "own-t5-file", TR_UNIGRAM_FILE); }

/* A folder with the vocabulary's own files alone: no configuration. */
static void bare(const char *name, const char *const *files, int n, bool is_bpe)
{
    char dir[256], path[2][400];
    snprintf(dir, sizeof dir, TRESS_BINARY_DIR "/test-bare-%d", (int)getpid());
    OK(tr_dir_make(dir));
    for (int i = 0; i < n; i++) {
        char from[400];
        snprintf(from, sizeof from, OWN "%s", files[i]);
        snprintf(path[i], sizeof path[i], "%s%s", dir, strrchr(files[i], '/'));
        assert_int_equal(symlink(from, path[i]), 0);
    }
    if (is_bpe) bpe(dir, name);
    else unigram(dir, name, TR_UNIGRAM_CLASS);
    for (int i = 0; i < n; i++) remove(path[i]);
    remove(dir);
}

static void own_clip_bare(void **state) { (void)state, bare("own-clip-bare", (const char *const[]){ "tokenizer/vocab.json", "tokenizer/merges.txt" }, 2, true); }
static void own_t5_spiece(void **state) { (void)state, bare("own-t5-spiece", (const char *const[]){ "tokenizer_3/spiece.model" }, 1, false); }

static bool real_dir(char out[512], const char *name)
{
    snprintf(out, 512, "%s/tokenizers/%s", shared(), name);
    if (tr_dir_exists(out)) return true;
    print_message("skipped: there is no %s\n", out);
    return false;
}

static void real_clip(void **state)
{
    (void)state;
    char dir[512];
    if (!real_dir(dir, "clip")) skip();
    bpe(dir, "real-clip");
}

static void real_t5(void **state)
{
    (void)state;
    char dir[512];
    if (!real_dir(dir, "t5")) skip();
    unigram(dir, "real-t5", TR_UNIGRAM_CLASS);
}

static void real_t5_file(void **state)
{
    (void)state;
    char dir[512];
    if (!real_dir(dir, "t5")) skip();
    unigram(dir, "real-t5-file", TR_UNIGRAM_FILE);
}

static void expect(const tool *t, const char *text, const int32_t *want, int n_want, int n, int pad)
{
    int32_t ids[80];
    OK(encode(t, text, strlen(text), ids, n));
    for (int i = 0; i < n; i++)
        if (ids[i] != (i < n_want ? want[i] : pad)) fail_msg("\"%s\": id %d is %d, expected %d", text, i, ids[i], i < n_want ? want[i] : pad);
}

/* What others computed with the real vocabularies. */
static void known_clip(void **state)
{
    (void)state;
    char dir[512];
    tool t = { 0 };
    if (!real_dir(dir, "clip")) skip();
    OK(tr_bpe_open(&t.b, dir));
    expect(&t, "red hair", (int32_t[]){ 49406, 736, 2225, 49407 }, 4, 77, 49407);
    expect(&t, "a photo of a cat", (int32_t[]){ 49406, 320, 1125, 539, 320, 2368, 49407 }, 7, 77, 49407);
    expect(&t, "long wavy blonde hair, studio light", (int32_t[]){ 49406, 1538, 31941, 10711, 2225, 267, 3155, 1395, 49407 }, 9, 77, 49407);
    expect(&t, "", (int32_t[]){ 49406, 49407 }, 2, 77, 49407);
    assert_int_equal(tr_bpe_size(t.b), 49408);
    assert_int_equal(tr_bpe_end_id(t.b), 49407);
    tr_bpe_close(t.b);
}

static void known_t5(void **state)
{
    (void)state;
    char dir[512];
    if (!real_dir(dir, "t5")) skip();
    for (tr_unigram_rule rule = TR_UNIGRAM_CLASS; rule <= TR_UNIGRAM_FILE; rule++) {
        tool t = { 0 };
        OK(tr_unigram_open_as(&t.u, dir, rule));
        expect(&t, "red hair", (int32_t[]){ 1131, 1268, 1 }, 3, 77, 0);
        expect(&t, "a photo of a cat", (int32_t[]){ 3, 9, 1202, 13, 3, 9, 1712, 1 }, 8, 77, 0);
        expect(&t, "long wavy blonde hair, studio light", (int32_t[]){ 307, 3, 210, 19649, 27363, 1268, 6, 3100, 659, 1 }, 10, 77, 0);
        expect(&t, "", (int32_t[]){ 1 }, 1, 77, 0);
        assert_int_equal(tr_unigram_size(t.u), 32100);
        tr_unigram_close(t.u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_clip),  cmocka_unit_test(own_clip_2), cmocka_unit_test(own_clip_bare), cmocka_unit_test(own_t5),       cmocka_unit_test(own_t5_file), cmocka_unit_test(own_t5_spiece),
        cmocka_unit_test(real_clip), cmocka_unit_test(real_t5),    cmocka_unit_test(real_t5_file), cmocka_unit_test(known_clip),  cmocka_unit_test(known_t5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
