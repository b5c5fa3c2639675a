/* mem.h - counted memory. Every allocation of the library goes through here, so tests can fail the nth one,
 * count them, and read the peak. */
#ifndef TRESS_CORE_MEM_H
#define TRESS_CORE_MEM_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out is new, 64-byte aligned, zeroed; tr_free. n = 0 gives a valid pointer. Fails: OOM. */
TR_CHECKED tress_status tr_alloc(void **out, size_t n);
/* As tr_alloc, not zeroed. */
TR_CHECKED tress_status tr_alloc_raw(void **out, size_t n);
/* An array of n items of `size` bytes each, overflow-checked, zeroed. */
TR_CHECKED tress_status tr_alloc_array(void **out, int64_t n, size_t size);
/* Grow *p from n_old to n_new bytes, keeping the contents; the new part is zeroed. On failure *p is as it was. */
TR_CHECKED tress_status tr_realloc(void **p, size_t n_old, size_t n_new);
TR_CHECKED tress_status tr_strdup(char **out, const char *s);
void tr_free(void *p);                          /* NULL is welcome */

typedef struct tr_mem_stats { int64_t n_alloc, bytes, peak_bytes; } tr_mem_stats;
tr_mem_stats tr_mem_now(void);                  /* of the whole process, since its start */
void tr_mem_reset_peak(void);
int64_t tr_mem_machine(void);                   /* bytes of memory that the machine has; 0: unknown */
/* For tests: the nth allocation from now on (1: the next) and every one after it fails. n <= 0 ends that. */
void tr_mem_fail_at(int64_t n);

/* n * size into *out; TRESS_E_OOM with a message on overflow or a negative factor. */
TR_CHECKED tress_status tr_mul_bytes(size_t *out, int64_t n, size_t size);

/* A text that grows. Zero-initialise; tr_str_fini. Never holds more than `max` bytes (0: 64 MiB). */
typedef struct tr_str { char *s; size_t len, cap, max; } tr_str;
TR_CHECKED tress_status tr_str_add(tr_str *b, const char *bytes, size_t n);
TR_CHECKED tress_status tr_str_printf(tr_str *b, const char *format, ...) TR_PRINTF(2, 3);
void tr_str_fini(tr_str *b);

#ifdef __cplusplus
}
#endif
#endif
