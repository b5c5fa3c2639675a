/* drawing.h - what to draw: sketch, photo, words, size. generate and plan have it. */
#ifndef TRESS_CLI_DRAWING_H
#define TRESS_CLI_DRAWING_H

#include "model.h"
#include "sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct drawing_args {
    const char *sketch, *photo, *matte, *old_matte, *prompt, *negative, *latents_in, *latents_out, *embeds_in;
    bool        zero_text, inpaint;
    int         zero_text_rows, batch, reference, edit_grow, blend, control_image, max_sequence_length, vae_band;
    int         reference_rows, reference_first, reference_last, draw_tokens;
    double      strength, reference_strength, control_outside, colour_start, colour_guide, colour_reference;
    cli_size    size;
    tress_place place;
} drawing_args;

#define DRAWING_OPTIONS(args, d)                                                                                                           \
    { .kind = OPT_GROUP, .help = "What to draw" },                                                                                         \
    { OPT_PATH, "sketch", offsetof(args, d.sketch), 0, 0, NULL, "the drawing of the hair, PNG, JPEG or WebP; needed unless --control-strength is 0" }, \
    { OPT_TEXT, "prompt", offsetof(args, d.prompt), 0, 0, "", "what the hair should be, in words", .letter = 'p' },                        \
    { OPT_TEXT, "negative", offsetof(args, d.negative), 0, 0, "", "what it should not be", .letter = 'n' },                                \
    { OPT_FLAG, "zero-text", offsetof(args, d.zero_text), 0, 0, NULL, "no words at all: zero rows, as in training, and no guidance" },     \
    { OPT_INT, "zero-text-rows", offsetof(args, d.zero_text_rows), 1, 4096, "333", "how many zero rows --zero-text stands for" },          \
    { OPT_SIZE, "size", offsetof(args, d.size), 16, 8192, NULL, "size to draw at, rounded to 16 pixels; without it the sketch's, or the model's own with a photo" }, \
    { OPT_INT, "batch", offsetof(args, d.batch), 1, 64, "1", "pictures from one noise stream: OUT-1.png, OUT-2.png, ...", .letter = 'b' }, \
    { OPT_CHOICE, "control-image", offsetof(args, d.control_image), 0, 0, "lines",                                                         \
      "how the sketch becomes the control picture; raw takes the file as it is", .choices = "lines|canny|colour|raw" },                    \
    { .kind = OPT_GROUP, .help = "Into a photo" },                                                                                         \
    { OPT_PATH, "photo", offsetof(args, d.photo), 0, 0, NULL, "the photo that gets the hair; needs --matte" },                             \
    { OPT_PATH, "matte", offsetof(args, d.matte), 0, 0, NULL, "where hair goes, white on black, as large as the photo, or as the sketch if that is placed" },                  \
    { OPT_PATH, "old-matte", offsetof(args, d.old_matte), 0, 0, NULL, "where the photo's own hair is, which may go too" },                 \
    { OPT_PLACE, "place", offsetof(args, d.place), 0, 0, NULL,                                                                             \
      "lay the sketch, and a matte as large as it, on the photo: pixel of its centre, scale, degrees clockwise, flip 0 or 1" },                                         \
    { OPT_INT, "edit-grow", offsetof(args, d.edit_grow), -1, 4096, "-1", "pixels round the matte that may change; -1: 24 per 1024 of the photo" }, \
    { OPT_CHOICE, "blend", offsetof(args, d.blend), 0, 0, "feather", "into the photo by one soft border, or octave by octave", .choices = "feather|bands" }, \
    { OPT_REAL, "strength", offsetof(args, d.strength), 0, 1, "1", "1: from pure noise; below, from the noised photo" },                   \
    { OPT_FLAG, "inpaint", offsetof(args, d.inpaint), 0, 0, NULL, "hold the surroundings by blending with the re-noised photo at each step" }, \
    { OPT_CHOICE, "reference", offsetof(args, d.reference), 0, 0, "auto",                                                                  \
      "what of the photo the drawing attends to: off, clean (run once), staircase (noised, at some steps), noised (at all); auto: the LoRA's, else staircase", \
      .choices = "auto|off|clean|staircase|noised" },                                                                                      \
    { OPT_REAL, "reference-strength", offsetof(args, d.reference_strength), 0, 1, "0.5", "how strongly; 0 is off" },                       \
    { OPT_INT, "reference-rows", offsetof(args, d.reference_rows), 16, 65536, "1536", "tokens of the photo at most, those nearest to what may change" }, \
    { OPT_INT, "reference-first", offsetof(args, d.reference_first), -1, 1023, "-1", "first block that attends to it; -1: 8 of 38, likewise in other models" }, \
    { OPT_INT, "reference-last", offsetof(args, d.reference_last), -1, 1023, "-1", "last block that attends to it; -1: 30 of 38, likewise in other models" }, \
    { OPT_CHOICE, "draw-tokens", offsetof(args, d.draw_tokens), 0, 0, "all", "edit: only the tokens that may change are drawn, the reference stands for the others", \
      .choices = "all|edit" },                                                                                                             \
    { OPT_REAL, "control-strength-outside", offsetof(args, d.control_outside), -1, 10, "-1", "how strongly the sketch steers away from the matte; -1: as within" }, \
    { OPT_REAL, "colour-start", offsetof(args, d.colour_start), 0, 1, "0", "the matte begins in the colours of the strokes, at this noise (0.92); 0: not" }, \
    { OPT_REAL, "colour-guide", offsetof(args, d.colour_guide), 0, 1, "0", "lead what is coarse towards the colours of the strokes (0.3); 0: not" }, \
    { OPT_REAL, "colour-reference", offsetof(args, d.colour_reference), 0, 4, "0", "the drawing attends to the colours of the strokes, by this weight; 0: not" }
#define LATENT_OPTIONS(args, d)                                                                                                            \
    { .kind = OPT_GROUP, .help = "Inside" },                                                                                               \
    { OPT_PATH, "latents-in", offsetof(args, d.latents_in), 0, 0, NULL, "starting noise from a safetensors file, in place of the seed's" },  \
    { OPT_OUT, "latents-out", offsetof(args, d.latents_out), 0, 0, NULL, "write the final latents, before the VAE" },                       \
    { OPT_PATH, "embeds-in", offsetof(args, d.embeds_in), 0, 0, NULL, "encoded words from a safetensors file; no text encoder is loaded" }, \
    { OPT_INT, "max-sequence-length", offsetof(args, d.max_sequence_length), 1, 4096, "256", "rows of the third text encoder" },            \
    { OPT_INT, "vae-band", offsetof(args, d.vae_band), 0, 1024, "0", "decode so many latent rows at once, exactly, to save memory; 0: by memory" }

/* The pictures that a drawing reads, opened. */
typedef struct drawing_pictures { tress_image *sketch, *photo, *matte, *old_matte; } drawing_pictures;

/* Partners and ranges, before any file is opened. */
tress_status drawing_check(const drawing_args *d, const sampling_args *s);
/* Read the pictures and fill g. Free with drawing_close, also after a failure. */
tress_status drawing_open(tress *t, drawing_pictures *p, tress_generate_args *g, const drawing_args *d, const sampling_args *s);
void drawing_close(drawing_pictures *p);

#ifdef __cplusplus
}
#endif
#endif
