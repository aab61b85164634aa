/* A message of any bytes, from anybody with a login, is a bad one or keeps envelope.h's promises.
 */
#include "bridge/consumer/envelope.h"
#include "core/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_order(const struct envelope *event)
{
    assert(event->order_id > 0 && event->user_id > 0 && event->total_minor >= 0);
    assert(event->line_count >= 1 && event->line_count <= ENVELOPE_LINES_MAX);
    for (size_t i = 0; i < event->line_count; i++) {
        const struct envelope_line *line = &event->lines[i];
        assert(line->product_id > 0 && line->unit_price_minor >= 0);
        assert(line->quantity >= 1 && line->quantity <= ENVELOPE_QUANTITY_MAX);
    }
}

static void check_text(const char *text, int longest)
{
    assert(text);
    long length = utf8_length(text, strlen(text));
    assert(length >= 1 && length <= longest);
}

static void check(const struct envelope *event)
{
    check_text(event->device_id, ENVELOPE_NAME_MAX);
    check_text(event->location, ENVELOPE_NAME_MAX);
    assert(event->sequence > 0 && strlen(event->event_id) == UUID_TEXT_SIZE - 1);
    assert(strcmp(envelope_kind_text(event->kind), event->event_type) == 0);
    if (event->kind == ENVELOPE_ORDER_CREATED || event->kind == ENVELOPE_ORDER_CANCELLED)
        check_order(event);
    else
        assert(event->product_id > 0);
    if (event->kind == ENVELOPE_PRODUCT_CREATED || event->kind == ENVELOPE_PRODUCT_UPDATED)
        check_text(event->product_name, ENVELOPE_TEXT_MAX);
    if (event->kind == ENVELOPE_STOCK_ADJUSTED)
        check_text(event->reason, ENVELOPE_TEXT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error reason = {0};
    struct envelope event;
    const struct envelope_properties none = {"", "", "", "", NULL};
    if (envelope_read((const char *)data, size, &none, &event, &reason) == RESULT_OK) {
        check(&event);
        envelope_done(&event);
    } else {
        assert(reason.text[0] && utf8_length(reason.text, strlen(reason.text)) >= 0);
    }
    return 0;
}
