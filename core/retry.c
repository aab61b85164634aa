#include "core/retry.h"

#include <assert.h>

enum { ATTEMPTS_MAX = 62 }; /* beyond it a shift would overflow; every cap is reached long before */

void retry_init(struct retry *retry, const struct retry_options *options)
{
    assert(options->base_ms >= 1 && options->cap_ms >= options->base_ms);
    *retry = (struct retry){.options = *options};
}

void retry_reset(struct retry *retry)
{
    retry->attempt = 0;
}

int64_t retry_next_ms(struct retry *retry, const struct random_source *random)
{
    int64_t limit_ms = retry->options.cap_ms;
    if (retry->options.base_ms <= retry->options.cap_ms >> retry->attempt)
        limit_ms = retry->options.base_ms << retry->attempt;
    if (retry->attempt < ATTEMPTS_MAX)
        retry->attempt++;
    return (int64_t)random_below(random, (uint64_t)limit_ms + 1);
}
