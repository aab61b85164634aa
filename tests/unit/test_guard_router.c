/* The guard and the router behind a real server, which alone can make an exchange. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "appliance/api.h"
#include "appliance/guard.h"
#include "appliance/router.h"
#include "appliance/till_page.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/http_client.h"

enum { ORDERS, INVENTORY, REQUEST_MAX = 2048 };

static struct fixture fixture;
static struct settings settings;
static struct api api;
static struct http_answer answer;
static char *allowed_hosts[] = {(char[]){"till.example"}, (char[]){"192.0.2.7"}};
static char token[] = "0123456789abcdef";

static void start_service(int index, enum service_kind kind, const char *host)
{
    struct service *service = &api.services[index];
    struct http_server *server = NULL;
    service->api = &api;
    service->kind = kind;
    assert_ok(sha256_new(&api.hashers[index]));
    assert_ok(queries_open(fixture.folder.path, &service->queries, NULL));
    const struct http_server_options options = {.host = host,
                                                .clock = &clock_system,
                                                .screen = guard_screen,
                                                .handle = router_handle,
                                                .context = service};
    assert_ok(http_server_start(&options, &server, NULL));
    service->server = server;
}

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 50, 999)), 201);
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    settings = (struct settings){.orders_listen = {"192.0.2.1", 8081},
                                 .inventory_listen = {"2001:db8::1", 8082},
                                 .currency = (char[]){"EUR"},
                                 .data_dir = fixture.folder.path,
                                 .allowed_hosts = {allowed_hosts, ARRAY_LENGTH(allowed_hosts)}};
    memset(&api, 0, sizeof api);
    api.settings = &settings;
    api.clock = &fixture.clock.clock;
    api.journal = fixture.journal;
    api.committer = fixture.committer;
    api.disk = fixture.disk;
    assert_ok(integrity_start(fixture.folder.path, true, &api.integrity, NULL));
    const struct accounts_options accounts = {
        .data_dir = fixture.folder.path, .bridge_dir = fixture.folder.path, .clock = &clock_system};
    assert_ok(accounts_start(&accounts, &api.accounts, NULL));
    assert_ok(history_new(fixture.folder.path, FIXTURE_NOW_MS, &api.history, NULL));
    start_service(ORDERS, SERVICE_ORDERS, "127.0.0.1");
    start_service(INVENTORY, SERVICE_INVENTORY, "127.0.0.1");
    return 0;
}

static int tear_down(UNUSED void **state)
{
    for (int i = 0; i < SERVICE_COUNT; i++) {
        http_server_stop(api.services[i].server);
        queries_close(api.services[i].queries);
        sha256_free(api.hashers[i]);
    }
    integrity_stop(api.integrity);
    accounts_stop(api.accounts);
    history_free(api.history);
    fixture_done(&fixture);
    return 0;
}

static uint16_t port_of(int service)
{
    return http_server_port(api.services[service].server);
}

/* One request with these header lines, each ended by CR LF. */
static int ask(int service, const char *method, const char *path, const char *headers)
{
    static struct http_client client;
    char text[REQUEST_MAX];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n", method, path,
             headers);
    assert_true(http_client_open(&client, port_of(service)));
    http_client_send(&client, text);
    if (strcmp(method, "HEAD") == 0)
        http_client_receive_head(&client, &answer);
    else
        http_client_receive(&client, &answer);
    http_client_close(&client);
    return answer.status;
}

static int ask_host(const char *host)
{
    char headers[512];
    snprintf(headers, sizeof headers, "Host: %s\r\n", host);
    return ask(ORDERS, "GET", "/orders/1", headers);
}

/* The first "PORT" in `origin`, if there is one, stands for `port`. */
static int ask_origin(const char *origin, unsigned port)
{
    static const char HOLE[] = "PORT";
    char headers[512], number[8] = "";
    const char *hole = strstr(origin, HOLE);
    int before = (int)(hole ? hole - origin : (long)strlen(origin));
    if (hole)
        snprintf(number, sizeof number, "%u", port);
    snprintf(headers, sizeof headers, "Host: localhost:%u\r\nOrigin: %.*s%s%s\r\n", port_of(ORDERS),
             before, origin, number, hole ? hole + strlen(HOLE) : "");
    return ask(ORDERS, "GET", "/orders/1", headers);
}

