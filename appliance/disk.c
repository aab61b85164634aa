#include "appliance/disk.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/log.h"

struct disk {
    char *data_dir;
    char *ballast_path;
    int64_t reserve_bytes;
    pthread_mutex_t lock; /* the ballast and changes of the stage */
    bool has_ballast;
    _Atomic enum disk_stage stage;
};

enum { SMALL_VOLUME_PARTS = 16 };

static int64_t free_bytes(const char *path)
{
    struct statvfs volume;
    if (statvfs(path, &volume) != 0)
        return -1;
    return (int64_t)volume.f_bavail * (int64_t)volume.f_frsize;
}

static enum result fit_reserve(struct disk *disk, int64_t wanted_bytes, struct error *error)
{
    struct statvfs volume;
    if (statvfs(disk->data_dir, &volume) != 0)
        return error_set_errno(error, RESULT_IO, "can't tell the size of %s", disk->data_dir);
    int64_t most = (int64_t)volume.f_blocks * (int64_t)volume.f_frsize / SMALL_VOLUME_PARTS;
    disk->reserve_bytes = wanted_bytes < most ? wanted_bytes : most;
    return RESULT_OK;
}

static void disk_move_to(struct disk *disk, enum disk_stage stage)
{
    enum disk_stage before = atomic_exchange(&disk->stage, stage);
    if (before != stage)
        LOG(stage == DISK_OK ? LOG_INFO : LOG_WARN, "disk.stage",
            LOG_TEXT("from", disk_stage_text(before)), LOG_TEXT("to", disk_stage_text(stage)),
            LOG_INT("free_bytes", free_bytes(disk->data_dir)));
}

/* All of the reserve or nothing. */
static bool make_ballast(struct disk *disk)
{
    int file = open(disk->ballast_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    bool made = posix_fallocate(file, 0, disk->reserve_bytes) == 0;
    close(file);
    if (!made)
        unlink(disk->ballast_path);
    return made;
}

enum result disk_new(const char *data_dir, int64_t reserve_bytes, struct disk **ret_disk,
                     struct error *error)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        return RESULT_NO_MEMORY;
    pthread_mutex_init(&disk->lock, NULL);
    disk->data_dir = strdup(data_dir);
    if (!disk->data_dir || asprintf(&disk->ballast_path, "%s/ballast", data_dir) < 0) {
        disk->ballast_path = NULL;
        disk_free(disk);
        return RESULT_NO_MEMORY;
    }
    enum result result = fit_reserve(disk, reserve_bytes, error);
    if (result != RESULT_OK) {
        disk_free(disk);
        return result;
    }
    disk->has_ballast = access(disk->ballast_path, F_OK) == 0;
    *ret_disk = disk;
    return RESULT_OK;
}

void disk_free(struct disk *disk)
{
    if (!disk)
        return;
    pthread_mutex_destroy(&disk->lock);
    free(disk->data_dir);
    free(disk->ballast_path);
    free(disk);
}

static bool give_back(struct disk *disk)
{
    bool had = disk->has_ballast && unlink(disk->ballast_path) == 0;
    disk->has_ballast = false;
    return had;
}

void disk_check(struct disk *disk)
{
    if (disk->reserve_bytes == 0)
        return;
    pthread_mutex_lock(&disk->lock);
    int64_t available = free_bytes(disk->data_dir);
    if (!disk->has_ballast && available > 2 * disk->reserve_bytes)
        disk->has_ballast = make_ballast(disk);
    else if (disk->has_ballast && available >= 0 && available < disk->reserve_bytes / 4)
        give_back(disk);
    if (disk->has_ballast)
        disk_move_to(disk, DISK_OK);
    else if (disk_stage(disk) == DISK_OK)
        disk_move_to(disk, DISK_LOW);
    pthread_mutex_unlock(&disk->lock);
}

bool disk_release_reserve(struct disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    bool released = give_back(disk);
    disk_move_to(disk, released ? DISK_LOW : DISK_FULL);
    pthread_mutex_unlock(&disk->lock);
    return released;
}

void disk_note_success(struct disk *disk)
{
    if (disk_stage(disk) != DISK_FULL)
        return;
    pthread_mutex_lock(&disk->lock);
    disk_move_to(disk, disk->reserve_bytes == 0 ? DISK_OK : DISK_LOW);
    pthread_mutex_unlock(&disk->lock);
}

enum disk_stage disk_stage(const struct disk *disk)
{
    return atomic_load(&disk->stage);
}

const char *disk_stage_text(enum disk_stage stage)
{
    static const char *const TEXTS[] = {[DISK_OK] = "ok", [DISK_LOW] = "low", [DISK_FULL] = "full"};
    return TEXTS[stage];
}

int64_t disk_free_bytes(const struct disk *disk)
{
    return free_bytes(disk->data_dir);
}
