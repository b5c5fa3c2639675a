/* Weights from one layout and number type into another, streamed; LoRAs may be added on the way. */
#include "api/convert_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One module on its way. */
typedef struct part {
    struct job *job;
    tr_weights *w;
    tr_named   *list;                           /* [n] names and shapes as written; names are w's */
    int         n;
} part;

typedef struct job {
    tress *t;
    const tress_convert_args *a;
    bool     as_stored;
    tr_dtype type;                              /* when not as stored */
    part     part[CONVERT_MODULES];             /* w NULL: not converted */
    tr_lora **lora;
    const tress_lora_ref *ref;
    int      n_lora;
    double   begin;
    int64_t  done, total;                       /* bytes written, to be written */
} job;

/* ---- numbers --------------------------------------------------------------------------------------------- */

static float value_of(const uint8_t *p, tr_dtype t)
{
    float f;
    uint16_t h;
    switch (t) {
    case TR_F32: memcpy(&f, p, 4); return f;
    case TR_F16: memcpy(&h, p, 2); return tr_f16_to_f32(h);
    case TR_BF16: memcpy(&h, p, 2); return tr_bf16_to_f32(h);
    case TR_F8_E4M3: return tr_f8e4m3_to_f32(*p);
    default: TR_ASSERT(!"a float type of weights"); return 0;
    }
}

/* false: x is beyond the type's largest number, or was not finite to begin with. */
static bool store(uint8_t *p, tr_dtype t, float x)
{
    uint16_t h;
    switch (t) {
    case TR_F32: memcpy(p, &x, 4); return isfinite(x);
    case TR_F16: h = tr_f32_to_f16(x); memcpy(p, &h, 2); return (h & 0x7c00) != 0x7c00;
    case TR_BF16: h = tr_f32_to_bf16(x); memcpy(p, &h, 2); return (h & 0x7f80) != 0x7f80;
    case TR_F8_E4M3: *p = tr_f32_to_f8e4m3(x); return fabsf(x) < 464;     /* 448 is the largest; half a step beyond it rounds down */
    default: TR_ASSERT(!"a float type of weights"); return false;
    }
}

#define BLOCK 65536                             /* elements of one item of work */
typedef struct piece {
    const part *p;
    int      i;                                 /* tensor */
    int64_t  first, n;                          /* elements */
    uint8_t *to;
    const tr_lora_pair *const *pair;            /* [n_pair] adapters on this tensor */
    const float *weight;                        /* [n_pair] */
    int      n_pair;
} piece;

static tress_status convert_block(void *self, int64_t k, int i_thread)
{
    const piece *c = self;
    const tr_tensor from = tr_weights_at(c->p->w, c->i);
    const tr_dtype t = c->p->list[c->i].t.dtype;
    const int64_t begin = k * BLOCK, n = c->n - begin < BLOCK ? c->n - begin : BLOCK, size_from = (int64_t)tr_dtype_size(from.dtype), size = (int64_t)tr_dtype_size(t);
    const int64_t d_in = c->n_pair ? tr_count(from) / from.shape[0] : 1;
    (void)i_thread;
    for (int64_t j = 0; j < n; j++) {
        const int64_t e = c->first + begin + j;
        float x = value_of((const uint8_t *)from.data + e * size_from, from.dtype);
        if (c->n_pair > 0) {
            double sum = (double)x;                                       /* rounded once, when it is stored */
            const int64_t row = e / d_in, col = e % d_in;
            for (int q = 0; q < c->n_pair; q++) {
                const tr_lora_pair *l = c->pair[q];
                const float *a = (const float *)l->a.data + col, *up = (const float *)l->up.data + row * l->rank;
                double d = 0;
                for (int r = 0; r < l->rank; r++) d += (double)up[r] * (double)a[r * d_in];
                sum += (double)c->weight[q] * d;
            }
            x = (float)sum;
        }
        if (!store(c->to + (begin + j) * size, t, x))
            return tr_fail(TRESS_E_FORMAT, "%s: tensor %s: element %" PRId64 " is %g, which %s cannot hold", tr_weights_where(c->p->w),
                           tr_weights_name(c->p->w, c->i), e, (double)x, tr_dtype_name(t));
    }
    return TRESS_OK;
}

static tress_status tell(job *j, size_t n)
{
    const tress_hooks *h = &j->t->host.hooks;
    j->done += (int64_t)n;
    if (h->cancelled && h->cancelled(h->self)) return tr_fail(TRESS_E_CANCELLED, "converting was interrupted");
    if (h->progress) {
        const double s = tr_seconds() - j->begin;
        const tress_progress p = { "convert", j->done, j->total, s, j->done > 0 ? s / (double)j->done * (double)(j->total - j->done) : -1 };
        h->progress(h->self, &p);
    }
    return TRESS_OK;
}

