/* Threads, digests and messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <stdio.h>
#include <string.h>

typedef struct job { unsigned char done[1000]; int64_t bad[2]; int n_thread; int scratch_wrong; } job;
static tress_status body(void *self, int64_t i, int i_thread)
{
    job *j = self;
    if (i_thread < 0 || i_thread >= j->n_thread) j->scratch_wrong = 1;
    j->done[i]++;
    if (i == j->bad[0] || i == j->bad[1]) return tr_fail(i == j->bad[0] ? TRESS_E_FORMAT : TRESS_E_IO, "item %d", (int)i);
    return TRESS_OK;
}

static void every_item_once(void **state)
{
    (void)state;
    for (int t = 1; t <= 8; t *= 2) {
        job j = { .bad = { -1, -1 }, .n_thread = t };
        assert_int_equal(tr_parallel(t, 1000, body, &j), TRESS_OK);
        for (int i = 0; i < 1000; i++) assert_int_equal(j.done[i], 1);
        assert_false(j.scratch_wrong);
        assert_int_equal(tr_parallel(t, 0, body, &j), TRESS_OK);
    }
    assert_true(tr_thread_count() >= 1);
}

static void first_failure_wins(void **state)
{
    (void)state;
    for (int k = 0; k < 200; k++)
        for (int t = 1; t <= 8; t *= 2) {
            job j = { .bad = { 501, 503 }, .n_thread = t };
            assert_int_equal(tr_parallel(t, 1000, body, &j), TRESS_E_FORMAT);
            assert_string_equal(tr_message(), "item 501");
            for (int i = 0; i <= 501; i++) assert_int_equal(j.done[i], 1);
        }
}

static void sha(void **state)
{
    (void)state;
    tr_sha256 *h = NULL;
    char hex[65];
    assert_int_equal(tr_sha256_new(&h), TRESS_OK);
    assert_int_equal(tr_sha256_add(h, "a", 1), TRESS_OK);
    assert_int_equal(tr_sha256_add(h, "bc", 2), TRESS_OK);
    assert_int_equal(tr_sha256_hex(h, hex), TRESS_OK);
    tr_sha256_free(h);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");     /* FIPS 180-4, "abc" */
    tr_sha256_free(NULL);
}

static void messages(void **state)
{
    (void)state;
    char text[4000];
    assert_int_equal(tr_fail(TRESS_E_SHAPE, "%s is wrong", "a"), TRESS_E_SHAPE);
    assert_int_equal(tr_note(TRESS_OK, "nothing"), TRESS_OK);
    assert_int_equal(tr_note(TRESS_E_SHAPE, "reading %s", "b"), TRESS_E_SHAPE);
    assert_string_equal(tr_message(), "reading b: a is wrong");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(tr_fail(TRESS_E_IO, "%s", text), TRESS_E_IO);              /* cut, never overrun */
    assert_int_equal(tr_note(TRESS_E_IO, "%s", text), TRESS_E_IO);
    assert_true(strlen(tr_message()) < sizeof text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_once), cmocka_unit_test(first_failure_wins), cmocka_unit_test(sha), cmocka_unit_test(messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
