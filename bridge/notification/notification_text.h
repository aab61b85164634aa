/* What a notification says: its template, with the order's data in it. */
#ifndef TILLBOX_BRIDGE_NOTIFICATION_TEXT_H
#define TILLBOX_BRIDGE_NOTIFICATION_TEXT_H

#include "bridge/notification/notification.h"
#include "bridge/notification/template.h"

enum {
    NOTIFICATION_TEXT_MAX = 1 << 20,
    NOTIFICATION_AMOUNT_SIZE = 48,
    NOTIFICATION_DIGITS_MAX = 4
};

/* How amounts are written: 1250 with 2 digits and "EUR" is "12.50 EUR". */
struct notification_currency {
    const char *code; /* NULL: none is named */
    int digits;       /* of the minor unit, 0 to NOTIFICATION_DIGITS_MAX */
};

struct notification_texts {
    struct notification_currency currency;
    struct template confirmation, cancellation;
};

/* Loads the templates, from `folder` or, if it is NULL, the built-in ones; as template_load(). */
MUST_CHECK enum result notification_texts_load(struct notification_texts *texts, const char *folder,
                                               struct error *error);
void notification_texts_done(struct notification_texts *texts);

/* Appends subject and text. RESULT_INVALID if the items can't be read, RESULT_NO_MEMORY,
 * RESULT_TOO_LARGE. */
MUST_CHECK enum result notification_write(const struct notification_texts *texts,
                                          const struct notification *notification,
                                          struct buf *subject, struct buf *text);

void notification_format_amount(const struct notification_currency *currency, int64_t minor,
                                char ret_text[static NOTIFICATION_AMOUNT_SIZE]);

#endif
