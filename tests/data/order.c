/* Which pictures are held out, and which make up which batch: pure functions, proved by counting. */
#include "data/draw.h"

/* ---- order ----------------------------------------------------------------------------------------------- */

static void test_epochs(void **state)
{
    (void)state;
    static const struct { int n, n_bucket, batch; } cases[] = { { 1, 1, 1 }, { 7, 1, 1 }, { 24, 1, 4 }, { 23, 3, 4 }, { 10, 4, 8 }, { 200, 7, 3 }, { 5, 5, 2 } };
    for (int c = 0; c < 7; c++) {
        int bucket[200], seen[200], index[8];
        tr_order *o = NULL;
        int64_t want = 0;
        int of[8] = { 0 };
        for (int i = 0; i < cases[c].n; i++) of[bucket[i] = (i * 5 + i / 3) % cases[c].n_bucket]++;
        for (int b = 0; b < cases[c].n_bucket; b++) want += (of[b] + cases[c].batch - 1) / cases[c].batch;
        ok(tr_order_new(&o, 11, cases[c].batch, bucket, cases[c].n));
        assert_int_equal(tr_order_epoch_batches(o), want);
        for (uint64_t epoch = 0; epoch < 4; epoch++) {
            memset(seen, 0, sizeof seen);
            for (int64_t k = 0; k < want; k++) {
                tr_order_batch(o, epoch * (uint64_t)want + (uint64_t)k, index);
                for (int j = 0; j < cases[c].batch; j++) {
                    assert_true(index[j] >= 0 && index[j] < cases[c].n);
                    assert_int_equal(bucket[index[j]], bucket[index[0]]);
                    seen[index[j]]++;
                }
            }
            for (int i = 0; i < cases[c].n; i++) {                /* each once; a bucket's fill once more, evenly over what is there */
                const int size = of[bucket[i]], shown = (size + cases[c].batch - 1) / cases[c].batch * cases[c].batch;
                assert_true(seen[i] >= shown / size && seen[i] <= (shown + size - 1) / size);
            }
        }
        tr_order_free(o);
    }
}

static void test_random_access(void **state)
{
    (void)state;
    enum { N = 37, BATCH = 4, MANY = 120 };
    int bucket[N], all[MANY][BATCH], index[BATCH];
    tr_order *a = NULL, *b = NULL;
    for (int i = 0; i < N; i++) bucket[i] = 3 * (i % 3);                         /* gaps are allowed */
    ok(tr_order_new(&a, 5, BATCH, bucket, N));
    for (int n = 0; n < MANY; n++) tr_order_batch(a, (uint64_t)n, all[n]);
    ok(tr_order_new(&b, 5, BATCH, bucket, N));
    const int64_t n_alloc = tr_mem_now().n_alloc;
    for (int k = 0; k < MANY; k++) {
        const int n = (k * 47 + 30) % MANY;                                      /* to and fro between epochs */
        tr_order_batch(b, (uint64_t)n, index);
        assert_memory_equal(index, all[n], sizeof index);
    }
    tr_order_batch(b, UINT64_MAX, index);
    assert_int_equal(tr_mem_now().n_alloc, n_alloc);
    tr_order_free(b);
    b = NULL;
    ok(tr_order_new(&b, 6, BATCH, bucket, N));
    int n_same = 0;
    for (int n = 0; n < MANY; n++) {
        tr_order_batch(b, (uint64_t)n, index);
        n_same += memcmp(index, all[n], sizeof index) == 0;
    }
    assert_true(n_same < MANY / 10);            /* another seed, another order */
    n_same = 0;
    const int epoch = (int)tr_order_epoch_batches(a);
    for (int n = 0; n + epoch < MANY; n++) n_same += memcmp(all[n], all[n + epoch], sizeof index) == 0;
    assert_true(n_same < MANY / 10);            /* and another in each epoch */
    n_same = 0;                                 /* with other company */
    for (int n = 0; n < epoch; n++)
        for (int k = epoch; k < 2 * epoch; k++) n_same += memcmp(all[n], all[k], sizeof index) == 0;
    assert_int_equal(n_same, 0);
    tr_order_free(a);
    tr_order_free(b);
    b = NULL;
    assert_int_equal(tr_order_new(&b, 5, 0, bucket, N), TRESS_E_ARG);
    assert_int_equal(tr_order_new(&b, 5, 4097, bucket, N), TRESS_E_ARG);
    assert_int_equal(tr_order_new(&b, 5, 1, bucket, 0), TRESS_E_ARG);
    assert_null(b);
}

