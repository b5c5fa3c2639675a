/* Devices and streams: limits, counts, dry devices, scratch, cancel. */
#include "tensor/ops.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void test_open(void **state)
{
    (void)state;
    tr_device *d = NULL;
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = -1 }), TRESS_E_ARG);
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = TR_THREAD_MAX + 1 }), TRESS_E_ARG);
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .bytes_max = -1 }), TRESS_E_ARG);
    assert_null(d);
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = 3, .simd = TR_SIMD_NONE }), TRESS_OK);
    assert_true(tr_device_is_host(d) && !tr_device_is_dry(d) && tr_device_threads(d) == 3);
    assert_string_equal(tr_device_name(d), "CPU, 3 threads, no SIMD");
    tr_device_close(d);
    tr_device_close(NULL);
}

/* With a GPU, memory of it in each type of activations; without one, a word why not: no back end beside this program, or no card. */
static void test_gpu(void **state)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16 };
    (void)state;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_tensor t;
    const tress_status st = tr_device_open(&d, &(tr_device_spec){ .kind = TRESS_BACKEND_CUDA });
    if (st != TRESS_OK) {
        assert_int_equal(st, TRESS_E_GPU);
        assert_non_null(strstr(tr_message(), "CUDA"));
        assert_null(d);
        return;
    }
    tr_device_close(d);
    for (int i = 0; i < 3; i++) {
        float out[4] = { 0 }, in[4] = { 1, 2, 3, 4 };
        assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .kind = TRESS_BACKEND_CUDA, .dtype = types[i], .bytes_max = 1 << 20 }), TRESS_OK);
        assert_true(!tr_device_is_host(d) && tr_device_dtype(d) == types[i] && *tr_device_name(d));
        assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
        assert_true(tr_stream_dtype(s) == types[i]);
        assert_int_equal(tr_device_take(d, &t, TR_F32, TR_DIMS((1 << 18) + 1)), TRESS_E_OOM);
        assert_int_equal(tr_device_take(d, &t, TR_F32, TR_DIMS(2, 2)), TRESS_OK);
        assert_int_equal((uintptr_t)t.data % 256, 0);
        assert_int_equal(tr_upload(s, t, in), TRESS_OK);
        assert_int_equal(tr_download(s, out, t), TRESS_OK);
        assert_memory_equal(in, out, sizeof in);
        tr_device_give(d, t);
        tr_stream_free(s);
        tr_device_close(d);
    }
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .kind = TRESS_BACKEND_CUDA, .dtype = TR_F64 }), TRESS_E_ARG);
}

static void test_limit(void **state)
{
    (void)state;
    for (int dry = 0; dry < 2; dry++) {
        tr_device *d = NULL;
        tr_stream *s = NULL;
        tr_tensor a, b = { 0 };
        assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = 1, .bytes_max = 16 << 20, .dry = dry }), TRESS_OK);
        assert_int_equal(tr_device_take(d, &a, TR_F32, TR_DIMS(2048, 1024)), TRESS_OK);
        assert_int_equal((uintptr_t)a.data % 256, 0);
        assert_int_equal(tr_device_bytes(d), 8 << 20);
        assert_int_equal(tr_device_take(d, &b, TR_F32, TR_DIMS(2049, 1024)), TRESS_E_OOM);
        assert_true(tr_is_none(b));
        assert_int_equal(tr_device_take(d, &b, TR_F32, TR_DIMS(2048, 1024)), TRESS_OK);
        assert_true(b.data != a.data);
        tr_device_give(d, b);
        tr_device_give(d, tr_none());
        assert_int_equal(tr_device_bytes(d), 8 << 20);
        assert_int_equal(tr_device_peak(d), 16 << 20);
        assert_int_equal(tr_device_take(d, &b, TR_F64, TR_DIMS(INT64_MAX / 4)), TRESS_E_SHAPE);

        /* Scratch is counted against the same limit, and given back with the stream. */
        assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
        const tr_arena_mark m = tr_scratch_push(s);
        assert_int_equal(tr_scratch(s, &b, TR_F32, TR_DIMS(4096, 1024)), TRESS_E_OOM);
        assert_int_equal(tr_scratch(s, &b, TR_F32, TR_DIMS(16, 1024)), TRESS_OK);
        assert_int_equal((uintptr_t)b.data % 256, 0);
        if (!dry) memset(b.data, 1, 65536);
        tr_scratch_pop(s, m);
        assert_true(tr_stream_count(s).scratch_peak >= 65536);
        tr_stream_free(s);
        tr_device_give(d, a);
        assert_int_equal(tr_device_bytes(d), 0);
        tr_device_close(d);
    }
}

