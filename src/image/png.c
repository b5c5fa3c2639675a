/* png.c - PNG by libpng, behind a budget. libpng reports by longjmp: each job runs whole inside one call of setjmp, and all
 * it touches lives in a struct outside that call, so nothing is lost or clobbered by the jump. */
#include "image/file_int.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

typedef struct job {
    jmp_buf      jump;
    tress_status st;
    const char  *where;                         /* file, for messages */
    bool         writing;
    png_structp  png;
    png_infop    info;
    size_t       n_live;                        /* bytes libpng holds */

    const uint8_t *in;                          /* reading: the file, and how far */
    size_t         n_in, at;
    tr_file_extra *extra;
    tr_image      *img;                         /* owned while reading */

    const tr_image    *from;                    /* writing */
    const char *const *text;
    uint8_t           *out;                     /* owned */
    size_t             n_out, cap;
} job;

static void on_error(png_structp png, png_const_charp message)
{
    job *j = png_get_error_ptr(png);
    if (j->st == TRESS_OK)
        j->st = tr_fail(TRESS_E_FORMAT, "%s: %s PNG: %s", j->where, j->writing ? "writing" : "damaged", message);
    longjmp(j->jump, 1);
}

/* Ancillary oddities are common in the wild and harmless; a word about the pixels themselves is damage. */
static void on_warning(png_structp png, png_const_charp message)
{
    job *j = png_get_error_ptr(png);
    if (!j->writing && !strncmp(message, "IDAT", 4)) on_error(png, message);
}

#define HEAD 64                                 /* the size of a block, ahead of it; keeps it aligned */

static png_voidp on_malloc(png_structp png, png_alloc_size_t n)
{
    job *j = png_get_mem_ptr(png);
    void *p = NULL;
    if (n > TR_EXTRA_BYTES_MAX || j->n_live + n > 2 * TR_EXTRA_BYTES_MAX) return NULL;
    if (tr_alloc_raw(&p, n + HEAD) != TRESS_OK) {
        j->st = TRESS_E_OOM;                    /* with the message of tr_alloc_raw */
        return NULL;
    }
    *(size_t *)p = n;
    j->n_live += n;
    return (uint8_t *)p + HEAD;
}

static void on_free(png_structp png, png_voidp p)
{
    job *j = png_get_mem_ptr(png);
    if (!p) return;
    void *block = (uint8_t *)p - HEAD;
    j->n_live -= *(size_t *)block;
    tr_free(block);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    job *j = png_get_io_ptr(png);
    if (n > j->n_in - j->at) png_error(png, "the file ends too early");
    memcpy(to, j->in + j->at, n);
    j->at += n;
}

static void on_write(png_structp png, png_bytep from, size_t n)
{
    job *j = png_get_io_ptr(png);
    if (n > j->cap - j->n_out) {
        const size_t cap = j->cap + n + (j->cap > 65536 ? j->cap : 65536);
        j->st = tr_realloc((void **)&j->out, j->cap, cap);
        if (j->st != TRESS_OK) longjmp(j->jump, 1);
        j->cap = cap;
    }
    memcpy(j->out + j->n_out, from, n);
    j->n_out += n;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static bool little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static void read_text(job *j)
{
    png_textp text = NULL;
    int n_text = 0;
    png_get_text(j->png, j->info, &text, &n_text);
    for (int i = 0; j->extra->keyword && i < n_text; i++) {
        if (strcmp(text[i].key, j->extra->keyword)) continue;
        j->st = tr_strdup(&j->extra->text, text[i].text ? text[i].text : "");
        return;
    }
}

static void read_all(job *j)
{
    png_uint_32 w = 0, h = 0, n_exif = 0, n_icc = 0;
    png_bytep exif = NULL, icc = NULL;
    png_charp icc_name = NULL;
    int depth = 0, colour = 0, interlace = 0, method = 0;

    j->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, j, on_error, on_warning, j, on_malloc, on_free);
    j->info = j->png ? png_create_info_struct(j->png) : NULL;
    if (!j->info) {
        if (j->st == TRESS_OK) j->st = tr_fail(TRESS_E_OOM, "%s: no memory to read a PNG", j->where);
        return;
    }
    png_set_read_fn(j->png, j, on_read);
    png_set_user_limits(j->png, TR_SIDE_MAX, TR_SIDE_MAX);
    png_set_chunk_cache_max(j->png, 256);
    png_set_chunk_malloc_max(j->png, TR_EXTRA_BYTES_MAX);
    png_set_crc_action(j->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(j->png, j->info);
    png_get_IHDR(j->png, j->info, &w, &h, &depth, &colour, &interlace, &method, NULL);
    if ((int64_t)w * (int64_t)h > TR_PIXELS_MAX) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: PNG of %" PRIu32 " x %" PRIu32 " pixels; at most %lld are read", j->where, w, h, TR_PIXELS_MAX);
        return;
    }
    /* Deflate never shrinks below 1/1032, so a header that promises more than the file can hold is refused unallocated. */
    const uint64_t n_raw = (uint64_t)png_get_rowbytes(j->png, j->info) * h;
    if (n_raw / 1032 > (uint64_t)j->n_in) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: PNG of %" PRIu32 " x %" PRIu32 " pixels in %zu bytes: it cannot be whole", j->where, w, h, j->n_in);
        return;
    }
    png_set_expand(j->png);                     /* palette to RGB, 1/2/4-bit grey to 8, tRNS to alpha */
    if (depth == 16 && little_endian()) png_set_swap(j->png);
    const int n_pass = png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    j->st = tr_image_new(&j->img, (int)w, (int)h, png_get_channels(j->png, j->info), png_get_bit_depth(j->png, j->info));
    if (j->st != TRESS_OK) return;
    const size_t row = tr_image_bytes(j->img) / h;
    if (row != png_get_rowbytes(j->png, j->info)) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: PNG rows of %zu bytes; expected %zu", j->where, png_get_rowbytes(j->png, j->info), row);
        return;
    }
    for (int pass = 0; pass < n_pass; pass++)
        for (png_uint_32 y = 0; y < h; y++) png_read_row(j->png, (uint8_t *)j->img->data + (size_t)y * row, NULL);
    png_read_end(j->png, j->info);

    if (png_get_eXIf_1(j->png, j->info, &n_exif, &exif)) j->extra->orientation = tr_exif_orientation(exif, n_exif);
    if (png_get_iCCP(j->png, j->info, &icc_name, &method, &icc, &n_icc)) j->st = tr_image_set_icc(j->img, icc, n_icc);
    if (j->st == TRESS_OK) read_text(j);
}

