/* What every unit test includes first. */
#ifndef TILLBOX_TESTS_SUPPORT_UNIT_H
#define TILLBOX_TESTS_SUPPORT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/attributes.h"
#include "core/result.h"

#define assert_ok(call) assert_int_equal(call, RESULT_OK)

/* Fails unless `part` occurs in `text`. */
#define assert_contains(text, part) assert_contains_at(text, part, __FILE__, __LINE__)
void assert_contains_at(const char *text, const char *part, const char *file, int line);

/* Runs an array of tests. An argument picks those whose names match it: test_json 'a_number*'. */
#define RUN_TESTS(argc, argv, tests)                        \
    (cmocka_set_test_filter((argc) > 1 ? (argv)[1] : NULL), \
     cmocka_run_group_tests(tests, NULL, NULL))

#endif
