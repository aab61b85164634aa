/* Every allocation fails once: see tests/support/fault_story.h for what has to hold whichever it
 * is.
 *
 * The program's own malloc stands before the C library's, and so before everyone's who calls it:
 * ours, SQLite's, cJSON's, libcrypto's. A sanitizer brings a malloc that must stay; there only
 * SQLite's allocations fail. */
#include "tests/support/unit.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/fault_story.h"
#include "tests/support/fault_vfs.h"

#ifdef __has_feature
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

static atomic_bool is_armed;
static atomic_int left; /* allocations that still succeed */

static bool must_fail(void)
{
    if (!atomic_load(&is_armed) || atomic_fetch_sub(&left, 1) != 0)
        return false;
    errno = ENOMEM;
    return true;
}

#if HAS_SANITIZER

static sqlite3_mem_methods real;

static void *take(int size)
{
    return must_fail() ? NULL : real.xMalloc(size);
}

static void *take_again(void *memory, int size)
{
    return must_fail() ? NULL : real.xRealloc(memory, size);
}

static void install(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
    sqlite3_mem_methods methods = real;
    methods.xMalloc = take;
    methods.xRealloc = take_again;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

#else

/* The C library's own, under the names that it keeps for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return must_fail() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return must_fail() ? NULL : __libc_realloc(memory, size);
}

static void *spare_malloc(size_t size, UNUSED const char *file, UNUSED int line)
{
    return __libc_malloc(size);
}

static void *spare_realloc(void *memory, size_t size, UNUSED const char *file, UNUSED int line)
{
    return __libc_realloc(memory, size);
}

static void spare_free(void *memory, UNUSED const char *file, UNUSED int line)
{
    free(memory);
}

static void install(void)
{
    if (CRYPTO_set_mem_functions(spare_malloc, spare_realloc, spare_free) != 1)
        abort();
}

#endif

static struct fixture fixture;
static struct story story;
static bool has_fixture;

static void arm(bool armed)
{
    atomic_store(&is_armed, armed);
}

static void pause_faults(bool paused)
{
    arm(!paused);
}

static int tear_down(UNUSED void **state)
{
    arm(false);
    if (has_fixture)
        fixture_done(&fixture);
    has_fixture = false;
    story_end(&story);
    return 0;
}

static void set_up_box(bool is_used)
{
    fixture_init(&fixture);
    has_fixture = true;
    fault_vfs_watch(fixture.folder.path, false);
    if (!is_used)
        return;
    assert_ok(fixture_start(&fixture, NULL));
    fixture_crash(&fixture);
}

/* Whether the start had as many allocations. */
static bool start_without(int nth)
{
    struct error error = {0};
    atomic_store(&left, nth);
    arm(true);
    enum result result = fixture_start(&fixture, &error);
    arm(false);
    if (result == RESULT_OK)
        assert_ok(fixture_stop(&fixture, NULL));
    assert_ok(fixture_open(&fixture, NULL));
    assert_ok(fixture_stop(&fixture, NULL));
    return atomic_load(&left) < 0;
}

static void any_allocation_of_a_start_may_fail(UNUSED void **state)
{
    int nth = 0;
    set_up_box(true);
    while (start_without(nth))
        nth++;
    assert_true(nth > 100);
    fixture_audit(&fixture);
}

/* Thousands of allocations, of which most are the schema's: every seventh has to do. */
static void any_allocation_of_the_first_start_may_fail(UNUSED void **state)
{
    int nth = 0;
    for (bool more = true; more; nth += 7) {
        set_up_box(false);
        more = start_without(nth);
        fixture_audit(&fixture);
        tear_down(NULL);
    }
    assert_true(nth > 100);
}

/* Whether the story had as many allocations after its start. */
static bool sell_without(int nth)
{
    set_up_box(false);
    story_begin(&story, &fixture);
    story.pause = pause_faults;
    assert_ok(fixture_start(&fixture, NULL));
    atomic_store(&left, nth);
    arm(true);
    story_go_on(&story);
    arm(false);
    story_check(&story, &fixture, false);
    tear_down(NULL);
    return atomic_load(&left) < 0;
}

static void any_allocation_of_a_sale_may_fail(UNUSED void **state)
{
    int nth = 0;
    while (sell_without(nth))
        nth++;
    assert_true(nth > 50);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(any_allocation_of_a_start_may_fail, tear_down),
        cmocka_unit_test_teardown(any_allocation_of_the_first_start_may_fail, tear_down),
        cmocka_unit_test_teardown(any_allocation_of_a_sale_may_fail, tear_down),
    };
    install();
    return RUN_TESTS(argc, argv, tests);
}
