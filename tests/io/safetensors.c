/* The safetensors reader against every rule of the format, each as a bad file made here; against every prefix of a good
 * file, every changed byte of its header, and a storm of spliced headers. The writer against the reference library's bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/io.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[96];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-st-XXXXXX" : "/tmp/tress-st-XXXXXX");        /* 20,000 files */
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    return 0;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void put_raw(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A file of this header and n_data zero bytes. */
static void put(const char *header, size_t n_header, size_t n_data)
{
    unsigned char *b = calloc(1, 8 + n_header + n_data + 1);
    assert_non_null(b);
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)((uint64_t)n_header >> 8 * i);
    memcpy(b + 8, header, n_header);
    put_raw(b, 8 + n_header + n_data);
    free(b);
}

static tress_status try_open(void)
{
    tr_safetensors *f = NULL;
    const int64_t bytes = tr_mem_now().bytes;
    tress_status st = tr_safetensors_open(&f, path);
    if (st == TRESS_OK) {                           /* what opens must be wholly readable: the sanitizers look on */
        volatile unsigned char sum = 0;
        for (int i = 0; i < tr_safetensors_count(f); i++) {
            const tr_tensor t = tr_safetensors_at(f, i);
            const size_t n = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
            for (size_t k = 0; k < n; k++) sum = (unsigned char)(sum + ((unsigned char *)t.data)[k]);
            assert_true(tr_safetensors_find(f, tr_safetensors_name(f, i), NULL));
        }
    } else {
        assert_null(f);
        assert_non_null(strstr(tr_message(), path));
    }
    tr_safetensors_close(f);
    assert_int_equal(tr_mem_now().bytes, bytes);
    return st;
}

static void refuse(const char *header, size_t n_data, const char *word)
{
    put(header, strlen(header), n_data);
    if (try_open() != TRESS_E_FORMAT) fail_msg("opened: %.200s", header);
    if (!strstr(tr_message(), word)) fail_msg("of %.200s it says \"%s\", expected \"%s\"", header, tr_message(), word);
}

static void accept(const char *header, size_t n_data)
{
    put(header, strlen(header), n_data);
    if (try_open() != TRESS_OK) fail_msg("%s", tr_message());
}

#define T(name, dtype, shape, b, e) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #b "," #e "]}"

