#include "core/migrate.h"

#include <stdio.h>

#include "core/buf.h"
#include "core/db.h"

enum { SCRIPT_MAX = 1 << 20 };

static enum result check_owner(struct db *db, int32_t application_id, int64_t version,
                               struct error *error)
{
    int64_t owner = 0, tables = 0;
    enum result result = db_query_int(db, "PRAGMA application_id", &owner, error);
    if (result == RESULT_OK)
        result = db_query_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (result != RESULT_OK)
        return result;
    bool is_new = owner == 0 && version == 0 && tables == 0;
    if (owner != application_id && !is_new)
        return error_set(error, RESULT_UNSUPPORTED,
                         "the file belongs to another application (application_id %lld)",
                         (long long)owner);
    return RESULT_OK;
}

static enum result migrate_own_apply(struct db *db, int32_t application_id,
                                     const struct migration *migration, struct error *error)
{
    struct buf script;
    buf_init(&script, SCRIPT_MAX);
    buf_append_format(
        &script, "BEGIN IMMEDIATE;\n%s\nPRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
        migration->sql, application_id, migration->number);
    enum result result = buf_result(&script);
    struct error cause = {0};
    if (result == RESULT_OK)
        result = db_exec(db, buf_text(&script), &cause);
    buf_done(&script);
    if (result != RESULT_OK) {
        if (db_in_transaction(db) && db_exec(db, "ROLLBACK", NULL) != RESULT_OK)
            return error_set(error, RESULT_INTERNAL, "migration %d can't be undone",
                             migration->number);
        return error_set(error, result, "migration %d (%s): %s", migration->number, migration->name,
                         cause.text);
    }
    return RESULT_OK;
}

enum result migrate_up(struct db *db, int32_t application_id, const struct migration *migrations,
                       size_t count, struct error *error)
{
    int64_t version = 0;
    enum result result = db_query_int(db, "PRAGMA user_version", &version, error);
    if (result == RESULT_OK)
        result = check_owner(db, application_id, version, error);
    if (result == RESULT_OK && (version < 0 || version > (int64_t)count))
        return error_set(error, RESULT_UNSUPPORTED,
                         "the file has schema version %lld, this program knows %zu",
                         (long long)version, count);
    for (size_t i = (size_t)version; i < count && result == RESULT_OK; i++)
        result = migrate_own_apply(db, application_id, &migrations[i], error);
    return result;
}
