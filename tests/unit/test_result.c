#include "core/result.h"

#include <errno.h>
#include <string.h>

#include "tests/support/unit.h"

static const enum result EVERY[] = {
#define X(code, text, retry) code,
    RESULT_TABLE(X)
#undef X
};

static void every_result_has_a_text_of_its_own(UNUSED void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(EVERY); i++) {
        assert_string_not_equal(result_text(EVERY[i]), "");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(result_text(EVERY[i]), result_text(EVERY[j]));
    }
    assert_string_equal(result_text(RESULT_OK), "ok");
    assert_string_equal(result_text(RESULT_DISK_FULL), "no space left on the disk");
}

static void a_number_that_is_no_result_reads_as_an_internal_error(UNUSED void **state)
{
    enum result beyond = (enum result)ARRAY_LENGTH(EVERY);
    assert_string_equal(result_text(beyond), result_text(RESULT_INTERNAL));
    assert_false(result_may_retry(beyond));
}

static void only_what_may_pass_by_itself_may_be_tried_again(UNUSED void **state)
{
    static const enum result PASSING[] = {RESULT_NO_MEMORY, RESULT_BUSY,      RESULT_LOCKED,
                                          RESULT_DISK_FULL, RESULT_TIMED_OUT, RESULT_UNREACHABLE};
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(EVERY); i++) {
        bool passing = found < ARRAY_LENGTH(PASSING) && PASSING[found] == EVERY[i];
        assert_int_equal(result_may_retry(EVERY[i]), passing);
        found += passing;
    }
    assert_int_equal(found, ARRAY_LENGTH(PASSING));
}

static void setting_an_error_gives_the_result_back_with_the_cause(UNUSED void **state)
{
    struct error error = {0};
    assert_int_equal(error_set(&error, RESULT_IO, "file %s, line %d", "a", 7), RESULT_IO);
    assert_string_equal(error.text, "file a, line 7");
    assert_int_equal(error_set(NULL, RESULT_BUSY, "nobody asks"), RESULT_BUSY);
}

static void an_error_of_the_system_ends_with_its_own_words(UNUSED void **state)
{
    struct error error = {0};
    errno = ENOENT;
    assert_int_equal(error_set_errno(&error, RESULT_NOT_FOUND, "can't open %s", "x"),
                     RESULT_NOT_FOUND);
    assert_string_equal(error.text, "can't open x: No such file or directory");
    errno = ENOENT;
    assert_int_equal(error_set_errno(NULL, RESULT_IO, "nobody asks"), RESULT_IO);
}

static void a_long_cause_is_cut_at_the_limit(UNUSED void **state)
{
    struct error error = {0};
    char longest[ERROR_TEXT_MAX + 1];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(error_set(&error, RESULT_IO, "%s", longest), RESULT_IO);
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
    errno = EIO;
    assert_int_equal(error_set_errno(&error, RESULT_IO, "%s", longest), RESULT_IO);
    assert_int_equal(strlen(error.text), ERROR_TEXT_MAX - 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_result_has_a_text_of_its_own),
        cmocka_unit_test(a_number_that_is_no_result_reads_as_an_internal_error),
        cmocka_unit_test(only_what_may_pass_by_itself_may_be_tried_again),
        cmocka_unit_test(setting_an_error_gives_the_result_back_with_the_cause),
        cmocka_unit_test(an_error_of_the_system_ends_with_its_own_words),
        cmocka_unit_test(a_long_cause_is_cut_at_the_limit),
    };
    return RUN_TESTS(argc, argv, tests);
}
