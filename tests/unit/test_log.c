#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/json.h"
#include "tests/support/unit.h"

/* The log writes into one end, the test reads from the other. */
static int reading, writing;
static char received[1 << 18];

static void read_all(void)
{
    size_t size = 0;
    ssize_t got;
    while ((got = read(reading, received + size, sizeof received - 1 - size)) > 0)
        size += (size_t)got;
    received[size] = '\0';
}

static int set_up(UNUSED void **state)
{
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    alarm(20); /* a log that blocks must not hang the tests */
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
        return -1;
    reading = ends[0];
    writing = ends[1];
    log_start("test", LOG_INFO);
    log_set_device("");
    log_set_output(writing);
    LOG(LOG_INFO, "first"); /* makes up for lines that an earlier test dropped */
    read_all();
    return 0;
}

static int tear_down(UNUSED void **state)
{
    log_set_output(STDERR_FILENO);
    close(reading);
    close(writing);
    alarm(0);
    return 0;
}

/* The line after its time, which is checked here. */
static const char *without_time(const char *line)
{
    static const char SHAPE[] = "{\"time\":\"dddd-dd-ddTdd:dd:dd.dddZ\",";
    for (size_t i = 0; i < strlen(SHAPE); i++)
        if (SHAPE[i] == 'd' ? line[i] < '0' || line[i] > '9' : line[i] != SHAPE[i])
            fail_msg("no time at the start of %s", line);
    return line + strlen(SHAPE);
}

static void assert_line(const char *expected)
{
    read_all();
    assert_string_equal(without_time(received), expected);
}

#define LINE(event) "\"level\":\"info\",\"program\":\"test\",\"event\":\"" event "\""

static void a_line_is_one_json_object(UNUSED void **state)
{
    LOG(LOG_INFO, "order.created", LOG_INT("sequence", 7), LOG_TEXT("event_id", "a-b"));
    assert_line(LINE("order.created") ",\"sequence\":7,\"event_id\":\"a-b\"}\n");
    assert_ok(json_check_syntax(received, strlen(received), NULL));
    LOG(LOG_INFO, "bare");
    assert_line(LINE("bare") "}\n");
}

static void the_time_is_now(UNUSED void **state)
{
    char before[CLOCK_TEXT_SIZE], after[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_ms(&clock_system), before);
    LOG(LOG_INFO, "x");
    clock_format_utc(clock_wall_ms(&clock_system), after);
    read_all();
    assert_true(strncmp(received + 9, before, 24) >= 0);
    assert_true(strncmp(received + 9, after, 24) <= 0);
}

static void integers_are_written_in_full(UNUSED void **state)
{
    LOG(LOG_INFO, "x", LOG_INT("low", INT64_MIN), LOG_INT("high", INT64_MAX), LOG_INT("zero", 0));
    assert_line(LINE("x") ",\"low\":-9223372036854775808,\"high\":9223372036854775807,"
                          "\"zero\":0}\n");
}

static void text_is_escaped(UNUSED void **state)
{
    LOG(LOG_INFO, "x", LOG_TEXT("a\"b", "\"\\/\n\t\x01\x1F\x7F"), LOG_TEXT("none", NULL),
        LOG_TEXT("euro", "\xE2\x82\xAC\xF0\x9F\x98\x80"));
    assert_line(LINE("x") ",\"a\\\"b\":\"\\\"\\\\/\\u000a\\u0009\\u0001\\u001f\\u007f\","
                          "\"none\":\"\",\"euro\":\"\xE2\x82\xAC\xF0\x9F\x98\x80\"}\n");
    assert_ok(json_check_syntax(received, strlen(received), NULL));
}

static void invalid_utf8_becomes_the_replacement_character(UNUSED void **state)
{
    LOG(LOG_INFO, "x", LOG_TEXT("t", "a\xFFz\xC3\xE2\x82\xED\xA0\x80!"));
    assert_line(LINE("x") ",\"t\":\"a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                          "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD!\"}\n");
    assert_ok(json_check_syntax(received, strlen(received), NULL));
}

