#include <string.h>

#include "core/http/http_server.h"
#include "tests/support/echo_server.h"
#include "tests/support/http_client.h"
#include "tests/support/unit.h"

static struct echo_server echo;
static struct http_client client, other;
static struct http_answer answer;

static int set_up(UNUSED void **state)
{
    echo_server_start(&echo);
    other.socket = -1;
    return http_client_open(&client, http_server_port(echo.server)) ? 0 : -1;
}

static int tear_down(UNUSED void **state)
{
    http_client_close(&client);
    http_client_close(&other);
    echo_server_stop(&echo);
    return 0;
}

static void ask(const char *text)
{
    http_client_ask(&client, text, &answer);
}

static void open_other(void)
{
    assert_true(http_client_open(&other, http_server_port(echo.server)));
}

/* The test's own thread is not the server's. */
static void answer_deferred(struct http_exchange *exchange, const char *body)
{
    buf_append_text(&http_exchange_reply(exchange)->body, body);
    http_exchange_resume(exchange);
}

static void a_deferred_request_is_answered_when_another_thread_resumes_it(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("POST", "/defer") "Content-Length: 4\r\n\r\nbody");
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    echo_server_settle(&echo);
    assert_false(http_client_hears(&client, 0));
    assert_string_equal(buf_text(http_exchange_body(exchange)), "body");
    answer_deferred(exchange, "later");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "later");
    ask(HTTP_GET("/echo"));
    assert_answer(&answer, 200, "GET /echo none|");
}

static void a_request_may_be_resumed_before_its_handler_returns(UNUSED void **state)
{
    for (int i = 0; i < 20; i++) {
        ask(HTTP_GET("/at-once"));
        assert_answer(&answer, 200, "resumed");
    }
}

static void deferred_requests_are_answered_in_any_order(UNUSED void **state)
{
    http_client_send(&client, HTTP_GET("/defer"));
    struct http_exchange *first = echo_server_take_deferred(&echo);
    open_other();
    http_client_send(&other, HTTP_GET("/defer"));
    answer_deferred(echo_server_take_deferred(&echo), "second");
    http_client_receive(&other, &answer);
    assert_answer(&answer, 200, "second");
    answer_deferred(first, "first");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "first");
}

static void a_request_pipelined_behind_a_deferred_one_waits_for_it(UNUSED void **state)
{
    http_client_send(&client, HTTP_GET("/defer") HTTP_GET("/echo"));
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    echo_server_settle(&echo);
    assert_false(http_client_hears(&client, 0));
    answer_deferred(exchange, "first");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "first");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "GET /echo none|");
}

static void a_client_that_leaves_a_deferred_request_harms_nobody(UNUSED void **state)
{
    http_client_send(&client, HTTP_GET("/defer"));
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    http_client_close(&client);
    echo_server_settle(&echo);
    answer_deferred(exchange, "nobody reads this");
    echo_server_wait_for_exchanges(&echo, 0);
    assert_true(http_client_open(&client, http_server_port(echo.server)));
    ask(HTTP_GET("/echo"));
    assert_answer(&answer, 200, "GET /echo none|");
}

static void what_an_exchange_keeps_is_released_once_at_its_end(UNUSED void **state)
{
    ask(HTTP_GET("/kept"));
    echo_server_wait_for_exchanges(&echo, 0);
    assert_int_equal(atomic_load(&echo.released), 1);
    ask(HTTP_GET("/echo"));
    assert_answer(&answer, 200, "GET /echo none|");
    assert_int_equal(atomic_load(&echo.released), 1);
}

static void open_exchanges_are_those_begun_and_not_yet_answered(UNUSED void **state)
{
    assert_int_equal(http_server_open_exchanges(echo.server), 0);
    http_client_send(&client, HTTP_HEAD("POST", "/defer") "Content-Length: 2\r\n\r\n1");
    echo_server_wait_for_exchanges(&echo, 1);
    http_client_send(&client, "2");
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    assert_int_equal(http_server_open_exchanges(echo.server), 1);
    http_exchange_resume(exchange);
    http_client_receive(&client, &answer);
    echo_server_wait_for_exchanges(&echo, 0);
}

