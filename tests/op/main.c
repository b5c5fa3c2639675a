/* check [OP..] [--simd none|avx2|avx512] [--threads N] [--seed N] [--case N] [--bench [--json]] [--sabotage] [--list]
 * check [OP..] --backend cuda [--dtype f32|f16|bf16] [--mixed] ...
 * Without names: every op. Exit 0 when all is well, 1 at a fault, 2 for wrong usage, 77 where there is no GPU to check. */
#include "check_int.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP(name, params, args) void check_op_##name(check *c); void bench_op_##name(check *c);
#include "tensor/ops.def"
#undef OP

static const struct { const char *name; void (*test)(check *c), (*bench)(check *c); } ops[] = {
#define OP(name, params, args) { #name, check_op_##name, bench_op_##name },
#include "tensor/ops.def"
#undef OP
};
enum { N_OP = sizeof ops / sizeof *ops };

typedef struct options {
    const char *program;
    bool named[N_OP], any, bench, json, sabotage;
    tr_simd simd;                               /* AUTO: all that the machine has */
    int n_thread;                               /* 0: 1, 2 and 8 */
    tress_backend kind;
    int dtype;                                  /* GPU: of activations; -1: all three */
    bool mixed;                                 /* GPU: that run alone */
    uint64_t seed;
    int64_t only_case;
} options;

/* What a run is made on. */
typedef struct place { tr_simd simd; int n_thread; tr_dtype dtype; bool mixed; } place;

static bool begin(check *c, const options *o, int i, place p)
{
    *c = (check){ .program = o->program, .op = ops[i].name, .kind = o->kind, .dtype = p.dtype, .mixed = p.mixed, .simd = p.simd, .n_thread = p.n_thread,
                  .seed = o->seed, .only_case = o->only_case, .spoil_check = -1, .digest = 0xcbf29ce484222325u };
    if (tr_device_open(&c->device, &(tr_device_spec){ .kind = o->kind, .n_thread = p.n_thread, .simd = p.simd, .dtype = p.dtype }) != TRESS_OK ||
        tr_stream_new(&c->stream, c->device) != TRESS_OK) {
        fprintf(stderr, "check: %s\n", tr_message());
        return false;
    }
    return true;
}

static void end(check *c)
{
    bench_fini(c);
    tr_stream_free(c->stream);
    tr_device_close(c->device);
}

/* The levels that this machine can run and the user wants. */
static int levels_of(tr_simd out[3], tr_simd wanted)
{
    int n = 0;
    for (tr_simd l = TR_SIMD_NONE; l <= TR_SIMD_AVX512; l++) {
        tr_device *d = NULL;
        if (wanted != TR_SIMD_AUTO && l != wanted) continue;
        if (tr_device_open(&d, &(tr_device_spec){ .n_thread = 1, .simd = l }) != TRESS_OK) continue;
        const char *text = tr_device_name(d);
        const bool real = l == TR_SIMD_NONE || (l == TR_SIMD_AVX2 && strstr(text, "AVX2")) || (l == TR_SIMD_AVX512 && strstr(text, "AVX-512"));
        tr_device_close(d);
        if (real) out[n++] = l;
    }
    return n;
}

/* The same test over the stream it has just run on: ops must not allocate. */
static void again(check *c, int i)
{
    c->warm = true;
    c->i_case = 0;
    c->n_made = 0;
    ops[i].test(c);
    check_release(c);
}

static int no_case(int i)
{
    fprintf(stderr, "%s: the test has no case\n", ops[i].name);
    return 1;
}

