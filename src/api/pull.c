#include "api/api_int.h"
#include "api/http_int.h"
#include "api/hub_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LISTING_MAX ((size_t)64 << 20)
#define PAGE_MAX    1000
#define DISK_SPARE  ((int64_t)64 << 20)             /* bytes to leave free on the disk */
#define FILE_MODE   0666

typedef struct pull {
    tress *t;
    const tress_pull_args *args;
    const char *revision;
    char *endpoint, *token, *to;
    tr_http *http;
    tr_hub_list list;
    int64_t total, done;            /* bytes of all wanted files; of those that are finished */
    double begin, told;
    int64_t begun_at;               /* bytes that were there when the clock started */
} pull;

static void progress(pull *p, int64_t now, bool always)
{
    const tress_hooks *h = &p->t->host.hooks;
    const double t = tr_seconds();
    if (!h->progress || (!always && t - p->told < 0.1)) return;
    p->told = t;
    const double s = t - p->begin;
    const int64_t got = now - p->begun_at;
    const tress_progress q = { "download", now, p->total, s, got > 0 ? s / (double)got * (double)(p->total - now) : -1.0 };
    h->progress(h->self, &q);
}

static bool cancelled(const pull *p)
{
    const tress_hooks *h = &p->t->host.hooks;
    return h->cancelled && h->cancelled(h->self);
}

/* ---- endpoint, token, folder --------------------------------------------------------------------------------------- */
static const char *env(const char *name)
{
    const char *s = getenv(name);
    return s && *s ? s : NULL;
}

/* *out is new: the first line of the text without blanks round it; NULL where that is empty. */
static tress_status trimmed(char **out, const char *s)
{
    static const char blank[] = " \t\r\n";
    s += strspn(s, blank);
    const size_t n = strcspn(s, blank);
    tr_str b = { 0 };
    if (n == 0) return *out = NULL, TRESS_OK;
    tress_status st = tr_str_add(&b, s, n);
    if (st != TRESS_OK) return tr_str_fini(&b), st;
    *out = b.s;
    return TRESS_OK;
}

/* Where the hub's client keeps its token: HF_TOKEN_PATH, HF_HOME/token, XDG_CACHE_HOME/huggingface/token, ~/.cache/huggingface/token. */
static tress_status token_file(char **out)
{
    tr_str b = { 0 };
    tress_status st = TRESS_OK;
    if (env("HF_TOKEN_PATH")) st = tr_str_printf(&b, "%s", env("HF_TOKEN_PATH"));
    else if (env("HF_HOME")) st = tr_str_printf(&b, "%s/token", env("HF_HOME"));
    else if (env("XDG_CACHE_HOME")) st = tr_str_printf(&b, "%s/huggingface/token", env("XDG_CACHE_HOME"));
    else if (env("HOME")) st = tr_str_printf(&b, "%s/.cache/huggingface/token", env("HOME"));
    if (st != TRESS_OK) return tr_str_fini(&b), st;
    *out = b.s;
    return TRESS_OK;
}

static tress_status find_token(pull *p)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = NULL;
    size_t n = 0;
    if (p->args->token) return trimmed(&p->token, p->args->token);
    const char *off = env("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    if (off && strcmp(off, "0") != 0) return TRESS_OK;
    const char *given = env("HF_TOKEN") ? env("HF_TOKEN") : env("HUGGING_FACE_HUB_TOKEN");
    if (given) TR_TRY(trimmed(&p->token, given));
    if (p->token) goto done;
    TR_TRY(token_file(&path));
    if (path && tr_file_exists(path)) {
        TR_TRY(tr_file_read(&text, &n, path, 4096));
        TR_TRY(trimmed(&p->token, text));
    }
done:
    tr_free(path);
    tr_free(text);
    return st;
}

