#include "data/latents.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEPT 4
static const char *const tensor_names[KEPT] = { "mean", "std", "control", "mask" };

/* One file. */
typedef struct kept {
    int   i_item, variant;
    bool  augmented;
    char  key[65];
    char *path, *why;                           /* why it must be made anew; NULL: it was not there, or is fine */
    tr_safetensors *file;
} kept;

typedef struct item { int h, w, bucket, first, n_kept; bool held; } item;        /* kept first .. first + n_kept - 1 */
typedef struct bucket { int h, w, band; } bucket;

struct tr_latents {
    tr_latents_spec spec;
    tr_latents_args args;
    char    vae[65], digest[65];                /* fingerprints */
    int     channels, n_item, n_bucket, n_kept;
    item   *item;                               /* [n_item] */
    bucket *bucket;                             /* [n_bucket], room for n_item */
    kept   *kept;                               /* [n_kept] */
};

/* ---- keys ------------------------------------------------------------------------------------------------ */

/* What is done to every picture, one line. Raise the number when the same words would give other latents. */
static tress_status spec_text(tr_str *s, const tr_latents *l)
{
    const tr_prepare_spec *p = &l->spec.prepare;
    return tr_str_printf(s, "tress latents 1\nvae %s\nresolution %d\nfit %d\ncell %d\ncontrol %d %d %d\nmask %a %a\n", l->vae, p->resolution, (int)p->fit,
                         p->cell, (int)p->control_image, (int)l->spec.control_range, l->spec.control_shifted, p->mask_grow, p->mask_blur);
}

static tress_status chance_text(tr_str *s, const tr_latents *l)
{
    const tr_augment *a = &l->spec.prepare.augment;
    return tr_str_printf(s, "augment %d %a %a %a %a\nseed %" PRIu64 "\n", a->flip, a->rotate, a->translate, a->scale, a->stroke_width, l->spec.prepare.seed);
}

static tress_status files_text(tr_str *s, const tr_latents *l, int i)
{
    const tr_data_facts *a = &l->args.check->facts[i];
    return tr_str_printf(s, "img %s\nmatte %s\nsketch %s\n", a->hash[TR_DATA_IMG], a->hash[TR_DATA_MATTE], a->hash[TR_DATA_SKETCH]);
}

static tress_status hash_text(char hex[65], const tr_str *s)
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    TR_TRY(tr_sha256_new(&h));
    TR_TRY(tr_sha256_add(h, s->s, s->len));
    TR_TRY(tr_sha256_hex(h, hex));
done:
    tr_sha256_free(h);
    return st;
}

static tress_status make_key(tr_latents *l, kept *k)
{
    tress_status st = TRESS_OK;
    tr_str s = { 0 }, file = { 0 };
    const item *it = &l->item[k->i_item];
    TR_TRY(spec_text(&s, l));
    TR_TRY(files_text(&s, l, k->i_item));
    TR_TRY(tr_str_printf(&s, "frame %d %d\n", it->h, it->w));
    if (k->augmented) {
        TR_TRY(chance_text(&s, l));
        TR_TRY(tr_str_printf(&s, "name %s\nvariant %d\n", l->args.check->data->item[k->i_item].name, k->variant));
    }
    TR_TRY(hash_text(k->key, &s));
    TR_TRY(tr_str_printf(&file, "%s.safetensors", k->key));
    TR_TRY(tr_path_join(&k->path, l->args.dir, file.s));
done:
    tr_str_fini(&s);
    tr_str_fini(&file);
    return st;
}

static tress_status make_digest(tr_latents *l)
{
    tress_status st = TRESS_OK;
    tr_str s = { .max = (size_t)1 << 30 };
    const tr_dataset *d = l->args.check->data;
    TR_TRY(spec_text(&s, l));
    TR_TRY(chance_text(&s, l));
    TR_TRY(tr_str_printf(&s, "variants %d\n", l->spec.variants));
    for (int i = 0; i < l->n_item; i++) {
        TR_TRY(tr_str_printf(&s, "name %s\nheld %d\nframe %d %d\n", d->item[i].name, l->item[i].held, l->item[i].h, l->item[i].w));
        TR_TRY(files_text(&s, l, i));
    }
    TR_TRY(hash_text(l->digest, &s));
done:
    tr_str_fini(&s);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static tr_dims dims_of(const tr_latents *l, const item *it, int i)
{
    return TR_DIMS(i == KEPT - 1 ? 1 : l->channels, it->h, it->w);
}

/* Over the tensors' bytes in the order of tensor_names. */
static tress_status digest_of(char hex[65], const tr_latents *l, const item *it, const void *const data[KEPT])
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    size_t n = 0;
    TR_TRY(tr_sha256_new(&h));
    for (int i = 0; i < KEPT; i++) {
        TR_TRY(tr_bytes(&n, TR_F32, dims_of(l, it, i)));
        TR_TRY(tr_sha256_add(h, data[i], n));
    }
    TR_TRY(tr_sha256_hex(h, hex));
done:
    tr_sha256_free(h);
    return st;
}

