/* jpeg.c - JPEG by libjpeg-turbo, behind a budget. As in png.c, a job runs whole inside one call of setjmp and keeps its
 * state in a struct outside it. Every warning of libjpeg means damaged data, and is an error here. */
#include "image/file_int.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#define SCAN_MAX 500
#define WORK_MAX (4ll << 30)                    /* pixels times scans: 500 scans of 8 megapixels, 64 of 64 */

typedef struct job {
    struct jpeg_error_mgr    error;             /* first: libjpeg hands back a pointer to it */
    struct jpeg_progress_mgr progress;
    jmp_buf      jump;
    tress_status st;
    const char  *where;
    bool         writing;
    struct jpeg_decompress_struct in;
    struct jpeg_compress_struct   out;

    const uint8_t *bytes;
    size_t         n;
    tr_file_extra *extra;
    tr_image      *img;                         /* owned while reading */
    JOCTET        *icc;                         /* libjpeg's malloc */

    const tr_image *from;
    unsigned char  *mem;                        /* libjpeg's malloc */
    unsigned long   n_mem;
    uint8_t        *line;                       /* one row, owned */
} job;

static void on_error(j_common_ptr c)
{
    job *j = (job *)(void *)c->err;
    char message[JMSG_LENGTH_MAX];
    const bool oom = c->err->msg_code == JERR_OUT_OF_MEMORY;
    c->err->format_message(c, message);
    j->st = tr_fail(oom ? TRESS_E_OOM : TRESS_E_FORMAT, "%s: %s JPEG: %s", j->where, j->writing ? "writing" : "damaged", message);
    longjmp(j->jump, 1);
}

static void on_message(j_common_ptr c, int level)
{
    if (level < 0) on_error(c);
}

static void on_output(j_common_ptr c)
{
    (void)c;                                    /* the library never prints */
}

static void on_progress(j_common_ptr c)
{
    job *j = (job *)(void *)c->err;
    const struct jpeg_decompress_struct *d = &j->in;
    const int64_t n_pixel = (int64_t)d->image_width * d->image_height;
    if (d->input_scan_number <= SCAN_MAX && n_pixel * d->input_scan_number <= WORK_MAX) return;
    j->st = tr_fail(TRESS_E_FORMAT, "%s: JPEG of over %d scans of %u x %u pixels; at most %d scans and %lld pixels in all are read",
                    j->where, d->input_scan_number - 1, d->image_width, d->image_height, SCAN_MAX, WORK_MAX);
    longjmp(j->jump, 1);
}

static void start(job *j)
{
    jpeg_std_error(&j->error);
    j->error.error_exit = on_error;
    j->error.emit_message = on_message;
    j->error.output_message = on_output;
}

/* Profiles and EXIF wait in memory as markers: count them, take the orientation. */
static void read_markers(job *j)
{
    size_t n_extra = 0;
    for (jpeg_saved_marker_ptr m = j->in.marker_list; m; m = m->next) {
        n_extra += m->data_length;
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 && !memcmp(m->data, "Exif\0\0", 6) && j->extra->orientation == 1)
            j->extra->orientation = tr_exif_orientation(m->data, m->data_length);
    }
    if (n_extra > TR_EXTRA_BYTES_MAX)
        j->st = tr_fail(TRESS_E_FORMAT, "%s: JPEG with %zu bytes of markers; at most %zu are read", j->where, n_extra, TR_EXTRA_BYTES_MAX);
}

