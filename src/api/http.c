#include "api/http_int.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define REDIRECT_MAX 10

struct tr_http {
    CURL *easy;
    tr_http_spec spec;              /* its texts are ours */
    char *endpoint, *token;
};

/* One exchange. */
typedef struct exchange {
    const tr_http      *h;
    const tr_http_sink *sink;
    tr_http_reply       reply;
    tress_status        st;         /* of the sink */
    int64_t             n_byte;     /* that reached the sink */
    bool                begun;
} exchange;

tress_status tr_http_open(tr_http **out, const tr_http_spec *spec)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_http *h = NULL;
    TR_TRY(tr_alloc(&p, sizeof *h));
    h = p;
    h->spec = *spec;
    TR_TRY(tr_strdup(&h->endpoint, spec->endpoint));
    if (spec->token) TR_TRY(tr_strdup(&h->token, spec->token));
    h->easy = curl_easy_init();
    if (!h->easy) TR_TRY(tr_fail(TRESS_E_OOM, "libcurl cannot be set up"));
    *out = h;
    h = NULL;
done:
    tr_http_close(h);
    return st;
}

void tr_http_close(tr_http *h)
{
    if (!h) return;
    if (h->easy) curl_easy_cleanup(h->easy);
    tr_free(h->endpoint);
    tr_free(h->token);
    tr_free(h);
}

