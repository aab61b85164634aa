#include "tests/support/unit.h"

#include "appliance/journal.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/appliance_fixture.h"

enum { BODY_MAX = 1024 };

static struct fixture fixture;

/* Every test runs in one transaction of an open journal. */
static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    assert_ok(fixture_open(&fixture, NULL));
    assert_ok(journal_begin(fixture.journal, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fixture_done(&fixture);
    return 0;
}

static struct product insert_product(const char *name, const char *sku)
{
    struct product product = {.stock = 50, .price_minor = 99900, .updated_at_ms = FIXTURE_NOW_MS};
    snprintf(product.name, sizeof product.name, "%s", name);
    snprintf(product.sku, sizeof product.sku, "%s", sku);
    assert_ok(journal_insert_product(fixture.journal, &product, NULL));
    return product;
}

static void assert_stored(const struct product *expected)
{
    struct product found;
    assert_ok(journal_find_product(fixture.journal, expected->product_id, &found, NULL));
    assert_int_equal(found.product_id, expected->product_id);
    assert_int_equal(found.stock, expected->stock);
    assert_int_equal(found.price_minor, expected->price_minor);
    assert_int_equal(found.updated_at_ms, expected->updated_at_ms);
    assert_string_equal(found.name, expected->name);
    assert_string_equal(found.sku, expected->sku);
}

static void products_are_numbered_and_found_as_they_were_stored(UNUSED void **state)
{
    struct product first = insert_product("iPhone", "");
    struct product second = insert_product("Tür 'groß'", "T-1");
    assert_int_equal(first.product_id, 1);
    assert_int_equal(second.product_id, 2);
    assert_stored(&first);
    assert_stored(&second);
}

static void the_longest_name_and_sku_are_kept_whole(UNUSED void **state)
{
    char name[PRODUCT_TEXT_SIZE] = "", sku[PRODUCT_SKU_SIZE] = "";
    for (int i = 0; i < PRODUCT_NAME_MAX; i++)
        strcat(name, "\xF0\x9F\x8D\x8E");
    for (int i = 0; i < PRODUCT_SKU_MAX; i++)
        strcat(sku, "\xF0\x9F\x8D\x8F");
    struct product product = insert_product(name, sku);
    assert_stored(&product);
}

static void a_sku_belongs_to_one_product(UNUSED void **state)
{
    insert_product("first", "T-1");
    struct product second = insert_product("second", "T-2");
    insert_product("third", "");
    insert_product("fourth", "");
    struct product fifth = {.name = "fifth", .sku = "T-1"};
    assert_int_equal(journal_insert_product(fixture.journal, &fifth, NULL), RESULT_CONFLICT);
    assert_int_equal(fifth.product_id, 0);
    struct product changed = second;
    strcpy(changed.sku, "T-1");
    assert_int_equal(journal_update_product(fixture.journal, &changed, NULL), RESULT_CONFLICT);
    assert_stored(&second);
}

static void a_product_can_be_changed_but_not_its_stock(UNUSED void **state)
{
    struct product product = insert_product("iPhone", "T-1");
    strcpy(product.name, "iPhone 2");
    product.sku[0] = '\0';
    product.price_minor = 1;
    product.stock = 7;
    product.updated_at_ms += 5;
    assert_ok(journal_update_product(fixture.journal, &product, NULL));
    product.stock = 50;
    assert_stored(&product);
}

static void stock_is_found_and_set_with_its_time(UNUSED void **state)
{
    int64_t stock = 0, price_minor = 0;
    struct product product = insert_product("iPhone", "");
    assert_ok(journal_find_stock(fixture.journal, 1, &stock, &price_minor, NULL));
    assert_int_equal(stock, 50);
    assert_int_equal(price_minor, 99900);
    assert_ok(journal_set_stock(fixture.journal, 1, 49, FIXTURE_NOW_MS + 1, NULL));
    product.stock = 49;
    product.updated_at_ms = FIXTURE_NOW_MS + 1;
    assert_stored(&product);
}

static void what_is_not_there_is_not_found_and_leaves_the_outputs_alone(UNUSED void **state)
{
    int64_t stock = -7, price_minor = -8;
    struct product product = {.product_id = -9};
    struct order order = {.order_id = -10};
    struct journal *journal = fixture.journal;
    assert_int_equal(journal_find_product(journal, 1, &product, NULL), RESULT_NOT_FOUND);
    assert_int_equal(journal_find_stock(journal, 1, &stock, &price_minor, NULL), RESULT_NOT_FOUND);
    assert_int_equal(journal_find_order(journal, 1, &order, NULL), RESULT_NOT_FOUND);
    assert_int_equal(product.product_id, -9);
    assert_int_equal(stock, -7);
    assert_int_equal(price_minor, -8);
    assert_int_equal(order.order_id, -10);
}

static void an_order_is_found_as_it_was_stored(UNUSED void **state)
{
    static const struct order_line LINES[] = {{1, 2, 999}, {9007199254740991, 1000000, 0}};
    struct order order, found;
    assert_ok(order_init(&order, ARRAY_LENGTH(LINES)));
    memcpy(order.lines, LINES, sizeof LINES);
    order.user_id = 9007199254740991;
    order.total_minor = ORDER_TOTAL_MAX_MINOR;
    order.created_at_ms = FIXTURE_NOW_MS;
    assert_ok(journal_insert_order(fixture.journal, &order, NULL));
    order_done(&order);
    assert_ok(journal_find_order(fixture.journal, 1, &found, NULL));
    assert_int_equal(found.order_id, 1);
    assert_int_equal(found.user_id, 9007199254740991);
    assert_int_equal(found.total_minor, ORDER_TOTAL_MAX_MINOR);
    assert_int_equal(found.created_at_ms, FIXTURE_NOW_MS);
    assert_int_equal(found.status, ORDER_CREATED);
    assert_int_equal(found.cancelled_at_ms, 0);
    assert_int_equal(found.line_count, ARRAY_LENGTH(LINES));
    assert_memory_equal(found.lines, LINES, sizeof LINES);
    order_done(&found);
}

static void an_order_that_is_cancelled_says_when(UNUSED void **state)
{
    struct order order;
    assert_ok(order_init(&order, 1));
    assert_ok(journal_insert_order(fixture.journal, &order, NULL));
    order_done(&order);
    assert_ok(journal_set_cancelled(fixture.journal, 1, FIXTURE_NOW_MS, NULL));
    assert_ok(journal_find_order(fixture.journal, 1, &order, NULL));
    assert_int_equal(order.status, ORDER_CANCELLED);
    assert_int_equal(order.cancelled_at_ms, FIXTURE_NOW_MS);
    order_done(&order);
}

/* An answer under the key `number`, given at `now_ms`. */
static enum result insert_answer(int number, const char *text, int64_t now_ms)
{
    struct buf body;
    uint8_t key[JOURNAL_KEY_SIZE] = {0};
    struct journal_answer answer = {.status = 201, .location = "/orders/9"};
    memcpy(key, &number, sizeof number);
    memset(answer.request_hash, number, sizeof answer.request_hash);
    buf_init(&body, BODY_MAX);
    buf_append_text(&body, text);
    enum result result = journal_insert_answer(fixture.journal, key, &answer, &body, now_ms, NULL);
    buf_done(&body);
    return result;
}

static enum result find_answer(int number, struct journal_answer *ret_answer, struct buf *body)
{
    uint8_t key[JOURNAL_KEY_SIZE] = {0};
    memcpy(key, &number, sizeof number);
    return journal_find_answer(fixture.journal, key, ret_answer, body, NULL);
}

static void assert_answer(int number, const char *expected)
{
    struct buf body;
    struct journal_answer answer;
    uint8_t request_hash[SHA256_SIZE];
    memset(request_hash, number, sizeof request_hash);
    buf_init(&body, BODY_MAX);
    assert_ok(find_answer(number, &answer, &body));
    assert_string_equal(buf_text(&body), expected);
    assert_int_equal(body.size, strlen(expected));
    assert_int_equal(answer.status, 201);
    assert_string_equal(answer.location, "/orders/9");
    assert_memory_equal(answer.request_hash, request_hash, sizeof request_hash);
    buf_done(&body);
}

static bool has_answer(int number)
{
    struct buf body;
    struct journal_answer answer;
    buf_init(&body, BODY_MAX);
    enum result result = find_answer(number, &answer, &body);
    assert_true(result == RESULT_OK || result == RESULT_NOT_FOUND);
    buf_done(&body);
    return result == RESULT_OK;
}

static void an_answer_comes_back_byte_for_byte(UNUSED void **state)
{
    static const char BODY[] = "{\"id\":9,\"name\":\"gr\xC3\xB6\xC3\x9F \xF0\x9F\x8D\x8E\"}\n ";
    assert_ok(insert_answer(1, BODY, FIXTURE_NOW_MS));
    assert_ok(insert_answer(2, "", FIXTURE_NOW_MS));
    assert_answer(1, BODY);
    assert_answer(2, "");
}

static void an_answer_without_a_location_has_none(UNUSED void **state)
{
    struct buf body;
    static const uint8_t KEY[JOURNAL_KEY_SIZE] = {1};
    struct journal_answer answer = {.status = 409}, found = {.location = "before"};
    buf_init(&body, BODY_MAX);
    assert_ok(journal_insert_answer(fixture.journal, KEY, &answer, &body, FIXTURE_NOW_MS, NULL));
    assert_ok(journal_find_answer(fixture.journal, KEY, &found, &body, NULL));
    assert_string_equal(found.location, "");
    assert_int_equal(found.status, 409);
    buf_done(&body);
}

static void an_unknown_key_is_not_found_and_adds_nothing(UNUSED void **state)
{
    struct buf body;
    struct journal_answer answer = {.status = 7};
    buf_init(&body, BODY_MAX);
    assert_int_equal(find_answer(1, &answer, &body), RESULT_NOT_FOUND);
    assert_int_equal(answer.status, 7);
    assert_int_equal(body.size, 0);
    buf_done(&body);
}

static void a_key_is_taken_once(UNUSED void **state)
{
    assert_ok(insert_answer(1, "first", FIXTURE_NOW_MS));
    assert_int_equal(insert_answer(1, "second", FIXTURE_NOW_MS), RESULT_CONFLICT);
    assert_answer(1, "first");
}

static int64_t sweep(int64_t before_ms)
{
    int64_t removed = -1;
    assert_ok(journal_sweep_answers(fixture.journal, before_ms, &removed, NULL));
    return removed;
}

static void sweeping_removes_what_is_older_and_keeps_the_rest(UNUSED void **state)
{
    assert_ok(insert_answer(1, "old", 1000));
    assert_ok(insert_answer(2, "just old enough to stay", 2000));
    assert_ok(insert_answer(3, "young", 3000));
    assert_ok(journal_commit(fixture.journal, NULL));
    assert_int_equal(sweep(2000), 1);
    assert_false(has_answer(1));
    assert_true(has_answer(2));
    assert_true(has_answer(3));
    assert_int_equal(sweep(2000), 0);
}

static void sweeping_takes_no_more_than_its_share_and_the_oldest_first(UNUSED void **state)
{
    for (int i = 0; i < JOURNAL_KEYS_SWEPT + 3; i++)
        assert_ok(insert_answer(i, "old", 1000));
    assert_ok(journal_commit(fixture.journal, NULL));
    assert_int_equal(sweep(2000), JOURNAL_KEYS_SWEPT);
    assert_false(has_answer(JOURNAL_KEYS_SWEPT - 1));
    assert_true(has_answer(JOURNAL_KEYS_SWEPT));
    assert_int_equal(sweep(2000), 3);
    assert_int_equal(sweep(2000), 0);
}

static void a_sweep_is_a_transaction_of_its_own(UNUSED void **state)
{
    assert_ok(insert_answer(1, "old", 1000));
    assert_ok(journal_commit(fixture.journal, NULL));
    assert_int_equal(sweep(2000), 1);
    fixture_crash(&fixture);
    assert_ok(fixture_open(&fixture, NULL));
    assert_false(has_answer(1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(products_are_numbered_and_found_as_they_were_stored),
        TEST(the_longest_name_and_sku_are_kept_whole),
        TEST(a_sku_belongs_to_one_product),
        TEST(a_product_can_be_changed_but_not_its_stock),
        TEST(stock_is_found_and_set_with_its_time),
        TEST(what_is_not_there_is_not_found_and_leaves_the_outputs_alone),
        TEST(an_order_is_found_as_it_was_stored),
        TEST(an_order_that_is_cancelled_says_when),
        TEST(an_answer_comes_back_byte_for_byte),
        TEST(an_answer_without_a_location_has_none),
        TEST(an_unknown_key_is_not_found_and_adds_nothing),
        TEST(a_key_is_taken_once),
        TEST(sweeping_removes_what_is_older_and_keeps_the_rest),
        TEST(sweeping_takes_no_more_than_its_share_and_the_oldest_first),
        TEST(a_sweep_is_a_transaction_of_its_own),
    };
    return RUN_TESTS(argc, argv, tests);
}
