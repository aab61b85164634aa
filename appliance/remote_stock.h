/* The inventory service over HTTP: GET {inventory_url}/products/{id}.
 *
 * A call is tried up to REMOTE_STOCK_TRIES times, with full jitter between them, as long as its
 * deadline lasts: when there was no answer, or one that says that it may be another next time (408,
 * 429, 5xx). A third of the time may go into a connection, so that a lost packet leaves time for
 * the next try. */
#ifndef TILLBOX_APPLIANCE_REMOTE_STOCK_H
#define TILLBOX_APPLIANCE_REMOTE_STOCK_H

#include <stdint.h>

#include "appliance/inventory_service.h"
#include "core/clock.h"
#include "core/random.h"
#include "core/result.h"

enum { REMOTE_STOCK_TRIES = 3, REMOTE_STOCK_ANSWER_MAX = 16 << 10 };

struct remote_stock_options {
    const char *url;
    const char *token;   /* sent as a bearer token; NULL: none */
    const char *ca_file; /* NULL: the system's authorities */
    int64_t timeout_ms;
    const struct clock *clock;
    const struct random_source *random;
};

/* The options' texts must outlive it. Owned by the caller: ops->free(). */
MUST_CHECK enum result remote_stock_new(const struct remote_stock_options *options,
                                        struct inventory_service *ret_service);

#endif
