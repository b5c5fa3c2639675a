/* Back ends that live in shared objects: found beside this library, loaded once, never unloaded. */
#define _GNU_SOURCE
#include "tensor/stream_int.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *stream_backend(const tr_stream *s) { return s->device->self; }

static const tr_backend_host host = { TRESS_VERSION, sizeof(tr_backend), tr_fail_list, tr_assert_failed, stream_backend, tr_stream_dtype };

tress_status tr_backend_load(const tr_backend **out, const char *file, const char *driver)
{
    Dl_info here;
    char path[4096];
    void *so = NULL, *entry;
    tr_backend_entry *make;
    if (!dlopen(driver, RTLD_LAZY | RTLD_LOCAL))        /* asked first: the back end would bring its libraries, 200 MB of them, for nothing */
        return tr_fail(TRESS_E_GPU, "CUDA: no GPU can be used, the driver's library %s is not there", driver);
    if (dladdr((const void *)&host, &here) && here.dli_fname && strrchr(here.dli_fname, '/')) {
        const int n = (int)(strrchr(here.dli_fname, '/') - here.dli_fname);
        const int len = snprintf(path, sizeof path, "%.*s/%s", n, here.dli_fname, file);
        if (len > 0 && (size_t)len < sizeof path) so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    if (!so) so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        const char *why = dlerror();
        return tr_fail(TRESS_E_GPU, "the CUDA back end could not be loaded: %s", why ? why : "no reason given");
    }
    entry = dlsym(so, TR_BACKEND_ENTRY);
    memcpy(&make, &entry, sizeof make);
    *out = entry ? make(&host) : NULL;
    if (!*out) return tr_fail(TRESS_E_GPU, "%s was built for another version of tress than this one, " TRESS_VERSION, file);
    return TRESS_OK;
}
