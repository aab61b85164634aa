/* bridge notification [run] | list | retry: tells customers about their orders. */
#include <stdio.h>
#include <string.h>

#include "bridge/commands/commands.h"
#include "bridge/commands/notification_settings.h"
#include "bridge/commands/run_service.h"
#include "bridge/commands/sinks.h"
#include "bridge/notification/notification_intake.h"
#include "core/utf8.h"

enum { JSON_MAX = 16 << 20, CHANNELS_SIZE_MAX = 256 };

/* The running service. A pointer to it is one to its first member, which is what NOTIFICATION_OPS
 * takes: service and consumer share one `self`. */
struct notification_service {
    struct notification_intake intake;
    struct settings *settings;
    struct channel_options channel;
    bool channels[CHANNEL_COUNT];
    struct notification_texts texts;
    struct notifier *notifier;
};

/* What the notifier's senders are opened with. */
struct notification_peers {
    const struct channel_options *channel;
    const struct pg_options *postgres;
};

static enum result notification_open_channel(void *self, enum channel_kind kind,
                                             struct channel *ret_channel)
{
    const struct notification_peers *peers = self;
    return channel_new(kind, peers->channel, &clock_system, ret_channel);
}

static enum result notification_open_store(void *self, const struct latch *cancel,
                                           struct notification_store *ret_store)
{
    const struct notification_peers *peers = self;
    return notification_store_new(peers->postgres, cancel, ret_store);
}

static enum result notification_start(void *self, const struct pg_options *postgres,
                                      struct error *error)
{
    struct notification_service *running = self;
    struct notification_peers peers = {.channel = &running->channel, .postgres = postgres};
    const struct notifier_options options = {.peers = {.open_channel = notification_open_channel,
                                                       .open_store = notification_open_store,
                                                       .self = &peers},
                                             .timeout_ms = running->channel.timeout_ms,
                                             .retry_ms = running->settings->notification_retry_ms,
                                             .texts = &running->texts,
                                             .channels = running->channels,
                                             .clock = &clock_system,
                                             .random = &random_system};
    enum result result = notifier_start(&options, &running->notifier, error);
    if (result == RESULT_OK)
        atomic_store(&running->intake.notifier, running->notifier);
    return result;
}

static void notification_put_status(void *self, struct json_writer *writer)
{
    struct notification_service *running = self;
    struct notification_counts counts;
    struct notifier_stats stats;
    bool counted = notification_intake_counts(&running->intake, &counts);
    notifier_stats(running->notifier, &stats);
    json_begin_object(writer, "channels");
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        if (!running->channels[i])
            continue;
        json_begin_object(writer, channel_name((enum channel_kind)i));
        json_put_int(writer, "sent", stats.sent[i]);
        json_put_int(writer, "retried", stats.retried[i]);
        json_put_int(writer, "given_up", stats.given_up[i]);
        if (counted) {
            json_put_int(writer, "waiting", counts.waiting[i]);
            json_put_int(writer, "oldest_waiting_s", counts.oldest_s[i]);
            json_put_int(writer, "failed", counts.failed[i]);
        }
        json_end_object(writer);
    }
    json_end_object(writer);
}

static void notification_put_metric(const struct notification_service *running, struct buf *text,
                                    const char *name, const char *type, const char *help,
                                    const int64_t values[static CHANNEL_COUNT])
{
    buf_append_format(text,
                      "# HELP tillbox_notifications_%s %s\n# TYPE tillbox_notifications_%s %s\n",
                      name, help, name, type);
    for (int i = 0; i < CHANNEL_COUNT; i++)
        if (running->channels[i])
            buf_append_format(text, "tillbox_notifications_%s{channel=\"%s\"} %lld\n", name,
                              channel_name((enum channel_kind)i), (long long)values[i]);
}