static void good_headers(void **state)
{
    (void)state;
    accept("{}", 0);
    accept("{}      ", 0);
    accept("{\"__metadata__\":{}}", 0);
    accept("{\"__metadata__\":{\"a\":\"b\",\"\":\"\"}}", 0);
    accept("{" T("a", "F32", "[2,3]", 0, 24) "}", 24);
    accept("{" T("b", "F16", "[]", 4, 6) "," T("a", "F32", "[1]", 0, 4) "}", 6);                 /* any order in the text */
    accept("{" T("a", "F32", "[0]", 0, 0) "," T("b", "U8", "[3,0,7]", 0, 0) "}", 0);             /* zero extents, the same place */
    accept("{" T("a", "U8", "[1]", 0, 1) "," T("z", "F64", "[0]", 1, 1) "," T("c", "F64", "[1]", 1, 9) "}", 9);      /* unaligned */
    accept("{\"a\":{\"data_offsets\":[0,1],\"shape\":[1,1,1,1,1,1],\"dtype\":\"BOOL\"}}", 1);
    accept("{\"\\u00e4\\\"\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);                                   /* escapes */
}

static void bad_headers(void **state)
{
    (void)state;
    refuse("", 0, "begin");
    refuse(" {}", 0, "begin");
    refuse("[]", 0, "begin");
    refuse("{", 0, "begin");
    refuse("{}\n", 0, "end with");
    refuse("{}\t ", 0, "end with");
    refuse("{}x", 0, "end with");
    refuse("{}{}", 0, "JSON");
    refuse("{\"a\"}", 0, "JSON");
    refuse("{\"a\\\":1}", 0, "JSON");                                                            /* a string that ends in a backslash */
    refuse("{\"a\xff\":{}}", 0, "JSON");
    refuse("{}", 1, "the file's data");                                                          /* trailing bytes */
    refuse("{" T("a", "F32", "[1]", 0, 4) "}", 5, "the file's data");
    refuse("{" T("a", "F32", "[1]", 0, 4) "}", 3, "expected within");
    refuse("{" T("a", "F32", "[1]", 4, 8) "}", 8, "hole");
    refuse("{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 5, 9) "}", 9, "hole");
    refuse("{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 2, 6) "}", 6, "inside");
    refuse("{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 0, 8) "}", 8, "inside");      /* many tensors on the same bytes */
    refuse("{" T("a", "F32", "[1]", 4, 0) "}", 4, "expected within");
    refuse("{" T("a", "F32", "[2]", 0, 4) "}", 4, "need 8");
    refuse("{" T("a", "F32", "[]", 0, 0) "}", 0, "need 4");
    refuse("{" T("a", "F32", "[0]", 0, 4) "}", 4, "need 0");
    refuse("{" T("a", "F32", "[1,1,1,1,1,1,1]", 0, 4) "}", 4, "rank 7");
    refuse("{" T("a", "F33", "[1]", 0, 4) "}", 4, "dtype F33");
    refuse("{" T("a", "f32", "[1]", 0, 4) "}", 4, "dtype f32");
    refuse("{" T("a", "", "[1]", 0, 4) "}", 4, "dtype");
    refuse("{" T("a", "C64", "[1]", 0, 8) "}", 8, "dtype C64");
    refuse("{" T("a", "F4", "[2]", 0, 1) "}", 1, "dtype F4");
    refuse("{" T("", "F32", "[1]", 0, 4) "}", 4, "name");
    refuse("{" T("a\\n", "F32", "[1]", 0, 4) "}", 4, "control");
    refuse("{" T("a\\u0085", "F32", "[1]", 0, 4) "}", 4, "control");
    refuse("{" T("a\\u0000", "F32", "[1]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "duplicate");
    refuse("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate");
    refuse("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "not a string");
    refuse("{\"__metadata__\":[]}", 0, "not an object");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "needs");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4, "nothing else");
    refuse("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "needs");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "needs");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{}}}", 4, "needs");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "expected 2");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "expected 2");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\"0\",4]}}", 4, "whole");
    refuse("{\"a\":[]}", 0, "not an object");
    refuse("{\"a\":null}", 0, "not an object");
}

