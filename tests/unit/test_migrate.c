#include "core/migrate.h"

#include <stdlib.h>
#include <string.h>

#include "core/db.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

enum { OURS = 0x7111B0C5, OTHERS = 4711 };

static const struct migration MIGRATIONS[] = {
    {1, "products", "CREATE TABLE products (id INTEGER);"},
    {2, "a_product", "INSERT INTO products VALUES (1);\nINSERT INTO products VALUES (2);"},
    {3, "orders", "CREATE TABLE orders (id INTEGER);"},
};

static struct folder folder;
static struct db *db;
static struct error error;

static int set_up(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    folder_make(&folder);
    folder_file(&folder, "test.db", path);
    return db_open(path, DB_WRITER, &db, &error) == RESULT_OK ? 0 : -1;
}

static int tear_down(UNUSED void **state)
{
    db_close(db);
    folder_remove(&folder);
    return 0;
}

static int64_t ask(const char *sql)
{
    int64_t number = 0;
    if (db_query_int(db, sql, &number, &error) != RESULT_OK)
        fail_msg("%s: %s", sql, error.text);
    return number;
}

static enum result migrate(size_t count)
{
    error.text[0] = '\0';
    return migrate_up(db, OURS, MIGRATIONS, count, &error);
}

static void assert_version(int version, int tables)
{
    assert_int_equal(ask("PRAGMA user_version"), version);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema"), tables);
    assert_false(db_in_transaction(db));
}

static void a_new_file_gets_every_migration_and_the_owner(UNUSED void **state)
{
    assert_ok(migrate(3));
    assert_version(3, 2);
    assert_int_equal(ask("PRAGMA application_id"), OURS);
    assert_int_equal(ask("SELECT count(*) FROM products"), 2);
}

static void a_file_that_is_up_to_date_stays_as_it_is(UNUSED void **state)
{
    assert_ok(migrate(3));
    int64_t changes = ask("SELECT total_changes()");
    int pages = db_wal_pages(db);
    assert_ok(migrate(3));
    assert_version(3, 2);
    assert_int_equal(ask("SELECT total_changes()"), changes);
    assert_int_equal(db_wal_pages(db), pages);
}

static void an_older_file_gets_only_what_it_lacks(UNUSED void **state)
{
    assert_ok(migrate(1));
    assert_version(1, 1);
    assert_ok(db_exec(db, "INSERT INTO products VALUES (7)", &error));
    assert_ok(migrate(3));
    assert_version(3, 2);
    assert_int_equal(ask("SELECT count(*) FROM products"), 3);
}

static void no_migrations_at_all_leave_a_new_file_alone(UNUSED void **state)
{
    assert_ok(migrate(0));
    assert_version(0, 0);
}

static void a_file_of_a_newer_version_is_refused_unchanged(UNUSED void **state)
{
    assert_ok(migrate(3));
    assert_int_equal(migrate(2), RESULT_UNSUPPORTED);
    assert_string_equal(error.text, "the file has schema version 3, this program knows 2");
    assert_version(3, 2);
    assert_int_equal(migrate(0), RESULT_UNSUPPORTED);
}

static void assert_foreign(void)
{
    int64_t owner = ask("PRAGMA application_id");
    int64_t version = ask("PRAGMA user_version");
    int64_t tables = ask("SELECT count(*) FROM sqlite_schema");
    assert_int_equal(migrate(3), RESULT_UNSUPPORTED);
    assert_contains(error.text, "the file belongs to another application");
    assert_int_equal(ask("PRAGMA application_id"), owner);
    assert_version((int)version, (int)tables);
}

static void a_file_of_another_application_is_refused_unchanged(UNUSED void **state)
{
    assert_ok(migrate_up(db, OTHERS, MIGRATIONS, 1, &error));
    assert_foreign();
    assert_contains(error.text, "(application_id 4711)");
}

static void a_file_of_nobody_is_ours_only_if_it_is_empty(UNUSED void **state)
{
    assert_ok(db_exec(db, "CREATE TABLE mine (n)", &error));
    assert_foreign();
    assert_ok(db_exec(db, "DROP TABLE mine; PRAGMA user_version = 1", &error));
    assert_foreign();
    assert_ok(db_exec(db, "PRAGMA user_version = 0; PRAGMA application_id = 4711", &error));
    assert_foreign();
    assert_ok(db_exec(db, "PRAGMA application_id = 0", &error));
    assert_ok(migrate(3));
}

