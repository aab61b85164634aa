/* What an HTTP request is answered with, and errors as RFC 9457 describes them. */
#ifndef TILLBOX_CORE_HTTP_REPLY_H
#define TILLBOX_CORE_HTTP_REPLY_H

#include "core/buf.h"
#include "core/http/http_header.h"
#include "core/result.h"

enum { HTTP_LOCATION_SIZE = 128, HTTP_REPLY_MAX = 8 << 20 };

struct http_reply {
    int status;
    const char *content_type;               /* static text; NULL: none, as there is no body */
    const char *cache_control;              /* static text; "no-store" unless it is changed */
    const struct http_header *more_headers; /* static, ends with a name that is NULL; or NULL */
    const char *content_encoding;           /* static text; NULL: none */
    const char *etag;                       /* static text; NULL: none */
    struct buf body;
    char location[HTTP_LOCATION_SIZE]; /* header Location; empty: none */
    const char *allow;                 /* header Allow, static text; NULL: none */
    const char *authenticate;          /* header WWW-Authenticate, static text; NULL: none */
    int retry_after_s;                 /* header Retry-After; 0: none */
    bool close;                        /* close the connection afterwards */
};

void http_reply_init(struct http_reply *reply);
void http_reply_done(struct http_reply *reply);

/* Every kind of error the local API answers with: word, status, type, title. The `type` is
 * "urn:tillbox:problem:" and the third column. */
#define PROBLEM_TABLE(X)                                                                       \
    X(PROBLEM_MALFORMED, 400, "malformed", "The request can't be read")                        \
    X(PROBLEM_UNAUTHORIZED, 401, "unauthorized", "A valid token is needed")                    \
    X(PROBLEM_ORIGIN, 403, "foreign-origin", "Requests from this web page are not allowed")    \
    X(PROBLEM_NOT_FOUND, 404, "not-found", "There is no such thing")                           \
    X(PROBLEM_METHOD, 405, "method-not-allowed", "The method doesn't fit the resource")        \
    X(PROBLEM_CONFLICT, 409, "conflict", "The request conflicts with the present state")       \
    X(PROBLEM_STOCK, 409, "insufficient-stock", "There is not enough in stock")                \
    X(PROBLEM_CANCELLED, 409, "already-cancelled", "The order is cancelled already")           \
    X(PROBLEM_IN_FLIGHT, 409, "in-flight", "The same request is being worked on")              \
    X(PROBLEM_TOO_LARGE, 413, "too-large", "The body is too large")                            \
    X(PROBLEM_MEDIA_TYPE, 415, "media-type", "The body must be application/json")              \
    X(PROBLEM_HOST, 421, "misdirected", "This host name is not served here")                   \
    X(PROBLEM_INVALID, 422, "invalid", "The request is not valid")                             \
    X(PROBLEM_KEY_REUSED, 422, "key-reused", "The Idempotency-Key belongs to another request") \
    X(PROBLEM_INTERNAL, 500, "internal", "Something is wrong with the box")                    \
    X(PROBLEM_ENCODING, 501, "transfer-encoding", "The transfer encoding is not supported")    \
    X(PROBLEM_BUSY, 503, "busy", "The box is busy")                                            \
    X(PROBLEM_STOPPING, 503, "stopping", "The box is stopping")                                \
    X(PROBLEM_NOT_READY, 503, "not-ready", "The journal can't be written")                     \
    X(PROBLEM_DISK_FULL, 507, "disk-full", "The disk is full")

/* … and those that only head office's services have. */
#define PROBLEM_OFFICE_TABLE(Y)                                                \
    Y(PROBLEM_DATABASE, 503, "database-away", "The database can't be reached") \
    Y(PROBLEM_SERVICE_BUSY, 503, "service-busy", "The service is busy")        \
    Y(PROBLEM_PRODUCT_EXISTS, 409, "product-exists", "There is such a product already")

enum problem {
#define X(word, status, type, title) word,
    PROBLEM_TABLE(X) PROBLEM_OFFICE_TABLE(X)
#undef X
};

/* Wrong fields of a request, gathered so that all are named at once. */
struct field_errors {
    struct buf json; /* elements of the array `errors` */
    int count;
};

enum { FIELD_ERRORS_MAX = 50, FIELD_ERRORS_SIZE_MAX = 32 << 10 };

void field_errors_init(struct field_errors *errors);
void field_errors_done(struct field_errors *errors);

/* `field` is the path as the client wrote it, "items[2].quantity". Those past FIELD_ERRORS_MAX
 * or FIELD_ERRORS_SIZE_MAX are counted but not told. */
void field_errors_add(struct field_errors *errors, const char *field, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Makes `reply` an error. The detail is for a person; printf-like. */
void reply_problem(struct http_reply *reply, enum problem problem, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* PROBLEM_METHOD; `allow` lists what the resource has, "GET, HEAD", and outlives the reply. */
void reply_method_refused(struct http_reply *reply, const char *allow);

/* PROBLEM_INVALID with every field of `errors`. */
void reply_invalid(struct http_reply *reply, const struct field_errors *errors);

/* PROBLEM_STOCK, with the numbers as members `product_id`, `requested` and `available`. */
void reply_insufficient_stock(struct http_reply *reply, int64_t product_id, int64_t requested,
                              int64_t available);

#endif
