/* tress generate end to end on a tiny model: what is right draws; each kind of bad input ends with its exit code, one line that
 * names the file and the cause, and no output. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/run.h"
#include "tress.h"

#define TRANSFORMER "transformer/diffusion_pytorch_model.safetensors"
static char sketch[256], photo[256], matte[256];

static void shell(const char *format, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(cmd, sizeof cmd, format, ap);
    va_end(ap);
    if (system(cmd) != 0) fail_msg("%s", cmd);
}

static int enter(void **state)
{
    if (run_enter(state)) return -1;
    snprintf(sketch, sizeof sketch, "%s/examples/sketch/braid.png", TRESS_SOURCE_DIR);
    snprintf(photo, sizeof photo, "%s/examples/photo/ada.png", TRESS_SOURCE_DIR);
    snprintf(matte, sizeof matte, "%s/examples/matte/braid.png", TRESS_SOURCE_DIR);
    shell("'%s/make_model' --preset tiny --seed 3 '%s/model' >/dev/null", TRESS_BINARY_DIR, run_dir);
    return 0;
}

/* A draw of 64 x 64 in two steps, with more arguments. out.png holds "old" before, and must hold it after a failure. */
#define DRAW(...) (run_put("out.png", "old", 3), \
    RUN("generate", "--threads", "1", "--steps", "2", "--size", "64x64", "-s", "5", "-q", "-o", "out.png", __VA_ARGS__))

static void expect(int code, const char *a, const char *b)
{
    char bytes[16];
    char path[512];
    run_expect(code, code ? a : NULL, code ? b : NULL);
    snprintf(path, sizeof path, "%s/out.png", run_dir);
    run_slurp(path, bytes, sizeof bytes);
    if (code && strcmp(bytes, "old") != 0) fail_msg("the old output was touched: %s", ran.err);
    if (!code && strncmp(bytes, "\x89PNG", 4) != 0) fail_msg("no picture");
    snprintf(path, sizeof path, "test -z \"$(find '%s' -name '*.tmp')\"", run_dir);
    if (system(path) != 0) fail_msg("a temporary file stays");
}

/* model copied to broken/, to be spoilt */
static void copy_model(void) { shell("rm -rf '%s/broken'; cp -r '%s/model' '%s/broken'", run_dir, run_dir, run_dir); }

typedef struct bytes { unsigned char *b; size_t n; } bytes;
static bytes load(const char *name)
{
    char path[256];
    bytes x = { NULL, 0 };
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", run_dir, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &info), 0);
    x.b = malloc((size_t)info.st_size + 1);
    x.n = fread(x.b, 1, (size_t)info.st_size, f);
    x.b[x.n] = 0;
    fclose(f);
    return x;
}

static size_t header_size(bytes x) { return x.b[0] | (size_t)x.b[1] << 8 | (size_t)x.b[2] << 16; }

/* Replace one text of the header by another of the same length. */
static void swap(bytes x, const char *from, const char *to)
{
    const size_t n = strlen(from);
    assert_int_equal(strlen(to), n);
    for (size_t i = 8; i + n < 8 + header_size(x); i++)
        if (memcmp(x.b + i, from, n) == 0) {
            memcpy(x.b + i, to, n);
            return;
        }
    fail_msg("the header has no %s", from);
}

static void draws(void **state)
{
    (void)state;
    DRAW("-m", "model", "--sketch", sketch, "-p", "red hair");
    expect(0, NULL, NULL);
    assert_string_equal(ran.out, "out.png\n");
    bytes png = load("out.png");                                 /* the texts that other tools and we read */
    bool parameters = false, ours = false;
    for (size_t i = 0; i + 16 < png.n; i++) {
        parameters = parameters || memcmp(png.b + i, "parameters\0", 11) == 0;
        ours = ours || memcmp(png.b + i, "tress\0", 6) == 0;
    }
    assert_true(parameters && ours);
    RUN("generate", "--threads", "2", "--steps", "2", "--size", "64x64", "-s", "5", "-q", "-o", "two.png", "-m", "model", "--sketch", sketch, "-p", "red hair");
    run_expect(0, NULL, NULL);
    bytes two = load("two.png");                                 /* the same bytes from two threads */
    assert_int_equal(png.n, two.n);
    assert_memory_equal(png.b, two.b, two.n);
    free(png.b);
    free(two.b);
    DRAW("-m", "model", "--sketch", sketch, "-p", "red hair", "-b", "2");
    run_expect(0, "out-1.png\nout-2.png\n", NULL);
    assert_true(run_there("out-1.png") && run_there("out-2.png"));
    DRAW("-m", "model", "--sketch", sketch, "--photo", photo, "--matte", matte, "--zero-text", "--control-out", "c.png", "--alpha-out", "a.png");
    expect(0, NULL, NULL);
    assert_true(run_there("c.png") && run_there("a.png"));
    DRAW("-m", "model", "--control-strength", "0", "-p", "red hair");
    expect(0, NULL, NULL);
    RUN("generate", "-m", "model", "--sketch", sketch, "--dry-run", "--size", "64x64", "-s", "5", "-o", "dry.png");
    run_expect(0, "\"seed\"", NULL);
    assert_false(run_there("dry.png"));
    RUN("generate", "-m", "model", "--sketch", sketch, "--steps", "1", "--size", "64x64", "-o", "r.png");
    run_expect(0, NULL, NULL);
    assert_non_null(strstr(ran.err, "seed "));                   /* a random seed is told */
}

