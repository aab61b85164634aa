/* appliance check: a doctor for the box. Changes nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "appliance/commands.h"
#include "appliance/journal.h"
#include "appliance/versions.h"
#include "core/clock.h"
#include "core/journal/chain.h"
#include "core/json.h"

enum { LIBRARIES_MAX = 8, REPORT_MAX = 64 << 10, DETAIL_SIZE = 320 };

/* A box whose clock is before this has lost it: 2026-01-01T00:00:00Z. */
static const int64_t CLOCK_FLOOR_MS = 1767225600000;

static const int64_t DISK_FREE_MIN_BYTES = 256 << 20;

enum verdict { CHECK_OK, CHECK_NOTE, CHECK_WARN, CHECK_FAIL };

static const char *const VERDICTS[] = {
    [CHECK_OK] = "ok", [CHECK_NOTE] = "note", [CHECK_WARN] = "warn", [CHECK_FAIL] = "fail"};

/* Collects the findings, for print or as JSON. */
struct findings {
    bool json;
    struct buf text;
    struct json_writer writer;
    enum verdict worst;
    bool damaged;
};

static void check_find(struct findings *findings, enum verdict verdict, const char *what,
                       const char *format, ...) PRINTF_LIKE(4, 5);

static void check_find(struct findings *findings, enum verdict verdict, const char *what,
                       const char *format, ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    if (verdict > findings->worst)
        findings->worst = verdict;
    if (!findings->json) {
        buf_append_format(&findings->text, "%-5s %-14s %s\n", VERDICTS[verdict], what, detail);
        return;
    }
    json_begin_object(&findings->writer, NULL);
    json_put_text(&findings->writer, "verdict", VERDICTS[verdict]);
    json_put_text(&findings->writer, "check", what);
    json_put_text(&findings->writer, "detail", detail);
    json_end_object(&findings->writer);
}

static void check_folder(struct findings *findings, const char *path)
{
    struct stat folder;
    if (stat(path, &folder) != 0 || !S_ISDIR(folder.st_mode))
        check_find(findings, CHECK_FAIL, "folder", "%s is not there", path);
    else if (access(path, W_OK) != 0)
        check_find(findings, CHECK_FAIL, "folder", "%s can't be written by this user", path);
    else if (folder.st_mode & S_IRWXO)
        check_find(findings, CHECK_WARN, "folder", "%s is open to every user: chmod o-rwx", path);
    else
        check_find(findings, CHECK_OK, "folder", "%s", path);
}

struct file_system {
    unsigned long magic; /* statfs(2) */
    const char *name;
    const char *trouble;
};

static const struct file_system TROUBLESOME[] = {
    {0x6969, "NFS", "SQLite's WAL doesn't work over a network"},
    {0xFF534D42, "CIFS", "SQLite's WAL doesn't work over a network"},
    {0xFE534D42, "SMB", "SQLite's WAL doesn't work over a network"},
    {0x01021994, "tmpfs", "its files are gone after a restart"},
};

static void check_disk(struct findings *findings, const char *path)
{
    struct statfs volume;
    if (statfs(path, &volume) != 0) {
        check_find(findings, CHECK_FAIL, "disk", "the volume of %s can't be examined", path);
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(TROUBLESOME); i++)
        if ((unsigned long)volume.f_type == TROUBLESOME[i].magic)
            check_find(findings, CHECK_FAIL, "disk", "%s: %s", TROUBLESOME[i].name,
                       TROUBLESOME[i].trouble);
    int64_t free_bytes = (int64_t)volume.f_bavail * volume.f_bsize;
    check_find(findings, free_bytes < DISK_FREE_MIN_BYTES ? CHECK_WARN : CHECK_OK, "space",
               "%lld MB are free", (long long)(free_bytes >> 20));
}

static void check_chain(struct findings *findings, struct db *db)
{
    struct error error = {0};
    struct chain_report report;
    if (chain_check(db, CHAIN_ALL, &report, &error) != RESULT_OK) {
        findings->damaged = true;
        check_find(findings, CHECK_FAIL, "chain", "%s", error.text);
    } else if (report.bad_sequence != 0) {
        findings->damaged = true;
        check_find(findings, CHECK_FAIL, "chain", "event %lld: %s", (long long)report.bad_sequence,
                   report.reason);
    } else {
        check_find(findings, CHECK_OK, "chain", "%lld events", (long long)report.checked);
    }
}