static void the_box_answers_to_its_own_names(UNUSED void **state)
{
    static const char *const NAMES[] = {
        "localhost", "LocalHost:8081", "127.0.0.1",   "127.0.0.1:1",       "[::1]:8081",
        "[::1]",     "192.0.2.1:8081", "192.0.2.1",   "[2001:db8::1]:123", "till.example",
        "192.0.2.7", "TILL.example:8", "localhost:0", "localhost:65535"};
    for (size_t i = 0; i < ARRAY_LENGTH(NAMES); i++)
        assert_int_equal(ask_host(NAMES[i]), 200);
}

static void the_box_answers_to_no_other_name(UNUSED void **state)
{
    static const char *const NAMES[] = {"shop.example",
                                        "localhost.shop.example",
                                        "till.example.",
                                        "127.0.0.1.shop.example:8081",
                                        "xtill.example",
                                        "localhost@shop.example",
                                        "127.0.0.2",
                                        "192.0.2.8:8081",
                                        "[2001:db8::2]",
                                        "0.0.0.0:8081",
                                        "till.example,localhost",
                                        "[::1"};
    for (size_t i = 0; i < ARRAY_LENGTH(NAMES); i++) {
        assert_int_equal(ask_host(NAMES[i]), 421);
        assert_contains(answer.body, "allowed_hosts");
    }
}

static void a_host_that_cannot_be_read_is_malformed(UNUSED void **state)
{
    static const char *const NAMES[] = {"",
                                        ":8081",
                                        "localhost:",
                                        "localhost:x",
                                        "localhost:80x",
                                        "localhost:65536",
                                        "localhost:-1",
                                        "[::1]8081",
                                        "localhost:80:80"};
    for (size_t i = 0; i < ARRAY_LENGTH(NAMES); i++)
        assert_int_equal(ask_host(NAMES[i]), 400);
    char name[300];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(ask_host(name), 400);
    assert_int_equal(ask(ORDERS, "GET", "/orders/1", ""), 400);
}

static void the_box_s_own_pages_may_send_requests(UNUSED void **state)
{
    assert_int_equal(ask_origin("http://localhost:PORT", port_of(ORDERS)), 200);
    assert_int_equal(ask_origin("http://127.0.0.1:PORT", port_of(ORDERS)), 200);
    assert_int_equal(ask_origin("http://localhost:PORT", port_of(INVENTORY)), 200);
    assert_int_equal(ask_origin("https://till.example:PORT", port_of(ORDERS)), 200);
    assert_int_equal(
        ask(ORDERS, "GET", "/orders/1", "Host: till.example\r\nOrigin: https://till.example\r\n"),
        200);
}

static void no_other_page_may_send_requests(UNUSED void **state)
{
    static const char *const ORIGINS[] = {"null",
                                          "http://shop.example",
                                          "http://shop.example:PORT",
                                          "file://",
                                          "http://localhost",
                                          "http://localhost:1",
                                          "localhost:PORT",
                                          "ftp://localhost:PORT",
                                          "http://localhost.shop.example:PORT",
                                          "http://",
                                          "http://localhost:PORT:1",
                                          "http://shop.example/http://localhost:PORT",
                                          "httpx://localhost:PORT"};
    for (size_t i = 0; i < ARRAY_LENGTH(ORIGINS); i++)
        assert_int_equal(ask_origin(ORIGINS[i], port_of(ORDERS)), 403);
    assert_contains(answer.body, "foreign-origin");
}

