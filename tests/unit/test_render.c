#include "tests/support/unit.h"

#include "appliance/render.h"

#include <string.h>

enum { TEXT_MAX = 4096 };

struct page {
    struct buf buf;
    struct json_writer writer;
};

static int set_up(void **state)
{
    static struct page page;
    buf_init(&page.buf, TEXT_MAX);
    json_writer_init(&page.writer, &page.buf);
    *state = &page;
    return 0;
}

static int tear_down(void **state)
{
    struct page *page = *state;
    buf_done(&page->buf);
    return 0;
}

static void assert_page(const struct page *page, const char *expected)
{
    assert_ok(buf_result(&page->buf));
    assert_string_equal(buf_text(&page->buf), expected);
}

static struct order_line LINES[] = {{1, 2, 999}, {9007199254740991, 1000000, 0}};

static struct order order_of(size_t line_count)
{
    return (struct order){.order_id = 41,
                          .user_id = 5,
                          .total_minor = 1998,
                          .created_at_ms = 1769850300250,
                          .lines = LINES,
                          .line_count = line_count};
}

static void items_are_an_array_of_lines_in_order(void **state)
{
    struct page *page = *state;
    const struct order order = order_of(2);
    render_order_items(&page->writer, NULL, &order);
    assert_page(page, "[{\"product_id\":1,\"quantity\":2,\"unit_price\":999},"
                      "{\"product_id\":9007199254740991,\"quantity\":1000000,\"unit_price\":0}]");
}

static void items_that_were_written_can_be_read_back(void **state)
{
    struct page *page = *state;
    struct order read;
    for (size_t count = 0; count <= ARRAY_LENGTH(LINES); count++) {
        const struct order order = order_of(count);
        buf_clear(&page->buf);
        json_writer_init(&page->writer, &page->buf);
        render_order_items(&page->writer, NULL, &order);
        assert_ok(render_parse_items(page->buf.bytes, page->buf.size, &read));
        assert_int_equal(read.line_count, count);
        assert_memory_equal(read.lines, LINES, count * sizeof LINES[0]);
        order_done(&read);
    }
}

static void assert_unreadable(const char *items)
{
    struct order order;
    enum result result = render_parse_items(items, strlen(items), &order);
    if (result == RESULT_OK)
        order_done(&order);
    if (result != RESULT_CORRUPT)
        print_error("%s: %s\n", items, result_text(result));
    assert_int_equal(result, RESULT_CORRUPT);
}

static void items_with_a_damaged_line_are_corrupt(UNUSED void **state)
{
    assert_unreadable("");
    assert_unreadable("[{\"product_id\":1,\"quantity\":2,\"unit_price\":999}");
    assert_unreadable("[1]");
    assert_unreadable("[null]");
    assert_unreadable("[[1,2,999]]");
    assert_unreadable("[{}]");
    assert_unreadable("[{\"quantity\":2,\"unit_price\":999}]");
    assert_unreadable("[{\"product_id\":1,\"unit_price\":999}]");
    assert_unreadable("[{\"product_id\":1,\"quantity\":2}]");
    assert_unreadable("[{\"product_id\":\"1\",\"quantity\":2,\"unit_price\":999}]");
    assert_unreadable("[{\"product_id\":1,\"quantity\":2.5,\"unit_price\":999}]");
    assert_unreadable("[{\"product_id\":1,\"quantity\":2,\"unit_price\":9007199254740992}]");
    assert_unreadable("[{\"product_id\":1,\"quantity\":2,\"unit_price\":999},{}]");
}

static void items_that_are_no_array_are_corrupt(UNUSED void **state)
{
    assert_unreadable("{\"a\":{\"product_id\":1,\"quantity\":2,\"unit_price\":999}}");
    assert_unreadable("{}");
    assert_unreadable("null");
    assert_unreadable("7");
    assert_unreadable("\"\"");
}

static void reading_what_is_corrupt_leaves_the_order_as_it_was(UNUSED void **state)
{
    const struct order before = order_of(2);
    struct order order = before;
    assert_int_equal(render_parse_items("[", 1, &order), RESULT_CORRUPT);
    assert_memory_equal(&order, &before, sizeof order);
    assert_int_equal(render_parse_items("[{}]", 4, &order), RESULT_CORRUPT);
    assert_memory_equal(&order, &before, sizeof order);
}

