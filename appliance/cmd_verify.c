/* appliance verify: walks the whole hash chain. */
#include <stdio.h>

#include "appliance/commands.h"
#include "appliance/journal.h"
#include "core/journal/chain.h"
#include "core/json.h"

static void verify_print_json(const struct chain_report *report, const char *head)
{
    struct json_writer writer;
    struct buf text;
    buf_init(&text, ERROR_TEXT_MAX * 2);
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    json_put_bool(&writer, "sound", report->bad_sequence == 0);
    json_put_int(&writer, "checked", report->checked);
    json_put_int(&writer, "first_sequence", report->first_sequence);
    json_put_int(&writer, "last_sequence", report->last_sequence);
    json_put_text(&writer, "head", head);
    if (report->bad_sequence != 0) {
        json_put_int(&writer, "bad_sequence", report->bad_sequence);
        json_put_text(&writer, "reason", report->reason);
    }
    json_end_object(&writer);
    puts(buf_text(&text));
    buf_done(&text);
}

static void verify_print_text(const struct chain_report *report, const char *head)
{
    if (report->bad_sequence != 0)
        printf("damaged: event %lld: %s; the %lld events before it are sound\n",
               (long long)report->bad_sequence, report->reason, (long long)report->checked);
    else
        printf("sound: %lld events, sequence %lld to %lld, head %s\n", (long long)report->checked,
               (long long)report->first_sequence, (long long)report->last_sequence, head);
}

enum exit_code command_verify(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    char path[JOURNAL_PATH_SIZE], head[SHA256_TEXT_SIZE];
    struct error error = {0};
    struct chain_report report;
    struct db *db = NULL;
    journal_path(settings->data_dir, path);
    enum result result = db_open(path, DB_READER, &db, &error);
    if (result == RESULT_OK)
        result = chain_check(db, CHAIN_ALL, &report, &error);
    db_close(db);
    if (result != RESULT_OK) {
        fprintf(stderr, "%s: %s\n", path, error.text);
        return exit_code_of(result);
    }
    sha256_format(report.head, head);
    if (settings->json)
        verify_print_json(&report, head);
    else
        verify_print_text(&report, head);
    return report.bad_sequence == 0 ? EXIT_DONE : EXIT_DAMAGED;
}
