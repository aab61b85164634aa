#include "core/http/http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* The connection must still carry requests, and be in step with them. */
static void assert_goes_on(void)
{
    ask(HTTP_GET("/echo?again"));
    assert_answer(&answer, 200, "GET /echo none|again=|");
}

/* Refused with this status and closed, without the handler and without another answer. */
static void assert_refused(int status)
{
    assert_int_equal(answer.status, status);
    assert_header(&answer, "Connection", "close");
    assert_int_equal(http_client_wait_closed(&client), 0);
    assert_int_equal(atomic_load(&echo.handled), 0);
}

static void the_handler_sees_the_request_as_it_was_sent(UNUSED void **state)
{
    ask(HTTP_HEAD("PATCH",
                  "/echo?a=1&b&c=x%20y&a=2") "x-TEST: v\r\nContent-Length: 5\r\n\r\nhello");
    assert_answer(&answer, 200, "PATCH /echo v|a=1|b=|c=x y|a=2|hello");
    assert_goes_on();
}

static void a_chunked_body_arrives_whole(UNUSED void **state)
{
    ask(HTTP_HEAD("POST", "/echo") "Transfer-Encoding: chunked\r\n\r\n"
                                   "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n");
    assert_answer(&answer, 200, "POST /echo none|abcdefg");
    assert_goes_on();
    ask(HTTP_HEAD("POST", "/echo") "Transfer-Encoding: CHUNKED\r\n\r\n1\r\nz\r\n0\r\n\r\n");
    assert_answer(&answer, 200, "POST /echo none|z");
}

static void an_answer_is_never_cached_and_its_type_never_guessed(UNUSED void **state)
{
    ask(HTTP_GET("/echo"));
    assert_header(&answer, "Content-Type", "application/json");
    assert_header(&answer, "Cache-Control", "no-store");
    assert_header(&answer, "X-Content-Type-Options", "nosniff");
    static const char *const ABSENT[] = {"Location", "Allow", "WWW-Authenticate", "Retry-After"};
    for (size_t i = 0; i < ARRAY_LENGTH(ABSENT); i++)
        assert_header(&answer, ABSENT[i], "");
    assert_goes_on();
}

static void the_fields_of_a_reply_become_headers(UNUSED void **state)
{
    ask(HTTP_GET("/fields"));
    assert_answer(&answer, 201, "made");
    assert_header(&answer, "Content-Type", "text/plain");
    assert_header(&answer, "Location", "/orders/7");
    assert_header(&answer, "Allow", "GET, POST");
    assert_header(&answer, "WWW-Authenticate", "Bearer");
    assert_header(&answer, "Retry-After", "3");
    assert_header(&answer, "Connection", "close");
    assert_int_equal(http_client_wait_closed(&client), 0);
}

static void an_answer_may_have_no_body(UNUSED void **state)
{
    ask(HTTP_GET("/empty"));
    assert_answer(&answer, 204, "");
    assert_goes_on();
}

static void head_is_answered_without_the_body(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("HEAD", "/echo") "\r\n");
    http_client_receive_head(&client, &answer);
    assert_int_equal(answer.status, 200);
    assert_header(&answer, "Content-Length", "16");
    assert_goes_on();
}

static void an_answer_that_could_not_be_built_is_an_internal_error(UNUSED void **state)
{
    ask(HTTP_GET("/overflow"));
    assert_int_equal(answer.status, 500);
    assert_contains(answer.body, "urn:tillbox:problem:internal");
    assert_int_equal(http_server_answers(echo.server, 500), 1);
}

static void an_answer_may_have_eight_megabytes(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("GET", "/large") "Connection: close\r\n\r\n");
    http_client_receive_head(&client, &answer);
    assert_int_equal(http_client_wait_closed(&client), ECHO_LARGE_SIZE);
}

static void pipelined_requests_are_answered_in_their_order(UNUSED void **state)
{
    http_client_send(
        &client, HTTP_GET("/echo?1")
                     HTTP_HEAD("POST", "/echo") "Content-Length: 1\r\n\r\n2" HTTP_GET("/echo?3"));
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "GET /echo none|1=|");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "POST /echo none|2");
    http_client_receive(&client, &answer);
    assert_answer(&answer, 200, "GET /echo none|3=|");
}

static void a_body_may_be_as_large_as_the_limit(UNUSED void **state)
{
    static char body[HTTP_BODY_MAX];
    char head[100];
    memset(body, 'x', sizeof body);
    snprintf(head, sizeof head, HTTP_HEAD("POST", "/empty") "Content-Length: %d\r\n\r\n",
             HTTP_BODY_MAX);
    http_client_send(&client, head);
    http_client_send_bytes(&client, body, sizeof body);
    http_client_receive(&client, &answer);
    assert_answer(&answer, 204, "");
    assert_goes_on();
}

