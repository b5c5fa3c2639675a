/* Every allocation of loading, converting and LoRA files may fail: the call says so, nothing leaks and nothing is left on the disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/model/"

static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tress-memory-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static const char *at(const char *name)
{
    static char path[2][256];
    static int k;
    k = !k;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static void nothing_there(void)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' || strlen(e->d_name) > 2) fail_msg("%s was left behind", e->d_name);
    closedir(d);
}

/* Run `work` with the nth allocation failing, for n = 1, 1 + step, .., until it goes through. */
static void torture(tress_status (*work)(void), int64_t step, bool writes)
{
    int64_t n = 1;
    for (;; n += step) {
        const int64_t before = tr_mem_now().bytes;
        tr_mem_fail_at(n);
        const tress_status st = work();
        tr_mem_fail_at(0);
        if (tr_mem_now().bytes != before) fail_msg("allocation %d: %d bytes leak", (int)n, (int)(tr_mem_now().bytes - before));
        if (st == TRESS_OK) break;
        if (st != TRESS_E_OOM) fail_msg("allocation %d: status %d, %s", (int)n, (int)st, tr_message());
        if (writes) nothing_there();
        assert_true(n < 1000000);
    }
    assert_true(n > 3);
}

static tress_status open_weights(tr_module m)
{
    tr_weights *w = NULL;
    tr_tensor t;
    tress_status st = tr_weights_open(&w, GOLDEN "original_whole.safetensors", m, NULL);
    for (int i = 0; st == TRESS_OK && i < tr_weights_count(w); i++) {
        tr_dims d = { .rank = tr_weights_at(w, i).rank };
        memcpy(d.n, tr_weights_at(w, i).shape, sizeof d.n);
        if (tr_weights_at(w, i).dtype <= TR_F8_E4M3) st = tr_weights_get(w, &t, d, "%s", tr_weights_name(w, i));
    }
    if (st == TRESS_OK) st = tr_weights_check(w, 2);
    tr_weights_close(w);
    return st;
}
static tress_status open_transformer(void) { return open_weights(TR_MODULE_TRANSFORMER); }
static tress_status open_clip(void) { return open_weights(TR_MODULE_CLIP_L); }

static tress_status lora_through(tr_lora_format f)
{
    tr_lora *l = NULL;
    tress_status st = tr_lora_open(&l, GOLDEN "lora_peft");
    if (st == TRESS_OK) st = tr_lora_save(l, at("x"), f);
    tr_lora_close(l);
    return st;
}
static tress_status lora_diffusers(void) { return lora_through(TR_LORA_DIFFUSERS); }
static tress_status lora_kohya(void) { return lora_through(TR_LORA_KOHYA); }

static tress *handle;
static tress_status convert_file(void) { return tress_convert(handle, &(tress_convert_args){ .from = GOLDEN "original_whole.safetensors", .to = at("x"), .modules = "transformer,vae", .dtype = "f32" }); }
static tress_status convert_back(void) { return tress_convert(handle, &(tress_convert_args){ .from = GOLDEN "original_whole.safetensors", .to = at("x.safetensors"), .modules = "vae" }); }

static void remove_all(void)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'/x*", dir);
    assert_int_equal(system(cmd), 0);
}

static void weights(void **state) { (void)state; torture(open_transformer, 1, false); torture(open_clip, 1, false); }

static void lora(void **state)
{
    (void)state;
    torture(lora_diffusers, 1, true);
    remove_all();
    torture(lora_kohya, 1, true);
    remove_all();
}

static void convert(void **state)
{
    (void)state;
    assert_int_equal(tress_new(&handle, &(tress_options){ .n_thread = 1 }), TRESS_OK);
    torture(convert_file, 7, true);
    remove_all();
    torture(convert_back, 3, true);
    remove_all();
    tress_free(handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(weights), cmocka_unit_test(lora), cmocka_unit_test(convert) };
    return cmocka_run_group_tests(tests, enter, leave);
}
