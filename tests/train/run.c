/* Whole runs: whatever happens to one (kills, interruptions, other threads, another split of memory) it comes to the same bytes, and what
 * would make it another run is refused by name. */
#include "train/whole.h"

/* In 0..1, and more often small: what goes on has less before it. */
static double early(uint64_t round, uint64_t i)
{
    const double u = (double)tr_philox_uniform(round, 77, i);
    return i == 0 ? u : u * u;
}

/* ---- killed ------------------------------------------------------------------------------------------------ */
/* Killed at a moment, then, resumed, at another, until it is done: `how` makes the nth death of a round. */
static int until_done(const tress_train_args *a, whole_how (*how)(uint64_t round, uint64_t n, const whole_told *full), uint64_t round, const whole_told *full)
{
    int n_kill = 0;
    whole_sh("rm -rf run");
    for (uint64_t n = 0; n < 60; n++) {
        const int64_t before = whole_newest();
        const whole_how h = n < 6 ? how(round, n, full) : (whole_how){ 0 };      /* then it is let live */
        const whole_told t = whole_resume(a, &h);
        const int64_t now = whole_newest();
        if (now < before) fail_msg("the newest checkpoint was of step %" PRId64 ", now it is of %" PRId64, before, now);
        if (t.ended) {
            whole_expect(&t, TRESS_OK, NULL);
            return n_kill;
        }
        n_kill++;
    }
    fail_msg("never done");
    return 0;
}

static whole_how at_a_moment(uint64_t round, uint64_t n, const whole_told *full)
{
    return (whole_how){ .kill_after = full->seconds * early(round, n) };
}

static whole_how at_a_file(uint64_t round, uint64_t n, const whole_told *full)
{
    return (whole_how){ .die_at = 1 + (int64_t)((double)full->n_io * early(round, n)) };
}

