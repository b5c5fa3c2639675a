#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The texts of a contract: where they are, what they are called. */
static const struct { const char *key, *option; size_t at, n; } texts[] = {
    { "tress.control_image", "--control-image", offsetof(tr_contract, control_image), sizeof((tr_contract *)0)->control_image },
    { "tress.control_range", "--control-range", offsetof(tr_contract, control_range), sizeof((tr_contract *)0)->control_range },
    { "tress.control_last_block", "--control-last-block", offsetof(tr_contract, control_last), sizeof((tr_contract *)0)->control_last },
    { "tress.reference", "--reference", offsetof(tr_contract, reference), sizeof((tr_contract *)0)->reference },
    { "tress.base", "the base model", offsetof(tr_contract, base), sizeof((tr_contract *)0)->base },
    { "tress.control", "the ControlNet", offsetof(tr_contract, control), sizeof((tr_contract *)0)->control },
};
static const struct { const char *key, *what; size_t at; } numbers[] = {
    { "tress.resolution", "resolution", offsetof(tr_contract, resolution) },
    { "tress.zero_text_rows", "zero-text rows", offsetof(tr_contract, zero_text_rows) },
};

tress_status tr_contract_read(tr_contract *out, const tr_lora *l)
{
    tr_contract c = { 0 };
    const char *v, *const file = tr_lora_path(l);
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (!(v = tr_lora_meta(l, texts[i].key))) continue;
        if (strlen(v) >= texts[i].n) return tr_fail(TRESS_E_FORMAT, "%s: %s is \"%.80s\", expected at most %zu bytes", file, texts[i].key, v, texts[i].n - 1);
        snprintf((char *)&c + texts[i].at, texts[i].n, "%s", v);
        c.present = true;
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (!(v = tr_lora_meta(l, numbers[i].key))) continue;
        int n = 0, k = 0;
        while (k < 7 && v[k] >= '0' && v[k] <= '9') n = 10 * n + (v[k++] - '0');
        if (k == 0 || v[k]) return tr_fail(TRESS_E_FORMAT, "%s: %s is \"%.80s\", expected a whole number", file, numbers[i].key, v);
        memcpy((char *)&c + numbers[i].at, &n, sizeof n);
        c.present = true;
    }
    if ((v = tr_lora_meta(l, "tress.vae_shift"))) {
        json_t *o = json_loads(v, JSON_DECODE_ANY, NULL);                 /* the same in every locale */
        const double x = json_is_number(o) ? json_number_value(o) : (double)NAN;
        json_decref(o);
        if (!(fabs(x) <= 1e6)) return tr_fail(TRESS_E_FORMAT, "%s: tress.vae_shift is \"%.80s\", expected a number", file, v);
        c.vae_shift = (float)x;
        c.present = true;
    }
    *out = c;
    return TRESS_OK;
}

tress_status tr_contract_write(tr_lora *l, const tr_contract *c)
{
    tress_status st = TRESS_OK;
    char text[32], *number = NULL;
    json_t *shift = NULL;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *v = (const char *)c + texts[i].at;
        if (*v) TR_TRY(tr_lora_set_meta(l, texts[i].key, v));
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        int n;
        memcpy(&n, (const char *)c + numbers[i].at, sizeof n);
        snprintf(text, sizeof text, "%d", n);
        if (n > 0) TR_TRY(tr_lora_set_meta(l, numbers[i].key, text));
    }
    shift = json_real((double)c->vae_shift);
    number = shift ? json_dumps(shift, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    if (!number) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for a contract"));
    TR_TRY(tr_lora_set_meta(l, "tress.vae_shift", number));
done:
    free(number);                                                         /* jansson's own */
    json_decref(shift);
    return st;
}

tress_status tr_contract_compare(const tr_contract *trained, const tr_contract *used, const char *file, tr_str *told)
{
    tress_status st = TRESS_OK;
    if (!trained->present) return TRESS_OK;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *a = (const char *)trained + texts[i].at, *b = (const char *)used + texts[i].at;
        if (*a && *b && strcmp(a, b) != 0)
            return tr_fail(TRESS_E_CONTRACT, "%s: was trained with another %s: found %s, expected %s (%s); --ignore-contract uses it all the same",
                           file, texts[i].option, b, a, texts[i].key);
    }
    if (used->present && fabsf(trained->vae_shift - used->vae_shift) > 1e-6f)
        return tr_fail(TRESS_E_CONTRACT, "%s: was trained with another VAE shift: found %g, expected %g (tress.vae_shift); --ignore-contract uses it all the same",
                       file, (double)used->vae_shift, (double)trained->vae_shift);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        int a, b;
        memcpy(&a, (const char *)trained + numbers[i].at, sizeof a);
        memcpy(&b, (const char *)used + numbers[i].at, sizeof b);
        if (a > 0 && b > 0 && a != b) TR_TRY(tr_str_printf(told, "%s: was trained with %s %d, used with %d\n", file, numbers[i].what, a, b));
    }
done:
    return st;
}
