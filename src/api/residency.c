/* What stays on the GPU while a drawing is made, chosen by rehearsing it on a device that only counts. First that everything stays; else
 * networks leave when others work; else adaLN matrices, which are needed once in 32 steps, then as few blocks as will do come from host
 * memory, evenly spread, so that each has the time of those that stay to travel. */
#include "api/api_int.h"

#include <string.h>

static double gib(int64_t bytes) { return (double)bytes / 0x1p30; }

/* Of block 0 .. n - 1, the i-th travels if k of them do. */
static bool is_chosen(int i, int n, int k) { return (int64_t)(i + 1) * k / n > (int64_t)i * k / n; }

static int count_blocks(const tr_groups *g)
{
    int n = 0;
    while (n < TR_GROUP_MAX / 2 && g->bytes[TR_GROUP_BLOCK(n)] > 0) n++;
    return n;
}

/* adaLN travels or not, and k blocks. */
static void choose(tr_groups *g, bool adaln, int k)
{
    const int n = count_blocks(g);
    for (int i = 0; i < n; i++) {
        g->travels[TR_GROUP_ADALN(i)] = adaln && g->bytes[TR_GROUP_ADALN(i)] > 0;
        g->travels[TR_GROUP_BLOCK(i)] = is_chosen(i, n, k);
    }
}

/* What that takes off the device. */
static int64_t saved(const tr_groups *g)
{
    int64_t sum = 0, most = 0;
    for (int i = 0; i < TR_GROUP_MAX; i++) {
        if (!g->travels[i]) continue;
        sum += g->bytes[i];
        if (g->bytes[i] > most) most = g->bytes[i];
    }
    return sum - 2 * most;
}

static int64_t part_bytes(const tr_ledger *l, const char *name)
{
    int64_t most = 0;
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->part[i].name, name) == 0 && l->part[i].weight_bytes + l->part[i].work_bytes > most) most = l->part[i].weight_bytes + l->part[i].work_bytes;
    return most;
}

void tr_residency_lighten(tr_residency *r, int64_t less)
{
    tr_groups *t = &r->group[TR_MODULE_TRANSFORMER], *c = &r->group[TR_MODULE_CONTROLNET];
    const int n_t = count_blocks(t), n_c = count_blocks(c);
    choose(t, false, 0);
    choose(c, false, 0);
    if (less <= 0) return;
    for (int k = -2; k <= n_t + n_c; k++) {                     /* adaLN of one, of both; blocks of one, then of the other */
        choose(t, true, k < 0 ? 0 : k < n_t ? k : n_t);
        choose(c, k >= -1, k > n_t ? k - n_t : 0);
        if (saved(t) + saved(c) >= less) return;
    }
}

static void lighten_words(tr_residency *r, int64_t less)
{
    tr_groups *g = &r->group[TR_MODULE_T5];
    for (int k = 0; k <= count_blocks(g); k++) {
        choose(g, false, k);
        if (saved(g) >= less) return;
    }
}

tress_status tr_residency_choose(tr_residency *out, tr_ledger *ledger, const tr_host *like, const tress_model_args *model, const tress_generate_args *args)
{
    tress_status st = TRESS_OK;
    const int64_t most = like->card_max, own = tr_device_own_bytes(like->device);
    tr_residency r = { .keep = TR_WANT_ALL };
    tr_ledger l;
    const tr_part *part = NULL;
    TR_TRY(tr_rehearse(&l, NULL, like, model, args, &r, false));
    if (most > 0 && l.peak > most) {
        r.keep = 0;
        TR_TRY(tr_rehearse(&l, NULL, like, model, args, &r, false));
    }
    if (most > 0 && l.peak > most) {
        for (int i = 0; i < TR_MODULE_N; i++) r.group[i] = l.group[i];
        tr_residency_lighten(&r, part_bytes(&l, "sample") - most);
        lighten_words(&r, part_bytes(&l, tr_module_name(TR_MODULE_T5)) - most);
        TR_TRY(tr_rehearse(&l, NULL, like, model, args, &r, false));
    }
    if (most > 0 && l.peak > most) {
        (void)tr_ledger_peak(&l, &part);
        TR_TRY(tr_fail(TRESS_E_OOM, "%s needs %.2f GiB of the GPU with all that can wait in host memory (weights %.2f, work %.2f, CUDA and its libraries %.2f), "
                                    "it may have %.2f: --max-vram %.2f, or a smaller --size or --batch, would do",
                       part->name, gib(l.peak + own), gib(part->weight_bytes), gib(l.peak - part->weight_bytes), gib(own), gib(most + own),
                       (double)((l.peak + own + (1 << 26)) >> 26) / 16));
    }
    if (like->memory_max > 0 && l.pinned > like->memory_max)
        TR_TRY(tr_fail(TRESS_E_OOM, "the weights that wait for their turn on the GPU take %.2f GiB of host memory, --memory-max is %.2f", gib(l.pinned), gib(like->memory_max)));
    *out = r;
    if (ledger) *ledger = l;
done:
    return st;
}

tress_status tr_residency_text(char **out, const tr_residency *r)
{
    static const tr_module modules[] = { TR_MODULE_TRANSFORMER, TR_MODULE_CONTROLNET, TR_MODULE_T5 };
    tress_status st = TRESS_OK;
    tr_str b = { 0 };
    TR_TRY(tr_str_printf(&b, "%s", r->keep == TR_WANT_ALL ? "every network stays on the GPU once it is there" : "networks leave the GPU when others are at work"));
    for (int k = 0; k < 3; k++) {
        const tr_groups *g = &r->group[modules[k]];
        const int n = count_blocks(g);
        int n_adaln = 0, n_block = 0;
        for (int i = 0; i < n; i++) n_adaln += g->travels[TR_GROUP_ADALN(i)], n_block += g->travels[TR_GROUP_BLOCK(i)];
        if (n_adaln + n_block == 0) continue;
        TR_TRY(tr_str_printf(&b, "%s %s: ", strchr(b.s, ';') ? "," : "; out of host memory come, of the", tr_module_name(modules[k])));
        if (n_adaln > 0) TR_TRY(tr_str_printf(&b, "adaLN%s", n_block > 0 ? " and " : ""));
        if (n_block > 0) TR_TRY(tr_str_printf(&b, "%d of %d blocks", n_block, n));
    }
    *out = b.s;
    b = (tr_str){ 0 };
done:
    tr_str_fini(&b);
    return st;
}
