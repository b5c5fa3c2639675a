/* status.h - how functions fail. The finder of a fault writes the message with tr_fail; each floor may add a clause
 * with tr_note. The message belongs to the thread; tress_last_error() reads it. */
#ifndef TRESS_CORE_STATUS_H
#define TRESS_CORE_STATUS_H

#include "tress.h"

#include <inttypes.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_CHECKED TRESS_CHECKED
#ifdef __GNUC__
#define TR_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define TR_PRINTF(a, b)
#endif

/* Record a message, replacing any earlier one, and return st. */
tress_status tr_fail(tress_status st, const char *format, ...) TR_PRINTF(2, 3);
tress_status tr_fail_list(tress_status st, const char *format, va_list ap);
/* As tr_fail(TRESS_E_IO, ...), with ": " and the words for this errno behind the message. tr_disk_full knows it then. */
tress_status tr_fail_io(int error, const char *format, ...) TR_PRINTF(2, 3);
/* The thread's last failure came from a full disk or an exhausted quota: room can be made, and the same call tried again. */
bool         tr_disk_full(void);
/* Put "clause: " in front of the message and return st. Harmless on TRESS_OK: then nothing happens. */
tress_status tr_note(tress_status st, const char *format, ...) TR_PRINTF(2, 3);
const char  *tr_message(void);

/* On failure: st = it; goto done. The function has `tress_status st = TRESS_OK` and a label `done`. */
#define TR_TRY(call)                  \
    do {                              \
        st = (call);                  \
        if (st != TRESS_OK) goto done;\
    } while (0)

/* For what only our own bug can cause. On in release too, except in inner loops. */
#ifdef __cplusplus
[[noreturn]] void tr_assert_failed(const char *what, const char *file, int line);
#else
_Noreturn void tr_assert_failed(const char *what, const char *file, int line);
#endif
#define TR_ASSERT(x) ((x) ? (void)0 : tr_assert_failed(#x, __FILE__, __LINE__))

#ifdef __cplusplus
}
#endif
#endif
