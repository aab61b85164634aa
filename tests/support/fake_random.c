#include "tests/support/fake_random.h"

static void fake_fill(void *context, void *ret_bytes, size_t size)
{
    struct fake_random *fake = context;
    uint8_t *next = ret_bytes;
    for (size_t i = 0; i < size; i++)
        next[i] = fake->bytes[fake->drawn++ % fake->size];
}

void fake_random_init(struct fake_random *fake, const void *bytes, size_t size)
{
    *fake = (struct fake_random){.bytes = bytes, .size = size};
    fake->source = (struct random_source){.fill = fake_fill, .context = fake};
}