static void hold_killed(const tress_train_args *a, int n_round, bool own_latents)
{
    int n_kill = 0;
    tress_train_args b = *a;
    if (own_latents) b.latent_cache = NULL;                     /* then the encoding is killed, too */
    if (!own_latents) whole_fresh(&b, NULL);                    /* encodes */
    const whole_told full = whole_fresh(&b, NULL);
    whole_left want = whole_look(b.steps);
    for (int round = 0; round < n_round; round++) {
        n_kill += until_done(&b, round % 2 ? at_a_moment : at_a_file, (uint64_t)round, &full);
        whole_left got = whole_look(b.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
        if (b.sample_every) whole_sh("test -f run/samples/step-000006.png && test -f run/samples/step-000012.png && test $(ls run/samples | wc -l) = 2");
    }
    print_message("a run of %.2f s and %" PRId64 " file operations: %d kills in %d rounds, always the same bytes\n", full.seconds, full.n_io, n_kill, n_round);
    assert_true(n_kill >= n_round / 2);
    whole_left_fini(&want);
}

static void killed(void **state)
{
    (void)state;
    tress_train_args a = whole_args();
    a.sample_every = 6;
    hold_killed(&a, whole_rounds(4), true);
}

static void killed_with_everything(void **state)
{
    (void)state;
    tress_train_args a = whole_rich_args();
    hold_killed(&a, whole_rounds(4), false);
    a.augment_variants = 0;
    a.steps = 4;
    a.save_every = 1;
    hold_killed(&a, whole_rounds(2), false);
}

/* ---- the same bytes ------------------------------------------------------------------------------------------ */
static void in_two_parts(void **state)
{
    (void)state;
    for (int rich = 0; rich < 2; rich++) {
        tress_train_args a = rich ? whole_rich_args() : whole_args(), half;
        a.lr_schedule = TRESS_LR_CONSTANT;                      /* the others look at the end */
        whole_fresh(&a, NULL);
        whole_left want = whole_look(a.steps);
        half = a;
        half.steps = a.steps / 2;
        whole_fresh(&half, NULL);
        const whole_told t = whole_resume(&a, NULL);
        whole_expect(&t, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same_state(&got, &want);
        assert_int_equal(got.n_last, want.n_last);
        assert_memory_equal(got.last, want.last, want.n_last);
        whole_left_fini(&got);
        whole_left_fini(&want);
    }
}

static void any_number_of_threads(void **state)
{
    (void)state;
    static const int threads[] = { 2, 8 };
    const tress_train_args a = whole_rich_args();
    whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    for (int i = 0; i < 2; i++) {
        whole_fresh(&a, &(whole_how){ .n_thread = threads[i] });
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    whole_left_fini(&want);
}

/* Also changed in the middle: memory may be short another day. */
static void any_checkpointing(void **state)
{
    (void)state;
    static const tress_checkpointing level[] = { TRESS_CHECKPOINTING_ON, TRESS_CHECKPOINTING_ATTENTION };
    tress_train_args a = whole_rich_args();
    a.gradient_checkpointing = TRESS_CHECKPOINTING_OFF;
    whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    for (int i = 0; i < 3; i++) {
        if (i < 2) {
            a.gradient_checkpointing = level[i];
            whole_fresh(&a, NULL);
        } else {
            whole_sh("rm -rf run");
            for (int k = 0; k < 3; k++) {
                a.gradient_checkpointing = k == 0 ? TRESS_CHECKPOINTING_OFF : level[k - 1];
                const whole_told t = whole_resume(&a, &(whole_how){ .cancel_at = k < 2 ? 60 : 0 });
                if (k < 2) whole_expect(&t, TRESS_E_SAVED, "interrupted after step");
                else whole_expect(&t, TRESS_OK, NULL);
            }
        }
        whole_left got = whole_look(a.steps);
        whole_same_state(&got, &want);
        whole_same_metrics(&got, &want);
        whole_left_fini(&got);
    }
    whole_left_fini(&want);
}

/* ---- interrupted ----------------------------------------------------------------------------------------------- */
static void interrupted(void **state)
{
    (void)state;
    const tress_train_args a = whole_rich_args();
    int n_saved = 0, n_before = 0;
    whole_fresh(&a, NULL);                                      /* encodes */
    const whole_told full = whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    for (uint64_t round = 0; round < (uint64_t)whole_rounds(9); round++) {
        whole_sh("rm -rf run");
        whole_told t = { 0 };
        for (uint64_t n = 0; n < 40; n++) {
            const int64_t at = round % 4 == 0 ? 1 + (int64_t)(4 * round + n) : 1 + (int64_t)(early(round + 100, n) * (double)full.n_poll);
            const int64_t begun = whole_newest();
            t = whole_resume(&a, &(whole_how){ .cancel_at = n < 4 ? at : 0 });
            if (t.status == TRESS_OK) break;
            if (t.status == TRESS_E_SAVED) {
                n_saved++;
                assert_true(t.step >= 1 || begun > 0);
                assert_int_equal(whole_newest(), t.step > begun ? t.step : begun);       /* nothing that was learnt is lost */
                assert_non_null(strstr(t.message, "saved, go on with --resume latest"));
            } else {
                n_before++;
                whole_expect(&t, TRESS_E_CANCELLED, NULL);
                assert_int_equal(t.step, 0);
            }
        }
        whole_expect(&t, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
    }
    for (int64_t at = full.poll_at[4] + 1; at <= full.poll_at[5]; at += 2) {     /* every other of a validation and a step */
        whole_sh("rm -rf run");
        whole_told t = whole_train(&a, &(whole_how){ .cancel_at = at });
        whole_expect(&t, TRESS_E_SAVED, "interrupted after step 4 of 12");
        t = whole_resume(&a, NULL);
        whole_expect(&t, TRESS_OK, NULL);
        whole_left got = whole_look(a.steps);
        whole_same(&got, &want);
        whole_left_fini(&got);
        n_saved++;
    }
    print_message("%" PRId64 " polls; interrupted %d times with something to save, %d times before\n", full.n_poll, n_saved, n_before);
    assert_true(n_saved >= 6 && n_before >= 3);
    whole_left_fini(&want);
}

/* ---- refused and allowed ------------------------------------------------------------------------------------------ */
static void refused(void **state)
{
    (void)state;
    const tress_train_args a = whole_args();
    static const int block[] = { 1 };
    whole_fresh(&a, NULL);
    whole_left want = whole_look(a.steps);
    char *config = NULL, *now = NULL;
    size_t n = 0, n_now = 0;
    ok(tr_file_read(&config, &n, whole("run/config.json"), 1 << 20));
    for (int i = 0; i < 41; i++) {
        tress_train_args b = a;
        const char *part = NULL;
        b.steps = 20;
        switch (i) {
        case 0: b.rank = 5, part = "rank 4, now it is 5"; break;
        case 1: b.alpha = 5, part = "alpha 4, now it is 5"; break;
        case 2: b.seed = 12, part = "seed 11, now it is 12"; break;
        case 3: b.learning_rate = 1.0000001e-3, part = "learning-rate 0.001, now it is 0.0010000001"; break;
        case 4: b.targets = "to_q", part = "targets"; break;
        case 5: b.block = block, b.n_block = 1, part = "blocks all, now it is 1"; break;
        case 6: b.lora_dropout = 0.5f, part = "lora-dropout"; break;
        case 7: b.sketch_dropout = 0.5f, part = "sketch-dropout"; break;
        case 8: b.batch = 2, part = "batch"; break;
        case 9: b.gradient_accumulation = 2, part = "gradient-accumulation"; break;
        case 10: b.warmup_steps = 1, part = "warmup-steps"; break;
        case 11: b.beta1 = 0.8, part = "beta1"; break;
        case 12: b.beta2 = 0.8, part = "beta2"; break;
        case 13: b.epsilon = 1e-7, part = "epsilon"; break;
        case 14: b.weight_decay = 0, part = "weight-decay"; break;
        case 15: b.max_grad_norm = 0, part = "max-grad-norm"; break;
        case 16: b.ema = 0.5, part = "ema"; break;
        case 17: b.logit_mean = 1, part = "logit-mean"; break;
        case 18: b.logit_std = 2, part = "logit-std"; break;
        case 19: b.mode_scale = 1, part = "mode-scale"; break;
        case 20: b.training_shift = 3, part = "training-shift"; break;
        case 21: b.unmasked_weight = 0.1f, part = "unmasked-weight"; break;
        case 22: b.zero_text_rows = 154, part = "zero-text-rows"; break;
        case 23: b.lr_schedule = TRESS_LR_LINEAR, part = "lr-schedule constant, now it is linear"; break;
        case 24: b.timestep_sampling = TRESS_TIMESTEP_UNIFORM, part = "timestep-sampling logit-normal"; break;
        case 25: b.optimizer = TRESS_OPTIMIZER_ADAMW8BIT, part = "optimizer adamw, now it is adamw8bit"; break;
        case 26: b.mixed_precision = TRESS_PRECISION_BF16, part = "mixed-precision no, now it is bf16"; break;
        case 27: b.mask_normalize = TRESS_MASK_NONE, part = "mask-normalize"; break;
        case 28: b.control_last = TRESS_LAST_DIFFUSERS, part = "control-last-block"; break;
        case 29: b.resolution = 80, part = "resolution 64, now it is 80"; break;
        case 30: b.fit = TRESS_FIT_LETTERBOX, part = "fit crop"; break;
        case 31: b.augment_flip = true, part = "augment-flip"; break;
        case 32: b.augment_rotate = 3, part = "augment-rotate"; break;
        case 33: b.augment_variants = 0, part = "augment-variants"; break;
        case 34: b.mask_grow = 20, part = "mask-grow"; break;
        case 35: b.mask_blur = 20, part = "mask-blur"; break;
        case 36: b.validation_split = 0.4, part = "validation-split"; break;
        case 37: b.control_image = TRESS_CONTROL_RAW, part = "control-image lines"; break;
        case 38: b.control_range = TRESS_RANGE_SIGNED, part = "control-range vendor"; break;
        case 39: b.buckets = false, part = "buckets"; break;
        case 40: b.augment_translate = 0.1, part = "augment-translate"; break;
        }
        const whole_told t = whole_resume(&b, NULL);
        whole_expect(&t, TRESS_E_FORMAT, part);
        whole_expect(&t, TRESS_E_FORMAT, "a run goes on only as it began");
    }
    /* other weights, each module by itself */
    whole_model("other", 4);
    whole_sh("cp -r model mixed && rm -r mixed/transformer && cp -r other/transformer mixed/");
    whole_told t = whole_resume(&a, &(whole_how){ .model = whole("mixed") });
    whole_expect(&t, TRESS_E_FORMAT, "with base model ");
    whole_sh("rm -r mixed/transformer mixed/controlnet && cp -r model/transformer other/controlnet mixed/");
    t = whole_resume(&a, &(whole_how){ .model = whole("mixed") });
    whole_expect(&t, TRESS_E_FORMAT, "with ControlNet ");
    whole_sh("rm -r mixed other");
    /* other pictures: one pixel, a name, one more */
    tr_image *img = NULL;
    whole_sh("cp -r data keep");
    ok(tr_image_read(&img, whole("data/img/p04.png")));
    ((uint8_t *)img->data)[100] ^= 1;
    put_image(img, whole("data/img/p04.png"));
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_E_FORMAT, "was written with data ");
    whole_sh("rm -rf data && cp -r keep data && for i in img matte sketch; do mv data/$i/p07.png data/$i/q07.png; done");
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_E_FORMAT, "was written with data ");
    whole_sh("rm -rf data && cp -r keep data");
    put_item("p12", 64, 64, 3);
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_E_FORMAT, "was written with data ");
    whole_sh("rm -rf data && mv keep data");

    /* nothing of it has left a trace */
    ok(tr_file_read(&now, &n_now, whole("run/config.json"), 1 << 20));
    assert_int_equal(n, n_now);
    assert_memory_equal(config, now, n);
    whole_left got = whole_look(a.steps);
    whole_same(&got, &want);
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_OK, NULL);
    assert_non_null(strstr(t.notes, "all 12 steps are done already"));
    tr_free(config);
    tr_free(now);
    whole_left_fini(&got);
    whole_left_fini(&want);
}

