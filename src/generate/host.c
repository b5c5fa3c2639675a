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

tress_status tr_host_leave(int64_t *out, const tr_device *d, int64_t max_vram)
{
    const int64_t own = tr_device_own_bytes(d);
    if (max_vram <= own)
        return tr_fail(TRESS_E_OOM, "--max-vram %.2f GiB: CUDA and its libraries alone may take %.2f", (double)max_vram / 0x1p30, (double)own / 0x1p30);
    *out = max_vram - own;
    return TRESS_OK;
}

/* What the device may count: what --max-vram leaves beside the back end's own, and no more than the card has free. */
static tress_status limit_card(tr_host *h, int64_t max_vram)
{
    tress_status st = TRESS_OK;
    tr_device *d = h->device;
    const int64_t own = tr_device_own_bytes(d);
    TR_TRY(tr_device_free_bytes(d, &h->card_free));
    h->card_max = 0;
    if (max_vram > 0) TR_TRY(tr_host_leave(&h->card_max, d, max_vram));
    if (h->card_free > 0) {
        const int64_t left = h->card_free - own / 2;            /* its context is there already, its rooms may grow */
        if (left <= 0) TR_TRY(tr_fail(TRESS_E_GPU, "%s: only %.2f GiB of its memory are free", tr_device_name(d), (double)h->card_free / 0x1p30));
        if (h->card_max == 0 || h->card_max > left) h->card_max = left;
    }
    if (!tr_device_is_dry(d)) tr_device_limit(d, h->card_max);
done:
    return st;
}

static tress_status open_device(tr_host *h, const tress_options *opt)
{
    tress_status st = TRESS_OK;
    tr_device_spec spec = { .kind = TRESS_BACKEND_CUDA, .n_thread = opt->n_thread, .dtype = TR_F16 };
    if (opt->dtype) TR_TRY(read_dtype(&spec.dtype, opt->dtype));
    if (opt->backend != TRESS_BACKEND_CPU) {
        st = tr_device_open(&h->device, &spec);
        if (st != TRESS_E_GPU) goto done;
        if (opt->backend == TRESS_BACKEND_CUDA && !opt->plan_only) goto done;
        st = TRESS_OK;
    }
    if (opt->backend == TRESS_BACKEND_CUDA) {
        spec.dry = true;
    } else {
        spec.kind = TRESS_BACKEND_CPU;
        spec.bytes_max = opt->memory_max;
        if (!opt->dtype) spec.dtype = TR_F32;
    }
    TR_TRY(tr_device_open(&h->device, &spec));
done:
    return st;
}

tress_status tr_host_init(tr_host *out, const tress_options *opt)
{
    static const tress_options none;
    tress_status st = TRESS_OK;
    tr_host h = { 0 };
    if (!opt) opt = &none;
    if (opt->max_vram < 0) TR_TRY(tr_fail(TRESS_E_ARG, "max_vram: found %" PRId64 " bytes, expected 0 (none) or more", opt->max_vram));
    TR_TRY(open_device(&h, opt));
    if (!tr_device_is_host(h.device)) TR_TRY(limit_card(&h, opt->max_vram));
    h.hooks = opt->hooks;
    h.previews = opt->hooks.preview != NULL;
    h.memory_max = opt->memory_max;
    *out = h;
    h.device = NULL;
done:
    tr_device_close(h.device);
    return st;
}

tress_status tr_host_init_dry(tr_host *out, const tr_host *like)
{
    tress_status st = TRESS_OK;
    tr_host h = { .memory_max = like->memory_max, .card_max = like->card_max, .previews = like->previews };
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
    const tr_device *d = s->host->device;
    p->weight_bytes = tr_device_is_host(d) ? weight_bytes : tr_device_weight_bytes(d);      /* on a GPU all that are there */
    p->work_bytes = tr_device_peak_reset(s->host->device) - tr_device_weight_bytes(d);
    p->flops = tr_stream_count(s->stream).flops;
}

void tr_stage_end(tr_stage *s)
{
    tr_stream_free(s->stream);
    memset(s, 0, sizeof *s);
}
