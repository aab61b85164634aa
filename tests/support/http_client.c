#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/unit.h"

bool http_client_open(struct http_client *client, uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client->size = 0;
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->socket >= 0);
    if (connect(client->socket, (const struct sockaddr *)&address, sizeof address) == 0)
        return true;
    http_client_close(client);
    return false;
}

void http_client_close(struct http_client *client)
{
    if (client->socket >= 0)
        close(client->socket);
    client->socket = -1;
}

void http_client_send(struct http_client *client, const char *text)
{
    http_client_send_bytes(client, text, strlen(text));
}

void http_client_send_bytes(struct http_client *client, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size > 0) {
        ssize_t sent = send(client->socket, next, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        assert_true(sent > 0);
        next += sent;
        size -= (size_t)sent;
    }
}

bool http_client_hears(struct http_client *client, int duration_ms)
{
    struct pollfd input = {.fd = client->socket, .events = POLLIN};
    return client->size > 0 || poll(&input, 1, duration_ms) == 1;
}

/* False at the end: closed in good order, or reset. */
static bool read_more(struct http_client *client)
{
    struct pollfd input = {.fd = client->socket, .events = POLLIN};
    assert_true(client->size < sizeof client->bytes);
    assert_int_equal(poll(&input, 1, HTTP_CLIENT_PATIENCE_MS), 1);
    ssize_t got =
        recv(client->socket, client->bytes + client->size, sizeof client->bytes - client->size, 0);
    if (got > 0)
        client->size += (size_t)got;
    return got > 0;
}

static void take(struct http_client *client, size_t size, char *ret_bytes, size_t room)
{
    while (client->size < size)
        assert_true(read_more(client));
    assert_true(size < room);
    memcpy(ret_bytes, client->bytes, size);
    ret_bytes[size] = '\0';
    client->size -= size;
    memmove(client->bytes, client->bytes + size, client->size);
}

void http_client_receive_head(struct http_client *client, struct http_answer *ret_answer)
{
    const char *end = NULL;
    while (!(end = memmem(client->bytes, client->size, "\r\n\r\n", 4)))
        assert_true(read_more(client));
    take(client, (size_t)(end + 4 - client->bytes), ret_answer->head, sizeof ret_answer->head);
    assert_int_equal(sscanf(ret_answer->head, "HTTP/1.1 %3d ", &ret_answer->status), 1);
    ret_answer->body[0] = '\0';
    ret_answer->body_size = 0;
}

void http_client_receive(struct http_client *client, struct http_answer *ret_answer)
{
    http_client_receive_head(client, ret_answer);
    ret_answer->body_size = strtoul(http_answer_header(ret_answer, "Content-Length"), NULL, 10);
    take(client, ret_answer->body_size, ret_answer->body, sizeof ret_answer->body);
}

void http_client_ask(struct http_client *client, const char *text, struct http_answer *ret_answer)
{
    http_client_send(client, text);
    http_client_receive(client, ret_answer);
}

size_t http_client_wait_closed(struct http_client *client)
{
    size_t before = 0;
    do {
        before += client->size;
        client->size = 0;
    } while (read_more(client));
    return before;
}

const char *http_answer_header(const struct http_answer *answer, const char *name)
{
    static char value[256];
    size_t length = strlen(name);
    const char *line = answer->head;
    while ((line = strstr(line, "\r\n"))) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + length + 2, "\r"),
                     line + length + 2);
            return value;
        }
    }
    return "";
}

void assert_answer(const struct http_answer *answer, int status, const char *body)
{
    assert_int_equal(answer->status, status);
    assert_string_equal(answer->body, body);
}

void assert_header(const struct http_answer *answer, const char *name, const char *expected)
{
    assert_string_equal(http_answer_header(answer, name), expected);
}
