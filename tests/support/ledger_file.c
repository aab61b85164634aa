#include "tests/support/ledger_file.h"

#include <stdio.h>

#include "tests/support/unit.h"

#define SCHEMA "schema/bridge/0001_bridge.sql"
enum { SCHEMA_MAX = 16384 };

struct db *ledger_file_open(const struct folder *folder)
{
    char path[FOLDER_PATH_SIZE];
    struct db *db = NULL;
    folder_file(folder, "bridge.db", path);
    assert_ok(db_open(path, DB_SHARED, &db, NULL));
    return db;
}

void ledger_file_exec(const struct folder *folder, const char *sql)
{
    struct db *db = ledger_file_open(folder);
    assert_ok(db_exec(db, sql, NULL));
    db_close(db);
}

void ledger_file_create(const struct folder *folder)
{
    char schema[SCHEMA_MAX] = "";
    FILE *file = fopen(SCHEMA, "re");
    assert_non_null(file);
    size_t size = fread(schema, 1, sizeof schema - 1, file);
    assert_in_range(size, 1, sizeof schema - 2);
    fclose(file);
    ledger_file_exec(folder, schema);
    ledger_file_exec(folder, "PRAGMA user_version = 1");
}
