/* The journal's rows: products, orders, events, answers. */
#include <string.h>

#include "appliance/journal_internal.h"
#include "appliance/render.h"

static void bind_text_or_null(struct statement *statement, int index, const char *text)
{
    if (text[0])
        statement_bind_text(statement, index, text, strlen(text));
    else
        statement_bind_null(statement, index);
}

enum result journal_find_product(struct journal *journal, int64_t product_id,
                                 struct product *ret_product, struct error *error)
{
    struct statement *select = journal->statements[JOURNAL_FIND_PRODUCT];
    statement_bind_int(select, 1, product_id);
    enum result result = row_find(select, error);
    if (result != RESULT_OK)
        return result;
    row_product(select, ret_product);
    statement_reset(select);
    return RESULT_OK;
}

enum result journal_insert_product(struct journal *journal, struct product *product,
                                   struct error *error)
{
    struct statement *insert = journal->statements[JOURNAL_INSERT_PRODUCT];
    statement_bind_text(insert, 1, product->name, strlen(product->name));
    statement_bind_int(insert, 2, product->stock);
    statement_bind_int(insert, 3, product->price_minor);
    bind_text_or_null(insert, 4, product->sku);
    statement_bind_int(insert, 5, product->updated_at_ms);
    enum result result = statement_run(insert, error);
    if (result == RESULT_OK)
        product->product_id = db_last_id(journal->db);
    return result;
}

enum result journal_update_product(struct journal *journal, const struct product *product,
                                   struct error *error)
{
    struct statement *update = journal->statements[JOURNAL_UPDATE_PRODUCT];
    statement_bind_int(update, 1, product->product_id);
    statement_bind_text(update, 2, product->name, strlen(product->name));
    statement_bind_int(update, 3, product->price_minor);
    bind_text_or_null(update, 4, product->sku);
    statement_bind_int(update, 5, product->updated_at_ms);
    return statement_run(update, error);
}

enum result journal_find_stock(struct journal *journal, int64_t product_id, int64_t *ret_stock,
                               int64_t *ret_price_minor, struct error *error)
{
    struct statement *select = journal->statements[JOURNAL_FIND_STOCK];
    statement_bind_int(select, 1, product_id);
    enum result result = row_find(select, error);
    if (result != RESULT_OK)
        return result;
    *ret_stock = statement_int(select, 0);
    *ret_price_minor = statement_int(select, 1);
    statement_reset(select);
    return RESULT_OK;
}

enum result journal_set_stock(struct journal *journal, int64_t product_id, int64_t stock,
                              int64_t now_ms, struct error *error)
{
    struct statement *update = journal->statements[JOURNAL_SET_STOCK];
    statement_bind_int(update, 1, product_id);
    statement_bind_int(update, 2, stock);
    statement_bind_int(update, 3, now_ms);
    return statement_run(update, error);
}

enum result journal_insert_order(struct journal *journal, struct order *order, struct error *error)
{
    struct statement *insert = journal->statements[JOURNAL_INSERT_ORDER];
    struct json_writer writer;
    buf_clear(&journal->items);
    json_writer_init(&writer, &journal->items);
    render_order_items(&writer, NULL, order);
    enum result result = buf_result(&journal->items);
    if (result != RESULT_OK)
        return result;
    statement_bind_int(insert, 1, order->user_id);
    statement_bind_text(insert, 2, journal->items.bytes, journal->items.size);
    statement_bind_int(insert, 3, order->total_minor);
    statement_bind_int(insert, 4, order->created_at_ms);
    bind_text_or_null(insert, 5, order_stock_text(order->stock_checked));
    result = statement_run(insert, error);
    if (result == RESULT_OK)
        order->order_id = db_last_id(journal->db);
    return result;
}

enum result journal_find_order(struct journal *journal, int64_t order_id, struct order *ret_order,
                               struct error *error)
{
    struct statement *select = journal->statements[JOURNAL_FIND_ORDER];
    statement_bind_int(select, 1, order_id);
    enum result result = row_find(select, error);
    if (result != RESULT_OK)
        return result;
    result = row_order(select, ret_order, error);
    statement_reset(select);
    return result;
}

enum result journal_set_cancelled(struct journal *journal, int64_t order_id,
                                  int64_t cancelled_at_ms, struct error *error)
{
    struct statement *update = journal->statements[JOURNAL_SET_CANCELLED];
    statement_bind_int(update, 1, order_id);
    statement_bind_int(update, 2, cancelled_at_ms);
    return statement_run(update, error);
}

struct json_writer *journal_begin_event(struct journal *journal, const char *type, int64_t now_ms)
{
    struct uuid id = uuid_generate(&journal->ids);
    journal->event = (struct event){
        .event_type = type,
        .device_id = journal->identity.device_id,
        .journal_id = journal->identity.journal_id,
        .location = journal->identity.location,
        .sequence = journal->head.sequence + 1,
        .occurred_at_ms = now_ms,
    };
    uuid_format(&id, journal->event.event_id);
    buf_clear(&journal->payload);
    json_writer_init(&journal->writer, &journal->payload);
    event_begin(&journal->writer, &journal->event);
    return &journal->writer;
}

