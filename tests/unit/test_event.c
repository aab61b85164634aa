#include "core/journal/event.h"

#include <string.h>

#include "tests/support/unit.h"

static struct buf buf;
static struct json_writer writer;

static const struct event EVENT = {
    .event_id = "018f0000-0000-7000-8000-000000000001",
    .event_type = EVENT_ORDER_CREATED,
    .device_id = "till-1",
    .journal_id = "018f0000-0000-7000-8000-000000000000",
    .location = "shop \"north\"",
    .sequence = 7,
    .occurred_at_ms = 1769850300250,
};

static int set_up(UNUSED void **state)
{
    buf_init(&buf, 10000);
    json_writer_init(&writer, &buf);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    buf_done(&buf);
    return 0;
}

static void the_envelope_has_its_members_in_their_order(UNUSED void **state)
{
    event_begin(&writer, &EVENT);
    json_put_int(&writer, "order_id", 3);
    json_put_text(&writer, "status", "created");
    event_end(&writer);
    assert_ok(buf_result(&buf));
    assert_string_equal(buf_text(&buf), "{\"event_id\":\"018f0000-0000-7000-8000-000000000001\","
                                        "\"event_type\":\"order.created\",\"event_version\":\"v1\","
                                        "\"device_id\":\"till-1\","
                                        "\"journal_id\":\"018f0000-0000-7000-8000-000000000000\","
                                        "\"location\":\"shop \\\"north\\\"\",\"sequence\":7,"
                                        "\"occurred_at\":\"2026-01-31T09:05:00.250Z\","
                                        "\"data\":{\"order_id\":3,\"status\":\"created\"}}");
}

static void the_envelope_may_carry_nothing(UNUSED void **state)
{
    event_begin(&writer, &EVENT);
    event_end(&writer);
    assert_contains(buf_text(&buf), "\"occurred_at\":\"2026-01-31T09:05:00.250Z\",\"data\":{}}");
    assert_ok(json_check_syntax(buf_text(&buf), buf.size, NULL));
}

static void the_names_are_those_that_head_office_knows(UNUSED void **state)
{
    assert_string_equal(EVENT_VERSION, "v1");
    assert_string_equal(EVENT_ORDER_CREATED, "order.created");
    assert_string_equal(EVENT_ORDER_CANCELLED, "order.cancelled");
    assert_string_equal(EVENT_PRODUCT_CREATED, "product.created");
    assert_string_equal(EVENT_PRODUCT_UPDATED, "product.updated");
    assert_string_equal(EVENT_STOCK_ADJUSTED, "stock.adjusted");
}

/* The expected bytes come from another implementation. */
static void a_link_is_the_hash_of_the_hash_before_and_the_payload(UNUSED void **state)
{
    static const uint8_t AFTER_FIRST[] = {0xdd, 0x41, 0xfe, 0xe2, 0x3a, 0xf8, 0x90, 0xd8,
                                          0x55, 0x52, 0xcd, 0xb2, 0xa3, 0xdb, 0xff, 0xc3,
                                          0x2b, 0x81, 0x01, 0xc8, 0x55, 0x9a, 0xed, 0xfb,
                                          0x16, 0x68, 0x0a, 0x8a, 0x74, 0xad, 0x22, 0x8e};
    static const uint8_t AFTER_SECOND[] = {0x8b, 0xfd, 0x15, 0x71, 0x05, 0x71, 0x36, 0xb2,
                                           0xce, 0x7a, 0x7e, 0xd0, 0xb4, 0xec, 0x99, 0xec,
                                           0x28, 0x49, 0x3d, 0xda, 0xba, 0x3c, 0x2c, 0x08,
                                           0x19, 0xae, 0x78, 0x93, 0x96, 0x46, 0x45, 0xc6};
    struct sha256 *hasher = NULL;
    uint8_t hash[SHA256_SIZE] = {0};
    assert_ok(sha256_new(&hasher));
    event_chain(hasher, hash, "{\"sequence\":1}", 14);
    assert_memory_equal(hash, AFTER_FIRST, SHA256_SIZE);
    event_chain(hasher, hash, "{\"sequence\":2}", 14);
    assert_memory_equal(hash, AFTER_SECOND, SHA256_SIZE);
    sha256_free(hasher);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_envelope_has_its_members_in_their_order),
        TEST(the_envelope_may_carry_nothing),
        TEST(the_names_are_those_that_head_office_knows),
        TEST(a_link_is_the_hash_of_the_hash_before_and_the_payload),
    };
    return RUN_TESTS(argc, argv, tests);
}
