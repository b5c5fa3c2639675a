/* Latents kept on disk: what they are, when they are made anew, what names them, and that they are asked for without allocating. */
#include "data/draw.h"
#include "seeded.h"

#include <dirent.h>

typedef struct net {
    tr_device *device;
    tr_stream *stream;
    tr_weights *weights;
    tr_vae *vae;
} net;

static void net_open(net *x, int n_thread)
{
    tr_vae_config c;
    const char *folder = in_dir("vae");
    *x = (net){ 0 };
    ok(seeded_folder(TRESS_SOURCE_DIR "/tests/golden/model/vae_sd3.json", folder, "diffusion_pytorch_model.safetensors", TR_F32));
    ok(tr_device_open(&x->device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = n_thread }));
    ok(tr_stream_new(&x->stream, x->device));
    ok(tr_weights_open(&x->weights, in_dir("vae"), TR_MODULE_VAE, NULL));
    ok(tr_vae_config_read(&c, x->weights));
    ok(tr_vae_open(&x->vae, x->device, x->weights, &c));
}

static void net_close(net *x)
{
    tr_vae_close(x->vae);
    tr_weights_close(x->weights);
    tr_stream_free(x->stream);
    tr_device_close(x->device);
}

static int n_note;
static char last_note[1024];
static void note(void *self, const char *text)
{
    (void)self;
    n_note++;
    snprintf(last_note, sizeof last_note, "%s", text);
}
static const tr_data_hooks hooks = { NULL, NULL, note, NULL };

static tr_latents_spec plain(void)
{
    return (tr_latents_spec){ .prepare = { .resolution = 64, .multiple = 16, .side_max = 1024, .cell = 8, .buckets = true, .seed = 3 }, .control_shifted = true, .variants = 1 };
}

