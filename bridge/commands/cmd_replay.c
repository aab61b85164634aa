/* bridge replay: sends parked events again, a range of the journal, or what is in order.failed. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bridge/commands/commands.h"
#include "bridge/commands/sinks.h"
#include "bridge/consumer/envelope.h"
#include "bridge/repair/dead_letters.h"
#include "bridge/repair/replay.h"
#include "core/json.h"
#include "core/utf8.h"

enum { LINE_MAX_BYTES = 4096, BAR_EVERY = 50, BAR_WIDTH = 30 };

struct output {
    const struct settings *settings;
    bool terminal;
    int64_t told;
    int64_t expected; /* 0: unknown */
};

static void print_json_line(const struct output *output, const char *sink,
                            const struct journal_event *event, const char *reason)
{
    struct buf line;
    struct json_writer writer;
    buf_init(&line, LINE_MAX_BYTES);
    json_writer_init(&writer, &line);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "sink", sink);
    json_put_int(&writer, "sequence", event->sequence);
    json_put_text(&writer, "event_id", event->event_id);
    json_put_text(&writer, "event_type", event->event_type);
    json_put_bool(&writer, "dry_run", output->settings->dry_run);
    json_put_bool(&writer, "sent", !reason && !output->settings->dry_run);
    if (reason)
        json_put_text(&writer, "reason", reason);
    json_end_object(&writer);
    puts(buf_text(&line));
    buf_done(&line);
}

/* On a terminal, a bar that stays on its line. */
static void draw_bar(const struct output *output)
{
    if (output->expected <= 0) {
        fprintf(stderr, "\r%lld events", (long long)output->told);
        return;
    }
    int filled = (int)(output->told * BAR_WIDTH / output->expected);
    fprintf(stderr, "\r[%-*.*s] %lld of %lld", BAR_WIDTH, filled < BAR_WIDTH ? filled : BAR_WIDTH,
            "##############################", (long long)output->told, (long long)output->expected);
}

static void replay_on_progress(void *context, const char *sink, const struct journal_event *event,
                               const char *reason)
{
    struct output *output = context;
    output->told++;
    if (output->settings->json)
        print_json_line(output, sink, event, reason);
    else if (reason || output->settings->dry_run)
        utf8_print_line(stdout, "%s %s, sequence %lld, %s: %s", sink, event->event_type,
                        (long long)event->sequence, event->event_id,
                        reason ? reason : "would be sent");
    if (output->terminal && output->told % BAR_EVERY == 0)
        draw_bar(output);
}

static bool replay_read_time(const char *option, const char *text, int64_t *ret_ms)
{
    if (!text)
        return true;
    if (clock_parse_utc(text, ret_ms) == RESULT_OK)
        return true;
    fprintf(stderr, "replay: --%s: \"%s\" is no time like 2026-01-31T09:05:00Z\n", option, text);
    return false;
}

static bool complain(const char *what)
{
    fprintf(stderr, "replay: %s\n", what);
    return false;
}

static bool is_known_type(const char *type)
{
    for (int kind = 0; kind < ENVELOPE_KINDS; kind++)
        if (strcmp(type, envelope_kind_text((enum envelope_kind)kind)) == 0)
            return true;
    return false;
}

/* What would be passed over in silence, and more or less be sent than was meant. */
static bool is_sensible(const struct settings *settings)
{
    bool picks = settings->id || settings->order || settings->type || settings->since ||
                 settings->until || settings->from || settings->to || settings->sink;
    if (settings->dead_letters && picks)
        return complain("--dead-letters moves whatever is in order.failed: only --limit, --rate, "
                        "--dry-run and --json go with it");
    if (settings->to > 0 && settings->from > settings->to)
        return complain("--from is behind --to");
    if (settings->type && !is_known_type(settings->type))
        return complain("--type: there is no such event type");
    if (settings->sink && strcmp(settings->sink, "postgres") != 0 &&
        strcmp(settings->sink, "rabbitmq") != 0)
        return complain("--sink: it must be postgres or rabbitmq");
    return true;
}

/* As the journal writes it. */
static bool read_id(const char *text, char ret_id[static UUID_TEXT_SIZE])
{
    struct uuid uuid;
    if (text && uuid_parse(text, &uuid) != RESULT_OK)
        return complain("--id: it isn't a UUID");
    if (text)
        uuid_format(&uuid, ret_id);
    return true;
}

static bool read_filter(const struct settings *settings, char ret_id[static UUID_TEXT_SIZE],
                        struct replay_filter *ret_filter)
{
    *ret_filter = (struct replay_filter){
        .event_id = settings->id ? ret_id : NULL,
        .event_type = settings->type,
        .order_id = settings->order,
        .from = settings->from > 0 ? settings->from : settings->to > 0,
        .to = settings->to > 0 ? settings->to : INT64_MAX,
        .limit = settings->limit,
        .rate = settings->rate,
        .dry_run = settings->dry_run,
    };
    return is_sensible(settings) && read_id(settings->id, ret_id) &&
           replay_read_time("since", settings->since, &ret_filter->since_ms) &&
           replay_read_time("until", settings->until, &ret_filter->until_ms);
}

