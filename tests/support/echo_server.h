/* An HTTP server for tests of core/http_server. What a request gets depends on its path:
 *
 *   /echo      200, the request as the handler saw it: "METHOD path header|name=value|…|body"
 *   /empty     204, no body
 *   /fields    201 with every field of the reply set; the connection is closed
 *   /defer     deferred, until echo_server_take_deferred() hands it to the test
 *   /at-once   deferred, and resumed by another thread while the handler still runs
 *   /kept      200; what it keeps is released at its end, which is counted
 *   /large     200 with ECHO_LARGE_SIZE bytes
 *   /overflow  a body that outgrew its buffer
 *   /refused   401, by the screen
 *
 * Any other path gets 404 and what /echo would get. */
#ifndef TILLBOX_TESTS_SUPPORT_ECHO_SERVER_H
#define TILLBOX_TESTS_SUPPORT_ECHO_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/http/http_server.h"
#include "tests/support/fake_clock.h"

enum { ECHO_DEFERRED_MAX = 4, ECHO_LARGE_SIZE = HTTP_REPLY_MAX };

struct echo_server {
    struct http_server *server;
    struct fake_clock clock;
    pthread_mutex_t lock;
    struct http_exchange *deferred[ECHO_DEFERRED_MAX]; /* not taken yet, the oldest first */
    int deferred_count;
    atomic_int handled; /* calls of the handler */
    atomic_int released;
};

/* Each fails the test if it can't. */
void echo_server_start(struct echo_server *echo);

/* Answers what is still deferred, drains and stops; nothing if it has been stopped already. */
void echo_server_stop(struct echo_server *echo);

/* Waits for the next deferred request. The caller fills in its reply and resumes it. */
struct http_exchange *echo_server_take_deferred(struct echo_server *echo);

/* Waits until this many requests have begun and not yet been answered. */
void echo_server_wait_for_exchanges(struct echo_server *echo, int count);

/* Returns when the server has dealt with all that clients sent before the call. */
void echo_server_settle(struct echo_server *echo);

#endif
