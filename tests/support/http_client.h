/* A client that sends bytes as they are, so that a test can send what no real client would. Each
 * function fails the test where it can't do what it says within HTTP_CLIENT_PATIENCE_MS. */
#ifndef TILLBOX_TESTS_SUPPORT_HTTP_CLIENT_H
#define TILLBOX_TESTS_SUPPORT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_CLIENT_PATIENCE_MS = 5000, HTTP_CLIENT_BYTES_MAX = 64 << 10 };

struct http_client {
    int socket;
    char bytes[HTTP_CLIENT_BYTES_MAX]; /* received, not taken yet */
    size_t size;
};

struct http_answer {
    int status;
    char head[4096];     /* status line and headers */
    char body[48 << 10]; /* with a NUL */
    size_t body_size;
};

/* Requests to write down: HTTP_HEAD("POST", "/x") "More: headers\r\n\r\n" "body" */
#define HTTP_HEAD(method, path) method " " path " HTTP/1.1\r\nHost: box\r\n"
#define HTTP_GET(path) HTTP_HEAD("GET", path) "\r\n"

/* False if nobody listens there. */
bool http_client_open(struct http_client *client, uint16_t port);
void http_client_close(struct http_client *client);

/* What the peer no longer takes is no failure: it may have answered and closed already. */
void http_client_send(struct http_client *client, const char *text);
void http_client_send_bytes(struct http_client *client, const void *bytes, size_t size);

/* Takes the next answer; one to HEAD has no body, whatever its headers say. */
void http_client_receive(struct http_client *client, struct http_answer *ret_answer);
void http_client_receive_head(struct http_client *client, struct http_answer *ret_answer);

/* Sends a whole request and takes its answer. */
void http_client_ask(struct http_client *client, const char *text, struct http_answer *ret_answer);

/* Whether something, or the end, comes within this time. */
bool http_client_hears(struct http_client *client, int duration_ms);

/* Waits until the server has closed; returns how many bytes came before. */
size_t http_client_wait_closed(struct http_client *client);

void assert_answer(const struct http_answer *answer, int status, const char *body);
void assert_header(const struct http_answer *answer, const char *name, const char *expected);

/* The header's value, "" if there is none. Valid until the next call. */
const char *http_answer_header(const struct http_answer *answer, const char *name);

#endif
