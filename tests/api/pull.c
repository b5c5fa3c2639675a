/* tress_pull against a hub of our own on this machine: two servers, one for the repository and one for the large files that it
 * redirects to, with every kind of trouble on order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/http_int.h"
#include "api/hub_int.h"
#include "core/core.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BIG = 3000000 };
static char big[BIG], big_hex[65];
static struct MHD_Daemon *hub, *cdn;
static char hub_url[64], cdn_url[64], dir[64], to[80], home[80];

/* What the servers do, and what they saw. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char listing[8192];
    char second[2048];              /* a second page; "": none */
    char next_host[64];             /* of the link to it; "": the hub's own */
    int  status;                    /* of listing and files: 0: fine */
    const char *error_code;
    int  n_busy;                    /* answers of 503 before the first good one */
    int  cut_at;                    /* the large file ends there without warning, n_cut times */
    int  n_cut;
    bool no_range, spoil, short_file, loop, no_cdn;
    int  cancel_at;                 /* bytes after which our cancel hook says yes; 0: never */
    char auth_hub[128], auth_cdn[128], range[64], if_range[64], url[256];
    int  n_hub, n_cdn;
} s;

static const char *header(struct MHD_Connection *c, const char *name)
{
    const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
    return v ? v : "";
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *text, const char *name, const char *value)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (name) MHD_add_response_header(r, name, value);
    const enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

typedef struct body { size_t from, cut; bool spoil; } body;
static ssize_t read_body(void *self, uint64_t pos, char *buf, size_t max)
{
    const body *b = self;
    const size_t at = b->from + (size_t)pos;
    if (b->cut && at >= b->cut) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = BIG - at < max ? BIG - at : max;
    if (b->cut && at + n > b->cut) n = b->cut - at;
    if (n > 65536) n = 65536;
    memcpy(buf, big + at, n);
    if (b->spoil) buf[0] ^= 1;
    if (s.cancel_at) nanosleep(&(struct timespec){ 0, 15 * 1000 * 1000 }, NULL);         /* slow enough to be interrupted */
    return (ssize_t)n;
}

