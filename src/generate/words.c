#include "generate/words.h"

#include "text/text.h"

#include <string.h>

/* ---- tokens ---------------------------------------------------------------------------------------------- */

static tress_status tokenizer_dir(char **out, const tr_bundle *m, const char *name)
{
    tress_status st = TRESS_OK;
    char *dir = NULL;
    const char *base = m->args.tokenizers ? m->args.tokenizers : m->model;
    if (!m->args.tokenizers && !tr_dir_exists(base))
        TR_TRY(tr_fail(TRESS_E_IO, "%s is one file and holds no tokenizers: name the folder of tokenizer/, tokenizer_2/ and tokenizer_3/ with --tokenizers", base));
    TR_TRY(tr_path_join(&dir, base, name));
    if (!tr_dir_exists(dir)) TR_TRY(tr_fail(TRESS_E_IO, "%s: there is no such folder; --tokenizers names where %s lies", dir, name));
    *out = dir;
    dir = NULL;
done:
    tr_free(dir);
    return st;
}

static void tell_cut(const tr_bundle *m, const char *who, const char *text, tr_cut cut)
{
    if (cut.n_token <= 0) return;
    const size_t n = strlen(text), from = cut.byte < n ? cut.byte : n;
    tr_host_note(m->host, "the prompt is %d tokens too long for %s, which does not read: \"%.60s%s\"", cut.n_token, who, text + from,
                 n - from > 60 ? "..." : "");
}

static tress_status clip_ids(int32_t *ids, int *end, const tr_bundle *m, const char *folder, const char *text, const char *who)
{
    tress_status st = TRESS_OK;
    char *dir = NULL;
    tr_bpe *t = NULL;
    tr_cut cut = { 0 };
    TR_TRY(tokenizer_dir(&dir, m, folder));
    TR_TRY(tr_bpe_open(&t, dir));
    TR_TRY(tr_bpe_encode(t, text, strlen(text), ids, TR_CLIP_ROWS, &cut));
    *end = tr_bpe_end_id(t);
    if (who) tell_cut(m, who, text, cut);
done:
    tr_bpe_close(t);
    tr_free(dir);
    return st;
}

tress_status tr_words_tokenize(tr_ids *out, const tr_bundle *m, const char *text, int n_t5)
{
    tress_status st = TRESS_OK;
    char *dir = NULL;
    tr_unigram *t = NULL;
    tr_weights *t5 = NULL;
    tr_cut cut = { 0 };
    if (n_t5 < 1 || n_t5 > TR_T5_ROWS_MAX)
        TR_TRY(tr_fail(TRESS_E_ARG, "--max-sequence-length %d, it must lie between 1 and %d", n_t5, TR_T5_ROWS_MAX));
    TR_TRY(clip_ids(out->clip_l, &out->end_l, m, "tokenizer", text, "CLIP"));
    TR_TRY(clip_ids(out->clip_g, &out->end_g, m, "tokenizer_2", text, NULL));       /* the same words, padded otherwise */
    TR_TRY(tr_bundle_encoder(&t5, m, TR_MODULE_T5));
    out->has_t5 = t5 != NULL;
    if (t5) {
        TR_TRY(tokenizer_dir(&dir, m, "tokenizer_3"));
        TR_TRY(tr_unigram_open(&t, dir));
        TR_TRY(tr_unigram_encode(t, text, strlen(text), out->t5, n_t5, &cut));
        tell_cut(m, "T5", text, cut);
    }
done:
    tr_weights_close(t5);
    tr_unigram_close(t);
    tr_free(dir);
    return st;
}

/* ---- one encoder after the other ------------------------------------------------------------------------- */

/* A text on its way: its ids, and where its encoding goes. Texts are encoded one by one, so that an encoding does not hang
 * on what else was asked for. */
typedef struct job {
    const char   *text;
    tr_word_entry *entry;
    tr_ids        ids;
    char          key[65];
    bool          cached;
} job;

/* All encoders together are one stage to whoever watches, though each has a stream of its own. */
typedef struct text_clock { double begin; int i, n; } text_clock;

static tress_status begin(tr_stage *out, tr_bundle *m, const text_clock *c)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_stage_begin(out, m->host, "text", 0));
    out->begin = c->begin;
    out->n = c->n;
    tr_stage_done(out, c->i);
done:
    return st;
}

