#include "tests/support/fault_image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

/* A write, or a truncation to `offset` where `bytes` is NULL. */
struct change {
    size_t offset;
    size_t size;
    char *bytes;
    struct change *next;
};

struct content {
    char *bytes;
    size_t size;
    size_t capacity;
};

struct fault_image {
    struct content flushed;
    struct change *first;
    struct change **last;
    int changes;
};

static void *require(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

uint64_t fault_random(uint64_t *random)
{
    uint64_t mixed = *random += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
    return mixed ^ mixed >> 31;
}

static void content_resize(struct content *content, size_t size)
{
    if (size > content->capacity) {
        content->capacity = 2 * size;
        content->bytes = require(realloc(content->bytes, content->capacity));
    }
    if (size > content->size)
        memset(content->bytes + content->size, 0, size - content->size);
    content->size = size;
}

static void content_write(struct content *content, size_t offset, const char *bytes, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > content->size)
        content_resize(content, offset + size);
    memcpy(content->bytes + offset, bytes, size);
}

static void content_load(struct content *content, const char *path)
{
    struct stat file;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    if (fstat(descriptor, &file) != 0)
        abort();
    content_resize(content, (size_t)file.st_size);
    if (read(descriptor, content->bytes, content->size) != (ssize_t)content->size)
        abort();
    close(descriptor);
}

static void content_save(const struct content *content, const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0 ||
        write(descriptor, content->bytes, content->size) != (ssize_t)content->size)
        abort();
    close(descriptor);
}

struct fault_image *fault_image_new(const char *path)
{
    struct fault_image *image = require(calloc(1, sizeof *image));
    image->last = &image->first;
    content_load(&image->flushed, path);
    return image;
}

static void forget_changes(struct fault_image *image)
{
    while (image->first) {
        struct change *change = image->first;
        image->first = change->next;
        free(change->bytes);
        free(change);
    }
    image->last = &image->first;
    image->changes = 0;
}

void fault_image_free(struct fault_image *image)
{
    if (!image)
        return;
    forget_changes(image);
    free(image->flushed.bytes);
    free(image);
}

static struct change *add_change(struct fault_image *image, int64_t offset)
{
    struct change *change = require(calloc(1, sizeof *change));
    change->offset = (size_t)offset;
    *image->last = change;
    image->last = &change->next;
    image->changes++;
    return change;
}

void fault_image_write(struct fault_image *image, int64_t offset, const void *bytes, size_t size)
{
    struct change *change = add_change(image, offset);
    change->bytes = require(malloc(size ? size : 1));
    memcpy(change->bytes, bytes, size);
    change->size = size;
}

void fault_image_truncate(struct fault_image *image, int64_t size)
{
    add_change(image, size);
}

void fault_image_flush(struct fault_image *image)
{
    for (const struct change *change = image->first; change; change = change->next) {
        if (change->bytes)
            content_write(&image->flushed, change->offset, change->bytes, change->size);
        else
            content_resize(&image->flushed, change->offset);
    }
    forget_changes(image);
}

int fault_image_unflushed(const struct fault_image *image)
{
    return image->changes;
}

static bool flip(uint64_t *random)
{
    return fault_random(random) & 1;
}

/* Some of the sectors that the write touches. */
static void tear(struct content *content, const struct change *change, uint64_t *random)
{
    size_t done = 0;
    while (done < change->size) {
        size_t at = change->offset + done;
        size_t size = SECTOR - at % SECTOR;
        size = size < change->size - done ? size : change->size - done;
        if (flip(random))
            content_write(content, at, change->bytes + done, size);
        done += size;
    }
}

/* Whole, not at all, or in part: the first two are what most writes meet. */
static void maybe_apply(struct content *content, const struct change *change, uint64_t *random)
{
    switch (fault_random(random) % 3) {
    case 0:
        break;
    case 1:
        if (change->bytes)
            content_write(content, change->offset, change->bytes, change->size);
        else
            content_resize(content, change->offset);
        break;
    default:
        if (change->bytes)
            tear(content, change, random);
    }
}

void fault_image_lose(struct fault_image *image, uint64_t *random)
{
    for (const struct change *change = image->first; change; change = change->next)
        maybe_apply(&image->flushed, change, random);
    forget_changes(image);
}

void fault_image_survive(const struct fault_image *image, const char *path, uint64_t *random)
{
    struct content content = {0};
    content_write(&content, 0, image->flushed.bytes, image->flushed.size);
    for (const struct change *change = image->first; change; change = change->next)
        maybe_apply(&content, change, random);
    content_save(&content, path);
    free(content.bytes);
}