static enum MHD_Result large_file(struct MHD_Connection *c)
{
    body *b = calloc(1, sizeof *b);
    char text[64];
    const char *range = header(c, "Range");
    snprintf(s.auth_cdn, sizeof s.auth_cdn, "%s", header(c, "Authorization"));
    snprintf(s.range, sizeof s.range, "%s", range);
    snprintf(s.if_range, sizeof s.if_range, "%s", header(c, "If-Range"));
    s.n_cdn++;
    const bool part = range[0] && !s.no_range;
    if (part) b->from = strtoul(range + 6, NULL, 10);
    if (part && b->from >= BIG) return free(b), answer(c, 416, "", NULL, NULL);
    if (s.n_cut > 0) s.n_cut--, b->cut = (size_t)s.cut_at;
    b->spoil = s.spoil;
    struct MHD_Response *r = MHD_create_response_from_callback(BIG - b->from, 65536, read_body, b, free);
    MHD_add_response_header(r, "ETag", "\"the-etag\"");
    if (part) {
        snprintf(text, sizeof text, "bytes %zu-%d/%d", b->from, BIG - 1, BIG);
        MHD_add_response_header(r, "Content-Range", text);
    }
    const enum MHD_Result ok = MHD_queue_response(c, part ? 206 : 200, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result serve(void *self, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data,
                             size_t *n_data, void **state)
{
    (void)version, (void)data, (void)n_data;
    static int seen;
    if (!*state) return *state = &seen, MHD_YES;
    if (strcmp(method, "GET") != 0) return MHD_NO;
    pthread_mutex_lock(&lock);
    enum MHD_Result ok = MHD_NO;
    if (self) {
        ok = large_file(c);
    } else {
        char text[512];
        s.n_hub++;
        snprintf(s.auth_hub, sizeof s.auth_hub, "%s", header(c, "Authorization"));
        snprintf(s.url, sizeof s.url, "%s", url);
        if (s.n_busy > 0) {
            s.n_busy--;
            ok = answer(c, 503, "busy", NULL, NULL);
        } else if (s.status) {
            ok = answer(c, (unsigned)s.status, "no", s.error_code ? "X-Error-Code" : NULL, s.error_code);
        } else if (strncmp(url, "/api/models/o/m/tree/", 21) == 0) {
            const char *cursor = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "cursor");
            snprintf(text, sizeof text, "<%s/api/models/o/m/tree/main?recursive=1&cursor=2>; rel=\"next\"", s.next_host[0] ? s.next_host : hub_url);
            if (cursor) ok = answer(c, 200, s.second, NULL, NULL);
            else ok = answer(c, 200, s.listing, s.second[0] ? "Link" : NULL, text);
        } else if (s.loop) {
            ok = answer(c, 302, "", "Location", url);
        } else if (strstr(url, "big")) {
            snprintf(text, sizeof text, "%s/blob", cdn_url);
            ok = s.no_cdn ? large_file(c) : answer(c, 302, "Found", "Location", text);
        } else if (s.short_file) {
            ok = answer(c, 200, "abc", NULL, NULL);
        } else {
            ok = answer(c, 200, "abcd", NULL, NULL);                             /* every small file has four bytes */
        }
    }
    pthread_mutex_unlock(&lock);
    return ok;
}

#define SMALL(path) "{\"type\":\"file\",\"oid\":\"0\",\"size\":4,\"path\":\"" path "\"}"

static void reset(void)
{
    char cmd[256];
    memset(&s, 0, sizeof s);
    snprintf(s.listing, sizeof s.listing,
             "[{\"type\":\"directory\",\"oid\":\"0\",\"size\":0,\"path\":\"vae\"}," SMALL("model_index.json") "," SMALL("vae/config.json")
             ",{\"type\":\"file\",\"oid\":\"0\",\"size\":%d,\"lfs\":{\"oid\":\"%s\",\"size\":%d,\"pointerSize\":1},\"path\":\"vae/big.safetensors\"}]", BIG, big_hex, BIG);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", to);
    assert_int_equal(system(cmd), 0);
}

static int enter(void **state)
{
    (void)state;
    tr_sha256 *h = NULL;
    uint32_t x = 1;
    for (int i = 0; i < BIG; i++) big[i] = (char)((x = x * 1664525u + 1013904223u) >> 24);
    if (tr_sha256_new(&h) || tr_sha256_add(h, big, BIG) || tr_sha256_hex(h, big_hex)) return -1;
    tr_sha256_free(h);
    strcpy(dir, "/tmp/tress-pull-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(to, sizeof to, "%s/m", dir);
    snprintf(home, sizeof home, "%s/home", dir);
    if (mkdir(home, 0700)) return -1;
    static struct MHD_Daemon **const d[2] = { &hub, &cdn };
    static char *const url[2] = { hub_url, cdn_url };
    for (int i = 0; i < 2; i++) {
        for (uint16_t port = (uint16_t)(20000 + getpid() % 20000 + i); !*d[i] && port < 60000; port = (uint16_t)(port + 17)) {
            struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
            *d[i] = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, port, NULL, NULL, serve, i ? (void *)dir : NULL, MHD_OPTION_SOCK_ADDR, &a, MHD_OPTION_END);
            snprintf(url[i], 64, "http://127.0.0.1:%u", port);
        }
        if (!*d[i]) return -1;
    }
    static const char *const clear[] = { "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY" };
    for (size_t i = 0; i < sizeof clear / sizeof *clear; i++) unsetenv(clear[i]);
    setenv("no_proxy", "*", 1);
    setenv("HF_HOME", home, 1);
    setenv("HF_ENDPOINT", hub_url, 1);
    return 0;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    MHD_stop_daemon(hub);
    MHD_stop_daemon(cdn);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static int64_t told;
static void on_progress(void *self, const tress_progress *p) { (void)self; told = p->i; }
static bool on_cancelled(void *self) { (void)self; return s.cancel_at && told >= s.cancel_at; }

static tress_status pull_args(tress_pull_args a)
{
    tress *t = NULL;
    char *report = NULL;
    told = 0;
    assert_int_equal(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CPU, .n_thread = 1,
                                                     .hooks = { .progress = on_progress, .cancelled = on_cancelled } }), TRESS_OK);
    if (!a.repo) a.repo = "o/m";
    if (!a.to) a.to = to;
    tress_status st = tress_pull(t, &a, &report);
    assert_true((st == TRESS_OK) == (report != NULL));
    tress_text_free(report);
    tress_free(t);
    return st;
}
static tress_status pull(void) { return pull_args((tress_pull_args){ 0 }); }

