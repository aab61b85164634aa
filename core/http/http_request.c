#include "core/http/http_request.h"

#include <string.h>
#include <strings.h>

/* Is it application/json, with or without parameters? */
static bool is_json(const char *content_type)
{
    static const char JSON_TYPE[] = "application/json";
    size_t length = sizeof JSON_TYPE - 1;
    if (!content_type || strncasecmp(content_type, JSON_TYPE, length) != 0)
        return false;
    content_type += length;
    content_type += strspn(content_type, " \t");
    return *content_type == '\0' || *content_type == ';';
}

struct json *http_parse_body(struct http_exchange *exchange)
{
    struct json *document = NULL;
    struct error error = {0};
    const struct buf *body = http_exchange_body(exchange);
    struct http_reply *reply = http_exchange_reply(exchange);
    if (body->size == 0) {
        reply_problem(reply, PROBLEM_MALFORMED, "the body is empty; it must be a JSON object");
        return NULL;
    }
    if (!is_json(http_exchange_header(exchange, "Content-Type"))) {
        reply_problem(reply, PROBLEM_MEDIA_TYPE, "send the header Content-Type: application/json");
        return NULL;
    }
    enum result result = json_parse(body->bytes, body->size, &document, &error);
    if (result == RESULT_OK)
        return document;
    reply_problem(reply, result == RESULT_MALFORMED ? PROBLEM_MALFORMED : PROBLEM_INTERNAL,
                  "the body is not valid JSON: %s", error.text);
    return NULL;
}

bool http_key_is_usable(const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < length; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return length >= 1 && length <= HTTP_KEY_MAX;
}

bool http_parse_number(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_number)
{
    int64_t number = 0;
    if (*text == '\0' || strlen(text) > 16)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        number = number * 10 + (*text - '0');
    }
    if (number < minimum || number > maximum)
        return false;
    *ret_number = number;
    return true;
}
