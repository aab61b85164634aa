#include "core/journal/wakeup.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tests/support/unit.h"

enum { MORE_THAN_FIT = 100000 };

static struct folder folder;
static struct wakeup *wakeup;
static int listener;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    listener = -1;
    assert_ok(wakeup_new(folder.path, &wakeup, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    wakeup_free(wakeup);
    if (listener >= 0)
        close(listener);
    folder_remove(&folder);
    return 0;
}

static bool is_readable(int descriptor)
{
    struct pollfd one = {.fd = descriptor, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

static void a_nudge_arrives_once(UNUSED void **state)
{
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    assert_false(is_readable(listener));
    assert_false(wakeup_drain(listener));
    wakeup_send(wakeup);
    assert_true(is_readable(listener));
    assert_true(wakeup_drain(listener));
    assert_false(is_readable(listener));
    assert_false(wakeup_drain(listener));
}

static void all_nudges_are_drained_at_once(UNUSED void **state)
{
    struct wakeup *other = NULL;
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    assert_ok(wakeup_new(folder.path, &other, NULL));
    for (int i = 0; i < 3; i++) {
        wakeup_send(wakeup);
        wakeup_send(other);
    }
    wakeup_free(other);
    assert_true(wakeup_drain(listener));
    assert_false(wakeup_drain(listener));
}

static void a_nudge_that_nobody_hears_does_nothing(UNUSED void **state)
{
    for (int i = 0; i < 10; i++)
        wakeup_send(wakeup);
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    assert_false(wakeup_drain(listener));
    close(listener);
    listener = -1;
    wakeup_send(wakeup);
}

/* The test ends only if no wakeup waits for room. */
static void nudges_that_nobody_takes_never_wait(UNUSED void **state)
{
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    for (int i = 0; i < MORE_THAN_FIT; i++)
        wakeup_send(wakeup);
    assert_true(wakeup_drain(listener));
    wakeup_send(wakeup);
    assert_true(wakeup_drain(listener));
}

static void what_an_earlier_bridge_left_is_replaced(UNUSED void **state)
{
    int earlier = -1;
    char path[FOLDER_PATH_SIZE];
    assert_ok(wakeup_listen(folder.path, &earlier, NULL));
    close(earlier);
    folder_file(&folder, "bridge.sock", path);
    assert_int_equal(access(path, F_OK), 0);
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    wakeup_send(wakeup);
    assert_true(wakeup_drain(listener));
}

static void the_descriptor_is_closed_in_other_programs_and_never_blocks(UNUSED void **state)
{
    char byte;
    assert_ok(wakeup_listen(folder.path, &listener, NULL));
    assert_int_equal(recv(listener, &byte, 1, 0), -1);
    assert_int_equal(fcntl(listener, F_GETFD), FD_CLOEXEC);
}

static void a_folder_that_is_not_there_can_be_nudged_and_not_listened_in(UNUSED void **state)
{
    struct error error = {0};
    struct wakeup *nowhere = NULL;
    int descriptor = 77;
    char path[FOLDER_PATH_SIZE];
    folder_file(&folder, "nothing", path);
    assert_int_equal(wakeup_listen(path, &descriptor, &error), RESULT_IO);
    assert_contains(error.text, "bridge.sock");
    assert_int_equal(descriptor, 77);
    assert_ok(wakeup_new(path, &nowhere, NULL));
    wakeup_send(nowhere);
    wakeup_free(nowhere);
}

static void a_name_that_is_too_long_for_a_socket_is_told(UNUSED void **state)
{
    char name[150];
    struct error error = {0};
    struct wakeup *none = NULL;
    int descriptor = 77;
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    assert_int_equal(wakeup_new(name, &none, &error), RESULT_TOO_LARGE);
    assert_null(none);
    assert_contains(error.text, "bridge_dir");
    assert_int_equal(wakeup_listen(name, &descriptor, NULL), RESULT_TOO_LARGE);
    assert_int_equal(descriptor, 77);
}

static void no_nudger_may_be_freed(UNUSED void **state)
{
    wakeup_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_nudge_arrives_once),
        TEST(all_nudges_are_drained_at_once),
        TEST(a_nudge_that_nobody_hears_does_nothing),
        TEST(nudges_that_nobody_takes_never_wait),
        TEST(what_an_earlier_bridge_left_is_replaced),
        TEST(the_descriptor_is_closed_in_other_programs_and_never_blocks),
        TEST(a_folder_that_is_not_there_can_be_nudged_and_not_listened_in),
        TEST(a_name_that_is_too_long_for_a_socket_is_told),
        TEST(no_nudger_may_be_freed),
    };
    return RUN_TESTS(argc, argv, tests);
}
