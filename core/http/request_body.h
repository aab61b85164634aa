/* Reading a JSON object's members into variables, with every wrong member named.
 *
 *   struct form form;
 *   form_open(&form, body, "", &errors);
 *   form_text(&form, "product_name", FORM_REQUIRED, 1, NAME_MAX, &name);
 *   form_integer(&form, "stock", FORM_REQUIRED, 0, STOCK_MAX, &stock);
 *   form_close(&form);
 *
 * A member that is wrong, or missing though required, adds an error and leaves the variable alone;
 * so does, at form_close, a member that nobody asked for. */
#ifndef TILLBOX_CORE_FORM_H
#define TILLBOX_CORE_FORM_H

#include <stdint.h>

#include "core/http/http_reply.h"
#include "core/json.h"

enum { FORM_MEMBERS_MAX = 12, FORM_PATH_MAX = 64 };

enum form_need { FORM_REQUIRED, FORM_OPTIONAL };

struct form {
    const struct json *object; /* NULL if the value is no object: then every call does nothing */
    struct field_errors *errors;
    char prefix[FORM_PATH_MAX]; /* "items[3]." */
    const char *known[FORM_MEMBERS_MAX];
    int known_count;
};

/* `value` and `errors` must outlive the form. `prefix` stands before every field's name. */
void form_open(struct form *form, const struct json *value, const char *prefix,
               struct field_errors *errors);

/* An integer from `minimum` to `maximum`. Each returns whether the variable was set. */
bool form_integer(struct form *form, const char *name, enum form_need need, int64_t minimum,
                  int64_t maximum, int64_t *ret_number);

/* Text of `shortest` to `longest` characters, none of them a control character. Lives as long as
 * the document. */
bool form_text(struct form *form, const char *name, enum form_need need, int shortest, int longest,
               const char **ret_text);

/* As form_text, but null sets the variable to NULL. */
bool form_text_or_null(struct form *form, const char *name, int shortest, int longest,
                       const char **ret_text);

/* Adds an error where a text is nothing but spaces, Unicode's too; NULL is fine. */
void form_refuse_blank(struct form *form, const char *name, const char *text);

/* Adds an error saying `why` where there is such a member. */
void form_refuse_member(struct form *form, const char *name, const char *why);

/* An array of `fewest` to `most` elements; NULL if it is missing or wrong. */
const struct json *form_array(struct form *form, const char *name, enum form_need need, int fewest,
                              int most);

/* Names the members that nobody asked for. */
void form_close(struct form *form);

#endif
