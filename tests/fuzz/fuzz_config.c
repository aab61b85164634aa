/* A settings file of any bytes is read or refused with problems that a terminal can show. */
#include "appliance/settings.h"
#include "core/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_problems(const struct buf *problems)
{
    const char *text = buf_text(problems);
    assert(utf8_length(text, problems->size) >= 0);
    for (size_t i = 0; i < problems->size; i++)
        assert(text[i] == '\n' || !iscntrl((unsigned char)text[i]));
}

static void load(char *path)
{
    char *const environment[] = {NULL};
    char *const argv[] = {"appliance", "--config", path, NULL};
    struct settings settings = {0};
    struct config_sources sources = {0};
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    enum result result = settings_load(3, argv, environment, &settings, &sources, &problems);
    assert(result == RESULT_NO_MEMORY || (result == RESULT_OK) == (problems.size == 0));
    check_problems(&problems);
    settings_free(&settings);
    buf_done(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int file = memfd_create("settings", MFD_CLOEXEC);
    assert(file >= 0);
    if (write(file, data, size) == (ssize_t)size) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        load(path);
    }
    close(file);
    return 0;
}
