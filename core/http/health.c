#include "core/http/health.h"

#include <stdio.h>
#include <string.h>

#include "core/http/http_client.h"

enum { URL_SIZE = 128, STATUS_OK = 200 };

static const char *reachable(const char *host)
{
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static enum result health_ask(const struct listen_address *address, struct buf *answer,
                              struct error *error)
{
    char url[URL_SIZE];
    struct http_client *client = NULL;
    int status = 0;
    const char *host = reachable(address->host);
    snprintf(url, sizeof url, strchr(host, ':') ? "http://[%s]:%d/healthz" : "http://%s:%d/healthz",
             host, address->port);
    const struct http_request request = {
        .url = url, .timeout_ms = HEALTH_TIMEOUT_MS, .connect_timeout_ms = HEALTH_TIMEOUT_MS};
    enum result result = http_client_new(NULL, &client);
    if (result == RESULT_OK)
        result = http_client_call(client, &request, &status, answer, error);
    http_client_free(client);
    if (result == RESULT_OK && status != STATUS_OK)
        return error_set(error, RESULT_INVALID, "%s answers %d", url, status);
    return result;
}

enum result health_print(const struct listen_address *address)
{
    struct buf answer;
    struct error error = {0};
    buf_init(&answer, HEALTH_ANSWER_MAX);
    enum result result = health_ask(address, &answer, &error);
    if (answer.size > 0)
        puts(buf_text(&answer));
    if (result != RESULT_OK)
        fprintf(stderr, "health: %s\n", error.text);
    buf_done(&answer);
    return result;
}
