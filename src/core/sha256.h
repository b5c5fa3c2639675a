/* sha256.h - SHA-256 (FIPS 180-4) by libcrypto, which uses the CPU's own instructions. */
#ifndef TRESS_CORE_SHA256_H
#define TRESS_CORE_SHA256_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_sha256 tr_sha256;
TR_CHECKED tress_status tr_sha256_new(tr_sha256 **out);
TR_CHECKED tress_status tr_sha256_add(tr_sha256 *h, const void *bytes, size_t n);
/* Ends the sum. hex holds 64 lower-case digits and a NUL. */
TR_CHECKED tress_status tr_sha256_hex(tr_sha256 *h, char hex[65]);
void tr_sha256_free(tr_sha256 *h);
const char *tr_sha256_library(void);            /* "OpenSSL 3.0.15 3 Sep 2024" */

#ifdef __cplusplus
}
#endif
#endif
