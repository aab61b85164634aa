/* A temporary folder for one test's files. */
#ifndef TILLBOX_TESTS_SUPPORT_FOLDER_H
#define TILLBOX_TESTS_SUPPORT_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

enum { FOLDER_PATH_SIZE = 128 };

struct folder {
    char path[FOLDER_PATH_SIZE / 2];
};

/* Each fails the test if it can't. */
void folder_make(struct folder *folder);
void folder_remove(const struct folder *folder);

/* The path of a file in it, which need not exist. */
void folder_file(const struct folder *folder, const char *name,
                 char ret_path[static FOLDER_PATH_SIZE]);

void file_write(const char *path, const void *bytes, size_t size);

/* Its size, -1 if there is no such file. */
long file_size(const char *path);

#endif
