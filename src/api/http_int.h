/* http_int.h - GET with patience: redirects followed by hand, so that a token goes to the host it belongs to and to no
 * other; retries with growing pauses; cancel polled. Over libcurl. Stays inside api. */
#ifndef TRESS_API_HTTP_INT_H
#define TRESS_API_HTTP_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_http tr_http;
typedef struct tr_http_spec {
    const char        *endpoint;                /* "https://huggingface.co": the token's host */
    const char        *token;                   /* NULL: none */
    const tress_hooks *hooks;                   /* borrowed: cancelled and note */
    int                n_try;                   /* tries without a new byte before giving up */
    double             pause;                   /* seconds before the second try; doubles up to 16 times as long */
} tr_http_spec;
TR_CHECKED tress_status tr_http_open(tr_http **out, const tr_http_spec *spec);
void tr_http_close(tr_http *h);

typedef struct tr_http_reply {
    long    status;                             /* 200, 206, 404, ...; 0: no answer */
    char    etag[256];                          /* "" where absent */
    char    error_code[64], error_text[256];    /* X-Error-Code and X-Error-Message of the hub */
    char    next[2048];                         /* the URL of Link: <...>; rel="next" */
    int64_t range_begin, range_total;           /* of Content-Range; -1 where absent */
    int64_t length;                             /* Content-Length, -1 where absent */
    int     retry_after;                        /* seconds, -1 where absent */
} tr_http_reply;

/* Where the body goes. from: the first byte wanted of this try (0: all of it). begin is called at each good answer
 * (200 or 206), before its first byte. Any failure they return ends the work and is what the call returns. */
typedef struct tr_http_sink {
    void *self;
    tress_status (*from)(void *self, int64_t *at, char if_range[256]);
    tress_status (*begin)(void *self, const tr_http_reply *r);
    tress_status (*bytes)(void *self, const void *p, size_t n);
} tr_http_sink;

/* Fails: what the sink fails with; SAVED (cancelled); IO after the last try. An answer that is not 2xx ends with TRESS_OK and
 * its status in *reply: what it means is the caller's to say. */
TR_CHECKED tress_status tr_http_get(tr_http *h, const char *url, const tr_http_sink *sink, tr_http_reply *reply);
/* Scheme, host and port are the same. */
bool tr_http_same_host(const char *a, const char *b);
/* s escaped as one part of a path, or with its slashes kept; *out is new. */
TR_CHECKED tress_status tr_http_escape(char **out, const char *s, bool keep_slashes);

#ifdef __cplusplus
}
#endif
#endif
