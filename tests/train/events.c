/* Event files against bytes worked out from the format, checksums against published vectors, and against every fault of the disk. That
 * TensorBoard reads them: tools/read_events.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/events.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-events-XXXXXX" : "/tmp/tress-events-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static int clear(void **state)
{
    char cmd[128];
    (void)state;
    tr_io_fail_at(0, TR_IO_ERROR, 0);
    tr_mem_fail_at(0);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'/*", dir);
    return system(cmd);
}

static int names_in_dir(void)
{
    char **list = NULL;
    int n = 0;
    assert_int_equal(tr_dir_list(&list, &n, dir), TRESS_OK);
    tr_names_free(list, n);
    return n;
}

static uint64_t le(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}

/* The next record: its payload, checksums tested, the wall time within it tested and set to zero. */
static const char *record(char **at, char *end, size_t *n)
{
    assert_true(end - *at >= 16);
    *n = (size_t)le(*at, 8);
    assert_int_equal(le(*at + 8, 4), tr_crc32c_masked(*at, 8));
    assert_true(*n <= (size_t)(end - *at) - 16 && *n >= 9);
    char *payload = *at + 12;
    assert_int_equal(le(payload + *n, 4), tr_crc32c_masked(payload, *n));
    double wall = 0;
    assert_int_equal(payload[0], 0x09);
    memcpy(&wall, payload + 1, 8);
    assert_true(fabs(wall - (double)time(NULL)) < 60);
    memset(payload + 1, 0, 8);
    *at = payload + *n + 4;
    return payload;
}

#define EXPECT(at, end, bytes)                                       \
    do {                                                             \
        size_t n_ = 0;                                               \
        const char *r_ = record(at, end, &n_);                       \
        assert_int_equal(n_, sizeof(bytes) - 1);                     \
        assert_memory_equal(r_, bytes, n_);                          \
    } while (0)
#define WALL "\x09\0\0\0\0\0\0\0\0"
#define VERSION WALL "\x1a\x0d" "brain.Event:2"

