#include "bridge/notification/notification_text.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_SIZE = 24 };

enum result notification_texts_load(struct notification_texts *texts, const char *folder,
                                    struct error *error)
{
    enum result result =
        template_load(folder, NOTIFICATION_CONFIRMATION, &texts->confirmation, error);
    if (result == RESULT_OK)
        result = template_load(folder, NOTIFICATION_CANCELLATION, &texts->cancellation, error);
    return result;
}

void notification_texts_done(struct notification_texts *texts)
{
    template_done(&texts->confirmation);
    template_done(&texts->cancellation);
}

void notification_format_amount(const struct notification_currency *currency, int64_t minor,
                                char ret_text[static NOTIFICATION_AMOUNT_SIZE])
{
    char fraction[NOTIFICATION_DIGITS_MAX + 2] = "";
    if (currency->digits > 0)
        fraction[0] = '.';
    for (int i = currency->digits; i > 0; i--, minor /= 10)
        fraction[i] = (char)('0' + minor % 10);
    snprintf(ret_text, NOTIFICATION_AMOUNT_SIZE, "%lld%s%s%s", (long long)minor, fraction,
             currency->code ? " " : "", currency->code ? currency->code : "");
}

static bool notification_text_read_member(const struct json *item, const char *name,
                                          int64_t *ret_number)
{
    const struct json *member = json_member(item, name);
    return member && json_integer(member, ret_number) == RESULT_OK;
}

static enum result write_item(const struct notification_currency *currency, const struct json *item,
                              struct buf *out)
{
    int64_t product_id = 0, quantity = 0, price = 0;
    char amount[NOTIFICATION_AMOUNT_SIZE];
    if (json_kind(item) != JSON_OBJECT ||
        !notification_text_read_member(item, "product_id", &product_id) ||
        !notification_text_read_member(item, "quantity", &quantity) ||
        !notification_text_read_member(item, "unit_price", &price))
        return RESULT_INVALID;
    notification_format_amount(currency, price, amount);
    buf_append_format(out, "%s%lld x product %lld at %s", out->size > 0 ? "\n" : "",
                      (long long)quantity, (long long)product_id, amount);
    return RESULT_OK;
}

static enum result notification_text_write_items(const struct notification_currency *currency,
                                                 const char *items, struct buf *out)
{
    struct json *document = NULL;
    enum result result = json_parse(items, strlen(items), &document, NULL);
    if (result != RESULT_OK)
        return result == RESULT_NO_MEMORY ? result : RESULT_INVALID;
    for (const struct json *item = json_first(document); item && result == RESULT_OK;
         item = json_next(item))
        result = write_item(currency, item, out);
    json_free(document);
    return result == RESULT_OK ? buf_result(out) : result;
}

enum result notification_write(const struct notification_texts *texts,
                               const struct notification *notification, struct buf *subject,
                               struct buf *text)
{
    char order_id[NUMBER_SIZE], user_id[NUMBER_SIZE], total[NOTIFICATION_AMOUNT_SIZE];
    struct buf items;
    buf_init(&items, NOTIFICATION_TEXT_MAX);
    bool is_created = strcmp(notification->kind, NOTIFICATION_CONFIRMATION) == 0;
    const struct template *template = is_created ? &texts->confirmation : &texts->cancellation;
    enum result result =
        notification_text_write_items(&texts->currency, notification->items, &items);
    snprintf(order_id, sizeof order_id, "%lld", (long long)notification->order_id);
    snprintf(user_id, sizeof user_id, "%lld", (long long)notification->user_id);
    notification_format_amount(&texts->currency, notification->total_minor, total);
    const template_values values = {
        [TEMPLATE_ORDER_ID] = order_id,
        [TEMPLATE_USER_ID] = user_id,
        [TEMPLATE_TOTAL] = total,
        [TEMPLATE_ITEMS] = buf_text(&items),
        [TEMPLATE_LOCATION] = notification->location,
        [TEMPLATE_DEVICE_ID] = notification->device_id,
        [TEMPLATE_OCCURRED_AT] = notification->occurred_at,
    };
    if (result == RESULT_OK) {
        template_render(template->subject, values, subject);
        template_render(template->text, values, text);
        result = buf_result(subject) == RESULT_OK ? buf_result(text) : buf_result(subject);
    }
    buf_done(&items);
    return result;
}
