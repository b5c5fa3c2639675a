#include "core/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 2048
/* The thread's last failure: the one writable global of the library beside counters. */
static _Thread_local char message[MESSAGE_MAX];
static _Thread_local int message_errno;              /* 0: no system call was to blame */

tress_status tr_fail_list(tress_status st, const char *format, va_list ap)
{
    vsnprintf(message, sizeof message, format, ap);
    message_errno = 0;
    return st;
}

tress_status tr_fail(tress_status st, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    tr_fail_list(st, format, ap);
    va_end(ap);
    return st;
}

tress_status tr_fail_io(int error, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof message) snprintf(message + n, sizeof message - (size_t)n, ": %s", strerror(error));
    message_errno = error;
    return TRESS_E_IO;
}

bool tr_disk_full(void) { return message_errno == ENOSPC || message_errno == EDQUOT; }

tress_status tr_note(tress_status st, const char *format, ...)
{
    if (st == TRESS_OK) return st;
    char old[MESSAGE_MAX];
    memcpy(old, message, sizeof old);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof message) snprintf(message + n, sizeof message - (size_t)n, ": %s", old);
    return st;
}

const char *tr_message(void) { return message; }

void tr_assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "tress: a bug in tress: %s does not hold at %s:%d\n", what, file, line);
    abort();
}