/* tr_safetensors_fill over a part. */
static tress_status fill(void *self, int i, size_t at, void *bytes, size_t n)
{
    const part *p = self;
    job *j = p->job;
    tress_status st = TRESS_OK;
    const tr_tensor from = tr_weights_at(p->w, i);
    const tr_dtype t = p->list[i].t.dtype;
    const size_t size = tr_dtype_size(t), len = strlen(p->list[i].name);
    const tr_lora_pair **pair = NULL;
    float *weight = NULL;
    void *v = NULL;
    int n_pair = 0;
    TR_TRY(tell(j, n));
    if (tr_weights_module(p->w) == TR_MODULE_TRANSFORMER && j->n_lora > 0 && len > 7 && strcmp(p->list[i].name + len - 7, ".weight") == 0) {
        TR_TRY(tr_alloc_array(&v, j->n_lora, sizeof *pair));
        pair = v;
        TR_TRY(tr_alloc_array(&v, j->n_lora, sizeof *weight));
        weight = v;
        for (int k = 0; k < j->n_lora; k++)
            for (int q = 0; q < tr_lora_count(j->lora[k]); q++) {
                const tr_lora_pair *l = tr_lora_at(j->lora[k], q);
                if (strlen(l->layer) != len - 7 || memcmp(l->layer, p->list[i].name, len - 7) != 0) continue;
                weight[n_pair] = j->ref[k].weight;
                pair[n_pair++] = l;
            }
    }
    if (n_pair == 0 && t == from.dtype) {
        memcpy(bytes, (const uint8_t *)from.data + at, n);
    } else {
        piece c = { p, i, (int64_t)(at / size), (int64_t)(n / size), bytes, pair, weight, n_pair };
        TR_TRY(tr_parallel(tr_device_threads(j->t->host.device), (c.n + BLOCK - 1) / BLOCK, convert_block, &c));
    }
done:
    tr_free(pair);
    tr_free(weight);
    return st;
}

/* ---- what is converted ----------------------------------------------------------------------------------- */

static bool wanted(const char *list, tr_module m)
{
    const char *name = tr_module_name(m);
    const size_t n = strlen(name);
    for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',')
        if (strcspn(s, ",") == n && strncmp(s, name, n) == 0) return true;
    return false;
}

static tress_status check_modules(const char *list)
{
    for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',') {
        bool known = false;
        for (tr_module m = TR_MODULE_TRANSFORMER; m <= TR_MODULE_T5; m++) {
            const char *name = tr_module_name(m);
            known |= strcspn(s, ",") == strlen(name) && strncmp(s, name, strlen(name)) == 0;
        }
        if (!known) return tr_fail(TRESS_E_ARG, "modules: found %.*s, expected some of transformer,controlnet,vae,text_encoder,text_encoder_2,text_encoder_3",
                                   (int)strcspn(s, ","), s);
    }
    return TRESS_OK;
}

/* Rank 2 and more, positions aside: what F8_E4M3 is meant for. Vectors and positions stay as they are, since it would cost much and save nothing. */
static tr_dtype type_for(const job *j, const char *name, tr_tensor t)
{
    if (j->as_stored || t.dtype > TR_F8_E4M3) return t.dtype;
    if (j->type == TR_F8_E4M3 && (t.rank < 2 || strcmp(name, "pos_embed.pos_embed") == 0)) return t.dtype;
    return j->type;
}

/* Build the module on a device that computes nothing: it looks up every tensor it has, so that what is missing, of another shape or
 * no part of it is known before anything is written. */