static void a_larger_body_is_refused_by_its_content_length(UNUSED void **state)
{
    static char body[HTTP_BODY_MAX + 1];
    char head[100];
    snprintf(head, sizeof head, HTTP_HEAD("POST", "/echo") "Content-Length: %zu\r\n\r\n",
             sizeof body);
    http_client_send(&client, head);
    http_client_send_bytes(&client, body, sizeof body);
    http_client_receive(&client, &answer);
    assert_contains(answer.body, "urn:tillbox:problem:too-large");
    assert_refused(413);
}

/* Eight chunks of 8 KiB are the limit; the last byte is in a ninth. */
static void a_larger_body_in_chunks_is_refused_once_it_has_come(UNUSED void **state)
{
    static char chunk[8192 + 2];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk + 8192, "\r\n", 2);
    for (int bytes_over = 0; bytes_over < 2; bytes_over++) {
        http_client_send(&client, HTTP_HEAD("POST", "/empty") "Transfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 8; i++) {
            http_client_send(&client, "2000\r\n");
            http_client_send_bytes(&client, chunk, sizeof chunk);
        }
        http_client_send(&client, bytes_over ? "1\r\nx\r\n0\r\n\r\n" : "0\r\n\r\n");
        http_client_receive(&client, &answer);
        assert_int_equal(answer.status, bytes_over ? 413 : 204);
    }
    assert_int_equal(atomic_exchange(&echo.handled, 0), 1);
    assert_refused(413);
}

static void a_client_that_asks_first_is_told_to_send(UNUSED void **state)
{
    http_client_send(&client, HTTP_HEAD("POST", "/echo") "Expect: 100-continue\r\n"
                                                         "Content-Length: 2\r\n\r\n");
    http_client_receive_head(&client, &answer);
    assert_int_equal(answer.status, 100);
    ask("ok");
    assert_answer(&answer, 200, "POST /echo none|ok");
}

static void a_client_that_asks_first_hears_at_once_that_its_body_is_too_large(UNUSED void **state)
{
    ask(HTTP_HEAD("POST", "/echo") "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n");
    assert_refused(413);
}

static void a_header_that_is_too_large_is_refused(UNUSED void **state)
{
    static char header[HTTP_HEADER_BYTES_MAX];
    memset(header, 'x', sizeof header - 1);
    http_client_send(&client, HTTP_HEAD("GET", "/echo") "X-Test: ");
    http_client_send(&client, header);
    http_client_send(&client, "\r\n\r\n");
    http_client_receive(&client, &answer);
    assert_refused(431);
}

static void an_address_that_is_too_large_is_refused(UNUSED void **state)
{
    static char address[HTTP_HEADER_BYTES_MAX];
    memset(address, 'x', sizeof address - 1);
    http_client_send(&client, "GET /");
    http_client_send(&client, address);
    http_client_send(&client, " HTTP/1.1\r\nHost: box\r\n\r\n");
    http_client_receive(&client, &answer);
    assert_refused(414);
}

struct framing {
    int status;
    const char *headers;
};

/* Sends a body that looks like a request after each of these headers. */
static void ask_with(const char *headers)
{
    http_client_close(&client);
    assert_true(http_client_open(&client, http_server_port(echo.server)));
    http_client_send(&client, HTTP_HEAD("POST", "/echo"));
    http_client_send(&client, headers);
    http_client_send(&client, "\r\n" HTTP_GET("/echo"));
    http_client_receive(&client, &answer);
}