static void weights(void **state)
{
    (void)state;
    static const struct { const char *text; size_t n_data; const char *word; } bad[] = {
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}", 24, "inside" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1099511627776,1099511627776],\"data_offsets\":[0,16]}}", 16, "64 bits" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1099511627776],\"data_offsets\":[0,16]}}", 16, "shape" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}", 16, "duplicate" },
        { "{\"a\":[[[[[[[[[[]]]]]]]]]]}", 0, "deeper" },
        { "{", 0, "header" },
    };
    copy_model();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char b[512] = { 0 };
        b[0] = (unsigned char)strlen(bad[i].text);
        memcpy(b + 8, bad[i].text, strlen(bad[i].text));
        run_put("broken/" TRANSFORMER, b, 8 + strlen(bad[i].text) + bad[i].n_data);
        DRAW("-m", "broken", "--sketch", sketch);
        expect(3, TRANSFORMER, bad[i].word);
    }
    bytes x = load("model/" TRANSFORMER);
    const size_t cut[] = { 0, 7, 8, 100, header_size(x) + 8, x.n / 2, x.n - 1 };
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        run_put("broken/" TRANSFORMER, x.b, cut[i]);
        DRAW("-m", "broken", "--sketch", sketch);
        expect(3, TRANSFORMER, NULL);
    }
    free(x.b);
}

/* NaN and infinity in each module: found, with the tensor's name, before anything is drawn. */
static void nan_weights(void **state)
{
    (void)state;
    static const char *const file[] = { TRANSFORMER, "controlnet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
                                        "text_encoder/model.safetensors", "text_encoder_2/model.safetensors", "text_encoder_3/model.safetensors" };
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char from[128], to[128];
        copy_model();
        snprintf(from, sizeof from, "model/%s", file[i]);
        snprintf(to, sizeof to, "broken/%s", file[i]);
        bytes x = load(from);
        memset(x.b + x.n - 4, 0xff, 4);                          /* NaN in F32, F16 and BF16 alike: the last element of the last tensor */
        run_put(to, x.b, x.n);
        free(x.b);
        DRAW("-m", "broken", "--sketch", sketch, "-p", "red hair");
        expect(3, file[i], NULL);
    }
}

static void shapes_and_names(void **state)
{
    (void)state;
    copy_model();
    bytes x = load("model/" TRANSFORMER);
    swap(x, "\"transformer_blocks.0.attn.to_q.weight\"", "\"transformer_blocks.0.attn.to_Q.weight\"");
    run_put("broken/" TRANSFORMER, x.b, x.n);
    DRAW("-m", "broken", "--sketch", sketch);
    expect(3, "transformer_blocks.0.attn.to_q.weight", "broken/transformer");
    free(x.b);
    x = load("model/" TRANSFORMER);
    swap(x, "\"shape\":[64,256]", "\"shape\":[256,64]");
    run_put("broken/" TRANSFORMER, x.b, x.n);
    DRAW("-m", "broken", "--sketch", sketch);
    expect(3, "broken/transformer", "256");
    free(x.b);
}

