#include "core/random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static void system_fill(void *context, void *ret_bytes, size_t size)
{
    (void)context;
    uint8_t *next = ret_bytes;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        next += got;
        size -= (size_t)got;
    }
}

const struct random_source random_system = {.fill = system_fill};

void random_fill(const struct random_source *source, void *ret_bytes, size_t size)
{
    source->fill(source->context, ret_bytes, size);
}

uint64_t random_below(const struct random_source *source, uint64_t bound)
{
    assert(bound > 0);
    /* Values below 2^64 mod bound would make small results likelier: draw again. */
    uint64_t unfair = (0 - bound) % bound;
    uint64_t value;
    do
        random_fill(source, &value, sizeof value);
    while (value < unfair);
    return value % bound;
}
