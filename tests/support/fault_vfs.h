/* SQLite's files, with faults on order and a memory of what a disk would hold.
 *
 * The shim stands over the unix VFS as the default of the process. Each call on a file of the
 * folder that it watches is counted, can be made to fail, and, where asked for, what it changes is
 * recorded until a flush makes it safe. No flush reaches a real disk, in any folder: tests don't
 * wait for one. One folder is watched at a time. From any thread. */
#ifndef TILLBOX_TESTS_SUPPORT_FAULT_VFS_H
#define TILLBOX_TESTS_SUPPORT_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

enum fault_call {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE, /* one that fails has written half */
    FAULT_SYNC,  /* one that fails loses some of what it was to flush, for good */
    FAULT_TRUNCATE,
    FAULT_LOCK,
    FAULT_SHM_MAP,
    FAULT_CALLS,
};

enum { FAULT_FOR_EVER = 1 << 30 };

/* Before the first file is opened; a second time it does nothing. */
void fault_vfs_install(void);

/* Watches `folder` from now on, with every count 0 and no fault, or nothing if it is NULL. No file
 * of the folder before may be open. */
void fault_vfs_watch(const char *folder, bool record);

/* Lets the `nth` such call from now on fail, and the ones after it until `times` have, with `code`.
 * Replaces the fault before. `errno` becomes ENOSPC for SQLITE_FULL and EIO for all others. */
void fault_vfs_fail(enum fault_call call, int64_t nth, int64_t times, int code);
void fault_vfs_heal(void);

/* Calls that failed since fault_vfs_fail(). */
int64_t fault_vfs_hits(void);

/* Calls since fault_vfs_watch(). */
int64_t fault_vfs_count(enum fault_call call);

/* Recorded changes that no flush has made safe; of all files, or only of the WAL. */
int fault_vfs_unflushed(void);
int fault_vfs_unflushed_wal(void);

/* Calls `hook` before each call that writes, truncates or flushes. It may open other folders. NULL
 * ends that. */
void fault_vfs_hook(void (*hook)(void *context), void *context);

/* Writes to the folder `out_folder` the files of the watched folder as a power cut at this moment
 * may leave them; `seed` decides which of the possible outcomes it is. A file whose name was never
 * flushed may be missing, one that was removed may be back. The WAL's index is never there. */
void fault_vfs_cut_power(const char *out_folder, uint64_t seed);

#endif