static void a_field_that_does_not_fit_is_left_out_and_the_others_stay(UNUSED void **state)
{
    static char text[LOG_LINE_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    LOG(LOG_INFO, "x", LOG_INT("before", 1), LOG_TEXT("long", text), LOG_INT("after", 2));
    assert_line(LINE("x") ",\"before\":1,\"after\":2}\n");
}

static void a_line_may_be_exactly_as_long_as_the_limit(UNUSED void **state)
{
    static char text[LOG_LINE_MAX];
    LOG(LOG_INFO, "x", LOG_TEXT("t", ""));
    read_all();
    size_t room = LOG_LINE_MAX - strlen(received);
    memset(text, 'x', room);
    LOG(LOG_INFO, "x", LOG_TEXT("t", text));
    read_all();
    assert_int_equal(strlen(received), LOG_LINE_MAX);
    assert_string_equal(received + LOG_LINE_MAX - 4, "x\"}\n");
    text[room] = 'x';
    LOG(LOG_INFO, "x", LOG_TEXT("t", text));
    assert_line(LINE("x") "}\n");
}

static void escapes_count_with_the_length_they_are_written_in(UNUSED void **state)
{
    static char text[LOG_LINE_MAX / 2];
    memset(text, '\n', sizeof text - 1);
    LOG(LOG_INFO, "x", LOG_TEXT("t", text), LOG_TEXT("last", "here"));
    assert_line(LINE("x") ",\"last\":\"here\"}\n");
    memset(text, '\xFF', sizeof text - 1);
    LOG(LOG_INFO, "x", LOG_TEXT("t", text), LOG_TEXT("last", "here"));
    assert_line(LINE("x") ",\"last\":\"here\"}\n");
}

static void every_level_has_its_word(UNUSED void **state)
{
    static const char *const WORDS[] = {"debug", "info", "warn", "error"};
    log_start("test", LOG_DEBUG);
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        enum log_level parsed = (enum log_level)99;
        LOG((enum log_level)level, "x");
        read_all();
        char expected[32];
        snprintf(expected, sizeof expected, "\"level\":\"%s\",", WORDS[level]);
        assert_contains(received, expected);
        assert_ok(log_level_parse(WORDS[level], &parsed));
        assert_int_equal(parsed, level);
    }
}

static void no_other_word_is_a_level(UNUSED void **state)
{
    static const char *const BAD[] = {"", "INFO", "inf", "infos", "warning", " info", "0"};
    enum log_level level = LOG_WARN;
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++)
        assert_int_equal(log_level_parse(BAD[i], &level), RESULT_INVALID);
    assert_int_equal(level, LOG_WARN);
}

static void only_the_level_and_above_is_logged(UNUSED void **state)
{
    for (int wanted = LOG_DEBUG; wanted <= LOG_ERROR; wanted++) {
        log_start("test", (enum log_level)wanted);
        for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            assert_int_equal(log_wants((enum log_level)level), level >= wanted);
            LOG((enum log_level)level, "x");
            read_all();
            assert_int_equal(received[0] != '\0', level >= wanted);
        }
    }
}

static int64_t count_evaluation(int *evaluations)
{
    return ++*evaluations;
}

static void arguments_are_evaluated_only_if_the_level_is_logged(UNUSED void **state)
{
    int evaluations = 0;
    LOG(LOG_DEBUG, "x", LOG_INT("n", count_evaluation(&evaluations)));
    assert_int_equal(evaluations, 0);
    LOG(LOG_INFO, "x", LOG_INT("n", count_evaluation(&evaluations)));
    assert_int_equal(evaluations, 1);
}

static void once_the_device_is_known_every_line_has_it(UNUSED void **state)
{
    char device_id[] = "till-1";
    log_set_device(device_id);
    memset(device_id, 'x', strlen(device_id));
    LOG(LOG_INFO, "a", LOG_INT("n", 1));
    assert_line(LINE("a") ",\"device_id\":\"till-1\",\"n\":1}\n");
    log_set_device("till-2");
    LOG(LOG_INFO, "b");
    assert_line(LINE("b") ",\"device_id\":\"till-2\"}\n");
}

static void fill(int descriptor)
{
    static const char ZEROS[4096];
    assert_int_equal(fcntl(descriptor, F_SETFL, O_NONBLOCK), 0);
    for (size_t size = sizeof ZEROS; size > 0; size /= 2)
        while (write(descriptor, ZEROS, size) > 0)
            continue;
    assert_int_equal(fcntl(descriptor, F_SETFL, 0), 0);
}

static void a_full_pipe_drops_lines_and_counts_them(UNUSED void **state)
{
    uint64_t before = log_dropped();
    fill(writing);
    for (int i = 0; i < 3; i++)
        LOG(LOG_INFO, "lost");
    assert_int_equal(log_dropped() - before, 3);
    read_all();
    LOG(LOG_INFO, "back");
    read_all();
    char *second = strchr(received, '\n') + 1;
    assert_string_equal(without_time(second), LINE("back") "}\n");
    *second = '\0';
    assert_string_equal(without_time(received),
                        "\"level\":\"warn\",\"program\":\"test\",\"event\":\"log.dropped\","
                        "\"lines\":3}\n");
    LOG(LOG_INFO, "again");
    assert_line(LINE("again") "}\n");
    assert_int_equal(log_dropped() - before, 3);
}

