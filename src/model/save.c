#include "model/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_BYTES ((int64_t)5000000000)
#define SHARD_MAX 1024

typedef struct shard { const int *index; tr_safetensors_fill fill; void *self; } shard;

static tress_status fill_shard(void *self, int i, size_t at, void *bytes, size_t n)
{
    const shard *s = self;
    return s->fill(s->self, s->index[i], at, bytes, n);
}

static tress_status bytes_of(int64_t *out, const tr_named *t)
{
    tr_dims d = { .rank = t->t.rank };
    size_t n = 0;
    memcpy(d.n, t->t.shape, sizeof d.n);
    const tress_status st = tr_bytes(&n, t->t.dtype, d);
    *out = (int64_t)n;
    return st;
}

/* {"metadata": {"total_size": bytes}, "weight_map": {tensor: file}} */
static tress_status write_index(const char *path, const tr_named *list, const int *which, int n, int n_shard, const char *base, int64_t total)
{
    tress_status st = TRESS_OK;
    char file[128], *text = NULL;
    json_t *root = json_object(), *meta = json_object(), *map = json_object();
    bool ok = root && meta && map && json_object_set_new(meta, "total_size", json_integer(total)) == 0;
    for (int i = 0; ok && i < n; i++) {
        snprintf(file, sizeof file, "%s-%05d-of-%05d.safetensors", base, which[i] + 1, n_shard);
        ok = json_object_set_new(map, list[i].name, json_string(file)) == 0;
    }
    ok = ok && json_object_set(root, "metadata", meta) == 0 && json_object_set(root, "weight_map", map) == 0;
    text = ok ? json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    st = text ? tr_file_write(path, text, strlen(text)) : tr_fail(TRESS_E_OOM, "no memory for %s", path);
    free(text);                                                           /* jansson's own */
    json_decref(root);
    json_decref(meta);
    json_decref(map);
    return st;
}

tress_status tr_weights_save(const char *dir, tr_module module, const tr_named *list, int n, int64_t shard_bytes, tr_safetensors_fill fill, void *self)
{
    static const char *const meta[] = { "format", "pt", NULL };           /* transformers refuses files without it */
    const char *base = module >= TR_MODULE_CLIP_L ? "model" : "diffusion_pytorch_model";
    tress_status st = TRESS_OK;
    char *path = NULL, name[128];
    int *which = NULL, *index = NULL, n_shard = 1;
    tr_named *part = NULL;
    int64_t total = 0, used = 0, bytes = 0;
    void *p = NULL;
    if (shard_bytes <= 0) shard_bytes = SHARD_BYTES;
    TR_TRY(tr_alloc_array(&p, n, sizeof *which));
    which = p;
    for (int i = 0; i < n; i++) {
        TR_TRY(bytes_of(&bytes, &list[i]));
        if (used > 0 && used + bytes > shard_bytes) n_shard++, used = 0;
        if (n_shard > SHARD_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "%s would take more than %d files of %" PRId64 " bytes", dir, SHARD_MAX, shard_bytes));
        which[i] = n_shard - 1;
        used += bytes;
        total += bytes;
    }
    TR_TRY(tr_alloc_array(&p, n, sizeof *index));
    index = p;
    TR_TRY(tr_alloc_array(&p, n, sizeof *part));
    part = p;
    for (int s = 0; s < n_shard; s++) {
        int k = 0;
        for (int i = 0; i < n; i++)
            if (which[i] == s) {
                index[k] = i;
                part[k++] = list[i];
            }
        if (n_shard == 1) snprintf(name, sizeof name, "%s.safetensors", base);
        else snprintf(name, sizeof name, "%s-%05d-of-%05d.safetensors", base, s + 1, n_shard);
        TR_TRY(tr_path_join(&path, dir, name));
        TR_TRY(tr_safetensors_write_filled(path, part, k, meta, fill_shard, &(shard){ index, fill, self }));
        tr_free(path);
        path = NULL;
    }
    if (n_shard > 1) {
        snprintf(name, sizeof name, "%s.safetensors.index.json", base);
        TR_TRY(tr_path_join(&path, dir, name));
        TR_TRY(write_index(path, list, which, n, n_shard, base, total));
    }
