/* Reading a JSON object's members into variables, with every wrong member named.
 *
 *   struct request_body form;
 *   request_body_open(&form, body, "", &errors);
 *   request_body_text(&form, "product_name", FORM_REQUIRED, 1, NAME_MAX, &name);
 *   request_body_integer(&form, "stock", FORM_REQUIRED, 0, STOCK_MAX, &stock);
 *   request_body_close(&form);
 *
 * A member that is wrong, or missing though required, adds an error and leaves the variable alone;
 * so does, at request_body_close, a member that nobody asked for. */
#ifndef TILLBOX_CORE_REQUEST_BODY_H
#define TILLBOX_CORE_REQUEST_BODY_H

#include <stdint.h>

#include "core/http/http_reply.h"
#include "core/json.h"

enum { FORM_MEMBERS_MAX = 12, FORM_PATH_MAX = 64 };

enum request_body_need { FORM_REQUIRED, FORM_OPTIONAL };

struct request_body {
    const struct json *object; /* NULL if the value is no object: then every call does nothing */
    struct field_errors *errors;
    char prefix[FORM_PATH_MAX]; /* "items[3]." */
    const char *known[FORM_MEMBERS_MAX];
    int known_count;
};

/* `value` and `errors` must outlive the form. `prefix` stands before every field's name. */
void request_body_open(struct request_body *form, const struct json *value, const char *prefix,
                       struct field_errors *errors);

/* An integer from `minimum` to `maximum`. Each returns whether the variable was set. */
bool request_body_integer(struct request_body *form, const char *name, enum request_body_need need,
                          int64_t minimum, int64_t maximum, int64_t *ret_number);

/* Text of `shortest` to `longest` characters, none of them a control character. Lives as long as
 * the document. */
bool request_body_text(struct request_body *form, const char *name, enum request_body_need need,
                       int shortest, int longest, const char **ret_text);

/* As request_body_text, but null sets the variable to NULL. */
bool request_body_text_or_null(struct request_body *form, const char *name, int shortest,
                               int longest, const char **ret_text);

/* Adds an error where a text is nothing but spaces, Unicode's too; NULL is fine. */
void request_body_refuse_blank(struct request_body *form, const char *name, const char *text);

/* Adds an error saying `why` where there is such a member. */
void request_body_refuse_member(struct request_body *form, const char *name, const char *why);

/* An array of `fewest` to `most` elements; NULL if it is missing or wrong. */
const struct json *request_body_array(struct request_body *form, const char *name,
                                      enum request_body_need need, int fewest, int most);

/* Names the members that nobody asked for. */
void request_body_close(struct request_body *form);

#endif