static void lines_dropped_later_are_told_without_the_earlier_ones(UNUSED void **state)
{
    for (int round = 0; round < 2; round++) {
        fill(writing);
        LOG(LOG_INFO, "lost");
        read_all();
        LOG(LOG_INFO, "back");
        read_all();
        assert_contains(received, "\"event\":\"log.dropped\",\"lines\":1}");
    }
}

static void a_socket_whose_reader_sleeps_never_blocks_the_log(UNUSED void **state)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    uint64_t before = log_dropped();
    log_set_output(ends[1]);
    while (log_dropped() == before)
        LOG(LOG_INFO, "x", LOG_TEXT("padding", "0123456789012345678901234567890123456789"));
    log_set_output(writing);
    close(ends[0]);
    close(ends[1]);
}

static void a_reader_that_has_gone_costs_lines_but_not_the_process(UNUSED void **state)
{
    uint64_t before = log_dropped();
    close(reading);
    LOG(LOG_INFO, "lost");
    assert_int_equal(log_dropped() - before, 1);
    reading = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void a_write_that_fails_counts_as_dropped(UNUSED void **state)
{
    uint64_t before = log_dropped();
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    log_set_output(full);
    LOG(LOG_INFO, "lost");
    assert_int_equal(log_dropped() - before, 1);
    log_set_output(writing);
    close(full);
    LOG(LOG_INFO, "back");
    read_all();
    assert_contains(received, "\"event\":\"log.dropped\",\"lines\":1}");
}

enum { THREADS = 4, LINES_EACH = 200 };

static void *log_lines(void *argument)
{
    const int *thread = argument;
    for (int i = 0; i < LINES_EACH; i++)
        LOG(LOG_INFO, "x", LOG_INT("thread", *thread), LOG_INT("line", i));
    return NULL;
}

/* Each line must be whole and each thread's lines in order. */
static void lines_of_several_threads_do_not_mix(UNUSED void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS], next[THREADS] = {0};
    FILE *file = tmpfile();
    char line[LOG_LINE_MAX + 1];
    assert_non_null(file);
    log_set_output(fileno(file));
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_set_output(writing);
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        int thread = -1, number = -1;
        assert_int_equal(
            sscanf(without_time(line), LINE("x") ",\"thread\":%d,\"line\":%d}\n", &thread, &number),
            2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(number, next[thread]++);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES_EACH);
    fclose(file);
}

static const char AS[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char BS[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static void *change_device(void *argument)
{
    (void)argument;
    for (int i = 0; i < 5000; i++)
        log_set_device(i % 2 ? AS : BS);
    return NULL;
}

static void a_device_that_changes_meanwhile_is_never_seen_half_changed(UNUSED void **state)
{
    pthread_t thread;
    log_set_device(AS);
    assert_int_equal(pthread_create(&thread, NULL, change_device, NULL), 0);
    for (int i = 0; i < 500; i++) {
        LOG(LOG_INFO, "x");
        read_all();
        assert_true(strstr(received, AS) || strstr(received, BS));
    }
    pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_is_one_json_object),
        TEST(the_time_is_now),
        TEST(integers_are_written_in_full),
        TEST(text_is_escaped),
        TEST(invalid_utf8_becomes_the_replacement_character),
        TEST(a_field_that_does_not_fit_is_left_out_and_the_others_stay),
        TEST(a_line_may_be_exactly_as_long_as_the_limit),
        TEST(escapes_count_with_the_length_they_are_written_in),
        TEST(every_level_has_its_word),
        TEST(no_other_word_is_a_level),
        TEST(only_the_level_and_above_is_logged),
        TEST(arguments_are_evaluated_only_if_the_level_is_logged),
        TEST(once_the_device_is_known_every_line_has_it),
        TEST(a_full_pipe_drops_lines_and_counts_them),
        TEST(lines_dropped_later_are_told_without_the_earlier_ones),
        TEST(a_socket_whose_reader_sleeps_never_blocks_the_log),
        TEST(a_reader_that_has_gone_costs_lines_but_not_the_process),
        TEST(a_write_that_fails_counts_as_dropped),
        TEST(lines_of_several_threads_do_not_mix),
        TEST(a_device_that_changes_meanwhile_is_never_seen_half_changed),
    };
    return RUN_TESTS(argc, argv, tests);
}