done:
    tr_free(path);
    tr_free(which);
    tr_free(index);
    tr_free(part);
    return st;
}

/* ---- the original layout --------------------------------------------------------------------------------- */

const char *tr_module_prefix(tr_module m)
{
    static const char *const prefix[] = { "model.diffusion_model.", "", "first_stage_model.", "text_encoders.clip_l.transformer.",
                                          "text_encoders.clip_g.transformer.", "text_encoders.t5xxl.transformer." };
    TR_ASSERT((int)m >= 0 && (size_t)m < sizeof prefix / sizeof prefix[0]);
    return prefix[m];
}

void tr_regrouped_fini(tr_regrouped *r)
{
    for (int i = 0; i < r->n; i++) tr_free((char *)(uintptr_t)r->list[i].name);
    tr_free(r->list);
    tr_free(r->from);
    *r = (tr_regrouped){ 0 };
}

static int find(const tr_named *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)                                           /* a few hundred thousand compares for the largest model */
        if (strcmp(list[i].name, name) == 0) return i;
    return -1;
}

static tress_status add(tr_regrouped *r, const char *prefix, const char *name, tr_tensor t)
{
    tress_status st = TRESS_OK;
    tr_str s = { 0 };
    TR_TRY(tr_str_printf(&s, "%s%s", prefix, name));
    r->list[r->n].name = s.s;
    r->list[r->n].t = t;
    r->list[r->n].t.data = NULL;
    r->from[r->n++].n = 0;
done:
    return st;
}

/* One tensor of ours through the rule that knows it: 1 or 2 pieces, or all three of a fused one when ours is its first. */
static tress_status regroup_one(tr_regrouped *r, const char *prefix, const tr_key_rule *rules, int n_rule, const tr_key_rule *rule,
                                const tr_key_match *m, bool last, const tr_named *list, int n, int i)
{
    tress_status st = TRESS_OK;
    char theirs[512], ours[512];
    int64_t bytes = 0;
    tr_tensor t = list[i].t;
    const tr_key_kind kind = rule->kind == TR_KEY_SWAP_LAST && !last ? TR_KEY_PLAIN : rule->kind;
    if (rule->kind == TR_KEY_THIRD && rule->part != 0) return TRESS_OK;   /* comes with the first */
    TR_TRY(tr_key_name(theirs, sizeof theirs, rule->theirs, false, false, m));
    TR_TRY(bytes_of(&bytes, &list[i]));
    if (kind == TR_KEY_SQUEEZE && t.rank == 2) {
        t.rank = 4;
        t.shape[2] = t.shape[3] = 1;
    }
    if (kind == TR_KEY_THIRD) t.shape[0] *= 3;
    TR_TRY(add(r, prefix, theirs, t));
    tr_piece *piece = r->from[r->n - 1].piece;
    int *n_piece = &r->from[r->n - 1].n;
    if (kind == TR_KEY_THIRD) {
        for (int part = 0; part < 3; part++) {
            int k = i;
            for (int j = 0; part > 0 && j < n_rule; j++)
                if (rules[j].kind == TR_KEY_THIRD && rules[j].part == part && strcmp(rules[j].theirs, rule->theirs) == 0) {
                    TR_TRY(tr_key_name(ours, sizeof ours, rules[j].ours, false, false, m));
                    k = find(list, n, ours);
                    if (k < 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "tensor %s is missing, which %s is made of", ours, theirs));
                }
            if (list[k].t.rank != list[i].t.rank || memcmp(list[k].t.shape, list[i].t.shape, sizeof(int64_t) * (size_t)list[i].t.rank) != 0 ||
                list[k].t.dtype != list[i].t.dtype)
                TR_TRY(tr_fail(TRESS_E_SHAPE, "%s and %s cannot be fused: their shapes or types differ", list[i].name, list[k].name));
            piece[(*n_piece)++] = (tr_piece){ k, 0, (size_t)bytes };
        }
    } else if (kind == TR_KEY_SWAP || kind == TR_KEY_SWAP_LAST) {
        if (t.rank < 1 || t.shape[0] % 2 != 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s has an odd number of rows, expected scale and shift", list[i].name));
        piece[(*n_piece)++] = (tr_piece){ i, (size_t)bytes / 2, (size_t)bytes / 2 };
        piece[(*n_piece)++] = (tr_piece){ i, 0, (size_t)bytes / 2 };
    } else {
        piece[(*n_piece)++] = (tr_piece){ i, 0, (size_t)bytes };
    }
done:
    return st;
}

