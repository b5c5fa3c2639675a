/* tokenize - strings in, ids out, for tools/golden/tokens.py to hold against transformers.
 *
 *     tokenize bpe|unigram|unigram-file DIR N < strings > ids
 *
 * strings: for each a uint32 length and its bytes. ids: N int32 for each, then its cut (int32 tokens, int32 byte); all in
 * host order. */
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4) return fputs("usage: tokenize bpe|unigram|unigram-file DIR N < strings > ids\n", stderr), 2;
    const bool is_bpe = strcmp(argv[1], "bpe") == 0;
    const int n = atoi(argv[3]);
    tress_status st;
    tr_bpe *b = NULL;
    tr_unigram *u = NULL;
    uint32_t length;
    static char text[1 << 20];
    int32_t *ids = n >= 2 && n <= 1 << 20 ? calloc((size_t)n + 2, sizeof *ids) : NULL;
    if (!ids) return fputs("tokenize: N out of range\n", stderr), 2;
    const double begin = tr_seconds();
    st = is_bpe ? tr_bpe_open(&b, argv[2])
                : tr_unigram_open_as(&u, argv[2], strcmp(argv[1], "unigram-file") == 0 ? TR_UNIGRAM_FILE : TR_UNIGRAM_CLASS);
    const double opened = tr_seconds();
    int64_t count = 0;
    while (st == TRESS_OK && fread(&length, sizeof length, 1, stdin) == 1) {
        tr_cut cut;
        if (length > sizeof text || fread(text, 1, length, stdin) != length) return fputs("tokenize: strings cut short\n", stderr), 3;
        st = is_bpe ? tr_bpe_encode(b, text, length, ids, n, &cut) : tr_unigram_encode(u, text, length, ids, n, &cut);
        ids[n] = cut.n_token;
        ids[n + 1] = (int32_t)cut.byte;
        if (st == TRESS_OK) fwrite(ids, sizeof *ids, (size_t)n + 2, stdout);
        count++;
    }
    const double end = tr_seconds();
    if (st != TRESS_OK) fprintf(stderr, "tokenize: %s\n", tress_last_error());
    fprintf(stderr, "open %.1f ms, %lld strings in %.1f ms, %.0f a second\n", (opened - begin) * 1e3, (long long)count,
            (end - opened) * 1e3, (double)count / (end - opened));
    tr_bpe_close(b);
    tr_unigram_close(u);
    free(ids);
    return tress_exit_code(st);
}
