/* Every call on a file fails once, and from there on: see tests/support/fault_story.h for what has
 * to hold whichever it is. */
#include "tests/support/unit.h"

#include <sqlite3.h>

#include "tests/support/fault_story.h"
#include "tests/support/fault_vfs.h"

struct fault {
    enum fault_call call;
    int code;
    int64_t times;
};

/* The box, and what a power cut leaves of it. */
static struct fixture fixture, copy;
static struct story story;
static bool has_fixture, has_copy;

static void open_fixture(struct fixture *which, bool *has)
{
    fixture_init(which);
    *has = true;
}

static void close_fixture(struct fixture *which, bool *has)
{
    if (*has)
        fixture_done(which);
    *has = false;
}

/* The calls of the story up to the end are many; a box that was in use makes others at its start.
 */
static void use_before(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_cancel(&fixture, 1)), 404);
    fixture_crash(&fixture);
}

/* After a failed flush the power goes as well: what the disk then holds must do, too. */
static void check_after_power_cut(uint64_t seed)
{
    open_fixture(&copy, &has_copy);
    fault_vfs_cut_power(copy.folder.path, seed);
    story_check(&story, &copy, true);
    close_fixture(&copy, &has_copy);
}

/* Whether the story had as many such calls. */
static bool tell_with(const struct fault *fault, int64_t nth, bool is_used)
{
    bool is_sync = fault->call == FAULT_SYNC;
    open_fixture(&fixture, &has_fixture);
    fault_vfs_watch(fixture.folder.path, is_sync);
    if (is_used)
        use_before();
    story_begin(&story, &fixture);
    fault_vfs_fail(fault->call, nth, fault->times, fault->code);
    story_tell(&story);
    bool was_hit = fault_vfs_hits() > 0;
    fault_vfs_heal();
    if (is_sync)
        check_after_power_cut((uint64_t)nth);
    story_check(&story, &fixture, is_sync);
    close_fixture(&fixture, &has_fixture);
    story_end(&story);
    return was_hit;
}

static void tell_with_every(const struct fault *fault, bool is_used)
{
    int64_t nth = 1;
    while (tell_with(fault, nth, is_used))
        nth++;
    assert_true(nth > 1 || fault->call == FAULT_TRUNCATE);
}

static void tell_with_each(const struct fault *faults, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tell_with_every(&faults[i], false);
        if (faults[i].times == 1)
            tell_with_every(&faults[i], true);
    }
}

#define EACH(...)                                       \
    tell_with_each((const struct fault[]){__VA_ARGS__}, \
                   ARRAY_LENGTH(((const struct fault[]){__VA_ARGS__})))

static void any_write_may_fail(UNUSED void **state)
{
    EACH({FAULT_WRITE, SQLITE_IOERR_WRITE, 1}, {FAULT_WRITE, SQLITE_IOERR_WRITE, FAULT_FOR_EVER});
}

static void any_write_may_meet_a_full_disk(UNUSED void **state)
{
    EACH({FAULT_WRITE, SQLITE_FULL, 1}, {FAULT_WRITE, SQLITE_FULL, FAULT_FOR_EVER});
}

static void any_flush_may_fail(UNUSED void **state)
{
    EACH({FAULT_SYNC, SQLITE_IOERR_FSYNC, 1}, {FAULT_SYNC, SQLITE_IOERR_FSYNC, FAULT_FOR_EVER});
}

static void any_read_may_fail(UNUSED void **state)
{
    EACH({FAULT_READ, SQLITE_IOERR_READ, 1}, {FAULT_READ, SQLITE_IOERR_READ, FAULT_FOR_EVER});
}

static void any_truncation_may_fail(UNUSED void **state)
{
    EACH({FAULT_TRUNCATE, SQLITE_IOERR_TRUNCATE, 1});
}

static void any_open_may_fail(UNUSED void **state)
{
    EACH({FAULT_OPEN, SQLITE_CANTOPEN, 1}, {FAULT_OPEN, SQLITE_IOERR, FAULT_FOR_EVER});
}

static void any_lock_may_be_refused(UNUSED void **state)
{
    EACH({FAULT_LOCK, SQLITE_BUSY, 1}, {FAULT_LOCK, SQLITE_IOERR_LOCK, FAULT_FOR_EVER});
}

static void any_mapping_of_the_wal_index_may_fail(UNUSED void **state)
{
    EACH({FAULT_SHM_MAP, SQLITE_IOERR_SHMMAP, 1}, {FAULT_SHM_MAP, SQLITE_FULL, FAULT_FOR_EVER});
}

static int tear_down(UNUSED void **state)
{
    fault_vfs_heal();
    close_fixture(&copy, &has_copy);
    close_fixture(&fixture, &has_fixture);
    story_end(&story);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(any_write_may_fail),      TEST(any_write_may_meet_a_full_disk),
        TEST(any_flush_may_fail),      TEST(any_read_may_fail),
        TEST(any_truncation_may_fail), TEST(any_open_may_fail),
        TEST(any_lock_may_be_refused), TEST(any_mapping_of_the_wal_index_may_fail),
    };
    return RUN_TESTS(argc, argv, tests);
}
