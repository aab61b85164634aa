/* UUID version 7 (RFC 9562, section 5.7): time-ordered ids.
 *
 * A generator's ids only ever rise, also within a millisecond and when the wall clock steps back:
 * the 12 bits after the time are a counter that starts at random (section 6.2, method 1); when they
 * run out, or the clock is behind, the time field goes on from the last id. Not thread-safe. */
#ifndef TILLBOX_CORE_UUID_H
#define TILLBOX_CORE_UUID_H

#include <stdint.h>

#include "core/clock.h"
#include "core/random.h"
#include "core/result.h"

enum { UUID_SIZE = 16, UUID_TEXT_SIZE = 37 };

struct uuid {
    uint8_t bytes[UUID_SIZE];
};

struct uuid_generator {
    const struct clock *clock;
    const struct random_source *random;
    int64_t last_ms;
    unsigned counter;
};

/* The clock and the source must outlive the generator. */
void uuid_generator_init(struct uuid_generator *generator, const struct clock *clock,
                         const struct random_source *random);

/* Every later id will be above `last`, an id of version 7 from an earlier run. */
void uuid_generator_resume(struct uuid_generator *generator, const struct uuid *last);

struct uuid uuid_generate(struct uuid_generator *generator);

/* Lower case, 8-4-4-4-12, with its NUL. */
void uuid_format(const struct uuid *uuid, char ret_text[static UUID_TEXT_SIZE]);

/* Takes exactly the form that uuid_format writes, in either case; else RESULT_MALFORMED. */
MUST_CHECK enum result uuid_parse(const char *text, struct uuid *ret_uuid);

#endif
