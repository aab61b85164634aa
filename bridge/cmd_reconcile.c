/* bridge reconcile: names what head office should have and hasn't, or has and shouldn't. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/commands.h"
#include "bridge/peers.h"
#include "bridge/reconcile.h"
#include "bridge/replay.h"

enum { REPAIRS_MAX = 100000 };

struct comparison {
    const struct settings *settings;
    int64_t *missing; /* sequences to send, at most REPAIRS_MAX */
    size_t missing_count;
};

static void on_found(void *context, enum difference difference, int64_t sequence,
                     const char *event_id)
{
    struct comparison *comparison = context;
    printf(comparison->settings->json
               ? "{\"difference\":\"%s\",\"sequence\":%lld,\"event_id\":\"%s\"}\n"
               : "%-8s sequence %lld  %s\n",
           difference_text(difference), (long long)sequence, event_id);
    if (difference == DIFFERENCE_MISSING && comparison->missing_count < REPAIRS_MAX)
        comparison->missing[comparison->missing_count++] = sequence;
}

static void print_report(const struct settings *settings, const struct reconcile_report *report)
{
    printf(settings->json ? "{\"compared\":%lld,\"parked\":%lld,\"missing\":%lld,\"unknown\":%lld,"
                            "\"other\":%lld}\n"
                          : "%lld events compared: %lld parked, %lld missing, %lld unknown to the "
                            "box, %lld not the same\n",
           (long long)report->compared, (long long)report->parked, (long long)report->missing,
           (long long)report->unknown, (long long)report->other);
}

static void ignore_progress(void *context, const char *sink, const struct journal_event *event,
                            const char *reason)
{
    (void)context;
    if (reason)
        fprintf(stderr, "reconcile: %s, sequence %lld: %s\n", sink, (long long)event->sequence,
                reason);
}

/* Sends runs of neighbouring sequences together. */
static enum result repair(const struct settings *settings, const struct comparison *comparison,
                          struct ledger *ledger, struct replay_report *report, struct error *error)
{
    struct peers peers;
    struct sink sinks[PEERS_MAX];
    size_t count = 0;
    peers_init(&peers, settings);
    enum result result = peers_sinks(&peers, "postgres", sinks, &count);
    size_t next = 0;
    while (result == RESULT_OK && next < comparison->missing_count) {
        struct replay_filter filter = {.from = comparison->missing[next]};
        filter.to = filter.from;
        while (++next < comparison->missing_count && comparison->missing[next] == filter.to + 1)
            filter.to++;
        const struct replay_options options = {.data_dir = settings->data_dir,
                                               .ledger = ledger,
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

static enum result compare(const struct settings *settings, struct ledger *ledger,
                           struct comparison *comparison, struct reconcile_report *ret_report,
                           struct error *error)
{
    struct peers peers;
    struct reconcile_options options = {.ledger = ledger, .found = on_found, .context = comparison};
    peers_init(&peers, settings);
    enum result result = journal_reader_open(settings->data_dir, &options.journal, error);
    if (result == RESULT_OK && pg_connect(&peers.postgres, &options.pg, error) != DELIVERY_DONE)
        result = RESULT_IO;
    if (result == RESULT_OK)
        result = reconcile_run(&options, ret_report, error);
    pg_close(options.pg);
    journal_reader_close(options.journal);
    return result;
}

static enum exit_code run(const struct settings *settings, struct ledger *ledger,
                          struct comparison *comparison, struct error *error)
{
    struct reconcile_report report = {0};
    struct replay_report repaired = {0};
    enum result result = compare(settings, ledger, comparison, &report, error);
    if (result != RESULT_OK)
        return EXIT_FAILED;
    print_report(settings, &report);
    if (settings->repair && report.missing > 0) {
        result = repair(settings, comparison, ledger, &repaired, error);
        if (result != RESULT_OK)
            return EXIT_FAILED;
        fprintf(stderr, "reconcile: %lld sent\n", (long long)repaired.sent);
        report.missing -= repaired.sent;
    }
    if (report.missing + report.unknown + report.other == 0)
        return EXIT_DONE;
    error_write(error, "journal and head office differ");
    return EXIT_FAILED;
}

enum exit_code command_reconcile(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct ledger *ledger = NULL;
    enum exit_code code = EXIT_FAILED;
    struct comparison comparison = {.settings = settings};
    if (!settings->postgres_url) {
        fprintf(stderr, "reconcile: postgres_url isn't set\n");
        return EXIT_USAGE;
    }
    comparison.missing = calloc(REPAIRS_MAX, sizeof *comparison.missing);
    if (!comparison.missing)
        error_write(&error, "out of memory");
    else if (ledger_open(settings->bridge_dir, &clock_system, &ledger, &error) == RESULT_OK)
        code = run(settings, ledger, &comparison, &error);
    ledger_close(ledger);
    free(comparison.missing);
    if (code != EXIT_DONE)
        fprintf(stderr, "reconcile: %s\n", error.text);
    return code;
}
