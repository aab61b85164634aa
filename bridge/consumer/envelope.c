#include "bridge/consumer/envelope.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/clock.h"
#include "core/http/request_body.h"
#include "core/journal/event.h"
#include "core/utf8.h"

enum { TYPE_MAX = 63, VERSION_MAX = 31 };

static const char *const KINDS[ENVELOPE_KINDS] = {
    [ENVELOPE_ORDER_CREATED] = EVENT_ORDER_CREATED,
    [ENVELOPE_ORDER_CANCELLED] = EVENT_ORDER_CANCELLED,
    [ENVELOPE_PRODUCT_CREATED] = EVENT_PRODUCT_CREATED,
    [ENVELOPE_PRODUCT_UPDATED] = EVENT_PRODUCT_UPDATED,
    [ENVELOPE_STOCK_ADJUSTED] = EVENT_STOCK_ADJUSTED,
};

const char *envelope_kind_text(enum envelope_kind kind)
{
    return KINDS[kind];
}

static bool envelope_is_plain_name(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static bool read_name(struct request_body *form, const char *name, const char **ret_text)
{
    if (!request_body_text(form, name, FORM_REQUIRED, 1, ENVELOPE_NAME_MAX, ret_text))
        return false;
    if (envelope_is_plain_name(*ret_text))
        return true;
    field_errors_add(form->errors, name, "may have letters, digits, \"-\", \"_\" and \".\"");
    return false;
}

static bool read_uuid(struct request_body *form, const char *name,
                      char ret_text[static UUID_TEXT_SIZE])
{
    struct uuid uuid;
    const char *text = NULL;
    if (!request_body_text(form, name, FORM_REQUIRED, UUID_TEXT_SIZE - 1, UUID_TEXT_SIZE - 1,
                           &text))
        return false;
    if (uuid_parse(text, &uuid) != RESULT_OK) {
        field_errors_add(form->errors, name, "must be a UUID");
        return false;
    }
    uuid_format(&uuid, ret_text);
    return true;
}

static void envelope_read_version(struct request_body *form)
{
    const char *version = NULL;
    if (request_body_text(form, "event_version", FORM_REQUIRED, 0, VERSION_MAX, &version) &&
        strcmp(version, EVENT_VERSION) != 0)
        field_errors_add(form->errors, "event_version",
                         "is \"%s\", only \"" EVENT_VERSION "\" is known", version);
}

static void read_type(struct request_body *form, struct envelope *envelope)
{
    const char *type = NULL;
    if (!request_body_text(form, "event_type", FORM_REQUIRED, 0, TYPE_MAX, &type))
        return;
    for (size_t i = 0; i < ENVELOPE_KINDS; i++)
        if (strcmp(type, KINDS[i]) == 0) {
            envelope->kind = (enum envelope_kind)i;
            envelope->event_type = KINDS[i];
        }
    if (!envelope->event_type)
        field_errors_add(form->errors, "event_type", "\"%s\" is not known", type);
}

static void envelope_read_time(struct request_body *form, struct envelope *envelope)
{
    if (request_body_text(form, "occurred_at", FORM_REQUIRED, 1, CLOCK_TEXT_SIZE,
                          &envelope->occurred_at) &&
        clock_parse_utc(envelope->occurred_at, &envelope->occurred_at_ms) != RESULT_OK)
        field_errors_add(form->errors, "occurred_at", "must be a time in UTC");
}

static void envelope_read_line(const struct json *value, size_t number, struct envelope_line *line,
                               struct field_errors *errors)
{
    struct request_body form;
    char prefix[FORM_PATH_MAX];
    snprintf(prefix, sizeof prefix, "data.items[%zu].", number);
    request_body_open(&form, value, prefix, errors);
    request_body_integer(&form, "product_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX,
                         &line->product_id);
    request_body_integer(&form, "quantity", FORM_REQUIRED, 1, ENVELOPE_QUANTITY_MAX,
                         &line->quantity);
    request_body_integer(&form, "unit_price", FORM_REQUIRED, 0, ENVELOPE_PRICE_MAX_MINOR,
                         &line->unit_price_minor);
}

static enum result envelope_read_lines(const struct json *items, struct envelope *envelope,
                                       struct field_errors *errors)
{
    size_t count = 0;
    for (const struct json *item = json_first(items); item; item = json_next(item))
        count++;
    assert(count > 0); /* request_body_array() has seen to it */
    envelope->lines = calloc(count, sizeof *envelope->lines);
    if (!envelope->lines)
        return RESULT_NO_MEMORY;
    for (const struct json *item = json_first(items); item; item = json_next(item)) {
        envelope_read_line(item, envelope->line_count, &envelope->lines[envelope->line_count],
                           errors);
        envelope->line_count++;
    }
    return RESULT_OK;
}

static enum result envelope_read_order(struct request_body *form, struct envelope *envelope)
{
    const char *status = NULL;
    bool is_created = envelope->kind == ENVELOPE_ORDER_CREATED;
    const char *wanted = is_created ? "created" : "cancelled";
    request_body_integer(form, "order_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX, &envelope->order_id);
    request_body_integer(form, "user_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX, &envelope->user_id);
    request_body_integer(form, "total", FORM_REQUIRED, 0, JSON_INTEGER_MAX, &envelope->total_minor);
    if (request_body_text(form, "status", FORM_REQUIRED, 0, ENVELOPE_NAME_MAX, &status) &&
        strcmp(status, wanted) != 0)
        field_errors_add(form->errors, "data.status", "must be \"%s\"", wanted);
    const struct json *items =
        request_body_array(form, "items", FORM_REQUIRED, 1, ENVELOPE_LINES_MAX);
    return items ? envelope_read_lines(items, envelope, form->errors) : RESULT_OK;
}

static void envelope_read_product(struct request_body *form, struct envelope *envelope)
{
    request_body_integer(form, "product_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX,
                         &envelope->product_id);
    request_body_text(form, "product_name", FORM_REQUIRED, 1, ENVELOPE_TEXT_MAX,
                      &envelope->product_name);
    request_body_integer(form, "stock", FORM_REQUIRED, 0, ENVELOPE_STOCK_MAX, &envelope->stock);
    request_body_integer(form, "price", FORM_REQUIRED, 0, ENVELOPE_PRICE_MAX_MINOR,
                         &envelope->price_minor);
    request_body_text_or_null(form, "sku", 1, ENVELOPE_SKU_MAX, &envelope->sku);
}

static void envelope_read_adjustment(struct request_body *form, struct envelope *envelope)
{
    request_body_integer(form, "product_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX,
                         &envelope->product_id);
    request_body_text(form, "reason", FORM_REQUIRED, 1, ENVELOPE_TEXT_MAX, &envelope->reason);
    request_body_integer(form, "stock", FORM_REQUIRED, 0, ENVELOPE_STOCK_MAX, &envelope->stock);
    if (request_body_integer(form, "delta", FORM_REQUIRED, -ENVELOPE_STOCK_MAX, ENVELOPE_STOCK_MAX,
                             &envelope->delta) &&
        envelope->delta == 0)
        field_errors_add(form->errors, "data.delta", "must not be 0");
}

static enum result read_data(const struct json *data, struct envelope *envelope,
                             struct field_errors *errors)
{
    struct request_body form;
    request_body_open(&form, data, "data.", errors);
    switch (envelope->kind) {
    case ENVELOPE_ORDER_CREATED:
    case ENVELOPE_ORDER_CANCELLED:
        return envelope_read_order(&form, envelope);
    case ENVELOPE_PRODUCT_CREATED:
    case ENVELOPE_PRODUCT_UPDATED:
        envelope_read_product(&form, envelope);
        return RESULT_OK;
    case ENVELOPE_STOCK_ADJUSTED:
        envelope_read_adjustment(&form, envelope);
        return RESULT_OK;
    case ENVELOPE_KINDS:
        break;
    }
    return RESULT_INTERNAL;
}

static enum result read_members(struct envelope *envelope, struct field_errors *errors)
{
    struct request_body form;
    request_body_open(&form, envelope->document, "", errors);
    envelope_read_version(&form);
    read_type(&form, envelope);
    read_uuid(&form, "event_id", envelope->event_id);
    read_uuid(&form, "journal_id", envelope->journal_id);
    read_name(&form, "device_id", &envelope->device_id);
    read_name(&form, "location", &envelope->location);
    request_body_integer(&form, "sequence", FORM_REQUIRED, 1, JSON_INTEGER_MAX,
                         &envelope->sequence);
    envelope_read_time(&form, envelope);
    if (errors->count > 0)
        return RESULT_OK;
    const struct json *data = json_member(envelope->document, "data");
    if (data)
        return read_data(data, envelope, errors);
    field_errors_add(errors, "data", "is required");
    return RESULT_OK;
}

/* A box speaks for itself alone. */
static void check_user(const struct envelope *envelope,
                       const struct envelope_properties *properties, struct field_errors *errors)
{
    const char *prefix = properties->amqp_user_prefix, *user = properties->user_id;
    if (!prefix)
        return;
    if (user[0] == '\0')
        field_errors_add(errors, "user_id", "is required, as \"%s%s\"", prefix,
                         envelope->device_id);
    else if (strncmp(user, prefix, strlen(prefix)) != 0 ||
             strcmp(user + strlen(prefix), envelope->device_id) != 0)
        field_errors_add(errors, "user_id", "is \"%s\", who may not send for \"%s\"", user,
                         envelope->device_id);
}

/* What stands in both must be the same: else one of them is forged. */
static void compare_properties(const struct envelope *envelope,
                               const struct envelope_properties *properties,
                               struct field_errors *errors)
{
    if (properties->message_id[0] && strcasecmp(properties->message_id, envelope->event_id) != 0)
        field_errors_add(errors, "message_id", "is not the body's event_id");
    if (properties->type[0] && strcmp(properties->type, envelope->event_type) != 0)
        field_errors_add(errors, "type", "is not the body's event_type");
    if (properties->app_id[0] && strcmp(properties->app_id, envelope->device_id) != 0)
        field_errors_add(errors, "app_id", "is not the body's device_id");
    check_user(envelope, properties, errors);
}

/* The first of the errors as a sentence. */
static void write_reason(const struct field_errors *errors, struct error *reason)
{
    struct json *first = NULL;
    struct error ignored;
    const char *text = buf_text(&errors->json);
    const char *end = strstr(text, "\"},{\"field\"");
    size_t size = end ? (size_t)(end - text) + 2 : errors->json.size;
    if (json_parse(text, size, &first, &ignored) != RESULT_OK) {
        error_write(reason, "%d fields are wrong", errors->count);
        return;
    }
    error_write(reason, "%s %s", json_text(json_member(first, "field")),
                json_text(json_member(first, "detail")));
    reason->text[ENVELOPE_REASON_SIZE - 1] = '\0';
    utf8_trim_cut(reason->text);
    json_free(first);
}

enum result envelope_read(const char *body, size_t size,
                          const struct envelope_properties *properties,
                          struct envelope *ret_envelope, struct error *reason)
{
    struct envelope envelope = {0};
    struct field_errors errors;
    enum result result = json_parse(body, size, &envelope.document, reason);
    if (result != RESULT_OK) {
        reason->text[ENVELOPE_REASON_SIZE - 1] = '\0';
        utf8_trim_cut(reason->text);
        return result;
    }
    field_errors_init(&errors);
    result = read_members(&envelope, &errors);
    if (result == RESULT_OK && errors.count == 0)
        compare_properties(&envelope, properties, &errors);
    if (result == RESULT_OK && errors.count > 0) {
        write_reason(&errors, reason);
        result = RESULT_INVALID;
    }
    field_errors_done(&errors);
    if (result == RESULT_OK)
        *ret_envelope = envelope;
    else
        envelope_done(&envelope);
    return result;
}

void envelope_done(struct envelope *envelope)
{
    json_free(envelope->document);
    free(envelope->lines);
    *envelope = (struct envelope){0};
}
