/* A clock whose hands a test turns. Any thread may read it. */
#ifndef TILLBOX_TESTS_SUPPORT_FAKE_CLOCK_H
#define TILLBOX_TESTS_SUPPORT_FAKE_CLOCK_H

#include <stdatomic.h>

#include "core/clock.h"

struct fake_clock {
    struct clock clock; /* what the code under test is given */
    atomic_int_least64_t wall_ms;
    atomic_int_least64_t monotonic_ms;
};

/* Must stay where it is: the clock points back to it. */
void fake_clock_init(struct fake_clock *fake, int64_t wall_ms);

/* Moves the wall and the monotonic clock; sleeping does the same. */
void fake_clock_advance(struct fake_clock *fake, int64_t duration_ms);

#endif
