/* What a disk holds of one file: everything up to the last flush, and of the changes since then
 * whatever the drive and the kernel happened to write before the power went. Not thread-safe. */
#ifndef TILLBOX_TESTS_SUPPORT_FAULT_IMAGE_H
#define TILLBOX_TESTS_SUPPORT_FAULT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_image;

/* Takes what the file at `path` holds now for flushed; empty if there is none. Stops the process
 * when there is no memory, as everything here does. */
struct fault_image *fault_image_new(const char *path);
void fault_image_free(struct fault_image *image);

void fault_image_write(struct fault_image *image, int64_t offset, const void *bytes, size_t size);
void fault_image_truncate(struct fault_image *image, int64_t size);

/* From now on every change so far is safe. */
void fault_image_flush(struct fault_image *image);

/* A flush failed: each change since the last one has got to the disk or never will, whatever is
 * flushed later, as Linux does it (Rebello et al., "Can applications recover from fsync failures?",
 * USENIX ATC 2020). `random` decides which and moves on. */
void fault_image_lose(struct fault_image *image, uint64_t *random);

/* Changes that aren't safe yet. */
int fault_image_unflushed(const struct fault_image *image);

/* Writes to `path` one of the contents that a power cut may leave: of the changes that aren't safe
 * an arbitrary subset, where each 512-byte sector of a write counts by itself. A hole that this
 * leaves reads as zeros. `random` decides and moves on. */
void fault_image_survive(const struct fault_image *image, const char *path, uint64_t *random);

/* The next number of the sequence that starts with any `*random` (splitmix64: Steele, Lea and
 * Flood, "Fast splittable pseudorandom number generators", 2014). */
uint64_t fault_random(uint64_t *random);

#endif
