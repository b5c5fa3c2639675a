/* JSON as configurations and listings of the hub come. */
#include "api/hub_int.h"
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *o = NULL;
    const char *text = (const char *)data, *s = NULL;
    int64_t i = 0;
    double x = 0;
    bool b = false;
    tress_status st = tr_json_parse(&o, text, n, 8, "input");
    fuzz_expect(st);
    if (st == TRESS_OK) {
        fuzz_expect(tr_json_int(&i, o, "a", -5, 5, 0, "input"));
        fuzz_expect(tr_json_double(&x, o, "a", -5, 5, 0, "input"));
        fuzz_expect(tr_json_bool(&b, o, "a", false, "input"));
        fuzz_expect(tr_json_string(&s, o, "a", NULL, "input"));
        if (i < -5 || i > 5 || !(x >= -5 && x <= 5)) abort();
        json_decref(o);
    }
    tr_hub_list l = { 0 };
    fuzz_expect(tr_hub_list_add(&l, text, n, "input"));
    tr_hub_list_choose(&l, NULL, 0, NULL, 0, n % 2 ? "fp16" : NULL);
    for (int k = 0; k < l.n; k++)
        if (!tr_hub_is_safe(l.file[k].path) || l.file[k].size < 0) abort();
    tr_hub_list_fini(&l);
    return 0;
}
