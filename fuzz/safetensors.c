/* The safetensors reader: whatever opens must be wholly readable and consistent. */
#include "fuzz.h"
#include "io/io.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    tr_safetensors *f = NULL;
    tress_status st = tr_safetensors_open(&f, fuzz_file(data, n));
    fuzz_expect(st);
    if (st != TRESS_OK) return 0;
    size_t total = 0;
    volatile unsigned char sum = 0;
    for (int i = 0; i < tr_safetensors_count(f); i++) {
        const tr_tensor t = tr_safetensors_at(f, i);
        const char *name = tr_safetensors_name(f, i);
        const size_t bytes = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
        tr_tensor again = tr_none();
        total += bytes;
        if (total > n || !tr_safetensors_find(f, name, &again) || again.data != t.data) abort();
        for (size_t k = 0; k < bytes; k++) sum = (unsigned char)(sum + ((const unsigned char *)t.data)[k]);
        if (tr_dtype_is_float(t.dtype) && tr_count(t) < 4096) {
            float out[4096];
            tr_dims d = { .rank = t.rank };
            memcpy(d.n, t.shape, sizeof d.n);
            fuzz_expect(tr_safetensors_read_f32(f, name, out, d));
        }
    }
    for (int i = 0; i < tr_safetensors_meta_count(f); i++) {
        const char *key, *value;
        tr_safetensors_meta_at(f, i, &key, &value);
        if (!tr_safetensors_meta(f, key)) abort();
    }
    tr_safetensors_close(f);
    return 0;
}
