/* bridge reconcile: names what head office should have and hasn't, or has and shouldn't. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/commands/commands.h"
#include "bridge/commands/sinks.h"
#include "bridge/repair/reconcile_stock.h"
#include "bridge/repair/replay.h"
#include "core/json.h"
#include "core/utf8.h"

enum { REPAIRS_MAX = 100000, LINE_MAX_BYTES = 4096 };

/* What one sink has to send again. */
struct gaps {
    const char *sink;
    int64_t *sequences; /* ascending, at most REPAIRS_MAX */
    size_t count;
};

struct comparison {
    const struct settings *settings;
    struct gaps events; /* that PostgreSQL lacks */
    struct gaps stock;  /* whose effect on the stock is missing: the consumer must see them again */
    struct reconcile_report report;
    struct reconcile_stock_report stock_report;
};

static void add_gap(struct gaps *gaps, int64_t sequence)
{
    bool is_there = gaps->count > 0 && gaps->sequences[gaps->count - 1] == sequence;
    if (!is_there && gaps->count < REPAIRS_MAX)
        gaps->sequences[gaps->count++] = sequence;
}

static void print_finding(const struct finding *finding)
{
    char product[32] = "";
    if (finding->product_id)
        snprintf(product, sizeof product, "  product %lld", (long long)finding->product_id);
    utf8_print_line(stdout, "%-13s sequence %lld  %s%s", difference_text(finding->difference),
                    (long long)finding->sequence, finding->event_id, product);
}

static void print_finding_json(const struct finding *finding)
{
    struct buf line;
    struct json_writer writer;
    buf_init(&line, LINE_MAX_BYTES);
    json_writer_init(&writer, &line);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "difference", difference_text(finding->difference));
    json_put_int(&writer, "sequence", finding->sequence);
    json_put_text(&writer, "event_id", finding->event_id);
    if (finding->product_id)
        json_put_int(&writer, "product_id", finding->product_id);
    json_end_object(&writer);
    puts(buf_text(&line));
    buf_done(&line);
}

static void on_found(void *context, const struct finding *finding)
{
    struct comparison *comparison = context;
    if (comparison->settings->json)
        print_finding_json(finding);
    else
        print_finding(finding);
    if (finding->difference == DIFFERENCE_MISSING)
        add_gap(&comparison->events, finding->sequence);
    if (finding->difference == DIFFERENCE_STOCK_MISSING)
        add_gap(&comparison->stock, finding->sequence);
}

static void reconcile_print_json(const struct comparison *comparison)
{
    const struct reconcile_report *report = &comparison->report;
    const struct reconcile_stock_report *stock = &comparison->stock_report;
    struct buf line;
    struct json_writer writer;
    buf_init(&line, LINE_MAX_BYTES);
    json_writer_init(&writer, &line);
    json_begin_object(&writer, NULL);
    json_put_int(&writer, "compared", report->compared);
    json_put_int(&writer, "parked", report->parked);
    json_put_int(&writer, "missing", report->missing);
    json_put_int(&writer, "unknown", report->unknown);
    json_put_int(&writer, "other", report->other);
    json_put_int(&writer, "stock_compared", stock->compared);
    json_put_int(&writer, "stock_missing", stock->missing);
    json_put_int(&writer, "stock_doubled", stock->doubled);
    json_put_int(&writer, "stock_other", stock->other);
    json_end_object(&writer);
    puts(buf_text(&line));
    buf_done(&line);
}

static void print_report(const struct comparison *comparison)
{
    const struct reconcile_report *report = &comparison->report;
    const struct reconcile_stock_report *stock = &comparison->stock_report;
    if (comparison->settings->json) {
        reconcile_print_json(comparison);
        return;
    }
    printf("%lld events compared: %lld parked, %lld missing, %lld unknown to the box, %lld not the "
           "same\n",
           (long long)report->compared, (long long)report->parked, (long long)report->missing,
           (long long)report->unknown, (long long)report->other);
    if (stock->is_kept)
        printf("%lld events compared with the stock: %lld changes missing, %lld doubled, %lld not "
               "the same\n",
               (long long)stock->compared, (long long)stock->missing, (long long)stock->doubled,
               (long long)stock->other);
    else
        printf("head office has no stock_logs: its stock was not compared\n");
}

static void ignore_progress(void *context, const char *sink, const struct journal_event *event,
                            const char *reason)
{
    (void)context;
    if (reason)
        utf8_print_line(stderr, "reconcile: %s, sequence %lld: %s", sink,
                        (long long)event->sequence, reason);
}

