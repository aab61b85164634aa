/* bridge parked list | show | discard: what head office refused, and what waits behind it. */
#include <stdio.h>
#include <string.h>

#include "bridge/commands/commands.h"
#include "bridge/relay/delivery_state.h"
#include "core/json.h"
#include "core/utf8.h"

enum { JSON_MAX = 64 << 20 };

struct printing {
    struct json_writer *writer; /* NULL: for a person */
    bool whole;                 /* every detail */
    int64_t count;
};

static void write_parked(struct json_writer *writer, const struct parked *parked)
{
    json_begin_object(writer, NULL);
    json_put_text(writer, "sink", parked->sink);
    json_put_int(writer, "sequence", parked->sequence);
    json_put_text(writer, "event_id", parked->event_id);
    json_put_text(writer, "event_type", parked->event_type);
    if (parked->order_id > 0)
        json_put_int(writer, "order_id", parked->order_id);
    else
        json_put_null(writer, "order_id");
    json_put_text(writer, "state", parked_state_text(parked->state));
    json_put_text(writer, "reason", parked->reason);
    json_put_int(writer, "attempts", parked->attempts);
    json_put_bool(writer, "dead_lettered", parked->dead_lettered);
    json_put_time_or_null(writer, "parked_at", parked->parked_at_ms);
    json_put_time_or_null(writer, "settled_at", parked->settled_at_ms);
    json_put_text(writer, "settled_reason", parked->settled_reason);
    json_end_object(writer);
}

static void print_parked(const struct parked *parked, bool whole)
{
    char parked_at[CLOCK_TEXT_SIZE];
    clock_format_utc(parked->parked_at_ms, parked_at);
    utf8_print_line(stdout, "%-9s %8lld  %s  %-15s order %-6lld %-9s %s", parked->sink,
                    (long long)parked->sequence, parked->event_id, parked->event_type,
                    (long long)parked->order_id, parked_state_text(parked->state), parked->reason);
    if (whole)
        utf8_print_line(stdout, "  parked %s after %d attempts, %sin order.failed%s%s", parked_at,
                        parked->attempts, parked->dead_lettered ? "" : "not yet ",
                        parked->settled_at_ms > 0 ? "; settled: " : "", parked->settled_reason);
}

static void take_row(void *context, const struct parked *parked)
{
    struct printing *printing = context;
    printing->count++;
    if (printing->writer)
        write_parked(printing->writer, parked);
    else
        print_parked(parked, printing->whole);
}

static struct parked_filter filter_of(const struct settings *settings)
{
    return (struct parked_filter){.sink = settings->sink,
                                  .event_id = settings->id,
                                  .event_type = settings->type,
                                  .order_id = settings->order};
}

static enum result print_rows(struct delivery_state *deliveries, const struct settings *settings,
                              bool whole, int64_t *ret_count, struct error *error)
{
    struct buf text;
    struct json_writer writer;
    buf_init(&text, JSON_MAX);
    json_writer_init(&writer, &text);
    struct printing printing = {.writer = settings->json ? &writer : NULL, .whole = whole};
    struct parked_filter filter = filter_of(settings);
    filter.only_open = !whole;
    json_begin_array(&writer, NULL);
    enum result result =
        delivery_state_each_parked(deliveries, &filter, take_row, &printing, error);
    json_end_array(&writer);
    if (result == RESULT_OK && settings->json)
        puts(buf_text(&text));
    buf_done(&text);
    *ret_count = printing.count;
    return result;
}

static enum exit_code cmd_parked_list(struct delivery_state *deliveries,
                                      const struct settings *settings, struct error *error)
{
    int64_t count = 0;
    if (print_rows(deliveries, settings, false, &count, error) != RESULT_OK)
        return EXIT_FAILED;
    if (!settings->json && count == 0)
        puts("nothing is parked");
    return EXIT_DONE;
}

static enum exit_code show(struct delivery_state *deliveries, const struct settings *settings,
                           struct error *error)
{
    int64_t count = 0;
    if (print_rows(deliveries, settings, true, &count, error) != RESULT_OK)
        return EXIT_FAILED;
    if (count > 0)
        return EXIT_DONE;
    error_write(error, "no such event has ever been parked");
    return EXIT_FAILED;
}

/* Rows to discard, gathered before any is: the deliveries can't be changed while it is read. */
struct gathering {
    struct parked rows[8]; /* one event has at most one row a sink */
    size_t count;
};

static void gather(void *context, const struct parked *parked)
{
    struct gathering *gathering = context;
    if (gathering->count < ARRAY_LENGTH(gathering->rows))
        gathering->rows[gathering->count++] = *parked;
}

static enum exit_code discard(struct delivery_state *deliveries, const struct settings *settings,
                              struct error *error)
{
    struct gathering found = {.count = 0};
    struct parked_filter filter = {
        .sink = settings->sink, .event_id = settings->id, .only_open = true};
    if (!settings->id || !settings->reason) {
        error_write(error, "discard needs --id and --reason");
        return EXIT_USAGE;
    }
    enum result result = delivery_state_each_parked(deliveries, &filter, gather, &found, error);
    if (result == RESULT_OK && found.count == 0)
        result = error_set(error, RESULT_NOT_FOUND, "no open event has the id %s", settings->id);
    for (size_t i = 0; i < found.count && result == RESULT_OK; i++) {
        result =
            delivery_state_settle_parked(deliveries, found.rows[i].sink, found.rows[i].sequence,
                                         PARKED_DISCARDED, settings->reason, error);
        if (result == RESULT_OK)
            utf8_print_line(stdout, "discarded on %s: sequence %lld, %s", found.rows[i].sink,
                            (long long)found.rows[i].sequence, found.rows[i].event_type);
    }
    return result == RESULT_OK ? EXIT_DONE : EXIT_FAILED;
}

enum exit_code command_parked(struct settings *settings, const struct config_sources *sources)
{
    static const struct {
        const char *word;
        enum exit_code (*run)(struct delivery_state *, const struct settings *, struct error *);
    } WORDS[] = {{"list", cmd_parked_list}, {"show", show}, {"discard", discard}};
    const char *word = program_operand(sources, "list");
    struct error error = {0};
    struct delivery_state *deliveries = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(WORDS); i++) {
        if (strcmp(WORDS[i].word, word) != 0)
            continue;
        enum exit_code code = EXIT_FAILED;
        if (delivery_state_open(settings->bridge_dir, &clock_system, &deliveries, &error) ==
            RESULT_OK)
            code = WORDS[i].run(deliveries, settings, &error);
        delivery_state_close(deliveries);
        if (code != EXIT_DONE)
            utf8_print_line(stderr, "parked %s: %s", word, error.text);
        return code;
    }
    fprintf(stderr, "parked: \"%s\" is none of list, show, discard\n", word);
    return EXIT_USAGE;
}