static tress_status check_part(tr_weights *w, tr_module m)
{
    tress_status st = TRESS_OK;
    tr_device *dry = NULL;
    union { tr_mmdit_config t; tr_controlnet_config n; tr_vae_config v; tr_clip_config c; tr_t5_config e; } config;
    union { tr_mmdit *t; tr_controlnet *n; tr_vae *v; tr_clip *c; tr_t5 *e; } net = { NULL };
    TR_TRY(tr_device_open(&dry, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = 1, .dry = true }));
    switch (m) {
    case TR_MODULE_TRANSFORMER:
        TR_TRY(tr_mmdit_config_read(&config.t, w));
        TR_TRY(tr_mmdit_open(&net.t, dry, w, &config.t));
        tr_mmdit_close(net.t);
        break;
    case TR_MODULE_CONTROLNET:
        TR_TRY(tr_controlnet_config_read(&config.n, w));
        TR_TRY(tr_controlnet_open(&net.n, dry, w, &config.n));
        tr_controlnet_close(net.n);
        break;
    case TR_MODULE_VAE:
        TR_TRY(tr_vae_config_read(&config.v, w));
        TR_TRY(tr_vae_open(&net.v, dry, w, &config.v));
        tr_vae_close(net.v);
        break;
    case TR_MODULE_CLIP_L:
    case TR_MODULE_CLIP_G:
        TR_TRY(tr_clip_config_read(&config.c, w));
        TR_TRY(tr_clip_open(&net.c, dry, w, &config.c));
        tr_clip_close(net.c);
        break;
    case TR_MODULE_T5:
        TR_TRY(tr_t5_config_read(&config.e, w));
        TR_TRY(tr_t5_open(&net.e, dry, w, &config.e));
        tr_t5_close(net.e);
        break;
    }
done:
    tr_device_close(dry);
    return st;
}

static tress_status open_part(job *j, tr_module m)
{
    tress_status st = TRESS_OK;
    part *p = &j->part[m];
    void *v = NULL;
    tr_tensor norm;
    TR_TRY(tr_weights_open(&p->w, j->a->from, m, j->a->variant));
    p->job = j;
    p->n = tr_weights_count(p->w);
    TR_TRY(tr_alloc_array(&v, p->n, sizeof *p->list));
    p->list = v;
    for (int i = 0; i < p->n; i++) {
        const tr_tensor t = tr_weights_at(p->w, i);
        const char *name = tr_weights_name(p->w, i);
        p->list[i].name = name;
        p->list[i].t = t;
        p->list[i].t.dtype = type_for(j, name, t);
        /* the identity that an original CLIP-L implies is made in F32: give it the type of its neighbours */
        if (j->as_stored && m == TR_MODULE_CLIP_L && !tr_weights_config(p->w) && strcmp(name, "text_projection.weight") == 0 &&
            tr_weights_find(p->w, "text_model.final_layer_norm.weight", &norm)) p->list[i].t.dtype = norm.dtype;
        j->total += tr_count(t) * (int64_t)tr_dtype_size(p->list[i].t.dtype);
    }
    TR_TRY(check_part(p->w, m));
    TR_TRY(tr_weights_check(p->w, tr_device_threads(j->t->host.device)));
    for (int i = 0; i < tr_weights_note_count(p->w); i++) tr_host_note(&j->t->host, "%s", tr_weights_note(p->w, i));
done:
    return st;
}

