#include "core/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "core/sd_notify.h"
#include "tests/support/fake_clock.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

enum { PERIOD_MS = 8000, ROUND_MS = PERIOD_MS / 4 };

static struct folder folder;
static struct fake_clock fake;
static struct watchdog watchdog;
static int manager;
static bool first_moves, second_moves;

static bool answer(void *context)
{
    return *(const bool *)context;
}

static int set_up(UNUSED void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    folder_make(&folder);
    log_set_output(-1);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", folder.path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    setenv("WATCHDOG_USEC", "8000000", 1);
    unsetenv("WATCHDOG_PID");
    fake_clock_init(&fake, 0);
    first_moves = second_moves = true;
    return 0;
}

static int tear_down(UNUSED void **state)
{
    close(manager);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    folder_remove(&folder);
    return 0;
}

/* What was said since the last call, "" if nothing. */
static const char *heard(void)
{
    static char word[NOTIFY_STATUS_MAX * 2];
    ssize_t size = recv(manager, word, sizeof word - 1, 0);
    word[size > 0 ? size : 0] = '\0';
    return word;
}

static void start(void)
{
    watchdog_init(&watchdog, &fake.clock);
    watchdog_add(&watchdog, "first", answer, &first_moves);
    watchdog_add(&watchdog, "second", answer, &second_moves);
}

static const char *after(int64_t duration_ms)
{
    fake_clock_advance(&fake, duration_ms);
    watchdog_tick(&watchdog);
    return heard();
}

static void alive_is_said_four_times_a_period(UNUSED void **state)
{
    start();
    assert_string_equal(after(ROUND_MS - 1), "");
    assert_string_equal(after(1), "WATCHDOG=1");
    assert_string_equal(after(ROUND_MS - 1), "");
    assert_string_equal(after(1), "WATCHDOG=1");
}

static void nothing_is_said_until_every_part_has_moved(UNUSED void **state)
{
    start();
    second_moves = false;
    assert_string_equal(after(ROUND_MS), "");
    assert_string_equal(after(10 * PERIOD_MS), "");
    second_moves = true;
    assert_string_equal(after(1), "WATCHDOG=1");
}

static void parts_may_move_one_after_the_other(UNUSED void **state)
{
    start();
    second_moves = false;
    assert_string_equal(after(ROUND_MS), "");
    first_moves = false;
    second_moves = true;
    assert_string_equal(after(1), "WATCHDOG=1");
    assert_string_equal(after(ROUND_MS), "");
}

static void what_moved_in_an_earlier_round_does_not_count(UNUSED void **state)
{
    start();
    assert_string_equal(after(ROUND_MS), "WATCHDOG=1");
    first_moves = false;
    assert_string_equal(after(ROUND_MS), "");
}

static void without_a_manager_nothing_is_asked_or_said(UNUSED void **state)
{
    unsetenv("WATCHDOG_USEC");
    start();
    assert_string_equal(after(10 * PERIOD_MS), "");
    unsetenv("NOTIFY_SOCKET");
    sd_notify_ready();
    assert_string_equal(heard(), "");
}

static void a_status_is_one_line_and_cut_to_its_limit(UNUSED void **state)
{
    char longest[2 * NOTIFY_STATUS_MAX];
    sd_notify_status("a\nREADY=1\t%d", 7);
    assert_string_equal(heard(), "STATUS=a READY=1 7");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    sd_notify_status("%s", longest);
    assert_int_equal(strlen(heard()), strlen("STATUS=") + NOTIFY_STATUS_MAX - 1);
}

static void ready_and_stopping_are_said_once(UNUSED void **state)
{
    sd_notify_ready();
    sd_notify_stopping();
    assert_string_equal(heard(), "READY=1");
    assert_string_equal(heard(), "STOPPING=1");
    assert_string_equal(heard(), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(alive_is_said_four_times_a_period),
        TEST(nothing_is_said_until_every_part_has_moved),
        TEST(parts_may_move_one_after_the_other),
        TEST(what_moved_in_an_earlier_round_does_not_count),
        TEST(without_a_manager_nothing_is_asked_or_said),
        TEST(a_status_is_one_line_and_cut_to_its_limit),
        TEST(ready_and_stopping_are_said_once),
    };
    return RUN_TESTS(argc, argv, tests);
}
