/* The inventory service that keeps the stock of the store's other tills too, asked over HTTP:
 * GET {inventory_url}/products/{id}. One thread at a time uses a `struct remote_stock`.
 *
 * A call is tried up to REMOTE_STOCK_TRIES times, with full jitter between them, as long as its
 * deadline lasts: when there was no answer, or one that says that it may be another next time (408,
 * 429, 5xx). A third of the time may go into a connection, so that a lost packet leaves time for
 * the next try. */
#ifndef TILLBOX_APPLIANCE_REMOTE_STOCK_H
#define TILLBOX_APPLIANCE_REMOTE_STOCK_H

#include <stdint.h>

#include "core/clock.h"
#include "core/random.h"
#include "core/result.h"

enum { REMOTE_STOCK_TRIES = 3, REMOTE_STOCK_ANSWER_MAX = 16 << 10 };

struct remote_stock;

struct remote_stock_options {
    const char *url;
    const char *token;   /* sent as a bearer token; NULL: none */
    const char *ca_file; /* NULL: the system's authorities */
    int64_t timeout_ms;
    const struct clock *clock;
    const struct random_source *random;
};

/* The options' texts must outlive it. */
MUST_CHECK enum result remote_stock_new(const struct remote_stock_options *options,
                                        struct remote_stock **ret_remote);
void remote_stock_free(struct remote_stock *remote);

/* How much there is of a product; below zero where more was sold than there was. `due_ms` is a
 * moment of the monotonic clock. RESULT_NOT_FOUND: the service answers, and doesn't know the
 * product. Anything else: it could not be asked, or its answer makes no sense. */
MUST_CHECK enum result remote_stock_ask(struct remote_stock *remote, int64_t product_id,
                                        int64_t due_ms, int64_t *ret_stock, struct error *error);

#endif