static void says(const char *word)
{
    if (!strstr(tress_last_error(), word)) fail_msg("\"%s\" does not say \"%s\"", tress_last_error(), word);
}

static bool there(const char *name)
{
    char p[256];
    snprintf(p, sizeof p, "%s/%s", to, name);
    return tr_file_exists(p);
}

static void whole(void)
{
    char p[256], *b = NULL;
    size_t n = 0;
    snprintf(p, sizeof p, "%s/vae/big.safetensors", to);
    assert_int_equal(tr_file_read(&b, &n, p, 2 * BIG), TRESS_OK);
    assert_int_equal(n, BIG);
    assert_memory_equal(b, big, BIG);
    tr_free(b);
    assert_false(there("vae/big.safetensors.part"));
}

static void put_part(size_t n, bool right)
{
    char p[256], *b = malloc(n + 1);
    memcpy(b, big, n < BIG ? n : BIG);
    if (!right) b[0] ^= 1;
    snprintf(p, sizeof p, "%s/vae", to);
    assert_int_equal(tr_dir_make(p), TRESS_OK);
    snprintf(p, sizeof p, "%s/vae/big.safetensors.part", to);
    assert_int_equal(tr_file_write(p, b, n), TRESS_OK);
    free(b);
}

static void fetches_all(void **state)
{
    (void)state;
    reset();
    setenv("HF_TOKEN", " hf_secret\n", 1);
    assert_int_equal(pull(), TRESS_OK);
    unsetenv("HF_TOKEN");
    whole();
    assert_true(there("model_index.json") && there("vae/config.json"));
    assert_int_equal(told, BIG + 8);
    assert_string_equal(s.auth_hub, "Bearer hf_secret");
    assert_string_equal(s.auth_cdn, "");                         /* the token never leaves its host */
    assert_int_equal(s.n_cdn, 1);
    assert_int_equal(pull(), TRESS_OK);                          /* again: the large file is there and right */
    assert_int_equal(s.n_cdn, 1);
    assert_string_equal(s.auth_hub, "");
}

static void same_host_gets_the_token(void **state)
{
    (void)state;
    reset();
    s.no_cdn = true;
    setenv("HF_TOKEN", "hf_secret", 1);
    assert_int_equal(pull(), TRESS_OK);
    unsetenv("HF_TOKEN");
    assert_string_equal(s.auth_cdn, "Bearer hf_secret");
}

static void hosts(void **state)
{
    (void)state;
    assert_true(tr_http_same_host("https://a.b/c", "https://A.B:443/d?e"));
    static const char *const other[] = { "http://a.b/c", "https://a.b:444/c", "https://a.b.evil/c", "https://evil/a.b", "https://a.b@evil/", "https://x.a.b/", "//a.b", "" };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) assert_false(tr_http_same_host("https://a.b/c", other[i]));
}

static void goes_on_after_a_cut(void **state)
{
    (void)state;
    reset();
    s.cut_at = 1000000;
    s.n_cut = 1;
    assert_int_equal(pull(), TRESS_OK);
    whole();
    assert_int_equal(s.n_cdn, 2);
    assert_int_equal(strncmp(s.range, "bytes=", 6), 0);
    assert_true(atoi(s.range + 6) > 0 && atoi(s.range + 6) <= 1000000);
    assert_string_equal(s.if_range, "\"the-etag\"");
}