static void an_order_of_one_line_also_has_its_product_and_quantity(void **state)
{
    struct page *page = *state;
    const struct order order = order_of(1);
    render_order(&page->writer, NULL, &order);
    assert_page(page,
                "{\"id\":41,\"user_id\":5,\"product_id\":1,\"quantity\":2,\"status\":\"created\","
                "\"items\":[{\"product_id\":1,\"quantity\":2,\"unit_price\":999}],\"total\":1998,"
                "\"created_at\":\"2026-01-31T09:05:00.250Z\"}");
}

static void an_order_of_several_lines_has_only_its_items(void **state)
{
    struct page *page = *state;
    const struct order order = order_of(2);
    render_order(&page->writer, NULL, &order);
    assert_page(page, "{\"id\":41,\"user_id\":5,\"status\":\"created\",\"items\":["
                      "{\"product_id\":1,\"quantity\":2,\"unit_price\":999},"
                      "{\"product_id\":9007199254740991,\"quantity\":1000000,\"unit_price\":0}],"
                      "\"total\":1998,\"created_at\":\"2026-01-31T09:05:00.250Z\"}");
}

static void a_cancelled_order_tells_when(void **state)
{
    struct page *page = *state;
    struct order order = order_of(1);
    order.status = ORDER_CANCELLED;
    order.cancelled_at_ms = order.created_at_ms + 1500;
    render_order(&page->writer, NULL, &order);
    assert_contains(buf_text(&page->buf), "\"status\":\"cancelled\"");
    assert_contains(buf_text(&page->buf), "\"created_at\":\"2026-01-31T09:05:00.250Z\","
                                          "\"cancelled_at\":\"2026-01-31T09:05:01.750Z\"}");
}

static const struct product PRODUCT = {.product_id = 3,
                                       .stock = 50,
                                       .price_minor = 99900,
                                       .updated_at_ms = 1769850300250,
                                       .name = "Tür \"gross\"",
                                       .sku = "T-1"};

static void a_product_has_all_its_members(void **state)
{
    struct page *page = *state;
    render_product(&page->writer, NULL, &PRODUCT);
    assert_page(page, "{\"product_id\":3,\"product_name\":\"Tür \\\"gross\\\"\",\"stock\":50,"
                      "\"price\":99900,\"sku\":\"T-1\","
                      "\"updated_at\":\"2026-01-31T09:05:00.250Z\"}");
}

static void a_product_without_a_sku_says_null(void **state)
{
    struct page *page = *state;
    struct product product = PRODUCT;
    product.sku[0] = '\0';
    render_product(&page->writer, NULL, &product);
    assert_contains(buf_text(&page->buf), "\"sku\":null,");
}

static void values_take_a_name_inside_another_object(void **state)
{
    struct page *page = *state;
    const struct order order = order_of(0);
    json_begin_object(&page->writer, NULL);
    render_product_members(&page->writer, &PRODUCT);
    render_order_items(&page->writer, "items", &order);
    json_put_time(&page->writer, "at", 0);
    json_end_object(&page->writer);
    assert_page(page, "{\"product_id\":3,\"product_name\":\"Tür \\\"gross\\\"\",\"stock\":50,"
                      "\"price\":99900,\"sku\":\"T-1\",\"items\":[],"
                      "\"at\":\"1970-01-01T00:00:00.000Z\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(items_are_an_array_of_lines_in_order),
        TEST(items_that_were_written_can_be_read_back),
        TEST(items_with_a_damaged_line_are_corrupt),
        TEST(items_that_are_no_array_are_corrupt),
        TEST(reading_what_is_corrupt_leaves_the_order_as_it_was),
        TEST(an_order_of_one_line_also_has_its_product_and_quantity),
        TEST(an_order_of_several_lines_has_only_its_items),
        TEST(a_cancelled_order_tells_when),
        TEST(a_product_has_all_its_members),
        TEST(a_product_without_a_sku_says_null),
        TEST(values_take_a_name_inside_another_object),
    };
    return RUN_TESTS(argc, argv, tests);
}
