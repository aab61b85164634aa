/* Whatever a client sends, the answer that names its faults is JSON itself. */
#include "core/http/request_body.h"
#include "tests/fuzz/fuzz.h"

static void read_lines(struct request_body *form, struct field_errors *errors)
{
    int64_t number = 0;
    const struct json *lines = request_body_array(form, "items", FORM_OPTIONAL, 1, 1000);
    for (const struct json *line = lines ? json_first(lines) : NULL; line; line = json_next(line)) {
        struct request_body inner;
        request_body_open(&inner, line, "items[0].", errors);
        request_body_integer(&inner, "product_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX, &number);
        request_body_close(&inner);
    }
}

static void read_fields(const struct json *document, struct field_errors *errors)
{
    struct request_body form;
    int64_t number = 0;
    const char *text = NULL;
    request_body_open(&form, document, "", errors);
    if (request_body_integer(&form, "user_id", FORM_REQUIRED, 1, 100, &number))
        assert(number >= 1 && number <= 100);
    request_body_text(&form, "reason", FORM_OPTIONAL, 1, 20, &text);
    request_body_text_or_null(&form, "sku", 1, 20, &text);
    read_lines(&form, errors);
    request_body_close(&form);
}

static void check_answer(const struct field_errors *errors)
{
    struct error error = {0};
    struct http_reply reply;
    http_reply_init(&reply);
    reply_invalid(&reply, errors);
    assert(json_check_syntax(buf_text(&reply.body), reply.body.size, &error) == RESULT_OK);
    http_reply_done(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct field_errors errors;
    struct json *document = NULL;
    if (json_parse((const char *)data, size, &document, &error) != RESULT_OK)
        return 0;
    field_errors_init(&errors);
    read_fields(document, &errors);
    check_answer(&errors);
    field_errors_done(&errors);
    json_free(document);
    return 0;
}
