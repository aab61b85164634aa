#include "tests/support/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/unit.h"

enum { OPEN_AT_ONCE = 8 };

void folder_make(struct folder *folder)
{
    strcpy(folder->path, "/tmp/tillbox-test.XXXXXX");
    assert_non_null(mkdtemp(folder->path));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void folder_remove(const struct folder *folder)
{
    assert_int_equal(nftw(folder->path, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS), 0);
}

void folder_file(const struct folder *folder, const char *name,
                 char ret_path[static FOLDER_PATH_SIZE])
{
    int length = snprintf(ret_path, FOLDER_PATH_SIZE, "%s/%s", folder->path, name);
    assert_in_range(length, 1, FOLDER_PATH_SIZE - 1);
}

void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

long file_size(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long)status.st_size : -1;
}
