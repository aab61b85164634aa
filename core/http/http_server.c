#include "core/http/http_server.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/http/http_server_framing.h"
#include "core/log.h"

enum { STATUS_FIRST = 100, STATUS_COUNT = 500 };

/* One TCP connection. The deadline is what sweeping goes by: it moves when a request starts, has
 * come whole, and has been answered. */
struct peer {
    struct http_server *server;
    int socket;
    atomic_int_least64_t expires_ms;
    struct peer *next, *previous;
};

struct http_server {
    struct http_server_options options;
    struct MHD_Daemon *daemon;
    int listener;
    uint16_t port;
    atomic_bool draining;
    atomic_int open_exchanges;
    atomic_uint_least64_t callbacks; /* that its thread has made */
    uint64_t callbacks_seen;
    atomic_uint_least64_t answers[STATUS_COUNT];
    pthread_mutex_t peers_lock; /* a socket in the list is open while this is held */
    struct peer *peers;
};

struct http_exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct peer *peer;
    const char *method;
    char *path;
    struct buf body;
    struct http_reply reply;
    bool refused;    /* the reply is there already; what comes of the body is thrown away */
    bool dispatched; /* the handler has been called */
    bool deferred;   /* … and has deferred */
    void *kept;
    void (*release)(void *kept);
};

static const int64_t NEVER_MS = INT64_MAX;

static void peer_expire_in(struct peer *peer, int64_t delay_ms)
{
    int64_t now_ms = clock_monotonic_ms(peer->server->options.clock);
    atomic_store_explicit(&peer->expires_ms, now_ms + delay_ms, memory_order_relaxed);
}

static void peer_never_expires(struct peer *peer)
{
    atomic_store_explicit(&peer->expires_ms, NEVER_MS, memory_order_relaxed);
}

static void peer_add(struct http_server *server, struct MHD_Connection *connection,
                     void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct peer *peer = calloc(1, sizeof *peer);
    *socket_context = peer;
    if (!peer)
        return; /* the first request will find no peer and be refused */
    peer->server = server;
    peer->socket = info->connect_fd;
    peer_expire_in(peer, HTTP_DEADLINE_MS);
    pthread_mutex_lock(&server->peers_lock);
    peer->next = server->peers;
    if (peer->next)
        peer->next->previous = peer;
    server->peers = peer;
    pthread_mutex_unlock(&server->peers_lock);
}

static void peer_remove(struct peer *peer)
{
    struct http_server *server = peer->server;
    pthread_mutex_lock(&server->peers_lock);
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        server->peers = peer->next;
    if (peer->next)
        peer->next->previous = peer->previous;
    pthread_mutex_unlock(&server->peers_lock);
    free(peer);
}

/* MHD calls this with CLOSED before it closes the socket. */
static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    atomic_fetch_add_explicit(&server->callbacks, 1, memory_order_relaxed);
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        peer_add(server, connection, socket_context);
    else if (*socket_context)
        peer_remove(*socket_context);
}

static struct peer *peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The request line has come: from here the request's own deadline counts. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)context;
    (void)uri;
    struct peer *peer = peer_of(connection);
    if (peer)
        peer_expire_in(peer, HTTP_DEADLINE_MS);
    return NULL;
}

static int http_server_hex_value(char digit)
{
    static const char DIGITS[] = "0123456789abcdef";
    const char *found = digit ? strchr(DIGITS, tolower((unsigned char)digit)) : NULL;
    return found ? (int)(found - DIGITS) : -1;
}

/* Decodes %XX in place, but leaves an encoded NUL as it is: decoded, it would end the text early,
 * and what comes after it would be gone from the path. */