static tress_status scan_once(tr_bundle *m, tr_weights *w, tr_module module)
{
    tress_status st = TRESS_OK;
    if (m->scanned[module] || tr_device_is_dry(m->host->device)) return TRESS_OK;
    TR_TRY(tr_weights_check(w, tr_device_threads(m->host->device)));
    m->scanned[module] = true;
done:
    return st;
}

/* Hidden states go to channels at..at+d of rows 0..76, the pooled vector to at_pooled... */
static tress_status run_clip(tr_bundle *m, tr_module module, job *list, int n, int64_t *at, int64_t *at_pooled, text_clock *time)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    tr_clip *net = NULL;
    tr_clip_config c;
    tr_stage stage = { 0 };
    const tr_mmdit_config *t = &m->transformer_config;
    TR_TRY(tr_bundle_encoder(&w, m, module));
    if (!w)
        TR_TRY(tr_fail(TRESS_E_IO, "%s holds no %s: name it with --%s, or give the words by --embeds-in or --zero-text", m->model,
                       tr_module_name(module), module == TR_MODULE_CLIP_L ? "clip-l" : "clip-g"));
    TR_TRY(tr_clip_config_read(&c, w));
    if (*at + c.d > t->d_context || *at_pooled + c.d_projection > t->d_pooled || c.n_position < TR_CLIP_ROWS ||
        (module == TR_MODULE_CLIP_G && *at_pooled + c.d_projection != t->d_pooled))
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: hidden width %d and pooled width %d over %d positions; the transformer reads %d and %d of both CLIP encoders, over %d",
                       tr_weights_where(w), c.d, c.d_projection, c.n_position, t->d_context, t->d_pooled, TR_CLIP_ROWS));
    TR_TRY(tr_bundle_place(m, w));
    TR_TRY(tr_clip_open(&net, m->host->device, w, &c));
    TR_TRY(tr_bundle_placed(m, w));
    TR_TRY(scan_once(m, w, module));
    TR_TRY(begin(&stage, m, time));
    for (int i = 0; i < n; i++) {
        if (list[i].cached) continue;
        const tr_arena_mark mark = tr_scratch_push(stage.stream);
        tr_tensor hidden, pooled;
        tr_ids *ids = &list[i].ids;
        const bool l = module == TR_MODULE_CLIP_L;
        st = tr_scratch(stage.stream, &hidden, TR_F32, TR_DIMS(1, TR_CLIP_ROWS, c.d));
        if (st == TRESS_OK) st = tr_scratch(stage.stream, &pooled, TR_F32, TR_DIMS(1, c.d_projection));
        if (st == TRESS_OK)
            st = tr_clip_encode(net, stage.stream, hidden, pooled, tr_view(l ? ids->clip_l : ids->clip_g, TR_I32, TR_DIMS(1, TR_CLIP_ROWS)),
                                l ? ids->end_l : ids->end_g);
        const tr_tensor rows = tr_slice(list[i].entry->context, 1, 0, TR_CLIP_ROWS);
        if (st == TRESS_OK) st = tr_copy(stage.stream, tr_slice(rows, 2, *at, c.d), hidden);
        if (st == TRESS_OK) st = tr_copy(stage.stream, tr_slice(list[i].entry->pooled, 1, *at_pooled, c.d_projection), pooled);
        tr_scratch_pop(stage.stream, mark);
        if (st != TRESS_OK) goto done;
        tr_stage_done(&stage, ++time->i);
    }
    tr_stage_book(&stage, tr_module_name(module), tr_weights_bytes(w));
    *at += c.d;
    *at_pooled += c.d_projection;
done:
    tr_stage_end(&stage);
    tr_clip_close(net);
    tr_weights_close(w);
    return st;
}

