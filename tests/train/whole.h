/* whole.h - whole runs of training through tress.h on a tiny model and a dozen tiny pictures, each in a process of its own, so that it
 * may be killed, and what such a run leaves behind. Folder: whole_dir, with model/, data/, run/ and latents/, which runs share. */
#ifndef TRESS_TESTS_TRAIN_WHOLE_H
#define TRESS_TESTS_TRAIN_WHOLE_H

#include "api/api_int.h"
#include "data/draw.h"
#include "train/train.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static char whole_dir[48];

/* whole_dir/NAME, in one of a few buffers that take turns */
static inline const char *whole(const char *name)
{
    static char buf[8][512];
    static int turn;
    char *out = buf[turn++ & 7];
    snprintf(out, sizeof buf[0], "%s/%s", whole_dir, name);
    return out;
}

static inline void whole_sh(const char *format, ...) TR_PRINTF(1, 2);
static inline void whole_sh(const char *format, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, format);
    const int at = snprintf(cmd, sizeof cmd, "cd '%s' && ", whole_dir);
    vsnprintf(cmd + at, sizeof cmd - (size_t)at, format, ap);
    va_end(ap);
    if (system(cmd) != 0) fail_msg("%s", cmd);
}

/* From the folder the test runs in, as that program may know its own files from there. */
static inline void whole_model(const char *name, int seed)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, "'" TRESS_BINARY_DIR "/make_model' --preset tiny --dtype f32 --seed %d '%s' >/dev/null", seed, whole(name));
    if (system(cmd) != 0) fail_msg("%s", cmd);
}

