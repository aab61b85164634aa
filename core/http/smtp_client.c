#include "core/http/smtp_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config/secret.h"
#include "core/http/curl_setup.h"

enum { ADDRESS_SIZE = 300 };

struct smtp_client {
    struct smtp_options options;
    CURL *handle;
    char error_text[CURL_ERROR_SIZE];
};

/* What is left to be sent. */
struct dispatch {
    const char *bytes;
    size_t left;
};

enum result smtp_client_new(const struct smtp_options *options, struct smtp_client **ret_client)
{
    struct smtp_client *client = calloc(1, sizeof *client);
    if (!client)
        return RESULT_NO_MEMORY;
    client->options = *options;
    client->handle = curl_setup_new();
    if (!client->handle) {
        free(client);
        return RESULT_NO_MEMORY;
    }
    *ret_client = client;
    return RESULT_OK;
}

void smtp_client_free(struct smtp_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->handle);
    free(client);
}

static size_t on_read(char *ret_bytes, size_t size, size_t count, void *context)
{
    struct dispatch *dispatch = context;
    size_t part = size * count < dispatch->left ? size * count : dispatch->left;
    memcpy(ret_bytes, dispatch->bytes, part);
    dispatch->bytes += part;
    dispatch->left -= part;
    return part;
}

/* The server's own code says more than libcurl's. Its words may repeat the address: only the code
 * is told. */
static enum result smtp_client_result_of(struct smtp_client *client, CURLcode code,
                                         struct error *error)
{
    long answer = 0;
    curl_easy_getinfo(client->handle, CURLINFO_RESPONSE_CODE, &answer);
    if (code == CURLE_OK)
        return RESULT_OK;
    enum result result = curl_setup_result(code);
    if (result == RESULT_TIMED_OUT || answer < 400)
        return error_set(error, result, "%s", curl_easy_strerror(code));
    if (code == CURLE_LOGIN_DENIED)
        return error_set(error, RESULT_DENIED, "the log-in was refused with %ld", answer);
    return error_set(error, answer >= 500 ? RESULT_REFUSED : RESULT_BUSY, "refused with %ld",
                     answer);
}

static enum result set_server(const struct smtp_client *client, struct error *error)
{
    const struct smtp_options *options = &client->options;
    CURL *handle = client->handle;
    CLEANUP(secret_forget) char *password = NULL;
    if (options->password_file) {
        enum result result = secret_read(options->password_file, error, &password);
        if (result != RESULT_OK)
            return result;
    }
    curl_easy_setopt(handle, CURLOPT_URL, options->url);
    curl_easy_setopt(handle, CURLOPT_USE_SSL,
                     (long)(options->allow_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (options->user)
        curl_easy_setopt(handle, CURLOPT_USERNAME, options->user);
    if (password)
        curl_easy_setopt(handle, CURLOPT_PASSWORD, password); /* it makes a copy */
    return RESULT_OK;
}

enum result smtp_client_send(struct smtp_client *client, const char *from, const char *to,
                             const char *message, size_t size, struct error *error)
{
    const struct curl_setup_limits limits = {.timeout_ms = client->options.timeout_ms,
                                             .connect_timeout_ms = client->options.timeout_ms,
                                             .protocols = "smtp,smtps",
                                             .ca_file = client->options.ca_file};
    struct dispatch dispatch = {.bytes = message, .left = size};
    char sender[ADDRESS_SIZE], recipient[ADDRESS_SIZE];
    snprintf(sender, sizeof sender, "<%s>", from);
    snprintf(recipient, sizeof recipient, "<%s>", to);
    struct curl_slist *recipients = curl_slist_append(NULL, recipient);
    if (!recipients)
        return RESULT_NO_MEMORY;
    CURL *handle = client->handle;
    curl_setup_apply(handle, &limits, client->error_text);
    curl_easy_setopt(handle, CURLOPT_MAIL_FROM, sender);
    curl_easy_setopt(handle, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(handle, CURLOPT_READDATA, &dispatch);
    curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    enum result result = set_server(client, error);
    if (result == RESULT_OK)
        result = smtp_client_result_of(client, curl_easy_perform(handle), error);
    curl_slist_free_all(recipients);
    return result;
}

static bool smtp_client_has_part(CURLU *url, CURLUPart part, const char *usual)
{
    char *text = NULL;
    bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK && strcmp(text, usual) != 0;
    curl_free(text);
    return there;
}

enum result smtp_client_check_url(const char *url, struct error *error)
{
    CURLU *parsed = curl_url();
    enum result result = parsed ? RESULT_OK : RESULT_NO_MEMORY;
    if (!parsed)
        return result;
    bool is_mail = strncmp(url, "smtp://", 7) == 0 || strncmp(url, "smtps://", 8) == 0;
    if (!is_mail || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
        result = error_set(error, RESULT_INVALID, "it must be smtp://host:port or smtps://");
    else if (smtp_client_has_part(parsed, CURLUPART_USER, "") ||
             smtp_client_has_part(parsed, CURLUPART_PASSWORD, "") ||
             smtp_client_has_part(parsed, CURLUPART_PATH, "/") ||
             smtp_client_has_part(parsed, CURLUPART_QUERY, "") ||
             smtp_client_has_part(parsed, CURLUPART_FRAGMENT, ""))
        result = error_set(error, RESULT_INVALID, "the URL may have a host and a port, no more");
    curl_url_cleanup(parsed);
    return result;
}
