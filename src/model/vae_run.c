/* Pictures to latents and back, one picture at a time. Two ways of the same bytes: with band 0 the planes inside a residual
 * block are stored; with a band those that find no room beside the levels' outputs are computed again by bands, twice or
 * three times, rather than stored. */
#include "model/embed_int.h"
#include "model/vae_int.h"

#include <math.h>

static const int channels_last[] = { 0, 2, 3, 1 };

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static tress_status take_stats(tr_vae_run *r, tr_tensor *out, const tr_plane *p)
{
    return tr_vae_take(r, out, TR_F64, TR_DIMS(1, p->h, r->config->norm_groups, 2));
}

static void show(const tr_vae *v, const char *name, int level, const tr_plane *p)
{
    if (v->watch.stage && !tr_is_none(p->stored)) v->watch.stage(v->watch.self, name, level, p->stored);
}

/* ---- a residual block ------------------------------------------------------------------------------------ */
typedef struct block_planes { tr_plane h; tr_tensor stats1, stats2; } block_planes;

/* y = x' + conv2(silu(norm2(conv1(silu(norm1(x)))))), x' = shortcut(x). y goes to pool i, over x where x is there and channels
 * stay. With may_leave, y may stay virtual: then b and the memory taken are the caller's to end. */
static tress_status residual(tr_vae_run *r, const tr_vae_resnet *n, tr_plane *x, tr_plane *y, int i, block_planes *b, bool may_leave)
{
    tress_status st = TRESS_OK;
    const int64_t c = n->conv1.w.shape[0];
    const bool over = !tr_is_none(x->stored) && x->stored.data == r->pool[i].data;
    TR_ASSERT(!over || tr_is_none(n->shortcut.w));
    tr_tensor to = over ? x->stored : tr_vae_claim(r, i, x->h, x->w, c), room;
    TR_TRY(take_stats(r, &b->stats1, x));
    TR_TRY(tr_plane_stats(r, x, b->stats1));
    b->h = (tr_plane){ .h = x->h, .w = x->w, .c = c, .from = x, .conv = &n->conv1, .norm = &n->norm1, .stats = b->stats1 };
    TR_TRY(take_stats(r, &b->stats2, &b->h));
    *y = (tr_plane){ .h = x->h, .w = x->w, .c = c, .from = &b->h, .conv = &n->conv2, .norm = &n->norm2, .stats = b->stats2, .plus = x, .shortcut = &n->shortcut };
    if (!r->band || tr_vae_has_room(r, x->h * x->w * c + 1024)) {
        TR_TRY(tr_vae_take(r, &room, tr_stream_dtype(r->s), TR_DIMS(1, x->h, x->w, c)));
        if (tr_is_none(x->stored)) {
            tr_plane added = { .h = x->h, .w = x->w, .c = c, .stored = to };
            TR_TRY(tr_plane_store_both(r, &b->h, room, &n->shortcut, to));
            TR_TRY(tr_plane_stats(r, &b->h, b->stats2));
            y->plus = &added;
            y->shortcut = NULL;
            TR_TRY(tr_plane_store(r, y, to));
        } else {
            TR_TRY(tr_plane_store(r, &b->h, room));
            TR_TRY(tr_plane_stats(r, &b->h, b->stats2));
            TR_TRY(tr_plane_store(r, y, to));
        }
    } else {
        TR_TRY(tr_plane_stats(r, &b->h, b->stats2));
        if (may_leave) goto done;
        if (over) TR_TRY(tr_plane_store_over(r, y));
        else TR_TRY(tr_plane_store(r, y, to));
    }
done:
    return st;
}

/* As residual, stored; x becomes y. */
static tress_status residual_step(tr_vae_run *r, const tr_vae_resnet *n, tr_plane *x, int i)
{
    tress_status st = TRESS_OK;
    block_planes b;
    tr_plane y;
    const tr_vae_mark m = tr_vae_push(r);
    TR_TRY(residual(r, n, x, &y, i, &b, false));
    *x = (tr_plane){ .h = y.h, .w = y.w, .c = y.c, .stored = y.stored };
done:
    tr_vae_pop(r, m);
    if (st == TRESS_OK) (void)tr_vae_claim(r, i, x->h, x->w, x->c);
    return st;
}