static inline int whole_enter(void **state)
{
    (void)state;
    strcpy(whole_dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-train-XXXXXX" : "/tmp/tress-train-XXXXXX");
    if (!mkdtemp(whole_dir)) return -1;
    snprintf(draw_dir, sizeof draw_dir, "%s/data", whole_dir);
    whole_sh("mkdir data");
    whole_model("model", 3);
    make_folders();
    for (int i = 0; i < 12; i++) {                              /* two shapes */
        char name[8];
        snprintf(name, sizeof name, "p%02d", i);
        put_item(name, i % 3 ? 64 : 112, 64, 20 * i);
    }
    return 0;
}

static inline int whole_leave(void **state)
{
    char cmd[256];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", whole_dir);
    return system(cmd);
}

/* TRESS_ROUNDS times as many: make torture. */
static inline int whole_rounds(int n)
{
    const char *times = getenv("TRESS_ROUNDS");
    return times && atoi(times) > 0 ? n * atoi(times) : n;
}

/* A run of a dozen steps of one picture. */
static inline tress_train_args whole_args(void)
{
    static char data[160], run[160], latents[160];
    tress_train_args a;
    snprintf(data, sizeof data, "%s/data", whole_dir);
    snprintf(run, sizeof run, "%s/run", whole_dir);
    snprintf(latents, sizeof latents, "%s/latents", whole_dir);
    tress_train_defaults(&a);
    a.data = data;
    a.run = run;
    a.latent_cache = latents;
    a.rank = 4;
    a.alpha = 4;
    a.resolution = 64;
    a.learning_rate = 1e-3;
    a.steps = 12;
    a.save_every = 3;
    a.validate_every = 4;
    a.sample_every = 0;
    a.sample_count = 1;
    a.sample_steps = 1;
    a.seed = 11;
    return a;
}

/* As much at once as there is: everything that has a state or draws by chance. */
static inline tress_train_args whole_rich_args(void)
{
    tress_train_args a = whole_args();
    a.batch = 2;
    a.gradient_accumulation = 2;
    a.sketch_dropout = 0.3f;
    a.lora_dropout = 0.1f;
    a.ema = 0.9;
    a.optimizer = TRESS_OPTIMIZER_ADAMW8BIT;
    a.lr_schedule = TRESS_LR_COSINE;
    a.warmup_steps = 3;
    a.augment_flip = true;
    a.augment_rotate = 10;
    a.augment_scale = 0.1;
    a.augment_variants = 2;
    return a;
}

/* ---- a run ----------------------------------------------------------------------------------------------- */
typedef struct whole_how {                      /* what is done to it */
    int         n_thread;                       /* 0: 1 */
    const char *model;                          /* NULL: "model" */
    int64_t     die_at;                         /* at this file operation */
    double      kill_after;                     /* seconds */
    int64_t     cancel_at;                      /* from this poll on */
    int64_t     memory_at;                      /* from this allocation on */
    int64_t     io_at;                          /* at this file operation: */
    tr_io_fault io_fault;
    int         io_error;
    int         n_wait;                         /* a full disk gets room after so many notes of waiting; then it goes on */
    bool        cancel_waiting;                 /* or the run is cancelled then */
} whole_how;

typedef struct whole_told {                     /* what it told; in memory that the processes share */
    bool         ended;                         /* by itself */
    int          exit_code;                     /* of its process, 0 unless a sanitizer objects; -signal */
    tress_status status;
    char         message[2048], notes[8192];
    int64_t      n_poll, n_io, n_alloc, bytes_left, step;      /* step: the last that was told */
    int64_t      alloc_at[64], io_at[64], poll_at[64];   /* allocations, file operations and polls so far when step i was told */
    double       seconds;
    int          n_waited;
    whole_how    how;
} whole_told;

static inline void whole_on_progress(void *self, const tress_progress *p)
{
    whole_told *t = self;
    if (strcmp(p->stage, "train") != 0) return;
    t->step = p->i;
    if (p->i >= 64) return;
    t->alloc_at[p->i] = tr_mem_now().n_alloc;
    t->io_at[p->i] = tr_io_count() - t->n_io;
    t->poll_at[p->i] = t->n_poll;
}

static inline void whole_on_note(void *self, const char *text)
{
    whole_told *t = self;
    const size_t at = strlen(t->notes);
    snprintf(t->notes + at, sizeof t->notes - at, "%s\n", text);
    if (!strstr(text, "the run waits")) return;
    if (++t->n_waited >= t->how.n_wait && !t->how.cancel_waiting) tr_io_fail_at(0, TR_IO_ERROR, 0);
}

static inline bool whole_on_cancelled(void *self)
{
    whole_told *t = self;
    t->n_poll++;
    if (t->how.cancel_waiting) return t->n_waited >= t->how.n_wait;
    return t->how.cancel_at > 0 && t->n_poll >= t->how.cancel_at;
}

static inline void whole_die(void) { kill(getpid(), SIGKILL); }

static inline double whole_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The child's part. */
static inline void whole_live(whole_told *t, const tress_train_args *a)
{
    const whole_how *h = &t->how;
    tress *handle = NULL;
    const tress_options o = { .backend = TRESS_BACKEND_CPU, .n_thread = h->n_thread ? h->n_thread : 1,
                              .hooks = { t, whole_on_progress, whole_on_note, NULL, whole_on_cancelled } };
    const tress_model_args m = { .model = h->model ? h->model : whole("model") };
    const int64_t n_io = tr_io_count(), n_alloc = tr_mem_now().n_alloc, bytes = tr_mem_now().bytes;
    t->n_io = n_io;                                             /* for io_at meanwhile */
    if (h->die_at) tr_io_die_at(h->die_at, whole_die);
    if (h->io_at) tr_io_fail_at(h->io_at, h->io_fault, h->io_error);
    if (h->memory_at) tr_mem_fail_at(h->memory_at);
    t->status = tress_new(&handle, &o);
    if (t->status == TRESS_OK) t->status = tress_train(handle, &m, a);
    snprintf(t->message, sizeof t->message, "%s", tress_last_error());
    tress_free(handle);
    t->n_io = tr_io_count() - n_io;
    t->n_alloc = tr_mem_now().n_alloc - n_alloc;
    t->bytes_left = tr_mem_now().bytes - bytes;
    t->ended = true;
}

static whole_told *whole_room;

static inline whole_told whole_train(const tress_train_args *a, const whole_how *how)
{
    int status = 0;
    if (!whole_room) whole_room = mmap(NULL, sizeof *whole_room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (whole_room == MAP_FAILED) fail_msg("no shared memory");
    *whole_room = (whole_told){ 0 };
    if (how) whole_room->how = *how;
    fflush(NULL);
    const double begin = whole_now();
    const pid_t pid = fork();
    if (pid == 0) {
        static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
        for (int i = 0; i < 5; i++) signal(fatal[i], SIG_DFL);  /* cmocka would go on with the next test here */
        whole_live(whole_room, a);
        exit(0);                                                /* through atexit: a leak sanitizer looks */
    }
    if (how && how->kill_after > 0) {
        const double s = how->kill_after;
        nanosleep(&(struct timespec){ (time_t)s, (long)((s - (double)(time_t)s) * 1e9) }, NULL);
        kill(pid, SIGKILL);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) fail_msg("no process");
    whole_told t = *whole_room;
    t.seconds = whole_now() - begin;
    t.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    if (t.exit_code != 0 && t.exit_code != -SIGKILL) fail_msg("the process ended with %d after step %" PRId64 "; notes: %s", t.exit_code, t.step, t.notes);
    if (t.ended && t.bytes_left != 0) fail_msg("%" PRId64 " bytes are not freed; %s: %s", t.bytes_left, tress_status_name(t.status), t.message);
    return t;
}

static inline void whole_expect(const whole_told *t, tress_status st, const char *part)
{
    if (!t->ended || t->status != st || (part && !strstr(t->message, part)))
        fail_msg("%s after step %" PRId64 ": \"%s\", expected %s and \"%s\"; notes: %s", t->ended ? tress_status_name(t->status) : "killed", t->step, t->message,
                 tress_status_name(st), part ? part : "", t->notes);
}

/* A new run that ends well. */
static inline whole_told whole_fresh(const tress_train_args *a, const whole_how *how)
{
    whole_sh("rm -rf run");
    const whole_told t = whole_train(a, how);
    whole_expect(&t, TRESS_OK, NULL);
    return t;
}

static inline whole_told whole_resume(const tress_train_args *a, const whole_how *how)
{
    tress_train_args b = *a;
    b.resume = "latest";
    return whole_train(&b, how);
}

/* ---- what it left ------------------------------------------------------------------------------------------ */
typedef struct whole_left { char *lora, *last, *metrics; size_t n_lora, n_last; } whole_left;

static inline void whole_left_fini(whole_left *f)
{
    tr_free(f->lora);
    tr_free(f->last);
    free(f->metrics);
    *f = (whole_left){ 0 };
}

/* The log without what the clock has a part in. */
static inline char *whole_metrics(void)
{
    char *text = NULL;
    size_t n = 0;
    ok(tr_file_read(&text, &n, whole("run/metrics.jsonl"), 1 << 24));
    char *out = calloc(n + 1, 1), *to = out;
    for (char *s = text, *nl; (nl = strchr(s, '\n')); s = nl + 1) {
        *nl = 0;
        char *timed = strstr(s, ", \"images_per_second\"");
        if (timed) *timed = 0;
        to += sprintf(to, "%s\n", s);
    }
    tr_free(text);
    return out;
}

/* No temporary is left anywhere, and the files are those of a run of `steps`. */
static inline whole_left whole_look(int64_t steps)
{
    whole_left f = { 0 };
    char *path = NULL;
    if (system(NULL)) whole_sh("test -z \"$(find run latents -name '.tress-*' 2>/dev/null)\"");
    ok(tr_file_read(&f.lora, &f.n_lora, whole("run/lora.safetensors"), 1 << 26));
    ok(tr_checkpoint_path(&path, whole("run/checkpoints"), steps));
    ok(tr_file_read(&f.last, &f.n_last, path, 1 << 26));
    tr_free(path);
    f.metrics = whole_metrics();
    return f;
}

static inline void whole_same_state(const whole_left *a, const whole_left *b)
{
    assert_int_equal(a->n_lora, b->n_lora);
    if (memcmp(a->lora, b->lora, a->n_lora) != 0) fail_msg("lora.safetensors has other bytes");
}

static inline void whole_same_metrics(const whole_left *a, const whole_left *b)
{
    const char *s = a->metrics, *t = b->metrics;
    for (int line = 1; *s || *t; line++) {
        const size_t n = strcspn(s, "\n"), m = strcspn(t, "\n");
        if (n != m || memcmp(s, t, n) != 0) fail_msg("line %d of the log is\n%.*s\nexpected\n%.*s", line, (int)n, s, (int)m, t);
        s += n + (s[n] != 0);
        t += m + (t[m] != 0);
    }
}

static inline void whole_same(const whole_left *a, const whole_left *b)
{
    whole_same_state(a, b);
    assert_int_equal(a->n_last, b->n_last);
    if (memcmp(a->last, b->last, a->n_last) != 0) fail_msg("the last checkpoint has other bytes");
    whole_same_metrics(a, b);
}

/* The newest checkpoint loads, if there is one; which step it is of, or -1. */
static inline int64_t whole_newest(void)
{
    tr_checkpoint *c = NULL;
    int64_t step = -1;
    if (!tr_dir_exists(whole("run/checkpoints"))) return -1;
    ok(tr_checkpoint_latest(&c, whole("run/checkpoints"), NULL, NULL));
    if (c) step = tr_checkpoint_step(tr_checkpoint_file(c));
    tr_checkpoint_close(c);
    return step;
}

#endif
