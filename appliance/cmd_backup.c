/* appliance backup: a consistent copy of the journal, also while it is in use. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/commands.h"
#include "appliance/journal.h"
#include "core/journal/chain.h"

/* Makes the new name durable: the file itself has been flushed by SQLite. */
static enum result sync_folder_of(const char *path, struct error *error)
{
    char *copy = strdup(path);
    if (!copy)
        return RESULT_NO_MEMORY;
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum result result = RESULT_OK;
    if (folder < 0 || fsync(folder) != 0)
        result = error_set_errno(error, RESULT_IO, "can't flush the folder of %s", path);
    if (folder >= 0)
        close(folder);
    free(copy);
    return result;
}

/* A copy that can't be trusted is worse than none. */
static enum result check_copy(const char *path, struct chain_report *ret_report,
                              struct error *error)
{
    struct db *copy = NULL;
    enum result result = db_open(path, DB_READER, &copy, error);
    if (result == RESULT_OK)
        result = chain_check(copy, CHAIN_ALL, ret_report, error);
    db_close(copy);
    if (result == RESULT_OK && ret_report->bad_sequence != 0)
        result = error_set(error, RESULT_CORRUPT, "the copy is damaged at event %lld: %s",
                           (long long)ret_report->bad_sequence, ret_report->reason);
    return result;
}

static enum result copy_journal(const char *data_dir, const char *file, struct error *error)
{
    char path[JOURNAL_PATH_SIZE];
    struct db *db = NULL;
    journal_path(data_dir, path);
    enum result result = db_open(path, DB_READER, &db, error);
    if (result == RESULT_OK)
        result = db_backup(db, file, error);
    db_close(db);
    return result;
}

enum exit_code command_backup(struct settings *settings, const struct config_sources *sources)
{
    struct error error = {0};
    struct chain_report report;
    const char *file = program_operand(sources, NULL);
    enum result result = copy_journal(settings->data_dir, file, &error);
    if (result == RESULT_OK)
        result = check_copy(file, &report, &error);
    if (result == RESULT_OK)
        result = sync_folder_of(file, &error);
    if (result != RESULT_OK) {
        fprintf(stderr, "backup: %s\n", error.text);
        return exit_code_of(result);
    }
    printf("%s: %lld events up to sequence %lld, checked\n", file, (long long)report.checked,
           (long long)report.last_sequence);
    return EXIT_DONE;
}
