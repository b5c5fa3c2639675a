#include "generate/host.h"

#include <stdio.h>
#include <string.h>

static tress_status read_dtype(tr_dtype *out, const char *text)
{
    static const struct { const char *text; tr_dtype t; } name[] = { { "f32", TR_F32 }, { "f16", TR_F16 }, { "bf16", TR_BF16 } };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (strcmp(text, name[i].text) == 0) return *out = name[i].t, TRESS_OK;
    return tr_fail(TRESS_E_ARG, "dtype: found \"%s\", expected f32, f16 or bf16", text);
}

tress_status tr_host_init(tr_host *out, const tress_options *opt)
{
    static const tress_options none;
    tress_status st = TRESS_OK;
    tr_host h = { 0 };
    if (!opt) opt = &none;
    tr_device_spec spec = { .kind = TRESS_BACKEND_CUDA, .n_thread = opt->n_thread, .bytes_max = opt->memory_max, .dtype = TR_F16,
                            .dry = opt->plan_only && opt->backend == TRESS_BACKEND_CUDA };
    if (opt->dtype) TR_TRY(read_dtype(&spec.dtype, opt->dtype));
    if (opt->backend != TRESS_BACKEND_CPU) {
        st = tr_device_open(&h.device, &spec);
        if (st != TRESS_OK && (st != TRESS_E_GPU || opt->backend == TRESS_BACKEND_CUDA)) goto done;
        st = TRESS_OK;
    }
    if (!h.device) {
        spec.kind = TRESS_BACKEND_CPU;
        if (!opt->dtype) spec.dtype = TR_F32;
        TR_TRY(tr_device_open(&h.device, &spec));
    }
    h.hooks = opt->hooks;
    h.memory_max = opt->memory_max;
    *out = h;
done:
    return st;
}

tress_status tr_host_init_dry(tr_host *out, const tr_host *like)
{
    tress_status st = TRESS_OK;
    tr_host h = { .memory_max = like->memory_max };
    const tr_device_spec spec = tr_device_dry_spec(like->device);
    TR_TRY(tr_device_open(&h.device, &spec));
    *out = h;
done:
    return st;
}

void tr_host_fini(tr_host *h)
{
    tr_device_close(h->device);
    memset(h, 0, sizeof *h);
}

void tr_host_note(const tr_host *h, const char *format, ...)
{
    if (!h->hooks.note) return;
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    h->hooks.note(h->hooks.self, text);
}

tress_status tr_stage_begin(tr_stage *out, tr_host *h, const char *name, int64_t n)
{
    tress_status st = TRESS_OK;
    tr_stage s = { .host = h, .name = name, .begin = tr_seconds(), .n = n };
    TR_TRY(tr_stream_new(&s.stream, h->device));
    tr_stream_set_cancel(s.stream, h->hooks.cancelled, h->hooks.self);
    (void)tr_device_peak_reset(h->device);
    *out = s;
    if (n > 0) tr_stage_done(out, 0);
done:
    return st;
}

void tr_stage_done(const tr_stage *s, int64_t i)
{
    const tress_hooks *hooks = &s->host->hooks;
    if (!hooks->progress || tr_device_is_dry(s->host->device)) return;
    const double seconds = tr_seconds() - s->begin;
    const tress_progress p = { s->name, i, s->n, seconds, i > 0 && s->n > 0 ? seconds / (double)i * (double)(s->n - i) : -1.0 };
    hooks->progress(hooks->self, &p);
}

void tr_stage_book(const tr_stage *s, const char *part, int64_t weight_bytes)
{
    tr_ledger *l = s->host->ledger;
    if (!l || l->n >= TR_PART_MAX) return;
    tr_part *p = &l->part[l->n++];
    snprintf(p->name, sizeof p->name, "%s", part);
    p->weight_bytes = weight_bytes;
    p->work_bytes = tr_device_peak_reset(s->host->device) - tr_device_weight_bytes(s->host->device);
    p->flops = tr_stream_count(s->stream).flops;
}

void tr_stage_end(tr_stage *s)
{
    tr_stream_free(s->stream);
    memset(s, 0, sizeof *s);
}
