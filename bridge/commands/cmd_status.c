/* bridge status: where every event is, also while the bridge is down. */
#include <stdio.h>
#include <string.h>

#include "bridge/commands/commands.h"
#include "core/clock.h"
#include "core/journal/delivery_status.h"
#include "core/utf8.h"

enum { JSON_MAX = 64 << 10 };

static void status_print_json(const struct delivery_status *delivery_status)
{
    struct buf text;
    struct json_writer writer;
    buf_init(&text, JSON_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "version", TILLBOX_VERSION);
    delivery_status_write(delivery_status, clock_wall_ms(&clock_system), &writer);
    json_end_object(&writer);
    puts(buf_text(&text));
    buf_done(&text);
}

static void print_sink(const struct delivery_status_sink *sink, int64_t now_ms)
{
    int64_t age_s = sink->oldest_pending_ms ? (now_ms - sink->oldest_pending_ms) / 1000 : 0;
    printf("%-9s %-8s  breaker %s, at sequence %lld: %lld delivered, %lld pending", sink->name,
           sink->state, sink->breaker, (long long)sink->cursor, (long long)sink->delivered,
           (long long)sink->pending);
    if (sink->pending > 0)
        printf(" (the oldest for %lld s)", (long long)age_s);
    printf(", %lld parked, %lld unaccounted\n", (long long)sink->parked,
           (long long)sink->unaccounted);
    if (sink->last_error_at_ms > 0) {
        char when[CLOCK_TEXT_SIZE];
        clock_format_utc(sink->last_error_at_ms, when);
        utf8_print_line(stdout, "          last error %s: %s", when, sink->last_error);
    }
    if (sink->parked > 0)
        printf(
            "          `bridge parked` says why; once the cause is gone, `bridge replay --sink %s`"
            " sends the %lld again\n",
            sink->name, (long long)sink->parked);
}

static void status_print_text(const struct delivery_status *delivery_status)
{
    int64_t now_ms = clock_wall_ms(&clock_system);
    printf("bridge    %s, journal at sequence %lld\n",
           delivery_status->bridge_running ? "running" : "not running",
           (long long)delivery_status->head);
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        print_sink(&delivery_status->sinks[i], now_ms);
}

static bool needs_person(const struct delivery_status *delivery_status)
{
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        if (strcmp(delivery_status->sinks[i].state, "stopped") == 0 ||
            delivery_status->sinks[i].parked > 0 || delivery_status->sinks[i].unaccounted != 0)
            return true;
    return false;
}

enum exit_code command_status(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct delivery_status delivery_status;
    enum result result =
        delivery_status_read(settings->data_dir, settings->bridge_dir, &delivery_status, &error);
    if (result != RESULT_OK) {
        utf8_print_line(stderr, "status: %s", error.text);
        return EXIT_FAILED;
    }
    if (settings->json)
        status_print_json(&delivery_status);
    else
        status_print_text(&delivery_status);
    return needs_person(&delivery_status) ? EXIT_FAILED : EXIT_DONE;
}