static tress_status run_t5(tr_bundle *m, job *list, int n, int n_t5, text_clock *time)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    tr_t5 *net = NULL;
    tr_t5_config c;
    tr_stage stage = { 0 };
    const tr_mmdit_config *t = &m->transformer_config;
    TR_TRY(tr_bundle_encoder(&w, m, TR_MODULE_T5));
    if (!w) goto done;                                              /* its rows stay zero, as in diffusers */
    TR_TRY(tr_t5_config_read(&c, w));
    if (c.d != t->d_context)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: width %d, the transformer reads %d", tr_weights_where(w), c.d, t->d_context));
    TR_TRY(tr_bundle_place(m, w));
    TR_TRY(tr_t5_open(&net, m->host->device, w, &c));
    TR_TRY(tr_bundle_placed(m, w));
    TR_TRY(scan_once(m, w, TR_MODULE_T5));
    TR_TRY(begin(&stage, m, time));
    for (int i = 0; i < n; i++) {
        if (list[i].cached) continue;
        TR_TRY(tr_t5_encode(net, stage.stream, tr_slice(list[i].entry->context, 1, TR_CLIP_ROWS, n_t5), tr_view(list[i].ids.t5, TR_I32, TR_DIMS(1, n_t5))));
        tr_stage_done(&stage, ++time->i);
    }
    tr_stage_book(&stage, tr_module_name(TR_MODULE_T5), tr_weights_bytes(w));
done:
    tr_stage_end(&stage);
    tr_t5_close(net);
    tr_weights_close(w);
    return st;
}

/* Non-finite words would only be found a transformer later, far from their cause. */
static tress_status check_finite(tr_bundle *m, const job *list, int n)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    TR_TRY(tr_stream_new(&s, m->host->device));
    for (int i = 0; i < n; i++) {
        int64_t bad = 0, bad_pooled = 0;
        TR_TRY(tr_count_nonfinite(s, list[i].entry->context, &bad));
        TR_TRY(tr_count_nonfinite(s, list[i].entry->pooled, &bad_pooled));
        if (bad + bad_pooled > 0)
            TR_TRY(tr_fail(TRESS_E_NONFINITE, "the text encoders made %" PRId64 " values that are NaN or infinite of \"%.60s\"", bad + bad_pooled, list[i].text));
    }
done:
    tr_stream_free(s);
    return st;
}

/* What tells one encoding from another: the ids, how they are laid out, and the weights that read them. */
static tress_status make_keys(tr_bundle *m, job *list, int n, int n_t5)
{
    static const tr_module modules[] = { TR_MODULE_CLIP_L, TR_MODULE_CLIP_G, TR_MODULE_T5 };
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    tr_sha256 *h = NULL;
    tr_str who = { 0 };
    const tr_mmdit_config *t = &m->transformer_config;
    TR_TRY(tr_str_printf(&who, "tress words 1, %d rows of T5, context %d, pooled %d\n", n_t5, t->d_context, t->d_pooled));
    for (int k = 0; k < 3; k++) {
        char print[65] = "absent";
        int64_t bytes = 0;
        TR_TRY(tr_bundle_encoder(&w, m, modules[k]));
        if (w) {
            TR_TRY(tr_fingerprint(print, w));
            for (int i = 0; i < tr_weights_count(w); i++) {
                const tr_tensor x = tr_weights_at(w, i);
                bytes += tr_count(x) * (int64_t)tr_dtype_size(x.dtype);
            }
        }
        TR_TRY(tr_str_printf(&who, "%s %s %" PRId64 "\n", tr_module_name(modules[k]), print, bytes));
        tr_weights_close(w);
        w = NULL;
    }
    for (int i = 0; i < n; i++) {
        TR_TRY(tr_sha256_new(&h));
        TR_TRY(tr_sha256_add(h, who.s, who.len));
        TR_TRY(tr_sha256_add(h, list[i].ids.clip_l, sizeof list[i].ids.clip_l));
        TR_TRY(tr_sha256_add(h, list[i].ids.clip_g, sizeof list[i].ids.clip_g));
        if (list[i].ids.has_t5) TR_TRY(tr_sha256_add(h, list[i].ids.t5, sizeof(int32_t) * (size_t)n_t5));
        TR_TRY(tr_sha256_hex(h, list[i].key));
        tr_sha256_free(h);
        h = NULL;
    }
done:
    tr_sha256_free(h);
    tr_weights_close(w);
    tr_str_fini(&who);
    return st;
}