tress_status tr_regroup(tr_regrouped *out, tr_module module, const char *prefix, const tr_named *list, int n, tr_safetensors_fill fill, void *self)
{
    tress_status st = TRESS_OK;
    tr_regrouped r = { .fill = fill, .self = self };
    const tr_layout l = module == TR_MODULE_TRANSFORMER ? TR_LAYOUT_MMDIT : module == TR_MODULE_CONTROLNET ? TR_LAYOUT_CONTROLNET
                      : module == TR_MODULE_VAE ? TR_LAYOUT_VAE : TR_LAYOUT_DIFFUSERS;
    int n_rule = 0, n_block = 0, n_mirror = 0;
    const tr_key_rule *rule = tr_key_rules(l, &n_rule);
    void *p = NULL;
    TR_TRY(tr_alloc_array(&p, n, sizeof *r.list));
    r.list = p;
    TR_TRY(tr_alloc_array(&p, n, sizeof *r.from));
    r.from = p;
    for (int i = 0; i < n; i++) {
        tr_key_match m = { 0 };
        if (module == TR_MODULE_TRANSFORMER && tr_key_fits("transformer_blocks.#.attn.to_q.$", false, list[i].name, &m) && m.index[0] >= n_block)
            n_block = m.index[0] + 1;
        if (module == TR_MODULE_VAE && tr_key_fits("decoder.up_blocks.#.resnets.#.conv1.$", false, list[i].name, &m) && m.index[0] >= n_mirror)
            n_mirror = m.index[0] + 1;
    }
    for (int i = 0; i < n; i++) {
        tr_key_match m = { .n_mirror = n_mirror };
        int j = 0;
        if (module == TR_MODULE_CLIP_L && strcmp(list[i].name, "text_projection.weight") == 0) {
            r.n_left_out++;                                               /* readers of this layout take it for the identity */
            continue;
        }
        while (j < n_rule && !tr_key_fits(rule[j].ours, false, list[i].name, &m)) j++;
        if (j < n_rule) {
            TR_TRY(regroup_one(&r, prefix, rule, n_rule, &rule[j], &m, m.n_index > 0 && m.index[0] == n_block - 1, list, n, i));
        } else {
            int64_t bytes = 0;
            TR_TRY(bytes_of(&bytes, &list[i]));
            TR_TRY(add(&r, prefix, list[i].name, list[i].t));
            r.from[r.n - 1].piece[0] = (tr_piece){ i, 0, (size_t)bytes };
            r.from[r.n - 1].n = 1;
        }
    }
    *out = r;
    r = (tr_regrouped){ 0 };
done:
    tr_regrouped_fini(&r);
    return st;
}

tress_status tr_regrouped_fill(void *self, int i, size_t at, void *bytes, size_t n)
{
    const tr_regrouped *r = self;
    tress_status st = TRESS_OK;
    uint8_t *to = bytes;
    size_t begin = 0;                                                     /* of the piece, in the whole */
    for (int k = 0; k < r->from[i].n && n > 0; k++) {
        const tr_piece *p = &r->from[i].piece[k];
        if (at < begin + p->n) {
            const size_t skip = at - begin, len = p->n - skip < n ? p->n - skip : n;
            TR_TRY(r->fill(r->self, p->i, p->from + skip, to, len));
            to += len;
            at += len;
            n -= len;
        }
        begin += p->n;
    }
    TR_ASSERT(n == 0);
done:
    return st;
}
