/* tress generate: a picture from a sketch, words and perhaps a photo. */
#include "drawing.h"

#include <stdio.h>
#include <string.h>

typedef struct generate_args {
    cli_common    common;
    model_args    model;
    sampling_args sampling;
    drawing_args  drawing;
    const char   *out, *control_out, *alpha_out, *overlay_out;
    bool          dry_run;
} generate_args;

#define PICTURES "png|jpg|jpeg|webp"

static const cli_option options[] = {
    DRAWING_OPTIONS(generate_args, drawing),
    { .kind = OPT_GROUP, .help = "Results" },
    { OPT_OUT, "out", offsetof(generate_args, out), 0, 0, NULL, "the picture: .png (its making is kept inside), .jpg or .webp", .letter = 'o', .required = true },
    { OPT_OUT, "control-out", offsetof(generate_args, control_out), 0, 0, NULL, "also write the control picture as it was used" },
    { OPT_OUT, "alpha-out", offsetof(generate_args, alpha_out), 0, 0, NULL, "also write the composite's alpha: the photo's own pixels where it is 0" },
    { OPT_OUT, "overlay-out", offsetof(generate_args, overlay_out), 0, 0, NULL, "also write the photo with the matte in red and the strokes in green, to check --place; with --dry-run that alone" },
    { OPT_FLAG, "dry-run", offsetof(generate_args, dry_run), 0, 0, NULL, "check everything and say what would be drawn, but draw nothing" },
    MODEL_OPTIONS(generate_args, model),
    SAMPLING_OPTIONS(generate_args, sampling),
    LATENT_OPTIONS(generate_args, drawing),
    CLI_MACHINE(generate_args),
    CLI_VRAM(generate_args),
    { .kind = OPT_END },
};

static tress_status check(const generate_args *a)
{
    tress_status st = drawing_check(&a->drawing, &a->sampling);
    if (st != TRESS_OK) return st;
    if (a->alpha_out && !a->drawing.photo) return cli_fail(TRESS_E_ARG, "--alpha-out needs --photo and --matte");
    if (a->overlay_out && !a->drawing.photo) return cli_fail(TRESS_E_ARG, "--overlay-out needs --photo and --matte");
    if (a->control_out && !a->drawing.sketch) return cli_fail(TRESS_E_ARG, "--control-out needs --sketch");
    const struct { const char *option, *path; } outs[] = { { "-o", a->out }, { "--control-out", a->control_out }, { "--alpha-out", a->alpha_out },
                                                               { "--overlay-out", a->overlay_out } };
    for (int i = 0; i < 4; i++) {
        for (int k = 0; outs[i].path && k < i; k++)
            if (outs[k].path && strcmp(outs[i].path, outs[k].path) == 0)
                return cli_fail(TRESS_E_ARG, "%s and %s are both %s", outs[k].option, outs[i].option, outs[i].path);
        for (int n = 0; outs[i].path && n < (i == 0 ? a->drawing.batch : 1); n++)
            if ((st = cli_check_out(outs[i].option, i == 0 ? cli_numbered(outs[i].path, n, a->drawing.batch) : outs[i].path, PICTURES)) != TRESS_OK) return st;
    }
    return TRESS_OK;
}

static tress_status save(tress *t, const generate_args *a, const tress_result *r)
{
    tress_status st = TRESS_OK;
    const int n = tress_result_count(r);
    if (a->control_out && tress_result_control(r)) st = tress_image_save(t, tress_result_control(r), a->control_out, NULL);
    if (st == TRESS_OK && a->alpha_out && tress_result_alpha(r)) st = tress_image_save(t, tress_result_alpha(r), a->alpha_out, NULL);
    for (int i = 0; i < n && st == TRESS_OK; i++) {
        const char *path = cli_numbered(a->out, i, n);
        st = tress_result_save(t, r, i, path);
        if (st == TRESS_OK) printf("%s\n", path);
    }
    return st;
}

static tress_status run(tress *t, const void *args)
{
    const generate_args *a = args;
    drawing_pictures pictures = { 0 };
    tress_generate_args g;
    tress_model *m = NULL;
    tress_result *r = NULL;
    tress_status st = check(a);
    if (st == TRESS_OK) st = drawing_open(t, &pictures, &g, &a->drawing, &a->sampling);
    if (st == TRESS_OK) {
        tress_model_args ma = model_args_of(&a->model);
        ma.no_control = !a->drawing.sketch;
        g.dry_run = a->dry_run;
        g.overlay = a->overlay_out != NULL;
        st = tress_model_open(t, &m, &ma);
    }
    if (st == TRESS_OK) st = tress_generate(m, &g, &r);
    if (st == TRESS_OK && tress_result_overlay(r)) st = tress_image_save(t, tress_result_overlay(r), a->overlay_out, NULL);
    if (st == TRESS_OK && !a->dry_run) st = save(t, a, r);
    if (st == TRESS_OK && a->dry_run && tress_result_json(r, 0)) printf("%s\n", tress_result_json(r, 0));
    if (st == TRESS_OK && a->sampling.seed.random && !a->dry_run) cli_line("", cli_format("seed %llu", (unsigned long long)tress_result_seed(r)));
    tress_result_free(r);
    tress_model_close(m);
    drawing_close(&pictures);
    return st;
}

const cli_command cli_generate = {
    "generate", "draw hair from a sketch, into a photo if there is one", sizeof(generate_args), options, run, .gpu = true,
    .text = "The sketch gives the shape, the words and LoRAs the look. With --photo and --matte the hair is drawn into the\n"
            "photo, and every pixel away from the matte stays byte for byte as it was. An existing OUT is replaced only\n"
            "when the new picture is complete.\n",
    .examples = "  tress generate --sketch sketch.png -p \"long red hair\" -o out.png\n"
                "  tress generate --sketch sketch.png --photo me.jpg --matte hair.png -p \"blonde hair\" -s 7 -o out.png\n"
                "  tress generate -m sd3.5-large --lora braid.safetensors:0.8 --sketch s.png --size 1024x1024 -b 4 -o out.png\n",
};
