/* An HTTP/1.1 client, by libcurl. One thread at a time uses a client; it keeps its connections open
 * between requests.
 *
 * Every call ends within its time, also when the name server hangs. Certificates are verified.
 * Redirects are not followed: a 3xx is an answer like any other. The environment's proxies are not
 * used. */
#ifndef TILLBOX_CORE_HTTP_CLIENT_H
#define TILLBOX_CORE_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/http/http_header.h"
#include "core/result.h"

enum { HTTP_CLIENT_HEADERS_MAX = 16, HTTP_CLIENT_HEADER_BYTES_MAX = 32 << 10 };

struct http_client;

struct http_request {
    const char *url;
    const struct http_header *headers; /* at most HTTP_CLIENT_HEADERS_MAX */
    size_t header_count;
    const char *body; /* NULL: a GET; else a POST of it */
    size_t body_size;
    int64_t timeout_ms;         /* > 0: for all of it */
    int64_t connect_timeout_ms; /* > 0: of that, for the connection */
};

/* `ca_file`: whom the server's certificate must come from; NULL: any of the system's authorities.
 */
MUST_CHECK enum result http_client_new(const char *ca_file, struct http_client **ret_client);
void http_client_free(struct http_client *client);

/* RESULT_OK: an answer came, whatever its status; its body has been appended to `body`, whose limit
 * is the limit of the answer (NULL: it is thrown away, however long). RESULT_TIMED_OUT,
 * RESULT_UNREACHABLE (no name, no connection, or it broke), RESULT_TOO_LARGE, RESULT_DENIED (the
 * certificate), RESULT_MALFORMED (that was no HTTP), RESULT_INVALID (the URL, a line end in a
 * header), RESULT_NO_MEMORY. */
MUST_CHECK enum result http_client_call(struct http_client *client,
                                        const struct http_request *request, int *ret_status,
                                        struct buf *body, struct error *error);

/* RESULT_INVALID, with the cause, unless `url` is http or https, with a host, and without user,
 * fragment and, unless `may_query`, query. */
MUST_CHECK enum result http_client_check_url(const char *url, bool may_query, struct error *error);

#endif