static void interrupted_and_resumed(void **state)
{
    (void)state;
    reset();
    s.cancel_at = 1500000;
    assert_int_equal(pull(), TRESS_E_SAVED);
    says("goes on from here");
    assert_true(there("vae/big.safetensors.part"));
    assert_false(there("vae/big.safetensors"));
    s.cancel_at = 0;
    assert_int_equal(pull(), TRESS_OK);
    whole();
    assert_true(atoi(s.range + 6) >= 1000000);
}

static void parts(void **state)
{
    (void)state;
    reset();
    put_part(1234567, true);
    assert_int_equal(pull(), TRESS_OK);
    whole();
    assert_string_equal(s.range, "bytes=1234567-");
    reset();
    put_part(1000, false);                                       /* of another file: found by the hash, fetched whole */
    assert_int_equal(pull(), TRESS_OK);
    whole();
    assert_string_equal(s.range, "");
    reset();
    put_part(BIG, true);                                         /* complete but for its name */
    assert_int_equal(pull(), TRESS_OK);
    whole();
    assert_int_equal(s.n_cdn, 0);
    reset();
    put_part(BIG + 5, true);                                     /* longer than the file */
    assert_int_equal(pull(), TRESS_OK);
    whole();
    reset();
    put_part(500000, true);
    s.no_range = true;                                           /* a server that cannot go on */
    assert_int_equal(pull(), TRESS_OK);
    whole();
}

static void wrong_hash(void **state)
{
    (void)state;
    reset();
    s.spoil = true;
    assert_int_equal(pull(), TRESS_E_FORMAT);
    says("SHA-256");
    says("vae/big.safetensors");
    assert_false(there("vae/big.safetensors") || there("vae/big.safetensors.part"));
}

static void wrong_size(void **state)
{
    (void)state;
    reset();
    s.short_file = true;
    assert_int_equal(pull(), TRESS_E_FORMAT);
    says("3 bytes, the listing says 4");
}

static void denied(void **state)
{
    (void)state;
    static const struct { int status; const char *code, *token, *word[2]; } c[] = {
        { 401, "GatedRepo", NULL, { "accept its licence at", "set HF_TOKEN" } },
        { 401, NULL, NULL, { "private, gated or not there", "/settings/tokens" } },
        { 401, NULL, "hf_x", { "token was not accepted", "/settings/tokens" } },
        { 403, "GatedRepo", "hf_x", { "accept the licence at", "/o/m" } },
        { 404, "RepoNotFound", NULL, { "not found (404)", "needs HF_TOKEN" } },
        { 404, "RevisionNotFound", NULL, { "has no revision \"main\"", "o/m" } },
        { 418, NULL, NULL, { "status 418", "o/m" } },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        reset();
        s.status = c[i].status;
        s.error_code = c[i].code;
        assert_int_equal(pull_args((tress_pull_args){ .token = c[i].token }), TRESS_E_IO);
        says(c[i].word[0]);
        says(c[i].word[1]);
        assert_false(tr_dir_exists(to));
        assert_null(strstr(tress_last_error(), "hf_x"));         /* no secret in a message */
    }
}

static void busy_then_fine(void **state)
{
    (void)state;
    reset();
    s.n_busy = 1;
    assert_int_equal(pull(), TRESS_OK);
    whole();
}

static void pages(void **state)
{
    (void)state;
    reset();
    strcpy(s.second, "[" SMALL("scheduler/scheduler_config.json") "]");
    assert_int_equal(pull(), TRESS_OK);
    assert_true(there("scheduler/scheduler_config.json"));
    reset();
    strcpy(s.second, "[]");
    strcpy(s.next_host, cdn_url);
    assert_int_equal(pull(), TRESS_E_FORMAT);
    says("not followed");
}

