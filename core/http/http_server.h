/* An HTTP/1.1 server on one address, by libmicrohttpd.
 *
 * One thread reads requests, calls `handle` for each whole one, and writes the answers. A handler
 * that needs another thread for its answer defers: it calls http_exchange_defer(), hands the
 * exchange on, and whoever has filled in the reply calls http_exchange_resume(), from any thread,
 * once.
 *
 * Limits on what a client can make grow: connections, header and body size, and time. A connection
 * that doesn't bring a whole request within the deadline, or take its answer, is closed; so is one
 * that has been idle for HTTP_IDLE_MS. A request whose end can be read in two ways
 * (Transfer-Encoding with Content-Length, a repeated Content-Length or Host; RFC 9112, section 6.3)
 * is refused and its connection closed. */
#ifndef TILLBOX_CORE_HTTP_SERVER_H
#define TILLBOX_CORE_HTTP_SERVER_H

#include <stdint.h>

#include "core/clock.h"
#include "core/http/http_reply.h"
#include "core/result.h"

enum {
    HTTP_CONNECTIONS_MAX = 1024,
    /* The request line, the headers, and what MHD needs: a second copy of all cookies. A browser
     * has up to 16 KB of them, of all programs on the same host name. */
    HTTP_HEADER_BYTES_MAX = 48 << 10,
    HTTP_BODY_MAX = 64 << 10,
    HTTP_DEADLINE_MS = 15000,
    HTTP_IDLE_MS = 60000,
};

struct http_server;
struct http_exchange;

struct http_server_options {
    const char *host; /* a literal address, or "localhost" */
    uint16_t port;    /* 0: any free one */
    const struct clock *clock;

    /* May this request go on? Called with its headers, before its body has come. `false`: the reply
     * has been filled in, and is sent when the body has been read and thrown away. */
    bool (*screen)(void *context, struct http_exchange *exchange);

    /* Fills in the reply, or defers. Called in the server's thread: it must not block. */
    void (*handle)(void *context, struct http_exchange *exchange);
    void *context;
};

/* Binds and starts. RESULT_LOCKED if the address is in use. */
MUST_CHECK enum result http_server_start(const struct http_server_options *options,
                                         struct http_server **ret_server, struct error *error);

uint16_t http_server_port(const struct http_server *server);

/* From now on no connection is accepted, and every new request is answered 503 and its connection
 * closed. Requests under way go on. */
void http_server_drain(struct http_server *server);

/* Requests that have begun and not yet been answered. */
int http_server_open_exchanges(const struct http_server *server);

/* Closes what is past its deadline. Called about once a second. */
void http_server_sweep(struct http_server *server);

/* Has the server's thread done something since this was last asked? If it hasn't, gives it
 * something to do: a connection of our own that is closed again. Asked by one thread. */
bool http_server_has_moved(struct http_server *server);

/* After http_server_drain(), when nothing is deferred any more. */
void http_server_stop(struct http_server *server);

/* Answers given so far with this status (100 to 599). */
uint64_t http_server_answers(const struct http_server *server, int status);

/* What a handler sees of a request. Texts live as long as the exchange. */
const char *http_exchange_method(const struct http_exchange *exchange);
bool http_exchange_reads(const struct http_exchange *exchange); /* GET or HEAD */
const char *http_exchange_path(const struct http_exchange *exchange);

/* The value of a header, NULL if there is none. Names are case-insensitive. */
const char *http_exchange_header(const struct http_exchange *exchange, const char *name);

/* Calls `each` for every query parameter; `value` is "" if there is none. */
void http_exchange_query(const struct http_exchange *exchange,
                         void (*each)(void *context, const char *name, const char *value),
                         void *context);

/* The body, followed by a NUL that isn't counted. */
const struct buf *http_exchange_body(const struct http_exchange *exchange);

/* The address the request came in on: the server's own. */
const struct http_server *http_exchange_server(const struct http_exchange *exchange);

/* The reply to fill in. */
struct http_reply *http_exchange_reply(struct http_exchange *exchange);

/* Whatever the handler wants to keep with the exchange; `release` is called at its end. */
void http_exchange_keep(struct http_exchange *exchange, void *kept, void (*release)(void *kept));

void http_exchange_defer(struct http_exchange *exchange);
void http_exchange_resume(struct http_exchange *exchange);

/* The version of libmicrohttpd in use, "0.9.75". */
const char *http_library_version(void);

#endif
