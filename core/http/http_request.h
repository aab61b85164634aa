/* What the APIs read of a request in the same way. */
#ifndef TILLBOX_CORE_HTTP_REQUEST_H
#define TILLBOX_CORE_HTTP_REQUEST_H

#include <stdint.h>

#include "core/http/http_server.h"
#include "core/json.h"

enum { HTTP_KEY_MAX = 255 };

/* The body as a JSON object or array; NULL if it can't be had, with the reply filled in. The caller
 * frees it. */
struct json *http_parse_body(struct http_exchange *exchange);

/* Can this be an Idempotency-Key: 1 to HTTP_KEY_MAX visible ASCII characters? */
bool http_key_is_usable(const char *key);

/* A whole number in digits, at most 16 of them, from `minimum` to `maximum`. */
bool http_parse_number(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_number);

#endif