static void read_all(job *j)
{
    struct jpeg_decompress_struct *d = &j->in;
    unsigned n_icc = 0;
    d->err = &j->error;
    jpeg_create_decompress(d);
    j->progress.progress_monitor = on_progress;
    d->progress = &j->progress;
    jpeg_mem_src(d, j->bytes, (unsigned long)j->n);
    jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
    jpeg_save_markers(d, JPEG_APP0 + 2, 0xffff);
    jpeg_read_header(d, TRUE);
    if ((int64_t)d->image_width * d->image_height > TR_PIXELS_MAX) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: JPEG of %u x %u pixels; at most %lld are read", j->where, d->image_width, d->image_height, TR_PIXELS_MAX);
        return;
    }
    /* Huffman coding spends at least a bit on each 8 x 8 block. */
    if (!d->arith_code && (uint64_t)d->image_width * d->image_height / 64 / 8 > (uint64_t)j->n) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: JPEG of %u x %u pixels in %zu bytes: it cannot be whole", j->where, d->image_width, d->image_height, j->n);
        return;
    }
    if (d->num_components != 1 && d->num_components != 3) {
        j->st = tr_fail(TRESS_E_FORMAT, "%s: JPEG of %d colour components (CMYK); expected grey or RGB: convert it with its profile first",
                        j->where, d->num_components);
        return;
    }
    read_markers(j);
    if (j->st != TRESS_OK) return;
    if (!jpeg_read_icc_profile(d, &j->icc, &n_icc)) j->icc = NULL;
    d->out_color_space = d->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(d);
    j->st = tr_image_new(&j->img, (int)d->output_width, (int)d->output_height, d->output_components, 8);
    if (j->st != TRESS_OK) return;
    const size_t row = (size_t)d->output_width * (size_t)d->output_components;
    while (d->output_scanline < d->output_height) {
        JSAMPROW to = (uint8_t *)j->img->data + row * d->output_scanline;
        jpeg_read_scanlines(d, &to, 1);
    }
    jpeg_finish_decompress(d);
    if (j->icc) j->st = tr_image_set_icc(j->img, j->icc, n_icc);
}

tress_status tr_jpeg_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where)
{
    job j = { .where = where, .bytes = bytes, .n = n, .extra = extra };
    start(&j);
    if (!setjmp(j.jump)) read_all(&j);
    jpeg_destroy_decompress(&j.in);
    free(j.icc);
    if (j.st == TRESS_OK) {
        *out = j.img;
        j.img = NULL;
    }
    tr_image_free(j.img);
    return j.st;
}

static void write_all(job *j)
{
    struct jpeg_compress_struct *c = &j->out;
    const tr_image *img = j->from;
    const size_t row = tr_image_bytes(img) / (size_t)img->height;
    c->err = &j->error;
    jpeg_create_compress(c);
    jpeg_mem_dest(c, &j->mem, &j->n_mem);
    c->image_width = (JDIMENSION)img->width;
    c->image_height = (JDIMENSION)img->height;
    c->input_components = img->channels;
    c->in_color_space = img->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, 95, TRUE);
    c->optimize_coding = TRUE;
    c->comp_info[0].h_samp_factor = c->comp_info[0].v_samp_factor = 1;           /* 4:4:4: strands are a pixel wide */
    jpeg_start_compress(c, TRUE);
    if (img->icc) jpeg_write_icc_profile(c, img->icc, (unsigned)img->n_icc);
    while (c->next_scanline < c->image_height) {
        memcpy(j->line, (const uint8_t *)img->data + row * c->next_scanline, row);
        JSAMPROW from = j->line;
        jpeg_write_scanlines(c, &from, 1);
    }
    jpeg_finish_compress(c);
}

tress_status tr_jpeg_encode(uint8_t **bytes, size_t *n, const tr_image *img)
{
    tress_status st = TRESS_OK;
    uint8_t *copy = NULL;
    job j = { .where = "a picture", .writing = true, .from = img };
    start(&j);
    if (img->depth != 8 || (img->channels != 1 && img->channels != 3))
        TR_TRY(tr_fail(TRESS_E_ARG, "a JPEG holds 8-bit grey or RGB; the picture has %d channels of %d bits: write a PNG", img->channels, img->depth));
    TR_TRY(tr_alloc_raw((void **)&j.line, tr_image_bytes(img) / (size_t)img->height));
    if (!setjmp(j.jump)) write_all(&j);
    TR_TRY(j.st);
    TR_TRY(tr_alloc_raw((void **)&copy, j.n_mem));
    memcpy(copy, j.mem, j.n_mem);
    *bytes = copy;
    *n = j.n_mem;
done:
    jpeg_destroy_compress(&j.out);
    free(j.mem);
    tr_free(j.line);
    return st;
}