static tr_latents_args args_of(const net *x, const looked *l)
{
    return (tr_latents_args){ .check = l->c, .vae = x->vae, .weights = x->weights, .stream = x->stream, .dir = in_dir("cache"), .n_thread = 2, .hooks = &hooks };
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(in_dir("cache"));
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

/* Everything of one item, in turn. */
typedef struct four { float *v; int64_t n; } four;

static four get(tr_latents *l, int i, uint64_t draw)
{
    const tr_latents_item it = tr_latents_at(l, i);
    const int64_t cells = (int64_t)it.h * it.w, n = tr_latents_channels(l) * cells;
    four f = { NULL, 3 * n + cells };
    ok(tr_alloc_array((void **)&f.v, f.n, sizeof(float)));
    ok(tr_latents_get(l, i, draw, f.v, f.v + n, f.v + 2 * n, f.v + 3 * n));
    return f;
}

static bool equal(four a, four b) { return a.n == b.n && memcmp(a.v, b.v, sizeof(float) * (size_t)a.n) == 0; }

static void set_up(net *x, looked *l)
{
    make_folders();
    put_item("a", 64, 64, 5);
    put_item("b", 96, 48, 25);
    put_item("c", 64, 64, 45);
    *l = look(2);
    net_open(x, 2);
    n_note = 0;
}

static void test_values(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL;
    set_up(&x, &l);
    for (int shifted = 0; shifted < 2; shifted++) {
        tr_latents_spec s = plain();
        tr_latents_args a = args_of(&x, &l);
        s.control_shifted = shifted;
        s.control_range = shifted ? TRESS_RANGE_SIGNED : TRESS_RANGE_VENDOR;
        ok(tr_latents_open(&z, &s, &a));
        assert_int_equal(tr_latents_count(z), 3);
        const tr_latents_item it = tr_latents_at(z, 1);
        assert_string_equal(it.name, "b");
        assert_true(it.h < it.w && it.bucket == 1 && tr_latents_at(z, 0).bucket == 0 && tr_latents_at(z, 2).bucket == 0);
        /* the same by hand */
        const tr_vae_config *c = tr_vae_get_config(x.vae);
        tr_image *img[TR_DATA_KINDS];
        const char *const hash[] = { l.c->facts[1].hash[0], l.c->facts[1].hash[1], l.c->facts[1].hash[2] };
        ok(tr_data_load_item(img, &l.d->item[1], hash));
        tr_prepared p = { 0 };
        ok(tr_prepare(&p, &s.prepare, img, "b", false, 0));
        const int64_t n = (int64_t)c->latent_channels * it.h * it.w, n_pixel = 3ll * p.width * p.height;
        float *mean = NULL, *logvar = NULL;
        ok(tr_alloc_array((void **)&mean, n, sizeof(float)));
        ok(tr_alloc_array((void **)&logvar, n, sizeof(float)));
        const tr_dims d = TR_DIMS(1, c->latent_channels, it.h, it.w);
        four f = get(z, 1, 77);
        for (int64_t i = 0; i < n_pixel; i++) p.photo.data[i] = 2 * p.photo.data[i] - 1;
        ok(tr_vae_encode(x.vae, x.stream, tr_view(mean, TR_F32, d), tr_view(logvar, TR_F32, d), tr_view(p.photo.data, TR_F32, TR_DIMS(1, 3, p.height, p.width)), 0));
        for (int64_t i = 0; i < n; i++) {
            assert_true(f.v[i] == (mean[i] - c->shift) * c->scale);
            const double std = exp((double)logvar[i] / 2) * (double)c->scale;
            assert_true(f.v[n + i] > 0 && fabs((double)f.v[n + i] - std) <= 1e-7 * std);
        }
        for (int64_t i = 0; i < n_pixel; i++) p.control.data[i] = shifted ? 2 * p.control.data[i] - 1 : 127.5f * p.control.data[i] + 0.5f;
        ok(tr_vae_encode(x.vae, x.stream, tr_view(mean, TR_F32, d), tr_none(), tr_view(p.control.data, TR_F32, TR_DIMS(1, 3, p.height, p.width)), 0));
        for (int64_t i = 0; i < n; i++) assert_true(f.v[2 * n + i] == (mean[i] - (shifted ? c->shift : 0)) * c->scale);
        assert_memory_equal(f.v + 3 * n, p.mask.data, sizeof(float) * (size_t)(it.h * it.w));
        const int64_t n_alloc = tr_mem_now().n_alloc;
        ok(tr_latents_get(z, 1, 5, f.v, f.v + n, f.v + 2 * n, f.v + 3 * n));
        assert_int_equal(tr_mem_now().n_alloc, n_alloc);
        tr_free(f.v);
        tr_free(mean);
        tr_free(logvar);
        tr_prepared_fini(&p);
        for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
        tr_latents_close(z);
        z = NULL;
        assert_int_equal(n_files(), 3 * (shifted + 1));
    }
    net_close(&x);
    look_end(&l);
}

/* The file of an item in the cache, found by its shape (item b's is the only one that is wide). */
static const char *wide_file(void)
{
    static char path[600];
    DIR *d = opendir(in_dir("cache"));
    assert_non_null(d);
    path[0] = 0;
    for (struct dirent *e; (e = readdir(d));) {
        tr_safetensors *f = NULL;
        tr_tensor t;
        if (e->d_name[0] == '.') continue;
        const char *p = in_dir("cache/%s", e->d_name);
        if (tr_safetensors_open(&f, p) != TRESS_OK) continue;
        if (tr_safetensors_find(f, "mask", &t) && t.shape[2] > t.shape[1]) snprintf(path, sizeof path, "%s", p);
        tr_safetensors_close(f);
    }
    closedir(d);
    assert_true(path[0] != 0);
    return path;
}

static void test_made_anew(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL;
    char *bytes = NULL, path[600], other[600] = "";
    size_t n = 0;
    struct stat before, after;
    set_up(&x, &l);
    const tr_latents_spec s = plain();
    const tr_latents_args a = args_of(&x, &l);
    ok(tr_latents_open(&z, &s, &a));
    char digest[65];
    snprintf(digest, sizeof digest, "%s", tr_latents_digest(z));
    four first = get(z, 1, 0);
    tr_latents_close(z);
    snprintf(path, sizeof path, "%s", wide_file());
    ok(tr_file_read(&bytes, &n, path, 1 << 24));
    assert_int_equal(stat(path, &before), 0);
    /* found again: nothing is written */
    ok(tr_latents_open(&z, &s, &a));
    assert_string_equal(tr_latents_digest(z), digest);
    tr_latents_close(z);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && n_note == 0);
    DIR *d = opendir(in_dir("cache"));
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && !strstr(path, e->d_name)) snprintf(other, sizeof other, "%s", in_dir("cache/%s", e->d_name));
    closedir(d);
    /* damaged in ten ways: told, and made anew with the same bytes */
    for (int k = 0; k < 10; k++) {
        if (k < 7) {                            /* one bit, from the header to the last byte */
            bytes[n * (size_t)k / 7 + (k == 6 ? n - 1 - n * 6 / 7 : 9)] ^= 0x20;
            put_bytes(path, bytes, n);
            bytes[n * (size_t)k / 7 + (k == 6 ? n - 1 - n * 6 / 7 : 9)] ^= 0x20;
        } else if (k == 7) {
            put_bytes(path, bytes, n - 4);
        } else if (k == 8) {
            put_bytes(path, "", 0);
        } else {                                /* of another picture */
            char *foreign = NULL;
            size_t m = 0;
            ok(tr_file_read(&foreign, &m, other, 1 << 24));
            put_bytes(path, foreign, m);
            tr_free(foreign);
        }
        n_note = 0;
        ok(tr_latents_open(&z, &s, &a));
        if (n_note != 1) fail_msg("damage %d: %d notes", k, n_note);
        assert_non_null(strstr(last_note, path));
        four again = get(z, 1, 9);
        assert_true(equal(first, again));
        tr_free(again.v);
        tr_latents_close(z);
        char *now = NULL;
        size_t m = 0;
        ok(tr_file_read(&now, &m, path, 1 << 24));
        assert_true(m == n && memcmp(now, bytes, n) == 0);
        tr_free(now);
    }
    tr_free(bytes);
    tr_free(first.v);
    /* a whole file of another picture of the same shape */
    char twin[2][600] = { "", "" };
    int n_twin = 0;
    d = opendir(in_dir("cache"));
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && !strstr(path, e->d_name)) snprintf(twin[n_twin++], sizeof twin[0], "%s", in_dir("cache/%s", e->d_name));
    closedir(d);
    assert_int_equal(n_twin, 2);
    ok(tr_file_read(&bytes, &n, twin[0], 1 << 24));
    put_bytes(twin[1], bytes, n);
    tr_free(bytes);
    n_note = 0;
    ok(tr_latents_open(&z, &s, &a));
    assert_int_equal(n_note, 1);
    assert_non_null(strstr(last_note, "is of another picture or treatment"));
    tr_latents_close(z);
    /* a file of NaN with a digest that fits it */
    tr_safetensors *f = NULL;
    tr_named list[4];
    const char *meta[] = { "key", NULL, "sha256", NULL, NULL };
    tr_sha256 *h = NULL;
    char hex[65], key[65];
    static const char *const names[] = { "mean", "std", "control", "mask" };
    ok(tr_safetensors_open(&f, path));
    ok(tr_sha256_new(&h));
    snprintf(key, sizeof key, "%s", tr_safetensors_meta(f, "key"));
    for (int i = 0; i < 4; i++) {
        tr_tensor t;
        float *v = NULL;
        assert_true(tr_safetensors_find(f, names[i], &t));
        ok(tr_alloc_array((void **)&v, tr_count(t), sizeof(float)));
        memcpy(v, t.data, sizeof(float) * (size_t)tr_count(t));
        if (i == 1) v[3] = NAN;
        t.data = v;
        list[i] = (tr_named){ names[i], t };
        ok(tr_sha256_add(h, v, sizeof(float) * (size_t)tr_count(t)));
    }
    ok(tr_sha256_hex(h, hex));
    tr_sha256_free(h);
    tr_safetensors_close(f);
    meta[1] = key, meta[3] = hex;
    ok(tr_safetensors_write(path, list, 4, meta));
    for (int i = 0; i < 4; i++) tr_free(list[i].t.data);
    n_note = 0;
    ok(tr_latents_open(&z, &s, &a));
    assert_int_equal(n_note, 1);
    assert_non_null(strstr(last_note, "std holds NaN"));
    tr_latents_close(z);
    net_close(&x);
    look_end(&l);
}