/* Each type of activations, then mixed with F32: two runs of the same bytes, and one that must not allocate. */
static int test_cuda(const options *o, int i)
{
    double worst[3] = { 0 };
    int64_t n_case = 0;
    for (int t = TR_F32; t <= TR_BF16; t++)
        for (int mixed = 0; mixed < 2; mixed++) {
            uint64_t digest = 0;
            if ((o->dtype >= 0 && t != o->dtype) || (o->mixed && !mixed) || (t == TR_F32 && mixed)) continue;
            for (int k = 0; k < 2; k++) {
                check c;
                if (!begin(&c, o, i, (place){ .dtype = (tr_dtype)t, .mixed = mixed })) return 1;
                ops[i].test(&c);
                check_release(&c);
                if (k && c.digest != digest) check_fault(&c, "a second run gives other bytes");
                digest = c.digest;
                if (c.worst > worst[t]) worst[t] = c.worst;
                n_case = c.i_case;
                if (k) again(&c, i);
                end(&c);
            }
        }
    if (n_case == 0) return no_case(i);
    printf("%-16s %4" PRId64 " cases, worst error of the bound: f32 %.2f, f16 %.2f, bf16 %.2f\n", ops[i].name, n_case, worst[TR_F32], worst[TR_F16], worst[TR_BF16]);
    return 0;
}

static int test(const options *o, int i)
{
    if (o->kind == TRESS_BACKEND_CUDA) return test_cuda(o, i);
    static const int counts[] = { 1, 2, 8 };
    tr_simd level[3];
    const int n_level = levels_of(level, o->simd);
    double worst = 0;
    int64_t n_case = 0;
    for (int k = 0; k < n_level; k++) {
        uint64_t digest = 0;
        for (int t = 0; t < 3; t++) {
            check c;
            if (o->n_thread && t) break;
            if (!begin(&c, o, i, (place){ .simd = level[k], .n_thread = o->n_thread ? o->n_thread : counts[t] })) return 1;
            ops[i].test(&c);
            check_release(&c);
            if (t && c.digest != digest) check_fault(&c, "%d threads give other bytes than 1", c.n_thread);
            digest = c.digest;
            if (c.worst > worst) worst = c.worst;
            n_case = c.i_case;
            if (c.n_thread == 2 && k == n_level - 1) again(&c, i);
            end(&c);
        }
    }
    if (n_case == 0) return no_case(i);
    printf("%-16s %4" PRId64 " cases, %d instruction sets, worst error %.2f of the bound\n", ops[i].name, n_case, n_level, worst);
    return 0;
}

/* Runs the test with check number `spoil` spoiled; true when the test noticed. n_check is set when it ran to its end. */
static bool fails(const options *o, int i, int64_t spoil, int64_t *n_check)
{
    jmp_buf escape;
    static check c;                             /* static: must keep its values over longjmp */
    if (!begin(&c, o, i, (place){ .n_thread = 2, .dtype = o->dtype < 0 ? TR_F32 : (tr_dtype)o->dtype })) return false;
    c.spoil_check = spoil;
    c.quiet = spoil >= 0;
    c.escape = &escape;
    const bool noticed = setjmp(escape) != 0;
    if (!noticed) {
        ops[i].test(&c);
        *n_check = c.i_check;
    }
    c.quiet = false;
    if (noticed)
        for (struct block *b = c.blocks; b; b = b->next)      /* the guards still hold; the rest is spoiled */
            if (b->kind == BLOCK_OUTPUT) memset(b->seen, 1, b->n);
    check_release(&c);
    end(&c);
    return noticed;
}

static int sabotage(const options *o, int i)
{
    int64_t n = 0;
    if (fails(o, i, -1, &n) || n == 0) {
        fprintf(stderr, "%s: nothing is checked\n", ops[i].name);
        return 1;
    }
    for (int64_t k = 0; k < 5; k++) {
        const int64_t spoil = k == 4 ? n - 1 : n * k / 4;
        int64_t dummy;
        if (!fails(o, i, spoil, &dummy)) {
            fprintf(stderr, "%s: check %" PRId64 " of %" PRId64 " did not notice a spoiled element\n", ops[i].name, spoil, n);
            return 1;
        }
    }
    printf("%-16s notices spoiled elements\n", ops[i].name);
    return 0;
}

static int bench_on(const options *o, int i, place p)
{
    check c;
    if (!begin(&c, o, i, p)) return 1;
    c.bench.json = o->json;
    ops[i].bench(&c);
    end(&c);
    return 0;
}