static tress_status set_up(pull *p)
{
    tress_status st = TRESS_OK;
    const tress_pull_args *a = p->args;
    const char *endpoint = a->endpoint ? a->endpoint : env("HF_ENDPOINT") ? env("HF_ENDPOINT") : "https://huggingface.co";
    if (!a->repo || !tr_hub_is_repo(a->repo))
        TR_TRY(tr_fail(TRESS_E_ARG, "\"%s\" is not the name of a repository, such as stabilityai/stable-diffusion-3.5-large", a->repo ? a->repo : ""));
    if (strncmp(endpoint, "https://", 8) != 0 && strncmp(endpoint, "http://", 7) != 0)
        TR_TRY(tr_fail(TRESS_E_ARG, "the endpoint \"%s\" begins neither with https:// nor with http://", endpoint));
    TR_TRY(tr_strdup(&p->endpoint, endpoint));
    for (size_t n = strlen(p->endpoint); n > 0 && p->endpoint[n - 1] == '/'; n--) p->endpoint[n - 1] = 0;
    p->revision = a->revision ? a->revision : "main";
    const char *slash = strrchr(a->repo, '/');
    TR_TRY(tr_strdup(&p->to, a->to ? a->to : slash ? slash + 1 : a->repo));
    TR_TRY(find_token(p));
    TR_TRY(tr_http_open(&p->http, &(tr_http_spec){ .endpoint = p->endpoint, .token = p->token, .hooks = &p->t->host.hooks, .n_try = 5, .pause = 1 }));
done:
    return st;
}

/* ---- what an answer means ------------------------------------------------------------------------------------------ */
static tress_status explain(const pull *p, const tr_http_reply *r, const char *what)
{
    const char *repo = p->args->repo;
    const bool gated = strcmp(r->error_code, "GatedRepo") == 0;
    if (r->status == 401 && !p->token)
        return tr_fail(TRESS_E_IO, "%s: access denied (401): it is %s; %s%s/%s%sset HF_TOKEN to a token from %s/settings/tokens", what,
                       gated ? "gated" : "private, gated or not there", gated ? "accept its licence at " : "if it is gated, accept its licence at ", p->endpoint,
                       repo, ", then ", p->endpoint);
    if (r->status == 401) return tr_fail(TRESS_E_IO, "%s: the token was not accepted (401): make a new one at %s/settings/tokens and set HF_TOKEN", what, p->endpoint);
    if (r->status == 403)
        return tr_fail(TRESS_E_IO, "%s: access denied (403): accept the licence at %s/%s with the account whose token is in HF_TOKEN%s%s", what, p->endpoint, repo,
                       r->error_text[0] ? "; the hub says: " : "", r->error_text);
    if (r->status == 404 && strcmp(r->error_code, "RevisionNotFound") == 0)
        return tr_fail(TRESS_E_IO, "%s: %s has no revision \"%s\" (404)", what, repo, p->revision);
    if (r->status == 404)
        return tr_fail(TRESS_E_IO, "%s: not found (404): look at the name, the revision \"%s\" and %s", what, p->revision,
                       p->token ? "whether the token may see it" : "whether it is private, which needs HF_TOKEN");
    return tr_fail(TRESS_E_IO, "%s: the hub answers with status %ld%s%s", what, r->status, r->error_text[0] ? ": " : "", r->error_text);
}

/* ---- the listing --------------------------------------------------------------------------------------------------- */
static tress_status text_from(void *self, int64_t *at, char if_range[256])
{
    tr_str *b = self;
    (void)if_range;
    *at = 0;
    b->len = 0;
    return TRESS_OK;
}
static tress_status text_begin(void *self, const tr_http_reply *r)
{
    (void)r;
    ((tr_str *)self)->len = 0;
    return TRESS_OK;
}
static tress_status text_bytes(void *self, const void *bytes, size_t n)
{
    tr_str *b = self;
    if (n > b->max - b->len) return tr_fail(TRESS_E_FORMAT, "the hub's listing has more than %zu bytes", b->max);
    return tr_str_add(b, bytes, n);
}

static tress_status list(pull *p)
{
    tress_status st = TRESS_OK;
    char *revision = NULL, *url = NULL;
    tr_str b = { .max = LISTING_MAX }, first = { 0 };
    tr_http_reply r;
    const tr_http_sink sink = { &b, text_from, text_begin, text_bytes };
    TR_TRY(tr_http_escape(&revision, p->revision, false));
    TR_TRY(tr_str_printf(&first, "%s/api/models/%s/tree/%s?recursive=1", p->endpoint, p->args->repo, revision));
    TR_TRY(tr_strdup(&url, first.s));
    for (int page = 0;; page++) {
        TR_TRY(tr_http_get(p->http, url, &sink, &r));
        if (r.status != 200) TR_TRY(explain(p, &r, p->args->repo));
        TR_TRY(tr_hub_list_add(&p->list, b.len ? b.s : "", b.len, url));
        if (!r.next[0]) break;
        if (page >= PAGE_MAX || !tr_http_same_host(r.next, p->endpoint))
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the listing goes on at \"%.200s\", which is not followed", p->args->repo, r.next));
        tr_free(url);
        url = NULL;
        TR_TRY(tr_strdup(&url, r.next));
    }
