/* Whole runs when the world fails: a full disk, a file operation, memory, numbers. What was saved stays whole, and a run that goes on comes
 * to the same bytes. */
#include "train/whole.h"

#include <math.h>

static int64_t spread(int64_t n, int k, int n_k, uint64_t key)  /* the kth of n_k numbers spread over 1..n */
{
    const double u = (double)tr_philox_uniform(key, 5, (uint64_t)k);
    return 1 + (int64_t)((double)(n - 1) * ((double)k + u) / (double)n_k);
}

/* ---- the disk ------------------------------------------------------------------------------------------------- */
static void full_disk_is_waited_for(void **state)
{
    (void)state;
    const int n_round = whole_rounds(8);
    int n_waited = 0, n_told = 0;
    tress_train_args a = whole_args();
    a.sample_every = 6;
    whole_fresh(&a, NULL);
    const whole_told full = whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    for (int i = 0; i < n_round; i++) {
        whole_sh("rm -rf run");
        whole_told t = whole_train(&a, &(whole_how){ .io_at = spread(full.n_io, i, n_round, 1), .io_fault = TR_IO_ERROR_ON, .io_error = i % 2 ? ENOSPC : EDQUOT,
                                                     .n_wait = 2 });
        n_waited += t.n_waited;
        if (t.status != TRESS_OK) {                             /* before there was anything to lose */
            whole_expect(&t, TRESS_E_IO, "run");
            assert_int_equal(t.step, 0);
            n_told++;
            t = whole_resume(&a, NULL);
            whole_expect(&t, TRESS_OK, NULL);
        }
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    print_message("%d rounds: waited %d times, refused to begin %d times\n", n_round, n_waited, n_told);
    assert_true(n_waited >= n_round && n_told <= n_round / 2);

    for (int i = 0; i < 4; i++) {                               /* interrupted while it waits */
        whole_sh("rm -rf run");
        const whole_told t = whole_train(&a, &(whole_how){ .io_at = full.n_io - 160 + 50 * i, .io_fault = TR_IO_ERROR_ON, .io_error = ENOSPC, .n_wait = 1,
                                                           .cancel_waiting = true });
        whole_expect(&t, TRESS_E_IO, "interrupted while the disk is full, after step ");
        assert_true(strstr(t.message, "the newest checkpoint being that of step ") ? whole_newest() > 0 :
                    strstr(t.message, "before there was a checkpoint") && whole_newest() == -1);
        const whole_told u = whole_resume(&a, NULL);
        whole_expect(&u, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    whole_left_fini(&want);
}

static void any_file_operation_fails(void **state)
{
    (void)state;
    const int n_round = whole_rounds(30);
    static const struct { tr_io_fault fault; int error; } kind[] = {
        { TR_IO_ERROR, EIO }, { TR_IO_ERROR, EMFILE }, { TR_IO_ERROR_ON, EIO }, { TR_IO_SHORT, 0 }, { TR_IO_WRONG, 0 }, { TR_IO_ERROR, EINTR },
    };
    int n_failed = 0, n_kept = 0, n_step = 0;
    tress_train_args a = whole_args();
    a.sample_every = 6;
    whole_fresh(&a, NULL);
    const whole_told full = whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    for (int i = 0; i < n_round; i++) {
        const int k = i % 6;
        whole_sh("rm -rf run");
        whole_told t = whole_train(&a, &(whole_how){ .io_at = spread(full.n_io, i, n_round, 2), .io_fault = kind[k].fault, .io_error = kind[k].error });
        assert_true(t.ended);
        const int64_t newest = whole_newest();
        if (t.status != TRESS_OK) {
            n_failed++;
            assert_true(t.status == TRESS_E_IO || t.status == TRESS_E_FORMAT);
            assert_true(t.message[0]);
            if (strstr(t.message, "the run is saved as it was after step ")) n_kept++, assert_int_equal(newest, t.step);
            assert_true(newest >= (t.step > 0 ? (t.step - 1) / 3 * 3 : -1) || newest == -1);
        }
        if (k == 4) continue;                                   /* a disk that stores other bytes than it was given: only checkpoints find out */
        t = whole_resume(&a, NULL);
        whole_expect(&t, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    for (int64_t n = full.io_at[7] + 1; n <= full.io_at[8]; n++) {       /* all that writes of a step between two saves: it is not lost */
        whole_sh("rm -rf run");
        whole_told t = whole_train(&a, &(whole_how){ .io_at = n, .io_fault = TR_IO_ERROR, .io_error = EIO });
        whole_expect(&t, TRESS_E_IO, "the run is saved as it was after step 7");
        t = whole_resume(&a, NULL);
        whole_expect(&t, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
        n_step++;
    }
    assert_int_equal(n_step, 2);
    print_message("%d rounds over %" PRId64 " file operations: %d runs failed, %d of them saved what they had\n", n_round, full.n_io, n_failed, n_kept);
    assert_true(n_failed >= n_round / 4 && n_kept > 0);
    whole_left_fini(&want);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */
static void any_allocation_fails(void **state)
{
    (void)state;
    const int n_round = whole_rounds(36);
    int n_oom = 0;
    for (int rich = 0; rich < 2; rich++) {
        tress_train_args a = rich ? whole_rich_args() : whole_args();
        a.steps = 4;
        a.save_every = 1;
        a.validate_every = 2;
        a.sample_every = 2;
        whole_fresh(&a, NULL);
        const whole_told full = whole_fresh(&a, NULL);
        whole_left want = whole_look(a.steps);
        for (int i = 0; i < n_round; i++) {
            whole_sh("rm -rf run");
            whole_told t = whole_train(&a, &(whole_how){ .memory_at = spread(full.n_alloc, i, n_round, 3) });
            assert_true(t.ended);
            if (t.status != TRESS_OK) whole_expect(&t, TRESS_E_OOM, "out of memory");
            n_oom += t.status != TRESS_OK;
            assert_true(whole_newest() >= t.step - 1 || t.step <= 1);
            if (i % 8) continue;
            t = whole_resume(&a, NULL);
            whole_expect(&t, TRESS_OK, NULL);
            whole_left got = whole_look(a.steps);
            whole_same(&got, &want);
            whole_left_fini(&got);
        }
        whole_left_fini(&want);
    }
    print_message("%d runs, %d ended for want of memory\n", 2 * n_round, n_oom);
    assert_true(n_oom > 2 * n_round - 10);
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */
/* The model with one tensor of the transformer multiplied. */
static void spoil(const char *folder, const char *name, float factor)
{
    tr_safetensors *f = NULL;
    char from[512];
    whole_sh("rm -rf %s && cp -r model %s", folder, folder);
    snprintf(from, sizeof from, "%s/transformer/diffusion_pytorch_model.safetensors", whole("model"));
    ok(tr_safetensors_open(&f, from));
    const int n = tr_safetensors_count(f);
    tr_named *list = calloc((size_t)n, sizeof *list);
    float *own = NULL;
    for (int i = 0; i < n; i++) {
        list[i] = (tr_named){ tr_safetensors_name(f, i), tr_safetensors_at(f, i) };
        if (strcmp(list[i].name, name) != 0) continue;
        const int64_t count = tr_count(list[i].t);
        own = malloc((size_t)count * sizeof *own);
        memcpy(own, list[i].t.data, (size_t)count * sizeof *own);
        for (int64_t j = 0; j < count; j++) own[j] *= factor;
        list[i].t.data = own;
    }
    assert_non_null(own);
    snprintf(from, sizeof from, "%s/transformer/diffusion_pytorch_model.safetensors", whole(folder));
    ok(tr_safetensors_write(from, list, n, NULL));
    tr_safetensors_close(f);
    free(list);
    free(own);
}

/* No tensor of any file holds NaN or infinity, and the log is JSON. */
static void all_finite(void)
{
    char **list = NULL, path[700];
    int n = 0;
    ok(tr_dir_list(&list, &n, whole("run/checkpoints")));
    for (int i = -1; i < n; i++) {
        tr_safetensors *f = NULL;
        snprintf(path, sizeof path, "%s/%s", whole(i < 0 ? "run" : "run/checkpoints"), i < 0 ? "lora.safetensors" : list[i]);
        ok(tr_safetensors_open(&f, path));
        for (int k = 0; k < tr_safetensors_count(f); k++) {
            const tr_tensor t = tr_safetensors_at(f, k);
            if (t.dtype != TR_F32) continue;
            for (int64_t j = 0; j < tr_count(t); j++) {
                float v;
                memcpy(&v, (const char *)t.data + 4 * j, 4);
                assert_true(isfinite(v));
            }
        }
        tr_safetensors_close(f);
    }
    tr_names_free(list, n);
    char *text = whole_metrics();
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    free(text);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *s = text; (s = strstr(s, part)); s++) n++;
    return n;
}

static void a_loss_that_is_none(void **state)
{
    (void)state;
    tress_train_args a = whole_args();
    a.steps = 40;
    a.sample_every = 2;
    spoil("huge", "transformer_blocks.1.attn.to_v.weight", 3e38f);
    whole_sh("rm -rf run");
    whole_told t = whole_train(&a, &(whole_how){ .model = whole("huge") });
    whole_expect(&t, TRESS_E_NONFINITE, "20 steps in a row gave NaN or infinity");
    assert_non_null(strstr(t.message, "step 20, picture p"));
    assert_non_null(strstr(t.message, "the run is saved as it was after step 19"));
    assert_int_equal(whole_newest(), 19);
    char *text = whole_metrics();
    assert_int_equal(count(text, "\"loss\": null"), 19);
    assert_non_null(strstr(text, "\"skipped\": 19"));
    free(text);
    assert_int_equal(count(t.notes, "is skipped: the loss of p"), 20);
    all_finite();
    t = whole_resume(&a, &(whole_how){ .model = whole("huge") });
    whole_expect(&t, TRESS_E_NONFINITE, "step 20, picture p");
    whole_sh("rm -rf huge");
}

/* Sixteen bits: gradients overflow, the scale falls until they do not. */
static void a_scale_that_falls(void **state)
{
    (void)state;
    tress_train_args a = whole_args();
    a.steps = 12;
    a.mixed_precision = TRESS_PRECISION_FP16;
    spoil("large", "proj_out.weight", 30);
    whole_sh("rm -rf run");
    whole_told t = whole_train(&a, &(whole_how){ .model = whole("large") });
    whole_expect(&t, TRESS_OK, NULL);
    const int n = count(t.notes, "is skipped: the gradient of block ");
    print_message("%d steps skipped until the scale fits\n", n);
    assert_in_range(n, 1, 10);
    whole_left want = whole_look(a.steps), got;
    char skipped[32];
    snprintf(skipped, sizeof skipped, "\"skipped\": %d", n);
    assert_non_null(strstr(want.metrics, skipped));
    assert_int_equal(count(want.metrics, "\"loss\": null"), 0);
    all_finite();
    for (int k = 0; k < 3; k++) {                               /* the scale is part of what goes on */
        whole_sh("rm -rf run");
        t = whole_train(&a, &(whole_how){ .model = whole("large"), .cancel_at = 60 + 15 * k });
        whole_expect(&t, TRESS_E_SAVED, NULL);
        t = whole_resume(&a, &(whole_how){ .model = whole("large") });
        whole_expect(&t, TRESS_OK, NULL);
        got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    whole_left_fini(&want);
    spoil("large", "proj_out.weight", 1e12f);
    whole_sh("rm -rf run");
    a.steps = 40;
    t = whole_train(&a, &(whole_how){ .model = whole("large") });
    whole_expect(&t, TRESS_E_NONFINITE, ", block ");
    whole_expect(&t, TRESS_E_NONFINITE, "even with a loss scale of 1");
    all_finite();
    whole_sh("rm -rf large");
}

/* A NaN in a file of latents is found, and the file is made anew; one in the weights is refused. */
static void numbers_in_files(void **state)
{
    (void)state;
    const tress_train_args a = whole_args();
    whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    char **list = NULL;
    int n = 0;
    ok(tr_dir_list(&list, &n, a.latent_cache));
    for (int i = 0; i < n; i++) whole_sh("printf '\\377\\377\\377\\177' | dd of=latents/%s bs=1 seek=%d conv=notrunc status=none", list[i], 4096);
    tr_names_free(list, n);
    const whole_told t = whole_fresh(&a, NULL);
    assert_non_null(strstr(t.notes, "kept latents are no good and are made anew"));
    whole_left got = whole_look(a.steps);
    whole_same(&got, &want);
    whole_left_fini(&got);
    whole_left_fini(&want);
    spoil("nan", "proj_out.weight", INFINITY);
    whole_sh("rm -rf run");
    const whole_told u = whole_train(&a, &(whole_how){ .model = whole("nan") });
    whole_expect(&u, TRESS_E_FORMAT, "proj_out.weight");
    assert_false(tr_dir_exists(a.run));
    whole_sh("rm -rf nan");
}

/* An argument: only tests of that name, with * for anything. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_disk_is_waited_for), cmocka_unit_test(any_file_operation_fails), cmocka_unit_test(any_allocation_fails),
        cmocka_unit_test(a_loss_that_is_none), cmocka_unit_test(a_scale_that_falls), cmocka_unit_test(numbers_in_files),
    };
    return cmocka_run_group_tests(tests, whole_enter, whole_leave);
}
