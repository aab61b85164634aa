/* Randomness that a test has written down. */
#ifndef TILLBOX_TESTS_SUPPORT_FAKE_RANDOM_H
#define TILLBOX_TESTS_SUPPORT_FAKE_RANDOM_H

#include "core/random.h"

struct fake_random {
    struct random_source source; /* what the code under test is given */
    const uint8_t *bytes;
    size_t size;
    size_t drawn; /* bytes handed out so far */
};

/* Hands out `bytes` in turn and then from the start again. They must outlive it, and it must stay
 * where it is: the source points back to it. */
void fake_random_init(struct fake_random *fake, const void *bytes, size_t size);

#endif
