#include "train/events.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_BEGIN "events.out.tfevents."
#define HEAD ((size_t)12)                       /* u64 length and its checksum before the payload */

struct tr_events {
    tr_append *file;
    char      *path;
    tr_str     record;
};

/* ---- checksums --------------------------------------------------------------------------------------------- */
uint32_t tr_crc32c(const void *bytes, size_t n)
{
    /* the reflected polynomial 0x82f63b78 over each of 16 half bytes */
    static const uint32_t half[16] = {
        0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u, 0x61c69362u, 0x7198540du,
        0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u, 0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
    };
    uint32_t c = 0xffffffffu;
    for (const uint8_t *p = bytes, *end = p + n; p < end; p++) {
        c ^= *p;
        c = c >> 4 ^ half[c & 15];
        c = c >> 4 ^ half[c & 15];
    }
    return ~c;
}

uint32_t tr_crc32c_masked(const void *bytes, size_t n)
{
    const uint32_t c = tr_crc32c(bytes, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* ---- protobuf ---------------------------------------------------------------------------------------------- */
/* Field numbers and types of tensorboard/compat/proto: event.proto, summary.proto. A key is number << 3 | type. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_BYTES = 4 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };

static void put_le(uint8_t *out, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) out[i] = (uint8_t)(v >> 8 * i);
}

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 128; v >>= 7) n++;
    return n;
}

static tress_status add_varint(tr_str *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;
    for (; v >= 128; v >>= 7) out[n++] = (uint8_t)(v | 128);
    out[n++] = (uint8_t)v;
    return tr_str_add(b, (const char *)out, n);
}

/* One byte, as fields are below 16. */
static tress_status add_key(tr_str *b, int field, int type) { return add_varint(b, (uint64_t)(field << 3 | type)); }

static tress_status add_int(tr_str *b, int field, int64_t v)
{
    tress_status st = add_key(b, field, VARINT);
    return st == TRESS_OK ? add_varint(b, (uint64_t)v) : st;
}

/* The key and length of bytes that follow. */
static tress_status add_length(tr_str *b, int field, size_t n)
{
    tress_status st = add_key(b, field, BYTES);
    return st == TRESS_OK ? add_varint(b, n) : st;
}

static tress_status add_bytes(tr_str *b, int field, const void *bytes, size_t n)
{
    tress_status st = add_length(b, field, n);
    return st == TRESS_OK ? tr_str_add(b, bytes, n) : st;
}

static size_t int_size(int64_t v) { return 1 + varint_bytes((uint64_t)v); }
static size_t bytes_size(size_t n) { return 1 + varint_bytes(n) + n; }

/* ---- records ----------------------------------------------------------------------------------------------- */
static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Room for the head, then wall time and step of an Event. */
static tress_status begin(tr_str *b, int64_t step)
{
    tress_status st = TRESS_OK;
    static const char head[HEAD];
    uint8_t time[8];
    const double now = wall_time();
    uint64_t bits;
    memcpy(&bits, &now, 8);
    put_le(time, bits, 8);
    b->len = 0;
    TR_TRY(tr_str_add(b, head, sizeof head));
    TR_TRY(add_key(b, EVENT_WALL_TIME, FIXED64));
    TR_TRY(tr_str_add(b, (const char *)time, sizeof time));
    if (step) TR_TRY(add_int(b, EVENT_STEP, step));              /* 0 is what is meant where nothing is written */
done:
    return st;
}

static tress_status finish(tr_events *e)
{
    tr_str *b = &e->record;
    uint8_t *head = (uint8_t *)b->s, tail[4];
    const size_t n = b->len - HEAD;
    put_le(head, n, 8);
    put_le(head + 8, tr_crc32c_masked(head, 8), 4);
    put_le(tail, tr_crc32c_masked(b->s + HEAD, n), 4);
    tress_status st = tr_str_add(b, (const char *)tail, sizeof tail);
    return st == TRESS_OK ? tr_append_add(e->file, b->s, b->len) : st;
}

tress_status tr_events_scalars(tr_events *e, int64_t step, const tr_scalar *list, int n)
{
    tress_status st = TRESS_OK;
    tr_str *b = &e->record;
    size_t size = 0;
    for (int i = 0; i < n; i++)
        if (isfinite((float)list[i].value)) size += bytes_size(bytes_size(strlen(list[i].tag)) + 5);
    if (size == 0) return TRESS_OK;
    TR_TRY(begin(b, step));
    TR_TRY(add_length(b, EVENT_SUMMARY, size));
    for (int i = 0; i < n; i++) {
        const float v = (float)list[i].value;
        uint32_t bits;
        uint8_t le[4];
        if (!isfinite(v)) continue;
        memcpy(&bits, &v, 4);
        put_le(le, bits, 4);
        TR_TRY(add_length(b, SUMMARY_VALUE, bytes_size(strlen(list[i].tag)) + 5));
        TR_TRY(add_bytes(b, VALUE_TAG, list[i].tag, strlen(list[i].tag)));
        TR_TRY(add_key(b, VALUE_SIMPLE, FIXED32));
        TR_TRY(tr_str_add(b, (const char *)le, sizeof le));
    }
    TR_TRY(finish(e));
done:
    return st;
}

tress_status tr_events_image(tr_events *e, int64_t step, const char *tag, const void *png, size_t n, int64_t width, int64_t height,
                             int channels)
{
    tress_status st = TRESS_OK;
    tr_str *b = &e->record;
    const size_t image = int_size(height) + int_size(width) + int_size(channels) + bytes_size(n);
    const size_t value = bytes_size(strlen(tag)) + bytes_size(image);
    TR_TRY(begin(b, step));
    TR_TRY(add_length(b, EVENT_SUMMARY, bytes_size(value)));
    TR_TRY(add_length(b, SUMMARY_VALUE, value));
    TR_TRY(add_bytes(b, VALUE_TAG, tag, strlen(tag)));
    TR_TRY(add_length(b, VALUE_IMAGE, image));
    TR_TRY(add_int(b, IMAGE_HEIGHT, height));
    TR_TRY(add_int(b, IMAGE_WIDTH, width));
    TR_TRY(add_int(b, IMAGE_COLORSPACE, channels));
    TR_TRY(add_bytes(b, IMAGE_BYTES, png, n));
    TR_TRY(finish(e));
done:
    return st;
}

/* ---- files ------------------------------------------------------------------------------------------------- */
static tress_status add_file_version(tr_events *e)
{
    static const char version[] = "brain.Event:2";
    tress_status st = begin(&e->record, 0);
    if (st == TRESS_OK) st = add_bytes(&e->record, EVENT_FILE_VERSION, version, sizeof version - 1);
    return st == TRESS_OK ? finish(e) : st;
}

/* A session that starts at a step: TensorBoard drops what earlier files say of that step and later ones. */
static tress_status add_start(tr_events *e, int64_t step)
{
    tress_status st = TRESS_OK;
    TR_TRY(begin(&e->record, step));
    TR_TRY(add_length(&e->record, EVENT_SESSION_LOG, int_size(SESSION_START)));
    TR_TRY(add_int(&e->record, SESSION_STATUS, SESSION_START));
    TR_TRY(finish(e));
done:
    return st;
}

/* TensorBoard reads the files of a folder in the order of their names, so a later one must sort later, even where the clock went back
 * or two begin within a second. */
static tress_status next_second(int64_t *out, const char *dir)
{
    char **list = NULL;
    int n = 0;
    const tress_status st = tr_dir_list(&list, &n, dir);
    if (st != TRESS_OK) return st;
    int64_t second = (int64_t)time(NULL);
    for (int i = 0; i < n; i++) {
        const size_t skip = strlen(NAME_BEGIN);
        int64_t v = 0;
        if (strncmp(list[i], NAME_BEGIN, skip) != 0 || strspn(list[i] + skip, "0123456789") != 10) continue;
        for (int k = 0; k < 10; k++) v = v * 10 + (list[i][skip + (size_t)k] - '0');
        if (v >= second && v < INT64_C(9999999999)) second = v + 1;
    }
    tr_names_free(list, n);
    *out = second;
    return TRESS_OK;
}

tress_status tr_events_open(tr_events **out, const char *dir, int64_t step)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_events *e = NULL;
    char host[64] = "", name[160];
    int64_t second = 0;
    bool made = false;
    TR_TRY(tr_alloc(&p, sizeof *e));
    e = p;
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) strcpy(host, "localhost");
    for (char *c = host; *c; c++)
        if (*c == '/' || (unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) *c = '-';
    TR_TRY(next_second(&second, dir));
    snprintf(name, sizeof name, NAME_BEGIN "%010" PRId64 ".%s.%ld.0", second, host, (long)getpid());
    TR_TRY(tr_path_join(&e->path, dir, name));
    TR_TRY(tr_append_open(&e->file, e->path, TR_APPEND_NEW));
    made = true;
    TR_TRY(add_file_version(e));
    if (step >= 0) TR_TRY(add_start(e, step + 1));
    *out = e;
    e = NULL;
done:
    if (e && made) tr_sys_unlink(e->path);
    tr_events_close(e);
    return st;
}

const char *tr_events_file(const tr_events *e) { return e->path; }
tress_status tr_events_sync(tr_events *e) { return tr_append_sync(e->file); }

void tr_events_close(tr_events *e)
{
    if (!e) return;
    tr_append_close(e->file);
    tr_str_fini(&e->record);
    tr_free(e->path);
    tr_free(e);
}
