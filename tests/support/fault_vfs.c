#include "tests/support/fault_vfs.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/fault_image.h"

enum { PATH_SIZE = 512, ENTRIES_MAX = 8 };

/* A file of the watched folder, as the disk knows it. */
struct entry {
    char path[PATH_SIZE];
    struct fault_image *image;
    bool is_wal;
    bool name_is_safe;   /* the folder was flushed since the file was created */
    bool is_removed;     /* and the folder not flushed since */
    bool flushes_folder; /* with the file's next flush, as SQLite does for a new journal or WAL */
};

struct fault {
    enum fault_call call;
    int64_t first, last; /* by the call's count */
    int code;
    int64_t hits;
};

/* There is one default VFS in a process, and so one of these. */
static struct {
    pthread_mutex_t lock; /* recursive: a hook may open other files */
    sqlite3_vfs *real;
    sqlite3_vfs shim;
    char folder[PATH_SIZE]; /* with a slash at its end; empty: nothing is watched */
    bool record;
    int open_files;
    int64_t counts[FAULT_CALLS];
    struct fault fault;
    void (*hook)(void *context);
    void *hook_context;
    uint64_t luck; /* what a failed flush leaves on the disk */
    struct entry entries[ENTRIES_MAX];
    int entry_count;
} state;

struct shim_file {
    sqlite3_file base;
    bool is_watched;
    struct entry *entry; /* NULL unless recorded */
    sqlite3_file *real;  /* right behind this */
};

static struct shim_file *shim_of(sqlite3_file *file)
{
    return (struct shim_file *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return shim_of(file)->real;
}

static void lock(void)
{
    pthread_mutex_lock(&state.lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&state.lock);
}

/* Counts a call; SQLITE_OK, or what it is to fail with. */
static int count_call(enum fault_call call)
{
    struct fault *fault = &state.fault;
    int64_t count = ++state.counts[call];
    if (fault->code == SQLITE_OK || fault->call != call || count < fault->first ||
        count > fault->last)
        return SQLITE_OK;
    fault->hits++;
    errno = fault->code == SQLITE_FULL ? ENOSPC : EIO;
    return fault->code;
}

static int meet(sqlite3_file *file, enum fault_call call)
{
    return shim_of(file)->is_watched ? count_call(call) : SQLITE_OK;
}

static void before_change(sqlite3_file *file)
{
    if (shim_of(file)->is_watched && state.hook)
        state.hook(state.hook_context);
}

static int shim_close(sqlite3_file *file)
{
    int code = real_of(file)->pMethods->xClose(real_of(file));
    lock();
    state.open_files -= shim_of(file)->is_watched;
    unlock();
    return code;
}

static int shim_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 offset)
{
    lock();
    int code = meet(file, FAULT_READ);
    unlock();
    return code == SQLITE_OK ? real_of(file)->pMethods->xRead(real_of(file), bytes, size, offset)
                             : code;
}

static int write_and_record(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    struct entry *entry = shim_of(file)->entry;
    if (entry)
        fault_image_write(entry->image, offset, bytes, (size_t)size);
    return real_of(file)->pMethods->xWrite(real_of(file), bytes, size, offset);
}

static int shim_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    lock();
    before_change(file);
    int code = meet(file, FAULT_WRITE);
    int cause = errno;
    int written = write_and_record(file, bytes, code == SQLITE_OK ? size : size / 2, offset);
    if (code != SQLITE_OK)
        errno = cause;
    unlock();
    return code == SQLITE_OK ? written : code;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    lock();
    before_change(file);
    int code = meet(file, FAULT_TRUNCATE);
    if (code == SQLITE_OK && shim_of(file)->entry)
        fault_image_truncate(shim_of(file)->entry->image, size);
    if (code == SQLITE_OK)
        code = real_of(file)->pMethods->xTruncate(real_of(file), size);
    unlock();
    return code;
}

static void make_names_safe(void)
{
    for (int i = 0; i < state.entry_count; i++) {
        struct entry *entry = &state.entries[i];
        entry->name_is_safe = true;
        if (!entry->is_removed)
            continue;
        fault_image_free(entry->image);
        *entry = (struct entry){0};
    }
}

static int shim_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    lock();
    before_change(file);
    struct entry *entry = shim_of(file)->entry;
    int code = meet(file, FAULT_SYNC);
    if (code == SQLITE_OK && entry) {
        fault_image_flush(entry->image);
        if (entry->flushes_folder)
            make_names_safe();
        entry->flushes_folder = false;
    } else if (entry) {
        fault_image_lose(entry->image, &state.luck);
    }
    unlock();
    return code;
}

static int shim_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    lock();
    int code = meet(file, FAULT_LOCK);
    unlock();
    return code == SQLITE_OK ? real_of(file)->pMethods->xLock(real_of(file), level) : code;
}

static int shim_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int shim_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_reserved);
}

static int shim_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int shim_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int shim_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend,
                        void volatile **ret_memory)
{
    lock();
    int code = meet(file, FAULT_SHM_MAP);
    unlock();
    return code == SQLITE_OK
               ? real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, ret_memory)
               : code;
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int shim_shm_unmap(sqlite3_file *file, int remove_too)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove_too);
}

/* No memory mapping of the file itself: every change comes through xWrite. */
static const sqlite3_io_methods METHODS = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_file_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static bool is_below_folder(const char *path)
{
    size_t length = strlen(state.folder);
    return length > 0 && path && strncmp(path, state.folder, length) == 0;
}