static tress_status new_entry(tr_word_entry *e, tr_bundle *m, int n_t5)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    void *zero = NULL;
    const tr_mmdit_config *t = &m->transformer_config;
    const int64_t n = TR_CLIP_ROWS + n_t5;
    tr_free(e->text);
    tr_device_give(m->host->device, e->context);
    tr_device_give(m->host->device, e->pooled);
    *e = (tr_word_entry){ .n_t5 = n_t5 };
    TR_TRY(tr_device_take(m->host->device, &e->context, TR_F32, TR_DIMS(1, n, t->d_context)));
    TR_TRY(tr_device_take(m->host->device, &e->pooled, TR_F32, TR_DIMS(1, t->d_pooled)));
    TR_TRY(tr_alloc_array(&zero, n * t->d_context, sizeof(float)));
    TR_TRY(tr_stream_new(&s, m->host->device));
    TR_TRY(tr_upload(s, e->context, zero));              /* right of CLIP, and T5's rows where there is no T5 */
    TR_TRY(tr_stream_sync(s));
done:
    tr_stream_free(s);
    tr_free(zero);
    return st;
}

tress_status tr_words_encode(tr_bundle *m, const char *const *text, int n, int n_t5, tr_tensor *context, tr_tensor *pooled)
{
    tress_status st = TRESS_OK;
    tr_word_entry *entry[TR_WORD_ENTRIES] = { NULL };
    job *list = NULL;
    void *p = NULL;
    int n_job = 0, n_encode = 0;
    const char *dir = tr_device_is_dry(m->host->device) ? NULL : m->args.text_cache;
    TR_ASSERT(n >= 1 && n <= TR_WORD_ENTRIES && m->weights[TR_MODULE_TRANSFORMER]);
    TR_TRY(tr_alloc_array(&p, n, sizeof *list));
    list = p;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < TR_WORD_ENTRIES && !entry[i]; k++)
            if (m->word[k].text && m->word[k].n_t5 == n_t5 && strcmp(m->word[k].text, text[i]) == 0) entry[i] = &m->word[k];
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i && !entry[i]; k++)
            if (strcmp(text[k], text[i]) == 0) entry[i] = entry[k];
        if (entry[i]) continue;
        for (bool used = true; used;) {                             /* the oldest that this call does not need */
            entry[i] = &m->word[m->i_word];
            m->i_word = (m->i_word + 1) % TR_WORD_ENTRIES;
            used = false;
            for (int k = 0; k < n; k++) used = used || (k != i && entry[k] == entry[i]);
        }
        list[n_job] = (job){ .text = text[i], .entry = entry[i] };
        TR_TRY(tr_words_tokenize(&list[n_job].ids, m, text[i], n_t5));
        TR_TRY(new_entry(entry[i], m, n_t5));
        n_job++;
    }
    if (n_job > 0 && dir) {
        TR_TRY(make_keys(m, list, n_job, n_t5));
        for (int i = 0; i < n_job; i++)
            TR_TRY(tr_word_cache_load(&list[i].cached, m->host, dir, list[i].key, list[i].entry->context, list[i].entry->pooled));
    }
    for (int i = 0; i < n_job; i++) n_encode += !list[i].cached;
    if (n_encode > 0) {
        int64_t at = 0, at_pooled = 0;
        text_clock time = { tr_seconds(), 0, n_encode * (list[0].ids.has_t5 ? 3 : 2) };
        TR_TRY(tr_bundle_use(m, 0));
        TR_TRY(run_clip(m, TR_MODULE_CLIP_L, list, n_job, &at, &at_pooled, &time));
        TR_TRY(run_clip(m, TR_MODULE_CLIP_G, list, n_job, &at, &at_pooled, &time));
        TR_TRY(run_t5(m, list, n_job, n_t5, &time));
        TR_TRY(check_finite(m, list, n_job));
        for (int i = 0; dir && i < n_job; i++)
            if (!list[i].cached) TR_TRY(tr_word_cache_save(m->host, dir, list[i].key, list[i].entry->context, list[i].entry->pooled));
    }
    for (int i = 0; i < n_job; i++) TR_TRY(tr_strdup(&list[i].entry->text, list[i].text));      /* from here on it can be found */
    for (int i = 0; i < n; i++) {
        context[i] = entry[i]->context;
        pooled[i] = entry[i]->pooled;
    }
done:
    tr_free(list);
    return st;
}

/* ---- what the guide is given ----------------------------------------------------------------------------- */

