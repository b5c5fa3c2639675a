/* The way out of this shared object: what it needs of the library that loaded it, under the names it has there. */
#include "backend/cuda/cuda.h"

static tr_backend_host host;

tress_status tr_fail(tress_status st, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    host.fail(st, format, ap);
    va_end(ap);
    return st;
}

void tr_assert_failed(const char *what, const char *file, int line)
{
    host.assert_failed(what, file, line);
    __builtin_unreachable();
}

tr_dtype tr_stream_dtype(const tr_stream *s) { return host.stream_dtype(s); }
tr_cuda *tr_cuda_of(const tr_stream *s) { return (tr_cuda *)host.stream_backend(s); }

extern const tr_backend tr_backend_cuda;

extern "C" __attribute__((visibility("default"))) const tr_backend *tress_backend_enter(const tr_backend_host *h)
{
    const char *a = h->version, *b = TRESS_VERSION;
    while (*a && *a == *b) a++, b++;
    if (*a != *b || h->n_backend != sizeof(tr_backend)) return nullptr;
    host = *h;
    return &tr_backend_cuda;
}
