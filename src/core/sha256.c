#include "core/sha256.h"

#include "core/mem.h"

#include <openssl/evp.h>

struct tr_sha256 { EVP_MD_CTX *ctx; };

tress_status tr_sha256_new(tr_sha256 **out)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_sha256 *h = NULL;
    TR_TRY(tr_alloc(&p, sizeof *h));
    h = p;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) TR_TRY(tr_fail(TRESS_E_OOM, "SHA-256 cannot be set up"));
    *out = h;
    h = NULL;
done:
    tr_sha256_free(h);
    return st;
}

tress_status tr_sha256_add(tr_sha256 *h, const void *bytes, size_t n)
{
    if (EVP_DigestUpdate(h->ctx, bytes, n) != 1) return tr_fail(TRESS_E_OOM, "SHA-256 failed");
    return TRESS_OK;
}

tress_status tr_sha256_hex(tr_sha256 *h, char hex[65])
{
    static const char digit[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(h->ctx, sum, &n) != 1 || n != 32) return tr_fail(TRESS_E_OOM, "SHA-256 failed");
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digit[sum[i] >> 4];
        hex[2 * i + 1] = digit[sum[i] & 15];
    }
    hex[64] = 0;
    return TRESS_OK;
}

void tr_sha256_free(tr_sha256 *h)
{
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    tr_free(h);
}

const char *tr_sha256_library(void) { return OpenSSL_version(OPENSSL_VERSION); }