static void a_negative_application_id_is_kept_like_any_other(UNUSED void **state)
{
    assert_ok(migrate_up(db, INT32_MIN, MIGRATIONS, 1, &error));
    assert_int_equal(ask("PRAGMA application_id"), INT32_MIN);
    assert_ok(migrate_up(db, INT32_MIN, MIGRATIONS, 3, &error));
    assert_version(3, 2);
}

/* Nobody but a damaged file has one; it must not pass for up to date. */
static void a_file_of_a_negative_version_is_refused(UNUSED void **state)
{
    assert_ok(migrate(1));
    assert_ok(db_exec(db, "PRAGMA user_version = -1", &error));
    assert_int_not_equal(migrate(3), RESULT_OK);
}

static void a_migration_that_fails_leaves_the_version_before_it(UNUSED void **state)
{
    static const struct migration FAILING[] = {
        {1, "good", "CREATE TABLE a (n);"},
        {2, "bad", "CREATE TABLE b (n); INSERT INTO nowhere VALUES (1);"},
        {3, "never", "CREATE TABLE c (n);"},
    };
    assert_int_equal(migrate_up(db, OURS, FAILING, 3, &error), RESULT_INTERNAL);
    assert_contains(error.text, "migration 2 (bad): ");
    assert_contains(error.text, "no such table: nowhere");
    assert_version(1, 1);
    assert_int_equal(ask("PRAGMA application_id"), OURS);
    assert_int_equal(migrate_up(db, OURS, FAILING, 3, NULL), RESULT_INTERNAL);
    assert_version(1, 1);
}

static void a_first_migration_that_fails_leaves_a_new_file(UNUSED void **state)
{
    static const struct migration FAILING[] = {
        {1, "bad", "CREATE TABLE a (n UNIQUE); INSERT INTO a VALUES (1), (1);"},
    };
    assert_int_equal(migrate_up(db, OURS, FAILING, 1, &error), RESULT_CONFLICT);
    assert_version(0, 0);
    assert_int_equal(ask("PRAGMA application_id"), 0);
    assert_ok(migrate(3));
}

static void a_migration_that_another_connection_keeps_out_fails_whole(UNUSED void **state)
{
    struct db *other = NULL;
    char path[FOLDER_PATH_SIZE];
    folder_file(&folder, "test.db", path);
    assert_ok(migrate(1));
    assert_ok(db_open(path, DB_WRITER, &other, &error));
    assert_ok(db_exec(other, "BEGIN IMMEDIATE", &error));
    enum result result = migrate(3);
    db_close(other);
    assert_int_equal(result, RESULT_BUSY);
    assert_version(1, 1);
    assert_ok(migrate(3));
}

static void a_migration_over_a_megabyte_is_refused(UNUSED void **state)
{
    enum { SIZE = (1 << 20) + 1 };
    char *sql = malloc(SIZE);
    assert_non_null(sql);
    memset(sql, ' ', SIZE - 1);
    sql[SIZE - 1] = '\0';
    const struct migration large[] = {{1, "large", sql}};
    enum result result = migrate_up(db, OURS, large, 1, &error);
    free(sql);
    assert_int_equal(result, RESULT_TOO_LARGE);
    assert_version(0, 0);
}

static void a_comment_at_the_end_of_a_migration_swallows_nothing(UNUSED void **state)
{
    static const struct migration COMMENTED[] = {{1, "x", "CREATE TABLE a (n); -- the end"}};
    assert_ok(migrate_up(db, OURS, COMMENTED, 1, &error));
    assert_version(1, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_gets_every_migration_and_the_owner),
        TEST(a_file_that_is_up_to_date_stays_as_it_is),
        TEST(an_older_file_gets_only_what_it_lacks),
        TEST(no_migrations_at_all_leave_a_new_file_alone),
        TEST(a_file_of_a_newer_version_is_refused_unchanged),
        TEST(a_file_of_another_application_is_refused_unchanged),
        TEST(a_file_of_nobody_is_ours_only_if_it_is_empty),
        TEST(a_negative_application_id_is_kept_like_any_other),
        TEST(a_file_of_a_negative_version_is_refused),
        TEST(a_migration_that_fails_leaves_the_version_before_it),
        TEST(a_first_migration_that_fails_leaves_a_new_file),
        TEST(a_migration_that_another_connection_keeps_out_fails_whole),
        TEST(a_migration_over_a_megabyte_is_refused),
        TEST(a_comment_at_the_end_of_a_migration_swallows_nothing),
    };
    return RUN_TESTS(argc, argv, tests);
}