static void keep_first(void *context, const char *text)
{
    char *first = context;
    if (first[0] == '\0')
        snprintf(first, DETAIL_SIZE, "%s", text);
}

static void check_check_file(struct findings *findings, struct db *db)
{
    struct error error = {0};
    char first[DETAIL_SIZE] = "";
    enum result result = db_query_text(db, "PRAGMA quick_check(10)", keep_first, first, &error);
    bool sound = result == RESULT_OK && strcmp(first, "ok") == 0;
    if (!sound)
        findings->damaged = true;
    check_find(findings, sound ? CHECK_OK : CHECK_FAIL, "journal", "%s",
               result == RESULT_OK ? first : error.text);
}

static void check_last_event(struct findings *findings, struct db *db)
{
    struct error error = {0};
    int64_t last_ms = 0;
    static const char SQL[] =
        "SELECT unixepoch(occurred_at) * 1000 FROM events ORDER BY sequence DESC LIMIT 1";
    if (db_query_int(db, SQL, &last_ms, &error) == RESULT_OK &&
        last_ms > clock_wall_ms(&clock_system) + 1000)
        check_find(findings, CHECK_WARN, "clock",
                   "it is behind the last event: it has been set back");
}

static void check_journal(struct findings *findings, const char *data_dir)
{
    char path[JOURNAL_PATH_SIZE];
    struct error error = {0};
    struct db *db = NULL;
    journal_path(data_dir, path);
    if (access(path, F_OK) != 0) {
        check_find(findings, CHECK_NOTE, "journal", "%s isn't there yet; serve creates it", path);
        return;
    }
    enum result result = db_open(path, DB_READER, &db, &error);
    if (result == RESULT_OK) {
        check_check_file(findings, db);
        check_chain(findings, db);
        check_last_event(findings, db);
    } else {
        findings->damaged = result == RESULT_CORRUPT;
        check_find(findings, CHECK_FAIL, "journal", "%s", error.text);
    }
    db_close(db);
}

static void check_clock(struct findings *findings)
{
    struct timex state = {0};
    char now[CLOCK_TEXT_SIZE];
    int64_t now_ms = clock_wall_ms(&clock_system);
    clock_format_utc(now_ms, now);
    if (now_ms < CLOCK_FLOOR_MS)
        check_find(findings, CHECK_FAIL, "clock", "%s can't be right", now);
    else if (adjtimex(&state) == TIME_ERROR)
        check_find(findings, CHECK_WARN, "clock", "%s, not synchronized: is chrony running?", now);
    else
        check_find(findings, CHECK_OK, "clock", "%s, synchronized", now);
}

static void check_libraries(struct findings *findings)
{
    struct library libraries[LIBRARIES_MAX];
    size_t count = versions_list(libraries, LIBRARIES_MAX);
    for (size_t i = 0; i < count; i++)
        check_find(findings, libraries[i].defect ? CHECK_NOTE : CHECK_OK, libraries[i].name,
                   "%s%s%s", libraries[i].version, libraries[i].defect ? ": known defect: " : "",
                   libraries[i].defect ? libraries[i].defect : "");
}

enum exit_code command_check(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct findings findings = {.json = settings->json};
    buf_init(&findings.text, REPORT_MAX);
    json_writer_init(&findings.writer, &findings.text);
    if (findings.json) {
        json_begin_object(&findings.writer, NULL);
        json_begin_array(&findings.writer, "findings");
    }
    check_folder(&findings, settings->data_dir);
    check_disk(&findings, settings->data_dir);
    check_journal(&findings, settings->data_dir);
    check_clock(&findings);
    check_libraries(&findings);
    if (findings.json) {
        json_end_array(&findings.writer);
        json_put_text(&findings.writer, "worst", VERDICTS[findings.worst]);
        json_end_object(&findings.writer);
        buf_append_text(&findings.text, "\n");
    }
    fputs(buf_text(&findings.text), stdout);
    buf_done(&findings.text);
    if (findings.damaged)
        return EXIT_DAMAGED;
    return findings.worst == CHECK_FAIL ? EXIT_FAILED : EXIT_DONE;
}