static void folders(void **state)
{
    (void)state;
    DRAW("-m", "nowhere", "--sketch", sketch);
    expect(6, "nowhere", NULL);
    static const struct { const char *file, *text; int code; } c[] = {
        { "transformer/config.json", NULL, 6 }, { "transformer/config.json", "{", 3 }, { "transformer/config.json", "[]", 3 }, { "transformer/config.json", "{\"num_layers\": 1e9}", 3 },
        { "transformer/config.json", "{\"num_layers\": -1}", 3 }, { TRANSFORMER, NULL, 6 }, { "vae/config.json", "{\"block_out_channels\": \"x\"}", 3 },
        { "vae/diffusion_pytorch_model.safetensors", NULL, 6 }, { "scheduler/scheduler_config.json", "{\"shift\": \"three\"}", 3 }, { "text_encoder/config.json", "nonsense", 3 },
        { "text_encoder_3/model.safetensors", NULL, 6 }, { "tokenizer/vocab.json", "{", 3 }, { "tokenizer/vocab.json", NULL, 6 }, { "tokenizer_3/tokenizer.json", "{\"model\": {}}", 3 },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        char path[512], stem[64];
        copy_model();
        snprintf(path, sizeof path, "broken/%s", c[i].file);
        if (c[i].text) run_put(path, c[i].text, strlen(c[i].text));
        else shell("rm '%s/%s'", run_dir, path);
        snprintf(stem, sizeof stem, "%.*s", (int)strcspn(c[i].file, "/"), c[i].file);
        DRAW("-m", "broken", "--sketch", sketch, "-p", "red hair");
        expect(c[i].code, stem, NULL);
    }
    copy_model();
    shell("rm -r '%s/broken/controlnet'", run_dir);
    DRAW("-m", "broken", "--sketch", sketch);
    expect(3, "--control-net", NULL);
}

static void adapters(void **state)
{
    (void)state;
    const char *header = "{\"transformer.transformer_blocks.99.attn.to_q.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,64],\"data_offsets\":[0,256]},"
                         "\"transformer.transformer_blocks.99.attn.to_q.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[64,1],\"data_offsets\":[256,512]}}";
    unsigned char b[1024] = { 0 };
    b[0] = (unsigned char)(strlen(header) & 255), b[1] = (unsigned char)(strlen(header) >> 8);
    memcpy(b + 8, header, strlen(header));
    run_put("l.safetensors", b, 8 + strlen(header) + 512);
    DRAW("-m", "model", "--sketch", sketch, "--lora", "l.safetensors:0.5");
    expect(3, "l.safetensors", "transformer_blocks.99");
    memcpy(b + 8, "{\"what.", 7);
    DRAW("-m", "model", "--sketch", sketch, "--lora", "missing.safetensors");
    expect(6, "missing.safetensors", NULL);
    run_put("l.safetensors", b, 100);
    DRAW("-m", "model", "--sketch", sketch, "--lora", "l.safetensors");
    expect(3, "l.safetensors", NULL);
    RUN("lora", "info", "l.safetensors");
    run_expect(3, "l.safetensors", NULL);
    RUN("lora", "convert", "l.safetensors", "m.safetensors");
    run_expect(3, "l.safetensors", NULL);
    assert_false(run_there("m.safetensors"));
}

static void pictures(void **state)
{
    (void)state;
    static const struct { const char *name; const char *bytes; size_t n; } bad[] = {
        { "empty.png", "", 0 }, { "words.png", "no picture at all", 17 }, { "head.png", "\x89PNG\r\n\x1a\n", 8 }, { "head.jpg", "\xff\xd8\xff\xe0", 4 },
        { "head.webp", "RIFF\x10\0\0\0WEBPVP8 ", 16 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        run_put(bad[i].name, bad[i].bytes, bad[i].n);
        DRAW("-m", "model", "--sketch", bad[i].name);
        expect(3, bad[i].name, "--sketch");
    }
    shell("cp '%s' '%s/whole.png'", sketch, run_dir);
    bytes x = load("whole.png");
    for (int i = 1; i < 4; i++) {
        run_put("cut.png", x.b, x.n * (size_t)i / 4);
        DRAW("-m", "model", "--sketch", "cut.png");
        expect(3, "cut.png", NULL);
    }
    x.b[x.n / 2] ^= 0x55;                                        /* a wrong checksum is damage */
    run_put("cut.png", x.b, x.n);
    DRAW("-m", "model", "--sketch", "cut.png");
    expect(3, "cut.png", NULL);
    free(x.b);
    static const char *const file[] = { "huge.png", "huge.jpg", "hollow.png", "hollow.jpg", "bad-crc.png", "gif.png" };
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/tests/golden/image/files/%s", TRESS_SOURCE_DIR, file[i]);
        DRAW("-m", "model", "--sketch", path);
        expect(3, file[i], NULL);
    }
    DRAW("-m", "model", "--sketch", ".");
    expect(6, "--sketch", "folder");
}

