#include "tests/support/unit.h"

#include "appliance/disk.h"

#include <sys/statvfs.h>

#include "core/log.h"
#include "tests/support/folder.h"

enum { RESERVE_BYTES = 1 << 16, UNIT = 1024 };

static struct folder folder;
static struct disk *disk;

/* The volume as the disk sees it. What the ballast takes up is really taken off. */
static struct {
    int64_t total_bytes;
    int64_t free_bytes; /* without a ballast */
    bool is_broken;
} volume;

static long ballast_bytes(void)
{
    char path[FOLDER_PATH_SIZE];
    folder_file(&folder, "ballast", path);
    return file_size(path);
}

/* In place of the C library's. */
int statvfs(const char *path, struct statvfs *ret_volume)
{
    if (volume.is_broken)
        return -1;
    assert_string_equal(path, folder.path);
    long taken = ballast_bytes() > 0 ? ballast_bytes() : 0;
    *ret_volume = (struct statvfs){
        .f_frsize = UNIT,
        .f_blocks = (fsblkcnt_t)(volume.total_bytes / UNIT),
        .f_bavail = (fsblkcnt_t)((volume.free_bytes - taken) / UNIT),
    };
    return 0;
}

static int set_up(UNUSED void **state)
{
    log_start("test", LOG_ERROR + 1);
    folder_make(&folder);
    volume.total_bytes = 1 << 30;
    volume.free_bytes = 1 << 29;
    volume.is_broken = false;
    assert_ok(disk_new(folder.path, RESERVE_BYTES, &disk, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    disk_free(disk);
    disk = NULL;
    folder_remove(&folder);
    return 0;
}

static void reopen(int64_t reserve_bytes)
{
    disk_free(disk);
    disk = NULL;
    assert_ok(disk_new(folder.path, reserve_bytes, &disk, NULL));
}

static void assert_stage(enum disk_stage stage, bool has_ballast)
{
    assert_int_equal(disk_stage(disk), stage);
    assert_int_equal(ballast_bytes() >= 0, has_ballast);
}

static void a_disk_is_ok_before_it_was_looked_at(UNUSED void **state)
{
    assert_stage(DISK_OK, false);
}

static void the_ballast_takes_up_the_reserve_while_there_is_room(UNUSED void **state)
{
    disk_check(disk);
    assert_stage(DISK_OK, true);
    assert_int_equal(ballast_bytes(), RESERVE_BYTES);
    disk_check(disk);
    assert_int_equal(ballast_bytes(), RESERVE_BYTES);
}

static void no_ballast_is_made_unless_twice_the_reserve_is_free(UNUSED void **state)
{
    volume.free_bytes = 2 * RESERVE_BYTES;
    disk_check(disk);
    assert_stage(DISK_LOW, false);
    volume.free_bytes += UNIT;
    disk_check(disk);
    assert_stage(DISK_OK, true);
}

static void the_ballast_is_given_back_when_the_disk_fills_up(UNUSED void **state)
{
    disk_check(disk);
    volume.free_bytes = RESERVE_BYTES + RESERVE_BYTES / 4;
    disk_check(disk);
    assert_stage(DISK_OK, true);
    volume.free_bytes -= UNIT;
    disk_check(disk);
    assert_stage(DISK_LOW, false);
    disk_check(disk);
    assert_stage(DISK_LOW, false);
}

static void the_ballast_is_made_again_when_there_is_room_again(UNUSED void **state)
{
    disk_check(disk);
    assert_true(disk_release_reserve(disk));
    assert_stage(DISK_LOW, false);
    volume.free_bytes = 2 * RESERVE_BYTES;
    disk_check(disk);
    assert_stage(DISK_LOW, false);
    volume.free_bytes += UNIT;
    disk_check(disk);
    assert_stage(DISK_OK, true);
}

static void a_failed_write_gives_the_reserve_back_once(UNUSED void **state)
{
    disk_check(disk);
    assert_true(disk_release_reserve(disk));
    assert_stage(DISK_LOW, false);
    assert_false(disk_release_reserve(disk));
    assert_stage(DISK_FULL, false);
    assert_false(disk_release_reserve(disk));
    assert_stage(DISK_FULL, false);
}

static void a_full_disk_is_low_after_the_first_write_that_succeeds(UNUSED void **state)
{
    assert_false(disk_release_reserve(disk));
    assert_stage(DISK_FULL, false);
    disk_note_success(disk);
    assert_stage(DISK_LOW, false);
    disk_note_success(disk);
    assert_stage(DISK_LOW, false);
}

static void a_full_disk_stays_full_until_there_is_room(UNUSED void **state)
{
    volume.free_bytes = 0;
    assert_false(disk_release_reserve(disk));
    disk_check(disk);
    assert_stage(DISK_FULL, false);
    volume.free_bytes = 4 * RESERVE_BYTES;
    disk_check(disk);
    assert_stage(DISK_OK, true);
}

static void success_changes_nothing_while_there_is_room(UNUSED void **state)
{
    disk_check(disk);
    disk_note_success(disk);
    assert_stage(DISK_OK, true);
}

static void without_a_reserve_only_failed_writes_count(UNUSED void **state)
{
    reopen(0);
    volume.free_bytes = 0;
    disk_check(disk);
    assert_stage(DISK_OK, false);
    assert_false(disk_release_reserve(disk));
    assert_stage(DISK_FULL, false);
    disk_check(disk);
    assert_stage(DISK_FULL, false);
    disk_note_success(disk);
    assert_stage(DISK_OK, false);
}

static void the_reserve_is_a_sixteenth_of_a_small_volume(UNUSED void **state)
{
    volume.total_bytes = 16 * 32 * UNIT;
    volume.free_bytes = volume.total_bytes;
    reopen(RESERVE_BYTES);
    disk_check(disk);
    assert_int_equal(ballast_bytes(), 32 * UNIT);
}

static void the_ballast_of_an_earlier_run_counts(UNUSED void **state)
{
    disk_check(disk);
    reopen(RESERVE_BYTES);
    volume.free_bytes = RESERVE_BYTES;
    disk_check(disk);
    assert_stage(DISK_LOW, false);
    volume.free_bytes = 1 << 29;
    disk_check(disk);
    reopen(RESERVE_BYTES);
    assert_true(disk_release_reserve(disk));
    assert_stage(DISK_LOW, false);
}

static void a_volume_that_cannot_be_asked_is_an_error_with_its_cause(UNUSED void **state)
{
    struct error error = {0};
    struct disk *other = NULL;
    volume.is_broken = true;
    assert_int_equal(disk_new(folder.path, RESERVE_BYTES, &other, &error), RESULT_IO);
    assert_null(other);
    assert_contains(error.text, folder.path);
}

static void a_volume_that_stops_answering_changes_nothing(UNUSED void **state)
{
    disk_check(disk);
    volume.is_broken = true;
    disk_check(disk);
    assert_stage(DISK_OK, true);
    assert_int_equal(disk_free_bytes(disk), -1);
}

static void free_bytes_are_what_is_left(UNUSED void **state)
{
    assert_int_equal(disk_free_bytes(disk), 1 << 29);
    disk_check(disk);
    assert_int_equal(disk_free_bytes(disk), (1 << 29) - RESERVE_BYTES);
}

static void a_stage_has_a_word(UNUSED void **state)
{
    assert_string_equal(disk_stage_text(DISK_OK), "ok");
    assert_string_equal(disk_stage_text(DISK_LOW), "low");
    assert_string_equal(disk_stage_text(DISK_FULL), "full");
}

static void no_disk_can_be_freed(UNUSED void **state)
{
    disk_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_disk_is_ok_before_it_was_looked_at),
        TEST(the_ballast_takes_up_the_reserve_while_there_is_room),
        TEST(no_ballast_is_made_unless_twice_the_reserve_is_free),
        TEST(the_ballast_is_given_back_when_the_disk_fills_up),
        TEST(the_ballast_is_made_again_when_there_is_room_again),
        TEST(a_failed_write_gives_the_reserve_back_once),
        TEST(a_full_disk_is_low_after_the_first_write_that_succeeds),
        TEST(a_full_disk_stays_full_until_there_is_room),
        TEST(success_changes_nothing_while_there_is_room),
        TEST(without_a_reserve_only_failed_writes_count),
        TEST(the_reserve_is_a_sixteenth_of_a_small_volume),
        TEST(the_ballast_of_an_earlier_run_counts),
        TEST(a_volume_that_cannot_be_asked_is_an_error_with_its_cause),
        TEST(a_volume_that_stops_answering_changes_nothing),
        TEST(free_bytes_are_what_is_left),
        TEST(a_stage_has_a_word),
        TEST(no_disk_can_be_freed),
    };
    return RUN_TESTS(argc, argv, tests);
}