static void bad_numbers(void **state)
{
    (void)state;
    refuse("{" T("a", "F32", "[1.0]", 0, 4) "}", 4, "whole");
    refuse("{" T("a", "F32", "[1e0]", 0, 4) "}", 4, "whole");
    refuse("{" T("a", "F32", "[01]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[+1]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[0x1]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[-1]", 0, 4) "}", 4, "negative");
    refuse("{" T("a", "F32", "[1]", -0, 4) "}", 4, "negative");
    refuse("{" T("a", "F32", "[true]", 0, 4) "}", 4, "whole");
    refuse("{" T("a", "F32", "[1099511627776]", 0, 4) "}", 4, "need 4398046511104");             /* 2^40: no such memory is asked for */
    refuse("{" T("a", "F32", "[1]", 0, 1099511627776) "}", 4, "expected within");
    refuse("{" T("a", "F32", "[1099511627776,1099511627776]", 0, 4) "}", 4, "64 bits");
    refuse("{" T("a", "F32", "[4611686018427387905]", 0, 4) "}", 4, "64 bits");                  /* times 4 wraps round to 4 */
    refuse("{" T("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, "64 bits");                 /* wraps round to 0 */
    refuse("{" T("a", "U8", "[0,4294967296,4294967296]", 0, 0) "}", 0, "64 bits");
    refuse("{" T("a", "F32", "[9223372036854775807]", 0, 4) "}", 4, "64 bits");
    refuse("{" T("a", "F32", "[9223372036854775808]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[12345678901234567890123]", 0, 4) "}", 4, "JSON");
    refuse("{" T("a", "F32", "[1]", 18446744073709551615, 3) "}", 4, "JSON");
}

static void sizes(void **state)
{
    (void)state;
    enum { CAP = 16 << 20 };
    static const unsigned char lengths[][8] = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, { 0, 0, 0, 0, 0, 0, 0, 0x80 }, { 1, 0, 0, 1 }, { 9 } };
    for (int i = 0; i < 4; i++) {                   /* header lengths that lie */
        unsigned char b[16] = "........{}";
        memcpy(b, lengths[i], 8);
        put_raw(b, 10);
        assert_int_equal(try_open(), TRESS_E_FORMAT);
    }
    char *h = malloc(CAP + 9);
    assert_non_null(h);
    memset(h, ' ', CAP + 9);
    h[0] = '{', h[1] = '}';
    put(h, CAP, 0);
    assert_int_equal(try_open(), TRESS_OK);
    put(h, CAP + 8, 0);
    assert_int_equal(try_open(), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "at most 16777216"));
    for (int i = 0; i + 2 < CAP; i++) h[i] = i == 0 ? '{' : '[';                                 /* depth, 16 million of it */
    h[CAP - 1] = '}';
    put(h, CAP, 0);
    assert_int_equal(try_open(), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "deeper"));
    memset(h, '[', 65536);
    memcpy(h, "{\"a\":", 5);
    memset(h + 65536, ']', 65536);
    h[131071] = '}';
    put(h, 131072, 0);
    assert_int_equal(try_open(), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "deeper"));
    memcpy(h, "{\"a\":[", 6);                                                                    /* 8 million numbers */
    for (int i = 6; i + 2 < CAP; i += 2) h[i] = '0', h[i + 1] = ',';
    memcpy(h + CAP - 4, "0]} ", 4);
    put(h, CAP, 0);
    assert_int_equal(try_open(), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "values"));
    for (int n = 65536; n <= 65537; n++) {                                                       /* tensors: the most, one more */
        size_t len = 0;
        h[len++] = '{';
        for (int i = 0; i < n; i++)
            len += (size_t)snprintf(h + len, 128, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
        h[len++] = '}';
        put(h, len, 0);
        assert_int_equal(try_open(), n == 65536 ? TRESS_OK : TRESS_E_FORMAT);
    }
    for (int n = 256; n <= 257; n++) {                                                           /* names: the longest, one more */
        char name[300], text[600];
        memset(name, 'n', sizeof name);
        name[n] = 0;
        snprintf(text, sizeof text, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
        if (n == 256) accept(text, 1);
        else refuse(text, 1, "257 bytes");
    }
    free(h);
}

static const char model[] = "{\"__metadata__\":{\"format\":\"pt\"}," T("blocks.0.w", "F32", "[2,3]", 0, 24) "," T("b", "BF16", "[4]", 24, 32) ","
                            T("c", "F8_E4M3", "[3]", 32, 35) "}";
enum { N_MODEL = sizeof model - 1, N_DATA = 35 };

static void every_prefix(void **state)
{
    (void)state;
    unsigned char whole[8 + N_MODEL + N_DATA + 8] = { 0 };
    whole[0] = N_MODEL & 255, whole[1] = N_MODEL >> 8;
    memcpy(whole + 8, model, N_MODEL);
    for (size_t n = 0; n <= sizeof whole; n++) {
        put_raw(whole, n);
        assert_int_equal(try_open(), n == 8 + N_MODEL + N_DATA ? TRESS_OK : TRESS_E_FORMAT);
    }
}

/* A polyglot: a zip or another file behind the data is refused like any trailing byte. */
static void polyglot(void **state)
{
    (void)state;
    FILE *f;
    put(model, N_MODEL, N_DATA);
    assert_int_equal(try_open(), TRESS_OK);
    f = fopen(path, "ab");
    assert_non_null(f);
    fputs("PK\003\004", f);
    fclose(f);
    assert_int_equal(try_open(), TRESS_E_FORMAT);
}

static void every_byte_changed(void **state)
{
    (void)state;
    unsigned char b[8 + N_MODEL + N_DATA] = { 0 };
    static const unsigned char to[] = { 0, 1, ' ', '"', '-', '0', '9', ',', '[', ']', '{', '}', '\\', 'e', 0x7f, 0x80, 0xff };
    b[0] = N_MODEL & 255, b[1] = N_MODEL >> 8;
    memcpy(b + 8, model, N_MODEL);
    for (size_t i = 0; i < 8 + N_MODEL; i++) {
        const unsigned char keep = b[i];
        for (size_t k = 0; k < sizeof to; k++) {
            b[i] = to[k];
            put_raw(b, sizeof b);
            const tress_status st = try_open();
            assert_true(st == TRESS_OK || st == TRESS_E_FORMAT);
        }
        for (int bit = 0; bit < 8; bit++) {
            b[i] = (unsigned char)(keep ^ 1 << bit);
            put_raw(b, sizeof b);
            const tress_status st = try_open();
            assert_true(st == TRESS_OK || st == TRESS_E_FORMAT);
        }
        b[i] = keep;
    }
}

/* Pieces of headers in random order: what bit flips do not reach. */
static void spliced(void **state)
{
    (void)state;
    static const char *const piece[] = { "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\"dtype\":", "\"F32\"", "\"shape\":", "[2]", "[0]", "\"data_offsets\":",
        "[0,8]", "[8,16]", "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", "\"c\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}", "9223372036854775807",
        "\"__metadata__\":{\"x\":\"y\"}", "\\", "\\u0000", "1e5", "null", " " };
    int n_ok = 0;
    for (uint32_t i = 0; i < 8000; i++) {
        char h[1024] = "{";
        uint32_t w[4];
        const int n = 1 + (int)(i % 24);
        for (int k = 0; k < n; k++) {
            tr_philox(w, 1, i, (uint64_t)k);
            strncat(h, piece[w[0] % (sizeof piece / sizeof *piece)], sizeof h - strlen(h) - 1);
        }
        strncat(h, "}", sizeof h - strlen(h) - 1);
        put(h, strlen(h), i % 3 * 8);
        const tress_status st = try_open();
        assert_true(st == TRESS_OK || st == TRESS_E_FORMAT);
        n_ok += st == TRESS_OK;
    }
    assert_true(n_ok > 0);
}

/* ---- values ------------------------------------------------------------------------------------------------ */
static void values(void **state)
{
    (void)state;
    tr_safetensors *f = NULL;
    float x[6];
    tr_tensor t;
    static const float a[6] = { 1, -2, 3.5f, 0, -0.0f, 1e-30f };
    static const uint16_t h[2] = { 0x3c00, 0xc000 }, b[2] = { 0x3f80, 0xc000 };
    static const uint8_t e4[2] = { 0x38, 0xc0 }, e5[2] = { 0x3c, 0xc0 };
    static const double d[2] = { 1, -2 };
    static const int32_t ids[2] = { 1, 2 };
    const tr_named list[] = {
        { "f8", tr_view((void *)(uintptr_t)e4, TR_F8_E4M3, TR_DIMS(2)) }, { "f8e5", tr_view((void *)(uintptr_t)e5, TR_F8_E5M2, TR_DIMS(2)) },
        { "f32", tr_view((void *)(uintptr_t)a, TR_F32, TR_DIMS(2, 3)) },  { "f16", tr_view((void *)(uintptr_t)h, TR_F16, TR_DIMS(2)) },
        { "bf16", tr_view((void *)(uintptr_t)b, TR_BF16, TR_DIMS(2)) },   { "f64", tr_view((void *)(uintptr_t)d, TR_F64, TR_DIMS(2)) },
        { "ids", tr_view((void *)(uintptr_t)ids, TR_I32, TR_DIMS(2)) },
    };
    const char *const meta[] = { "format", "pt", "a \"quoted\" key", "t\xc3\xa4xt\n", NULL };
    assert_int_equal(tr_safetensors_write(path, list, 7, meta), TRESS_OK);
    assert_int_equal(tr_safetensors_open(&f, path), TRESS_OK);
    assert_string_equal(tr_safetensors_path(f), path);
    assert_int_equal(tr_safetensors_count(f), 7);
    for (int i = 1; i < 7; i++) assert_true(strcmp(tr_safetensors_name(f, i - 1), tr_safetensors_name(f, i)) < 0);
    assert_string_equal(tr_safetensors_meta(f, "format"), "pt");
    assert_string_equal(tr_safetensors_meta(f, "a \"quoted\" key"), "t\xc3\xa4xt\n");
    assert_null(tr_safetensors_meta(f, "none"));
    assert_int_equal(tr_safetensors_meta_count(f), 2);
    assert_true(tr_safetensors_find(f, "f64", &t));
    assert_int_equal((uintptr_t)t.data % 8, 0);
    assert_false(tr_safetensors_find(f, "f6", &t));
    assert_int_equal(tr_safetensors_read_f32(f, "f32", x, TR_DIMS(2, 3)), TRESS_OK);
    assert_memory_equal(x, a, sizeof a);
    static const char *const two[] = { "f8", "f8e5", "f16", "bf16", "f64" };
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tr_safetensors_read_f32(f, two[i], x, TR_DIMS(2)), TRESS_OK);
        if (!(x[0] == 1 && x[1] == -2)) fail_msg("%s reads %g %g", two[i], (double)x[0], (double)x[1]);
    }
    assert_int_equal(tr_safetensors_read_f32(f, "f32", x, TR_DIMS(3, 2)), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "[2, 3], expected [3, 2]"));
    assert_int_equal(tr_safetensors_read_f32(f, "ids", x, TR_DIMS(2)), TRESS_E_FORMAT);
    assert_int_equal(tr_safetensors_read_f32(f, "none", x, TR_DIMS(2)), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "no tensor none"));
    tr_safetensors_close(f);
}

