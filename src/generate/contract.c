#include "generate/contract.h"

#include <stdio.h>
#include <string.h>

const char *tr_control_image_name(tress_control_image v)
{
    static const char *const name[] = { "lines", "canny", "colour", "raw" };
    return (unsigned)v < 4 ? name[v] : "unknown";
}

const char *tr_control_range_name(tress_control_range v) { return v == TRESS_RANGE_VENDOR ? "vendor" : "signed"; }
const char *tr_control_last_name(tress_control_last v) { return v == TRESS_LAST_VENDOR ? "vendor" : "diffusers"; }
const char *tr_control_pooled_name(tress_control_pooled v) { return v == TRESS_POOLED_TEXT ? "text" : "zero"; }
const char *tr_reference_name(tress_reference v)
{
    static const char *const name[] = { "auto", "off", "clean", "staircase", "noised" };
    return (unsigned)v < 5 ? name[v] : "unknown";
}

const char *tr_sampler_name(tress_sampler v) { return v == TRESS_SAMPLER_EULER ? "euler" : "dpmpp-2m"; }

tress_status tr_contract_keep(const tr_bundle *m, const tress_generate_args *a, tress_reference reference, int width, int height)
{
    tress_status st = TRESS_OK;
    tr_str told = { 0 };
    tr_contract used = { .present = true, .resolution = width > height ? width : height,
                         .zero_text_rows = a->zero_text ? a->zero_text_rows : 0, .vae_shift = m->vae_config.shift };
    if (m->weights[TR_MODULE_CONTROLNET]) {
        snprintf(used.control_image, sizeof used.control_image, "%s", tr_control_image_name(a->control_image));
        snprintf(used.control_range, sizeof used.control_range, "%s", tr_control_range_name(a->control_range));
        snprintf(used.control_last, sizeof used.control_last, "%s", tr_control_last_name(a->control_last));
    }
    for (int i = 0; i < m->args.n_lora; i++) {
        const char *file = m->args.lora[i].file;
        tr_contract trained;
        TR_TRY(tr_contract_read(&trained, m->lora[i]));
        if (!trained.present) {
            tr_host_note(m->host, "%s does not say what it was trained under; it is used as it is", file);
            continue;
        }
        if (*trained.base && !*used.base) TR_TRY(tr_fingerprint(used.base, m->weights[TR_MODULE_TRANSFORMER]));
        if (*trained.control && !*used.control && m->weights[TR_MODULE_CONTROLNET]) TR_TRY(tr_fingerprint(used.control, m->weights[TR_MODULE_CONTROLNET]));
        /* Trained without a reference it binds to none, and without a photo there is none to bind. */
        snprintf(used.reference, sizeof used.reference, "%s", a->photo && strcmp(trained.reference, "off") != 0 ? tr_reference_name(reference) : "");
        st = tr_contract_compare(&trained, &used, file, &told);
        if (st == TRESS_E_CONTRACT && m->args.ignore_contract) {
            tr_host_note(m->host, "%s", tr_message());
            st = TRESS_OK;
        }
        if (st != TRESS_OK) goto done;
    }
    for (char *line = told.s; line && *line;) {
        char *end = strchr(line, '\n');
        if (end) *end = '\0';
        tr_host_note(m->host, "%s", line);
        line = end ? end + 1 : NULL;
    }
done:
    tr_str_fini(&told);
    return st;
}