static bool all_finite(const void *data, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += 4) {
        uint32_t bits;
        memcpy(&bits, (const char *)data + at, 4);                               /* a foreign file need not be aligned */
        if ((bits & 0x7f800000u) == 0x7f800000u) return false;
    }
    return true;
}

static tress_status open_kept(tr_safetensors **out, const tr_latents *l, const kept *k)
{
    tress_status st = TRESS_OK;
    tr_safetensors *f = NULL;
    const item *it = &l->item[k->i_item];
    const void *data[KEPT];
    char hex[65];
    TR_TRY(tr_safetensors_open(&f, k->path));
    for (int i = 0; i < KEPT; i++) {
        tr_tensor t;
        size_t n = 0;
        if (!tr_safetensors_find(f, tensor_names[i], &t)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: has no tensor %s", k->path, tensor_names[i]));
        if (t.dtype != TR_F32 || !tr_has_dims(t, dims_of(l, it, i))) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s has another type or shape", k->path, tensor_names[i]));
        TR_TRY(tr_bytes(&n, TR_F32, dims_of(l, it, i)));
        if (!all_finite(t.data, n)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s holds NaN or infinite values", k->path, tensor_names[i]));
        data[i] = t.data;
    }
    TR_TRY(digest_of(hex, l, it, data));
    const char *key = tr_safetensors_meta(f, "key"), *said = tr_safetensors_meta(f, "sha256");
    if (!key || strcmp(key, k->key) != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: is of another picture or treatment", k->path));
    if (!said || strcmp(said, hex) != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: its digest is not that of its tensors", k->path));
    *out = f;
    f = NULL;
done:
    tr_safetensors_close(f);
    return st;
}

static tress_status save_kept(const tr_latents *l, const kept *k, float *const data[KEPT])
{
    tress_status st = TRESS_OK;
    const item *it = &l->item[k->i_item];
    tr_named list[KEPT];
    char hex[65];
    const char *const meta[] = { "key", k->key, "sha256", hex, NULL };
    for (int i = 0; i < KEPT; i++) list[i] = (tr_named){ tensor_names[i], tr_view(data[i], TR_F32, dims_of(l, it, i)) };
    TR_TRY(digest_of(hex, l, it, (const void *const *)data));
    TR_TRY(tr_safetensors_write(k->path, list, KEPT, meta));
done:
    return st;
}

/* ---- making ---------------------------------------------------------------------------------------------- */

static tress_status encode(tr_latents *l, int i, bool augment, uint64_t draw, float *const data[KEPT])
{
    tress_status st = TRESS_OK;
    const item *it = &l->item[i];
    const tr_data_item *from = &l->args.check->data->item[i];
    tr_image *img[TR_DATA_KINDS] = { NULL };
    tr_prepared p = { 0 };
    tr_vae *v = l->args.vae;
    tr_stream *s = l->args.stream;
    const int band = l->bucket[it->bucket].band;
    const tr_data_facts *a = &l->args.check->facts[i];
    const char *const hash[TR_DATA_KINDS] = { a->hash[TR_DATA_IMG], a->hash[TR_DATA_MATTE], a->hash[TR_DATA_SKETCH] };
    TR_TRY(tr_data_load_item(img, from, hash));
    TR_TRY(tr_prepare(&p, &l->spec.prepare, img, from->name, augment, draw));
    TR_ASSERT(p.mask.h == it->h && p.mask.w == it->w);
    for (int64_t k = 0; k < (int64_t)3 * p.photo.h * p.photo.w; k++) p.photo.data[k] = 2 * p.photo.data[k] - 1;
    tr_control_range_apply(p.control, l->spec.control_range);
    TR_TRY(tr_vae_encode_scaled(v, s, data[0], data[1], p.photo.data, it->h, it->w, true, band));
    TR_TRY(tr_vae_encode_scaled(v, s, data[2], NULL, p.control.data, it->h, it->w, l->spec.control_shifted, band));
    memcpy(data[3], p.mask.data, sizeof(float) * (size_t)it->h * (size_t)it->w);
done:
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
    tr_prepared_fini(&p);
    return st == TRESS_OK || st == TRESS_E_CANCELLED ? st : tr_note(st, "encoding %s", from->path[TR_DATA_IMG]);
}

static tress_status make_kept(tr_latents *l, kept *k)
{
    tress_status st = TRESS_OK;
    const item *it = &l->item[k->i_item];
    float *data[KEPT] = { NULL };
    for (int i = 0; i < KEPT; i++) {
        size_t n = 0;
        TR_TRY(tr_bytes(&n, TR_F32, dims_of(l, it, i)));
        TR_TRY(tr_alloc((void **)&data[i], n));
    }
    TR_TRY(encode(l, k->i_item, k->augmented, (uint64_t)k->variant, data));
    TR_TRY(save_kept(l, k, data));
    TR_TRY(open_kept(&k->file, l, k));
done:
    for (int i = 0; i < KEPT; i++) tr_free(data[i]);
    return st;
}

/* A file that is there is opened; one that is no good is told of and left for making. */
static tress_status try_kept(void *self, int64_t i, int i_thread)
{
    tr_latents *l = self;
    kept *k = &l->kept[i];
    (void)i_thread;
    tress_status st = make_key(l, k);
    if (st != TRESS_OK || !tr_file_exists(k->path)) return st;
    st = open_kept(&k->file, l, k);
    if (st == TRESS_OK || st == TRESS_E_OOM) return st;
    return tr_strdup(&k->why, tr_message());
}

static tress_status make_missing(tr_latents *l)
{
    tress_status st = TRESS_OK;
    const tr_data_hooks none = { 0 }, *hooks = l->args.hooks ? l->args.hooks : &none;
    tr_str text = { 0 };
    int n_done = 0;
    if (l->n_kept == 0) return TRESS_OK;
    TR_TRY(tr_dir_make(l->args.dir));
    TR_TRY(tr_parallel(l->args.n_thread, l->n_kept, try_kept, l));
    for (int i = 0; i < l->n_kept; i++) n_done += l->kept[i].file != NULL;
    if (hooks->progress) hooks->progress(hooks->self, n_done, l->n_kept);
    for (int i = 0; i < l->n_kept; i++) {
        kept *k = &l->kept[i];
        if (k->why && hooks->note) {
            text.len = 0;
            TR_TRY(tr_str_printf(&text, "kept latents are no good and are made anew: %s", k->why));
            hooks->note(hooks->self, text.s);
        }
        if (k->file) continue;
        TR_TRY(tr_stream_poll(l->args.stream));
        TR_TRY(make_kept(l, k));
        if (hooks->progress) hooks->progress(hooks->self, ++n_done, l->n_kept);
    }
done:
    tr_str_fini(&text);
    return st;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

static tress_status lay_out(tr_latents *l)
{
    tress_status st = TRESS_OK;
    const tr_check *c = l->args.check;
    const tr_prepare_spec *p = &l->spec.prepare;
    const bool chance = tr_augment_is_on(&p->augment);
    int64_t n_kept = 0;
    TR_TRY(tr_alloc_array((void **)&l->item, l->n_item, sizeof *l->item));
    TR_TRY(tr_alloc_array((void **)&l->bucket, l->n_item, sizeof *l->bucket));
    for (int i = 0; i < l->n_item; i++) {
        item *it = &l->item[i];
        int w = 0, h = 0, b = 0;
        tr_prepare_size(&w, &h, p, c->facts[i].width, c->facts[i].height);
        it->w = w / p->cell;
        it->h = h / p->cell;
        it->held = l->args.held && l->args.held[i];
        it->n_kept = it->held ? 1 : chance ? l->spec.variants : l->spec.variants > 0;
        n_kept += it->n_kept;
        while (b < l->n_bucket && (l->bucket[b].h != it->h || l->bucket[b].w != it->w)) b++;
        it->bucket = b;
        if (b == l->n_bucket) l->bucket[l->n_bucket++] = (bucket){ it->h, it->w, 0 };
    }
    if (n_kept > TR_LATENTS_FILES_MAX)
        TR_TRY(tr_fail(TRESS_E_ARG, "--augment-variants %d of %d pictures are %" PRId64 " files of latents, at most %d can be open at once; 0 keeps none", l->spec.variants,
                       l->n_item, n_kept, TR_LATENTS_FILES_MAX));
    TR_TRY(tr_alloc_array((void **)&l->kept, n_kept, sizeof *l->kept));
    for (int i = 0; i < l->n_item; i++) {
        l->item[i].first = l->n_kept;
        for (int v = 0; v < l->item[i].n_kept; v++) l->kept[l->n_kept++] = (kept){ .i_item = i, .variant = v, .augmented = chance && !l->item[i].held };
    }
    for (int b = 0; b < l->n_bucket; b++)
        TR_TRY(tr_vae_choose_band(&l->bucket[b].band, l->args.vae, l->args.weights, false, l->bucket[b].h, l->bucket[b].w, l->args.memory_max));
done:
    return st;
}

tress_status tr_latents_open(tr_latents **out, const tr_latents_spec *spec, const tr_latents_args *args)
{
    tress_status st = TRESS_OK;
    tr_latents *l = NULL;
    TR_ASSERT(spec->prepare.cell == tr_vae_factor(args->vae));
    TR_TRY(tr_prepare_check(&spec->prepare));
    if (spec->variants < 0 || spec->variants > 1024) TR_TRY(tr_fail(TRESS_E_ARG, "--augment-variants %d, it must lie between 0 and 1024", spec->variants));
    TR_TRY(tr_check_verdict(args->check));
    TR_TRY(tr_alloc((void **)&l, sizeof *l));
    l->spec = *spec;
    l->args = *args;
    l->n_item = args->check->data->n_item;
    l->channels = tr_vae_get_config(args->vae)->latent_channels;
    TR_TRY(tr_fingerprint(l->vae, args->weights));
    TR_TRY(lay_out(l));
    TR_TRY(make_digest(l));
    TR_TRY(make_missing(l));
    *out = l;
    l = NULL;
done:
    tr_latents_close(l);
    return st;
}

void tr_latents_close(tr_latents *l)
{
    if (!l) return;
    for (int i = 0; i < l->n_kept; i++) {
        tr_safetensors_close(l->kept[i].file);
        tr_free(l->kept[i].path);
        tr_free(l->kept[i].why);
    }
    tr_free(l->kept);
    tr_free(l->item);
    tr_free(l->bucket);
    tr_free(l);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

int tr_latents_count(const tr_latents *l) { return l->n_item; }
int tr_latents_channels(const tr_latents *l) { return l->channels; }
const char *tr_latents_digest(const tr_latents *l) { return l->digest; }

tr_latents_item tr_latents_at(const tr_latents *l, int i)
{
    const item *it = &l->item[i];
    return (tr_latents_item){ l->args.check->data->item[i].name, it->held, it->h, it->w, it->bucket };
}

tress_status tr_latents_get(tr_latents *l, int i, uint64_t draw, float *mean, float *std, float *control, float *mask)
{
    TR_ASSERT(i >= 0 && i < l->n_item);
    const item *it = &l->item[i];
    float *const data[KEPT] = { mean, std, control, mask };
    if (it->n_kept == 0) return encode(l, i, tr_augment_is_on(&l->spec.prepare.augment), draw, data);
    uint32_t w[4];
    tr_philox(w, l->spec.prepare.seed ^ UINT64_C(0x76617269616e74), tr_data_key(l->args.check->data->item[i].name), draw);        /* "variant" */
    const kept *k = &l->kept[it->first + (int)((uint64_t)w[0] * (uint64_t)it->n_kept >> 32)];
    for (int j = 0; j < KEPT; j++) {
        tr_tensor t;
        size_t n = 0;
        const tress_status st = tr_bytes(&n, TR_F32, dims_of(l, it, j));
        if (st != TRESS_OK) return st;
        TR_ASSERT(tr_safetensors_find(k->file, tensor_names[j], &t));
        memcpy(data[j], t.data, n);
    }
    return TRESS_OK;
}