static void not_finite(void **state)
{
    (void)state;
    static const float a[3] = { 1, NAN, 2 };
    static const uint16_t h[2] = { 0, 0x7c00 };
    static const uint8_t e4[2] = { 0, 0xff };
    static const double d[1] = { 1e300 };                                                        /* finite, but no float */
    const tr_named list[] = {
        { "nan", tr_view((void *)(uintptr_t)a, TR_F32, TR_DIMS(3)) }, { "inf", tr_view((void *)(uintptr_t)h, TR_F16, TR_DIMS(2)) },
        { "f8", tr_view((void *)(uintptr_t)e4, TR_F8_E4M3, TR_DIMS(2)) }, { "big", tr_view((void *)(uintptr_t)d, TR_F64, TR_DIMS(1)) },
    };
    tr_safetensors *f = NULL;
    float x[3];
    assert_int_equal(tr_safetensors_write(path, list, 4, NULL), TRESS_OK);
    assert_int_equal(tr_safetensors_open(&f, path), TRESS_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tr_safetensors_read_f32(f, list[i].name, x, TR_DIMS(list[i].t.shape[0])), TRESS_E_FORMAT);
        assert_non_null(strstr(tr_message(), list[i].name));
    }
    tr_safetensors_close(f);
}

/* safetensors 0.8 wrote these very bytes for the same tensors: save({"b": f32[2], "a": f32[1], "i": i64[1], "h": f16[3]}). */
static void reference_bytes(void **state)
{
    (void)state;
    static const float b[2] = { 1, 2 }, a[1] = { 3 };
    static const int64_t i64[1] = { 4 };
    static const uint16_t h[3] = { 0x3c00, 0x4000, 0x4200 };
    static const char want[] = "{\"__metadata__\":{\"format\":\"pt\"},\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[20,26]}}";
    const tr_named list[] = {
        { "b", tr_view((void *)(uintptr_t)b, TR_F32, TR_DIMS(2)) }, { "a", tr_view((void *)(uintptr_t)a, TR_F32, TR_DIMS(1)) },
        { "i", tr_view((void *)(uintptr_t)i64, TR_I64, TR_DIMS(1)) }, { "h", tr_view((void *)(uintptr_t)h, TR_F16, TR_DIMS(3)) },
    };
    char *s = NULL;
    size_t n = 0, n_want = sizeof want - 1, n_pad = (n_want + 7) / 8 * 8;
    assert_int_equal(tr_safetensors_write(path, list, 4, (const char *const[]){ "format", "pt", NULL }), TRESS_OK);
    assert_int_equal(tr_file_read(&s, &n, path, 4096), TRESS_OK);
    assert_int_equal(n, 8 + n_pad + 26);
    assert_int_equal((unsigned char)s[0] | (unsigned char)s[1] << 8, n_pad);
    assert_memory_equal(s + 8, want, n_want);
    for (size_t i = n_want; i < n_pad; i++) assert_int_equal(s[8 + i], ' ');
    assert_memory_equal(s + 8 + n_pad, i64, 8);
    assert_memory_equal(s + 8 + n_pad + 8, a, 4);
    assert_memory_equal(s + 8 + n_pad + 12, b, 8);
    assert_memory_equal(s + 8 + n_pad + 20, h, 6);
    tr_free(s);
}