done:
    tr_free(revision);
    tr_free(url);
    tr_str_fini(&b);
    tr_str_fini(&first);
    return st;
}

/* ---- one file ------------------------------------------------------------------------------------------------------ */
typedef struct fetch {
    pull *p;
    const tr_hub_file *f;
    int  fd;                        /* of NAME.part, locked */
    char *part, *path;
    int64_t at;                     /* bytes in it */
    tr_sha256 *sum;                 /* of them */
    char etag[256];                 /* of the answer that they came from; "" when unknown */
} fetch;

static tress_status fail_file(const fetch *x, const char *what) { return tr_fail(TRESS_E_IO, "%s: %s: %s", x->part, what, strerror(errno)); }

static tress_status restart(fetch *x)
{
    x->at = 0;
    x->etag[0] = 0;
    tr_sha256_free(x->sum);
    x->sum = NULL;
    if (ftruncate(x->fd, 0) != 0 || lseek(x->fd, 0, SEEK_SET) != 0) return fail_file(x, "cannot be emptied");
    return tr_sha256_new(&x->sum);
}

static tress_status add_sum(tr_sha256 *sum, int fd, int64_t *n, const char *path, const pull *p)
{
    tress_status st = TRESS_OK;
    void *buf = NULL;
    const size_t size = (size_t)1 << 20;
    TR_TRY(tr_alloc_raw(&buf, size));
    for (*n = 0;;) {
        const ssize_t k = read(fd, buf, size);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) TR_TRY(tr_fail(TRESS_E_IO, "%s: cannot be read: %s", path, strerror(errno)));
        if (k == 0) break;
        TR_TRY(tr_sha256_add(sum, buf, (size_t)k));
        *n += k;
        if (cancelled(p)) TR_TRY(tr_fail(TRESS_E_SAVED, "interrupted; the same command goes on from here"));
    }
done:
    tr_free(buf);
    return st;
}

