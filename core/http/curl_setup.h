/* What the adapters of libcurl share: set-up, limits, and what its errors mean. Only they include
 * this. */
#ifndef TILLBOX_CORE_CURL_SETUP_H
#define TILLBOX_CORE_CURL_SETUP_H

#include <curl/curl.h>
#include <stdint.h>

#include "core/result.h"

/* A new handle, with the library set up once for the process. NULL: no memory. */
CURL *curl_setup_new(void);

struct curl_setup_limits {
    int64_t timeout_ms;         /* for all of it */
    int64_t connect_timeout_ms; /* of that, until TCP and TLS stand */
    const char *protocols;      /* "http,https" */
    const char *ca_file;        /* NULL: the system's authorities */
};

/* Forgets the handle's earlier options but keeps its connections, and sets the common ones: no
 * signals, no proxy from the environment, certificates verified. */
void curl_setup_apply(CURL *handle, const struct curl_setup_limits *limits,
                      char error_text[static CURL_ERROR_SIZE]);

/* RESULT_OK, RESULT_TIMED_OUT, RESULT_UNREACHABLE (no name, no connection, or it broke),
 * RESULT_DENIED (a certificate or a log-in), RESULT_TOO_LARGE, RESULT_NO_MEMORY, RESULT_INVALID
 * (the URL or a setting), RESULT_REFUSED (the peer said no), RESULT_MALFORMED (the answer makes no
 * sense).
 */
enum result curl_setup_result(CURLcode code);

#endif
