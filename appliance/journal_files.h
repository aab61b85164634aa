/* The journal's files, as the file system has them. SQLite goes on writing into a file that was
 * removed or replaced, and tells nobody; what is written there is gone with the process. And the
 * folder's lock doesn't keep two processes apart that reach one file by two names, through a link.
 */
#ifndef TILLBOX_APPLIANCE_JOURNAL_FILES_H
#define TILLBOX_APPLIANCE_JOURNAL_FILES_H

#include <sys/stat.h>

#include "core/result.h"

/* One file, and which one it was. */
struct journal_file {
    char *path;
    dev_t device;
    ino_t inode;
};

struct journal_files {
    int lock; /* descriptor of the journal; holds its flock. -1: none */
    struct journal_file journal, wal;
};

void journal_files_init(struct journal_files *files);

/* Takes the journal itself, by whatever name, and tells whether there is a WAL: before SQLite opens
 * it, which makes one. RESULT_LOCKED while another process has it. */
MUST_CHECK enum result journal_files_lock(struct journal_files *files, const char *path,
                                          bool *ret_has_wal, struct error *error);

/* Notes which files they are; SQLite has made the WAL. */
MUST_CHECK enum result journal_files_note(struct journal_files *files, struct error *error);

/* RESULT_NOT_FOUND once one of them isn't where it was any more. From any thread. */
MUST_CHECK enum result journal_files_check(const struct journal_files *files, struct error *error);

/* After the database is closed: closing a descriptor ends SQLite's own locks on the file. */
void journal_files_done(struct journal_files *files);

#endif