enum result journal_end_event(struct journal *journal, struct error *error)
{
    struct statement *insert = journal->statements[JOURNAL_INSERT_EVENT];
    event_end(&journal->writer);
    enum result result = buf_result(&journal->payload);
    if (result != RESULT_OK)
        return error_set(error, result, "the event doesn't fit");
    struct journal_head head = journal->head;
    head.sequence++;
    event_chain(journal->hasher, head.hash, journal->payload.bytes, journal->payload.size);
    statement_bind_int(insert, 1, head.sequence);
    statement_bind_text(insert, 2, journal->payload.bytes, journal->payload.size);
    statement_bind_blob(insert, 3, head.hash, SHA256_SIZE);
    result = statement_run(insert, error);
    if (result == RESULT_OK)
        journal->head = head;
    return result;
}

const struct event *journal_last_event(const struct journal *journal)
{
    return &journal->event;
}

enum result journal_find_answer(struct journal *journal, const uint8_t key[static JOURNAL_KEY_SIZE],
                                struct journal_answer *ret_answer, struct buf *body,
                                struct error *error)
{
    struct statement *select = journal->statements[JOURNAL_FIND_ANSWER];
    statement_bind_blob(select, 1, key, JOURNAL_KEY_SIZE);
    enum result result = row_find(select, error);
    if (result != RESULT_OK)
        return result;
    if (statement_size(select, 3) == SHA256_SIZE) {
        ret_answer->status = (int)statement_int(select, 0);
        row_text(ret_answer->location, sizeof ret_answer->location, select, 1);
        buf_append(body, statement_text(select, 2), statement_size(select, 2));
        memcpy(ret_answer->request_hash, statement_blob(select, 3), SHA256_SIZE);
        result = buf_result(body);
    } else {
        result = error_set(error, RESULT_CORRUPT, "an idempotency key's hash has the wrong size");
    }
    statement_reset(select);
    return result;
}

enum result journal_insert_answer(struct journal *journal,
                                  const uint8_t key[static JOURNAL_KEY_SIZE],
                                  const struct journal_answer *answer, const struct buf *body,
                                  int64_t now_ms, struct error *error)
{
    struct statement *insert = journal->statements[JOURNAL_INSERT_ANSWER];
    statement_bind_blob(insert, 1, key, JOURNAL_KEY_SIZE);
    statement_bind_blob(insert, 2, answer->request_hash, SHA256_SIZE);
    statement_bind_int(insert, 3, answer->status);
    bind_text_or_null(insert, 4, answer->location);
    statement_bind_text(insert, 5, buf_text(body), body->size);
    statement_bind_int(insert, 6, now_ms);
    return statement_run(insert, error);
}

enum result journal_sweep_answers(struct journal *journal, int64_t before_ms, int64_t *ret_removed,
                                  struct error *error)
{
    struct statement *sweep = journal->statements[JOURNAL_SWEEP_ANSWERS];
    statement_bind_int(sweep, 1, before_ms);
    statement_bind_int(sweep, 2, JOURNAL_KEYS_SWEPT);
    enum result result = statement_run(sweep, error);
    if (result == RESULT_OK)
        *ret_removed = db_changes(journal->db);
    return result;
}

/* The last event, of those at the chain's start, that is old enough; its sequence is 0 if none is.
 */
static enum result find_last_old(struct journal *journal, int64_t through, int64_t before_ms,
                                 struct journal_head *ret_last, struct error *error)
{
    struct statement *select = journal->statements[JOURNAL_OLD_EVENTS];
    char before[CLOCK_TEXT_SIZE];
    bool row = true;
    clock_format_utc(before_ms, before);
    statement_bind_int(select, 1, through);
    statement_bind_text(select, 2, before, strlen(before));
    statement_bind_int(select, 3, JOURNAL_EVENTS_REMOVED);
    *ret_last = (struct journal_head){0};
    enum result result = statement_step(select, &row, error);
    while (result == RESULT_OK && row && statement_int(select, 2) == 1) {
        ret_last->sequence = statement_int(select, 0);
        memcpy(ret_last->hash, statement_blob(select, 1), SHA256_SIZE);
        result = statement_step(select, &row, error);
    }
    statement_reset(select);
    return result;
}

static enum result remove_through(struct journal *journal, const struct journal_head *last,
                                  int64_t *ret_removed, struct error *error)
{
    struct statement *move = journal->statements[JOURNAL_MOVE_ANCHOR];
    struct statement *remove = journal->statements[JOURNAL_REMOVE_EVENTS];
    statement_bind_int(move, 1, last->sequence);
    statement_bind_blob(move, 2, last->hash, SHA256_SIZE);
    enum result result = statement_run(move, error);
    statement_bind_int(remove, 1, last->sequence);
    if (result == RESULT_OK)
        result = statement_run(remove, error);
    if (result == RESULT_OK)
        *ret_removed = db_changes(journal->db);
    return result;
}

enum result journal_remove_events(struct journal *journal, int64_t through, int64_t before_ms,
                                  int64_t *ret_removed, struct error *error)
{
    struct journal_head last;
    int64_t removed = 0;
    enum result result = find_last_old(journal, through, before_ms, &last, error);
    if (result == RESULT_OK && last.sequence > 0) {
        result = journal_begin(journal, error);
        if (result == RESULT_OK)
            result = remove_through(journal, &last, &removed, error);
        if (result == RESULT_OK)
            result = journal_commit(journal, error);
        else
            journal_rollback(journal);
    }
    if (result == RESULT_OK)
        *ret_removed = removed;
    return result;
}