static size_t on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    char *to = text;
    for (const char *from = text; *from; to++) {
        int high = *from == '%' ? http_server_hex_value(from[1]) : -1;
        int low = high >= 0 ? http_server_hex_value(from[2]) : -1;
        bool decodes = low >= 0 && high + low > 0;
        *to = decodes ? (char)(unsigned char)(16 * high + low) : *from;
        from += decodes ? 3 : 1;
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* False, with the reply filled in, where it isn't plain how long the request is or whom it is for.
 */
static bool check_framing(struct http_exchange *exchange, const struct http_framing *framing)
{
    struct http_reply *reply = &exchange->reply;
    const char *fault = http_framing_fault(framing);
    if (fault)
        reply_problem(reply, PROBLEM_MALFORMED, "%s", fault);
    else if (framing->encoding && strcasecmp(framing->encoding, "chunked") != 0)
        reply_problem(reply, PROBLEM_ENCODING, "the only transfer encoding is chunked");
    else
        return true;
    reply->close = true;
    return false;
}

static void refuse_too_large(struct http_exchange *exchange)
{
    exchange->refused = true;
    exchange->reply.close = true;
    reply_problem(&exchange->reply, PROBLEM_TOO_LARGE, "the body may have %d bytes", HTTP_BODY_MAX);
}

static enum MHD_Result add_headers(struct MHD_Response *response, const struct http_reply *reply)
{
    char retry_after[16];
    snprintf(retry_after, sizeof retry_after, "%d", reply->retry_after_s);
    const struct {
        bool wanted;
        const char *name, *value;
    } headers[] = {
        {reply->content_type != NULL, "Content-Type", reply->content_type},
        {true, "Cache-Control", reply->cache_control},
        {true, "X-Content-Type-Options", "nosniff"},
        {reply->content_encoding != NULL, "Content-Encoding", reply->content_encoding},
        {reply->etag != NULL, "ETag", reply->etag},
        {reply->location[0] != '\0', "Location", reply->location},
        {reply->allow != NULL, "Allow", reply->allow},
        {reply->authenticate != NULL, "WWW-Authenticate", reply->authenticate},
        {reply->retry_after_s > 0, "Retry-After", retry_after},
        {reply->close, "Connection", "close"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(headers); i++)
        if (headers[i].wanted &&
            MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES)
            return MHD_NO;
    for (const struct http_header *more = reply->more_headers; more && more->name; more++)
        if (MHD_add_response_header(response, more->name, more->value) != MHD_YES)
            return MHD_NO;
    return MHD_YES;
}

static struct MHD_Response *create_response(struct http_reply *reply)
{
    if (buf_result(&reply->body) != RESULT_OK) {
        buf_clear(&reply->body);
        reply_problem(reply, PROBLEM_INTERNAL, "the answer could not be built");
    }
    struct buf body = reply->body;
    if (body.size == 0)
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    buf_init(&reply->body, HTTP_REPLY_MAX); /* the response owns the bytes now */
    return MHD_create_response_from_buffer(body.size, body.bytes, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_reply(struct http_exchange *exchange)
{
    struct http_reply *reply = &exchange->reply;
    if (atomic_load(&exchange->server->draining))
        reply->close = true;
    struct MHD_Response *response = create_response(reply);
    if (!response)
        return MHD_NO;
    enum MHD_Result queued = add_headers(response, reply);
    if (queued == MHD_YES)
        queued = MHD_queue_response(exchange->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    if (queued == MHD_YES)
        atomic_fetch_add_explicit(&exchange->server->answers[reply->status - STATUS_FIRST], 1,
                                  memory_order_relaxed);
    peer_expire_in(exchange->peer, HTTP_DEADLINE_MS);
    return queued;
}

static struct http_exchange *exchange_new(struct http_server *server,
                                          struct MHD_Connection *connection, const char *method,
                                          const char *path)
{
    struct http_exchange *exchange = calloc(1, sizeof *exchange);
    char *own_path = strdup(path);
    struct peer *peer = peer_of(connection);
    if (!exchange || !own_path || !peer) {
        free(exchange);
        free(own_path);
        return NULL;
    }
    exchange->server = server;
    exchange->connection = connection;
    exchange->peer = peer;
    exchange->method = method;
    exchange->path = own_path;
    buf_init(&exchange->body, HTTP_BODY_MAX);
    http_reply_init(&exchange->reply);
    atomic_fetch_add(&server->open_exchanges, 1);
    return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
    if (exchange->release)
        exchange->release(exchange->kept);
    atomic_fetch_sub(&exchange->server->open_exchanges, 1);
    http_reply_done(&exchange->reply);
    buf_done(&exchange->body);
    free(exchange->path);
    free(exchange);
}

/* The headers are there. An answer queued here makes MHD close the connection without reading the
 * body; so other refusals wait for the body, lest the client get a reset in place of its answer. */
static enum MHD_Result begin_exchange(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct http_reply *reply = &exchange->reply;
    struct http_framing framing = {0};
    http_framing_read(exchange->connection, &framing);
    if (!check_framing(exchange, &framing))
        return send_reply(exchange);
    if (atomic_load(&server->draining)) {
        reply_problem(reply, PROBLEM_STOPPING, "the box is stopping; try again in a moment");
        reply->retry_after_s = 1;
        return send_reply(exchange);
    }
    if (framing.length && strtoull(framing.length, NULL, 10) > HTTP_BODY_MAX) {
        refuse_too_large(exchange);
        /* A client that asks first must hear it before it sends. */
        if (framing.expects)
            return send_reply(exchange);
        return MHD_YES;
    }
    exchange->refused = !server->options.screen(server->options.context, exchange);
    return MHD_YES;
}

static void take_body(struct http_exchange *exchange, const char *bytes, size_t size)
{
    if (exchange->refused)
        return;
    buf_append(&exchange->body, bytes, size);
    if (buf_result(&exchange->body) != RESULT_OK)
        refuse_too_large(exchange);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_context)
{
    (void)version;
    struct http_server *server = context;
    struct http_exchange *exchange = *request_context;
    atomic_fetch_add_explicit(&server->callbacks, 1, memory_order_relaxed);
    if (!exchange) {
        exchange = exchange_new(server, connection, method, url);
        *request_context = exchange;
        return exchange ? begin_exchange(exchange) : MHD_NO;
    }
    if (*upload_size > 0) {
        take_body(exchange, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (!exchange->dispatched && !exchange->refused) {
        exchange->dispatched = true;
        peer_never_expires(exchange->peer);
        server->options.handle(server->options.context, exchange);
        if (exchange->deferred)
            return MHD_YES; /* called again once it is resumed */
    }
    return send_reply(exchange);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    struct http_exchange *exchange = *request_context;
    if (!exchange)
        return;
    peer_expire_in(exchange->peer, HTTP_IDLE_MS);
    exchange_free(exchange);
    *request_context = NULL;
}

static void on_library_message(void *context, const char *format, va_list arguments)
    PRINTF_LIKE(2, 0);

static void on_library_message(void *context, const char *format, va_list arguments)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, format, arguments);
    LOG(LOG_DEBUG, "http.library", LOG_TEXT("text", text));
}

static enum result listen_on(const char *host, uint16_t port, int *ret_listener,
                             struct error *error)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *address = NULL;
    int code = getaddrinfo(host, service, &hints, &address);
    if (code != 0)
        return error_set(error, RESULT_INVALID, "address %s: %s", host, gai_strerror(code));
    int yes = 1;
    int listener = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    enum result result = RESULT_OK;
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(listener, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(listener, SOMAXCONN) != 0)
        result = error_set_errno(error, errno == EADDRINUSE ? RESULT_LOCKED : RESULT_IO,
                                 "can't listen on %s port %u", host, port);
    freeaddrinfo(address);
    if (result == RESULT_OK)
        *ret_listener = listener;
    else if (listener >= 0)
        close(listener);
    return result;
}

static uint16_t port_of(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char service[8] = "0";
    if (getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
        getnameinfo((struct sockaddr *)&address, size, NULL, 0, service, sizeof service,
                    NI_NUMERICSERV) != 0)
        return 0;
    return (uint16_t)strtoul(service, NULL, 10);
}

static enum result start_daemon(struct http_server *server, struct error *error)
{
    /* Poll, not epoll: MHD 0.9.75's epoll loop stalls at multiples of 128 connections. */
    server->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_library_message, NULL,
        MHD_OPTION_LISTEN_SOCKET, server->listener, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_HEADER_BYTES_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, NULL, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!server->daemon)
        return error_set(error, RESULT_INTERNAL, "the HTTP server doesn't start");
    return RESULT_OK;
}

enum result http_server_start(const struct http_server_options *options,
                              struct http_server **ret_server, struct error *error)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return RESULT_NO_MEMORY;
    server->options = *options;
    pthread_mutex_init(&server->peers_lock, NULL);
    enum result result = listen_on(options->host, options->port, &server->listener, error);
    if (result == RESULT_OK) {
        server->port = port_of(server->listener);
        result = start_daemon(server, error);
        if (result != RESULT_OK)
            close(server->listener);
    }
    if (result != RESULT_OK) {
        pthread_mutex_destroy(&server->peers_lock);
        free(server);
        return result;
    }
    *ret_server = server;
    return RESULT_OK;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_drain(struct http_server *server)
{
    if (atomic_exchange(&server->draining, true))
        return;
    int listener = MHD_quiesce_daemon(server->daemon);
    if (listener >= 0)
        close(listener);
}

int http_server_open_exchanges(const struct http_server *server)
{
    return atomic_load(&server->open_exchanges);
}

void http_server_sweep(struct http_server *server)
{
    int64_t now_ms = clock_monotonic_ms(server->options.clock);
    pthread_mutex_lock(&server->peers_lock);
    for (struct peer *peer = server->peers; peer; peer = peer->next)
        if (atomic_load_explicit(&peer->expires_ms, memory_order_relaxed) <= now_ms)
            shutdown(peer->socket, SHUT_RDWR);
    pthread_mutex_unlock(&server->peers_lock);
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    http_server_drain(server);
    MHD_stop_daemon(server->daemon);
    pthread_mutex_destroy(&server->peers_lock);
    free(server);
}

/* The thread will accept it and find it closed. */
static void call_on(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return;
    int caller = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (caller < 0)
        return;
    (void)!connect(caller, (const struct sockaddr *)&address, size);
    close(caller);
}

bool http_server_has_moved(struct http_server *server)
{
    uint64_t callbacks = atomic_load_explicit(&server->callbacks, memory_order_relaxed);
    bool moved = callbacks != server->callbacks_seen;
    server->callbacks_seen = callbacks;
    if (!moved && !atomic_load(&server->draining))
        call_on(server->listener);
    return moved;
}

uint64_t http_server_answers(const struct http_server *server, int status)
{
    assert(status >= STATUS_FIRST && status < STATUS_FIRST + STATUS_COUNT);
    return atomic_load_explicit(&server->answers[status - STATUS_FIRST], memory_order_relaxed);
}

const char *http_exchange_method(const struct http_exchange *exchange)
{
    return exchange->method;
}

bool http_exchange_reads(const struct http_exchange *exchange)
{
    return strcmp(exchange->method, "GET") == 0 || strcmp(exchange->method, "HEAD") == 0;
}

const char *http_exchange_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

const char *http_exchange_header(const struct http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

struct query_visit {
    void (*each)(void *context, const char *name, const char *value);
    void *context;
};

static enum MHD_Result visit_query(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    const struct query_visit *visit = context;
    visit->each(visit->context, name, value ? value : "");
    return MHD_YES;
}

void http_exchange_query(const struct http_exchange *exchange,
                         void (*each)(void *context, const char *name, const char *value),
                         void *context)
{
    struct query_visit visit = {.each = each, .context = context};
    MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, visit_query, &visit);
}

const struct buf *http_exchange_body(const struct http_exchange *exchange)
{
    return &exchange->body;
}

const struct http_server *http_exchange_server(const struct http_exchange *exchange)
{
    return exchange->server;
}

struct http_reply *http_exchange_reply(struct http_exchange *exchange)
{
    return &exchange->reply;
}

void http_exchange_keep(struct http_exchange *exchange, void *kept, void (*release)(void *kept))
{
    exchange->kept = kept;
    exchange->release = release;
}

void http_exchange_defer(struct http_exchange *exchange)
{
    exchange->deferred = true;
    MHD_suspend_connection(exchange->connection);
}

void http_exchange_resume(struct http_exchange *exchange)
{
    MHD_resume_connection(exchange->connection);
}

const char *http_library_version(void)
{
    return MHD_get_version();
}
