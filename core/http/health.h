/* Asks a program of this machine whether it is well: a container's health check, without a shell or
 * another tool in the image. */
#ifndef TILLBOX_CORE_HEALTH_H
#define TILLBOX_CORE_HEALTH_H

#include "core/config/config.h"

enum { HEALTH_TIMEOUT_MS = 3000, HEALTH_ANSWER_MAX = 64 << 10 };

/* Gets /healthz from the server that listens on `address` (on "any address": over loopback), prints
 * what it answers, and on stderr why that isn't good.
 * RESULT_OK: it is well; RESULT_INVALID: it says that it is not; otherwise as http_client_call().
 */
MUST_CHECK enum result health_print(const struct listen_address *address);

#endif
