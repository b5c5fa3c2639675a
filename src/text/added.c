#include "text/added_int.h"

#include <stdio.h>
#include <string.h>

#define N_TOKEN_MAX 4096
#define LEN_MAX 256
#define CONFIG_MAX ((size_t)8 << 20)

static const char *const special_key[TR_SPECIAL_N] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
};

void tr_added_fini(tr_added *a)
{
    for (int i = 0; i < a->n; i++) {
        tr_free(a->token[i].content);
        tr_free(a->token[i].pattern);
    }
    tr_free(a->token);
    for (int i = 0; i < TR_SPECIAL_N; i++) tr_free(a->name[i]);
    *a = (tr_added){ 0 };
}

static int index_of(const tr_added *a, const char *content, size_t n)
{
    for (int i = 0; i < a->n; i++)
        if (strlen(a->token[i].content) == n && memcmp(a->token[i].content, content, n) == 0) return i;
    return -1;
}

tress_status tr_added_put(tr_added *a, const char *content, size_t n, bool normalized, const char *where)
{
    tress_status st = TRESS_OK;
    char *copy = NULL;
    if (n == 0) return TRESS_OK;                        /* as there: an empty token is nothing */
    if (n > LEN_MAX || memchr(content, 0, n)) return tr_fail(TRESS_E_FORMAT, "%s: an added token of %zu bytes, expected 1 to %d", where, n, LEN_MAX);
    const int old = index_of(a, content, n);
    if (old >= 0) return a->token[old].normalized = normalized, TRESS_OK;
    if (a->n == N_TOKEN_MAX) return tr_fail(TRESS_E_FORMAT, "%s: more than %d added tokens", where, N_TOKEN_MAX);
    if (a->n == a->n_room) {
        const int n_room = a->n_room ? 2 * a->n_room : 128;
        TR_TRY(tr_realloc((void **)&a->token, (size_t)a->n_room * sizeof *a->token, (size_t)n_room * sizeof *a->token));
        a->n_room = n_room;
    }
    TR_TRY(tr_alloc((void **)&copy, n + 1));
    memcpy(copy, content, n);
    a->token[a->n++] = (tr_added_token){ .content = copy, .id = -1, .normalized = normalized };
done:
    return st;
}

/* A token written as text or as { content, normalized, .. }. special: what stands for "normalized" when it is left out. */
static tress_status read_token(const json_t *v, bool special, const char **content, bool *normalized, bool *is_object, const char *key, const char *where)
{
    tress_status st = TRESS_OK;
    *is_object = json_is_object(v);
    if (json_is_string(v)) return *content = json_string_value(v), *normalized = false, TRESS_OK;
    if (!*is_object) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is no token: expected a string or an object", where, key);
    TR_TRY(tr_json_string(content, v, "content", NULL, where));
    if (!*content) return tr_fail(TRESS_E_FORMAT, "%s: the token \"%s\" has no \"content\"", where, key);
    TR_TRY(tr_json_bool(&special, v, "special", special, where));
    TR_TRY(tr_json_bool(normalized, v, "normalized", !special, where));
    static const char *const flags[] = { "lstrip", "rstrip", "single_word" };
    for (int i = 0; i < 3; i++) {
        bool on;
        TR_TRY(tr_json_bool(&on, v, flags[i], false, where));
        if (on) return tr_fail(TRESS_E_FORMAT, "%s: the token \"%s\" asks for \"%s\", which no CLIP or T5 vocabulary does", where, *content, flags[i]);
    }
done:
    return st;
}

