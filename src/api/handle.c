#include "api/api_int.h"

tress_status tress_new(tress **out, const tress_options *opt)
{
    tress_status st = TRESS_OK;
    tress *t = NULL;
    void *p = NULL;
    if (!out) return tr_fail(TRESS_E_ARG, "tress_new: no place for the handle");
    TR_TRY(tr_alloc(&p, sizeof *t));
    t = p;
    if (opt) t->options = *opt;
    TR_TRY(tr_host_init(&t->host, opt));
    *out = t;
    t = NULL;
done:
    tress_free(t);
    return st;
}

void tress_free(tress *t)
{
    if (!t) return;
    tr_host_fini(&t->host);
    tr_free(t);
}

void tress_text_free(char *text) { tr_free(text); }
