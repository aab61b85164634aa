#include "bridge/adapters/addresses.h"

#include <string.h>

#include "tests/support/unit.h"

static void assert_item(const char *list, size_t n, const char *expected)
{
    char item[PLACE_HOST_SIZE];
    places_copy_item(list, n, item, sizeof item);
    assert_string_equal(item, expected);
}

static void a_list_has_its_items_in_order(UNUSED void **state)
{
    assert_int_equal(places_count_items("db1,db2,db3"), 3);
    assert_item("db1,db2,db3", 0, "db1");
    assert_item("db1,db2,db3", 2, "db3");
    assert_item("db1,db2,db3", 3, "");
    assert_item("db1,,db3", 1, "");
    assert_item(",", 1, "");
}

/* As libpq has it for ports. */
static void a_list_of_one_is_the_same_for_all(UNUSED void **state)
{
    assert_item("5432", 0, "5432");
    assert_item("5432", 7, "5432");
    assert_item("", 3, "");
}

static void a_numeric_address_needs_nobody_to_look_it_up(UNUSED void **state)
{
    struct places places = {0};
    assert_ok(places_add(&places, 1, "127.0.0.1", "5672", NULL));
    assert_ok(places_add(&places, 2, "::1", "", NULL));
    assert_int_equal(places.count, 2);
    assert_string_equal(places.items[0].address, "127.0.0.1");
    assert_string_equal(places.items[0].port, "5672");
    assert_string_equal(places.items[1].address, "::1");
    assert_int_equal(places.items[1].number, 2);
}

static void a_name_that_nobody_has_is_unreachable(UNUSED void **state)
{
    struct places places = {0};
    struct error error = {0};
    assert_int_equal(places_add(&places, 0, "no such host", "", &error), RESULT_UNREACHABLE);
    assert_contains(error.text, "no such host");
    assert_int_equal(places.count, 0);
}

static void what_is_too_much_is_left_out(UNUSED void **state)
{
    struct places places = {0};
    for (size_t i = 0; i < PLACES_MAX + 5; i++)
        places_add_as_is(&places, i, "h", "127.0.0.1", "");
    assert_int_equal(places.count, PLACES_MAX);
}

static void each_gets_its_share_of_what_is_left(UNUSED void **state)
{
    struct places places = {.count = 3};
    assert_int_equal(places_share_ms(&places, 0, 9000), 3000);
    assert_int_equal(places_share_ms(&places, 1, 8000), 4000);
    assert_int_equal(places_share_ms(&places, 2, 7000), 7000);
    assert_int_equal(places_share_ms(&places, 2, 0), 1);
    assert_int_equal(places_share_ms(&places, 0, -5), 1);
}

static void the_cause_names_its_place_where_there_are_several(UNUSED void **state)
{
    struct places places = {0};
    struct error error = {"no answer"};
    places_add_as_is(&places, 0, "db1", "10.0.0.1", "");
    places_name_cause(&places, 0, &error);
    assert_string_equal(error.text, "no answer");
    places_add_as_is(&places, 1, "/run/postgresql", "", "");
    places_name_cause(&places, 0, &error);
    assert_string_equal(error.text, "db1 (10.0.0.1): no answer");
    error_write(&error, "no answer");
    places_name_cause(&places, 1, &error);
    assert_string_equal(error.text, "/run/postgresql: no answer");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_has_its_items_in_order),
        cmocka_unit_test(a_list_of_one_is_the_same_for_all),
        cmocka_unit_test(a_numeric_address_needs_nobody_to_look_it_up),
        cmocka_unit_test(a_name_that_nobody_has_is_unreachable),
        cmocka_unit_test(what_is_too_much_is_left_out),
        cmocka_unit_test(each_gets_its_share_of_what_is_left),
        cmocka_unit_test(the_cause_names_its_place_where_there_are_several),
    };
    return RUN_TESTS(argc, argv, tests);
}