tress_status tr_scan_added(tr_scan *p, tr_added *a)
{
    tress_status st = TRESS_OK;
    char content[LEN_MAX];
    TR_TRY(tr_scan_enter(p, '['));
    for (;;) {
        bool more, special = false, normalized = true, seen_normalized = false, on;
        tr_text_view key, v = { NULL, 0 };
        TR_TRY(tr_scan_next(p, &more, NULL));
        if (!more) break;
        TR_TRY(tr_scan_enter(p, '{'));
        for (;;) {
            TR_TRY(tr_scan_next(p, &more, &key));
            if (!more) break;
            if (tr_scan_is(key, "content")) {
                TR_TRY(tr_scan_string(p, &v, NULL));
                if (v.n > LEN_MAX) return tr_scan_fail(p, "an added token too long");
                if (v.n > 0) v.s = memcpy(content, v.s, v.n);
            } else if (tr_scan_is(key, "normalized")) {
                TR_TRY(tr_scan_bool(p, &normalized));
                seen_normalized = true;
            } else if (tr_scan_is(key, "special")) {
                TR_TRY(tr_scan_bool(p, &special));
            } else if (tr_scan_is(key, "lstrip") || tr_scan_is(key, "rstrip") || tr_scan_is(key, "single_word")) {
                TR_TRY(tr_scan_bool(p, &on));
                if (on) return tr_scan_fail(p, "an added token asks for lstrip, rstrip or single_word, which no CLIP or T5 vocabulary does");
            } else {
                TR_TRY(tr_scan_skip(p));
            }
        }
        TR_TRY(tr_added_put(a, v.s, v.n, seen_normalized ? normalized : !special, p->where));
    }
done:
    return st;
}

/* DIR/NAME as a JSON object; NULL where there is no such file. */
static tress_status read_json(json_t **out, char **path, const char *dir, const char *name)
{
    tress_status st = TRESS_OK;
    char *text = NULL;
    size_t n;
    TR_TRY(tr_path_join(path, dir, name));
    if (!tr_file_exists(*path)) goto done;
    TR_TRY(tr_file_read(&text, &n, *path, CONFIG_MAX));
    TR_TRY(tr_json_parse(out, text, n, 16, *path));
    if (!json_is_object(*out)) st = tr_fail(TRESS_E_FORMAT, "%s: expected a JSON object", *path);
done:
    tr_free(text);
    return st;
}

typedef struct named { const char *content; bool normalized, is_object; } named;

/* The special tokens that this file names. */
static tress_status read_named(named list[TR_SPECIAL_N], const json_t *o, bool special, const char *where)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < TR_SPECIAL_N; i++) {
        const json_t *v = json_object_get(o, special_key[i]);
        if (!v || json_is_null(v)) continue;
        TR_TRY(read_token(v, special, &list[i].content, &list[i].normalized, &list[i].is_object, special_key[i], where));
    }
done:
    return st;
}

/* added_tokens_decoder { "49406": { content, .. }, .. }, by rising number. */
static tress_status read_decoder(tr_added *a, const json_t *o, const char *where)
{
    tress_status st = TRESS_OK;
    typedef struct entry { int64_t at; const json_t *v; } entry;
    entry *list = NULL;
    int n = 0;
    const char *key;
    json_t *v;
    if (!json_is_object(o)) return tr_fail(TRESS_E_FORMAT, "%s: \"added_tokens_decoder\" is no object", where);
    if (json_object_size(o) > N_TOKEN_MAX) return tr_fail(TRESS_E_FORMAT, "%s: more than %d added tokens", where, N_TOKEN_MAX);
    TR_TRY(tr_alloc_array((void **)&list, (int64_t)json_object_size(o), sizeof *list));
    json_object_foreach((json_t *)o, key, v) {
        int64_t at = 0;
        const size_t n_key = strlen(key);
        for (size_t i = 0; i < n_key; i++) {
            if (key[i] < '0' || key[i] > '9' || n_key > 9) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: \"added_tokens_decoder\" has the key \"%.20s\", expected a number", where, key));
            at = at * 10 + (key[i] - '0');
        }
        int j = n++;
        for (; j > 0 && list[j - 1].at > at; j--) list[j] = list[j - 1];
        list[j] = (entry){ at, v };
    }
    for (int i = 0; i < n; i++) {
        const char *content;
        bool normalized, is_object;
        TR_TRY(read_token(list[i].v, false, &content, &normalized, &is_object, "added_tokens_decoder", where));
        TR_TRY(tr_added_put(a, content, strlen(content), normalized, where));
    }
done:
    tr_free(list);
    return st;
}

