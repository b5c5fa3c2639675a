/* golden.h - pictures out of tests/golden/image for the tests of this room. */
#ifndef TRESS_TESTS_IMAGE_GOLDEN_H
#define TRESS_TESTS_IMAGE_GOLDEN_H

#include "image/image.h"
#include "io/io.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/image/"

typedef struct golden { json_t *json; tr_safetensors *st; } golden;

static inline void golden_open(golden *g, const char *name)
{
    char path[512], *text = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    assert_int_equal(tr_file_read(&text, &n, path, 1 << 22), TRESS_OK);
    assert_int_equal(tr_json_parse(&g->json, text, n, 8, path), TRESS_OK);
    tr_free(text);
    snprintf(path, sizeof path, GOLDEN "%s.safetensors", name);
    assert_int_equal(tr_safetensors_open(&g->st, path), TRESS_OK);
}

static inline void golden_close(golden *g)
{
    json_decref(g->json);
    tr_safetensors_close(g->st);
}

static inline tr_tensor golden_at(const golden *g, const char *format, int i)
{
    char name[64];
    tr_tensor t = tr_none();
    snprintf(name, sizeof name, format, i);
    if (!tr_safetensors_find(g->st, name, &t)) fail_msg("no tensor %s", name);
    return t;
}

/* [h, w, c] or [h, w] U8 as planes 0..1. */
static inline tr_planes golden_planes(tr_tensor t)
{
    tr_planes p = { 0 };
    const int c = t.rank == 3 ? (int)t.shape[2] : 1;
    assert_int_equal(t.dtype, TR_U8);
    assert_int_equal(tr_planes_new(&p, c, (int)t.shape[0], (int)t.shape[1]), TRESS_OK);
    for (int64_t i = 0; i < tr_count(t); i++) tr_plane(p, (int)(i % c))[i / c] = (float)((const uint8_t *)t.data)[i] / 255.0f;
    return p;
}

static inline double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) fail_msg("no number %s", key);
    return json_number_value(v);
}

#endif
