/* Who the broker must prove to be: OpenSSL's own check of its certificate, for the TLS context that
 * rabbitmq-c makes. rabbitmq-c 0.11 has no check of an IP address, and doesn't tell what is wrong
 * with a certificate. */
#ifndef TILLBOX_BRIDGE_BROKER_TLS_H
#define TILLBOX_BRIDGE_BROKER_TLS_H

#include "core/result.h"

/* Prepares `context` (an SSL_CTX): TLS 1.2 or later, a certificate that leads to `ca_file` (NULL:
 * to one of the system's) and is issued for `host`, a name or an IP address. What is found wrong
 * during the handshake is written to `error`, which must live as long as the context.
 * RESULT_INVALID with `error` if the settings can't be used. */
MUST_CHECK enum result broker_tls_prepare(void *context, const char *host, const char *ca_file,
                                          struct error *error);

#endif
