#include "core/uuid.h"

#include <string.h>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"
#include "tests/support/unit.h"

enum { NOW_MS = 1000000000 };

static const uint8_t ONES[] = {0xFF};

static struct fake_clock clock_now;
static struct fake_random ones;
static struct uuid_generator generator;

static int set_up(UNUSED void **state)
{
    fake_clock_init(&clock_now, NOW_MS);
    fake_random_init(&ones, ONES, sizeof ONES);
    uuid_generator_init(&generator, &clock_now.clock, &ones.source);
    return 0;
}

static int64_t time_ms_of(const struct uuid *uuid)
{
    int64_t time_ms = 0;
    for (int i = 0; i < 6; i++)
        time_ms = time_ms * 256 + uuid->bytes[i];
    return time_ms;
}

static int counter_of(const struct uuid *uuid)
{
    return (uuid->bytes[6] & 0x0F) * 256 + uuid->bytes[7];
}

static bool is_above(const struct uuid *left, const struct uuid *right)
{
    return memcmp(left->bytes, right->bytes, UUID_SIZE) > 0;
}

/* The next id, which must be above `last` and of version 7. */
static struct uuid next_above(const struct uuid *last)
{
    struct uuid next = uuid_generate(&generator);
    assert_true(is_above(&next, last));
    assert_int_equal(next.bytes[6] >> 4, 7);
    assert_int_equal(next.bytes[8] >> 6, 2);
    return next;
}

static struct uuid parse(const char *text)
{
    struct uuid uuid = {0};
    assert_ok(uuid_parse(text, &uuid));
    return uuid;
}

static void an_id_has_the_time_the_version_and_the_variant(UNUSED void **state)
{
    struct uuid uuid = uuid_generate(&generator);
    char text[UUID_TEXT_SIZE];
    uuid_format(&uuid, text);
    assert_string_equal(text, "00003b9a-ca00-77ff-bfff-ffffffffffff");
    atomic_store(&clock_now.wall_ms, 0x0123456789AB);
    uuid = uuid_generate(&generator);
    assert_int_equal(time_ms_of(&uuid), 0x0123456789AB);
}

static void version_and_variant_stand_whatever_is_drawn(UNUSED void **state)
{
    static const uint8_t PATTERNS[] = {0x00, 0x3C, 0x5A, 0xA5, 0xC3, 0xFF};
    for (size_t i = 0; i < sizeof PATTERNS; i++) {
        fake_random_init(&ones, &PATTERNS[i], 1);
        uuid_generator_init(&generator, &clock_now.clock, &ones.source);
        next_above(&(struct uuid){0});
    }
}

static void what_is_not_time_or_counter_is_drawn_anew_each_time(UNUSED void **state)
{
    static uint8_t drawn[24];
    for (size_t i = 0; i < sizeof drawn; i++)
        drawn[i] = (uint8_t)i;
    fake_random_init(&ones, drawn, sizeof drawn);
    struct uuid uuid = uuid_generate(&generator);
    assert_memory_equal(uuid.bytes + 8, "\x88\x09\x0A\x0B\x0C\x0D\x0E\x0F", 8);
    uuid = uuid_generate(&generator);
    assert_memory_equal(uuid.bytes + 8, "\x90\x11\x12\x13\x14\x15\x16\x17", 8);
}

/* Half of the counter's range at least stays for counting. */
static void the_counter_starts_at_random_in_its_lower_half(UNUSED void **state)
{
    static const uint64_t DRAWS[] = {0x123};
    fake_random_init(&ones, DRAWS, sizeof DRAWS);
    struct uuid uuid = uuid_generate(&generator);
    assert_int_equal(counter_of(&uuid), 0x123);
    static const uint64_t LARGE_DRAWS[] = {0xFFF};
    fake_random_init(&ones, LARGE_DRAWS, sizeof LARGE_DRAWS);
    fake_clock_advance(&clock_now, 1);
    uuid = uuid_generate(&generator);
    assert_int_equal(counter_of(&uuid), 0x7FF);
}

static void ids_of_one_millisecond_count_up(UNUSED void **state)
{
    struct uuid first = uuid_generate(&generator);
    struct uuid second = next_above(&first);
    assert_int_equal(time_ms_of(&second), NOW_MS);
    assert_int_equal(counter_of(&second), counter_of(&first) + 1);
}

/* The counter starts at 0x7FF here, so 0x800 more ids fit into the first millisecond. */
static void when_the_counter_runs_out_the_time_goes_on_by_a_millisecond(UNUSED void **state)
{
    struct uuid last = uuid_generate(&generator);
    for (int i = 0; i < 0x800; i++)
        last = next_above(&last);
    assert_int_equal(counter_of(&last), 0xFFF);
    assert_int_equal(time_ms_of(&last), NOW_MS);
    last = next_above(&last);
    assert_int_equal(time_ms_of(&last), NOW_MS + 1);
    assert_int_equal(counter_of(&last), 0x7FF);
    last = next_above(&last);
    assert_int_equal(time_ms_of(&last), NOW_MS + 1);
}

static void ten_thousand_ids_of_one_millisecond_all_rise(UNUSED void **state)
{
    struct uuid last = {0};
    uuid_generator_init(&generator, &clock_now.clock, &random_system);
    for (int i = 0; i < 10000; i++)
        last = next_above(&last);
}

