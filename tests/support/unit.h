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

/* Fails unless the call ends the program by abort(); it runs in a child. */
#define assert_aborts(call)                     \
    do {                                        \
        int unit_child = unit_fork();           \
        if (unit_child == 0) {                  \
            call;                               \
            unit_leave();                       \
        }                                       \
        unit_assert_aborted(unit_child, #call); \
    } while (0)
int unit_fork(void);
_Noreturn void unit_leave(void);
void unit_assert_aborted(int child, const char *call);

/* Runs an array of tests. An argument picks those whose names match it: test_json 'a_number*'. */
#define RUN_TESTS(argc, argv, tests)                        \
    (cmocka_set_test_filter((argc) > 1 ? (argv)[1] : NULL), \
     cmocka_run_group_tests(tests, NULL, NULL))

#endif