static void strangers_are_stopped_before_anything_is_done(UNUSED void **state)
{
    static const char BODY[] = "Content-Type: application/json\r\nContent-Length: 0\r\n";
    char headers[512];
    snprintf(headers, sizeof headers, "Host: shop.example\r\n%s", BODY);
    assert_int_equal(ask(ORDERS, "POST", "/orders/1/cancel", headers), 421);
    snprintf(headers, sizeof headers, "Host: localhost\r\nOrigin: http://shop.example\r\n%s", BODY);
    assert_int_equal(ask(ORDERS, "POST", "/orders/1/cancel", headers), 403);
    assert_int_equal(ask(ORDERS, "GET", "/nothing", "Host: shop.example\r\n"), 421);
    settings.api_token = token;
    snprintf(headers, sizeof headers, "Host: localhost\r\n%s", BODY);
    assert_int_equal(ask(ORDERS, "POST", "/orders/1/cancel", headers), 401);
    assert_int_equal(ask(ORDERS, "GET", "/nothing", "Host: localhost\r\n"), 401);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders WHERE status = 'created'"),
                     1);
}

static int ask_with(const char *authorization)
{
    char headers[512];
    snprintf(headers, sizeof headers, "Host: localhost\r\nAuthorization: %s\r\n", authorization);
    return ask(ORDERS, "GET", "/orders/1", headers);
}

static void a_token_must_be_sent_whole_where_one_is_asked_for(UNUSED void **state)
{
    static const char *const WRONG[] = {"Bearer 0123456789abcdeX",  "Bearer 0123456789abcde",
                                        "Bearer 0123456789abcdef0", "Bearer",
                                        "0123456789abcdef",         "Basic 0123456789abcdef",
                                        "Bearer: 0123456789abcdef", "Bearer  0123456789abcdef",
                                        "Bearer 0123456789ABCDEF"};
    settings.api_token = token;
    assert_int_equal(ask_with("Bearer 0123456789abcdef"), 200);
    assert_int_equal(ask_with("bearer 0123456789abcdef"), 200);
    for (size_t i = 0; i < ARRAY_LENGTH(WRONG); i++) {
        assert_int_equal(ask_with(WRONG[i]), 401);
        assert_contains(http_answer_header(&answer, "WWW-Authenticate"), "Bearer");
        assert_null(strstr(answer.body, token));
    }
    assert_int_equal(ask_host("localhost"), 401);
}

static void probes_need_no_token_and_all_else_does(UNUSED void **state)
{
    static const char *const OPEN[] = {"/livez", "/readyz", "/healthz"};
    static const char *const CLOSED[] = {"/status", "/metrics", "/products", "/livez/", "/Livez"};
    settings.api_token = token;
    for (size_t i = 0; i < ARRAY_LENGTH(OPEN); i++)
        assert_int_equal(ask(INVENTORY, "GET", OPEN[i], "Host: localhost\r\n"), 200);
    for (size_t i = 0; i < ARRAY_LENGTH(CLOSED); i++)
        assert_int_equal(ask(INVENTORY, "GET", CLOSED[i], "Host: localhost\r\n"), 401);
}

static void the_till_page_s_files_need_no_token_and_what_it_asks_for_does(UNUSED void **state)
{
    static const char *const DATA[] = {"/settings", "/parked", "/history", "/orders/latest"};
    settings.api_token = token;
    for (size_t i = 0; i < TILL_PAGE_FILES_COUNT; i++) {
        const char *path = TILL_PAGE_FILES[i].path;
        assert_int_equal(ask(ORDERS, "GET", path, "Host: localhost\r\n"), 200);
        assert_int_equal(ask(ORDERS, "GET", path, "Host: shop.example\r\n"), 421);
        assert_int_equal(ask(INVENTORY, "GET", path, "Host: localhost\r\n"), 401);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(DATA); i++)
        assert_int_equal(ask(ORDERS, "GET", DATA[i], "Host: localhost\r\n"), 401);
}

static const char *header(const char *name)
{
    return http_answer_header(&answer, name);
}