static int bench_one(const options *o, int i)
{
    tr_simd level[3];
    int rc = 0;
    if (o->kind == TRESS_BACKEND_CUDA) {
        for (int t = TR_F32; t <= TR_BF16; t++)
            if (o->dtype < 0 || o->dtype == t) rc |= bench_on(o, i, (place){ .dtype = (tr_dtype)t });
        return rc;
    }
    const int n = levels_of(level, o->simd);
    return bench_on(o, i, (place){ .simd = level[n - 1], .n_thread = o->n_thread ? o->n_thread : tr_thread_count() });
}

/* Is there a GPU to check? Says why not. */
static bool has_gpu(void)
{
    tr_device *d = NULL;
    const tress_status st = tr_device_open(&d, &(tr_device_spec){ .kind = TRESS_BACKEND_CUDA });
    if (st != TRESS_OK) printf("skipped: %s\n", tr_message());
    tr_device_close(d);
    return st == TRESS_OK;
}

static bool parse(options *o, int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        const char *a = argv[k], *v = k + 1 < argc ? argv[k + 1] : NULL;
        char *rest = NULL;
        int i = 0;
        if (!strcmp(a, "--bench")) { o->bench = true; continue; }
        if (!strcmp(a, "--json")) { o->json = true; continue; }
        if (!strcmp(a, "--sabotage")) { o->sabotage = true; continue; }
        if (!strcmp(a, "--mixed")) { o->mixed = true; continue; }
        if (!strcmp(a, "--list")) {
            for (i = 0; i < N_OP; i++) printf("%s\n", ops[i].name);
            exit(0);
        }
        if (a[0] != '-') {
            while (i < N_OP && strcmp(a, ops[i].name)) i++;
            if (i == N_OP) return false;
            o->named[i] = o->any = true;
            continue;
        }
        if (!v) return false;
        k++;
        const unsigned long long number = strtoull(v, &rest, 10);
        if (!strcmp(a, "--backend")) {
            if (!strcmp(v, "cuda")) o->kind = TRESS_BACKEND_CUDA;
            else if (strcmp(v, "cpu")) return false;
        } else if (!strcmp(a, "--dtype")) {
            o->dtype = TR_F32;
            while (o->dtype <= TR_BF16 && strcmp(v, check_type_name((tr_dtype)o->dtype))) o->dtype++;
            if (o->dtype > TR_BF16) return false;
        } else if (!strcmp(a, "--simd")) {
            tr_simd l = TR_SIMD_NONE;
            while (l <= TR_SIMD_AVX512 && strcmp(v, check_simd_name(l))) l++;
            if (l > TR_SIMD_AVX512) return false;
            o->simd = l;
        } else if (*rest || !*v) {
            return false;
        } else if (!strcmp(a, "--threads")) {
            o->n_thread = (int)number;
        } else if (!strcmp(a, "--seed")) {
            o->seed = number;
        } else if (!strcmp(a, "--case")) {
            o->only_case = (int64_t)number;
        } else {
            return false;
        }
    }
    return o->kind == TRESS_BACKEND_CUDA ? !(o->mixed && o->dtype == TR_F32) : o->dtype < 0 && !o->mixed;
}

int main(int argc, char **argv)
{
    options o = { .program = argv[0], .seed = 7, .only_case = -1, .kind = TRESS_BACKEND_CPU, .dtype = -1 };
    int rc = 0;
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: check [OP..] [--backend cpu|cuda] [--dtype f32|f16|bf16] [--mixed] [--simd none|avx2|avx512] [--threads N] [--seed N] [--case N] [--bench [--json]] [--sabotage] [--list]\n");
        return 2;
    }
    if (o.kind == TRESS_BACKEND_CUDA && !has_gpu()) return 77;
    for (int i = 0; i < N_OP; i++)
        if (!o.any || o.named[i]) {
            rc |= o.bench ? bench_one(&o, i) : o.sabotage ? sabotage(&o, i) : test(&o, i);
            fflush(stdout);
        }
    return rc;
}