static tress_status open_parts(job *j)
{
    tress_status st = TRESS_OK;
    int n = 0;
    bool holds[CONVERT_MODULES] = { false };
    for (int m = 0; m < CONVERT_MODULES; m++) TR_TRY(tr_weights_holds(&holds[m], j->a->from, (tr_module)m));
    if (holds[TR_MODULE_CLIP_L] && holds[TR_MODULE_CLIP_G] && !holds[TR_MODULE_TRANSFORMER] && !j->a->modules && !tr_dir_exists(j->a->from))
        return tr_fail(TRESS_E_ARG, "%s: holds a CLIP text model: say which with modules text_encoder (CLIP-L) or text_encoder_2 (bigG)", j->a->from);
    for (int m = 0; m < CONVERT_MODULES; m++) {
        if (j->a->modules ? !wanted(j->a->modules, (tr_module)m) : !holds[m]) continue;
        TR_TRY(open_part(j, (tr_module)m));
        n++;
    }
    if (n == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: holds no module of an SD3 model", j->a->from));
done:
    return st;
}

/* Every adapter has a weight of its size to be added to. */
static tress_status check_loras(const job *j)
{
    const part *p = &j->part[TR_MODULE_TRANSFORMER];
    if (j->n_lora > 0 && !p->w) return tr_fail(TRESS_E_ARG, "the LoRAs are for a transformer, which is not among the modules");
    for (int k = 0; k < j->n_lora; k++)
        for (int q = 0; q < tr_lora_count(j->lora[k]); q++) {
            const tr_lora_pair *l = tr_lora_at(j->lora[k], q);
            char name[1024];
            tr_tensor t;
            snprintf(name, sizeof name, "%s.weight", l->layer);
            if (!tr_weights_find(p->w, name, &t) || t.rank < 2)
                return tr_fail(TRESS_E_CONTRACT, "%s: layer %s is not in %s", tr_lora_path(j->lora[k]), l->layer, tr_weights_where(p->w));
            if (t.shape[0] != l->up.shape[0] || tr_count(t) / t.shape[0] != l->a.shape[1])
                return tr_fail(TRESS_E_SHAPE, "%s: layer %s: the adapter is for [%" PRId64 ", %" PRId64 "], the weight is [%" PRId64 ", %" PRId64 "]",
                               tr_lora_path(j->lora[k]), l->layer, l->up.shape[0], l->a.shape[1], t.shape[0], tr_count(t) / t.shape[0]);
        }
    return TRESS_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static int count_parts(const job *j)
{
    int n = 0;
    for (int m = 0; m < CONVERT_MODULES; m++) n += j->part[m].w != NULL;
    return n;
}

/* What transformers calls a type. */
static const char *torch_name(const job *j)
{
    if (j->as_stored) return NULL;
    return j->type == TR_F32 ? "float32" : j->type == TR_F16 ? "float16" : j->type == TR_BF16 ? "bfloat16" : "float8_e4m3fn";
}

static tress_status write_folder(job *j)
{
    tress_status st = TRESS_OK;
    char *sub = NULL, *temp = NULL, *index = NULL, *to = NULL;
    tr_str s = { 0 };
    bool has[CONVERT_MODULES], is_model = false;
    TR_TRY(tr_strdup(&to, j->a->to));
    for (size_t n = strlen(to); n > 1 && to[n - 1] == '/'; n--) to[n - 1] = '\0';
    if (tr_file_exists(to) || (tr_dir_exists(to) && !convert_is_empty(to))) TR_TRY(tr_fail(TRESS_E_ARG, "%s: is there and not empty: name a new folder", to));
    TR_TRY(tr_str_printf(&s, "%s.part-%ld", to, (long)getpid()));
    temp = s.s;
    TR_TRY(tr_dir_make(temp));
    /* one module of no model's folder becomes a module's folder; everything else a model's folder */
    TR_TRY(tr_path_join(&index, j->a->from, "model_index.json"));
    is_model = count_parts(j) > 1 || tr_file_exists(index);
    for (int m = 0; m < CONVERT_MODULES; m++) {
        part *p = &j->part[m];
        has[m] = p->w != NULL;
        if (!has[m]) continue;
        TR_TRY(tr_path_join(&sub, temp, is_model ? tr_module_name((tr_module)m) : "."));
        TR_TRY(tr_dir_make(sub));
        TR_TRY(convert_write_config(sub, p->w, torch_name(j)));
        TR_TRY(tr_weights_save(sub, (tr_module)m, p->list, p->n, j->a->shard_bytes, fill, p));
        tr_free(sub);
        sub = NULL;
    }
    if (is_model) TR_TRY(convert_write_model(temp, tr_dir_exists(j->a->from) ? j->a->from : NULL, j->a->tokenizers, has, &j->t->host));
    if (rename(temp, to) != 0) TR_TRY(tr_fail(TRESS_E_IO, "%s: cannot be put in place: %s", to, strerror(errno)));
done:
    if (st != TRESS_OK && temp) convert_remove(temp);
    tr_free(sub);
    tr_free(index);
    tr_free(to);
    tr_str_fini(&s);
    return st;
}

/* Several modules in one file: each index handed to its own. */
typedef struct joined { tr_regrouped part[CONVERT_MODULES]; int first[CONVERT_MODULES + 1], n; } joined;

static tress_status fill_joined(void *self, int i, size_t at, void *bytes, size_t n)
{
    joined *j = self;
    int k = 0;
    while (i >= j->first[k + 1]) k++;
    return tr_regrouped_fill(&j->part[k], i - j->first[k], at, bytes, n);
}

static tress_status write_file(job *j)
{
    static const char *const meta[] = { "format", "pt", NULL };
    tress_status st = TRESS_OK;
    joined all = { .n = 0 };
    tr_named *list = NULL;
    void *v = NULL;
    tr_tensor t;
    int n = 0;
    if (tr_dir_exists(j->a->to)) TR_TRY(tr_fail(TRESS_E_ARG, "%s: is a folder, expected the name of a file", j->a->to));
    part *control = &j->part[TR_MODULE_CONTROLNET];
    if (control->w && count_parts(j) > 1) {
        if (j->a->modules) TR_TRY(tr_fail(TRESS_E_ARG, "modules: in the original layout a ControlNet has a file of its own"));
        tr_host_note(&j->t->host, "the ControlNet is left out: in the original layout it has a file of its own (--modules controlnet)");
        for (int i = 0; i < control->n; i++) j->total -= tr_count(control->list[i].t) * (int64_t)tr_dtype_size(control->list[i].t.dtype);
        tr_weights_close(control->w);
        control->w = NULL;
    }
    if (control->w && tr_weights_find(control->w, "context_embedder.weight", &t))
        TR_TRY(tr_fail(TRESS_E_ARG, "%s: a ControlNet that reads words has no original layout: name a folder", tr_weights_where(control->w)));
    const bool alone = count_parts(j) == 1;
    for (int m = 0; m < CONVERT_MODULES; m++) {
        part *p = &j->part[m];
        if (!p->w) continue;
        tr_regrouped *r = &all.part[all.n];
        TR_TRY(tr_regroup(r, (tr_module)m, alone ? "" : tr_module_prefix((tr_module)m), p->list, p->n, fill, p));
        all.first[all.n++] = n;
        n += r->n;
        if (r->n_left_out > 0 && tr_weights_config(p->w)) {
            bool is_identity = tr_weights_find(p->w, "text_projection.weight", &t) && t.rank == 2;
            for (int64_t i = 0; is_identity && i < tr_count(t); i++)
                is_identity = value_of((const uint8_t *)t.data + i * (int64_t)tr_dtype_size(t.dtype), t.dtype) == (i / t.shape[1] == i % t.shape[1] ? 1.0f : 0.0f);
            if (!is_identity)
                tr_host_note(&j->t->host, "%s: its text_projection is left out: the original layout has none, and its readers use the pooled vector without it",
                             tr_weights_where(p->w));
        }
    }
    all.first[all.n] = n;
    TR_TRY(tr_alloc_array(&v, n, sizeof *list));
    list = v;
    for (int k = 0; k < all.n; k++) memcpy(list + all.first[k], all.part[k].list, (size_t)all.part[k].n * sizeof *list);
    TR_TRY(tr_safetensors_write_filled(j->a->to, list, n, meta, fill_joined, &all));
done:
    for (int k = 0; k < all.n; k++) tr_regrouped_fini(&all.part[k]);
    tr_free(list);
    return st;
}

static bool is_file_name(const char *path)
{
    static const char end[] = ".safetensors";
    const size_t n = strlen(path), k = sizeof end - 1;
    return n > k && strcmp(path + n - k, end) == 0;
}

static tress_status run(tress *t, const tress_convert_args *a, const tress_lora_ref *ref, int n_lora)
{
    tress_status st = TRESS_OK;
    job j = { .t = t, .a = a, .as_stored = !a->dtype, .ref = ref, .n_lora = n_lora, .begin = tr_seconds() };
    void *v = NULL;
    if (a->dtype) {
        static const struct { const char *name; tr_dtype t; } type[] = { { "f32", TR_F32 }, { "f16", TR_F16 }, { "bf16", TR_BF16 }, { "f8e4m3", TR_F8_E4M3 } };
        size_t i = 0;
        while (i < 4 && strcmp(a->dtype, type[i].name) != 0) i++;
        if (i == 4) TR_TRY(tr_fail(TRESS_E_ARG, "dtype: found %s, expected f32, f16, bf16 or f8e4m3", a->dtype));
        j.type = type[i].t;
    }
    if (a->modules) TR_TRY(check_modules(a->modules));
    if (n_lora > 0) {
        TR_TRY(tr_alloc_array(&v, n_lora, sizeof *j.lora));
        j.lora = v;
        for (int i = 0; i < n_lora; i++) {
            if (!isfinite(ref[i].weight)) TR_TRY(tr_fail(TRESS_E_ARG, "%s: its weight is not finite", ref[i].file));
            TR_TRY(tr_lora_open(&j.lora[i], ref[i].file));
        }
    }
    TR_TRY(open_parts(&j));
    TR_TRY(check_loras(&j));
    TR_TRY(is_file_name(a->to) ? write_file(&j) : write_folder(&j));
done:
    for (int m = 0; m < CONVERT_MODULES; m++) {
        tr_weights_close(j.part[m].w);
        tr_free(j.part[m].list);
    }
    for (int i = 0; j.lora && i < n_lora; i++) tr_lora_close(j.lora[i]);
    tr_free(j.lora);
    return st;
}

tress_status tress_convert(tress *t, const tress_convert_args *a)
{
    if (!t || !a || !a->from || !a->to) return tr_fail(TRESS_E_ARG, "tress_convert: from and to are needed");
    return run(t, a, NULL, 0);
}

tress_status tress_lora_merge(tress *t, const tress_convert_args *a, const tress_lora_ref *lora, int n_lora)
{
    if (!t || !a || !a->from || !a->to || !lora || n_lora < 1) return tr_fail(TRESS_E_ARG, "tress_lora_merge: from, to and at least one LoRA are needed");
    return run(t, a, lora, n_lora);
}
