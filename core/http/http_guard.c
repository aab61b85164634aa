#include "core/http/http_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/sha256.h"

enum { AUTHORITY_MAX = 255 };

/* "name:port" taken apart. */
struct authority {
    char host[AUTHORITY_MAX + 1];
    long port; /* -1: none */
};

static bool http_guard_parse_port(const char *text, long *ret_port)
{
    char *end = NULL;
    if (*text < '0' || *text > '9')
        return false;
    long port = strtol(text, &end, 10);
    if (*end != '\0' || port < 0 || port > 65535)
        return false;
    *ret_port = port;
    return true;
}

static bool parse_authority(const char *text, struct authority *ret_authority)
{
    size_t length = strlen(text);
    const char *host_end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
    if (text[0] == '[' && host_end)
        host_end++;
    else if (!host_end)
        host_end = text + length;
    size_t host_length = (size_t)(host_end - text);
    if (length == 0 || length > AUTHORITY_MAX || host_length == 0)
        return false;
    memcpy(ret_authority->host, text, host_length);
    ret_authority->host[host_length] = '\0';
    ret_authority->port = -1;
    if (*host_end == '\0')
        return true;
    return *host_end == ':' && http_guard_parse_port(host_end + 1, &ret_authority->port);
}

static bool is_listen_host(const struct listen_address *address, const char *host)
{
    char bracketed[sizeof address->host + 2];
    snprintf(bracketed, sizeof bracketed, "[%s]", address->host);
    return strcasecmp(host, address->host) == 0 || strcasecmp(host, bracketed) == 0;
}

static bool is_allowed_host(const struct http_guard *guard, const char *host)
{
    static const char *const LOOPBACK[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < ARRAY_LENGTH(LOOPBACK); i++)
        if (strcasecmp(host, LOOPBACK[i]) == 0)
            return true;
    for (size_t i = 0; i < guard->allowed_hosts->count; i++)
        if (strcasecmp(host, guard->allowed_hosts->items[i]) == 0)
            return true;
    for (size_t i = 0; i < HTTP_GUARD_PORTS_MAX; i++)
        if (guard->addresses[i] && is_listen_host(guard->addresses[i], host))
            return true;
    return false;
}

/* Pages come from the port the request went to, or from another of the box's own. */
static bool is_own_port(const struct http_guard *guard, const struct authority *host, long port)
{
    if (port == host->port)
        return true;
    for (size_t i = 0; i < HTTP_GUARD_PORTS_MAX; i++)
        if (guard->ports[i] != 0 && port == guard->ports[i])
            return true;
    return false;
}

static bool is_own_origin(const struct http_guard *guard, const struct authority *host,
                          const char *origin)
{
    struct authority from;
    const char *rest = strstr(origin, "://");
    if (!rest || (strncmp(origin, "http:", 5) != 0 && strncmp(origin, "https:", 6) != 0))
        return false;
    return parse_authority(rest + 3, &from) && is_allowed_host(guard, from.host) &&
           is_own_port(guard, host, from.port);
}

bool http_guard_check(const struct http_guard *guard, struct http_exchange *exchange)
{
    struct http_reply *reply = http_exchange_reply(exchange);
    const char *host_text = http_exchange_header(exchange, "Host");
    const char *origin = http_exchange_header(exchange, "Origin");
    struct authority host;
    if (!host_text || !parse_authority(host_text, &host)) {
        reply_problem(reply, PROBLEM_MALFORMED, "the header Host is missing or can't be read");
        return false;
    }
    if (!is_allowed_host(guard, host.host)) {
        reply_problem(reply, PROBLEM_HOST, "add the name to allowed_hosts if it is the box's");
        return false;
    }
    if (origin && !is_own_origin(guard, &host, origin)) {
        reply_problem(reply, PROBLEM_ORIGIN, "only the box's own pages may send requests");
        return false;
    }
    return true;
}

static bool has_token(const char *token, const char *authorization)
{
    static const char SCHEME[] = "Bearer ";
    size_t scheme = sizeof SCHEME - 1, length = strlen(token);
    if (!authorization || strncasecmp(authorization, SCHEME, scheme) != 0)
        return false;
    authorization += scheme;
    return strlen(authorization) == length && constant_time_equal(authorization, token, length);
}

/* Probes tell nothing but whether the program is up. */
static bool is_open_to_all(const char *path)
{
    static const char *const OPEN[] = {"/livez", "/readyz", "/healthz"};
    for (size_t i = 0; i < ARRAY_LENGTH(OPEN); i++)
        if (strcmp(path, OPEN[i]) == 0)
            return true;
    return false;
}

bool http_guard_check_token(const char *token, struct http_exchange *exchange)
{
    struct http_reply *reply = http_exchange_reply(exchange);
    if (!token || is_open_to_all(http_exchange_path(exchange)) ||
        has_token(token, http_exchange_header(exchange, "Authorization")))
        return true;
    reply_problem(reply, PROBLEM_UNAUTHORIZED, "send the header Authorization: Bearer TOKEN");
    reply->authenticate = "Bearer realm=\"tillbox\"";
    return false;
}
