#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 2048
static _Thread_local char message[MESSAGE_MAX];      /* the one writable global: STYLE, rooms */

tress_status tr_fail(tress_status st, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    return st;
}

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