bool tr_http_same_host(const char *a, const char *b)
{
    static const CURLUPart part[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
    CURLU *u = curl_url(), *v = curl_url();
    bool same = u && v && curl_url_set(u, CURLUPART_URL, a, 0) == CURLUE_OK && curl_url_set(v, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (int i = 0; same && i < 3; i++) {
        char *x = NULL, *y = NULL;
        same = curl_url_get(u, part[i], &x, CURLU_DEFAULT_PORT) == CURLUE_OK && curl_url_get(v, part[i], &y, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               strcasecmp(x, y) == 0;
        curl_free(x);
        curl_free(y);
    }
    curl_url_cleanup(u);
    curl_url_cleanup(v);
    return same;
}

tress_status tr_http_escape(char **out, const char *s, bool keep_slashes)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    tr_str b = { 0 };
    tress_status st = TRESS_OK;
    for (; *s && st == TRESS_OK; s++) {
        if (strchr(plain, *s) || (*s == '/' && keep_slashes)) st = tr_str_add(&b, s, 1);
        else st = tr_str_printf(&b, "%%%02X", (unsigned char)*s);
    }
    if (st == TRESS_OK) st = tr_str_add(&b, "", 0);
    if (st != TRESS_OK) return tr_str_fini(&b), st;
    *out = b.s;
    return TRESS_OK;
}

/* ---- what curl calls ------------------------------------------------------------------------------------------ */
/* The value of a header line of this name, without blanks round it, into buf. */
static bool header_is(const char *line, size_t n, const char *name, char *buf, size_t size)
{
    const size_t k = strlen(name);
    if (n <= k || strncasecmp(line, name, k) != 0 || line[k] != ':') return false;
    const char *b = line + k + 1, *e = line + n;
    while (b < e && (*b == ' ' || *b == '\t')) b++;
    while (e > b && (e[-1] == '\r' || e[-1] == '\n' || e[-1] == ' ')) e--;
    const size_t len = (size_t)(e - b) < size - 1 ? (size_t)(e - b) : size - 1;
    memcpy(buf, b, len);
    buf[len] = 0;
    return true;
}

/* Digits only, at most 18 of them; -1 otherwise. */
static int64_t number(const char *s)
{
    int64_t x = 0;
    const size_t n = strspn(s, "0123456789");
    if (n == 0 || n > 18) return -1;
    for (size_t i = 0; i < n; i++) x = x * 10 + (s[i] - '0');
    return x;
}

static size_t on_header(char *line, size_t size, size_t count, void *self)
{
    exchange *x = self;
    tr_http_reply *r = &x->reply;
    const size_t n = size * count;
    char v[2304];
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {              /* a new answer: "100 Continue" and the like came before */
        *r = (tr_http_reply){ .range_begin = -1, .range_total = -1, .length = -1, .retry_after = -1 };
    } else if (header_is(line, n, "ETag", v, sizeof v)) {
        if (strlen(v) < sizeof r->etag) memcpy(r->etag, v, strlen(v) + 1);
    } else if (header_is(line, n, "X-Error-Code", v, sizeof v)) {
        snprintf(r->error_code, sizeof r->error_code, "%.63s", v);
    } else if (header_is(line, n, "X-Error-Message", v, sizeof v)) {
        snprintf(r->error_text, sizeof r->error_text, "%.255s", v);
    } else if (header_is(line, n, "Content-Length", v, sizeof v)) {
        r->length = number(v);
    } else if (header_is(line, n, "Retry-After", v, sizeof v)) {
        const int64_t s = number(v);
        r->retry_after = s > 300 ? 300 : (int)s;
    } else if (header_is(line, n, "Content-Range", v, sizeof v)) {
        const char *slash = strchr(v, '/');
        if (strncmp(v, "bytes ", 6) == 0) r->range_begin = number(v + 6);
        if (slash) r->range_total = number(slash + 1);
    } else if (header_is(line, n, "Link", v, sizeof v)) {
        char *e = strchr(v, '>');
        if (v[0] == '<' && e && strstr(e, "rel=\"next\"") && (size_t)(e - v) < sizeof r->next) {
            *e = 0;
            memcpy(r->next, v + 1, strlen(v + 1) + 1);
        }
    }
    return n;
}

static bool is_good(long status) { return status == 200 || status == 206; }

static void begin(exchange *x)
{
    if (x->begun) return;
    x->begun = true;
    curl_easy_getinfo(x->h->easy, CURLINFO_RESPONSE_CODE, &x->reply.status);
    if (is_good(x->reply.status)) x->st = x->sink->begin(x->sink->self, &x->reply);
}

static size_t on_bytes(char *p, size_t size, size_t count, void *self)
{
    exchange *x = self;
    const size_t n = size * count;
    begin(x);
    if (x->st == TRESS_OK && is_good(x->reply.status)) {        /* the body of an error page goes nowhere */
        x->st = x->sink->bytes(x->sink->self, p, n);
        x->n_byte += (int64_t)n;
    }
    return x->st == TRESS_OK ? n : 0;
}

static bool cancelled(const tr_http *h)
{
    const tress_hooks *k = h->spec.hooks;
    return k && k->cancelled && k->cancelled(k->self);
}

static int on_tick(void *self, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return cancelled(((exchange *)self)->h);
}

/* ---- one exchange, many tries ---------------------------------------------------------------------------------- */
static tress_status set_up(tr_http *h, exchange *x, const char *url, int64_t at, const char *if_range, struct curl_slist **headers)
{
    CURL *e = h->easy;
    char line[4200];
    struct curl_slist *more;
    bool ok = true;
    curl_easy_reset(e);
#define ADD(text) (more = curl_slist_append(*headers, (text)), ok = ok && more, *headers = more ? more : *headers)
#define SET(option, value) (ok = ok && curl_easy_setopt(e, (option), (value)) == CURLE_OK)
    if (h->token && tr_http_same_host(url, h->endpoint)) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", h->token);
        ADD(line);
    }
    if (at > 0) {
        snprintf(line, sizeof line, "Range: bytes=%" PRId64 "-", at);
        ADD(line);
        if (if_range[0]) {
            snprintf(line, sizeof line, "If-Range: %s", if_range);
            ADD(line);
        }
    }
    SET(CURLOPT_URL, url);
    if (*headers) SET(CURLOPT_HTTPHEADER, *headers);
    SET(CURLOPT_USERAGENT, "tress/" TRESS_VERSION);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    /* only the web; and what began encrypted stays so */
    SET(CURLOPT_PROTOCOLS_STR, strncasecmp(h->endpoint, "https:", 6) == 0 ? "https" : "http,https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, 20L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, 60L);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_bytes);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_tick);
    SET(CURLOPT_XFERINFODATA, x);
#undef ADD
#undef SET
    return ok ? TRESS_OK : tr_fail(TRESS_E_ARG, "%s: libcurl does not take this address", url);
}

/* Follow redirects to the answer. *code is curl's. */
static tress_status exchange_once(tr_http *h, exchange *x, const char *url, CURLcode *code)
{
    tress_status st = TRESS_OK;
    struct curl_slist *headers = NULL;
    char *at_url = NULL, if_range[256] = "";
    int64_t at = 0;
    TR_TRY(tr_strdup(&at_url, url));
    TR_TRY(x->sink->from(x->sink->self, &at, if_range));
    for (int i = 0;; i++) {
        if (i > REDIRECT_MAX) TR_TRY(tr_fail(TRESS_E_IO, "%s: more than %d redirects", url, REDIRECT_MAX));
        x->begun = false;
        x->reply = (tr_http_reply){ .range_begin = -1, .range_total = -1, .length = -1, .retry_after = -1 };
        TR_TRY(set_up(h, x, at_url, at, if_range, &headers));
        *code = curl_easy_perform(h->easy);
        curl_slist_free_all(headers);
        headers = NULL;
        curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &x->reply.status);
        TR_TRY(x->st);
        if (*code != CURLE_OK) break;
        const char *to = NULL;
        curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &to);
        if (x->reply.status / 100 != 3 || !to) {
            begin(x);                               /* an answer without a body */
            TR_TRY(x->st);
            break;
        }
        char *next = NULL;
        TR_TRY(tr_strdup(&next, to));
        tr_free(at_url);
        at_url = next;
    }
done:
    curl_slist_free_all(headers);
    tr_free(at_url);
    return st;
}