tress_status tr_png_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where)
{
    job j = { .where = where, .in = bytes, .n_in = n, .extra = extra };
    if (!setjmp(j.jump)) read_all(&j);
    png_destroy_read_struct(&j.png, &j.info, NULL);
    if (j.st == TRESS_OK) {
        *out = j.img;
        j.img = NULL;
    } else {
        tr_free(extra->text);
        extra->text = NULL;
    }
    tr_image_free(j.img);
    return j.st;
}

/* Latin-1 rules are stricter than we need: printable ASCII without outer or doubled spaces is legal everywhere. */
static bool keyword_ok(const char *s)
{
    const size_t n = strlen(s);
    if (n < 1 || n > 79 || s[0] == ' ' || s[n - 1] == ' ' || strstr(s, "  ")) return false;
    for (size_t i = 0; i < n; i++)
        if (s[i] < 0x20 || s[i] > 0x7e) return false;
    return true;
}

static void write_text(job *j)
{
    for (int i = 0; j->text && j->text[i] && j->text[i + 1]; i += 2) {
        const char *value = j->text[i + 1];
        bool ascii = true;
        if (!keyword_ok(j->text[i])) {
            j->st = tr_fail(TRESS_E_ARG, "\"%s\" is no PNG keyword: 1 to 79 printable ASCII letters", j->text[i]);
            return;
        }
        for (const char *c = value; *c; c++) ascii &= (unsigned char)*c < 0x80;
        /* tEXt is Latin-1 and read by every tool; iTXt is UTF-8. */
        png_text t = { .compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                       .key = (png_charp)(uintptr_t)j->text[i], .text = (png_charp)(uintptr_t)value,
                       .text_length = ascii ? strlen(value) : 0, .itxt_length = ascii ? 0 : strlen(value),
                       .lang = NULL, .lang_key = NULL };
        png_set_text(j->png, j->info, &t, 1);
    }
}

static void write_all(job *j)
{
    static const int colour[5] = { 0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA };
    const tr_image *img = j->from;
    j->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, j, on_error, on_warning, j, on_malloc, on_free);
    j->info = j->png ? png_create_info_struct(j->png) : NULL;
    if (!j->info) {
        if (j->st == TRESS_OK) j->st = tr_fail(TRESS_E_OOM, "no memory to write a PNG");
        return;
    }
    png_set_write_fn(j->png, j, on_write, on_flush);
    png_set_benign_errors(j->png, 1);           /* a profile that libpng dislikes is left out, the picture is written */
    png_set_user_limits(j->png, TR_SIDE_MAX, TR_SIDE_MAX);
    png_set_IHDR(j->png, j->info, (png_uint_32)img->width, (png_uint_32)img->height, img->depth, colour[img->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if ((int64_t)img->width * img->height > 4 << 20) png_set_compression_level(j->png, 3);   /* half the wait for 3 % of the size */
    if (img->icc) png_set_iCCP(j->png, j->info, "ICC profile", PNG_COMPRESSION_TYPE_BASE, img->icc, (png_uint_32)img->n_icc);
    write_text(j);
    if (j->st != TRESS_OK) return;
    png_write_info(j->png, j->info);
    if (img->depth == 16 && little_endian()) png_set_swap(j->png);
    const size_t row = tr_image_bytes(img) / (size_t)img->height;
    for (int y = 0; y < img->height; y++) png_write_row(j->png, (const uint8_t *)img->data + (size_t)y * row);
    png_write_end(j->png, j->info);
}

tress_status tr_png_encode(uint8_t **bytes, size_t *n, const tr_image *img, const char *const *text)
{
    job j = { .where = "a picture", .writing = true, .from = img, .text = text };
    if (!setjmp(j.jump)) write_all(&j);
    png_destroy_write_struct(&j.png, &j.info);
    if (j.st == TRESS_OK) {
        *bytes = j.out;
        *n = j.n_out;
        j.out = NULL;
    }
    tr_free(j.out);
    return j.st;
}