/* Open NAME.part. What lies there is gone on from only where the hub tells a hash that will catch a mixture. */
static tress_status open_part(fetch *x)
{
    struct stat info;
    tress_status st = TRESS_OK;
    x->fd = open(x->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
    if (x->fd < 0) return fail_file(x, "cannot be written");
    if (fstat(x->fd, &info) != 0 || !S_ISREG(info.st_mode)) return tr_fail(TRESS_E_IO, "%s: is not a regular file", x->part);
    if (flock(x->fd, LOCK_EX | LOCK_NB) != 0) return tr_fail(TRESS_E_IO, "%s: another tress pull is writing it", x->part);
    if (info.st_size == 0 || info.st_size > x->f->size || !x->f->sha256[0]) return restart(x);
    if ((st = tr_sha256_new(&x->sum)) != TRESS_OK) return st;
    return add_sum(x->sum, x->fd, &x->at, x->part, x->p);
}

static tress_status fetch_from(void *self, int64_t *at, char if_range[256])
{
    fetch *x = self;
    *at = x->at;
    memcpy(if_range, x->etag, sizeof x->etag);
    return TRESS_OK;
}

static tress_status fetch_begin(void *self, const tr_http_reply *r)
{
    fetch *x = self;
    const int64_t whole = r->status == 206 ? r->range_total : r->length;
    if (r->status == 200 && x->at > 0) {            /* the server starts over: so do we */
        tress_status st = restart(x);
        if (st != TRESS_OK) return st;
    }
    if (r->status == 206 && (x->at == 0 || r->range_begin != x->at))
        return tr_fail(TRESS_E_FORMAT, "%s: the server sends from byte %" PRId64 ", asked for was %" PRId64, x->f->path, r->range_begin, x->at);
    if (whole >= 0 && whole != x->f->size)
        return tr_fail(TRESS_E_FORMAT, "%s: the server has %" PRId64 " bytes, the listing says %" PRId64, x->f->path, whole, x->f->size);
    const bool strong = r->etag[0] == '"';          /* a weak one may not stand in If-Range */
    memcpy(x->etag, strong ? r->etag : "", strong ? sizeof x->etag : 1);
    return TRESS_OK;
}

static tress_status fetch_bytes(void *self, const void *bytes, size_t n)
{
    fetch *x = self;
    const char *b = bytes;
    if ((int64_t)n > x->f->size - x->at) return tr_fail(TRESS_E_FORMAT, "%s: the server sends more than the %" PRId64 " bytes of the listing", x->f->path, x->f->size);
    for (size_t left = n; left > 0;) {
        const ssize_t k = write(x->fd, b, left);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fail_file(x, "cannot be written");
        b += k;
        left -= (size_t)k;
    }
    x->at += (int64_t)n;
    progress(x->p, x->p->done + x->at, false);
    return tr_sha256_add(x->sum, bytes, n);
}

static tress_status place(fetch *x)
{
    tress_status st = TRESS_OK;
    int dir = -1;
    char *name = NULL;
    if (fsync(x->fd) != 0) TR_TRY(fail_file(x, "cannot be flushed"));
    if (rename(x->part, x->path) != 0) TR_TRY(fail_file(x, "cannot get its name"));
    TR_TRY(tr_strdup(&name, x->path));
    *strrchr(name, '/') = 0;                        /* path is to/..., so there is one */
    dir = open(name[0] ? name : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && fsync(dir) != 0 && errno != EINVAL && errno != EROFS) TR_TRY(fail_file(x, "its folder cannot be flushed"));
done:
    if (dir >= 0) close(dir);
    tr_free(name);
    return st;
}

static tress_status download(fetch *x)
{
    tress_status st = TRESS_OK;
    pull *p = x->p;
    char *revision = NULL, *name = NULL, hex[65];
    tr_str url = { 0 };
    tr_http_reply r;
    const tr_http_sink sink = { x, fetch_from, fetch_begin, fetch_bytes };
    TR_TRY(tr_http_escape(&revision, p->revision, false));
    TR_TRY(tr_http_escape(&name, x->f->path, true));
    TR_TRY(tr_str_printf(&url, "%s/%s/resolve/%s/%s", p->endpoint, p->args->repo, revision, name));
    TR_TRY(open_part(x));
    for (bool resumed = x->at > 0;; resumed = false) {
        if (x->at < x->f->size || x->f->size == 0) {
            TR_TRY(tr_http_get(p->http, url.s, &sink, &r));
            if (r.status == 416 && resumed) {       /* it does not hold what we have of it */
                TR_TRY(restart(x));
                continue;
            }
            if (r.status != 200 && r.status != 206) TR_TRY(explain(p, &r, url.s));
        }
        if (x->at != x->f->size)
            TR_TRY(tr_fail(TRESS_E_IO, "%s: has %" PRId64 " bytes, the listing says %" PRId64, x->f->path, x->at, x->f->size));
        if (!x->f->sha256[0]) break;
        TR_TRY(tr_sha256_hex(x->sum, hex));
        if (strcmp(hex, x->f->sha256) == 0) break;
        if (!resumed) {
            unlink(x->part);
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: its SHA-256 is %s, the hub says %s: it was changed or damaged on the way, and is removed", x->f->path, hex, x->f->sha256));
        }
        TR_TRY(restart(x));                         /* the beginning was another file's: once more, whole */
    }
    TR_TRY(place(x));
done:
    tr_free(revision);
    tr_free(name);
    tr_str_fini(&url);
    return st;
}

/* There, whole and with the hub's hash. Files without a hash are small: they are fetched again. */
static tress_status is_there(bool *out, const fetch *x)
{
    tress_status st = TRESS_OK;
    struct stat info;
    tr_sha256 *sum = NULL;
    char hex[65];
    int64_t n = 0;
    int fd = -1;
    *out = false;
    if (!x->f->sha256[0] || stat(x->path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size != x->f->size) return TRESS_OK;
    fd = open(x->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return TRESS_OK;
    TR_TRY(tr_sha256_new(&sum));
    TR_TRY(add_sum(sum, fd, &n, x->path, x->p));
    TR_TRY(tr_sha256_hex(sum, hex));
    *out = n == x->f->size && strcmp(hex, x->f->sha256) == 0;
done:
    if (fd >= 0) close(fd);
    tr_sha256_free(sum);
    return st;
}

static tress_status make_folder_of(const char *path)
{
    char *dir = NULL;
    tress_status st = tr_strdup(&dir, path);
    if (st != TRESS_OK) return st;
    *strrchr(dir, '/') = 0;
    st = tr_dir_make(dir[0] ? dir : "/");
    tr_free(dir);
    return st;
}

static tress_status fetch_one(pull *p, const tr_hub_file *f, tr_str *report)
{
    tress_status st = TRESS_OK;
    fetch x = { .p = p, .f = f, .fd = -1 };
    tr_str part = { 0 };
    bool there = false;
    TR_TRY(tr_path_join(&x.path, p->to, f->path));
    TR_TRY(tr_str_printf(&part, "%s.part", x.path));
    x.part = part.s;
    TR_TRY(is_there(&there, &x));
    if (!there && !p->args->dry_run) {
        TR_TRY(make_folder_of(x.path));
        TR_TRY(download(&x));
    }
    p->done += f->size;
    if (there) p->begun_at += f->size;
    if (!p->args->dry_run) progress(p, p->done, p->done == p->total);
    TR_TRY(tr_str_printf(report, "%-9s %14" PRId64 "  %s\n", there ? "there" : p->args->dry_run ? "to fetch" : "fetched", f->size, x.path));
done:
    if (x.fd >= 0) close(x.fd);
    tr_sha256_free(x.sum);
    tr_free(x.path);
    tr_str_fini(&part);
    return st;
}

static tress_status check_space(const pull *p, const char *dir)
{
    struct statvfs v;
    int64_t need = 0;
    if (statvfs(dir, &v) != 0) return TRESS_OK;      /* unknown: the writes will tell */
    for (int i = 0; i < p->list.n; i++) {
        const tr_hub_file *f = &p->list.file[i];
        struct stat info;
        tr_str name = { 0 };
        if (!f->wanted) continue;
        tress_status st = tr_str_printf(&name, "%s/%s", dir, f->path);
        if (st != TRESS_OK) return tr_str_fini(&name), st;
        int64_t have = stat(name.s, &info) == 0 && info.st_size == f->size ? f->size : 0;
        if (!have && (st = tr_str_printf(&name, ".part")) != TRESS_OK) return tr_str_fini(&name), st;
        if (!have && stat(name.s, &info) == 0 && info.st_size <= f->size) have = info.st_size;
        tr_str_fini(&name);
        need += f->size - have;
    }
    const double space = (double)v.f_bavail * (double)v.f_frsize;
    if ((double)need + (double)DISK_SPARE > space && need > 0)
        return tr_fail(TRESS_E_IO, "%s: %.2f GiB are to come, the disk has %.2f GiB free", dir, (double)need / 0x1p30, space / 0x1p30);
    return TRESS_OK;
}

tress_status tress_pull(tress *t, const tress_pull_args *args, char **report)
{
    tress_status st = TRESS_OK;
    pull p = { .t = t, .args = args };
    tr_str lines = { 0 };
    int n_wanted = 0;
    if (!t || !args) return tr_fail(TRESS_E_ARG, "tress_pull: no handle or no arguments");
    TR_TRY(set_up(&p));
    TR_TRY(list(&p));
    tr_hub_list_choose(&p.list, args->include, args->n_include, args->exclude, args->n_exclude, args->variant);
    for (int i = 0; i < p.list.n; i++) {
        if (!p.list.file[i].wanted) continue;
        n_wanted++;
        p.total += p.list.file[i].size;
    }
    if (n_wanted == 0)
        TR_TRY(tr_fail(TRESS_E_ARG, "%s: none of its %d files is wanted: look at the patterns", args->repo, p.list.n));
    if (!args->dry_run) {
        TR_TRY(tr_dir_make(p.to));
        TR_TRY(check_space(&p, p.to));
    }
    p.begin = tr_seconds();
    for (int i = 0; i < p.list.n; i++)
        if (p.list.file[i].wanted) TR_TRY(fetch_one(&p, &p.list.file[i], &lines));
    if (report) {
        *report = lines.s;
        lines = (tr_str){ 0 };
    }
done:
    tr_http_close(p.http);
    tr_hub_list_fini(&p.list);
    tr_str_fini(&lines);
    tr_free(p.endpoint);
    tr_free(p.token);
    tr_free(p.to);
    return st == TRESS_OK ? st : tr_note(st, "pulling %s", args->repo ? args->repo : "");
}