static void print_summary(const struct output *output, const struct replay_report *report)
{
    if (output->terminal)
        fprintf(stderr, "\r%40s\r", "");
    if (!output->settings->json)
        printf("%lld %s, %lld failed\n", (long long)report->sent,
               output->settings->dry_run ? "would be sent" : "sent", (long long)report->failed);
}

static void print_message_json(const char *event_id, const char *event_type, const char *outcome)
{
    struct buf line;
    struct json_writer writer;
    buf_init(&line, LINE_MAX_BYTES);
    json_writer_init(&writer, &line);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "event_id", event_id);
    json_put_text(&writer, "event_type", event_type);
    json_put_text(&writer, "result", outcome);
    json_end_object(&writer);
    puts(buf_text(&line));
    buf_done(&line);
}

static void on_message(void *context, const char *event_id, const char *event_type,
                       const char *reason)
{
    const struct output *output = context;
    const struct settings *settings = output->settings;
    const char *outcome = reason ? reason : settings->dry_run ? "would be sent" : "sent";
    if (settings->json)
        print_message_json(event_id, event_type, outcome);
    else if (reason || settings->dry_run)
        utf8_print_line(stdout, "%s %s: %s", event_id, event_type, outcome);
}

static enum result drain_dead_letters(const struct settings *settings,
                                      struct delivery_state *deliveries, struct output *output,
                                      struct replay_report *report, struct error *error)
{
    struct sinks peers;
    sinks_init(&peers, settings);
    const struct dead_letters_options options = {.rabbitmq = &peers.rabbitmq,
                                                 .deliveries = deliveries,
                                                 .clock = &clock_system,
                                                 .limit = settings->limit,
                                                 .rate = settings->rate,
                                                 .dry_run = settings->dry_run,
                                                 .progress = on_message,
                                                 .context = output};
    return dead_letters_drain(&options, report, error);
}

/* What one sink found out about the box concerns every other. */
static enum result check_not_stopped(struct delivery_state *deliveries, struct error *error)
{
    static const char *const SINKS[] = {"postgres", "rabbitmq"};
    for (size_t i = 0; i < ARRAY_LENGTH(SINKS); i++) {
        struct delivery_state_sink sink;
        enum result result = delivery_state_find_sink(deliveries, SINKS[i], &sink, error);
        if (result == RESULT_OK && sink.state == SINK_STOPPED)
            return error_set(error, RESULT_REFUSED, "%s has stopped: %s", sink.name,
                             sink.last_error);
        if (result != RESULT_OK && result != RESULT_NOT_FOUND)
            return result;
    }
    return RESULT_OK;
}

static enum result replay_sinks(const struct settings *settings, struct delivery_state *deliveries,
                                const struct replay_filter *filter, struct output *output,
                                struct replay_report *report, struct error *error)
{
    struct sinks peers;
    struct sink sinks[SINKS_MAX];
    size_t count = 0;
    sinks_init(&peers, settings);
    enum result result = sinks_new(&peers, settings->sink, sinks, &count);
    if (result == RESULT_OK && count == 0)
        result = error_set(error, RESULT_INVALID, "neither postgres_url nor amqp_url is set");
    for (size_t i = 0; i < count; i++) {
        const struct replay_options options = {
            .data_dir = settings->data_dir,
            .deliveries = deliveries,
            .sink = &sinks[i],
            .clock = &clock_system,
            .filter = filter,
            .progress = replay_on_progress,
            .context = output,
        };
        if (result == RESULT_OK)
            result = replay_run(&options, report, error);
        sinks[i].ops->free(sinks[i].self);
    }
    return result;
}

enum exit_code command_replay(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct delivery_state *deliveries = NULL;
    char id[UUID_TEXT_SIZE];
    struct replay_filter filter;
    struct replay_report report = {0};
    struct output output = {.settings = settings, .terminal = isatty(STDERR_FILENO) == 1};
    if (!read_filter(settings, id, &filter))
        return EXIT_USAGE;
    if (filter.from > 0 && filter.to < INT64_MAX)
        output.expected = filter.to - filter.from + 1;
    enum result result =
        delivery_state_open(settings->bridge_dir, &clock_system, &deliveries, &error);
    if (result == RESULT_OK && !settings->dead_letters)
        result = check_not_stopped(deliveries, &error);
    if (result == RESULT_OK && settings->dead_letters)
        result = drain_dead_letters(settings, deliveries, &output, &report, &error);
    else if (result == RESULT_OK)
        result = replay_sinks(settings, deliveries, &filter, &output, &report, &error);
    delivery_state_close(deliveries);
    print_summary(&output, &report);
    if (result != RESULT_OK)
        utf8_print_line(stderr, "replay: %s", error.text);
    return result == RESULT_OK && report.failed == 0 ? EXIT_DONE : EXIT_FAILED;
}
