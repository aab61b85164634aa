/* Fills a new journal with orders, through the appliance's own commands: ids, stock and the chain
 * of events are what so many sales would have left.
 *
 *   seed --data-dir DIR --orders COUNT [--days-ago N]
 *
 * With --days-ago they were sold then. DIR must exist and hold no journal. Product 1 is what is
 * sold, one piece an order. Exits with 1 after a failure, 2 on bad usage. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "appliance/command.h"
#include "appliance/journal.h"
#include "appliance/stock.h"
#include "core/log.h"

enum { BATCH = 10000 };

static const int64_t DAY_MS = 86400000;

struct options {
    const char *data_dir;
    long order_count;
    long days_ago;
};

/* The system's, set back. */
static int64_t past_wall_ms(void *context)
{
    const struct options *options = context;
    return clock_wall_ms(&clock_system) - options->days_ago * DAY_MS;
}

static int64_t monotonic_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns(&clock_system);
}

static void sleep_ms(void *context, int64_t duration_ms)
{
    (void)context;
    clock_sleep_ms(&clock_system, duration_ms);
}

/* Nothing may be refused here. Takes over what the command owns. */
static enum result command_finish(struct command *command, struct journal *journal, int64_t now_ms,
                                  struct error *error)
{
    enum result result = command_execute(command, journal, now_ms, error);
    if (command->reply->status >= 400)
        error_set(error, result, "refused: %s", buf_text(&command->reply->body));
    command_done(command);
    http_reply_done(command->reply);
    return result;
}

static enum result product_create(struct journal *journal, int64_t now_ms, struct error *error)
{
    struct http_reply reply;
    struct command command;
    http_reply_init(&reply);
    command_init(&command, COMMAND_CREATE_PRODUCT, &reply);
    command.input.product = (struct product){.name = "bench", .stock = STOCK_MAX};
    return command_finish(&command, journal, now_ms, error);
}

static enum result order_create(struct journal *journal, int64_t now_ms, struct error *error)
{
    struct http_reply reply;
    struct command command;
    http_reply_init(&reply);
    command_init(&command, COMMAND_CREATE_ORDER, &reply);
    struct order *order = &command.input.order;
    enum result result = order_init(order, 1);
    if (result != RESULT_OK)
        return result;
    order->user_id = 1;
    order->lines[0] = (struct order_line){.product_id = 1, .quantity = 1};
    return command_finish(&command, journal, now_ms, error);
}

/* One transaction: the product, if it is `first`, and `count` orders. */
static enum result batch_commit(struct journal *journal, bool first, long count, int64_t now_ms,
                                struct error *error)
{
    enum result result = journal_begin(journal, error);
    if (result == RESULT_OK && first)
        result = product_create(journal, now_ms, error);
    for (long i = 0; i < count && result == RESULT_OK; i++)
        result = order_create(journal, now_ms, error);
    if (result == RESULT_OK)
        result = journal_commit(journal, error);
    if (result == RESULT_OK)
        result = journal_checkpoint_if_due(journal, error);
    return result;
}

static enum result journal_fill(struct journal *journal, const struct options *options,
                                const struct clock *clock, struct error *error)
{
    long order_count = options->order_count;
    if (!journal_identity(journal)->is_new)
        return error_set(error, RESULT_CONFLICT, "there is a journal already");
    enum result result = batch_commit(journal, true, 0, clock_wall_ms(clock), error);
    while (order_count > 0 && result == RESULT_OK) {
        long count = order_count < BATCH ? order_count : BATCH;
        result = batch_commit(journal, false, count, clock_wall_ms(clock), error);
        order_count -= count;
    }
    return result;
}

static enum result seed_run(const struct options *options, struct error *error)
{
    struct options context = *options;
    const struct clock past = {.wall_ms = past_wall_ms,
                               .monotonic_ns = monotonic_ns,
                               .sleep_ms = sleep_ms,
                               .context = &context};
    const struct journal_options journal_options = {
        .data_dir = options->data_dir, .clock = &past, .random = &random_system};
    struct journal *journal = NULL;
    enum result result = journal_open(&journal_options, &journal, error);
    if (result != RESULT_OK)
        return result;
    result = journal_fill(journal, options, &past, error);
    if (result == RESULT_OK)
        return journal_close(journal, error);
    journal_abandon(journal);
    return result;
}

static bool options_parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"data-dir", required_argument, NULL, 'd'},
                                          {"orders", required_argument, NULL, 'o'},
                                          {"days-ago", required_argument, NULL, 'a'},
                                          {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'd')
            options->data_dir = optarg;
        else if (option == 'o')
            options->order_count = strtol(optarg, NULL, 10);
        else if (option == 'a')
            options->days_ago = strtol(optarg, NULL, 10);
        else
            return false;
    }
    bool in_stock = options->order_count > 0 && options->order_count <= STOCK_MAX;
    return optind == argc && options->data_dir != NULL && in_stock;
}

int main(int argc, char **argv)
{
    log_start("seed", LOG_INFO);
    struct options options = {0};
    if (!options_parse(argc, argv, &options)) {
        fprintf(stderr, "usage: seed --data-dir DIR --orders COUNT [--days-ago N]\n");
        return 2;
    }
    struct error error = {0};
    enum result result = seed_run(&options, &error);
    if (result != RESULT_OK) {
        fprintf(stderr, "seed: %s %s\n", result_text(result), error.text);
        return 1;
    }
    return 0;
}