static tress_status interrupted(void) { return tr_fail(TRESS_E_SAVED, "interrupted; the same command goes on from here"); }

static tress_status pause_for(const tr_http *h, double seconds)
{
    for (const double end = tr_seconds() + seconds; tr_seconds() < end;) {
        if (cancelled(h)) return interrupted();
        nanosleep(&(struct timespec){ 0, 50 * 1000 * 1000 }, NULL);
    }
    return TRESS_OK;
}

static bool worth_another_try(CURLcode code, long status)
{
    if (code == CURLE_OK) return status == 408 || status == 429 || status >= 500;
    return code != CURLE_UNSUPPORTED_PROTOCOL && code != CURLE_URL_MALFORMAT && code != CURLE_PEER_FAILED_VERIFICATION &&
           code != CURLE_SSL_CACERT_BADFILE && code != CURLE_OUT_OF_MEMORY;
}

tress_status tr_http_get(tr_http *h, const char *url, const tr_http_sink *sink, tr_http_reply *reply)
{
    double wait = h->spec.pause;
    int64_t best = 0;                               /* the furthest byte that ever came: a server that starts over is no progress */
    for (int i_try = 1;; i_try++) {
        exchange x = { .h = h, .sink = sink };
        CURLcode code = CURLE_OK;
        if (cancelled(h)) return interrupted();
        tress_status st = exchange_once(h, &x, url, &code);
        *reply = x.reply;
        if (st != TRESS_OK) return st;
        if (code == CURLE_ABORTED_BY_CALLBACK) return interrupted();
        if (code == CURLE_OUT_OF_MEMORY) return tr_fail(TRESS_E_OOM, "%s: out of memory in libcurl", url);
        if (code == CURLE_OK && !worth_another_try(code, x.reply.status)) return TRESS_OK;
        const int64_t at = (x.reply.range_begin > 0 ? x.reply.range_begin : 0) + x.n_byte;
        if (at > best) {                            /* it moved: patience begins anew */
            best = at;
            i_try = 1;
            wait = h->spec.pause;
        }
        if (!worth_another_try(code, x.reply.status) || i_try >= h->spec.n_try) {
            if (code == CURLE_OK) return TRESS_OK;
            return tr_fail(TRESS_E_IO, "%s: %s", url, curl_easy_strerror(code));
        }
        const double pause = x.reply.retry_after > wait ? x.reply.retry_after : wait;
        if (h->spec.hooks && h->spec.hooks->note) {
            char text[512], why[64];
            snprintf(why, sizeof why, "status %ld", x.reply.status);
            snprintf(text, sizeof text, "%s; trying again in %.0f s", code != CURLE_OK ? curl_easy_strerror(code) : why, pause);
            h->spec.hooks->note(h->spec.hooks->self, text);
        }
        if ((st = pause_for(h, pause)) != TRESS_OK) return st;
        if (wait < 16 * h->spec.pause) wait *= 2;
    }
}
