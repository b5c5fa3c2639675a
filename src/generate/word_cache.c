#include "generate/words.h"

#include <string.h>

/* DIR/KEY.safetensors: encoder_hidden_states and pooled_projections, with the SHA-256 of their bytes as metadata. */

static tress_status digest(char hex[65], const float *context, int64_t n_context, const float *pooled, int64_t n_pooled)
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    TR_TRY(tr_sha256_new(&h));
    TR_TRY(tr_sha256_add(h, context, sizeof(float) * (size_t)n_context));
    TR_TRY(tr_sha256_add(h, pooled, sizeof(float) * (size_t)n_pooled));
    TR_TRY(tr_sha256_hex(h, hex));
done:
    tr_sha256_free(h);
    return st;
}

static tress_status entry_path(char **out, const char *dir, const char *key)
{
    tress_status st = TRESS_OK;
    tr_str name = { 0 };
    TR_TRY(tr_str_printf(&name, "%s.safetensors", key));
    TR_TRY(tr_path_join(out, dir, name.s));
done:
    tr_str_fini(&name);
    return st;
}

static tr_dims dims_of(tr_tensor t)
{
    tr_dims d = { .rank = t.rank };
    for (int i = 0; i < t.rank; i++) d.n[i] = t.shape[i];
    return d;
}

static tress_status read_entry(const char *path, tr_tensor context, tr_tensor pooled, float *c, float *p)
{
    tress_status st = TRESS_OK;
    tr_safetensors *f = NULL;
    char hex[65];
    TR_TRY(tr_safetensors_open(&f, path));
    TR_TRY(tr_safetensors_read_f32(f, "encoder_hidden_states", c, dims_of(context)));
    TR_TRY(tr_safetensors_read_f32(f, "pooled_projections", p, dims_of(pooled)));
    TR_TRY(digest(hex, c, tr_count(context), p, tr_count(pooled)));
    const char *said = tr_safetensors_meta(f, "sha256");
    if (!said || strcmp(said, hex) != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: its digest is not that of its tensors", path));
done:
    tr_safetensors_close(f);
    return st;
}

tress_status tr_word_cache_load(bool *found, const tr_host *h, const char *dir, const char *key, tr_tensor context, tr_tensor pooled)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    char *path = NULL;
    void *c = NULL, *p = NULL;
    *found = false;
    TR_TRY(entry_path(&path, dir, key));
    if (!tr_file_exists(path)) goto done;
    TR_TRY(tr_alloc_array(&c, tr_count(context), sizeof(float)));
    TR_TRY(tr_alloc_array(&p, tr_count(pooled), sizeof(float)));
    st = read_entry(path, context, pooled, c, p);
    if (st != TRESS_OK && st != TRESS_E_OOM) {
        tr_host_note(h, "the cached encoding is damaged and is made anew: %s", tr_message());
        st = TRESS_OK;
        goto done;
    }
    if (st != TRESS_OK) goto done;
    TR_TRY(tr_stream_new(&s, h->device));
    TR_TRY(tr_upload(s, context, c));
    TR_TRY(tr_upload(s, pooled, p));
    TR_TRY(tr_stream_sync(s));
    *found = true;
done:
    tr_stream_free(s);
    tr_free(c);
    tr_free(p);
    tr_free(path);
    return st;
}

tress_status tr_word_cache_save(const tr_host *h, const char *dir, const char *key, tr_tensor context, tr_tensor pooled)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    char *path = NULL, hex[65];
    void *c = NULL, *p = NULL;
    TR_TRY(tr_dir_make(dir));
    TR_TRY(entry_path(&path, dir, key));
    TR_TRY(tr_alloc_array(&c, tr_count(context), sizeof(float)));
    TR_TRY(tr_alloc_array(&p, tr_count(pooled), sizeof(float)));
    TR_TRY(tr_stream_new(&s, h->device));
    TR_TRY(tr_download(s, c, context));
    TR_TRY(tr_download(s, p, pooled));
    TR_TRY(tr_stream_sync(s));
    TR_TRY(digest(hex, c, tr_count(context), p, tr_count(pooled)));
    const tr_named list[] = { { "encoder_hidden_states", tr_view(c, TR_F32, dims_of(context)) }, { "pooled_projections", tr_view(p, TR_F32, dims_of(pooled)) } };
    const char *const meta[] = { "sha256", hex, NULL };
    TR_TRY(tr_safetensors_write(path, list, 2, meta));
done:
    tr_stream_free(s);
    tr_free(c);
    tr_free(p);
    tr_free(path);
    return st;
}
