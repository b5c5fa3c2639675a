/* Which files a path stands for: a file itself, a module's folder, or a model's folder with the module in it. */
#include "model/weights_int.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_BYTES_MAX ((size_t)1 << 20)
#define INDEX_BYTES_MAX ((size_t)32 << 20)      /* T5-XXL has 220 tensors in 20 kB: room for 65,536 */
#define SHARD_MAX 1024

tress_status tr_weights_add_file(tr_weights *w, const char *path)
{
    tress_status st = TRESS_OK;
    int cap = w->n_file;
    TR_TRY(tr_weights_grow(&w->file, w->n_file, &cap, sizeof *w->file));
    TR_TRY(tr_safetensors_open(&w->file[w->n_file], path));
    w->n_file++;
done:
    return st;
}

static tress_status read_json(json_t **out, const char *path, size_t bytes_max, int depth_max)
{
    tress_status st = TRESS_OK;
    char *text = NULL;
    size_t n = 0;
    TR_TRY(tr_file_read(&text, &n, path, bytes_max));
    TR_TRY(tr_json_parse(out, text, n, depth_max, path));
done:
    tr_free(text);
    return st;
}

/* A shard's name comes from a file: it may only name a file in the same folder. */
static bool is_plain_name(const char *s)
{
    const size_t n = strlen(s);
    static const char end[] = ".safetensors";
    if (n < sizeof end || n > 255 || s[0] == '.' || strcmp(s + n - (sizeof end - 1), end) != 0) return false;
    for (const char *p = s; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < 32) return false;
    return true;
}

static tress_status open_shards(tr_weights *w, const char *dir, const char *index_path)
{
    tress_status st = TRESS_OK;
    json_t *index = NULL, *map, *v;
    char *path = NULL;
    const char *key, **name = NULL;
    void *p = NULL;
    int n = 0;
    TR_TRY(read_json(&index, index_path, INDEX_BYTES_MAX, 8));
    map = json_object_get(index, "weight_map");
    if (!json_is_object(map)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: found no object \"weight_map\"", index_path));
    TR_TRY(tr_alloc_array(&p, SHARD_MAX, sizeof *name));
    name = p;
    json_object_foreach(map, key, v) {
        const char *file = json_string_value(v);
        if (!file || !is_plain_name(file))
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: tensor %.256s: found file %s, expected the plain name of a .safetensors file in the same folder",
                           index_path, key, file ? file : "(not a string)"));
        int i = 0;
        while (i < n && strcmp(name[i], file) != 0) i++;
        if (i == n) {
            if (n == SHARD_MAX) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: names more than %d files", index_path, SHARD_MAX));
            name[n++] = file;
            TR_TRY(tr_path_join(&path, dir, file));
            st = tr_weights_add_file(w, path);
            tr_free(path);
            path = NULL;
            if (st != TRESS_OK) {
                st = tr_note(st, "%s", index_path);
                goto done;
            }
        }
        tr_tensor t;
        if (!tr_safetensors_find(w->file[i], key, &t))
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: tensor %.256s is missing from %s, where %s says it is", index_path, key, file, "weight_map"));
    }
    if (n == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: \"weight_map\" is empty", index_path));
done:
    tr_free(path);
    tr_free(name);
    if (index) json_decref(index);
    return st;
}

/* One form of file name: BASE[.VARIANT].safetensors or its index. *found tells whether it was there. */
static tress_status try_name(tr_weights *w, bool *found, const char *dir, const char *name, bool is_index)
{
    tress_status st = TRESS_OK;
    char *path = NULL;
    *found = false;
    TR_TRY(tr_path_join(&path, dir, name));
    if (tr_file_exists(path)) {
        *found = true;
        if (is_index) TR_TRY(open_shards(w, dir, path));
        else TR_TRY(tr_weights_add_file(w, path));
    }
done:
    tr_free(path);
    return st;
}

static tress_status try_variant(tr_weights *w, bool *found, const char *dir, const char *variant)
{
    static const char *const base[] = { "diffusion_pytorch_model", "model" };
    tress_status st = TRESS_OK;
    char name[512];
    const int first = w->module >= TR_MODULE_CLIP_L;                      /* transformers says model, diffusers the other */
    for (int k = 0; k < 2; k++) {
        const char *b = base[k ^ first];
        snprintf(name, sizeof name, variant ? "%s.%s.safetensors" : "%s.safetensors", b, variant);
        TR_TRY(try_name(w, found, dir, name, false));
        if (*found) break;
        snprintf(name, sizeof name, variant ? "%s.safetensors.index.%s.json" : "%s.safetensors.index.json", b, variant);
        TR_TRY(try_name(w, found, dir, name, true));
        if (*found) break;
    }
done:
    return st;
}

