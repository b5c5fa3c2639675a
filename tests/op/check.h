/* check.h - the check program: every op of ops.def against float64, on every back end, instruction set and number of threads.
 *
 * A test is CHECK_OP(name) in tests/op/name.c, a bench BENCH_OP(name) beside it. The program runs CHECK_OP once for each
 * instruction set and each of 1, 2 and 8 threads, with the same inputs; all outputs must be the same bytes for any number
 * of threads. On a GPU it runs for each type of activations, and for the narrow ones once more with every third activation in F32
 * (mixed); each twice, for the same bytes, and a third time without allocating. Everything handed out lies between guard words; outputs hold NaN; inputs must stay as they were, and an
 * element of an output that no check looked at must still hold the NaN. The first fault ends the program and prints the
 * command that repeats it. */
#ifndef TRESS_TESTS_OP_CHECK_H
#define TRESS_TESTS_OP_CHECK_H

#include "tensor/ops.h"

typedef struct check check;

#define CHECK_OP(name) void check_op_##name(check *c); void check_op_##name(check *c)
#define BENCH_OP(name) void bench_op_##name(check *c); void bench_op_##name(check *c)

/* FILL_NORMAL N(0, 1); MEAN_1000 1000 + N: statistics cancel; TINY 1e-20 N: squares underflow in float;
 * SPIKES N, one in 97 times 1e4: sums are ruled by few. */
typedef enum check_fill { FILL_NORMAL, FILL_MEAN_1000, FILL_TINY, FILL_SPIKES, FILL_N } check_fill;

double check_largest(check_fill f);             /* no element is larger than this */

tr_stream *check_stream(check *c);

/* Contiguous tensors until check_release or the end of the test. The values depend on the seed and on how many were asked for before. */
tr_tensor check_input(check *c, check_fill f, tr_dims d);                         /* an activation: of the stream's type, mixed also F32 */
tr_tensor check_input_as(check *c, check_fill f, tr_dtype t, tr_dims d);          /* rounded to F32, F16, BF16 or F8_E4M3 */
/* A weight as a mapped file may have it: every second one lies at an odd address, where the CPU reads it. */
tr_tensor check_weight(check *c, check_fill f, tr_dtype t, tr_dims d);
/* Given values: n = count of d elements of any type. */
tr_tensor check_values(check *c, tr_dtype t, tr_dims d, const void *values);
/* Given numbers, rounded to the stream's type. */
tr_tensor check_numbers(check *c, tr_dims d, const float *values);
tr_tensor check_output(check *c, tr_dims d);                                      /* an activation, all NaN */
tr_tensor check_output_as(check *c, tr_dtype t, tr_dims d);
/* From now on x is an output too: for ops that work in place. Take check_f64 before. */
void check_mutable(check *c, tr_tensor x);

/* The elements of x, any float type and strides, row-major in float64; lives like x. */
double *check_f64(check *c, tr_tensor x);
double *check_room(check *c, int64_t n);                                          /* n zeros */
/* Ends what was handed out so far and checks guards, inputs and untouched outputs. For tests of many or large cases. */
void check_release(check *c);

/* The op must succeed. Each call begins a case; --case N reports that one alone. In a second run over the same stream, which the
 * program adds, the op must not allocate. */
void check_begin(check *c);
void check_end(check *c, tress_status st);
#define check_ok(c, call) (check_begin(c), check_end(c, call))
/* |y - want| <= bound u mag for every element of y in row-major order, u = 2^-24; narrower outputs add their own rounding, and are
 * infinite where want is beyond the largest of their type. mag is the formula of want with |terms|; where it is infinite anything goes. */
void check_near(check *c, tr_tensor y, const double *want, const double *mag, double bound);
/* Until check_release, a narrow stream has n more roundings of intermediates to its type: check_near allows n (u mag + factor a)
 * more, with u of that type, a half its least number, and `factor` what a rounded intermediate is multiplied by at the most. */
void check_rounds(check *c, int n, double factor);
bool check_is_host(const check *c);                      /* else a GPU: other methods, larger shapes for the bench */
double check_narrow(const check *c, double v);           /* v rounded to the stream's type */
/* y's elements are exactly these, in types narrower than F32 rounded, NaN equal to NaN: for ops that only move or round. */
void check_equal(check *c, tr_tensor y, const double *want);
/* The same for any type: y's bytes in row-major order. */
void check_bytes(check *c, tr_tensor y, const void *want);
void check_int(check *c, const char *what, int64_t got, int64_t want);

/* ---- bench ----------------------------------------------------------------------------------------------- */
/*     for (bench_begin(c, "%d x %d", n, d); bench_more(c);) {
 *         tr_tensor x = bench_input(c, TR_DIMS(n, d)), y = bench_input(c, TR_DIMS(n, d));
 *         BENCH_TIME(c, tr_activate(check_stream(c), y, x, TR_ACT_SILU));
 *     }
 * Tensors hold N(0, 1), or 0.02 N for 16-bit and 8-bit types, and rotate through more memory than the caches hold. On a GPU
 * many calls are timed together, between two waits for the stream. */
void bench_begin(check *c, const char *format, ...) TR_PRINTF(2, 3);
bool bench_more(check *c);
tr_tensor bench_tensor(check *c, tr_dtype t, tr_dims d);
tr_tensor bench_input(check *c, tr_dims d);              /* of the stream's type */
void bench_start(check *c);
void bench_stop(check *c, tress_status st);
#define BENCH_TIME(c, call) (bench_start(c), bench_stop(c, call))

#endif
