#include "appliance/command.h"

#include <stdio.h>
#include <string.h>

#include "appliance/render.h"
#include "appliance/stock.h"

/* What every step of a command needs. */
struct execution {
    struct command *command;
    struct journal *journal;
    struct http_reply *reply;
    int64_t now_ms;
    struct error *error;
};

void command_init(struct command *command, enum command_kind kind, struct http_reply *reply)
{
    memset(command, 0, sizeof *command);
    command->kind = kind;
    command->reply = reply;
}

void command_done(struct command *command)
{
    if (command->kind == COMMAND_CREATE_ORDER)
        order_done(&command->input.order);
}

bool command_is_sale(const struct command *command)
{
    return command->kind == COMMAND_CREATE_ORDER || command->kind == COMMAND_CANCEL_ORDER;
}

static struct json_writer *begin_event(struct execution *run, const char *type)
{
    return journal_begin_event(run->journal, type, run->now_ms);
}

static enum result end_event(struct execution *run)
{
    enum result result = journal_end_event(run->journal, run->error);
    if (result == RESULT_OK) {
        run->command->has_event = true;
        run->command->event = *journal_last_event(run->journal);
    }
    return result;
}

static enum result append_order_event(struct execution *run, const char *type,
                                      const struct order *order)
{
    struct json_writer *data = begin_event(run, type);
    json_put_int(data, "order_id", order->order_id);
    json_put_int(data, "user_id", order->user_id);
    json_put_text(data, "status", order_status_text(order->status));
    render_order_items(data, "items", order);
    json_put_int(data, "total", order->total_minor);
    render_order_stock(data, order);
    return end_event(run);
}

static void answer_order(struct execution *run, int status, const struct order *order)
{
    struct json_writer writer;
    run->reply->status = status;
    json_writer_init(&writer, &run->reply->body);
    render_order(&writer, NULL, order);
}

static void answer_product(struct execution *run, int status, const struct product *product)
{
    struct json_writer writer;
    run->reply->status = status;
    json_writer_init(&writer, &run->reply->body);
    render_product(&writer, NULL, product);
}

static enum result refuse_field(struct execution *run, const char *field, const char *detail)
{
    struct field_errors errors;
    field_errors_init(&errors);
    field_errors_add(&errors, field, "%s", detail);
    reply_invalid(run->reply, &errors);
    field_errors_done(&errors);
    return RESULT_REFUSED;
}

static enum result refuse_line(struct execution *run, size_t index, const char *detail)
{
    char field[48] = "product_id";
    if (run->command->order_is_list)
        snprintf(field, sizeof field, "items[%zu].product_id", index);
    return refuse_field(run, field, detail);
}

static enum result sell_line(struct execution *run, size_t index)
{
    struct order_line *line = &run->command->input.order.lines[index];
    int64_t stock = 0, left = 0;
    enum result result = journal_find_stock(run->journal, line->product_id, &stock,
                                            &line->unit_price_minor, run->error);
    if (result == RESULT_NOT_FOUND)
        return refuse_line(run, index, "there is no such product");
    if (result != RESULT_OK)
        return result;
    if (stock_move(stock, -line->quantity, &left) != RESULT_OK) {
        reply_insufficient_stock(run->reply, line->product_id, line->quantity, stock);
        return RESULT_REFUSED;
    }
    return journal_set_stock(run->journal, line->product_id, left, run->now_ms, run->error);
}

/* The store has less than the box knows of. It is refused here, and not by who found out, so that a
 * key that has been used gets its first answer all the same. */
static enum result refuse_shortage(struct execution *run)
{
    const struct stock_shortage *shortage = &run->command->shortage;
    if (shortage->product_id == 0)
        return RESULT_OK;
    reply_insufficient_stock(run->reply, shortage->product_id, shortage->requested,
                             shortage->available);
    return RESULT_REFUSED;
}

static enum result create_order(struct execution *run)
{
    struct order *order = &run->command->input.order;
    enum result result = refuse_shortage(run);
    for (size_t i = 0; i < order->line_count && result == RESULT_OK; i++)
        result = sell_line(run, i);
    if (result != RESULT_OK)
        return result;
    if (order_price(order) != RESULT_OK)
        return refuse_field(run, run->command->order_is_list ? "items" : "quantity",
                            "makes the total too large");
    order->status = ORDER_CREATED;
    order->created_at_ms = run->now_ms;
    result = journal_insert_order(run->journal, order, run->error);
    if (result == RESULT_OK)
        result = append_order_event(run, EVENT_ORDER_CREATED, order);
    if (result != RESULT_OK)
        return result;
    answer_order(run, 201, order);
    snprintf(run->reply->location, sizeof run->reply->location, "/orders/%lld",
             (long long)order->order_id);
    return RESULT_OK;
}

/* A product that has been filled up since can be too full to take everything back. */
static enum result restore_line(struct execution *run, const struct order_line *line)
{
    int64_t stock = 0, price = 0, restored = 0;
    enum result result =
        journal_find_stock(run->journal, line->product_id, &stock, &price, run->error);
    if (result != RESULT_OK)
        return result == RESULT_NOT_FOUND
                   ? error_set(run->error, RESULT_CORRUPT, "product %lld of order %lld is gone",
                               (long long)line->product_id, (long long)run->command->input.order_id)
                   : result;
    if (stock_move(stock, line->quantity, &restored) != RESULT_OK) {
        reply_problem(run->reply, PROBLEM_CONFLICT, "product %lld can't hold %lld more",
                      (long long)line->product_id, (long long)line->quantity);
        return RESULT_REFUSED;
    }
    return journal_set_stock(run->journal, line->product_id, restored, run->now_ms, run->error);
}