static void a_request_that_can_be_read_in_two_ways_is_refused_and_closed(UNUSED void **state)
{
    static const struct framing CASES[] = {
        {400, "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"},
        {400, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"},
        {400, "Transfer-Encoding: gzip\r\nContent-Length: 4\r\n"},
        {400, "Content-Length: 4\r\nContent-Length: 4\r\n"},
        {400, "Content-Length: 4\r\ncontent-length: 0\r\n"},
        {400, "Host: box\r\nContent-Length: 4\r\n"},
        {400, "host: other\r\n"},
        {400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
        {400, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"},
        {501, "Transfer-Encoding: gzip\r\n"},
        {501, "Transfer-Encoding: gzip, chunked\r\n"},
        {501, "Transfer-Encoding: identity\r\n"},
        {501, "Transfer-Encoding: xchunked\r\n"},
        {501, "Transfer-Encoding:\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        ask_with(CASES[i].headers);
        assert_refused(CASES[i].status);
        assert_string_equal(http_answer_header(&answer, "Content-Type"),
                            "application/problem+json");
    }
}

static void such_a_request_is_closed_whatever_its_method(UNUSED void **state)
{
    static const char *const CASES[] = {HTTP_HEAD("GET", "/echo"), HTTP_HEAD("PATCH", "/echo"),
                                        HTTP_HEAD("DELETE", "/echo")};
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        http_client_close(&client);
        assert_true(http_client_open(&client, http_server_port(echo.server)));
        http_client_send(&client, CASES[i]);
        ask("Host: other\r\n\r\n" HTTP_GET("/echo"));
        assert_refused(400);
    }
}

/* libmicrohttpd refuses these itself, and sends the head of its answer twice. */
static void a_content_length_that_is_no_number_is_refused_and_closed(UNUSED void **state)
{
    static const struct framing CASES[] = {
        {400, "Content-Length: 4, 4\r\n"}, {400, "Content-Length: x\r\n"},
        {400, "Content-Length: -1\r\n"},   {400, "Content-Length: +4\r\n"},
        {400, "Content-Length:\r\n"},      {400, "Content-Length: 4 4\r\n"},
        {400, "Content-Length: 0x4\r\n"},  {413, "Content-Length: 18446744073709551620\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        ask_with(CASES[i].headers);
        assert_int_equal(answer.status, CASES[i].status);
        http_client_wait_closed(&client);
        assert_int_equal(atomic_load(&echo.handled), 0);
    }
}

/* RFC 9112, sections 5.1 and 5.2: a space before the colon, and a value that goes on in the next
 * line. Others read the length out of it; here the body must not pass for the next request. */
static void a_length_in_disguise_is_refused_and_closed(UNUSED void **state)
{
    static const char *const CASES[] = {
        "Content-Length : 36\r\n",         "Content-Length\t: 36\r\n",
        "Transfer-Encoding : chunked\r\n", "Content-Length: 36\r\n 36\r\n",
        "Content-Length:\r\n 36\r\n",      "Transfer-Encoding: chunked\r\n ,x\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        ask_with(CASES[i]);
        assert_int_equal(answer.status, 400);
        http_client_wait_closed(&client);
        assert_int_equal(atomic_load(&echo.handled), 0);
    }
}

static void a_header_that_cannot_be_read_is_refused_and_closed(UNUSED void **state)
{
    static const char *const CASES[] = {
        "X-Test : a\r\n",    "X(Test): a\r\n",    "X-T\xC3\xA4st: a\r\n",
        "X-Test: a\x01\r\n", "X-Test: a\x7F\r\n", "X-Test: a\rContent-Length: 36\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        ask_with(CASES[i]);
        assert_refused(400);
    }
    ask_with("X-Test: a\tb \xC3\xA4\r\nConnection: close\r\n");
    assert_answer(&answer, 200, "POST /echo a\tb \xC3\xA4|");
}

static void percent_signs_are_decoded_where_they_stand_for_a_byte(UNUSED void **state)
{
    ask(HTTP_GET("/ec%68%6F?%61=%41%2b%7e&b=%zz%4&c=%&d=x+y&e=%C3%A4"));
    assert_answer(&answer, 200, "GET /echo none|a=A+~|b=%zz%4|c=%|d=x y|e=\xC3\xA4|");
}

/* Decoded, it would end the text, and what follows would be gone. */
static void an_encoded_nul_stays_encoded(UNUSED void **state)
{
    ask(HTTP_GET("/echo%00/more?a=%00x"));
    assert_answer(&answer, 404, "GET /echo%00/more none|a=%00x|");
    ask(HTTP_GET("/echo?a%00b=1"));
    assert_answer(&answer, 200, "GET /echo none|a%00b=1|");
}

static void a_request_that_is_none_is_refused(UNUSED void **state)
{
    static const char *const BAD[] = {
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo\r\n\r\n",
        "GET /echo HTTP/3.0\r\nHost: box\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        http_client_close(&client);
        assert_true(http_client_open(&client, http_server_port(echo.server)));
        http_client_send(&client, BAD[i]);
        http_client_wait_closed(&client);
        assert_int_equal(atomic_load(&echo.handled), 0);
    }
}

static void what_the_screen_refuses_is_answered_after_its_body(UNUSED void **state)
{
    static char body[HTTP_BODY_MAX];
    char head[100];
    snprintf(head, sizeof head, HTTP_HEAD("POST", "/refused") "Content-Length: %zu\r\n\r\n",
             sizeof body);
    http_client_send(&client, head);
    http_client_send_bytes(&client, body, sizeof body - 1);
    echo_server_settle(&echo);
    assert_false(http_client_hears(&client, 0));
    http_client_send_bytes(&client, body, 1);
    http_client_receive(&client, &answer);
    assert_int_equal(answer.status, 401);
    assert_header(&answer, "Connection", "");
    atomic_store(&echo.handled, 0);
    assert_goes_on();
    assert_int_equal(atomic_load(&echo.handled), 1);
}

static void what_the_screen_refuses_stays_refused_however_large_its_body(UNUSED void **state)
{
    static char chunk[0x3000 + 2];
    memset(chunk, 'x', 0x3000);
    memcpy(chunk + 0x3000, "\r\n", 2);
    http_client_send(&client, HTTP_HEAD("POST", "/refused") "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        http_client_send(&client, "3000\r\n");
        http_client_send_bytes(&client, chunk, sizeof chunk);
    }
    ask("0\r\n\r\n");
    assert_int_equal(answer.status, 401);
    assert_header(&answer, "Connection", "");
    assert_goes_on();
}

static void answers_are_counted_by_their_status(UNUSED void **state)
{
    static const int STATUSES[] = {100, 200, 201, 204, 401, 599};
    static const int COUNTS[] = {0, 2, 1, 0, 1, 0};
    ask(HTTP_GET("/echo"));
    ask(HTTP_GET("/echo"));
    ask(HTTP_GET("/refused"));
    ask(HTTP_GET("/fields"));
    for (size_t i = 0; i < ARRAY_LENGTH(STATUSES); i++)
        assert_int_equal(http_server_answers(echo.server, STATUSES[i]), COUNTS[i]);
}

/* One more than the limit is served only when another has gone. */
static void connections_are_limited(UNUSED void **state)
{
    static int sockets[HTTP_CONNECTIONS_MAX - 1];
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(sockets); i++) {
        open_other();
        sockets[i] = other.socket;
    }
    http_client_ask(&other, HTTP_GET("/echo"), &answer); /* served in turn, so all are */
    open_other();
    http_client_send(&other, HTTP_GET("/echo"));
    for (int i = 0; i < 5; i++)
        ask(HTTP_GET("/echo"));
    assert_false(http_client_hears(&other, 0));
    for (size_t i = 0; i < ARRAY_LENGTH(sockets); i++)
        close(sockets[i]);
    http_client_receive(&other, &answer);
    assert_answer(&answer, 200, "GET /echo none|");
}

static void an_address_in_use_is_refused(UNUSED void **state)
{
    struct http_server *untouched = NULL;
    struct error error = {0};
    struct http_server_options options = {
        .host = "127.0.0.1", .port = http_server_port(echo.server), .clock = &clock_system};
    assert_int_equal(http_server_start(&options, &untouched, &error), RESULT_LOCKED);
    assert_contains(error.text, "can't listen on 127.0.0.1 port ");
    options.host = "::g";
    assert_int_equal(http_server_start(&options, &untouched, &error), RESULT_INVALID);
    assert_contains(error.text, "address ::g");
    assert_null(untouched);
}

static void the_library_tells_its_version(UNUSED void **state)
{
    assert_int_equal(strncmp(http_library_version(), "0.9.", 4), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_handler_sees_the_request_as_it_was_sent),
        TEST(a_chunked_body_arrives_whole),
        TEST(an_answer_is_never_cached_and_its_type_never_guessed),
        TEST(the_fields_of_a_reply_become_headers),
        TEST(an_answer_may_have_no_body),
        TEST(head_is_answered_without_the_body),
        TEST(an_answer_that_could_not_be_built_is_an_internal_error),
        TEST(an_answer_may_have_eight_megabytes),
        TEST(pipelined_requests_are_answered_in_their_order),
        TEST(a_body_may_be_as_large_as_the_limit),
        TEST(a_larger_body_is_refused_by_its_content_length),
        TEST(a_larger_body_in_chunks_is_refused_once_it_has_come),
        TEST(a_client_that_asks_first_is_told_to_send),
        TEST(a_client_that_asks_first_hears_at_once_that_its_body_is_too_large),
        TEST(a_header_that_is_too_large_is_refused),
        TEST(an_address_that_is_too_large_is_refused),
        TEST(a_request_that_can_be_read_in_two_ways_is_refused_and_closed),
        TEST(such_a_request_is_closed_whatever_its_method),
        TEST(a_content_length_that_is_no_number_is_refused_and_closed),
        TEST(a_length_in_disguise_is_refused_and_closed),
        TEST(a_header_that_cannot_be_read_is_refused_and_closed),
        TEST(percent_signs_are_decoded_where_they_stand_for_a_byte),
        TEST(an_encoded_nul_stays_encoded),
        TEST(a_request_that_is_none_is_refused),
        TEST(what_the_screen_refuses_is_answered_after_its_body),
        TEST(what_the_screen_refuses_stays_refused_however_large_its_body),
        TEST(answers_are_counted_by_their_status),
        TEST(connections_are_limited),
        TEST(an_address_in_use_is_refused),
        TEST(the_library_tells_its_version),
    };
    return RUN_TESTS(argc, argv, tests);
}
