/* An event as it comes off a queue, read and checked.
 *
 * Anybody with a login may publish: a field that isn't as docs/api/asyncapi.yaml says makes the
 * whole message bad. Members that v1 doesn't know are ignored. */
#ifndef TILLBOX_BRIDGE_ENVELOPE_H
#define TILLBOX_BRIDGE_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "core/json.h"
#include "core/uuid.h"

enum {
    ENVELOPE_BYTES_MAX = 256 << 10, /* an order of 1000 lines has a third of it */
    ENVELOPE_NAME_MAX = 64,
    ENVELOPE_LINES_MAX = 1000,
    ENVELOPE_QUANTITY_MAX = 1000000,
    ENVELOPE_TEXT_MAX = 200, /* characters of a product's name or a reason */
    ENVELOPE_SKU_MAX = 64,
    ENVELOPE_STOCK_MAX = 1000000000,
    ENVELOPE_REASON_SIZE = 256, /* of a refusal: what a header can hold, with a NUL */
};

static const int64_t ENVELOPE_PRICE_MAX_MINOR = 1000000000000;

enum envelope_kind {
    ENVELOPE_ORDER_CREATED,
    ENVELOPE_ORDER_CANCELLED,
    ENVELOPE_PRODUCT_CREATED,
    ENVELOPE_PRODUCT_UPDATED,
    ENVELOPE_STOCK_ADJUSTED,
    ENVELOPE_KINDS
};

/* One line of an order. */
struct envelope_line {
    int64_t product_id;
    int64_t quantity;
    int64_t unit_price_minor;
};

/* Texts live as long as the envelope, are well-formed UTF-8 and have no control characters. */
struct envelope {
    enum envelope_kind kind;
    char event_id[UUID_TEXT_SIZE]; /* lower case */
    char journal_id[UUID_TEXT_SIZE];
    const char *event_type;
    const char *device_id; /* 1 to 64 letters, digits, "-", "_", "."; so is the location */
    const char *location;
    int64_t sequence;
    const char *occurred_at; /* RFC 3339 in UTC */
    int64_t occurred_at_ms;

    /* Of order.created and order.cancelled: */
    int64_t order_id, user_id, total_minor;
    struct envelope_line *lines; /* a product may stand in several */
    size_t line_count;

    /* Of product.created and product.updated; of stock.adjusted only product_id and stock: */
    int64_t product_id, stock, price_minor;
    const char *product_name;
    const char *sku; /* NULL: none */

    /* Of stock.adjusted: */
    int64_t delta;
    const char *reason;

    struct json *document; /* that the texts are in; owned, and so are the lines */
};

/* Whose properties the message has; "" where it has none. They must agree with the body. */
struct envelope_properties {
    const char *message_id, *type, *app_id;
    const char *user_id;          /* the login that sent it, by the broker's word */
    const char *amqp_user_prefix; /* this and the device_id is that login; NULL: any may send */
};

/* RESULT_OK; RESULT_INVALID or RESULT_MALFORMED with the reason, for a person, in at most
 * ENVELOPE_REASON_SIZE bytes; RESULT_NO_MEMORY. Only after RESULT_OK there is anything to free. */
MUST_CHECK enum result envelope_read(const char *body, size_t size,
                                     const struct envelope_properties *properties,
                                     struct envelope *ret_envelope, struct error *reason);
void envelope_done(struct envelope *envelope);

/* "order.created", … */
const char *envelope_kind_text(enum envelope_kind kind);

#endif