/* Further special tokens: [ "<x>", { content, .. }, .. ], or { "name": "<x>", .. }. */
static tress_status read_more(tr_added *a, const tr_added *known, const json_t *o, const char *where)
{
    tress_status st = TRESS_OK;
    const char *content;
    bool normalized, is_object;
    size_t i;
    json_t *v;
    if (!o || !json_is_array(o)) return TRESS_OK;
    json_array_foreach((json_t *)o, i, v) {
        TR_TRY(read_token(v, true, &content, &normalized, &is_object, "additional_special_tokens", where));
        if (known && index_of(known, content, strlen(content)) >= 0) continue;      /* the list of the configuration knows better */
        TR_TRY(tr_added_put(a, content, strlen(content), normalized, where));
    }
done:
    return st;
}

tress_status tr_added_read(tr_added *a, const char *dir, const char *const fallback[TR_SPECIAL_N], const tr_added *file, int n_extra)
{
    tress_status st = TRESS_OK;
    json_t *config = NULL, *map = NULL;
    char *config_path = NULL, *map_path = NULL;
    named list[TR_SPECIAL_N] = { { 0 } };
    int64_t extra_ids = n_extra;
    TR_TRY(read_json(&config, &config_path, dir, "tokenizer_config.json"));
    TR_TRY(read_json(&map, &map_path, dir, "special_tokens_map.json"));
    for (int i = 0; i < TR_SPECIAL_N; i++) list[i].content = fallback[i];
    if (config) {
        TR_TRY(read_named(list, config, false, config_path));
        TR_TRY(tr_json_int(&extra_ids, config, "extra_ids", 0, N_TOKEN_MAX / 2, extra_ids, config_path));
    }
    const json_t *decoder = config ? json_object_get(config, "added_tokens_decoder") : NULL;
    const json_t *more = config ? json_object_get(config, "additional_special_tokens") : NULL;
    if (decoder) {
        TR_TRY(read_decoder(a, decoder, config_path));
    } else {
        if (map) {
            TR_TRY(read_named(list, map, true, map_path));
            if (!more) more = json_object_get(map, "additional_special_tokens");
        }
        for (int i = 0; file && i < file->n; i++)
            TR_TRY(tr_added_put(a, file->token[i].content, strlen(file->token[i].content), file->token[i].normalized, dir));
    }
    const int n_listed = a->n;
    for (int i = 0; i < TR_SPECIAL_N; i++) {
        if (!list[i].content) continue;
        TR_TRY(tr_strdup(&a->name[i], list[i].content));
        const int at = index_of(a, list[i].content, strlen(list[i].content));
        if (at >= 0 && at < n_listed) continue;
        TR_TRY(tr_added_put(a, list[i].content, strlen(list[i].content), list[i].normalized, dir));
    }
    if (more) TR_TRY(read_more(a, a, more, config_path));
    for (int64_t i = 0; n_extra > 0 && i < extra_ids; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "<extra_id_%d>", (int)i);
        if (index_of(a, name, (size_t)n) < 0) TR_TRY(tr_added_put(a, name, (size_t)n, false, dir));
    }
done:
    json_decref(config);
    json_decref(map);
    tr_free(config_path);
    tr_free(map_path);
    return st;
}

void tr_added_ready(tr_added *a)
{
    memset(a->first, 0, sizeof a->first);
    for (int i = 0; i < a->n; i++)
        if (a->token[i].n_pattern > 0) a->first[a->token[i].normalized][(uint8_t)a->token[i].pattern[0]] = true;
}

int tr_added_find(const tr_added *a, bool normalized, const char *s, size_t n, size_t *begin, size_t *end)
{
    for (size_t i = *begin; i < n; i++) {
        if (!a->first[normalized][(uint8_t)s[i]]) continue;
        int best = -1;
        size_t n_best = 0;
        for (int k = 0; k < a->n; k++) {
            const tr_added_token *t = &a->token[k];
            if (t->normalized == normalized && t->n_pattern > n_best && t->n_pattern <= n - i && memcmp(s + i, t->pattern, t->n_pattern) == 0) {
                best = k;
                n_best = t->n_pattern;
            }
        }
        if (best >= 0) return *begin = i, *end = i + n_best, best;
    }
    return -1;
}