/* The port closes when the server's thread has noticed; who comes before is reset. */
static void a_draining_server_accepts_nobody(UNUSED void **state)
{
    http_server_drain(echo.server);
    http_server_drain(echo.server);
    for (int i = 0; i < 1000 && http_client_open(&other, http_server_port(echo.server)); i++) {
        http_client_send(&other, HTTP_GET("/echo"));
        assert_int_equal(http_client_wait_closed(&other), 0);
        http_client_close(&other);
    }
    assert_int_equal(other.socket, -1);
    assert_int_equal(atomic_load(&echo.handled), 0);
}

static void a_draining_server_refuses_new_requests_and_closes(UNUSED void **state)
{
    ask(HTTP_GET("/echo"));
    atomic_store(&echo.handled, 0);
    http_server_drain(echo.server);
    ask(HTTP_GET("/echo"));
    assert_contains(answer.body, "urn:tillbox:problem:stopping");
    assert_header(&answer, "Retry-After", "1");
    assert_int_equal(answer.status, 503);
    assert_header(&answer, "Connection", "close");
    assert_int_equal(http_client_wait_closed(&client), 0);
    assert_int_equal(atomic_load(&echo.handled), 0);
}

static void a_draining_server_finishes_what_is_under_way_and_closes(UNUSED void **state)
{
    open_other();
    http_client_send(&client, HTTP_GET("/defer"));
    http_client_send(&other, HTTP_HEAD("POST", "/echo") "Content-Length: 2\r\n\r\n1");
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    echo_server_settle(&echo);
    http_server_drain(echo.server);
    http_client_send(&other, "2");
    http_client_receive(&other, &answer);
    assert_answer(&answer, 200, "POST /echo none|12");
    assert_header(&answer, "Connection", "close");
    assert_int_equal(http_client_wait_closed(&other), 0);
    answer_deferred(exchange, "the last");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "the last");
    assert_header(&answer, "Connection", "close");
    assert_int_equal(http_client_wait_closed(&client), 0);
    echo_server_wait_for_exchanges(&echo, 0);
    http_server_stop(echo.server);
    echo.server = NULL;
}

static void stopping_closes_idle_connections(UNUSED void **state)
{
    ask(HTTP_GET("/echo"));
    echo_server_stop(&echo);
    assert_int_equal(http_client_wait_closed(&client), 0);
    http_server_stop(NULL);
}

/* Closing shows at the client before http_server_sweep() returns. */
static void assert_lives_for(int64_t duration_ms)
{
    echo_server_settle(&echo);
    fake_clock_advance(&echo.clock, duration_ms - 1);
    http_server_sweep(echo.server);
    assert_false(http_client_hears(&client, 0));
    fake_clock_advance(&echo.clock, 1);
    http_server_sweep(echo.server);
    assert_true(http_client_hears(&client, 0));
    assert_int_equal(http_client_wait_closed(&client), 0);
    echo_server_wait_for_exchanges(&echo, 0);
}

static void a_connection_that_stays_silent_is_closed_at_the_deadline(UNUSED void **state)
{
    assert_lives_for(HTTP_DEADLINE_MS);
}

static void a_header_that_drips_is_closed_at_the_deadline(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("GET", "/echo") "X-Test: ");
    for (int64_t waited_ms = 0; waited_ms < HTTP_DEADLINE_MS - 1000; waited_ms += 1000) {
        echo_server_settle(&echo);
        fake_clock_advance(&echo.clock, 1000);
        http_server_sweep(echo.server);
        http_client_send(&client, "x");
        assert_false(http_client_hears(&client, 0));
    }
    assert_lives_for(1000);
}

static void a_body_that_drips_is_closed_at_the_deadline(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("POST", "/echo") "Content-Length: 100\r\n\r\n");
    for (int64_t waited_ms = 0; waited_ms < HTTP_DEADLINE_MS - 1000; waited_ms += 1000) {
        echo_server_settle(&echo);
        fake_clock_advance(&echo.clock, 1000);
        http_server_sweep(echo.server);
        http_client_send(&client, "x");
        assert_false(http_client_hears(&client, 0));
    }
    assert_lives_for(1000);
    assert_int_equal(http_server_answers(echo.server, 200), 0);
}