static enum result cancel_found_order(struct execution *run, struct order *order)
{
    if (order_cancel(order, run->now_ms) != RESULT_OK) {
        reply_problem(run->reply, PROBLEM_CANCELLED, "order %lld is cancelled already",
                      (long long)order->order_id);
        return RESULT_REFUSED;
    }
    enum result result = RESULT_OK;
    for (size_t i = 0; i < order->line_count && result == RESULT_OK; i++)
        result = restore_line(run, &order->lines[i]);
    if (result == RESULT_OK)
        result = journal_set_cancelled(run->journal, order->order_id, run->now_ms, run->error);
    if (result == RESULT_OK)
        result = append_order_event(run, EVENT_ORDER_CANCELLED, order);
    if (result == RESULT_OK)
        answer_order(run, 200, order);
    return result;
}

static enum result cancel_order(struct execution *run)
{
    struct order order;
    int64_t order_id = run->command->input.order_id;
    enum result result = journal_find_order(run->journal, order_id, &order, run->error);
    if (result == RESULT_NOT_FOUND) {
        reply_problem(run->reply, PROBLEM_NOT_FOUND, "there is no order %lld", (long long)order_id);
        return RESULT_REFUSED;
    }
    if (result != RESULT_OK)
        return result;
    result = cancel_found_order(run, &order);
    order_done(&order);
    return result;
}

static enum result refuse_sku(struct execution *run)
{
    reply_problem(run->reply, PROBLEM_CONFLICT, "another product has this sku");
    return RESULT_REFUSED;
}

static enum result create_product(struct execution *run)
{
    struct product *product = &run->command->input.product;
    product->updated_at_ms = run->now_ms;
    enum result result = journal_insert_product(run->journal, product, run->error);
    if (result == RESULT_CONFLICT)
        return refuse_sku(run);
    if (result != RESULT_OK)
        return result;
    render_product_members(begin_event(run, EVENT_PRODUCT_CREATED), product);
    result = end_event(run);
    if (result != RESULT_OK)
        return result;
    answer_product(run, 201, product);
    snprintf(run->reply->location, sizeof run->reply->location, "/products/%lld",
             (long long)product->product_id);
    return RESULT_OK;
}

static enum result find_product(struct execution *run, int64_t product_id,
                                struct product *ret_product)
{
    enum result result = journal_find_product(run->journal, product_id, ret_product, run->error);
    if (result != RESULT_NOT_FOUND)
        return result;
    reply_problem(run->reply, PROBLEM_NOT_FOUND, "there is no product %lld", (long long)product_id);
    return RESULT_REFUSED;
}

static void apply_change(struct product *product, const struct product_change *change)
{
    if (change->has_name)
        memcpy(product->name, change->to.name, sizeof product->name);
    if (change->has_price)
        product->price_minor = change->to.price_minor;
    if (change->has_sku)
        memcpy(product->sku, change->to.sku, sizeof product->sku);
}

static enum result update_product(struct execution *run)
{
    const struct product_change *change = &run->command->input.change;
    struct product product;
    enum result result = find_product(run, change->product_id, &product);
    if (result != RESULT_OK)
        return result;
    apply_change(&product, change);
    product.updated_at_ms = run->now_ms;
    result = journal_update_product(run->journal, &product, run->error);
    if (result == RESULT_CONFLICT)
        return refuse_sku(run);
    if (result != RESULT_OK)
        return result;
    render_product_members(begin_event(run, EVENT_PRODUCT_UPDATED), &product);
    result = end_event(run);
    if (result == RESULT_OK)
        answer_product(run, 200, &product);
    return result;
}

static enum result refuse_adjustment(struct execution *run, enum result why,
                                     const struct product *product, int64_t delta)
{
    if (why == RESULT_CONFLICT)
        reply_insufficient_stock(run->reply, product->product_id, -delta, product->stock);
    else
        reply_problem(run->reply, PROBLEM_CONFLICT, "stock can be at most %d", STOCK_MAX);
    return RESULT_REFUSED;
}

static enum result adjust_stock(struct execution *run)
{
    const struct stock_adjustment *adjustment = &run->command->input.adjustment;
    struct product product;
    enum result result = find_product(run, adjustment->product_id, &product);
    if (result != RESULT_OK)
        return result;
    enum result moved = stock_move(product.stock, adjustment->delta, &product.stock);
    if (moved != RESULT_OK)
        return refuse_adjustment(run, moved, &product, adjustment->delta);
    product.updated_at_ms = run->now_ms;
    result =
        journal_set_stock(run->journal, product.product_id, product.stock, run->now_ms, run->error);
    if (result != RESULT_OK)
        return result;
    struct json_writer *data = begin_event(run, EVENT_STOCK_ADJUSTED);
    json_put_int(data, "product_id", product.product_id);
    json_put_int(data, "delta", adjustment->delta);
    json_put_text(data, "reason", adjustment->reason);
    json_put_int(data, "stock", product.stock);
    result = end_event(run);
    if (result == RESULT_OK)
        answer_product(run, 200, &product);
    return result;
}

enum result command_execute(struct command *command, struct journal *journal, int64_t now_ms,
                            struct error *error)
{
    struct execution run = {command, journal, command->reply, now_ms, error};
    switch (command->kind) {
    case COMMAND_CREATE_ORDER:
        return create_order(&run);
    case COMMAND_CANCEL_ORDER:
        return cancel_order(&run);
    case COMMAND_CREATE_PRODUCT:
        return create_product(&run);
    case COMMAND_UPDATE_PRODUCT:
        return update_product(&run);
    case COMMAND_ADJUST_STOCK:
        return adjust_stock(&run);
    }
    return error_set(error, RESULT_INTERNAL, "an unknown kind of command");
}
