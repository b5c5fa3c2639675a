/* Tokenizer files, which are attack surface like any other: the first byte says which file the rest is; and texts. */
#include "fuzz.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "red hair, \xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 <|endoftext|> \xf0\x9f\x98\x80 a\x01""b  \xff</s> it's 12";

static void check(const int32_t *ids, int n, int size)
{
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= size) abort();              /* an id that would index beyond an embedding */
}

static void bpe(const char *words, size_t n)
{
    tr_bpe *t = NULL;
    int32_t ids[77];
    tr_cut cut;
    tress_status st = tr_bpe_open(&t, fuzz_folder());
    fuzz_expect(st);
    if (st != TRESS_OK) return;
    fuzz_expect(st = tr_bpe_encode(t, words, n, ids, 77, &cut));
    if (st == TRESS_OK) check(ids, 77, tr_bpe_size(t));
    tr_bpe_close(t);
}

static void unigram(const char *words, size_t n)
{
    tr_unigram *t = NULL;
    int32_t ids[256];
    tr_cut cut;
    tress_status st = tr_unigram_open(&t, fuzz_folder());
    fuzz_expect(st);
    if (st != TRESS_OK) return;
    fuzz_expect(st = tr_unigram_encode(t, words, n, ids, 256, &cut));
    if (st == TRESS_OK) check(ids, 256, tr_unigram_size(t));
    tr_unigram_close(t);
}

/* Both folders in one: their files have different names. */
static void set_up(void)
{
    static bool done;
    if (done) return;
    done = true;
    fuzz_copy("vocab.json", "examples/tokenizers/tokenizer/vocab.json");
    fuzz_copy("merges.txt", "examples/tokenizers/tokenizer/merges.txt");
    fuzz_put("spiece.model", "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[128];
    if (n == 0) return 0;
    set_up();
    const int kind = data[0] % 5;
    const uint8_t *rest = data + 1;
    n--;
    switch (kind) {
    case 0:                                         /* words */
        bpe((const char *)rest, n);
        break;
    case 1:
        fuzz_put("vocab.json", rest, n);
        bpe(text, sizeof text - 1);
        fuzz_copy("vocab.json", "examples/tokenizers/tokenizer/vocab.json");
        break;
    case 2:
        fuzz_put("merges.txt", rest, n);
        bpe(text, sizeof text - 1);
        fuzz_copy("merges.txt", "examples/tokenizers/tokenizer/merges.txt");
        break;
    case 3: case 4:
        fuzz_put(kind == 3 ? "tokenizer.json" : "spiece.model", rest, n);
        unigram(text, sizeof text - 1);
        snprintf(path, sizeof path, "%s/tokenizer.json", fuzz_folder());
        if (kind == 3) remove(path);
        break;
    }
    return 0;
}
