#include "bridge/consumer/envelope.h"

#include <stdio.h>
#include <string.h>

#include "bridge/inventory/stock_movements.h"
#include "tests/support/unit.h"

enum { BODY_SIZE = 4096, MOVES_SIZE = 256 };

static const struct envelope_properties NONE = {"", "", "", "", NULL};

/* An envelope with this type and data. */
static void write_body(char ret_body[static BODY_SIZE], const char *type, const char *data)
{
    snprintf(ret_body, BODY_SIZE,
             "{\"event_id\":\"0197D0F3-0a46-7c1e-8b5a-3f2d9c64e701\",\"event_type\":\"%s\","
             "\"event_version\":\"v1\",\"device_id\":\"box-1\","
             "\"journal_id\":\"0197d0f2-6a31-7f08-9d44-51b7e0c2a893\",\"location\":\"harbour\","
             "\"sequence\":7,\"occurred_at\":\"2026-01-31T09:05:00.250Z\",\"data\":%s}",
             type, data);
}

static enum result read(const char *type, const char *data, struct envelope *ret_envelope,
                        struct error *reason)
{
    char body[BODY_SIZE];
    write_body(body, type, data);
    return envelope_read(body, strlen(body), &NONE, ret_envelope, reason);
}

static void assert_refused(const char *type, const char *data, const char *reason)
{
    struct envelope envelope;
    struct error error = {0};
    assert_int_equal(read(type, data, &envelope, &error), RESULT_INVALID);
    assert_string_equal(error.text, reason);
}

static void write_move(void *context, int64_t product_id, int64_t change)
{
    char *text = context;
    size_t size = strlen(text);
    snprintf(text + size, MOVES_SIZE - size, "%lld:%lld ", (long long)product_id,
             (long long)change);
}

static void assert_moves(const char *type, const char *data, const char *moves)
{
    struct envelope envelope;
    struct error error = {0};
    char text[MOVES_SIZE] = "";
    assert_ok(read(type, data, &envelope, &error));
    stock_movements_each(&envelope, write_move, text);
    assert_string_equal(text, moves);
    envelope_done(&envelope);
}

#define ORDER(status, items) \
    "{\"order_id\":3,\"user_id\":1,\"status\":\"" status "\",\"items\":[" items "],\"total\":9}"
#define LINE(product, quantity) \
    "{\"product_id\":" product ",\"quantity\":" quantity ",\"unit_price\":3}"
#define PRODUCT \
    "{\"product_id\":5,\"product_name\":\"tea\",\"stock\":40,\"price\":250,\"sku\":null}"

static void an_order_is_read_whole(UNUSED void **state)
{
    struct envelope envelope;
    struct error error = {0};
    assert_ok(read("order.created", ORDER("created", LINE("4", "2")), &envelope, &error));
    assert_int_equal(envelope.kind, ENVELOPE_ORDER_CREATED);
    assert_string_equal(envelope.event_id, "0197d0f3-0a46-7c1e-8b5a-3f2d9c64e701");
    assert_string_equal(envelope.device_id, "box-1");
    assert_int_equal(envelope.sequence, 7);
    assert_int_equal(envelope.occurred_at_ms, 1769850300250);
    assert_int_equal(envelope.order_id, 3);
    assert_int_equal(envelope.total_minor, 9);
    assert_int_equal(envelope.line_count, 1);
    assert_int_equal(envelope.lines[0].quantity, 2);
    envelope_done(&envelope);
}

static void the_reason_names_the_first_wrong_field(UNUSED void **state)
{
    assert_refused("order.paid", "{}", "event_type \"order.paid\" is not known");
    assert_refused("order.created", "[]", "data must be an object, is an array");
    assert_refused("order.created", ORDER("cancelled", LINE("4", "2")),
                   "data.status must be \"created\"");
    assert_refused("order.created", ORDER("created", LINE("4", "2") "," LINE("4", "0")),
                   "data.items[1].quantity must be an integer from 1 to 1000000");
    assert_refused("stock.adjusted", "{\"product_id\":5,\"delta\":0,\"reason\":\"x\",\"stock\":1}",
                   "data.delta must not be 0");
}

static void a_long_reason_is_cut_to_what_a_header_holds(UNUSED void **state)
{
    struct envelope envelope;
    struct error error = {0};
    char type[64];
    memset(type, 'x', sizeof type - 1);
    type[sizeof type - 1] = '\0';
    assert_int_equal(read(type, "{}", &envelope, &error), RESULT_INVALID);
    assert_true(strlen(error.text) < ENVELOPE_REASON_SIZE);
}

static void properties_must_agree_with_the_body(UNUSED void **state)
{
    static const struct {
        struct envelope_properties properties;
        const char *reason; /* NULL: none */
    } CASES[] = {
        {{"0197d0f3-0a46-7c1e-8b5a-3f2d9c64e701", "product.created", "box-1", "", NULL}, NULL},
        {{"0197d0f3-0a46-7c1e-8b5a-3f2d9c64e702", "", "", "", NULL},
         "message_id is not the body's event_id"},
        {{"", "product.updated", "", "", NULL}, "type is not the body's event_type"},
        {{"", "", "box-2", "", NULL}, "app_id is not the body's device_id"},
        {{"", "", "", "anybody", NULL}, NULL},
        {{"", "", "", "till-box-1", "till-"}, NULL},
        {{"", "", "", "", "till-"}, "user_id is required, as \"till-box-1\""},
        {{"", "", "", "till-box-2", "till-"},
         "user_id is \"till-box-2\", who may not send for \"box-1\""},
        {{"", "", "", "box-1", "till-"}, "user_id is \"box-1\", who may not send for \"box-1\""},
        {{"", "", "", "till-", "till-"}, "user_id is \"till-\", who may not send for \"box-1\""},
        {{"", "", "", "Till-box-1", "till-"},
         "user_id is \"Till-box-1\", who may not send for \"box-1\""},
        {{"", "", "", "till-box-11", "till-"},
         "user_id is \"till-box-11\", who may not send for \"box-1\""},
    };
    char body[BODY_SIZE];
    write_body(body, "product.created", PRODUCT);
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        struct envelope envelope;
        struct error error = {0};
        enum result result =
            envelope_read(body, strlen(body), &CASES[i].properties, &envelope, &error);
        assert_int_equal(result, CASES[i].reason ? RESULT_INVALID : RESULT_OK);
        assert_string_equal(error.text, CASES[i].reason ? CASES[i].reason : "");
        if (result == RESULT_OK)
            envelope_done(&envelope);
    }
}

static void an_event_moves_each_of_its_products_once(UNUSED void **state)
{
    assert_moves("order.created",
                 ORDER("created", LINE("4", "2") "," LINE("6", "1") "," LINE("4", "3")),
                 "4:-5 6:-1 ");
    assert_moves("order.cancelled", ORDER("cancelled", LINE("4", "2")), "4:2 ");
    assert_moves("product.created", PRODUCT, "5:40 ");
    assert_moves("product.updated", PRODUCT, "5:0 ");
    assert_moves("stock.adjusted", "{\"product_id\":5,\"delta\":-3,\"reason\":\"x\",\"stock\":1}",
                 "5:-3 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_read_whole),
        cmocka_unit_test(the_reason_names_the_first_wrong_field),
        cmocka_unit_test(a_long_reason_is_cut_to_what_a_header_holds),
        cmocka_unit_test(properties_must_agree_with_the_body),
        cmocka_unit_test(an_event_moves_each_of_its_products_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