/* Every picture comes first about as often as any other, and buckets are not shown one after the other. */
static void test_even(void **state)
{
    (void)state;
    enum { N = 8, EPOCHS = 4000 };
    int bucket[N], first[N] = { 0 }, index[1], n_change = 0;
    tr_order *o = NULL;
    for (int i = 0; i < N; i++) bucket[i] = i / 4;
    ok(tr_order_new(&o, 1, 1, bucket, N));
    for (uint64_t e = 0; e < EPOCHS; e++) {
        int before = -1;
        for (uint64_t k = 0; k < N; k++) {
            tr_order_batch(o, e * N + k, index);
            if (k == 0) first[index[0]]++;
            else n_change += bucket[index[0]] != before;
            before = bucket[index[0]];
        }
    }
    for (int i = 0; i < N; i++) assert_true(abs(first[i] - EPOCHS / N) < 105);   /* 5 sigma of 21 */
    /* of 7 neighbours 7 x 4 / 7 = 4 change buckets on average, sigma 1.3 of one epoch, 83 of them all */
    assert_true(abs(n_change - 4 * EPOCHS) < 415);
    tr_order_free(o);
}

/* ---- split ----------------------------------------------------------------------------------------------- */

/* A data set of n names that is made in memory. */
typedef struct names { tr_dataset d; tr_data_item item[4096]; char text[4096][16]; } names;

static void name_them(names *v, int n, int first)
{
    memset(v, 0, sizeof *v);
    v->d = (tr_dataset){ .dir = v->text[0], .item = v->item, .n_item = n };
    for (int i = 0; i < n; i++) {
        snprintf(v->text[i], sizeof v->text[i], "braid_%d", first + i);
        v->item[i].name = v->text[i];
    }
}

static void test_split(void **state)
{
    (void)state;
    static names v;
    static bool held[4096], more[4096];
    tr_split_reason why;
    int n = -1;
    static const double fraction[] = { 0.05, 0.1, 0.3, 0.5 };
    for (int k = 0; k < 4; k++) {
        name_them(&v, 4096, 0);
        ok(tr_split_make(held, &n, &why, &v.d, fraction[k]));
        assert_int_equal(why, TR_SPLIT_HASH);
        const double sigma = sqrt(4096 * fraction[k] * (1 - fraction[k]));
        if (!(fabs(n - 4096 * fraction[k]) < 4 * sigma)) fail_msg("%d of 4096 at %g", n, fraction[k]);
        int count = 0;
        for (int i = 0; i < 4096; i++) count += held[i];
        assert_int_equal(count, n);
        /* other pictures around them move none */
        name_them(&v, 2000, 1000);
        ok(tr_split_make(more, &n, &why, &v.d, fraction[k]));
        for (int i = 0; i < 2000; i++) assert_true(more[i] == held[1000 + i]);
    }
    for (int first = 0; first < 300; first++) { /* never none, never all */
        name_them(&v, 10, first * 10);
        ok(tr_split_make(held, &n, &why, &v.d, first % 2 ? 0.02 : 0.5));
        assert_true(n >= 1 && n <= 9);
    }
    name_them(&v, 9, 0);
    ok(tr_split_make(held, &n, &why, &v.d, 0.1));
    assert_true(n == 0 && why == TR_SPLIT_FEW && !held[0]);
    name_them(&v, 100, 0);
    ok(tr_split_make(held, &n, &why, &v.d, 0));
    assert_true(n == 0 && why == TR_SPLIT_OFF);
    assert_int_equal(tr_split_make(held, &n, &why, &v.d, 0.6), TRESS_E_ARG);
    assert_int_equal(tr_split_make(held, &n, &why, &v.d, NAN), TRESS_E_ARG);
    v.item[7].test = v.item[8].test = true;
    v.d.n_test = 2;
    ok(tr_split_make(held, &n, &why, &v.d, 0.1));
    assert_true(n == 2 && why == TR_SPLIT_TEST && held[7] && held[8] && !held[9]);
    v.d.n_item = v.d.n_test = 1;
    v.item[0].test = true;
    assert_int_equal(tr_split_make(held, &n, &why, &v.d, 0.1), TRESS_E_FORMAT);
    v.d.n_item = v.d.n_test = 0;
    assert_int_equal(tr_split_make(held, &n, &why, &v.d, 0.1), TRESS_E_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_epochs), cmocka_unit_test(test_random_access), cmocka_unit_test(test_even), cmocka_unit_test(test_split) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
