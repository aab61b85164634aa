/* How long one flushed 4 KiB append takes in a folder: the floor under every durable answer.
 *
 *   fdatasync FOLDER [COUNT]    COUNT from 300 to 2000, 1000 unless told
 *
 * Prints one JSON object, durations in microseconds. Exits with 1 after a failure, 2 on bad usage.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/result.h"

enum { BLOCK_SIZE = 4096, COUNT_LEAST = 300, COUNT_MOST = 2000, COUNT_DEFAULT = 1000 };

static int compare_durations(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Opens a file that vanishes with its descriptor. */
static enum result scratch_open(const char *folder, int *ret_descriptor, struct error *error)
{
    int descriptor = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return error_set_errno(error, RESULT_IO, "%s takes no scratch file", folder);
    *ret_descriptor = descriptor;
    return RESULT_OK;
}

static enum result append_measure(int descriptor, int64_t *ret_duration_ns, struct error *error)
{
    char block[BLOCK_SIZE];
    memset(block, 'x', sizeof block);
    int64_t start_ns = clock_monotonic_ns(&clock_system);
    if (write(descriptor, block, sizeof block) != (ssize_t)sizeof block)
        return error_set_errno(error, RESULT_IO, "can't append");
    if (fdatasync(descriptor) != 0)
        return error_set_errno(error, RESULT_SYNC_FAILED, "can't flush");
    *ret_duration_ns = clock_monotonic_ns(&clock_system) - start_ns;
    return RESULT_OK;
}

static enum result appends_measure(int descriptor, size_t count, int64_t *ret_durations_ns,
                                   struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum result result = append_measure(descriptor, &ret_durations_ns[i], error);
        if (result != RESULT_OK)
            return result;
    }
    return RESULT_OK;
}

static double percentile_us(const int64_t *sorted_ns, size_t count, size_t percent)
{
    size_t index = count * percent / 100;
    return (double)sorted_ns[index] / 1e3;
}

static void durations_print(int64_t *durations_ns, size_t count)
{
    qsort(durations_ns, count, sizeof *durations_ns, compare_durations);
    printf("{\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n", count,
           percentile_us(durations_ns, count, 50), percentile_us(durations_ns, count, 99),
           (double)durations_ns[count - 1] / 1e3);
}

int main(int argc, char **argv)
{
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : COUNT_DEFAULT;
    if (argc < 2 || argc > 3 || count < COUNT_LEAST || count > COUNT_MOST) {
        fprintf(stderr, "usage: fdatasync FOLDER [COUNT from %d to %d]\n", COUNT_LEAST, COUNT_MOST);
        return 2;
    }
    struct error error = {0};
    int64_t durations_ns[COUNT_MOST];
    int descriptor = -1;
    enum result result = scratch_open(argv[1], &descriptor, &error);
    if (result == RESULT_OK)
        result = appends_measure(descriptor, (size_t)count, durations_ns, &error);
    if (descriptor >= 0)
        close(descriptor);
    if (result != RESULT_OK) {
        fprintf(stderr, "fdatasync: %s\n", error.text);
        return 1;
    }
    durations_print(durations_ns, (size_t)count);
    return 0;
}
