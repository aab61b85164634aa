#include "core/http/request_body.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

enum { FIELD_MAX = FORM_PATH_MAX + 80 };

static const char *field_of(const struct request_body *form, const char *name,
                            char field[static FIELD_MAX])
{
    snprintf(field, FIELD_MAX, "%s%.64s", form->prefix, name);
    utf8_trim_cut(field);
    return field;
}

void request_body_open(struct request_body *form, const struct json *value, const char *prefix,
                       struct field_errors *errors)
{
    *form = (struct request_body){.errors = errors};
    snprintf(form->prefix, sizeof form->prefix, "%s", prefix);
    if (json_kind(value) == JSON_OBJECT) {
        form->object = value;
        return;
    }
    size_t length = strlen(form->prefix);
    bool dotted = length > 0 && form->prefix[length - 1] == '.';
    char field[FIELD_MAX];
    snprintf(field, sizeof field, "%.*s", (int)(dotted ? length - 1 : length), form->prefix);
    field_errors_add(errors, field, "must be an object, is %s", json_kind_text(json_kind(value)));
}

/* The member if it is there and of the kind; otherwise the error has been added where one is due.
 */
static const struct json *request_body_take(struct request_body *form, const char *name,
                                            enum request_body_need need, enum json_kind kind)
{
    char field[FIELD_MAX];
    if (!form->object)
        return NULL;
    assert(form->known_count < FORM_MEMBERS_MAX);
    form->known[form->known_count++] = name;
    const struct json *member = json_member(form->object, name);
    if (!member) {
        if (need == FORM_REQUIRED)
            field_errors_add(form->errors, field_of(form, name, field), "is required");
        return NULL;
    }
    if (json_kind(member) != kind) {
        field_errors_add(form->errors, field_of(form, name, field), "must be %s, is %s",
                         json_kind_text(kind), json_kind_text(json_kind(member)));
        return NULL;
    }
    return member;
}

bool request_body_integer(struct request_body *form, const char *name, enum request_body_need need,
                          int64_t minimum, int64_t maximum, int64_t *ret_number)
{
    char field[FIELD_MAX];
    int64_t number = 0;
    const struct json *member = request_body_take(form, name, need, JSON_NUMBER);
    if (!member)
        return false;
    if (json_integer(member, &number) != RESULT_OK || number < minimum || number > maximum) {
        field_errors_add(form->errors, field_of(form, name, field),
                         "must be an integer from %lld to %lld", (long long)minimum,
                         (long long)maximum);
        return false;
    }
    *ret_number = number;
    return true;
}

/* Unicode's category Cc: U+0000 to U+001F, U+007F to U+009F. */
static bool has_control(const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)text[0], next = (unsigned char)text[1];
        if (byte < 0x20 || byte == 0x7F || (byte == 0xC2 && next >= 0x80 && next <= 0x9F))
            return true;
    }
    return false;
}

bool request_body_text(struct request_body *form, const char *name, enum request_body_need need,
                       int shortest, int longest, const char **ret_text)
{
    char field[FIELD_MAX];
    const struct json *member = request_body_take(form, name, need, JSON_STRING);
    if (!member)
        return false;
    const char *text = json_text(member);
    long length = utf8_length(text, strlen(text));
    if (length < shortest || length > longest) {
        field_errors_add(form->errors, field_of(form, name, field),
                         "must have %d to %d characters, has %ld", shortest, longest, length);
        return false;
    }
    if (has_control(text)) {
        field_errors_add(form->errors, field_of(form, name, field),
                         "must not have control characters");
        return false;
    }
    *ret_text = text;
    return true;
}

bool request_body_text_or_null(struct request_body *form, const char *name, int shortest,
                               int longest, const char **ret_text)
{
    const struct json *member = form->object ? json_member(form->object, name) : NULL;
    if (!member || json_kind(member) != JSON_NULL)
        return request_body_text(form, name, FORM_OPTIONAL, shortest, longest, ret_text);
    form->known[form->known_count++] = name;
    *ret_text = NULL;
    return true;
}

/* The bytes of the space that `text` starts with; 0: none. As \s of a regular expression has them.
 */
static size_t space_length(const char *text)
{
    static const char *const SPACES[] = {" ",      "\u00A0", "\u1680", "\u2000", "\u2001",
                                         "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
                                         "\u2007", "\u2008", "\u2009", "\u200A", "\u2028",
                                         "\u2029", "\u202F", "\u205F", "\u3000", "\uFEFF"};
    for (size_t i = 0; i < ARRAY_LENGTH(SPACES); i++)
        if (strncmp(text, SPACES[i], strlen(SPACES[i])) == 0)
            return strlen(SPACES[i]);
    return 0;
}

void request_body_refuse_blank(struct request_body *form, const char *name, const char *text)
{
    char field[FIELD_MAX];
    size_t length = 0;
    if (!text)
        return;
    while ((length = space_length(text)) > 0)
        text += length;
    if (*text == '\0')
        field_errors_add(form->errors, field_of(form, name, field), "must not be blank");
}

void request_body_refuse_member(struct request_body *form, const char *name, const char *why)
{
    char field[FIELD_MAX];
    if (!form->object || !json_member(form->object, name))
        return;
    assert(form->known_count < FORM_MEMBERS_MAX);
    form->known[form->known_count++] = name;
    field_errors_add(form->errors, field_of(form, name, field), "%s", why);
}

const struct json *request_body_array(struct request_body *form, const char *name,
                                      enum request_body_need need, int fewest, int most)
{
    char field[FIELD_MAX];
    const struct json *member = request_body_take(form, name, need, JSON_ARRAY);
    if (!member)
        return NULL;
    int count = 0;
    for (const struct json *element = json_first(member); element; element = json_next(element))
        count++;
    if (count < fewest || count > most) {
        field_errors_add(form->errors, field_of(form, name, field),
                         "must have %d to %d elements, has %d", fewest, most, count);
        return NULL;
    }
    return member;
}

static bool is_known(const struct request_body *form, const char *name)
{
    for (int i = 0; i < form->known_count; i++)
        if (strcmp(form->known[i], name) == 0)
            return true;
    return false;
}

void request_body_close(struct request_body *form)
{
    char field[FIELD_MAX];
    if (!form->object)
        return;
    for (const struct json *member = json_first(form->object); member; member = json_next(member))
        if (!is_known(form, json_name(member)))
            field_errors_add(form->errors, field_of(form, json_name(member), field),
                             "is not a known field");
}
