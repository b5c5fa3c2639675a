#include "generate/contract.h"

#include <math.h>
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
const char *tr_sampler_name(tress_sampler v) { return v == TRESS_SAMPLER_EULER ? "euler" : "dpmpp-2m"; }

/* One clause: trained is what the file says ("" when it does not), asked what this drawing has. */
static tress_status clause(const tr_bundle *m, const char *file, const char *what, const char *trained, const char *asked)
{
    if (!*trained || strcmp(trained, asked) == 0) return TRESS_OK;
    if (!m->args.ignore_contract)
        return tr_fail(TRESS_E_CONTRACT, "%s was trained with %s %s, this drawing has %s (--ignore-contract draws all the same)", file, what, trained, asked);
    tr_host_note(m->host, "%s was trained with %s %s, this drawing has %s", file, what, trained, asked);
    return TRESS_OK;
}

static tress_status fingerprint_clause(const tr_bundle *m, const char *file, const char *what, const char *trained, tr_module module)
{
    tress_status st = TRESS_OK;
    char print[65];
    if (!*trained || !m->weights[module]) return TRESS_OK;
    TR_TRY(tr_fingerprint(print, m->weights[module]));
    TR_TRY(clause(m, file, what, trained, print));
done:
    return st;
}

tress_status tr_contract_keep(const tr_bundle *m, const tress_generate_args *a, int width, int height)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < m->args.n_lora; i++) {
        const char *file = m->args.lora[i].file;
        tr_contract c;
        TR_TRY(tr_contract_read(&c, m->lora[i]));
        if (!c.present) {
            tr_host_note(m->host, "%s does not say what it was trained under; it is used as it is", file);
            continue;
        }
        if (m->controlnet) {
            TR_TRY(clause(m, file, "--control-image", c.control_image, tr_control_image_name(a->control_image)));
            TR_TRY(clause(m, file, "--control-range", c.control_range, tr_control_range_name(a->control_range)));
            TR_TRY(clause(m, file, "--control-last-block", c.control_last, tr_control_last_name(a->control_last)));
            TR_TRY(fingerprint_clause(m, file, "the ControlNet", c.control, TR_MODULE_CONTROLNET));
        }
        TR_TRY(clause(m, file, "--reference", c.reference, "off"));
        TR_TRY(fingerprint_clause(m, file, "the base model", c.base, TR_MODULE_TRANSFORMER));
        if (m->vae && c.vae_shift != 0 && !(fabsf(c.vae_shift - tr_vae_get_config(m->vae)->shift) <= 1e-6f)) {
            char trained[32], asked[32];
            snprintf(trained, sizeof trained, "%g", (double)c.vae_shift);
            snprintf(asked, sizeof asked, "%g", (double)tr_vae_get_config(m->vae)->shift);
            TR_TRY(clause(m, file, "the VAE shift", trained, asked));
        }
        const int side = width > height ? width : height;
        if (c.resolution > 0 && c.resolution != side)
            tr_host_note(m->host, "%s was trained at %d pixels, this drawing is %d x %d", file, c.resolution, width, height);
        if (a->zero_text && c.zero_text_rows > 0 && c.zero_text_rows != a->zero_text_rows)
            tr_host_note(m->host, "%s was trained with %d zero-text rows, this drawing has %d", file, c.zero_text_rows, a->zero_text_rows);
    }
done:
    return st;
}
