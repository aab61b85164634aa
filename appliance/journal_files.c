#include "appliance/journal_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void journal_files_init(struct journal_files *files)
{
    *files = (struct journal_files){.lock = -1};
}

static enum result journal_files_own_note(struct journal_file *file, struct error *error)
{
    struct stat found;
    if (stat(file->path, &found) != 0)
        return error_set_errno(error, RESULT_IO, "can't look at %s", file->path);
    file->device = found.st_dev;
    file->inode = found.st_ino;
    return RESULT_OK;
}

/* SQLite keeps the WAL beside the file itself, not beside a link to it. */
static char *wal_path(const char *path)
{
    char *wal = NULL, *real = realpath(path, NULL);
    if (real && asprintf(&wal, "%s-wal", real) < 0)
        wal = NULL;
    free(real);
    return wal;
}

enum result journal_files_lock(struct journal_files *files, const char *path, bool *ret_has_wal,
                               struct error *error)
{
    files->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (files->lock < 0)
        return error_set_errno(error, RESULT_DENIED, "can't open %s", path);
    if (flock(files->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, RESULT_LOCKED, "another process has %s, by another name", path);
    files->journal.path = strdup(path);
    files->wal.path = wal_path(path);
    if (!files->journal.path || !files->wal.path)
        return error_set(error, RESULT_NO_MEMORY, "can't name the journal's files");
    *ret_has_wal = access(files->wal.path, F_OK) == 0;
    return RESULT_OK;
}

enum result journal_files_note(struct journal_files *files, struct error *error)
{
    enum result result = journal_files_own_note(&files->journal, error);
    return result == RESULT_OK ? journal_files_own_note(&files->wal, error) : result;
}

static enum result journal_files_own_check(const struct journal_file *file, struct error *error)
{
    struct stat found;
    if (stat(file->path, &found) != 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? error_set(error, RESULT_NOT_FOUND, "%s has been removed", file->path)
                   : RESULT_OK; /* nothing is known: the commit will tell */
    if (found.st_dev != file->device || found.st_ino != file->inode)
        return error_set(error, RESULT_NOT_FOUND, "%s has been replaced", file->path);
    return RESULT_OK;
}

enum result journal_files_check(const struct journal_files *files, struct error *error)
{
    enum result result = journal_files_own_check(&files->journal, error);
    return result == RESULT_OK ? journal_files_own_check(&files->wal, error) : result;
}

void journal_files_done(struct journal_files *files)
{
    if (files->lock >= 0)
        close(files->lock);
    free(files->journal.path);
    free(files->wal.path);
    journal_files_init(files);
}
