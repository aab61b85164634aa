#include "core/config/config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_descriptor(const int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}

static enum result config_read_refuse(struct error *error, const char *path)
{
    enum result result = RESULT_IO;
    if (errno == ENOENT || errno == ENOTDIR)
        result = RESULT_NOT_FOUND;
    if (errno == EACCES || errno == EPERM)
        result = RESULT_DENIED;
    return error_set_errno(error, result, "can't read \"%s\"", path);
}

enum result config_read_bytes(const char *path, size_t capacity, struct error *error,
                              char *ret_bytes, size_t *ret_size, mode_t *ret_mode)
{
    CLEANUP(close_descriptor) int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        return config_read_refuse(error, path);
    size_t size = 0;
    while (size < capacity) {
        ssize_t more = read(descriptor, ret_bytes + size, capacity - size);
        if (more == 0)
            break;
        if (more < 0 && errno != EINTR)
            return config_read_refuse(error, path);
        size += more > 0 ? (size_t)more : 0;
    }
    *ret_size = size;
    *ret_mode = status.st_mode;
    return RESULT_OK;
}

static size_t size_without_line_end(const char *bytes, size_t size)
{
    if (size > 0 && bytes[size - 1] == '\n')
        size--;
    else
        return size;
    return size > 0 && bytes[size - 1] == '\r' ? size - 1 : size;
}

static enum result check_secret(const char *path, const char *bytes, size_t size, size_t size_max,
                                struct error *error)
{
    if (size == 0)
        return error_set(error, RESULT_INVALID, "\"%s\" is empty", path);
    if (size > size_max)
        return error_set(error, RESULT_TOO_LARGE, "\"%s\" is longer than %zu bytes", path,
                         size_max);
    if (memchr(bytes, '\n', size) || memchr(bytes, '\r', size))
        return error_set(error, RESULT_INVALID, "\"%s\" has more than one line", path);
    if (memchr(bytes, '\0', size))
        return error_set(error, RESULT_INVALID, "\"%s\" has a NUL byte", path);
    return RESULT_OK;
}

enum result config_read_secret_file(const char *path, size_t size_max, struct error *error,
                                    char **ret_secret, bool *ret_exposed)
{
    /* room for a line end, and for one byte too many to show */
    size_t capacity = size_max + 3, size = 0;
    mode_t mode = 0;
    char *bytes = calloc(1, capacity + 1);
    if (!bytes)
        return error_set(error, RESULT_NO_MEMORY, "no memory for \"%s\"", path);
    enum result result = config_read_bytes(path, capacity, error, bytes, &size, &mode);
    if (result == RESULT_OK) {
        size = size_without_line_end(bytes, size);
        result = check_secret(path, bytes, size, size_max, error);
    }
    if (result != RESULT_OK) {
        explicit_bzero(bytes, capacity);
        free(bytes);
        return result;
    }
    bytes[size] = '\0';
    *ret_secret = bytes;
    *ret_exposed = (mode & (S_IRGRP | S_IROTH)) != 0;
    return RESULT_OK;
}