static void paths_that_lead_out(void **state)
{
    (void)state;
    static const char *const bad[] = { "../x.json", "/etc/x.json", "vae/../../x.json", "vae//x.json", "./x.json", "vae/..", "", "a\\\\..\\\\x.json", "a\\nb.json", "vae/" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reset();
        snprintf(s.listing, sizeof s.listing, "[" SMALL("model_index.json") ",{\"type\":\"file\",\"size\":4,\"path\":\"%s\"}]", bad[i]);
        assert_int_equal(pull(), TRESS_E_FORMAT);
        assert_false(tr_dir_exists(to));
    }
    assert_true(tr_hub_is_safe("a/b..c/.d"));
    static const char *const listing[] = { "", "{}", "[1]", "[{\"type\":\"file\"}]", "[{\"type\":\"file\",\"path\":\"a.json\",\"size\":-1}]",
        "[{\"type\":\"file\",\"path\":\"a.json\",\"size\":4,\"lfs\":{\"oid\":\"zz\"}}]", "[{\"type\":\"file\",\"path\":7,\"size\":4}]", "[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]" };
    for (size_t i = 0; i < sizeof listing / sizeof *listing; i++) {
        reset();
        strcpy(s.listing, listing[i]);
        assert_int_equal(pull(), TRESS_E_FORMAT);
    }
}

static void no_space(void **state)
{
    (void)state;
    reset();
    snprintf(s.listing, sizeof s.listing, "[{\"type\":\"file\",\"size\":%" PRId64 ",\"lfs\":{\"oid\":\"%s\",\"size\":%" PRId64 "},\"path\":\"big.safetensors\"}]",
             INT64_C(1) << 50, big_hex, INT64_C(1) << 50);
    assert_int_equal(pull(), TRESS_E_IO);
    says("GiB free");
    assert_int_equal(s.n_cdn, 0);
}

static void tokens(void **state)
{
    (void)state;
    char p[128];
    reset();
    snprintf(p, sizeof p, "%s/token", home);
    assert_int_equal(tr_file_write(p, "hf_stored\n", 10), TRESS_OK);
    assert_int_equal(pull(), TRESS_OK);
    assert_string_equal(s.auth_hub, "Bearer hf_stored");
    setenv("HF_TOKEN", "hf_env", 1);
    assert_int_equal(pull(), TRESS_OK);
    assert_string_equal(s.auth_hub, "Bearer hf_env");
    assert_int_equal(pull_args((tress_pull_args){ .token = "" }), TRESS_OK);
    assert_string_equal(s.auth_hub, "");
    unsetenv("HF_TOKEN");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", 1);
    assert_int_equal(pull(), TRESS_OK);
    assert_string_equal(s.auth_hub, "");
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    unlink(p);
}

static void arguments(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "/", "a/", "/b", "a/b/c", "a b/c", "../c", "a/..", "http://x/y", "a/b?c" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(pull_args((tress_pull_args){ .repo = bad[i] }), TRESS_E_ARG);
    assert_int_equal(pull_args((tress_pull_args){ .endpoint = "ftp://x" }), TRESS_E_ARG);
    reset();
    assert_int_equal(pull_args((tress_pull_args){ .include = (const char *const[]){ "*.nothing" }, .n_include = 1 }), TRESS_E_ARG);
    reset();
    assert_int_equal(pull_args((tress_pull_args){ .revision = "refs/pr/1", .dry_run = true }), TRESS_OK);
    assert_string_equal(s.url, "/api/models/o/m/tree/refs/pr/1");        /* sent as refs%2Fpr%2F1, shown decoded */
    assert_false(tr_dir_exists(to));
    assert_int_equal(pull_args((tress_pull_args){ .include = (const char *const[]){ "vae/*" }, .n_include = 1,
                                                  .exclude = (const char *const[]){ "*.safetensors" }, .n_exclude = 1 }), TRESS_OK);
    assert_true(there("vae/config.json") && !there("model_index.json") && !there("vae/big.safetensors"));
}

static void endless_redirects(void **state)
{
    (void)state;
    reset();
    s.loop = true;
    assert_int_equal(pull(), TRESS_E_IO);
    says("redirects");
}

