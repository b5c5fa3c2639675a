#include "api/api_int.h"

struct tress_plan {
    tr_ledger ledger;
    int width, height;
};

tress_status tress_plan_generate(tress *t, const tress_model_args *model, const tress_generate_args *args, tress_plan **out)
{
    static const tress_model_args defaults;
    tress_status st = TRESS_OK;
    tress_plan *p = NULL;
    tr_result *r = NULL;
    void *v = NULL;
    if (!t || !args || !out) return tr_fail(TRESS_E_ARG, "tress_plan_generate: handle, args and out must be given");
    TR_TRY(tr_alloc(&v, sizeof *p));
    p = v;
    TR_TRY(tr_rehearse(&p->ledger, &r, &t->host, model ? model : &defaults, args, true));
    p->width = r->width;
    p->height = r->height;
    *out = p;
    p = NULL;
done:
    tr_result_free(r);
    tress_plan_free(p);
    return st;
}

void tress_plan_free(tress_plan *p) { tr_free(p); }
int tress_plan_count(const tress_plan *p) { return p ? p->ledger.n : 0; }

tress_plan_part tress_plan_at(const tress_plan *p, int i)
{
    if (!p || i < 0 || i >= p->ledger.n) return (tress_plan_part){ .name = "" };
    const tr_part *a = &p->ledger.part[i];
    return (tress_plan_part){ a->name, a->weight_bytes, a->work_bytes, a->flops };
}

int64_t tress_plan_peak_bytes(const tress_plan *p) { return p ? tr_ledger_peak(&p->ledger, NULL) : 0; }

void tress_plan_size(const tress_plan *p, int *width, int *height)
{
    if (width) *width = p ? p->width : 0;
    if (height) *height = p ? p->height : 0;
}