/* What the database was asked for is left out while it isn't there. */
static void notification_put_metrics(void *self, struct buf *text)
{
    struct notification_service *running = self;
    struct notification_counts counts;
    struct notifier_stats stats;
    notifier_stats(running->notifier, &stats);
    notification_put_metric(running, text, "sent_total", "counter", "Messages sent.", stats.sent);
    notification_put_metric(running, text, "retried_total", "counter", "Tries after the first.",
                            stats.retried);
    notification_put_metric(running, text, "given_up_total", "counter",
                            "Messages that failed for good.", stats.given_up);
    if (!notification_intake_counts(&running->intake, &counts))
        return;
    notification_put_metric(running, text, "waiting", "gauge", "Messages to be sent.",
                            counts.waiting);
    notification_put_metric(running, text, "oldest_waiting_seconds", "gauge",
                            "Age of the oldest of them.", counts.oldest_s);
    notification_put_metric(running, text, "failed", "gauge",
                            "Messages that wait for `notification retry`.", counts.failed);
}

static void write_channels(const struct notification_service *running, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_array(&writer, NULL);
    for (int i = 0; i < CHANNEL_COUNT; i++)
        if (running->channels[i])
            json_put_text(&writer, NULL, channel_name((enum channel_kind)i));
    json_end_array(&writer);
}

static enum exit_code notification_serve(struct notification_service *running,
                                         const struct config_sources *sources)
{
    static const struct service_ops SERVES = {.start = notification_start,
                                              .put_status = notification_put_status,
                                              .put_metrics = notification_put_metrics};
    const struct service service = {.listen = &running->settings->status_listen,
                                    .consumes = &NOTIFICATION_OPS,
                                    .serves = &SERVES,
                                    .self = running};
    struct buf channels;
    buf_init(&channels, CHANNELS_SIZE_MAX);
    write_channels(running, &channels);
    notification_intake_init(&running->intake, &clock_system, buf_text(&channels));
    enum exit_code code = run_service(&service, "status_listen", running->settings, sources);
    notifier_stop(running->notifier);
    notification_intake_done(&running->intake);
    buf_done(&channels);
    return code;
}

static enum exit_code notification_run(struct settings *settings,
                                       const struct config_sources *sources)
{
    struct notification_service running = {.settings = settings};
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    notification_settings_check(settings, sources, &problems, running.channels);
    running.channel = notification_settings_channel(settings);
    notification_settings_load_texts(settings, sources, &problems, &running.texts);
    enum exit_code code = EXIT_USAGE;
    if (config_verdict(&problems) == RESULT_OK)
        code = notification_serve(&running, sources);
    else
        fprintf(stderr, "%s", buf_text(&problems));
    notification_texts_done(&running.texts);
    buf_done(&problems);
    return code;
}

static void put_column(struct json_writer *writer, const char *name, const struct pg_rows *rows,
                       size_t row, enum notification_column column)
{
    if (pg_is_null(rows, row, (int)column))
        json_put_null(writer, name);
    else
        json_put_text(writer, name, pg_text(rows, row, (int)column));
}

static void write_row(struct json_writer *writer, const struct pg_rows *rows, size_t row)
{
    json_begin_object(writer, NULL);
    put_column(writer, "created_at", rows, row, NOTIFICATION_AT);
    put_column(writer, "event_id", rows, row, NOTIFICATION_EVENT_ID);
    put_column(writer, "channel", rows, row, NOTIFICATION_CHANNEL);
    put_column(writer, "kind", rows, row, NOTIFICATION_KIND);
    put_column(writer, "status", rows, row, NOTIFICATION_STATUS);
    json_put_int(writer, "attempts", pg_int(rows, row, NOTIFICATION_ATTEMPTS));
    put_column(writer, "device_id", rows, row, NOTIFICATION_DEVICE_ID);
    json_put_int(writer, "order_id", pg_int(rows, row, NOTIFICATION_ORDER_ID));
    put_column(writer, "sent_at", rows, row, NOTIFICATION_SENT_AT);
    put_column(writer, "last_error", rows, row, NOTIFICATION_ERROR);
    json_end_object(writer);
}

