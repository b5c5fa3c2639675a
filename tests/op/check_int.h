/* check_int.h - inside the check program. */
#ifndef TRESS_TESTS_OP_CHECK_INT_H
#define TRESS_TESTS_OP_CHECK_INT_H

#include "check.h"

#define GUARD 64
#define FILL_TABLE 4099                         /* a prime: repeats do not line up with rows */
typedef enum block_kind { BLOCK_INPUT, BLOCK_OUTPUT, BLOCK_ROOM } block_kind;

typedef struct block {
    struct block *next;
    block_kind kind;
    tr_tensor device;                           /* U8 [guard | data | guard] */
    uint8_t  *host;                             /* what was uploaded, guards included */
    size_t    skip, n;                          /* data at device.data + skip, n bytes */
    uint8_t  *seen;                             /* [n] outputs: a check looked at this byte */
    void     *room;
} block;

typedef struct bench {
    char   label[128];
    int    i, n;
    int    batch, in_batch;                     /* calls between two waits; how many of them are under way */
    size_t n_ring;                              /* bytes of a ring */
    double sample[256], t0, spent;
    tr_stream_stats before, work;
    tr_tensor ring[TR_DTYPE_N];                 /* U8 */
    size_t at[TR_DTYPE_N];
    bool   json;                                /* a line of JSON for each case */
    double bandwidth, flops;                    /* of this machine with these threads; 0: not measured yet */
} bench;

struct check {
    const char *program, *op;
    tr_device *device;
    tr_stream *stream;
    tress_backend kind;
    tr_dtype   dtype;                           /* of activations */
    bool       mixed;                           /* every third activation is F32 */
    tr_simd    simd;
    int        n_thread;
    uint64_t   seed, n_made;
    int64_t    i_case, only_case;               /* only_case < 0: all */
    int64_t    i_check, spoil_check;            /* sabotage: which check gets a spoiled element; < 0: none */
    bool       warm;                            /* this stream has run the test before: ops must not allocate */
    int64_t    n_alloc;                         /* when the op began */
    int        n_round;                         /* check_rounds */
    double     round_factor;
    bool       quiet;                           /* sabotage: a fault is what we want, come back by longjmp */
    void      *escape;                          /* jmp_buf */
    uint64_t   digest;                          /* of every checked output */
    double     worst;                           /* the largest error so far in units of its bound */
    float      normal[FILL_TABLE];              /* N(0, 1); inputs begin at different places of it */
    block     *blocks;
    bench      bench;
};

_Noreturn void check_fault(check *c, const char *format, ...) TR_PRINTF(2, 3);
const char *check_simd_name(tr_simd simd);
const char *check_type_name(tr_dtype t);        /* f32, f16, bf16 */
void bench_fini(check *c);

#endif
