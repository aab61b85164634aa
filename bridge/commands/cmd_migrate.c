/* bridge migrate: brings head office's database up to date. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/adapters/pg.h"
#include "bridge/commands/commands.h"
#include "core/migrate.h"
#include "core/utf8.h"

enum { SCRIPT_MAX = 1 << 20, DEADLINE_MS = 300000 };

extern const struct migration SCHEMA_CENTRAL[];
extern const size_t SCHEMA_CENTRAL_count;

/* One at a time: the lock is the transaction's, so it works through a pooler too. The number is
 * "TILLBOX" read as a number, and means nothing else. */
static const char PREPARE[] = "BEGIN; SELECT pg_advisory_xact_lock(23711184911450200);"
                              "CREATE TABLE IF NOT EXISTS schema_migrations ("
                              "  number integer PRIMARY KEY, name text NOT NULL,"
                              "  applied_at timestamptz NOT NULL DEFAULT now()); COMMIT";

static enum delivery migrate_read_version(struct pg *pg, int64_t *ret_version, struct error *error)
{
    struct pg_rows *rows = NULL;
    enum delivery done =
        pg_run(pg, "SELECT coalesce(max(number), 0) FROM schema_migrations", 0, NULL, &rows, error);
    if (done == DELIVERY_DONE)
        *ret_version = pg_int(rows, 0, 0);
    pg_free_rows(rows);
    return done;
}

/* All of it in one transaction. Another migrator may have been first: then its row makes ours fail
 * whole, and nothing is applied twice. */
static enum delivery migrate_apply(struct pg *pg, const struct migration *migration,
                                   struct error *error)
{
    struct buf script;
    buf_init(&script, SCRIPT_MAX);
    buf_append_format(
        &script,
        "BEGIN; SELECT pg_advisory_xact_lock(23711184911450200);"
        "INSERT INTO schema_migrations (number, name) VALUES (%d, '%s');\n%s\n;COMMIT",
        migration->number, migration->name, migration->sql);
    enum delivery done = DELIVERY_DOWN;
    if (buf_result(&script) == RESULT_OK)
        done = pg_run_script(pg, buf_text(&script), error);
    buf_done(&script);
    return done;
}

static enum delivery migrate(struct pg *pg, struct error *error)
{
    int64_t version = 0;
    const int latest = SCHEMA_CENTRAL[SCHEMA_CENTRAL_count - 1].number;
    enum delivery done = pg_run_script(pg, PREPARE, error);
    if (done == DELIVERY_DONE)
        done = migrate_read_version(pg, &version, error);
    if (done == DELIVERY_DONE && version > latest) {
        error_write(error, "the database has schema version %lld, this program knows %d",
                    (long long)version, latest);
        return DELIVERY_STOP;
    }
    for (size_t i = 0; i < SCHEMA_CENTRAL_count && done == DELIVERY_DONE; i++) {
        if (SCHEMA_CENTRAL[i].number <= version)
            continue;
        done = migrate_apply(pg, &SCHEMA_CENTRAL[i], error);
        if (done == DELIVERY_DONE)
            printf("applied %04d %s\n", SCHEMA_CENTRAL[i].number, SCHEMA_CENTRAL[i].name);
    }
    if (done == DELIVERY_DONE)
        printf("the database is at schema version %d\n", latest);
    return done;
}

enum exit_code command_migrate(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct pg *pg = NULL;
    const struct pg_options options = {.url = settings->postgres_url,
                                       .password_file = settings->postgres_password_path,
                                       .application_name = "tillbox-migrate",
                                       .deadline_ms = DEADLINE_MS,
                                       .clock = &clock_system};
    if (!settings->postgres_url) {
        fprintf(stderr, "migrate: postgres_url isn't set\n");
        return EXIT_USAGE;
    }
    enum delivery done = pg_connect(&options, &pg, &error);
    if (done == DELIVERY_DONE)
        done = migrate(pg, &error);
    pg_close(pg);
    if (done == DELIVERY_DONE)
        return EXIT_DONE;
    utf8_print_line(stderr, "migrate: %s", error.text);
    return EXIT_FAILED;
}
