/* Randomness, injected for the same reason as the clock. */
#ifndef TILLBOX_CORE_RANDOM_H
#define TILLBOX_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_source {
    /* Fills `size` bytes; can't fail. */
    void (*fill)(void *context, void *ret_bytes, size_t size);
    void *context;
};

/* The kernel's generator, getrandom(2). Stops the process should the kernel refuse. */
extern const struct random_source random_system;

void random_fill(const struct random_source *source, void *ret_bytes, size_t size);

/* Uniform in [0, bound), for bound > 0. */
uint64_t random_below(const struct random_source *source, uint64_t bound);

#endif