static struct entry *find_entry(const char *path)
{
    for (int i = 0; i < state.entry_count; i++)
        if (strcmp(state.entries[i].path, path) == 0)
            return &state.entries[i];
    return NULL;
}

static struct entry *free_entry(void)
{
    for (int i = 0; i < state.entry_count; i++)
        if (!state.entries[i].image)
            return &state.entries[i];
    assert(state.entry_count < ENTRIES_MAX);
    return &state.entries[state.entry_count++];
}

/* Before the file is opened, and so perhaps created. */
static struct entry *record_open(const char *path, int flags)
{
    struct entry *entry = find_entry(path);
    bool exists = access(path, F_OK) == 0;
    if (entry && exists)
        return entry;
    if (entry)
        fault_image_free(entry->image);
    else
        entry = free_entry();
    *entry = (struct entry){
        .image = fault_image_new(path),
        .is_wal = (flags & SQLITE_OPEN_WAL) != 0,
        .name_is_safe = exists,
        .flushes_folder = !exists && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0,
    };
    snprintf(entry->path, sizeof entry->path, "%s", path);
    return entry;
}

static int open_watched(struct shim_file *shim, const char *path, int flags, int *ret_flags)
{
    lock();
    int code = count_call(FAULT_OPEN);
    struct entry *entry = code == SQLITE_OK && state.record ? record_open(path, flags) : NULL;
    if (code == SQLITE_OK)
        code = state.real->xOpen(state.real, path, shim->real, flags, ret_flags);
    if (code == SQLITE_OK) {
        shim->is_watched = true;
        shim->entry = entry;
        state.open_files++;
    }
    unlock();
    return code;
}

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    (void)vfs;
    struct shim_file *shim = shim_of(file);
    *shim = (struct shim_file){.real = (sqlite3_file *)(void *)(shim + 1)};
    lock();
    bool watched = is_below_folder(path);
    unlock();
    int code = watched ? open_watched(shim, path, flags, ret_flags)
                       : state.real->xOpen(state.real, path, shim->real, flags, ret_flags);
    if (code == SQLITE_OK)
        shim->base.pMethods = &METHODS;
    return code;
}

static int shim_delete(sqlite3_vfs *vfs, const char *path, int flush_folder)
{
    (void)vfs;
    lock();
    int code = state.real->xDelete(state.real, path, flush_folder);
    struct entry *entry = is_below_folder(path) ? find_entry(path) : NULL;
    if (code == SQLITE_OK && entry) {
        entry->is_removed = true;
        if (flush_folder)
            make_names_safe();
    }
    unlock();
    return code;
}

void fault_vfs_install(void)
{
    pthread_mutexattr_t recursive;
    if (state.real)
        return;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&state.lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    state.real = sqlite3_vfs_find("unix");
    /* The methods that aren't replaced don't look at the VFS they are called with. */
    state.shim = *state.real;
    state.shim.zName = "fault";
    state.shim.szOsFile += (int)sizeof(struct shim_file);
    state.shim.xOpen = shim_open;
    state.shim.xDelete = shim_delete;
    if (sqlite3_vfs_register(&state.shim, 1) != SQLITE_OK)
        abort();
}

void fault_vfs_watch(const char *folder, bool record)
{
    lock();
    assert(state.open_files == 0);
    for (int i = 0; i < state.entry_count; i++)
        fault_image_free(state.entries[i].image);
    state.entry_count = 0;
    state.record = record;
    state.fault = (struct fault){0};
    memset(state.counts, 0, sizeof state.counts);
    snprintf(state.folder, sizeof state.folder, "%s%s", folder ? folder : "", folder ? "/" : "");
    unlock();
}

void fault_vfs_fail(enum fault_call call, int64_t nth, int64_t times, int code)
{
    lock();
    int64_t first = state.counts[call] + nth;
    state.fault = (struct fault){call, first, first + times - 1, code, 0};
    unlock();
}

void fault_vfs_heal(void)
{
    lock();
    state.fault.code = SQLITE_OK;
    unlock();
}

int64_t fault_vfs_hits(void)
{
    lock();
    int64_t hits = state.fault.hits;
    unlock();
    return hits;
}

int64_t fault_vfs_count(enum fault_call call)
{
    lock();
    int64_t count = state.counts[call];
    unlock();
    return count;
}

static int count_unflushed(bool only_wal)
{
    int changes = 0;
    lock();
    for (int i = 0; i < state.entry_count; i++)
        if (state.entries[i].image && (state.entries[i].is_wal || !only_wal))
            changes += fault_image_unflushed(state.entries[i].image);
    unlock();
    return changes;
}

int fault_vfs_unflushed(void)
{
    return count_unflushed(false);
}

int fault_vfs_unflushed_wal(void)
{
    return count_unflushed(true);
}

void fault_vfs_hook(void (*hook)(void *context), void *context)
{
    lock();
    state.hook = hook;
    state.hook_context = context;
    unlock();
}

void fault_vfs_cut_power(const char *out_folder, uint64_t seed)
{
    char path[2 * PATH_SIZE];
    lock();
    for (int i = 0; i < state.entry_count; i++) {
        const struct entry *entry = &state.entries[i];
        bool is_open_question = entry->is_removed || !entry->name_is_safe;
        if (!entry->image || (is_open_question && fault_random(&seed) % 2))
            continue;
        snprintf(path, sizeof path, "%s/%s", out_folder, strrchr(entry->path, '/') + 1);
        fault_image_survive(entry->image, path, &seed);
    }
    unlock();
}