static void writer_refuses(void **state)
{
    (void)state;
    float x = 1;
    const tr_tensor t = tr_view(&x, TR_F32, TR_DIMS(1));
    char name[300];
    memset(name, 'n', sizeof name);
    name[257] = 0;
    unlink(path);
    const char *const bad[] = { "", name, "a\n", "__metadata__", "\xff" };
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tr_safetensors_write(path, &(tr_named){ bad[i], t }, 1, NULL), TRESS_E_ARG);
        assert_false(tr_file_exists(path));
    }
    const tr_named twice[] = { { "a", t }, { "b", t }, { "a", t } };
    assert_int_equal(tr_safetensors_write(path, twice, 3, NULL), TRESS_E_ARG);
    assert_false(tr_file_exists(path));
    assert_int_equal(tr_safetensors_write(path, NULL, 0, NULL), TRESS_OK);
    assert_int_equal(try_open(), TRESS_OK);
}

static void out_of_memory(void **state)
{
    (void)state;
    put(model, N_MODEL, N_DATA);
    tress_status st = TRESS_E_OOM;
    int k = 1;
    for (; k < 50 && st != TRESS_OK; k++) {
        tr_safetensors *f = NULL;
        const int64_t bytes = tr_mem_now().bytes;
        tr_mem_fail_at(k);
        st = tr_safetensors_open(&f, path);
        tr_mem_fail_at(0);
        assert_true(st == TRESS_OK || st == TRESS_E_OOM);
        tr_safetensors_close(f);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_true(st == TRESS_OK && k > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers), cmocka_unit_test(bad_headers), cmocka_unit_test(bad_numbers), cmocka_unit_test(sizes),
        cmocka_unit_test(every_prefix), cmocka_unit_test(polyglot), cmocka_unit_test(every_byte_changed), cmocka_unit_test(spliced),
        cmocka_unit_test(values), cmocka_unit_test(not_finite), cmocka_unit_test(reference_bytes), cmocka_unit_test(writer_refuses),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
