#include "core/uuid.h"

#include <string.h>

enum { COUNTER_MAX = 0xFFF, COUNTER_START_BOUND = 0x800, TIME_BYTES = 6 };

static const char HEX[] = "0123456789abcdef";

void uuid_generator_init(struct uuid_generator *generator, const struct clock *clock,
                         const struct random_source *random)
{
    *generator = (struct uuid_generator){.clock = clock, .random = random};
}

void uuid_generator_resume(struct uuid_generator *generator, const struct uuid *last)
{
    int64_t ms = 0;
    for (int i = 0; i < TIME_BYTES; i++)
        ms = ms << 8 | last->bytes[i];
    generator->last_ms = ms;
    generator->counter = (unsigned)(last->bytes[6] & 0x0F) << 8 | last->bytes[7];
}

static void advance(struct uuid_generator *generator)
{
    int64_t now_ms = clock_wall_ms(generator->clock);
    if (now_ms <= generator->last_ms && generator->counter < COUNTER_MAX) {
        generator->counter++;
        return;
    }
    generator->last_ms = now_ms > generator->last_ms ? now_ms : generator->last_ms + 1;
    generator->counter = (unsigned)random_below(generator->random, COUNTER_START_BOUND);
}

struct uuid uuid_generate(struct uuid_generator *generator)
{
    struct uuid uuid;
    advance(generator);
    for (int i = 0; i < TIME_BYTES; i++)
        uuid.bytes[i] = (uint8_t)(generator->last_ms >> (8 * (TIME_BYTES - 1 - i)));
    uuid.bytes[6] = (uint8_t)(0x70 | generator->counter >> 8);
    uuid.bytes[7] = (uint8_t)generator->counter;
    random_fill(generator->random, uuid.bytes + 8, UUID_SIZE - 8);
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    return uuid;
}

static bool has_dash_before(int byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *uuid, char ret_text[static UUID_TEXT_SIZE])
{
    char *at = ret_text;
    for (int i = 0; i < UUID_SIZE; i++) {
        if (has_dash_before(i))
            *at++ = '-';
        *at++ = HEX[uuid->bytes[i] >> 4];
        *at++ = HEX[uuid->bytes[i] & 0x0F];
    }
    *at = '\0';
}

static int uuid_hex_value(char digit)
{
    const char *found =
        digit ? strchr(HEX, digit >= 'A' && digit <= 'F' ? digit | 0x20 : digit) : NULL;
    return found ? (int)(found - HEX) : -1;
}

enum result uuid_parse(const char *text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    if (strnlen(text, UUID_TEXT_SIZE) != UUID_TEXT_SIZE - 1)
        return RESULT_MALFORMED;
    for (int i = 0; i < UUID_SIZE; i++) {
        if (has_dash_before(i) && *text++ != '-')
            return RESULT_MALFORMED;
        int high = uuid_hex_value(text[0]), low = uuid_hex_value(text[1]);
        if (high < 0 || low < 0)
            return RESULT_MALFORMED;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    *ret_uuid = uuid;
    return RESULT_OK;
}
