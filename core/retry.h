/* When to try again: exponential backoff with full jitter.
 *
 * The n-th wait (from 0) is uniform in [0, min(cap, base × 2^n)]: "full jitter", which spreads
 * clients that failed together better than any fixed schedule (Marc Brooker, "Exponential Backoff
 * and Jitter", AWS Architecture Blog, 2015). Pure: the caller passes the randomness and does the
 * waiting. */
#ifndef TILLBOX_CORE_RETRY_H
#define TILLBOX_CORE_RETRY_H

#include <stdint.h>

#include "core/random.h"

struct retry_options {
    int64_t base_ms; /* ≥ 1 */
    int64_t cap_ms;  /* ≥ base_ms */
};

struct retry {
    struct retry_options options;
    int attempt; /* waits given out since the last reset */
};

void retry_init(struct retry *retry, const struct retry_options *options);

/* After a success. */
void retry_reset(struct retry *retry);

/* How long to wait before the next try. */
int64_t retry_next_ms(struct retry *retry, const struct random_source *random);

#endif