/* A terabyte on a dry device costs nothing, and ops on it only count. */
static void test_dry(void **state)
{
    (void)state;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_tensor y, x, z;
    const int64_t before = tr_mem_now().bytes;
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .dry = true }), TRESS_OK);
    assert_true(tr_device_is_dry(d));
    assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
    const tr_arena_mark m = tr_scratch_push(s);
    assert_int_equal(tr_device_take(d, &x, TR_F32, TR_DIMS(1 << 20, 1 << 18)), TRESS_OK);
    assert_int_equal(tr_scratch(s, &y, TR_F32, TR_DIMS(1 << 20, 1 << 18)), TRESS_OK);
    assert_int_equal(tr_scratch(s, &z, TR_F32, TR_DIMS(1, 1)), TRESS_OK);
    assert_true(y.data != x.data && z.data != y.data);
    assert_int_equal(tr_axpby(s, y, 2, x, 0, tr_none()), TRESS_OK);
    assert_int_equal(tr_upload(s, x, NULL), TRESS_OK);
    assert_int_equal(tr_stream_sync(s), TRESS_OK);
    const tr_stream_stats n = tr_stream_count(s);
    assert_int_equal(n.n_op, 1);
    assert_true(n.bytes == 2 * 0x1p40 && n.flops == 0x1p38);
    assert_true(n.scratch_peak >= (size_t)1 << 40);
    assert_true(tr_device_peak(d) >= (int64_t)2 << 40);
    assert_true(tr_mem_now().bytes - before < 1 << 20);
    tr_scratch_pop(s, m);
    tr_device_give(d, x);
    tr_stream_free(s);
    tr_device_close(d);
}

/* One that stands for a GPU: types of activations, and nothing that only a card could tell. */
static void test_dry_gpu(void **state)
{
    (void)state;
    tr_device *d = NULL, *cpu = NULL;
    int64_t left = 1;
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .kind = TRESS_BACKEND_CUDA, .dry = true, .dtype = TR_F16 }), TRESS_OK);
    assert_true(!tr_device_is_host(d) && tr_device_dtype(d) == TR_F16 && tr_device_own_bytes(d) > 0);
    assert_int_equal(tr_device_set_dtype(d, TR_BF16), TRESS_OK);
    assert_true(tr_device_dtype(d) == TR_BF16);
    assert_int_equal(tr_device_set_dtype(d, TR_F64), TRESS_E_ARG);
    assert_true(tr_device_dtype(d) == TR_BF16);
    assert_int_equal(tr_device_free_bytes(d, &left), TRESS_OK);
    assert_int_equal(left, 0);
    tr_device_close(d);
    assert_int_equal(tr_device_open(&cpu, &(tr_device_spec){ .n_thread = 1 }), TRESS_OK);
    assert_int_equal(tr_device_set_dtype(cpu, TR_F16), TRESS_E_ARG);
    assert_true(tr_device_dtype(cpu) == TR_F32 && tr_device_own_bytes(cpu) == 0);
    tr_device_close(cpu);
}

/* Scratch that is trimmed goes back, and what comes after it takes no more than it needs. */
static void test_trim(void **state)
{
    (void)state;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_tensor t;
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = 1 }), TRESS_OK);
    assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
    tr_arena_mark m = tr_scratch_push(s);
    assert_int_equal(tr_scratch(s, &t, TR_F32, TR_DIMS(1 << 22)), TRESS_OK);
    tr_scratch_pop(s, m);
    assert_true(tr_device_bytes(d) >= 1 << 24);
    tr_scratch_trim(s);
    assert_int_equal(tr_device_bytes(d), 0);
    m = tr_scratch_push(s);
    assert_int_equal(tr_scratch(s, &t, TR_F32, TR_DIMS(4)), TRESS_OK);
    assert_true(tr_device_bytes(d) < 1 << 22);
    tr_scratch_pop(s, m);
    tr_stream_free(s);
    tr_device_close(d);
}

static bool yes(void *self) { return *(bool *)self; }

static void test_stream(void **state)
{
    (void)state;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    bool stop = false;
    float out[4], in[4] = { 1, 2, 3, 4 };
    tr_tensor t;
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = 1 }), TRESS_OK);
    assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
    assert_true(tr_stream_device(s) == d && tr_stream_dtype(s) == TR_F32);
    assert_int_equal(tr_stream_poll(s), TRESS_OK);
    tr_stream_set_cancel(s, yes, &stop);
    assert_int_equal(tr_stream_poll(s), TRESS_OK);
    stop = true;
    assert_int_equal(tr_stream_poll(s), TRESS_E_CANCELLED);
    tr_stream_set_cancel(s, NULL, NULL);
    assert_int_equal(tr_stream_poll(s), TRESS_OK);
    assert_int_equal(tr_device_take(d, &t, TR_F32, TR_DIMS(2, 2)), TRESS_OK);
    assert_int_equal(tr_upload(s, t, in), TRESS_OK);
    assert_int_equal(tr_download(s, out, t), TRESS_OK);
    assert_memory_equal(in, out, sizeof in);
    tr_device_give(d, t);
    tr_stream_free(s);
    tr_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_open), cmocka_unit_test(test_gpu), cmocka_unit_test(test_limit), cmocka_unit_test(test_dry),
                                        cmocka_unit_test(test_dry_gpu), cmocka_unit_test(test_trim),
                                        cmocka_unit_test(test_stream) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