/* x += out(attention(norm(x))), one head of all channels. */
static tress_status attention(tr_vae_run *r, const tr_vae_half *half, tr_plane *x)
{
    tress_status st = TRESS_OK;
    const int64_t n = x->h * x->w, c = x->c;
    const tr_dtype type = tr_stream_dtype(r->s);
    const tr_dims rows = TR_DIMS(n, c), heads = TR_DIMS(1, n, 1, c);
    tr_tensor stats, h, q, k, v;
    const tr_vae_mark m = tr_vae_push(r);
    if (tr_is_none(half->q.w)) goto done;
    TR_TRY(tr_stream_poll(r->s));
    TR_TRY(take_stats(r, &stats, x));
    TR_TRY(tr_plane_stats(r, x, stats));
    TR_TRY(tr_vae_take(r, &h, type, rows));
    TR_TRY(tr_vae_take(r, &q, type, rows));
    TR_TRY(tr_vae_take(r, &k, type, rows));
    TR_TRY(tr_vae_take(r, &v, type, rows));
    TR_TRY(tr_group_norm(r->s, tr_reshape(h, TR_DIMS(1, x->h, x->w, c)), x->stored, stats, half->attention_norm.w, half->attention_norm.b, TR_VAE_EPS, TR_ACT_NONE));
    TR_TRY(tr_linear(r->s, q, h, half->q.w, half->q.b, tr_none(), tr_none(), NULL));
    TR_TRY(tr_linear(r->s, k, h, half->k.w, half->k.b, tr_none(), tr_none(), NULL));
    TR_TRY(tr_linear(r->s, v, h, half->v.w, half->v.b, tr_none(), tr_none(), NULL));
    TR_TRY(tr_attention(r->s, &(tr_attention_args){
        .q = tr_reshape(q, heads), .o = tr_reshape(h, heads), .scale = 1 / sqrtf((float)c), .n_segment = 1,
        .segment = { { .k = tr_reshape(k, heads), .v = tr_reshape(v, heads) } } }));
    const tr_tensor tokens = tr_reshape(x->stored, rows);
    TR_TRY(tr_linear(r->s, tokens, h, half->o.w, half->o.b, tr_none(), tr_none(), &(tr_epilogue){ .residual = tokens }));
done:
    tr_vae_pop(r, m);
    return st;
}

static tress_status middle(tr_vae_run *r, const tr_vae_half *half, tr_plane *x, int i)
{
    tress_status st = TRESS_OK;
    TR_TRY(residual_step(r, &half->mid[0], x, i));
    TR_TRY(attention(r, half, x));
    TR_TRY(residual_step(r, &half->mid[1], x, i));
done:
    return st;
}

/* [1, h, w, c] of a picture [c, h, w], taken here. */
static tress_status turn(tr_vae_run *r, tr_plane *out, tr_tensor picture)
{
    tress_status st = TRESS_OK;
    const tr_tensor x = tr_permute(tr_reshape(picture, TR_DIMS(1, picture.shape[0], picture.shape[1], picture.shape[2])), channels_last);
    *out = (tr_plane){ .h = x.shape[1], .w = x.shape[2], .c = x.shape[3] };
    TR_TRY(tr_vae_take(r, &out->stored, tr_stream_dtype(r->s), TR_DIMS(1, out->h, out->w, out->c)));
    TR_TRY(tr_copy(r->s, out->stored, x));
done:
    return st;
}

static int64_t padded(int64_t n) { return (n + 127) / 128 * 128; }

static tress_status take_pools(tr_vae_run *r, const int64_t size[2])
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < 2; i++) TR_TRY(tr_scratch(r->s, &r->pool[i], tr_stream_dtype(r->s), TR_DIMS(padded(size[i]))));
done:
    return st;
}

