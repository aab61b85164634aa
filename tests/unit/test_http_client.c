#include "core/http/http_client.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "tests/support/echo_server.h"
#include "tests/support/unit.h"

enum { HANG_MS = 3000, TIMEOUT_MS = 300, SLACK_MS = 1500, ANSWER_MAX = 4096, URL_SIZE = 100 };

static struct echo_server echo;
static struct http_client *client;
static struct buf body;

/* Takes the place of the C library's, also for libcurl: a name server that hangs. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (name && strcmp(name, "hangs.invalid") == 0) {
        clock_sleep_ms(&clock_system, HANG_MS);
        return EAI_AGAIN;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, ret_list);
}

static int set_up(UNUSED void **state)
{
    echo_server_start(&echo);
    buf_init(&body, ANSWER_MAX);
    assert_ok(http_client_new(NULL, &client));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    http_client_free(client);
    buf_done(&body);
    echo_server_stop(&echo);
    return 0;
}

static struct http_request request_to(char url[static URL_SIZE], const char *path)
{
    snprintf(url, URL_SIZE, "http://127.0.0.1:%u%s", http_server_port(echo.server), path);
    return (struct http_request){
        .url = url, .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS};
}

static void a_get_and_a_post_bring_method_header_and_body(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    const struct http_header header = {"X-Echo", "value"};
    struct http_request request = request_to(url, "/echo");
    assert_ok(http_client_call(client, &request, &status, &body, NULL));
    assert_int_equal(status, 200);
    assert_int_equal(strncmp(buf_text(&body), "GET /echo", strlen("GET /echo")), 0);
    buf_clear(&body);
    request.headers = &header;
    request.header_count = 1;
    request.body = "hello";
    request.body_size = strlen("hello");
    assert_ok(http_client_call(client, &request, &status, &body, NULL));
    assert_int_equal(strncmp(buf_text(&body), "POST /echo", strlen("POST /echo")), 0);
    assert_contains(buf_text(&body), "hello");
}

static void any_status_is_an_answer(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    struct http_request request = request_to(url, "/refused");
    assert_ok(http_client_call(client, &request, &status, &body, NULL));
    assert_int_equal(status, 401);
}

static void an_answer_over_the_limit_is_cut_off(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    struct http_request request = request_to(url, "/large");
    assert_int_equal(http_client_call(client, &request, &status, &body, NULL), RESULT_TOO_LARGE);
    assert_int_equal(status, 0);
}

static void no_answer_ends_with_the_timeout(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    struct error error = {0};
    struct http_request request = request_to(url, "/defer");
    assert_int_equal(http_client_call(client, &request, &status, &body, &error), RESULT_TIMED_OUT);
    assert_string_not_equal(error.text, "");
}

static void nobody_there_is_unreachable(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    struct http_request request = request_to(url, "/echo");
    echo_server_stop(&echo);
    assert_int_equal(http_client_call(client, &request, &status, &body, NULL), RESULT_UNREACHABLE);
}

static void a_name_server_that_hangs_holds_nothing_up(UNUSED void **state)
{
    int status = 0;
    const struct http_request request = {
        .url = "http://hangs.invalid/", .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS};
    int64_t started_ms = clock_monotonic_ms(&clock_system);
    assert_int_equal(http_client_call(client, &request, &status, &body, NULL), RESULT_TIMED_OUT);
    assert_true(clock_monotonic_ms(&clock_system) - started_ms < SLACK_MS);
}

static void a_header_with_a_line_end_is_not_sent(UNUSED void **state)
{
    char url[URL_SIZE];
    int status = 0;
    const struct http_header header = {"X-Echo", "value\r\nX-Other: value"};
    struct http_request request = request_to(url, "/echo");
    request.headers = &header;
    request.header_count = 1;
    assert_int_equal(http_client_call(client, &request, &status, &body, NULL), RESULT_INVALID);
}

static void only_http_is_spoken(UNUSED void **state)
{
    static const char *const URLS[] = {"file:///etc/hostname", "ftp://127.0.0.1/", "gopher://x/"};
    for (size_t i = 0; i < ARRAY_LENGTH(URLS); i++) {
        int status = 0;
        const struct http_request request = {
            .url = URLS[i], .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS};
        assert_int_equal(http_client_call(client, &request, &status, &body, NULL), RESULT_INVALID);
    }
}

static void a_url_is_checked_without_telling_its_password(UNUSED void **state)
{
    struct error error = {0};
    assert_ok(http_client_check_url("http://inventory:8082/locations/shop-1", false, &error));
    assert_ok(http_client_check_url("https://[::1]/", false, &error));
    assert_int_equal(http_client_check_url("inventory:8082", false, &error), RESULT_INVALID);
    assert_int_equal(http_client_check_url("http://u:secret@host/", false, &error), RESULT_INVALID);
    assert_null(strstr(error.text, "secret"));
    assert_int_equal(http_client_check_url("http://host/?a=b", false, &error), RESULT_INVALID);
    assert_ok(http_client_check_url("http://host/?a=b", true, &error));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_get_and_a_post_bring_method_header_and_body, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(any_status_is_an_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_over_the_limit_is_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_answer_ends_with_the_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_unreachable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_server_that_hangs_holds_nothing_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_header_with_a_line_end_is_not_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_http_is_spoken, set_up, tear_down),
        cmocka_unit_test(a_url_is_checked_without_telling_its_password),
    };
    return RUN_TESTS(argc, argv, tests);
}