/* Whatever changes the latents changes their names; what does not, does not. */
static void test_keys(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL;
    set_up(&x, &l);
    char digest[40][65];
    int n_digest = 0, files = 0;
#define OPEN(change, n_new)                                                                                                         \
    do {                                                                                                                            \
        tr_latents_spec s = plain();                                                                                                \
        tr_latents_args a = args_of(&x, &l);                                                                                        \
        change;                                                                                                                     \
        ok(tr_latents_open(&z, &s, &a));                                                                                            \
        files += (n_new);                                                                                                           \
        if (n_files() != files) fail_msg("%s: %d files, expected %d", #change, n_files(), files);                                   \
        memcpy(digest[n_digest++], tr_latents_digest(z), 65);                                                                       \
        tr_latents_close(z);                                                                                                        \
        z = NULL;                                                                                                                   \
    } while (0)
    static const bool held[] = { false, true, false };
    OPEN((void)s, 3);
    OPEN(a.n_thread = 7, 0);
    OPEN(s.prepare.seed = 99, 0);               /* no chance, no seed in the names; but in what a resumed run must find */
    OPEN(s.variants = 4, 0);
    OPEN(s.prepare.mask_blur = 8, 3);
    OPEN(s.prepare.mask_grow = 8, 3);
    OPEN(s.prepare.fit = TR_DATA_LETTERBOX, 3);
    OPEN(s.prepare.control_image = TRESS_CONTROL_COLOUR, 3);
    OPEN(s.control_range = TRESS_RANGE_SIGNED, 3);
    OPEN(s.control_shifted = false, 3);
    OPEN(s.prepare.resolution = 80, 3);
    OPEN(s.prepare.buckets = false, 1);         /* only b has another frame then */
    OPEN(s.prepare.augment.flip = true, 3);
    OPEN((s.prepare.augment.flip = true, s.prepare.seed = 4), 3);
    OPEN((s.prepare.augment.flip = true, s.variants = 3), 6);
    OPEN((s.prepare.augment.flip = true, a.held = held), 0);       /* b is held out: its plain latents are there already */
    OPEN(a.held = held, 0);
    for (int i = 0; i < n_digest; i++)
        for (int k = 0; k < i; k++)
            if ((strcmp(digest[i], digest[k]) == 0) != (i == 1 && k == 0)) fail_msg("digests %d and %d", i, k);
    /* another file, another name: only of that picture */
    look_end(&l);
    put_image(draw_photo(64, 64, 6), in_dir("img/a.png"));
    l = look(1);
    OPEN((void)s, 1);
    for (int k = 0; k + 1 < n_digest; k++) assert_string_not_equal(digest[n_digest - 1], digest[k]);
    net_close(&x);
    look_end(&l);
}

static void test_variants(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL, *fresh = NULL, *bare = NULL;
    static const bool held[] = { false, false, true };
    set_up(&x, &l);
    tr_latents_spec s = plain();
    tr_latents_args a = args_of(&x, &l);
    ok(tr_latents_open(&bare, &s, &a));
    a.held = held;
    s.prepare.augment = (tr_augment){ true, 15, 0.1, 0.1, 4 };
    s.variants = 3;
    ok(tr_latents_open(&z, &s, &a));
    assert_int_equal(n_files(), 3 + 6);
    assert_true(tr_latents_at(z, 2).held && !tr_latents_at(z, 0).held);
    four kind[3], plain_a = get(bare, 0, 0), plain_c = get(bare, 2, 0);
    int n_kind = 0, count[3] = { 0 };
    for (uint64_t draw = 0; draw < 90; draw++) {
        four f = get(z, 0, draw);
        int k = 0;
        while (k < n_kind && !equal(kind[k], f)) k++;
        assert_true(k < 3);
        count[k]++;
        assert_false(equal(f, plain_a));
        if (k == n_kind) kind[n_kind++] = f;
        else tr_free(f.v);
    }
    assert_int_equal(n_kind, 3);
    for (int k = 0; k < 3; k++) assert_true(count[k] > 10 && count[k] < 50);     /* 4.5 sigma of 30 */
    four c = get(z, 2, 8);
    assert_true(equal(c, plain_c));             /* held out: as it is */
    tr_free(c.v);
    /* none kept: each number its own drawing, each time the same */
    s.variants = 0;
    ok(tr_latents_open(&fresh, &s, &a));
    assert_int_equal(n_files(), 3 + 6);
    four f[4] = { get(fresh, 0, 500), get(fresh, 0, 501), get(fresh, 0, 500), get(fresh, 0, 0) };
    assert_true(equal(f[0], f[2]) && !equal(f[0], f[1]));
    bool among = false;                         /* number 0 is what variant 0 was made from */
    for (int k = 0; k < 3; k++) among |= equal(f[3], kind[k]);
    assert_true(among);
    c = get(fresh, 2, 123);
    assert_true(equal(c, plain_c));
    tr_free(c.v);
    for (int k = 0; k < 4; k++) tr_free(f[k].v);
    for (int k = 0; k < 3; k++) tr_free(kind[k].v);
    tr_free(plain_a.v);
    tr_free(plain_c.v);
    tr_latents_close(z);
    tr_latents_close(fresh);
    tr_latents_close(bare);
    net_close(&x);
    look_end(&l);
}

static bool stop(void *self) { return (void)self, true; }

static void test_failures(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL;
    set_up(&x, &l);
    tr_latents_spec s = plain();
    tr_latents_args a = args_of(&x, &l);
#define REFUSED(status, why)                                                                                                        \
    do {                                                                                                                            \
        assert_int_equal(tr_latents_open(&z, &s, &a), status);                                                                      \
        if (!strstr(tr_message(), why)) fail_msg("\"%s\" does not say \"%s\"", tr_message(), why);                                  \
        assert_null(z);                                                                                                             \
    } while (0)
    s.variants = 2000;
    REFUSED(TRESS_E_ARG, "--augment-variants 2000");
    s = plain();
    s.prepare.resolution = 17;
    REFUSED(TRESS_E_ARG, "--resolution 17");
    s = plain();
    tr_stream_set_cancel(x.stream, stop, NULL);
    REFUSED(TRESS_E_CANCELLED, "");
    tr_stream_set_cancel(x.stream, NULL, NULL);
    /* a file that changed between check and encoding */
    put_image(draw_photo(64, 64, 46), in_dir("img/c.png"));
    REFUSED(TRESS_E_FORMAT, "has changed since the data set was checked");
    assert_non_null(strstr(tr_message(), "img/c.png"));
    assert_int_equal(n_files(), 2);             /* what was made before stays */
    look_end(&l);
    put_bytes(in_dir("img/c.png"), "x", 1);
    l = look(1);
    a.check = l.c;
    REFUSED(TRESS_E_FORMAT, "unfit to train on: 1 problem");
    look_end(&l);
    put_item("c", 64, 64, 45);
    l = look(1);
    a.check = l.c;
    put_bytes(in_dir("blocked"), "x", 1);
    a.dir = in_dir("blocked");
    REFUSED(TRESS_E_IO, "blocked");
    a.dir = in_dir("cache2");
    /* a VAE that computes NaN: the picture is named */
    net_close(&x);
    tr_safetensors *f = NULL;
    tr_named *list = NULL;
    char path[600];
    snprintf(path, sizeof path, "%s", in_dir("vae/diffusion_pytorch_model.safetensors"));
    ok(tr_safetensors_open(&f, path));
    const int n = tr_safetensors_count(f);
    ok(tr_alloc_array((void **)&list, n, sizeof *list));
    for (int i = 0; i < n; i++) {
        tr_tensor t = tr_safetensors_at(f, i);
        float *v = NULL;
        ok(tr_alloc_array((void **)&v, tr_count(t), sizeof(float)));
        memcpy(v, t.data, sizeof(float) * (size_t)tr_count(t));
        if (strcmp(tr_safetensors_name(f, i), "encoder.conv_out.bias") == 0) v[0] = INFINITY;
        t.data = v;
        list[i] = (tr_named){ tr_safetensors_name(f, i), t };
    }
    ok(tr_safetensors_write(path, list, n, NULL));
    for (int i = 0; i < n; i++) tr_free(list[i].t.data);
    tr_free(list);
    tr_safetensors_close(f);
    tr_vae_config c;
    ok(tr_device_open(&x.device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = 1 }));
    ok(tr_stream_new(&x.stream, x.device));
    ok(tr_weights_open(&x.weights, in_dir("vae"), TR_MODULE_VAE, NULL));
    ok(tr_vae_config_read(&c, x.weights));
    ok(tr_vae_open(&x.vae, x.device, x.weights, &c));
    a.vae = x.vae, a.weights = x.weights, a.stream = x.stream;
    REFUSED(TRESS_E_NONFINITE, "img/a.png");
    net_close(&x);
    look_end(&l);
}

/* One thread and eight: the same files. Memory allows bands only: the same files. */
static void test_same_bytes(void **state)
{
    (void)state;
    net x;
    looked l;
    tr_latents *z = NULL;
    tr_latents_spec s = plain();
    set_up(&x, &l);
    s.prepare.resolution = 160;                 /* 20 latent rows and more: bands of 8 to 10 */
    four f[3];
    for (int k = 0; k < 3; k++) {
        char cmd[200];
        net_close(&x);
        net_open(&x, k == 1 ? 8 : 1);
        tr_latents_args a = args_of(&x, &l);
        if (k == 2) a.memory_max = 1;
        ok(tr_latents_open(&z, &s, &a));
        f[k] = get(z, 1, 0);
        tr_latents_close(z);
        snprintf(cmd, sizeof cmd, "rm -r '%s/cache'", draw_dir);
        assert_int_equal(system(cmd), 0);
    }
    assert_true(equal(f[0], f[1]) && equal(f[0], f[2]));
    for (int k = 0; k < 3; k++) tr_free(f[k].v);
    net_close(&x);
    look_end(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, draw_enter, draw_leave)

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(test_values), TEST(test_made_anew), TEST(test_keys), TEST(test_variants), TEST(test_failures), TEST(test_same_bytes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