static void ids_rise_while_the_clock_is_behind(UNUSED void **state)
{
    struct uuid last = uuid_generate(&generator);
    atomic_store(&clock_now.wall_ms, NOW_MS - 3600000);
    for (int i = 0; i < 10000; i++) {
        last = next_above(&last);
        fake_clock_advance(&clock_now, 1);
    }
    assert_in_range(time_ms_of(&last), NOW_MS, NOW_MS + 10);
}

static void once_the_clock_has_caught_up_ids_have_its_time_again(UNUSED void **state)
{
    struct uuid last = uuid_generate(&generator);
    atomic_store(&clock_now.wall_ms, 0);
    last = next_above(&last);
    atomic_store(&clock_now.wall_ms, NOW_MS + 5);
    last = next_above(&last);
    assert_int_equal(time_ms_of(&last), NOW_MS + 5);
}

static void ids_rise_on_a_clock_before_1970(UNUSED void **state)
{
    struct uuid last = {0};
    atomic_store(&clock_now.wall_ms, -5000);
    for (int i = 0; i < 5000; i++)
        last = next_above(&last);
}

static void after_a_resume_ids_go_on_above_the_last_one(UNUSED void **state)
{
    struct uuid last = parse("00003b9a-ca00-7abc-8000-000000000001");
    uuid_generator_resume(&generator, &last);
    struct uuid next = next_above(&last);
    assert_int_equal(time_ms_of(&next), NOW_MS);
    assert_int_equal(counter_of(&next), 0xABD);
}

static void after_a_resume_with_the_clock_behind_ids_still_rise(UNUSED void **state)
{
    struct uuid last = parse("0fff3b9a-caff-7fff-bfff-ffffffffffff");
    uuid_generator_resume(&generator, &last);
    struct uuid next = next_above(&last);
    assert_int_equal(time_ms_of(&next), 0x0fff3b9acaff + 1);
    next_above(&next);
}

static void after_a_resume_with_the_clock_ahead_ids_have_its_time(UNUSED void **state)
{
    struct uuid last = parse("00003b9a-c9ff-7001-8000-000000000000");
    uuid_generator_resume(&generator, &last);
    struct uuid next = next_above(&last);
    assert_int_equal(time_ms_of(&next), NOW_MS);
    assert_int_equal(counter_of(&next), 0x7FF);
}

static void reading_takes_back_what_writing_gave(UNUSED void **state)
{
    static const char TEXT[] = "01234567-89ab-7def-8123-456789abcdef";
    struct uuid uuid = parse(TEXT);
    char text[UUID_TEXT_SIZE];
    assert_memory_equal(
        uuid.bytes, "\x01\x23\x45\x67\x89\xab\x7d\xef\x81\x23\x45\x67\x89\xab\xcd\xef", UUID_SIZE);
    uuid_format(&uuid, text);
    assert_string_equal(text, TEXT);
}

static void reading_takes_either_case(UNUSED void **state)
{
    struct uuid lower = parse("abcdef01-89ab-7def-8123-456789abcdef");
    struct uuid upper = parse("ABCDEF01-89AB-7DEF-8123-456789ABCDEF");
    assert_memory_equal(lower.bytes, upper.bytes, UUID_SIZE);
}

static void reading_refuses_every_other_form(UNUSED void **state)
{
    static const char *const BAD[] = {
        "",
        "0123456789ab7def8123456789abcdef",
        "01234567-89ab-7def-8123-456789abcde",
        "01234567-89ab-7def-8123-456789abcdef0",
        "01234567-89ab-7def-8123-456789abcdeg",
        "g1234567-89ab-7def-8123-456789abcdef",
        "{1234567-89ab-7def-8123-456789abcde}",
        "0123456-789ab-7def-8123-456789abcdef",
        "01234567+89ab-7def-8123-456789abcdef",
        "01234567-89ab-7def-8123+456789abcdef",
        " 1234567-89ab-7def-8123-456789abcdef",
        "0x234567-89ab-7def-8123-456789abcdef",
        "01234567-89ab-7def-8123-456789abcde\xE6",
        "--------------------------------------",
        "@1234567-89ab-7def-8123-456789abcdef",
        "01234567-89ab-7def-8123-456789abcd\x01\x02",
    };
    struct uuid uuid = {.bytes = {1, 2, 3}}, untouched = uuid;
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        if (uuid_parse(BAD[i], &uuid) != RESULT_MALFORMED)
            fail_msg("\"%s\" was taken", BAD[i]);
        assert_memory_equal(&uuid, &untouched, sizeof uuid);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(an_id_has_the_time_the_version_and_the_variant),
        TEST(version_and_variant_stand_whatever_is_drawn),
        TEST(what_is_not_time_or_counter_is_drawn_anew_each_time),
        TEST(the_counter_starts_at_random_in_its_lower_half),
        TEST(ids_of_one_millisecond_count_up),
        TEST(when_the_counter_runs_out_the_time_goes_on_by_a_millisecond),
        TEST(ten_thousand_ids_of_one_millisecond_all_rise),
        TEST(ids_rise_while_the_clock_is_behind),
        TEST(once_the_clock_has_caught_up_ids_have_its_time_again),
        TEST(ids_rise_on_a_clock_before_1970),
        TEST(after_a_resume_ids_go_on_above_the_last_one),
        TEST(after_a_resume_with_the_clock_behind_ids_still_rise),
        TEST(after_a_resume_with_the_clock_ahead_ids_have_its_time),
        TEST(reading_takes_back_what_writing_gave),
        TEST(reading_takes_either_case),
        TEST(reading_refuses_every_other_form),
    };
    return RUN_TESTS(argc, argv, tests);
}