/* What is wanted of the repositories that people have. */
static void choices(void **state)
{
    (void)state;
    static const struct { const char *path; int plain, fp16; } large[] = {
        { "model_index.json", 1, 1 }, { "README.md", 1, 1 }, { "LICENSE.md", 1, 1 }, { "sd3.5_large.safetensors", 0, 0 }, { "SD3.5L_workflow.json", 0, 0 },
        { "text_encoders/clip_l.safetensors", 0, 0 }, { "text_encoder/model.safetensors", 1, 0 }, { "text_encoder/model.fp16.safetensors", 0, 1 },
        { "text_encoder/config.json", 1, 1 }, { "text_encoder_3/model-00001-of-00002.safetensors", 1, 0 }, { "text_encoder_3/model.fp16-00001-of-00002.safetensors", 0, 1 },
        { "text_encoder_3/model.safetensors.index.json", 1, 0 }, { "text_encoder_3/model.safetensors.index.fp16.json", 0, 1 },
        { "transformer/diffusion_pytorch_model-00001-of-00002.safetensors", 1, 1 }, { "transformer/diffusion_pytorch_model.safetensors.index.json", 1, 1 },
        { "vae/diffusion_pytorch_model.bin", 0, 0 }, { "vae/diffusion_pytorch_model.safetensors", 1, 1 }, { "tokenizer/merges.txt", 1, 1 },
        { "tokenizer_3/spiece.model", 1, 1 }, { "scheduler/scheduler_config.json", 1, 1 }, { "demo/x.json", 0, 0 }, { "mmdit.png", 0, 0 },
    };
    enum { N = sizeof large / sizeof *large };
    for (int v = 0; v < 2; v++) {
        tr_hub_list l = { 0 };
        tr_str b = { 0 };
        for (int i = 0; i < N; i++) assert_int_equal(tr_str_printf(&b, "%s{\"type\":\"file\",\"size\":1,\"path\":\"%s\"}", i ? "," : "[", large[i].path), TRESS_OK);
        assert_int_equal(tr_str_printf(&b, "]"), TRESS_OK);
        assert_int_equal(tr_hub_list_add(&l, b.s, b.len, "listing"), TRESS_OK);
        tr_hub_list_choose(&l, NULL, 0, NULL, 0, v ? "fp16" : NULL);
        assert_int_equal(l.n, N);
        for (int i = 0; i < N; i++)
            if (l.file[i].wanted != (v ? large[i].fp16 : large[i].plain)) fail_msg("%s, variant %s: %d", large[i].path, v ? "fp16" : "none", l.file[i].wanted);
        tr_hub_list_fini(&l);
        tr_str_fini(&b);
    }
}

/* Every allocation fails once: an error, no leak, no file under its own name unless whole. */
static void out_of_memory(void **state)
{
    (void)state;
    tress *t = NULL;
    assert_int_equal(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CPU, .n_thread = 1 }), TRESS_OK);
    tress_status st = TRESS_E_OOM;
    int n = 1;
    for (; n < 400 && st != TRESS_OK; n += 1 + n / 20) {
        reset();
        snprintf(s.listing, sizeof s.listing, "[" SMALL("model_index.json") "," SMALL("vae/config.json") "]");
        const int64_t bytes = tr_mem_now().bytes;
        tr_mem_fail_at(n);
        st = tress_pull(t, &(tress_pull_args){ .repo = "o/m", .to = to }, NULL);
        tr_mem_fail_at(0);
        assert_true(st == TRESS_OK || st == TRESS_E_OOM);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_int_equal(st, TRESS_OK);
    tress_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_all), cmocka_unit_test(same_host_gets_the_token), cmocka_unit_test(hosts), cmocka_unit_test(goes_on_after_a_cut),
        cmocka_unit_test(interrupted_and_resumed), cmocka_unit_test(parts), cmocka_unit_test(wrong_hash), cmocka_unit_test(wrong_size),
        cmocka_unit_test(denied), cmocka_unit_test(busy_then_fine), cmocka_unit_test(pages), cmocka_unit_test(paths_that_lead_out),
        cmocka_unit_test(no_space), cmocka_unit_test(tokens), cmocka_unit_test(arguments), cmocka_unit_test(endless_redirects),
        cmocka_unit_test(choices), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