static void the_till_page_is_asked_for_anew_and_its_files_are_kept(UNUSED void **state)
{
    char known[256];
    assert_int_equal(ask(ORDERS, "GET", "/", "Host: localhost\r\n"), 200);
    assert_string_equal(header("Cache-Control"), "no-cache");
    assert_string_equal(header("ETag"), TILL_PAGE_ETAG);
    assert_string_equal(header("Content-Encoding"), "");
    assert_contains(answer.body, TILL_PAGE_BUILD);
    snprintf(known, sizeof known, "Host: localhost\r\nIf-None-Match: \"x\", %s\r\n",
             TILL_PAGE_ETAG);
    assert_int_equal(ask(ORDERS, "GET", "/", known), 304);
    assert_string_equal(header("ETag"), TILL_PAGE_ETAG);
    assert_int_equal(ask(ORDERS, "GET", TILL_PAGE_FILES[0].path, "Host: localhost\r\n"), 200);
    assert_contains(header("Cache-Control"), "immutable");
    assert_contains(header("Content-Security-Policy"), "default-src 'none'");
    assert_string_equal(header("X-Content-Type-Options"), "nosniff");
}

static void it_is_compressed_for_those_who_take_that(UNUSED void **state)
{
    static const char *const TAKE[] = {"gzip", "br, GZIP", "gzip;q=0.1", "deflate, gzip;q=1.0, *"};
    static const char *const LEAVE[] = {"", "br", "gzip;q=0", "gzip; q=0.000", "identity"};
    char headers[256];
    for (size_t i = 0; i < ARRAY_LENGTH(TAKE); i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nAccept-Encoding: %s\r\n", TAKE[i]);
        assert_int_equal(ask(ORDERS, "HEAD", "/", headers), 200);
        assert_string_equal(header("Content-Encoding"), "gzip");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(LEAVE); i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nAccept-Encoding: %s\r\n", LEAVE[i]);
        assert_int_equal(ask(ORDERS, "HEAD", "/", headers), 200);
        assert_string_equal(header("Content-Encoding"), "");
        assert_string_equal(header("Vary"), "Accept-Encoding");
    }
}

static void the_newest_orders_come_first(UNUSED void **state)
{
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    assert_int_equal(ask(ORDERS, "GET", "/orders/latest?limit=1", "Host: localhost\r\n"), 200);
    assert_contains(answer.body, "{\"orders\":[{\"id\":2,");
    assert_contains(answer.body, "\"next_before\":2}");
    assert_int_equal(ask(ORDERS, "GET", "/orders/latest?before=2", "Host: localhost\r\n"), 200);
    assert_contains(answer.body, "{\"orders\":[{\"id\":1,");
    assert_contains(answer.body, "\"next_before\":null}");
    assert_int_equal(ask(ORDERS, "GET", "/orders/latest?after=1", "Host: localhost\r\n"), 422);
}

static void assert_route(int service, const char *method, const char *path, int status)
{
    int got = ask(service, method, path, "Host: localhost\r\nContent-Length: 0\r\n");
    if (got != status)
        print_error("%s %s: %d\n", method, path, got);
    assert_int_equal(got, status);
}

static void every_call_is_answered_on_its_ports(UNUSED void **state)
{
    static const char *const BOTH[] = {"/products", "/products/1", "/livez",  "/readyz",
                                       "/healthz",  "/status",     "/metrics"};
    for (size_t i = 0; i < ARRAY_LENGTH(BOTH); i++) {
        assert_route(ORDERS, "GET", BOTH[i], 200);
        assert_route(INVENTORY, "GET", BOTH[i], 200);
        assert_route(INVENTORY, "HEAD", BOTH[i], 200);
    }
    assert_route(ORDERS, "GET", "/orders", 200);
    assert_route(ORDERS, "GET", "/orders/1", 200);
    assert_route(ORDERS, "GET", "/settings", 200);
    assert_route(ORDERS, "GET", "/parked", 200);
    assert_route(ORDERS, "GET", "/history", 200);
    assert_route(ORDERS, "GET", "/orders?limit=1&after=0", 200);
    assert_route(ORDERS, "POST", "/orders/1/cancel", 200);
    /* without a body they are found, and malformed */
    assert_route(ORDERS, "POST", "/orders", 400);
    for (int service = ORDERS; service <= INVENTORY; service++) {
        assert_route(service, "POST", "/products", 400);
        assert_route(service, "PATCH", "/products/1", 400);
        assert_route(service, "POST", "/products/1/stock", 400);
    }
}