static void allowed(void **state)
{
    (void)state;
    tress_train_args a = whole_args(), b;
    a.steps = 20;
    whole_fresh(&a, NULL);
    whole_left want = whole_look(20);
    for (int i = 0; i < 2; i++) {
        b = a;
        b.steps = 7;
        whole_fresh(&b, NULL);
        b.steps = 20;
        if (i == 0) {                                           /* a run moved elsewhere, with all else that may change */
            b.save_every = 4;
            b.validate_every = 6;
            b.sample_every = 10;
            b.keep_checkpoints = 1;
            b.max_vram = INT64_C(1) << 40;
            b.gradient_checkpointing = TRESS_CHECKPOINTING_ON;
            b.latent_cache = NULL;
            whole_sh("mv data elsewhere");
            b.data = whole("elsewhere");
        } else {                                                /* from a file that is not the newest: what is newer goes */
            b.resume = whole("run/checkpoints/step-000000003.safetensors");
        }
        const whole_told t = i == 0 ? whole_resume(&b, &(whole_how){ .n_thread = 3 }) : whole_train(&b, &(whole_how){ .cancel_at = 40 });
        whole_expect(&t, i == 0 ? TRESS_OK : TRESS_E_SAVED, NULL);
        if (i == 1) {
            assert_non_null(strstr(t.notes, "2 newer checkpoints are removed"));
            assert_in_range(t.step, 4, 19);
            assert_int_equal(whole_newest(), t.step);
            const whole_told u = whole_resume(&b, NULL);
            whole_expect(&u, TRESS_OK, NULL);
        } else {
            whole_sh("mv elsewhere data; test $(ls run/checkpoints | wc -l) = 1; test -f run/samples/step-000010.png; test -f run/samples/step-000020.png");
        }
        whole_left got = whole_look(20);
        whole_same_state(&got, &want);
        if (i == 1) whole_same_metrics(&got, &want);
        whole_left_fini(&got);
    }
    whole_left_fini(&want);
}

