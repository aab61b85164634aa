#include "bridge/notification/template.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/folder.h"
#include "tests/support/unit.h"

enum { OUT_MAX = 4096 };

static const template_values VALUES = {
    [TEMPLATE_ORDER_ID] = "8",    [TEMPLATE_USER_ID] = "1",  [TEMPLATE_TOTAL] = "3.00",
    [TEMPLATE_ITEMS] = "a\nb",    [TEMPLATE_LOCATION] = "x", [TEMPLATE_DEVICE_ID] = "box",
    [TEMPLATE_OCCURRED_AT] = "t",
};

static struct folder folder;
static struct template template;
static struct error error;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    template = (struct template){0};
    return 0;
}

static int tear_down(UNUSED void **state)
{
    template_done(&template);
    folder_remove(&folder);
    return 0;
}

static enum result load(const char *text)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/order_confirmation.txt", folder.path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return template_load(folder.path, "order_confirmation", &template, &error);
}

static void assert_renders(const char *text, const char *wanted)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    template_render(text, VALUES, &out);
    assert_ok(buf_result(&out));
    assert_string_equal(buf_text(&out), wanted);
    buf_done(&out);
}

static void fields_give_way_to_values(UNUSED void **state)
{
    assert_ok(load("Subject: Order {order_id}{total}\n\n{items}|{{{user_id}}}|}}{{\n"));
    assert_renders(template.subject, "Order 83.00");
    assert_renders(template.text, "a\nb|{1}|}{\n");
}

static void the_built_in_templates_can_be_used(UNUSED void **state)
{
    assert_ok(template_load(NULL, "order_confirmation", &template, &error));
    template_done(&template);
    assert_ok(template_load(NULL, "cancellation_alert", &template, &error));
    assert_renders(template.subject, "Your order 8 was cancelled");
}

static void what_cannot_be_meant_is_refused_with_its_cause(UNUSED void **state)
{
    static const struct {
        const char *text, *cause;
    } CASES[] = {
        {"", "Subject"},
        {"Subject: x\n{order_id}\n\nText\n", "Subject"},
        {"Subject: x\n\n{order}\n", "{order} is no field"},
        {"Subject: x\n\n{order_id} {}\n", "{} is no field"},
        {"Subject: x\n\n{order_id} }\n", "alone"},
        {"Subject: x\n\n{order_id\n", "alone"},
        {"Subject: x\n\n{order_id} {", "alone"},
        {"Subject: {items}\n\n{order_id}\n", "subject"},
        {"Subject: x\n\n{total}\n", "{order_id} is missing"},
        {"Subject: x\r\n\r\n{order_id}\n", "line ends"},
        {"Subject: \xFF\n\n{order_id}\n", "UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        assert_int_equal(load(CASES[i].text), RESULT_INVALID);
        assert_contains(error.text, CASES[i].cause);
        assert_contains(error.text, "order_confirmation.txt");
    }
}

static void a_file_that_is_not_there_is_named(UNUSED void **state)
{
    assert_int_equal(template_load(folder.path, "order_confirmation", &template, &error),
                     RESULT_NOT_FOUND);
    assert_contains(error.text, "order_confirmation.txt");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields_give_way_to_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_built_in_templates_can_be_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_meant_is_refused_with_its_cause, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there_is_named, set_up, tear_down),
    };
    return RUN_TESTS(argc, argv, tests);
}
