#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char message[4096];
static tress_status status;

tress_status cli_fail(tress_status st, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    return status = st;
}

const char *cli_message(void) { return message; }
tress_status cli_status(void) { return status; }

void cli_line(const char *prefix, const char *text)
{
    cli_progress_clear();
    fputs(prefix, stderr);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) fputc(*c < 0x20 || *c == 0x7f ? ' ' : *c, stderr);
    fputc('\n', stderr);
}

void cli_note(const char *format, ...)
{
    char text[4096];
    va_list ap;
    if (cli_is_quiet()) return;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    cli_line("note: ", text);
}

/* Everything lives until the end of the run: a command line is short. */
typedef struct kept { struct kept *next; max_align_t bytes[]; } kept;
static kept *list;

void *cli_alloc(size_t n)
{
    kept *k = n < SIZE_MAX - sizeof *k ? calloc(1, sizeof *k + n) : NULL;
    if (!k) {
        fputs("tress: out of memory\n", stderr);
        exit(tress_exit_code(TRESS_E_OOM));
    }
    k->next = list;
    list = k;
    return k->bytes;
}

char *cli_copy(const char *s, size_t n)
{
    char *p = cli_alloc(n + 1);
    memcpy(p, s, n);
    return p;
}

char *cli_format(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *p = cli_alloc(n < 0 ? 1 : (size_t)n + 1);
    va_start(ap, format);
    if (n >= 0) vsnprintf(p, (size_t)n + 1, format, ap);
    va_end(ap);
    return p;
}

void cli_free_all(void)
{
    while (list) {
        kept *k = list;
        list = k->next;
        free(k);
    }
}