/* ---- one run to a folder, one process to a run ---------------------------------------------------------------------- */
static void folder(void **state)
{
    (void)state;
    tress_train_args a = whole_args();
    tr_lock *l = NULL;
    whole_fresh(&a, NULL);
    whole_told t = whole_train(&a, NULL);
    whole_expect(&t, TRESS_E_ARG, "a new run needs an empty folder");
    ok(tr_lock_open(&l, a.run));                                /* another process, to a child */
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_E_IO, "another process is training in this folder");
    t = whole_train(&a, NULL);
    whole_expect(&t, TRESS_E_IO, "another process is training in this folder");
    tr_lock_close(l);
    t = whole_resume(&a, NULL);
    whole_expect(&t, TRESS_OK, NULL);
    whole_sh("rm -rf run && touch file");
    a.resume = "none.safetensors";
    t = whole_train(&a, NULL);
    whole_expect(&t, TRESS_E_IO, "none.safetensors");
    a.resume = NULL;
    a.run = whole("file");
    t = whole_train(&a, NULL);
    whole_expect(&t, TRESS_E_IO, "file");
    a = whole_args();                                           /* interrupted among the pictures: what to go on with is there already */
    a.latent_cache = NULL;
    whole_sh("rm -rf run");
    for (int64_t at = 10; !tr_dir_exists(whole("run/latents")); at += 10) {
        t = whole_resume(&a, &(whole_how){ .cancel_at = at });
        whole_expect(&t, TRESS_E_CANCELLED, NULL);
    }
    assert_true(tr_file_exists(whole("run/config.json")) && !tr_file_exists(whole("run/metrics.jsonl")));
    a = whole_args();
    a.max_vram = 100000;
    whole_sh("rm -rf run");
    t = whole_train(&a, NULL);
    whole_expect(&t, TRESS_E_OOM, "--max-vram leaves 0.00");
    assert_false(tr_dir_exists(a.run));                         /* told before anything is made */
}

/* ---- memory ------------------------------------------------------------------------------------------------------------- */
static void a_step_allocates_nothing(void **state)
{
    (void)state;
    for (int rich = 0; rich < 2; rich++) {
        tress_train_args a = rich ? whole_rich_args() : whole_args();
        a.steps = 60;
        a.save_every = a.sample_every = 0;
        a.validate_every = 0;
        const whole_told t = whole_fresh(&a, NULL);
        for (int i = 4; i < 60; i++)
            if (t.alloc_at[i] != t.alloc_at[3]) fail_msg("step %d allocated %" PRId64 " times", i, t.alloc_at[i] - t.alloc_at[i - 1]);
    }
}

/* An argument: only tests of that name, with * for anything. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed), cmocka_unit_test(killed_with_everything), cmocka_unit_test(in_two_parts), cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(any_checkpointing), cmocka_unit_test(interrupted), cmocka_unit_test(refused), cmocka_unit_test(allowed), cmocka_unit_test(folder),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, whole_enter, whole_leave);
}
