/* SHA-256 (FIPS 180-4), by libcrypto. Not thread-safe: one hasher per thread. */
#ifndef TILLBOX_CORE_SHA256_H
#define TILLBOX_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

enum { SHA256_SIZE = 32, SHA256_TEXT_SIZE = 65 };

struct sha256;

MUST_CHECK enum result sha256_new(struct sha256 **ret_hasher);
void sha256_free(struct sha256 *hasher);

/* One message: begin, add any number of times, end. Stops the process should libcrypto refuse,
 * which it has no reason to: a wrong hash must never reach the journal. */
void sha256_begin(struct sha256 *hasher);
void sha256_add(struct sha256 *hasher, const void *bytes, size_t size);
void sha256_end(struct sha256 *hasher, uint8_t ret_digest[static SHA256_SIZE]);

/* HMAC-SHA-256 (RFC 2104) of the bytes under `key`. */
void sha256_hmac(const char *key, const void *bytes, size_t size,
                 uint8_t ret_digest[static SHA256_SIZE]);

/* Lower-case hexadecimal digits, with the NUL. */
void sha256_format(const uint8_t digest[static SHA256_SIZE],
                   char ret_text[static SHA256_TEXT_SIZE]);

/* Compares without telling by its duration where the first difference is. */
bool constant_time_equal(const void *left, const void *right, size_t size);

/* The version of libcrypto in use, "3.0.20". */
const char *sha256_library_version(void);

#endif
