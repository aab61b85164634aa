/* Hands messages to a mail server, by libcurl. One thread at a time uses a client; it keeps its
 * connection open between messages. */
#ifndef TILLBOX_CORE_SMTP_CLIENT_H
#define TILLBOX_CORE_SMTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

struct smtp_client;

struct smtp_options {
    const char *url;           /* smtp://host:port, or smtps:// for TLS from the first byte */
    bool allow_plain;          /* smtp:// without STARTTLS too; else it is required */
    const char *user;          /* NULL: no log-in */
    const char *password_file; /* read for each mail; NULL: none */
    const char *ca_file;       /* NULL: the system's authorities */
    int64_t timeout_ms;
};

/* The options' texts must outlive it. A password in a new file counts from the next mail on. */
MUST_CHECK enum result smtp_client_new(const struct smtp_options *options,
                                       struct smtp_client **ret_client);
void smtp_client_free(struct smtp_client *client);

/* Addresses are as mime_is_address() says; `message` is whole, with its headers and CRLF.
 * RESULT_OK: the server has taken it. RESULT_REFUSED: it will not (5xx). RESULT_BUSY: not now
 * (4xx). RESULT_DENIED: no TLS to be trusted, or a wrong password. RESULT_TIMED_OUT,
 * RESULT_UNREACHABLE, … The cause holds no address. */
MUST_CHECK enum result smtp_client_send(struct smtp_client *client, const char *from,
                                        const char *to, const char *message, size_t size,
                                        struct error *error);

/* RESULT_INVALID, with the cause, unless `url` is smtp or smtps and a host, and no more than a
 * port.
 */
MUST_CHECK enum result smtp_client_check_url(const char *url, struct error *error);

#endif