static tress_status take_from(tr_tensor *out, const tr_safetensors *f, const char *name, int rank, tr_stream *s)
{
    tress_status st = TRESS_OK;
    tr_tensor found;
    void *p = NULL;
    tr_dims d = { .rank = rank };
    char dims[TR_DIMS_TEXT];
    if (!tr_safetensors_find(f, name, &found)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: there is no tensor %s", tr_safetensors_path(f), name));
    if (found.rank != rank)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s is %s, expected %d dimensions", tr_safetensors_path(f), name, tr_dims_text(dims, found.rank, found.shape), rank));
    for (int i = 0; i < rank; i++) d.n[i] = found.shape[i];
    if (tr_count(found) == 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s is empty", tr_safetensors_path(f), name));
    TR_TRY(tr_alloc_array(&p, tr_count(found), sizeof(float)));
    TR_TRY(tr_safetensors_read_f32(f, name, p, d));
    TR_TRY(tr_device_take(tr_stream_device(s), out, TR_F32, d));
    TR_TRY(tr_upload(s, *out, p));
    TR_TRY(tr_stream_sync(s));
done:
    tr_free(p);
    return st;
}

static tress_status from_file(tr_words *w, tr_bundle *m, const char *path, bool guided)
{
    tress_status st = TRESS_OK;
    tr_safetensors *f = NULL;
    tr_stream *s = NULL;
    TR_TRY(tr_safetensors_open(&f, path));
    TR_TRY(tr_stream_new(&s, m->host->device));
    TR_TRY(take_from(&w->context, f, "encoder_hidden_states", 3, s));
    TR_TRY(take_from(&w->pooled, f, "pooled_projections", 2, s));
    if (guided) {
        TR_TRY(take_from(&w->context_neg, f, "negative_encoder_hidden_states", 3, s));
        TR_TRY(take_from(&w->pooled_neg, f, "negative_pooled_projections", 2, s));
    }
done:
    tr_stream_free(s);
    tr_safetensors_close(f);
    return st;
}

/* One zero row that stands for zero_text_rows of them: the rows stay identical in every block (reference: docs/pitfalls.md). */
static tress_status zero_words(tr_words *w, tr_bundle *m, int n_row)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    void *zero = NULL;
    const tr_mmdit_config *t = &m->transformer_config;
    if (n_row < 1 || n_row > 65536) TR_TRY(tr_fail(TRESS_E_ARG, "--zero-text-rows %d, it must lie between 1 and 65536", n_row));
    TR_TRY(tr_stream_new(&s, m->host->device));
    TR_TRY(tr_alloc_array(&zero, t->d_context > t->d_pooled ? t->d_context : t->d_pooled, sizeof(float)));
    TR_TRY(tr_device_take(m->host->device, &w->context, TR_F32, TR_DIMS(1, 1, t->d_context)));
    TR_TRY(tr_device_take(m->host->device, &w->pooled, TR_F32, TR_DIMS(1, t->d_pooled)));
    TR_TRY(tr_upload(s, w->context, zero));
    TR_TRY(tr_upload(s, w->pooled, zero));
    TR_TRY(tr_stream_sync(s));
    w->repeat = n_row;
done:
    tr_stream_free(s);
    tr_free(zero);
    return st;
}

tress_status tr_words_get(tr_words *out, tr_bundle *m, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tr_words w = { .repeat = 1 };
    const bool guided = a->cfg_scale > 1 && !a->zero_text;
    if (a->zero_text || a->embeds_in) {
        w.owner = m->host->device;
        if (a->zero_text) TR_TRY(zero_words(&w, m, a->zero_text_rows));
        else TR_TRY(from_file(&w, m, a->embeds_in, guided));
    } else {
        const char *const text[] = { a->prompt ? a->prompt : "", a->negative ? a->negative : "" };
        tr_tensor context[2] = { tr_none(), tr_none() }, pooled[2] = { tr_none(), tr_none() };
        TR_TRY(tr_words_encode(m, text, guided ? 2 : 1, a->max_sequence_length, context, pooled));
        w.context = context[0];
        w.pooled = pooled[0];
        w.context_neg = context[1];
        w.pooled_neg = pooled[1];
    }
    *out = w;
    w.owner = NULL;
done:
    tr_words_fini(&w);
    return st;
}

void tr_words_fini(tr_words *w)
{
    if (w->owner) {
        tr_device_give(w->owner, w->context);
        tr_device_give(w->owner, w->pooled);
        tr_device_give(w->owner, w->context_neg);
        tr_device_give(w->owner, w->pooled_neg);
    }
    memset(w, 0, sizeof *w);
}
