#include "core/sha256.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

struct sha256 {
    EVP_MD *algorithm;
    EVP_MD_CTX *state;
};

enum result sha256_new(struct sha256 **ret_hasher)
{
    struct sha256 *hasher = calloc(1, sizeof *hasher);
    if (!hasher)
        return RESULT_NO_MEMORY;
    hasher->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    hasher->state = EVP_MD_CTX_new();
    if (!hasher->algorithm || !hasher->state) {
        sha256_free(hasher);
        return RESULT_NO_MEMORY;
    }
    *ret_hasher = hasher;
    return RESULT_OK;
}

void sha256_free(struct sha256 *hasher)
{
    if (!hasher)
        return;
    EVP_MD_CTX_free(hasher->state);
    EVP_MD_free(hasher->algorithm);
    free(hasher);
}

static void require(int done)
{
    if (done != 1)
        abort();
}

void sha256_begin(struct sha256 *hasher)
{
    require(EVP_DigestInit_ex(hasher->state, hasher->algorithm, NULL));
}

void sha256_add(struct sha256 *hasher, const void *bytes, size_t size)
{
    require(EVP_DigestUpdate(hasher->state, bytes, size));
}

void sha256_end(struct sha256 *hasher, uint8_t ret_digest[static SHA256_SIZE])
{
    require(EVP_DigestFinal_ex(hasher->state, ret_digest, NULL));
}

void sha256_hmac(const char *key, const void *bytes, size_t size,
                 uint8_t ret_digest[static SHA256_SIZE])
{
    unsigned length = 0;
    require(HMAC(EVP_sha256(), key, (int)strlen(key), bytes, size, ret_digest, &length) != NULL);
    require(length == SHA256_SIZE);
}

void sha256_format(const uint8_t digest[static SHA256_SIZE], char ret_text[static SHA256_TEXT_SIZE])
{
    static const char DIGITS[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_SIZE; i++) {
        ret_text[2 * i] = DIGITS[digest[i] >> 4];
        ret_text[2 * i + 1] = DIGITS[digest[i] & 0x0F];
    }
    ret_text[SHA256_TEXT_SIZE - 1] = '\0';
}

bool constant_time_equal(const void *left, const void *right, size_t size)
{
    return CRYPTO_memcmp(left, right, size) == 0;
}

const char *sha256_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
