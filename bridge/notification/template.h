/* The texts of notifications, with places for an order's data.
 *
 *   Subject: Your order {order_id}
 *
 *   Thank you for …
 *
 * The first line is the subject, the second is empty, the rest is the text. {name} stands for one
 * of TEMPLATE_FIELDS; {{ and }} stand for braces. Everything is checked when a template is loaded,
 * so that a typing error stops the start and not a message. */
#ifndef TILLBOX_BRIDGE_TEMPLATE_H
#define TILLBOX_BRIDGE_TEMPLATE_H

#include <stddef.h>

#include "core/buf.h"

enum { TEMPLATE_SIZE_MAX = 64 << 10 };

#define TEMPLATE_FIELDS(X)             \
    X(TEMPLATE_ORDER_ID, "order_id")   \
    X(TEMPLATE_USER_ID, "user_id")     \
    X(TEMPLATE_TOTAL, "total")         \
    X(TEMPLATE_ITEMS, "items")         \
    X(TEMPLATE_LOCATION, "location")   \
    X(TEMPLATE_DEVICE_ID, "device_id") \
    X(TEMPLATE_OCCURRED_AT, "occurred_at")

enum template_field {
#define X(field, name) field,
    TEMPLATE_FIELDS(X)
#undef X
        TEMPLATE_FIELD_COUNT
};

/* A text by its name, built into the program. */
struct template_file {
    const char *name, *text;
};

struct template
{
    char *bytes; /* owned: the subject, a NUL, and the text behind it */
    const char *subject, *text;
};

/* What stands in each field; a subject takes none with line ends. */
typedef const char *template_values[TEMPLATE_FIELD_COUNT];

/* Reads NAME.txt from `folder`, or the built-in one if it is NULL. RESULT_INVALID, with the cause
 * and the line, for an unknown field, a brace alone, no subject, {items} in the subject, or no
 * {order_id}; RESULT_NOT_FOUND, RESULT_TOO_LARGE, RESULT_IO, RESULT_NO_MEMORY. */
MUST_CHECK enum result template_load(const char *folder, const char *name,
                                     struct template *ret_template, struct error *error);
void template_done(struct template *template);

/* Appends the text with the values in their places. */
void template_render(const char *text, const template_values values, struct buf *out);

#endif
