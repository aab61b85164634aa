#include "core/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

enum { NAME_TOLD_MAX = 64 };

/* `struct json` is cJSON's node under a name of our own: only this file knows. */
static const cJSON *node(const struct json *value)
{
    return (const cJSON *)value;
}

static const struct json *value_of(const cJSON *item)
{
    return (const struct json *)item;
}

static enum result repeated(const char *name, struct error *error)
{
    char start[NAME_TOLD_MAX + 1];
    snprintf(start, sizeof start, "%s", name);
    utf8_trim_cut(start);
    return error_set(error, RESULT_MALFORMED, "the name \"%s\" appears twice", start);
}

static enum result check_names(const cJSON *object, struct error *error)
{
    int count = 0;
    for (const cJSON *member = object->child; member; member = member->next) {
        if (++count > JSON_MEMBERS_MAX)
            return error_set(error, RESULT_MALFORMED, "an object has more than %d members",
                             JSON_MEMBERS_MAX);
        for (const cJSON *earlier = object->child; earlier != member; earlier = earlier->next)
            if (strcmp(earlier->string, member->string) == 0)
                return repeated(member->string, error);
    }
    return RESULT_OK;
}

/* Where the next number of the document's text may begin. */
struct numbers {
    const char *text;
    size_t size, at;
};

/* A double has fewer digits than a text may: 0.99999999999999999999 would be taken for 1. A number
 * that isn't integral in its text is none as a value either. */
static void mark_fractions(cJSON *item, struct numbers *numbers)
{
    size_t length = 0;
    if (cJSON_IsNumber(item) &&
        json_next_number(numbers->text, numbers->size, &numbers->at, &length)) {
        if (!json_number_is_integral(numbers->text + numbers->at, length))
            item->valuedouble = (double)NAN;
        numbers->at += length;
    }
    for (cJSON *child = item->child; child; child = child->next)
        mark_fractions(child, numbers);
}

static bool may_have_fractions(const char *text, size_t size)
{
    for (size_t i = 1; i + 1 < size; i++)
        if (text[i] == '.' || ((text[i] | 0x20) == 'e' && text[i - 1] >= '0' && text[i - 1] <= '9'))
            return true;
    return false;
}

/* Recursion is safe: the depth has been checked. */
static enum result check_objects(const cJSON *item, struct error *error)
{
    enum result result = cJSON_IsObject(item) ? check_names(item, error) : RESULT_OK;
    for (const cJSON *child = item->child; child && result == RESULT_OK; child = child->next)
        result = check_objects(child, error);
    return result;
}

enum result json_parse(const char *text, size_t size, struct json **ret_document,
                       struct error *error)
{
    enum result result = json_check_syntax(text, size, error);
    if (result != RESULT_OK)
        return result;
    cJSON *document = cJSON_ParseWithLength(text, size);
    if (!document)
        return error_set(error, RESULT_NO_MEMORY, "no memory for the document");
    result = check_objects(document, error);
    if (result != RESULT_OK) {
        cJSON_Delete(document);
        return result;
    }
    if (may_have_fractions(text, size)) {
        struct numbers numbers = {.text = text, .size = size};
        mark_fractions(document, &numbers);
    }
    *ret_document = (struct json *)document;
    return RESULT_OK;
}

void json_free(struct json *document)
{
    cJSON_Delete((cJSON *)document);
}

enum json_kind json_kind(const struct json *value)
{
    const cJSON *item = node(value);
    if (cJSON_IsObject(item))
        return JSON_OBJECT;
    if (cJSON_IsArray(item))
        return JSON_ARRAY;
    if (cJSON_IsString(item))
        return JSON_STRING;
    if (cJSON_IsNumber(item))
        return JSON_NUMBER;
    return cJSON_IsBool(item) ? JSON_BOOLEAN : JSON_NULL;
}

const char *json_kind_text(enum json_kind kind)
{
    static const char *const TEXTS[] = {
        [JSON_NULL] = "null",       [JSON_BOOLEAN] = "a boolean", [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",    [JSON_OBJECT] = "an object",
    };
    return TEXTS[kind];
}

const struct json *json_member(const struct json *object, const char *name)
{
    return value_of(cJSON_GetObjectItemCaseSensitive(node(object), name));
}

const struct json *json_first(const struct json *parent)
{
    return value_of(node(parent)->child);
}

const struct json *json_next(const struct json *child)
{
    return value_of(node(child)->next);
}

const char *json_name(const struct json *member)
{
    return node(member)->string;
}

const char *json_text(const struct json *string)
{
    assert(json_kind(string) == JSON_STRING);
    return node(string)->valuestring;
}

enum result json_integer(const struct json *value, int64_t *ret_number)
{
    double number = node(value)->valuedouble;
    if (json_kind(value) != JSON_NUMBER || !(fabs(number) <= (double)JSON_INTEGER_MAX) ||
        floor(number) < number)
        return RESULT_INVALID;
    *ret_number = (int64_t)number;
    return RESULT_OK;
}

const char *json_library_version(void)
{
    return cJSON_Version();
}
