#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool   quiet, terminal, shown, told;
    char   stage[32];
    int    percent;                                 /* of the last plain line */
    double at;                                      /* when the last bar or line was written */
} state;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool cli_is_quiet(void) { return state.quiet; }

void cli_progress_init(bool quiet)
{
    state.quiet = quiet;
    state.terminal = isatty(STDERR_FILENO) == 1;
}

void cli_progress_clear(void)
{
    if (state.shown) fputs("\r\033[K", stderr);
    state.shown = false;
}

/* "1:02:03", "4:05", "3 s" */
static const char *duration(char buf[32], double s)
{
    const long t = s < 0 ? 0 : s < 3.6e6 ? (long)(s + 0.5) : 3600000;
    if (t >= 3600) snprintf(buf, 32, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else if (t >= 60) snprintf(buf, 32, "%ld:%02ld", t / 60, t % 60);
    else snprintf(buf, 32, "%ld s", t);
    return buf;
}

static const char *bytes(char buf[32], double n)
{
    if (n >= 0x1p30) snprintf(buf, 32, "%.2f GiB", n / 0x1p30);
    else snprintf(buf, 32, "%.1f MiB", n / 0x1p20);
    return buf;
}

/* "12 of 28" or, where bytes are counted, "1.20 GiB of 5.00 GiB". */
static void amount(char *buf, size_t n, const tress_progress *p)
{
    char a[32], b[32];
    if (strcmp(p->stage, "download") == 0 || strcmp(p->stage, "convert") == 0) snprintf(buf, n, p->n > 0 ? "%s of %s" : "%s", bytes(a, (double)p->i), bytes(b, (double)p->n));
    else if (p->n > 0) snprintf(buf, n, "%lld of %lld", (long long)p->i, (long long)p->n);
    else snprintf(buf, n, "%lld", (long long)p->i);
}

/* An estimate from the first blink is noise. */
static bool has_left(const tress_progress *p) { return p->left >= 0 && p->i < p->n && p->seconds >= 1; }

/* stage [====    ] 12 of 28, text, 1:02 left. What does not fit goes in this order: the bar, then the text from its end; how far the work is
 * and what is left stay. Room is kept for the longest numbers, so that the bar does not dance. */
static void bar(const tress_progress *p)
{
    struct winsize w = { 0 };
    char done[80], most[80], left[48] = "", time[32], text[128] = "", line[512];
    const int columns = (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80) - 1;
    tress_progress last = *p;
    last.i = p->n;
    amount(done, sizeof done, p);
    amount(most, sizeof most, &last);
    if (has_left(p)) snprintf(left, sizeof left, ", %s left", duration(time, p->left));
    if (p->text) snprintf(text, sizeof text, ", %.120s", p->text);
    const int n_done = (int)strlen(strlen(most) > strlen(done) ? most : done), n_left = p->n > 0 ? 14 : 0;
    const int room = columns - 10 - n_done - n_left;
    while (*text && (int)strlen(text) > room) *strrchr(text, ',') = 0;
    int n_bar = (room - (int)strlen(text) - 3) / 5 * 5, n = snprintf(line, sizeof line, "%-9.9s ", p->stage);
    if (n_bar > 40) n_bar = 40;
    if (p->n > 0 && n_bar > 0) {
        const int full = (int)((double)n_bar * (double)p->i / (double)p->n);
        line[n++] = '[';
        for (int i = 0; i < n_bar; i++) line[n++] = i < full ? '=' : ' ';
        line[n++] = ']';
        line[n++] = ' ';
    }
    snprintf(line + n, sizeof line - (size_t)n, "%s%s%s", done, text, left);
    if ((int)strlen(line) > columns) line[columns] = 0;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    state.shown = true;
}

static void plain(const tress_progress *p)
{
    char done[80], left[32];
    const char *text = p->text ? p->text : "";
    amount(done, sizeof done, p);
    fprintf(stderr, "%s %s%s%.120s", p->stage, done, *text ? ", " : "", text);
    if (has_left(p)) fprintf(stderr, ", %s left\n", duration(left, p->left));
    else if (p->n > 0 && p->i >= p->n) fprintf(stderr, ", %s\n", duration(left, p->seconds));
    else fputc('\n', stderr);
}

/* A bar is redrawn at most ten times a second. A plain line comes at each tenth of a stage, at most every two seconds, and at least every
 * minute if there is news; beginnings and ends always. */
static void on_progress(void *self, const tress_progress *p)
{
    (void)self;
    if (state.quiet) return;
    const bool fresh = strncmp(state.stage, p->stage, sizeof state.stage - 1) != 0, ended = p->n > 0 && p->i >= p->n;
    const int percent = p->n > 0 ? (int)(100.0 * (double)p->i / (double)p->n) : 0;
    const double t = now();
    if (fresh) {
        if (state.shown) fputc('\n', stderr);
        state.shown = false;
        snprintf(state.stage, sizeof state.stage, "%s", p->stage);
        state.percent = -1;
        state.at = 0;
    }
    if (state.terminal) {
        if (!fresh && !ended && t - state.at < 0.1) return;
        bar(p);
        if (ended) {
            fputc('\n', stderr);
            state.shown = false;
            state.stage[0] = 0;
        }
    } else {
        if (!fresh && !ended && t - state.at < 60 && (percent / 10 == state.percent / 10 || t - state.at < 2)) return;
        if (ended && state.percent == 100) return;
        plain(p);
        state.percent = percent;
    }
    state.at = t;
}

static void on_note(void *self, const char *text)
{
    (void)self;
    if (!state.quiet) cli_line("note: ", text);
}

/* ---- signals ------------------------------------------------------------------------------------------------ */
static volatile sig_atomic_t n_signal;

static void on_signal(int sig)
{
    (void)sig;
    if (n_signal++ > 0) _exit(130);                 /* asked twice: at once */
}

/* The work ends at the next block and may have something to save first: a person who waits should know. */
static bool on_cancelled(void *self)
{
    (void)self;
    if (n_signal > 0 && !state.told && !state.quiet) cli_line("note: ", "interrupted: stopping in order; once more stops at once");
    state.told = n_signal > 0;
    return n_signal > 0;
}

void cli_signals_init(void)
{
    struct sigaction a = { .sa_handler = on_signal };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    a.sa_handler = SIG_IGN;                         /* a full disk or a closed pipe is an error that write() reports */
    sigaction(SIGXFSZ, &a, NULL);
    sigaction(SIGPIPE, &a, NULL);
}

tress_hooks cli_progress_hooks(void)
{
    return (tress_hooks){ .progress = on_progress, .note = on_note, .cancelled = on_cancelled };
}
