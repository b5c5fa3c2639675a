#include "model/lora_int.h"

#include <string.h>

const char *tr_lora_format_name(tr_lora_format f)
{
    static const char *const name[TR_LORA_FORMAT_N] = { "diffusers", "peft", "kohya", "comfyui", "onetrainer" };
    TR_ASSERT((int)f >= 0 && f < TR_LORA_FORMAT_N);
    return name[f];
}

tress_status tr_lora_grow(void *p, int n, int *cap, size_t size)
{
    if (n < *cap) return TRESS_OK;
    void *old = NULL;
    memcpy(&old, p, sizeof old);                                          /* p is the address of a pointer of any type */
    const int want = *cap ? 2 * *cap : 64;
    const tress_status st = tr_realloc(&old, (size_t)*cap * size, (size_t)want * size);
    if (st != TRESS_OK) return st;
    memcpy(p, &old, sizeof old);
    *cap = want;
    return TRESS_OK;
}

tress_status tr_lora_new(tr_lora **out)
{
    tress_status st = TRESS_OK;
    tr_lora *l = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *l));
    l = p;
    TR_TRY(tr_strdup(&l->path, ""));
    *out = l;
    l = NULL;
done:
    tr_lora_close(l);
    return st;
}

static void pair_fini(tr_lora_pair *p)
{
    tr_free(p->layer);
    tr_free(p->a.data);
    tr_free(p->up.data);
}

void tr_lora_close(tr_lora *l)
{
    if (!l) return;
    for (int i = 0; i < l->n_pair; i++) pair_fini(&l->pair[i]);
    for (int i = 0; i < l->n_meta; i++) {
        tr_free(l->meta[i].key);
        tr_free(l->meta[i].value);
    }
    tr_free(l->pair);
    tr_free(l->meta);
    tr_free(l->path);
    tr_free(l);
}

tr_lora_format tr_lora_get_format(const tr_lora *l) { return l->format; }
const char *tr_lora_path(const tr_lora *l) { return l->path; }
int tr_lora_count(const tr_lora *l) { return l->n_pair; }
int tr_lora_meta_count(const tr_lora *l) { return l->n_meta; }

const tr_lora_pair *tr_lora_at(const tr_lora *l, int i)
{
    TR_ASSERT(i >= 0 && i < l->n_pair);
    return &l->pair[i];
}

const char *tr_lora_meta(const tr_lora *l, const char *key)
{
    for (int i = 0; i < l->n_meta; i++)
        if (strcmp(l->meta[i].key, key) == 0) return l->meta[i].value;
    return NULL;
}

void tr_lora_meta_at(const tr_lora *l, int i, const char **key, const char **value)
{
    TR_ASSERT(i >= 0 && i < l->n_meta);
    *key = l->meta[i].key;
    *value = l->meta[i].value;
}

tress_status tr_lora_set_meta(tr_lora *l, const char *key, const char *value)
{
    tress_status st = TRESS_OK;
    char *k = NULL, *v = NULL;
    TR_TRY(tr_strdup(&v, value));
    for (int i = 0; i < l->n_meta; i++)
        if (strcmp(l->meta[i].key, key) == 0) {
            tr_free(l->meta[i].value);
            l->meta[i].value = v;
            v = NULL;
            goto done;
        }
    TR_TRY(tr_strdup(&k, key));
    TR_TRY(tr_lora_grow(&l->meta, l->n_meta, &l->cap_meta, sizeof *l->meta));
    l->meta[l->n_meta++] = (tr_lora_text){ k, v };
    k = v = NULL;
done:
    tr_free(k);
    tr_free(v);
    return st;
}

tress_status tr_lora_add(tr_lora *l, const tr_lora_pair **out, const char *layer, int rank, int64_t d_out, int64_t d_in)
{
    tress_status st = TRESS_OK;
    tr_lora_pair p = { .rank = rank, .alpha = (float)rank };
    void *a = NULL, *up = NULL;
    size_t n = 0;
    int at = 0;
    if (rank < 1 || rank > TR_LORA_RANK_MAX) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: rank %d, expected 1 to %d", layer, rank, TR_LORA_RANK_MAX));
    while (at < l->n_pair && strcmp(l->pair[at].layer, layer) < 0) at++;
    if (at < l->n_pair && strcmp(l->pair[at].layer, layer) == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "layer %s has two adapters in one file", layer));
    TR_TRY(tr_strdup(&p.layer, layer));
    TR_TRY(tr_bytes(&n, TR_F32, TR_DIMS(rank, d_in)));
    TR_TRY(tr_alloc(&a, n));
    p.a = tr_view(a, TR_F32, TR_DIMS(rank, d_in));
    TR_TRY(tr_bytes(&n, TR_F32, TR_DIMS(d_out, rank)));
    TR_TRY(tr_alloc(&up, n));
    p.up = tr_view(up, TR_F32, TR_DIMS(d_out, rank));
    TR_TRY(tr_lora_grow(&l->pair, l->n_pair, &l->cap_pair, sizeof *l->pair));
    memmove(&l->pair[at + 1], &l->pair[at], (size_t)(l->n_pair - at) * sizeof *l->pair);
    l->pair[at] = p;
    l->n_pair++;
    if (out) *out = &l->pair[at];
    p = (tr_lora_pair){ 0 };
done:
    pair_fini(&p);
    return st;
}
