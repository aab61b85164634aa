#include "core/http/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/curl_setup.h"

enum { HEADER_LINE_MAX = 1024 };

struct http_client {
    CURL *handle;
    char *ca_file;
    char error_text[CURL_ERROR_SIZE];
};

/* What has come of an answer. */
struct reception {
    struct buf *body;
    size_t header_bytes;
};

enum result http_client_new(const char *ca_file, struct http_client **ret_client)
{
    struct http_client *client = calloc(1, sizeof *client);
    if (!client)
        return RESULT_NO_MEMORY;
    client->handle = curl_setup_new();
    client->ca_file = ca_file ? strdup(ca_file) : NULL;
    if (!client->handle || (ca_file && !client->ca_file)) {
        http_client_free(client);
        return RESULT_NO_MEMORY;
    }
    *ret_client = client;
    return RESULT_OK;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->handle);
    free(client->ca_file);
    free(client);
}

/* Taking fewer bytes than there are ends the transfer. */
static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct reception *reception = context;
    if (!reception->body)
        return size * count;
    buf_append(reception->body, bytes, size * count);
    return buf_result(reception->body) == RESULT_OK ? size * count : 0;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    struct reception *reception = context;
    reception->header_bytes += size * count;
    return reception->header_bytes <= HTTP_CLIENT_HEADER_BYTES_MAX ? size * count : 0;
}

static enum result append_header(struct curl_slist **list, const struct http_header *header)
{
    char line[HEADER_LINE_MAX];
    int length = snprintf(line, sizeof line, "%s: %s", header->name, header->value);
    if (length >= (int)sizeof line || strpbrk(line, "\r\n"))
        return RESULT_INVALID;
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return RESULT_NO_MEMORY;
    *list = longer;
    return RESULT_OK;
}

static enum result make_headers(const struct http_request *request, struct curl_slist **ret_list,
                                struct error *error)
{
    enum result result =
        request->header_count <= HTTP_CLIENT_HEADERS_MAX ? RESULT_OK : RESULT_INVALID;
    for (size_t i = 0; i < request->header_count && result == RESULT_OK; i++)
        result = append_header(ret_list, &request->headers[i]);
    return result == RESULT_OK ? result : error_set(error, result, "a header can't be sent");
}

static enum result transfer(struct http_client *client, int *ret_status, struct error *error)
{
    long status = 0;
    CURLcode code = curl_easy_perform(client->handle);
    if (code != CURLE_OK)
        return error_set(error, curl_setup_result(code), "%s",
                         client->error_text[0] ? client->error_text : curl_easy_strerror(code));
    curl_easy_getinfo(client->handle, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (int)status;
    return RESULT_OK;
}

enum result http_client_call(struct http_client *client, const struct http_request *request,
                             int *ret_status, struct buf *body, struct error *error)
{
    const struct curl_setup_limits limits = {
        .timeout_ms = request->timeout_ms,
        .connect_timeout_ms = request->connect_timeout_ms,
        .protocols = "http,https",
        .ca_file = client->ca_file,
    };
    struct reception reception = {.body = body};
    struct curl_slist *headers = NULL;
    CURL *handle = client->handle;
    curl_setup_apply(handle, &limits, client->error_text);
    curl_easy_setopt(handle, CURLOPT_URL, request->url);
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &reception);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &reception);
    if (request->body) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body);
    }
    enum result result = make_headers(request, &headers, error);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    if (result == RESULT_OK)
        result = transfer(client, ret_status, error);
    curl_slist_free_all(headers);
    return result;
}

/* Is this part of the URL there? */
static bool http_client_has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return there;
}

static bool is_http(CURLU *url)
{
    char *scheme = NULL;
    bool good = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return good;
}

enum result http_client_check_url(const char *url, bool may_query, struct error *error)
{
    CURLU *parsed = curl_url();
    enum result result = parsed ? RESULT_OK : RESULT_NO_MEMORY;
    if (!parsed)
        return result;
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK || !is_http(parsed))
        result = error_set(error, RESULT_INVALID, "it must be a URL of http:// or https://");
    else if (http_client_has_part(parsed, CURLUPART_USER) ||
             http_client_has_part(parsed, CURLUPART_PASSWORD))
        result = error_set(error, RESULT_INVALID, "a URL is no place for a user or a password");
    else if (!may_query && http_client_has_part(parsed, CURLUPART_QUERY))
        result = error_set(error, RESULT_INVALID, "the URL may have no ?");
    else if (http_client_has_part(parsed, CURLUPART_FRAGMENT))
        result = error_set(error, RESULT_INVALID, "the URL may have no #");
    curl_url_cleanup(parsed);
    return result;
}