static tress_status find_in_folder(tr_weights *w, const char *dir, const char *variant)
{
    tress_status st = TRESS_OK;
    char *path = NULL;
    bool found = false;
    const char *then = variant && *variant ? NULL : "fp16";
    if (variant && !*variant) variant = NULL;
    TR_TRY(try_variant(w, &found, dir, variant));
    if (!found) {
        TR_TRY(try_variant(w, &found, dir, then));
        if (found && variant) TR_TRY(tr_weights_add_note(w, "%s has no variant %s: its plain file is used", dir, variant));
    }
    if (!found)
        TR_TRY(tr_fail(TRESS_E_IO, "%s: found neither %s.safetensors nor its .index.json nor an fp16 variant (pickled .bin and .pt files are not read)",
                       dir, w->module >= TR_MODULE_CLIP_L ? "model" : "diffusion_pytorch_model"));
    TR_TRY(tr_path_join(&path, dir, "config.json"));
    if (!tr_file_exists(path)) TR_TRY(tr_fail(TRESS_E_IO, "%s: found no config.json beside the weights", dir));
    TR_TRY(read_json(&w->config, path, CONFIG_BYTES_MAX, 16));
    if (!json_is_object(w->config)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: expected an object", path));
done:
    tr_free(path);
    return st;
}

tress_status tr_weights_folder_module(tr_module *out, bool *known, const char *dir)
{
    static const struct { const char *name; tr_module m; } class_of[] = {
        { "SD3Transformer2DModel", TR_MODULE_TRANSFORMER }, { "SD3ControlNetModel", TR_MODULE_CONTROLNET }, { "AutoencoderKL", TR_MODULE_VAE },
        { "CLIPTextModelWithProjection", TR_MODULE_CLIP_G }, { "CLIPTextModel", TR_MODULE_CLIP_L }, { "T5EncoderModel", TR_MODULE_T5 },
    };
    tress_status st = TRESS_OK;
    char *path = NULL;
    json_t *o = NULL;
    *known = false;
    TR_TRY(tr_path_join(&path, dir, "config.json"));
    if (!tr_file_exists(path)) goto done;
    TR_TRY(read_json(&o, path, CONFIG_BYTES_MAX, 16));
    const char *name = json_string_value(json_object_get(o, "_class_name")), *act = json_string_value(json_object_get(o, "hidden_act"));
    if (!name) name = json_string_value(json_array_get(json_object_get(o, "architectures"), 0));
    for (size_t i = 0; name && i < sizeof class_of / sizeof class_of[0]; i++)
        if (strcmp(name, class_of[i].name) == 0) {
            *out = class_of[i].m == TR_MODULE_CLIP_G && act && strcmp(act, "quick_gelu") == 0 ? TR_MODULE_CLIP_L : class_of[i].m;
            *known = true;
        }
done:
    tr_free(path);
    json_decref(o);
    return st;
}

/* A file of a module's folder named directly: its config.json lies beside it. Original files have none. */
static tress_status find_config_beside(tr_weights *w, const char *path)
{
    tress_status st = TRESS_OK;
    char *dir = NULL, *config = NULL;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strncmp(name, "diffusion_pytorch_model", 23) != 0 && strncmp(name, "model.", 6) != 0) return TRESS_OK;
    TR_TRY(tr_strdup(&dir, slash ? path : "."));
    if (slash) dir[slash - path] = '\0';
    TR_TRY(tr_path_join(&config, *dir ? dir : "/", "config.json"));
    if (!tr_file_exists(config)) goto done;
    TR_TRY(read_json(&w->config, config, CONFIG_BYTES_MAX, 16));
    if (!json_is_object(w->config)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: expected an object", config));
done:
    tr_free(dir);
    tr_free(config);
    return st;
}

tress_status tr_weights_find_files(tr_weights *w, const char *path, const char *variant)
{
    tress_status st = TRESS_OK;
    char *sub = NULL, *index = NULL;
    if (!tr_dir_exists(path)) {
        TR_TRY(tr_strdup(&w->where, path));
        TR_TRY(tr_weights_add_file(w, path));
        TR_TRY(find_config_beside(w, path));
        goto done;
    }
    TR_TRY(tr_path_join(&sub, path, tr_module_name(w->module)));
    TR_TRY(tr_path_join(&index, path, "model_index.json"));
    if (tr_dir_exists(sub)) {
        w->where = sub;
        sub = NULL;
    } else if (tr_file_exists(index)) {
        TR_TRY(tr_fail(TRESS_E_IO, "%s: the model has no folder %s", path, tr_module_name(w->module)));
    } else {
        TR_TRY(tr_strdup(&w->where, path));
    }
    TR_TRY(find_in_folder(w, w->where, variant));
done:
    tr_free(sub);
    tr_free(index);
    return st;
}

tress_status tr_weights_find_beside(char **out, const char *beside, tr_module module)
{
    static const char *const clip_l[] = { "clip_l.safetensors", NULL }, *const clip_g[] = { "clip_g.safetensors", NULL },
        *const t5[] = { "t5xxl.safetensors", "t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn.safetensors", NULL };
    static const char *const where[] = { "", "text_encoders/" };
    const char *const *list = module == TR_MODULE_CLIP_L ? clip_l : module == TR_MODULE_CLIP_G ? clip_g : module == TR_MODULE_T5 ? t5 : NULL;
    tress_status st = TRESS_OK;
    char *dir = NULL, *path = NULL, name[64];
    *out = NULL;
    if (!list) return TRESS_OK;
    const char *slash = strrchr(beside, '/');
    TR_TRY(tr_strdup(&dir, slash ? beside : "."));
    if (slash) dir[slash - beside] = '\0';
    for (int k = 0; k < 2; k++)
        for (int i = 0; list[i]; i++) {
            snprintf(name, sizeof name, "%s%s", where[k], list[i]);
            TR_TRY(tr_path_join(&path, *dir ? dir : "/", name));
            if (tr_file_exists(path)) {
                *out = path;
                path = NULL;
                goto done;
            }
            tr_free(path);
            path = NULL;
        }
done:
    tr_free(dir);
    tr_free(path);
    return st;
}
