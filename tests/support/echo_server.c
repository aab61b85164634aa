#include "tests/support/echo_server.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/http_client.h"
#include "tests/support/unit.h"

enum { WAIT_STEPS_MAX = 5000 };

static void echo_parameter(void *context, const char *name, const char *value)
{
    buf_append_format(context, "%s=%s|", name, value);
}

static void handle_echo(struct echo_server *echo, struct http_exchange *exchange)
{
    struct buf *reply = &http_exchange_reply(exchange)->body;
    const struct buf *body = http_exchange_body(exchange);
    const char *header = http_exchange_header(exchange, "X-Test");
    bool ours = http_exchange_server(exchange) == echo->server;
    buf_append_format(reply, "%s %s %s|", http_exchange_method(exchange),
                      http_exchange_path(exchange), header ? header : "none");
    http_exchange_query(exchange, echo_parameter, reply);
    buf_append(reply, body->bytes, body->size);
    buf_append_text(reply, ours && buf_text(body)[body->size] == '\0' ? "" : " (wrong)");
}

static void handle_empty(struct echo_server *echo, struct http_exchange *exchange)
{
    (void)echo;
    http_exchange_reply(exchange)->status = 204;
}

static void handle_fields(struct echo_server *echo, struct http_exchange *exchange)
{
    (void)echo;
    struct http_reply *reply = http_exchange_reply(exchange);
    reply->status = 201;
    reply->content_type = "text/plain";
    strcpy(reply->location, "/orders/7");
    reply->allow = "GET, POST";
    reply->authenticate = "Bearer";
    reply->retry_after_s = 3;
    reply->close = true;
    buf_append_text(&reply->body, "made");
}

static void handle_defer(struct echo_server *echo, struct http_exchange *exchange)
{
    http_exchange_defer(exchange);
    pthread_mutex_lock(&echo->lock);
    echo->deferred[echo->deferred_count++] = exchange;
    pthread_mutex_unlock(&echo->lock);
}

static void *resume(void *context)
{
    buf_append_text(&http_exchange_reply(context)->body, "resumed");
    http_exchange_resume(context);
    return NULL;
}

static void handle_at_once(struct echo_server *echo, struct http_exchange *exchange)
{
    (void)echo;
    pthread_t thread;
    http_exchange_defer(exchange);
    if (pthread_create(&thread, NULL, resume, exchange) != 0)
        abort();
    pthread_join(thread, NULL);
}

static void release(void *kept)
{
    struct echo_server *echo = kept;
    atomic_fetch_add(&echo->released, 1);
}

static void handle_kept(struct echo_server *echo, struct http_exchange *exchange)
{
    http_exchange_keep(exchange, echo, release);
}

static void handle_large(struct echo_server *echo, struct http_exchange *exchange)
{
    (void)echo;
    static const char KILOBYTE[1024];
    for (int i = 0; i < ECHO_LARGE_SIZE / 1024; i++)
        buf_append(&http_exchange_reply(exchange)->body, KILOBYTE, sizeof KILOBYTE);
}

static void handle_overflow(struct echo_server *echo, struct http_exchange *exchange)
{
    handle_large(echo, exchange);
    buf_append_text(&http_exchange_reply(exchange)->body, "x");
}

static void handle(void *context, struct http_exchange *exchange)
{
    static const struct {
        const char *path;
        void (*handle)(struct echo_server *echo, struct http_exchange *exchange);
    } PATHS[] = {
        {"/echo", handle_echo},         {"/empty", handle_empty},     {"/fields", handle_fields},
        {"/defer", handle_defer},       {"/kept", handle_kept},       {"/large", handle_large},
        {"/overflow", handle_overflow}, {"/at-once", handle_at_once},
    };
    struct echo_server *echo = context;
    atomic_fetch_add(&echo->handled, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(PATHS); i++) {
        if (strcmp(http_exchange_path(exchange), PATHS[i].path) == 0) {
            PATHS[i].handle(echo, exchange);
            return;
        }
    }
    http_exchange_reply(exchange)->status = 404;
    handle_echo(echo, exchange);
}

static bool screen(void *context, struct http_exchange *exchange)
{
    (void)context;
    if (strcmp(http_exchange_path(exchange), "/refused") != 0)
        return true;
    reply_problem(http_exchange_reply(exchange), PROBLEM_UNAUTHORIZED, "no");
    return false;
}

void echo_server_start(struct echo_server *echo)
{
    struct error error = {0};
    memset(echo, 0, sizeof *echo);
    fake_clock_init(&echo->clock, 0);
    pthread_mutex_init(&echo->lock, NULL);
    const struct http_server_options options = {
        .host = "127.0.0.1",
        .clock = &echo->clock.clock,
        .screen = screen,
        .handle = handle,
        .context = echo,
    };
    if (http_server_start(&options, &echo->server, &error) != RESULT_OK)
        fail_msg("%s", error.text);
}

void echo_server_stop(struct echo_server *echo)
{
    if (!echo->server)
        return;
    pthread_mutex_lock(&echo->lock);
    for (int i = 0; i < echo->deferred_count; i++)
        http_exchange_resume(echo->deferred[i]);
    pthread_mutex_unlock(&echo->lock);
    http_server_drain(echo->server);
    http_server_stop(echo->server);
    pthread_mutex_destroy(&echo->lock);
    echo->server = NULL;
}

static struct http_exchange *pop_deferred(struct echo_server *echo)
{
    struct http_exchange *first = NULL;
    pthread_mutex_lock(&echo->lock);
    if (echo->deferred_count > 0) {
        first = echo->deferred[0];
        echo->deferred_count--;
        memmove(echo->deferred, echo->deferred + 1,
                (size_t)echo->deferred_count * sizeof echo->deferred[0]);
    }
    pthread_mutex_unlock(&echo->lock);
    return first;
}

struct http_exchange *echo_server_take_deferred(struct echo_server *echo)
{
    for (int i = 0; i < WAIT_STEPS_MAX; i++) {
        struct http_exchange *exchange = pop_deferred(echo);
        if (exchange)
            return exchange;
        clock_sleep_ms(&clock_system, 1);
    }
    fail_msg("nothing was deferred");
    return NULL;
}

void echo_server_wait_for_exchanges(struct echo_server *echo, int count)
{
    for (int i = 0; i < WAIT_STEPS_MAX && http_server_open_exchanges(echo->server) != count; i++)
        clock_sleep_ms(&clock_system, 1);
    assert_int_equal(http_server_open_exchanges(echo->server), count);
}

/* The server has one thread that goes round its connections: when it has answered twice on a new
 * one, it has been round once at least. */
void echo_server_settle(struct echo_server *echo)
{
    struct http_client client;
    struct http_answer answer;
    assert_true(http_client_open(&client, http_server_port(echo->server)));
    for (int i = 0; i < 2; i++)
        http_client_ask(&client, HTTP_GET("/empty"), &answer);
    http_client_close(&client);
}