/* ---- latent to picture ----------------------------------------------------------------------------------- */
static tress_status decode_one(tr_vae *v, tr_stream *s, tr_tensor image, tr_tensor latent, int band)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = &v->config;
    const tr_vae_half *d = &v->decoder;
    const int n_level = c->n_level;
    const int64_t h = latent.shape[1], w = latent.shape[2];
    tr_vae_run r = { .config = c, .s = s, .band = band };
    int64_t size[2] = { 0, 0 };
    tr_plane x, z, post, *at = &z;
    const tr_arena_mark all = tr_scratch_push(s);
    for (int i = 0; i < n_level; i++) size[i % 2] = most(size[i % 2], (h << i) * (w << i) * c->channels[n_level - 1 - i]);
    TR_TRY(take_pools(&r, size));
    const tr_vae_mark m = tr_vae_push(&r);
    x = (tr_plane){ .h = h, .w = w, .c = c->channels[n_level - 1], .conv = &d->in };
    const tr_tensor first = tr_vae_claim(&r, 0, h, w, x.c);
    TR_TRY(turn(&r, &z, latent));
    if (c->post_quant_conv) {
        post = (tr_plane){ .h = h, .w = w, .c = z.c, .from = &z, .conv = &v->post_quant };
        at = &post;
    }
    x.from = at;
    TR_TRY(tr_plane_store(&r, &x, first));
    tr_vae_pop(&r, m);
    x = (tr_plane){ .h = h, .w = w, .c = x.c, .stored = tr_vae_claim(&r, 0, h, w, x.c) };
    show(v, "decoder.conv_in", -1, &x);
    TR_TRY(middle(&r, d, &x, 0));
    show(v, "decoder.mid_block", -1, &x);
    for (int i = 0; i < n_level; i++) {
        r.band = (int64_t)band << i;
        if (i > 0) {                            /* the enlarged convolution of the level before, then its first block */
            tr_plane u = { .h = 2 * x.h, .w = 2 * x.w, .c = x.c, .from = &x, .conv = &d->sample[i - 1], .upsample = 2 };
            const tr_arena_mark level = tr_scratch_push(s);
            tr_tensor room;
            if (!band) {
                TR_TRY(tr_scratch(s, &room, tr_stream_dtype(s), TR_DIMS(1, u.h, u.w, u.c)));
                TR_TRY(tr_plane_store(&r, &u, room));
                r.used[(i - 1) % 2] = 0;        /* x is over */
            }
            TR_TRY(residual_step(&r, &d->res[i * d->n_res], &u, i % 2));
            r.used[(i - 1) % 2] = 0;
            x = u;
            tr_scratch_pop(s, level);
        }
        for (int k = i > 0; k < d->n_res; k++) TR_TRY(residual_step(&r, &d->res[i * d->n_res + k], &x, i % 2));
        show(v, "decoder.level", i, &x);
    }
    tr_plane y = { .h = x.h, .w = x.w, .c = c->channels_out, .from = &x, .conv = &d->out, .norm = &d->norm_out };
    TR_TRY(take_stats(&r, &y.stats, &x));
    TR_TRY(tr_plane_stats(&r, &x, y.stats));
    TR_TRY(tr_plane_store_turned(&r, &y, tr_reshape(image, TR_DIMS(1, image.shape[0], image.shape[1], image.shape[2]))));
done:
    tr_scratch_pop(s, all);
    return st;
}

tress_status tr_vae_decode(tr_vae *v, tr_stream *s, tr_tensor image, tr_tensor latent, int band)
{
    tress_status st = TRESS_OK;
    const int64_t f = tr_vae_factor(v);
    const tr_dims d = TR_DIMS(latent.shape[0], v->config.latent_channels, latent.shape[2], latent.shape[3]);
    TR_ASSERT(band >= 0 && latent.rank == 4);
    TR_TRY(tr_expect(s, latent, d, "the latent"));
    TR_TRY(tr_expect(s, image, TR_DIMS(d.n[0], v->config.channels_out, f * d.n[2], f * d.n[3]), "the decoded image"));
    for (int64_t i = 0; i < d.n[0]; i++) TR_TRY(decode_one(v, s, tr_index(image, 0, i), tr_index(latent, 0, i), band));
done:
    return st;
}

/* ---- picture to latent ----------------------------------------------------------------------------------- */
/* The last block of a level and the convolution to the next, whose output goes to pool 1; x becomes it. */
static tress_status descend(tr_vae_run *r, const tr_vae *v, const tr_vae_resnet *n, tr_plane *x, int level)
{
    tress_status st = TRESS_OK;
    block_planes b;
    tr_plane y, d = { .h = x->h / 2, .w = x->w / 2, .c = n->conv1.w.shape[0], .from = &y, .conv = &v->encoder.sample[level], .stride = 2 };
    const bool in_the_way = !tr_is_none(x->stored) && x->stored.data == r->pool[1].data;       /* one block a level */
    if (in_the_way) {
        TR_TRY(residual_step(r, n, x, 0));
        y = *x;
    }
    const tr_tensor to = tr_vae_claim(r, 1, d.h, d.w, d.c);
    const tr_vae_mark m = tr_vae_push(r);
    if (!in_the_way) st = residual(r, n, x, &y, 0, &b, true);
    if (st == TRESS_OK) show(v, "encoder.level", level, &y);
    if (st == TRESS_OK) st = tr_plane_store(r, &d, to);
    tr_vae_pop(r, m);
    r->used[0] = 0;
    *x = (tr_plane){ .h = d.h, .w = d.w, .c = d.c, .stored = to };
done:
    return st;
}

