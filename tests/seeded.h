/* seeded.h - random weights and inputs by a formula that tools/golden/seeded.py computes too, so that goldens hold results only.
 *
 *     normal(NAME, i) = element i of tr_philox_normal with key FNV-1a-64(NAME) ^ seed, stream 0
 *     weight of rank 1 whose NAME ends in "weight"     1 + 0.1 normal       (norms)
 *     other weights of rank 0 and 1                    0.1 normal           (biases)
 *     weights of rank 2 and more                       normal / sqrt(product of all extents but the first)
 *
 * A golden's .json lists the weights ("weights": { NAME: [extents], .. }), the module's "config" and the "seed";
 * seeded_folder writes a module folder from it. For tests: failures are reported through tress_status as anywhere else. */
#ifndef TRESS_TESTS_SEEDED_H
#define TRESS_TESTS_SEEDED_H

#include "io/io.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static inline uint64_t seeded_key(const char *name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 0x100000001b3u;
    return h ^ seed;
}

/* out[n] = mean + std * normal(name, i) */
static inline void seeded_normal(float *out, int64_t n, const char *name, uint64_t seed, double mean, double std)
{
    tr_philox_normal(out, n, seeded_key(name, seed), 0);
    for (int64_t i = 0; i < n; i++) out[i] = (float)(mean + std * (double)out[i]);
}

static inline void seeded_weight(float *out, const char *name, uint64_t seed, tr_dims d)
{
    const size_t len = strlen(name);
    const bool is_norm = d.rank == 1 && len >= 6 && strcmp(name + len - 6, "weight") == 0;
    int64_t n = 1, fan_in = 1;
    for (int i = 0; i < d.rank; i++) n *= d.n[i];
    for (int i = 1; i < d.rank; i++) fan_in *= d.n[i];
    seeded_normal(out, n, name, seed, is_norm ? 1 : 0, d.rank <= 1 ? 0.1 : 1 / sqrt((double)fan_in));
}

/* The whole of a small text file as JSON; json_decref. */
static inline tress_status seeded_json(json_t **out, const char *path)
{
    enum { MAX = 4 << 20 };
    tress_status st = TRESS_OK;
    char *text = NULL;
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f) TR_TRY(tr_fail(TRESS_E_IO, "%s: %s", path, strerror(errno)));
    TR_TRY(tr_alloc((void **)&text, MAX));
    n = fread(text, 1, MAX, f);
    TR_TRY(tr_json_parse(out, text, n, 8, path));
done:
    if (f) fclose(f);
    tr_free(text);
    return st;
}

/* Write folder/config.json and folder/file (say "diffusion_pytorch_model.safetensors") with the weights that the golden's
 * json lists, as dtype F32, F16, BF16 or F8_E4M3 (rounded from the F32 formula). The folder is made, its parent must exist.
 * `key` is the member that lists the weights: "weights" unless the golden holds several modules; its config is then at
 * key_config ("config"). */
static inline tress_status seeded_folder_of(const char *json_path, const char *key, const char *key_config, const char *folder, const char *file,
                                            tr_dtype t)
{
    tress_status st = TRESS_OK;
    json_t *golden = NULL;
    tr_named *list = NULL;
    char path[1024];
    int n = 0;
    TR_TRY(seeded_json(&golden, json_path));
    const json_t *weights = json_object_get(golden, key), *config = json_object_get(golden, key_config);
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(golden, "seed"));
    if (!json_is_object(weights)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s lists no %s", json_path, key));
    if (mkdir(folder, 0777) && errno != EEXIST) TR_TRY(tr_fail(TRESS_E_IO, "%s: %s", folder, strerror(errno)));
    if (config) {
        snprintf(path, sizeof path, "%s/config.json", folder);
        if (json_dump_file(config, path, 0)) TR_TRY(tr_fail(TRESS_E_IO, "%s cannot be written", path));
    }
    TR_TRY(tr_alloc_array((void **)&list, (int64_t)json_object_size(weights) + 1, sizeof *list));
    for (void *it = json_object_iter((json_t *)(uintptr_t)weights); it; it = json_object_iter_next((json_t *)(uintptr_t)weights, it)) {
        const json_t *shape = json_object_iter_value(it);
        tr_dims d = { .rank = (int)json_array_size(shape) };
        size_t bytes;
        float *value = NULL;
        if (d.rank > TR_RANK_MAX) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s has rank %d", json_path, json_object_iter_key(it), d.rank));
        for (int i = 0; i < d.rank; i++) d.n[i] = json_integer_value(json_array_get(shape, (size_t)i));
        TR_TRY(tr_bytes(&bytes, TR_F32, d));
        TR_TRY(tr_alloc_raw((void **)&value, bytes));
        list[n++] = (tr_named){ json_object_iter_key(it), tr_view(value, t, d) };
        seeded_weight(value, json_object_iter_key(it), seed, d);
        for (size_t i = 0; i < bytes / 4; i++) {              /* in place: never wider than it was */
            const float v = value[i];
            const uint16_t h = t == TR_F16 ? tr_f32_to_f16(v) : tr_f32_to_bf16(v);
            const uint8_t e = tr_f32_to_f8e4m3(v);
            if (t == TR_F16 || t == TR_BF16) memcpy((char *)value + 2 * i, &h, 2);
            else if (t == TR_F8_E4M3) memcpy((char *)value + i, &e, 1);
        }
    }
    snprintf(path, sizeof path, "%s/%s", folder, file);
    TR_TRY(tr_safetensors_write(path, list, n, NULL));
done:
    for (int i = 0; i < n; i++) tr_free(list[i].t.data);
    tr_free(list);
    json_decref(golden);
    return st;
}

static inline tress_status seeded_folder(const char *json_path, const char *folder, const char *file, tr_dtype t)
{
    return seeded_folder_of(json_path, "weights", "config", folder, file, t);
}

/* |got - want| over |want|, Euclidean. NaN where either holds one. */
static inline double seeded_error(const float *got, const float *want, int64_t n)
{
    double diff = 0, ref = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = (double)got[i] - (double)want[i];
        diff += e * e;
        ref += (double)want[i] * (double)want[i];
    }
    return sqrt(diff) / sqrt(ref > 0 ? ref : 1);
}

#endif
