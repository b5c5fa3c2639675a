#include "api/hub_int.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX 100000
#define PART_MAX 240                                /* leaves room for ".part" under the 255 of file systems */

bool tr_hub_is_repo(const char *repo)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    const char *slash = strchr(repo, '/');
    const size_t n = slash ? (size_t)(slash - repo) : strlen(repo);
    if (n == 0 || strspn(repo, plain) != n || repo[0] == '.' || strlen(repo) > 200) return false;
    if (!slash) return true;
    return slash[1] && slash[1] != '.' && slash[1 + strspn(slash + 1, plain)] == 0;
}

bool tr_hub_is_safe(const char *path)
{
    if (strlen(path) > 1024) return false;
    for (const char *s = path;;) {
        const size_t n = strcspn(s, "/");
        if (n == 0 || n > PART_MAX || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.')) return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\') return false;
        if (!s[n]) return true;
        s += n + 1;
    }
}

static bool is_sha256(const char *s)
{
    return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static tress_status add_file(tr_hub_list *l, const json_t *o, const char *where)
{
    const char *path = NULL, *oid = NULL;
    tress_status st = TRESS_OK;
    tr_hub_file f = { 0 };
    int64_t size = 0, lfs_size = 0;
    TR_TRY(tr_json_string(&path, o, "path", NULL, where));
    TR_TRY(tr_json_int(&size, o, "size", 0, INT64_C(1) << 50, -1, where));
    if (!path || size < 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: a file without a path or size", where));
    if (!tr_hub_is_safe(path)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the path \"%.200s\" is refused: it could lead out of the folder", where, path));
    const json_t *lfs = json_object_get(o, "lfs");
    if (json_is_object(lfs)) {
        TR_TRY(tr_json_string(&oid, lfs, "oid", NULL, where));
        TR_TRY(tr_json_int(&lfs_size, lfs, "size", 0, INT64_C(1) << 50, size, where));
        if (oid && strncmp(oid, "sha256:", 7) == 0) oid += 7;
        if (!is_sha256(oid)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s has no SHA-256 where one must be", where, path));
        memcpy(f.sha256, oid, sizeof f.sha256);
        size = lfs_size;
    }
    if (l->n == l->cap) {
        const int cap = l->cap ? l->cap * 2 : 64;
        void *p = l->file;
        if (l->n >= FILE_MAX) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: more than %d files", where, FILE_MAX));
        TR_TRY(tr_realloc(&p, (size_t)l->cap * sizeof f, (size_t)cap * sizeof f));
        l->file = p;
        l->cap = cap;
    }
    f.size = size;
    TR_TRY(tr_strdup(&f.path, path));
    l->file[l->n++] = f;
done:
    return st;
}

tress_status tr_hub_list_add(tr_hub_list *l, const char *json, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    json_t *root = NULL, *o;
    size_t i;
    TR_TRY(tr_json_parse(&root, json, n, 16, where));
    if (!json_is_array(root)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: is not a list of files", where));
    json_array_foreach(root, i, o) {
        const char *type = NULL;
        if (!json_is_object(o)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: is not a list of files", where));
        TR_TRY(tr_json_string(&type, o, "type", "", where));
        if (strcmp(type, "file") == 0) TR_TRY(add_file(l, o, where));
    }
done:
    json_decref(root);
    return st;
}

void tr_hub_list_fini(tr_hub_list *l)
{
    for (int i = 0; i < l->n; i++) tr_free(l->file[i].path);
    tr_free(l->file);
    *l = (tr_hub_list){ 0 };
}

/* ---- what is wanted ---------------------------------------------------------------------------------------------- */
static bool matches(const char *path, const char *const *patterns, int n)
{
    for (int i = 0; i < n; i++) {
        const size_t len = strlen(patterns[i]);
        if (len > 0 && patterns[i][len - 1] == '/' && strncmp(path, patterns[i], len) == 0) return true;
        if (fnmatch(patterns[i], path, 0) == 0) return true;    /* without FNM_PATHNAME: * spans folders, as the hub's client has it */
    }
    return false;
}

static bool ends(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool has(const tr_hub_list *l, const char *path)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->file[i].path, path) == 0) return true;
    return false;
}

/* What tress or a person reads, wherever it lies. */
static bool is_readable(const char *path)
{
    const char *base = base_of(path);
    return ends(base, ".json") || ends(base, ".txt") || ends(base, ".model") || ends(base, ".safetensors");
}

static bool is_paper(const char *path)
{
    return !strchr(path, '/') && (strncmp(path, "LICENSE", 7) == 0 || strcmp(path, "README.md") == 0);
}

/* The folders of a diffusers model that tress reads. */
static bool is_component(const char *path)
{
    static const char *const folder[] = { "scheduler/", "transformer/", "controlnet/", "vae/", "text_encoder/", "text_encoder_2/", "text_encoder_3/",
                                          "tokenizer/", "tokenizer_2/", "tokenizer_3/" };
    for (size_t i = 0; i < sizeof folder / sizeof *folder; i++)
        if (strncmp(path, folder[i], strlen(folder[i])) == 0) return true;
    return false;
}

/* "model.fp16-00001-of-00002.safetensors", "model.fp16.safetensors", "model.safetensors.index.fp16.json": "fp16". */
static bool is_variant(const char *base, const char *variant)
{
    char middle[64];
    snprintf(middle, sizeof middle, ".%s", variant);
    for (const char *s = strstr(base, middle); s; s = strstr(s + 1, middle))
        if (s[strlen(middle)] == '.' || s[strlen(middle)] == '-') return true;
    return false;
}

static bool is_weight(const char *path) { return ends(path, ".safetensors") || strstr(base_of(path), ".safetensors.index"); }

static const char *variant_of(const char *path)
{
    static const char *const known[] = { "fp16", "bf16", "fp8", "non_ema" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_variant(base_of(path), known[i])) return known[i];
    return NULL;
}

/* The weights of a folder in one variant only. */
static bool is_right_variant(const tr_hub_list *l, const char *path, const char *variant)
{
    if (!is_weight(path)) return true;
    const bool mine = variant ? is_variant(base_of(path), variant) : !variant_of(path);
    if (mine) return true;
    const size_t n = (size_t)(base_of(path) - path);
    for (int i = 0; i < l->n; i++) {
        const char *q = l->file[i].path;
        if (strncmp(q, path, n) != 0 || strchr(q + n, '/') || !ends(q, ".safetensors")) continue;
        if (variant ? is_variant(q + n, variant) : !variant_of(q)) return false;       /* a better one lies beside it */
    }
    return variant ? !variant_of(path) : true;
}

void tr_hub_list_choose(tr_hub_list *l, const char *const *include, int n_include, const char *const *exclude, int n_exclude, const char *variant)
{
    const bool folders = has(l, "model_index.json");
    for (int i = 0; i < l->n; i++) {
        const char *path = l->file[i].path;
        bool yes;
        if (n_include) yes = matches(path, include, n_include);
        else if (folders) yes = strcmp(path, "model_index.json") == 0 || is_paper(path) || (is_component(path) && is_readable(path));
        else yes = is_paper(path) || is_readable(path);
        if (!n_include) yes = yes && is_right_variant(l, path, variant);
        l->file[i].wanted = yes && !matches(path, exclude, n_exclude);
    }
}