static tress_status encode_one(tr_vae *v, tr_stream *s, tr_tensor mean, tr_tensor logvar, tr_tensor image, int band)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = &v->config;
    const tr_vae_half *e = &v->encoder;
    const int n_level = c->n_level;
    const int64_t h = image.shape[1], w = image.shape[2], n_latent = c->latent_channels;
    tr_vae_run r = { .config = c, .s = s, .band = band };
    int64_t size[2] = { 0, 1 };
    tr_plane picture, in, x, *at = &in;
    tr_tensor moments, raw;
    const tr_arena_mark all = tr_scratch_push(s);
    for (int i = 0; i < n_level; i++) {
        size[0] = most(size[0], (h >> i) * (w >> i) * c->channels[i]);
        if (i + 1 < n_level) size[1] = most(size[1], (h >> (i + 1)) * (w >> (i + 1)) * c->channels[i]);
    }
    TR_TRY(take_pools(&r, size));
    const tr_arena_mark scratch = tr_scratch_push(s);
    TR_TRY(tr_scratch(s, &picture.stored, tr_stream_dtype(s), TR_DIMS(1, h, w, c->channels_in)));
    TR_TRY(tr_copy(s, picture.stored, tr_permute(tr_reshape(image, TR_DIMS(1, c->channels_in, h, w)), channels_last)));
    picture = (tr_plane){ .h = h, .w = w, .c = c->channels_in, .stored = picture.stored };
    in = (tr_plane){ .h = h, .w = w, .c = c->channels[0], .from = &picture, .conv = &e->in };
    for (int i = 0; i < n_level; i++) {
        const tr_vae_resnet *res = &e->res[i * e->n_res];
        const bool down = i + 1 < n_level;
        r.band = band ? most(TR_CONV_ROWS, band >> i) : 0;
        for (int k = 0; k + down < e->n_res; k++) {
            TR_TRY(residual_step(&r, &res[k], at, 0));
            r.used[1] = 0;
        }
        if (down) TR_TRY(descend(&r, v, &res[e->n_res - 1], at, i));
        else show(v, "encoder.level", i, at);
        x = *at;
        at = &x;
        if (i == 0) tr_scratch_pop(s, scratch);
    }
    TR_TRY(middle(&r, e, at, 0));
    show(v, "encoder.mid_block", -1, at);
    tr_plane out = { .h = at->h, .w = at->w, .c = 2 * n_latent, .from = at, .conv = &e->out, .norm = &e->norm_out };
    TR_TRY(take_stats(&r, &out.stats, at));
    TR_TRY(tr_plane_stats(&r, at, out.stats));
    TR_TRY(tr_vae_take(&r, &raw, tr_stream_dtype(s), TR_DIMS(1, out.h, out.w, out.c)));
    TR_TRY(tr_plane_store(&r, &out, raw));
    moments = raw;
    if (c->quant_conv) {
        TR_TRY(tr_vae_take(&r, &moments, tr_stream_dtype(s), TR_DIMS(1, out.h, out.w, out.c)));
        TR_TRY(tr_conv2d(s, moments, raw, v->quant.w, v->quant.b, &(tr_conv_args){ .stride = 1, .upsample = 1 }));
    }
    const int planes[] = { 0, 3, 1, 2 };
    moments = tr_index(tr_permute(moments, planes), 0, 0);                     /* [2 n_latent, h, w] */
    TR_TRY(tr_copy(s, mean, tr_slice(moments, 0, 0, n_latent)));
    if (!tr_is_none(logvar)) {
        TR_TRY(tr_copy(s, logvar, tr_slice(moments, 0, n_latent, n_latent)));
        TR_TRY(tr_clamp(s, logvar, logvar, -30, 20));
    }
done:
    tr_scratch_pop(s, all);
    return st;
}

tress_status tr_vae_encode(tr_vae *v, tr_stream *s, tr_tensor mean, tr_tensor logvar, tr_tensor image, int band)
{
    tress_status st = TRESS_OK;
    char text[TR_DIMS_TEXT];
    const int64_t f = tr_vae_factor(v);
    TR_ASSERT(band >= 0 && image.rank == 4);
    if (image.shape[2] < f || image.shape[3] < f || image.shape[2] % f || image.shape[3] % f)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "the image is %s: height and width must be multiples of %" PRId64, tr_dims_text(text, 4, image.shape), f));
    const tr_dims d = TR_DIMS(image.shape[0], v->config.latent_channels, image.shape[2] / f, image.shape[3] / f);
    TR_TRY(tr_expect(s, image, TR_DIMS(d.n[0], v->config.channels_in, image.shape[2], image.shape[3]), "the image"));
    TR_TRY(tr_expect(s, mean, d, "the mean"));
    if (!tr_is_none(logvar)) TR_TRY(tr_expect(s, logvar, d, "the log-variance"));
    for (int64_t i = 0; i < d.n[0]; i++)
        TR_TRY(encode_one(v, s, tr_index(mean, 0, i), tr_is_none(logvar) ? logvar : tr_index(logvar, 0, i), tr_index(image, 0, i), band));
done:
    return st;
}
