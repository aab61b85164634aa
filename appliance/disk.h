/* Keeps a reserve of disk space for sales.
 *
 * A ballast file takes up the reserve while there is room. When the disk fills up it is given back,
 * and what remains is for sales and cancellations only:
 *
 *              free < reserve / 4, or a write failed: ballast given back
 *     DISK_OK ────────────────────────────────────────────▶ DISK_LOW   only sales go on
 *        ▲                                                     │ a write failed with no ballast
 * left │ free > 2 × reserve: ballast made again              ▼
 *        └──────────────────────────────────────────────── DISK_FULL   every change is tried, and
 *                                                                      answered 507 if it fails
 * DISK_FULL becomes DISK_LOW by itself with the first write that succeeds. */
#ifndef TILLBOX_APPLIANCE_DISK_H
#define TILLBOX_APPLIANCE_DISK_H

#include <stdint.h>

#include "core/result.h"

enum disk_stage { DISK_OK, DISK_LOW, DISK_FULL };

struct disk;

/* The reserve is cut to 1/16 of a small volume. 0 means none: the stage is DISK_OK until a write
 * fails. */
MUST_CHECK enum result disk_new(const char *data_dir, int64_t reserve_bytes, struct disk **ret_disk,
                                struct error *error);
void disk_free(struct disk *disk);

/* Looks at the free space; about once a second, from one thread. */
void disk_check(struct disk *disk);

/* A write failed for want of space. True if that gave something back and a retry makes sense. From
 * any thread. */
bool disk_release_reserve(struct disk *disk);

/* A write succeeded. */
void disk_note_success(struct disk *disk);

enum disk_stage disk_stage(const struct disk *disk);
const char *disk_stage_text(enum disk_stage stage);

/* Bytes that an unprivileged process can still use; -1 if that can't be told. */
int64_t disk_free_bytes(const struct disk *disk);

#endif
