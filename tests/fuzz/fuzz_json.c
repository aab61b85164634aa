/* A body of any bytes is refused or read, and what is read keeps json.h's promises. */
#include "core/json.h"
#include "core/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_text(const char *text)
{
    assert(utf8_length(text, strlen(text)) >= 0);
}

static void check_value(const struct json *value, int depth)
{
    int64_t number = 0;
    assert(depth <= JSON_DEPTH_MAX);
    if (json_kind(value) == JSON_STRING)
        check_text(json_text(value));
    else if (json_integer(value, &number) == RESULT_OK)
        assert(number >= -JSON_INTEGER_MAX && number <= JSON_INTEGER_MAX);
    for (const struct json *child = json_first(value); child; child = json_next(child)) {
        if (json_kind(value) == JSON_OBJECT) {
            check_text(json_name(child));
            assert(json_member(value, json_name(child)) == child);
        }
        check_value(child, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct json *document = NULL;
    const char *text = (const char *)data;
    enum result syntax = json_check_syntax(text, size, &error);
    enum result result = json_parse(text, size, &document, &error);
    if (result == RESULT_OK) {
        assert(syntax == RESULT_OK);
        check_value(document, 0);
        json_free(document);
    } else {
        check_text(error.text);
    }
    return 0;
}