static void checksums(void **state)
{
    (void)state;
    uint8_t b[32];
    assert_int_equal(tr_crc32c("123456789", 9), 0xe3069283u);
    assert_int_equal(tr_crc32c_masked("foo", 3), 0xfebe8a61u);
    assert_int_equal(tr_crc32c("", 0), 0);
    memset(b, 0, 32);                                            /* RFC 3720, B.4 */
    assert_int_equal(tr_crc32c(b, 32), 0x8a9136aau);
    memset(b, 0xff, 32);
    assert_int_equal(tr_crc32c(b, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) b[i] = (uint8_t)i;
    assert_int_equal(tr_crc32c(b, 32), 0x46dd794eu);
}

static void bytes(void **state)
{
    (void)state;
    tr_events *e = NULL;
    const tr_scalar three[] = { { "loss", 0.5 }, { "bad", NAN }, { "lr", -2 } };
    static char png[300];
    memset(png, 'p', sizeof png);
    assert_int_equal(tr_events_open(&e, dir, -1), TRESS_OK);
    assert_int_equal(tr_events_scalars(e, 300, three, 3), TRESS_OK);
    assert_int_equal(tr_events_scalars(e, 0, three, 1), TRESS_OK);
    assert_int_equal(tr_events_scalars(e, 5, three + 1, 1), TRESS_OK);          /* nothing but NaN: nothing */
    const tr_scalar huge = { "huge", 1e300 };                    /* infinite as a float */
    assert_int_equal(tr_events_scalars(e, 5, &huge, 1), TRESS_OK);
    assert_int_equal(tr_events_image(e, 1, "samples/0", png, 300, 200, 7, 3), TRESS_OK);
    assert_int_equal(tr_events_sync(e), TRESS_OK);
    char *s = NULL;
    size_t n = 0;
    assert_int_equal(tr_file_read(&s, &n, tr_events_file(e), 1 << 20), TRESS_OK);
    tr_events_close(e);
    char *at = s, *end = s + n;
    EXPECT(&at, end, VERSION);
    EXPECT(&at, end, WALL "\x10\xac\x02" "\x2a\x18" "\x0a\x0b\x0a\x04" "loss\x15\0\0\0\x3f" "\x0a\x09\x0a\x02" "lr\x15\0\0\0\xc0");
    EXPECT(&at, end, WALL "\x2a\x0d" "\x0a\x0b\x0a\x04" "loss\x15\0\0\0\x3f");
    size_t n_image = 0;
    const char *image = record(&at, end, &n_image);
    static const char head[] = WALL "\x10\x01" "\x2a\xc7\x02" "\x0a\xc4\x02" "\x0a\x09" "samples/0" "\x22\xb6\x02" "\x08\x07\x10\xc8\x01\x18\x03\x22\xac\x02";
    assert_int_equal(n_image, sizeof head - 1 + 300);
    assert_memory_equal(image, head, sizeof head - 1);
    assert_memory_equal(image + sizeof head - 1, png, 300);
    assert_ptr_equal(at, end);
    tr_free(s);
}

/* A later file sorts later, and says from which step on it speaks. */
static void goes_on(void **state)
{
    (void)state;
    char last[200] = "", ahead[200];
    snprintf(ahead, sizeof ahead, "%s/events.out.tfevents.%010ld.h.1.0", dir, (long)time(NULL) + 86400);         /* the clock went back a day */
    assert_int_equal(tr_file_write(ahead, "", 0), TRESS_OK);
    strcpy(last, ahead);
    for (int i = 0; i < 5; i++) {
        tr_events *e = NULL;
        assert_int_equal(tr_events_open(&e, dir, i ? i * 100 : 0), TRESS_OK);
        assert_true(strcmp(tr_events_file(e), last) > 0);
        strcpy(last, tr_events_file(e));
        char *s = NULL;
        size_t n = 0;
        assert_int_equal(tr_file_read(&s, &n, last, 1000), TRESS_OK);
        char *at = s, *end = s + n;
        EXPECT(&at, end, VERSION);
        if (i == 0) EXPECT(&at, end, WALL "\x10\x01" "\x3a\x02\x08\x01");
        if (i == 3) EXPECT(&at, end, WALL "\x10\xad\x02" "\x3a\x02\x08\x01");
        tr_free(s);
        tr_events_close(e);
    }
    assert_int_equal(names_in_dir(), 6);
}

static void faults(void **state)
{
    (void)state;
    const tr_scalar one = { "a tag of some length", 1 };
    static char png[200000];
    int n_fail = 0;
    for (int memory = 0; memory < 2; memory++)
        for (int64_t k = 1; k < 40; k++) {
            tr_events *e = NULL;
            const int64_t in_use = tr_mem_now().bytes;
            if (memory) tr_mem_fail_at(k);
            else tr_io_fail_at(k, TR_IO_ERROR, ENOSPC);
            tress_status st = tr_events_open(&e, dir, 3);
            const bool opened = st == TRESS_OK;
            if (st == TRESS_OK) st = tr_events_scalars(e, 4, &one, 1);
            if (st == TRESS_OK) st = tr_events_image(e, 4, "i", png, sizeof png, 1, 1, 3);
            if (st == TRESS_OK) st = tr_events_sync(e);
            const bool full = tr_disk_full();
            tr_mem_fail_at(0);
            tr_io_fail_at(0, TR_IO_ERROR, 0);
            if (st != TRESS_OK) {
                n_fail++;
                assert_int_equal(st, memory ? TRESS_E_OOM : TRESS_E_IO);
                if (!memory) assert_true(full);
            }
            assert_int_equal(names_in_dir(), opened ? 1 : 0);
            if (opened) {                                        /* whole records, and the next one can be added */
                assert_int_equal(tr_events_scalars(e, 5, &one, 1), TRESS_OK);
                char *s = NULL;
                size_t n = 0, n_record = 0;
                assert_int_equal(tr_file_read(&s, &n, tr_events_file(e), 1 << 20), TRESS_OK);
                for (char *at = s; at < s + n; ) record(&at, s + n, &n_record);
                tr_free(s);
            }
            tr_events_close(e);
            assert_int_equal(tr_mem_now().bytes, in_use);
            clear(NULL);
        }
    assert_true(n_fail > 12);
}

static void no_allocation(void **state)
{
    (void)state;
    tr_events *e = NULL;
    const tr_scalar one = { "loss", 1 };
    assert_int_equal(tr_events_open(&e, dir, -1), TRESS_OK);
    assert_int_equal(tr_events_scalars(e, 1 << 30, &one, 1), TRESS_OK);
    const int64_t n = tr_mem_now().n_alloc;
    for (int i = 0; i < 100; i++) assert_int_equal(tr_events_scalars(e, i, &one, 1), TRESS_OK);
    assert_int_equal(tr_mem_now().n_alloc, n);
    tr_events_close(e);
}

#define TEST(f) cmocka_unit_test_setup(f, clear)

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(checksums), TEST(bytes), TEST(goes_on), TEST(faults), TEST(no_allocation) };
    return cmocka_run_group_tests(tests, enter, leave);
}