static void notification_print_json(const struct pg_rows *rows)
{
    struct buf text;
    struct json_writer writer;
    buf_init(&text, JSON_MAX);
    json_writer_init(&writer, &text);
    json_begin_array(&writer, NULL);
    for (size_t row = 0; row < pg_row_count(rows); row++)
        write_row(&writer, rows, row);
    json_end_array(&writer);
    puts(buf_text(&text));
    buf_done(&text);
}

static void print_row(const struct pg_rows *rows, size_t row)
{
    utf8_print_line(stdout, "%s  %s  %-7s  %-18s  %s order %lld  %s after %lld  %s",
                    pg_text(rows, row, NOTIFICATION_AT), pg_text(rows, row, NOTIFICATION_EVENT_ID),
                    pg_text(rows, row, NOTIFICATION_CHANNEL), pg_text(rows, row, NOTIFICATION_KIND),
                    pg_text(rows, row, NOTIFICATION_DEVICE_ID),
                    (long long)pg_int(rows, row, NOTIFICATION_ORDER_ID),
                    pg_text(rows, row, NOTIFICATION_STATUS),
                    (long long)pg_int(rows, row, NOTIFICATION_ATTEMPTS),
                    pg_text(rows, row, NOTIFICATION_ERROR));
}

static enum delivery cmd_notification_list(struct pg *pg, const struct settings *settings,
                                           struct error *error)
{
    struct pg_rows *rows = NULL;
    const struct notification_filter filter = {
        .event_id = settings->id, .only_failed = settings->failed, .limit = settings->limit};
    enum delivery done = notification_list(pg, &filter, &rows, error);
    if (done == DELIVERY_DONE && settings->json)
        notification_print_json(rows);
    for (size_t row = 0; done == DELIVERY_DONE && !settings->json && row < pg_row_count(rows);
         row++)
        print_row(rows, row);
    if (done == DELIVERY_DONE && !settings->json && pg_row_count(rows) == 0)
        puts(settings->failed ? "nothing has failed" : "there are no notifications");
    pg_free_rows(rows);
    return done;
}

static void print_retried_json(int64_t count)
{
    struct buf text;
    struct json_writer writer;
    buf_init(&text, JSON_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    json_put_int(&writer, "retried", count);
    json_end_object(&writer);
    puts(buf_text(&text));
    buf_done(&text);
}

static enum delivery retry(struct pg *pg, const struct settings *settings, struct error *error)
{
    int64_t count = 0;
    enum delivery done = notification_retry(pg, settings->id, &count, error);
    if (done == DELIVERY_DONE && settings->json)
        print_retried_json(count);
    else if (done == DELIVERY_DONE)
        printf("%lld will be sent again\n", (long long)count);
    return done;
}

static enum exit_code notification_ask(const char *word, const struct settings *settings,
                                       enum delivery (*question)(struct pg *,
                                                                 const struct settings *,
                                                                 struct error *))
{
    struct error error = {0};
    struct sinks peers;
    struct pg *pg = NULL;
    if (!settings->postgres_url) {
        fprintf(stderr, "notification: postgres_url isn't set\n");
        return EXIT_USAGE;
    }
    sinks_init(&peers, settings);
    enum delivery done = pg_connect(&peers.postgres, &pg, &error);
    if (done == DELIVERY_DONE)
        done = question(pg, settings, &error);
    pg_close(pg);
    if (done == DELIVERY_DONE)
        return EXIT_DONE;
    utf8_print_line(stderr, "notification %s: %s", word, error.text);
    return EXIT_FAILED;
}

enum exit_code command_notification(struct settings *settings, const struct config_sources *sources)
{
    const char *word = program_operand(sources, "run");
    if (strcmp(word, "run") == 0)
        return notification_run(settings, sources);
    if (strcmp(word, "list") == 0)
        return notification_ask(word, settings, cmd_notification_list);
    if (strcmp(word, "retry") == 0)
        return notification_ask(word, settings, retry);
    fprintf(stderr, "notification: \"%s\" is none of run, list, retry\n", word);
    return EXIT_USAGE;
}
