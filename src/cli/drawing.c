#include "drawing.h"

static tress_status without_photo(const char *option)
{
    return cli_fail(TRESS_E_ARG, "%s needs --photo and --matte", option);
}

tress_status drawing_check(const drawing_args *d, const sampling_args *s)
{
    tress_generate_args g = { 0 };
    if (!d->sketch && s->control_strength > 0) return cli_fail(TRESS_E_ARG, "--sketch is missing; only --control-strength 0 draws without one");
    if (d->photo && !d->matte) return cli_fail(TRESS_E_ARG, "--photo needs --matte, which says where the hair goes");
    if (d->matte && !d->photo) return cli_fail(TRESS_E_ARG, "--matte needs --photo");
    if (!d->photo) {
        if (d->old_matte) return without_photo("--old-matte");
        if (d->place.on) return without_photo("--place");
        if (d->inpaint) return without_photo("--inpaint");
        if (d->reference > TRESS_REFERENCE_OFF) return without_photo("--reference");
        if (d->draw_tokens) return without_photo("--draw-tokens edit");
        if (d->colour_start > 0) return without_photo("--colour-start");
        if (d->colour_guide > 0) return without_photo("--colour-guide");
        if (d->colour_reference > 0) return without_photo("--colour-reference");
        if (d->control_outside >= 0) return without_photo("--control-strength-outside");
        if (d->strength < 1) return without_photo("--strength below 1");
    }
    if (d->place.on && !d->sketch) return cli_fail(TRESS_E_ARG, "--place needs --sketch");
    if (d->latents_out) {
        tress_status st = cli_check_out("--latents-out", d->latents_out, "safetensors");
        if (st != TRESS_OK) return st;
    }
    if (!sampling_into(&g, s)) return cli_status();
    if (d->zero_text && (d->prompt[0] || d->negative[0])) cli_note("--zero-text draws without words: the prompt is not used");
    else if (d->embeds_in && (d->prompt[0] || d->negative[0])) cli_note("--embeds-in stands in place of the prompt, which is not used");
    return TRESS_OK;
}

static tress_status open_one(tress *t, tress_image **out, const char *option, const char *path)
{
    if (!path) return TRESS_OK;
    tress_status st = tress_image_load(t, out, path);
    return st == TRESS_OK ? st : cli_fail(st, "%s: %s", option, tress_last_error());
}

tress_status drawing_open(tress *t, drawing_pictures *p, tress_generate_args *g, const drawing_args *d, const sampling_args *s)
{
    tress_status st = TRESS_OK;
    if ((st = open_one(t, &p->sketch, "--sketch", d->sketch)) != TRESS_OK) return st;
    if ((st = open_one(t, &p->photo, "--photo", d->photo)) != TRESS_OK) return st;
    if ((st = open_one(t, &p->matte, "--matte", d->matte)) != TRESS_OK) return st;
    if ((st = open_one(t, &p->old_matte, "--old-matte", d->old_matte)) != TRESS_OK) return st;
    tress_generate_defaults(g);
    if (!sampling_into(g, s)) return cli_status();
    g->sketch = p->sketch;
    g->photo = p->photo;
    g->matte = p->matte;
    g->old_matte = p->old_matte;
    g->prompt = d->prompt;
    g->negative = d->negative;
    g->zero_text = d->zero_text;
    g->zero_text_rows = d->zero_text_rows;
    g->width = d->size.width;
    g->height = d->size.height;
    g->batch = d->batch;
    g->strength = (float)d->strength;
    g->inpaint = d->inpaint;
    g->reference = (tress_reference)d->reference;
    g->reference_strength = (float)d->reference_strength;
    g->reference_rows = d->reference_rows;
    g->reference_first = d->reference_first;
    g->reference_last = d->reference_last;
    g->draw_tokens = (tress_draw_tokens)d->draw_tokens;
    g->control_strength_outside = (float)d->control_outside;
    g->colour_start = (float)d->colour_start;
    g->colour_guide = (float)d->colour_guide;
    g->colour_reference = (float)d->colour_reference;
    g->edit_grow = d->edit_grow;
    g->place = d->place;
    g->blend = (tress_blend)d->blend;
    g->control_image = (tress_control_image)d->control_image;
    g->max_sequence_length = d->max_sequence_length;
    g->vae_band = d->vae_band;
    g->latents_in = d->latents_in;
    g->latents_out = d->latents_out;
    g->embeds_in = d->embeds_in;
    return TRESS_OK;
}

void drawing_close(drawing_pictures *p)
{
    tress_image_free(p->sketch);
    tress_image_free(p->photo);
    tress_image_free(p->matte);
    tress_image_free(p->old_matte);
}