static void mattes(void **state)
{
    (void)state;
    char small[256];
    snprintf(small, sizeof small, "%s/tests/golden/image/files/grey8.png", TRESS_SOURCE_DIR);
    DRAW("-m", "model", "--sketch", sketch, "--photo", photo, "--matte", small);
    expect(3, "matte", " x ");
    DRAW("-m", "model", "--sketch", small, "--photo", photo, "--matte", matte);
    expect(3, "sketch", "--place");
    tress *t = NULL;                                             /* as large as the photo, and all black */
    tress_image *img = NULL, *empty = NULL;
    char path[160];
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    assert_int_equal(tress_image_load(t, &img, photo), TRESS_OK);
    tress_image_info info = tress_image_get_info(img);
    info.channels = 1, info.depth = 8, info.icc = false;
    void *black = calloc((size_t)info.width, (size_t)info.height);
    assert_int_equal(tress_image_new(t, &empty, &info, black), TRESS_OK);
    snprintf(path, sizeof path, "%s/empty.png", run_dir);
    assert_int_equal(tress_image_save(t, empty, path, NULL), TRESS_OK);
    free(black);
    tress_image_free(img);
    tress_image_free(empty);
    tress_free(t);
    DRAW("-m", "model", "--sketch", sketch, "--photo", photo, "--matte", "empty.png");
    expect(3, "matte", "empty");
}

static void tensors(void **state)
{
    (void)state;
    const char *header = "{\"latents\":{\"dtype\":\"F32\",\"shape\":[1,16,2,2],\"data_offsets\":[0,256]}}";
    unsigned char b[1024] = { 0 };
    b[0] = (unsigned char)strlen(header);
    memcpy(b + 8, header, strlen(header));
    run_put("l.safetensors", b, 8 + strlen(header) + 256);
    DRAW("-m", "model", "--sketch", sketch, "--latents-in", "l.safetensors");
    expect(3, "l.safetensors", "[1, 16, 2, 2]");
    DRAW("-m", "model", "--sketch", sketch, "--embeds-in", "l.safetensors");
    expect(3, "l.safetensors", "encoder_hidden_states");
    DRAW("-m", "model", "--sketch", sketch, "--latents-in", "none.safetensors");
    expect(6, "none.safetensors", NULL);
    RUN("probe", "vae-decode", "-m", "model", "--in", "l.safetensors", "-o", "y.safetensors");
    run_expect(3, "l.safetensors", "latent");
    assert_false(run_there("y.safetensors"));
}

static void limits(void **state)
{
    (void)state;
    DRAW("-m", "model", "--sketch", sketch, "--memory-max", "1MiB");
    expect(4, "limit", NULL);
    DRAW("-m", "model", "--sketch", sketch, "--backend", "cuda");
    expect(5, NULL, NULL);
    DRAW("-m", "model", "--sketch", sketch, "--skip-layers", "99");
    expect(2, "99", NULL);
}

/* The disk is full when the picture is written: the old one stays. */
static void disk_full(void **state)
{
    (void)state;
    char cmd[1024];
    run_put("out.png", "old", 3);
    snprintf(cmd, sizeof cmd, "cd '%s' && (ulimit -f 4; exec '%s/tress' generate -q --threads 1 --steps 1 --size 64x64 -s 5 -m model --sketch '%s' -o out.png) 2>err.txt", run_dir,
             TRESS_BINARY_DIR, sketch);
    const int status = system(cmd);
    char err[4096], path[160];
    snprintf(path, sizeof path, "%s/err.txt", run_dir);
    run_slurp(path, err, sizeof err);
    if (WEXITSTATUS(status) != 6) fail_msg("exit code %d: %s", WEXITSTATUS(status), err);
    assert_non_null(strstr(err, "out.png"));
    ran.code = 6;
    snprintf(ran.err, sizeof ran.err, "%s", err);
    expect(6, "out.png", NULL);
}

static void interrupted(void **state)
{
    (void)state;
    run_put("out.png", "old", 3);
    run_argv((const char *const[]){ "generate", "-q", "--threads", "1", "--steps", "1000", "--size", "128x128", "-m", "model", "--sketch", sketch, "-o", "out.png", NULL }, 1.0);
    expect(130, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws), cmocka_unit_test(weights), cmocka_unit_test(nan_weights), cmocka_unit_test(shapes_and_names), cmocka_unit_test(folders),
        cmocka_unit_test(adapters), cmocka_unit_test(pictures), cmocka_unit_test(mattes), cmocka_unit_test(tensors), cmocka_unit_test(limits),
        cmocka_unit_test(disk_full), cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, enter, run_leave);
}