/* Sends runs of neighbouring sequences together. */
static enum result send_again(const struct settings *settings, const struct gaps *gaps,
                              struct delivery_state *deliveries, struct replay_report *report,
                              struct error *error)
{
    struct sinks peers;
    struct sink sinks[SINKS_MAX];
    size_t count = 0, next = 0;
    sinks_init(&peers, settings);
    enum result result = sinks_new(&peers, gaps->sink, sinks, &count);
    if (result == RESULT_OK && count == 0 && gaps->count > 0)
        return error_set(error, RESULT_INVALID, "amqp_url isn't set");
    while (result == RESULT_OK && next < gaps->count) {
        struct replay_filter filter = {.from = gaps->sequences[next]};
        filter.to = filter.from;
        while (++next < gaps->count && gaps->sequences[next] == filter.to + 1)
            filter.to++;
        const struct replay_options options = {.data_dir = settings->data_dir,
                                               .deliveries = deliveries,
                                               .sink = &sinks[0],
                                               .clock = &clock_system,
                                               .filter = &filter,
                                               .progress = ignore_progress};
        result = replay_run(&options, report, error);
    }
    for (size_t i = 0; i < count; i++)
        sinks[i].ops->free(sinks[i].self);
    return result;
}

/* What the stock lacks counts as repaired once the consumers have it to apply. */
static enum result repair(struct comparison *comparison, struct delivery_state *deliveries,
                          struct error *error)
{
    struct replay_report events = {0}, stock = {0};
    enum result result =
        send_again(comparison->settings, &comparison->events, deliveries, &events, error);
    if (result == RESULT_OK)
        result = send_again(comparison->settings, &comparison->stock, deliveries, &stock, error);
    if (result != RESULT_OK)
        return result;
    fprintf(stderr, "reconcile: %lld sent\n", (long long)events.sent + (long long)stock.sent);
    comparison->report.missing -= events.sent;
    if (stock.sent == (int64_t)comparison->stock.count)
        comparison->stock_report.missing = 0;
    return RESULT_OK;
}

static enum result reconcile_compare(const struct settings *settings,
                                     struct delivery_state *deliveries,
                                     struct comparison *comparison, struct error *error)
{
    struct sinks peers;
    struct reconcile_options options = {
        .deliveries = deliveries, .found = on_found, .context = comparison};
    sinks_init(&peers, settings);
    enum result result = journal_reader_open(settings->data_dir, &options.journal, error);
    if (result == RESULT_OK && pg_connect(&peers.postgres, &options.pg, error) != DELIVERY_DONE)
        result = RESULT_IO;
    if (result == RESULT_OK)
        result = reconcile_run(&options, &comparison->report, error);
    if (result == RESULT_OK)
        result = reconcile_stock_run(&options, &comparison->stock_report, error);
    pg_close(options.pg);
    journal_reader_close(options.journal);
    return result;
}

static bool differs(const struct comparison *comparison)
{
    const struct reconcile_report *report = &comparison->report;
    const struct reconcile_stock_report *stock = &comparison->stock_report;
    return report->missing + report->unknown + report->other + stock->missing + stock->doubled +
               stock->other >
           0;
}

static enum exit_code cmd_reconcile_run(const struct settings *settings,
                                        struct delivery_state *deliveries,
                                        struct comparison *comparison, struct error *error)
{
    enum result result = reconcile_compare(settings, deliveries, comparison, error);
    if (result != RESULT_OK)
        return EXIT_FAILED;
    print_report(comparison);
    if (settings->repair && comparison->events.count + comparison->stock.count > 0 &&
        repair(comparison, deliveries, error) != RESULT_OK)
        return EXIT_FAILED;
    if (!differs(comparison))
        return EXIT_DONE;
    error_write(error, "journal and head office differ");
    return EXIT_FAILED;
}

enum exit_code command_reconcile(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct delivery_state *deliveries = NULL;
    enum exit_code code = EXIT_FAILED;
    struct comparison comparison = {
        .settings = settings, .events.sink = "postgres", .stock.sink = "rabbitmq"};
    if (!settings->postgres_url) {
        fprintf(stderr, "reconcile: postgres_url isn't set\n");
        return EXIT_USAGE;
    }
    comparison.events.sequences = calloc(REPAIRS_MAX, sizeof *comparison.events.sequences);
    comparison.stock.sequences = calloc(REPAIRS_MAX, sizeof *comparison.stock.sequences);
    if (!comparison.events.sequences || !comparison.stock.sequences)
        error_write(&error, "out of memory");
    else if (delivery_state_open(settings->bridge_dir, &clock_system, &deliveries, &error) ==
             RESULT_OK)
        code = cmd_reconcile_run(settings, deliveries, &comparison, &error);
    delivery_state_close(deliveries);
    free(comparison.events.sequences);
    free(comparison.stock.sequences);
    if (code != EXIT_DONE)
        utf8_print_line(stderr, "reconcile: %s", error.text);
    return code;
}