static void orders_are_not_served_on_the_inventory_port(UNUSED void **state)
{
    assert_route(INVENTORY, "GET", "/orders", 404);
    assert_route(INVENTORY, "POST", "/orders", 404);
    assert_route(INVENTORY, "GET", "/orders/1", 404);
    assert_route(INVENTORY, "POST", "/orders/1/cancel", 404);
}

static void an_unknown_path_is_not_found(UNUSED void **state)
{
    static const char *const PATHS[] = {"/nothing",
                                        "/orders/",
                                        "/Orders",
                                        "/orders/1/",
                                        "/orders/1/refund",
                                        "/orders//cancel",
                                        "/orders/1/cancel/2",
                                        "/products/1/stock/",
                                        "//orders",
                                        "/orders/1/2",
                                        "/livez/1"};
    for (size_t i = 0; i < ARRAY_LENGTH(PATHS); i++) {
        assert_route(ORDERS, "GET", PATHS[i], 404);
        assert_contains(answer.body, "nothing is served at this path");
    }
}

static void what_is_no_id_is_not_found(UNUSED void **state)
{
    static const char *const IDS[] = {"0",
                                      "-1",
                                      "+1",
                                      "abc",
                                      "1x",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "%20",
                                      "9007199254740992",
                                      "10000000000000000001"};
    char path[64];
    for (size_t i = 0; i < ARRAY_LENGTH(IDS); i++) {
        snprintf(path, sizeof path, "/orders/%s", IDS[i]);
        assert_route(ORDERS, "GET", path, 404);
        assert_contains(answer.body, "an id is a whole number from 1");
        snprintf(path, sizeof path, "/products/%s/stock", IDS[i]);
        assert_route(ORDERS, "POST", path, 404);
    }
    assert_route(ORDERS, "GET", "/orders/9007199254740991", 404);
    assert_contains(answer.body, "there is no order 9007199254740991");
}

static void another_method_is_told_which_are_allowed(UNUSED void **state)
{
    const struct {
        const char *method, *path, *allow;
    } CASES[] = {
        {"PUT", "/orders", "GET, HEAD, POST"},
        {"DELETE", "/orders/1", "GET, HEAD"},
        {"GET", "/orders/1/cancel", "POST"},
        {"HEAD", "/orders/1/cancel", "POST"},
        {"PATCH", "/products", "GET, HEAD, POST"},
        {"POST", "/products/1", "GET, HEAD, PATCH"},
        {"GET", "/products/1/stock", "POST"},
        {"POST", "/livez", "GET, HEAD"},
        {"POST", "/", "GET, HEAD"},
        {"PUT", TILL_PAGE_FILES[0].path, "GET, HEAD"},
        {"OPTIONS", "/orders", "GET, HEAD, POST"},
        {"get", "/orders", "GET, HEAD, POST"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        assert_route(ORDERS, CASES[i].method, CASES[i].path, 405);
        assert_string_equal(http_answer_header(&answer, "Allow"), CASES[i].allow);
    }
}

static void a_method_is_checked_before_the_id(UNUSED void **state)
{
    assert_route(ORDERS, "DELETE", "/orders/abc", 405);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_box_answers_to_its_own_names),
        TEST(the_box_answers_to_no_other_name),
        TEST(a_host_that_cannot_be_read_is_malformed),
        TEST(the_box_s_own_pages_may_send_requests),
        TEST(no_other_page_may_send_requests),
        TEST(strangers_are_stopped_before_anything_is_done),
        TEST(a_token_must_be_sent_whole_where_one_is_asked_for),
        TEST(probes_need_no_token_and_all_else_does),
        TEST(the_till_page_s_files_need_no_token_and_what_it_asks_for_does),
        TEST(the_till_page_is_asked_for_anew_and_its_files_are_kept),
        TEST(it_is_compressed_for_those_who_take_that),
        TEST(the_newest_orders_come_first),
        TEST(every_call_is_answered_on_its_ports),
        TEST(orders_are_not_served_on_the_inventory_port),
        TEST(an_unknown_path_is_not_found),
        TEST(what_is_no_id_is_not_found),
        TEST(another_method_is_told_which_are_allowed),
        TEST(a_method_is_checked_before_the_id),
    };
    return RUN_TESTS(argc, argv, tests);
}