static void a_connection_that_is_idle_between_requests_lives_longer(UNUSED void **state)
{
    ask(HTTP_GET("/echo"));
    echo_server_wait_for_exchanges(&echo, 0);
    assert_lives_for(HTTP_IDLE_MS);
}

static void the_deadline_counts_from_each_request_line(UNUSED void **state)
{
    ask(HTTP_GET("/echo"));
    echo_server_wait_for_exchanges(&echo, 0);
    fake_clock_advance(&echo.clock, HTTP_IDLE_MS - 1);
    http_client_send(&client, HTTP_HEAD("GET", "/echo"));
    assert_lives_for(HTTP_DEADLINE_MS);
}

static void a_deferred_request_never_expires(UNUSED void **state)
{
    http_client_send(&client, HTTP_GET("/defer"));
    struct http_exchange *exchange = echo_server_take_deferred(&echo);
    fake_clock_advance(&echo.clock, 24 * 3600 * 1000);
    http_server_sweep(echo.server);
    answer_deferred(exchange, "at last");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "at last");
}

static void a_client_that_does_not_take_its_answer_is_closed_at_the_deadline(UNUSED void **state)
{
    http_client_send(&client, HTTP_GET("/large"));
    http_client_receive_head(&client, &answer);
    echo_server_settle(&echo);
    fake_clock_advance(&echo.clock, HTTP_DEADLINE_MS);
    http_server_sweep(echo.server);
    assert_true(http_client_wait_closed(&client) < ECHO_LARGE_SIZE);
    echo_server_wait_for_exchanges(&echo, 0);
}

static void sweeping_spares_connections_that_are_in_time(UNUSED void **state)
{
    echo_server_settle(&echo);
    fake_clock_advance(&echo.clock, HTTP_DEADLINE_MS / 2);
    open_other();
    echo_server_settle(&echo);
    fake_clock_advance(&echo.clock, HTTP_DEADLINE_MS / 2);
    http_server_sweep(echo.server);
    assert_int_equal(http_client_wait_closed(&client), 0);
    http_client_ask(&other, HTTP_GET("/echo"), &answer);
    assert_answer(&answer, 200, "GET /echo none|");
}

/* Asked once a millisecond. */
static bool moves(int asked_times)
{
    for (; asked_times > 0; asked_times--) {
        if (http_server_has_moved(echo.server))
            return true;
        clock_sleep_ms(&clock_system, 1);
    }
    return false;
}

static void a_server_that_nobody_asks_moves_all_the_same(UNUSED void **state)
{
    for (int i = 0; i < 3; i++)
        assert_true(moves(5000));
    ask(HTTP_GET("/echo"));
    assert_answer(&answer, 200, "GET /echo none|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_that_nobody_asks_moves_all_the_same),
        TEST(a_deferred_request_is_answered_when_another_thread_resumes_it),
        TEST(a_request_may_be_resumed_before_its_handler_returns),
        TEST(deferred_requests_are_answered_in_any_order),
        TEST(a_request_pipelined_behind_a_deferred_one_waits_for_it),
        TEST(a_client_that_leaves_a_deferred_request_harms_nobody),
        TEST(what_an_exchange_keeps_is_released_once_at_its_end),
        TEST(open_exchanges_are_those_begun_and_not_yet_answered),
        TEST(a_draining_server_accepts_nobody),
        TEST(a_draining_server_refuses_new_requests_and_closes),
        TEST(a_draining_server_finishes_what_is_under_way_and_closes),
        TEST(stopping_closes_idle_connections),
        TEST(a_connection_that_stays_silent_is_closed_at_the_deadline),
        TEST(a_header_that_drips_is_closed_at_the_deadline),
        TEST(a_body_that_drips_is_closed_at_the_deadline),
        TEST(a_connection_that_is_idle_between_requests_lives_longer),
        TEST(the_deadline_counts_from_each_request_line),
        TEST(a_deferred_request_never_expires),
        TEST(a_client_that_does_not_take_its_answer_is_closed_at_the_deadline),
        TEST(sweeping_spares_connections_that_are_in_time),
    };
    return RUN_TESTS(argc, argv, tests);
}
