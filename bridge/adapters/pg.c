#include "bridge/adapters/pg.h"

#include <assert.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/adapters/addresses.h"
#include "core/config/secret.h"

enum { NUMBER_SIZE = 12 };

#define DEFAULT_PORT "5432"

struct pg {
    struct pg_options options;
    PGconn *connection;
    bool lost; /* there is no use in waiting for anything more */
    char sqlstate[PG_SQLSTATE_SIZE];
};

/* What comes later wins over the URL. A pooler in transaction mode refuses most start-up options,
 * so everything else of a session is set in each transaction: SETTINGS. */
static const char *const KEYWORDS[] = {"dbname",
                                       "password",
                                       "application_name",
                                       "client_encoding",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "tcp_user_timeout",
                                       "host",
                                       "hostaddr",
                                       "port",
                                       NULL};

/* libpq's messages end with a newline, and some go on with hints. */
static void write_first_line(struct error *error, const char *what, const char *message)
{
    error_write(error, "%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

static enum delivery fail_down(const struct pg *pg, const char *what, struct error *error)
{
    write_first_line(error, what, PQerrorMessage(pg->connection));
    return DELIVERY_DOWN;
}

/* Waits until the socket can be read or written; false after a whole deadline of silence, or when
 * it is time to break off. A slow line that moves is no broken one. */
static bool wait_for_socket(const struct pg *pg, short events, int64_t timeout_ms)
{
    struct pollfd ends[] = {
        {.fd = PQsocket(pg->connection), .events = events},
        {.fd = pg->options.break_off ? pg->options.break_off->descriptor : -1, .events = POLLIN}};
    return poll(ends, ARRAY_LENGTH(ends), (int)timeout_ms) > 0 && ends[1].revents == 0;
}

static enum delivery finish_connecting(const struct pg *pg, int64_t until_ms, struct error *error)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (PQstatus(pg->connection) == CONNECTION_BAD)
        return fail_down(pg, "connecting", error);
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        int64_t left_ms = until_ms - clock_monotonic_ms(pg->options.clock);
        if (left_ms <= 0 ||
            !wait_for_socket(pg, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, left_ms)) {
            error_write(error, "connecting: no answer in time");
            return DELIVERY_DOWN;
        }
        status = PQconnectPoll(pg->connection);
    }
    if (status != PGRES_POLLING_OK)
        return fail_down(pg, "connecting", error);
    PQsetnonblocking(pg->connection, 1);
    return DELIVERY_DONE;
}

/* The server's notices would go to standard error, in the middle of the log. */
static void drop_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789,")] == '\0';
}

/* Is this part what it should be, and not a piece of a password that wasn't percent-encoded? */
static bool pg_is_sound(const PQconninfoOption *part)
{
    if (!part->val)
        return true;
    if (strcmp(part->keyword, "port") == 0)
        return is_number(part->val);
    return strcmp(part->keyword, "host") != 0 || !strchr(part->val, '@');
}

/* What the URL says of where the server is; lists, separated by commas. */
struct pg_url {
    const char *host, *address, *port;
};

/* libpq's own words about a URL that it can't read, or reads wrongly, quote it, password and all.
 * The parts are released with PQconninfoFree(), and the URL's texts with them. */
static PQconninfoOption *read_url(const char *text, struct pg_url *ret_url, struct error *error)
{
    char *ignored = NULL;
    PQconninfoOption *parts = PQconninfoParse(text, &ignored);
    struct pg_url url = {"", "", ""};
    bool sound = parts != NULL;
    for (PQconninfoOption *part = parts; part && part->keyword; part++) {
        sound = sound && pg_is_sound(part);
        if (part->val && strcmp(part->keyword, "host") == 0)
            url.host = part->val;
        if (part->val && strcmp(part->keyword, "hostaddr") == 0)
            url.address = part->val;
        if (part->val && strcmp(part->keyword, "port") == 0)
            url.port = part->val;
    }
    PQfreemem(ignored);
    *ret_url = url;
    if (sound)
        return parts;
    PQconninfoFree(parts);
    error_write(error, "postgres_url can't be read; special characters in its user or password "
                       "must be percent-encoded");
    return NULL;
}

/* Every address of every host, in the URL's order. */
static enum result pg_list_places(const struct pg_url *url, struct places *places,
                                  struct error *error)
{
    const char *list = url->host[0] ? url->host : url->address;
    size_t count = places_count_items(list);
    *places = (struct places){0};
    for (size_t i = 0; i < count; i++) {
        struct place place = {0};
        places_copy_item(url->host, i, place.host, sizeof place.host);
        places_copy_item(url->address, i, place.address, sizeof place.address);
        places_copy_item(url->port, i, place.port, sizeof place.port);
        bool is_socket = place.host[0] == '/' || place.host[0] == '@' || place.host[0] == '\0';
        if (place.address[0] || is_socket)
            places_add_as_is(places, i, place.host, place.address, place.port);
        else if (places_add(places, i, place.host, place.port, error) != RESULT_OK)
            continue; /* another host may be known */
    }
    return places->count > 0 ? RESULT_OK : RESULT_UNREACHABLE;
}

static enum delivery connect_to(struct pg *pg, const struct place *place, const char *password,
                                int64_t until_ms, struct error *error)
{
    const char *const values[] = {pg->options.url,
                                  password,
                                  pg->options.application_name,
                                  "UTF8",
                                  "10",
                                  "5",
                                  "3",
                                  "15000",
                                  place->host,
                                  place->address,
                                  place->port[0] ? place->port : DEFAULT_PORT,
                                  NULL};
    PQfinish(pg->connection);
    pg->connection = PQconnectStartParams(KEYWORDS, values, 1);
    PQsetNoticeReceiver(pg->connection, drop_notice, NULL); /* a server that ends may say so now */
    return pg->connection ? finish_connecting(pg, until_ms, error)
                          : fail_down(pg, "connecting", error);
}

/* libpq leaves a silent address only when its caller does. */
static enum delivery connect_to_any(struct pg *pg, const struct places *places, struct error *error)
{
    const struct pg_options *options = &pg->options;
    CLEANUP(secret_forget) char *password = NULL;
    if (options->password_file &&
        secret_read(options->password_file, error, &password) != RESULT_OK)
        return DELIVERY_DOWN;
    int64_t until_ms = clock_monotonic_ms(options->clock) + options->deadline_ms;
    enum delivery done = DELIVERY_DOWN;
    for (size_t i = 0; i < places->count && done != DELIVERY_DONE; i++) {
        int64_t now_ms = clock_monotonic_ms(options->clock);
        int64_t share_ms = places_share_ms(places, i, until_ms - now_ms);
        if (options->break_off && latch_is_raised(options->break_off))
            break;
        done = connect_to(pg, &places->items[i], password, now_ms + share_ms, error);
        if (done != DELIVERY_DONE)
            places_name_cause(places, i, error);
    }
    return done;
}

static enum delivery start_connecting(struct pg *pg, struct error *error)
{
    struct pg_url url;
    struct places places;
    PQconninfoOption *parts = read_url(pg->options.url, &url, error);
    if (!parts)
        return DELIVERY_DOWN;
    enum result result = pg_list_places(&url, &places, error);
    PQconninfoFree(parts);
    return result == RESULT_OK ? connect_to_any(pg, &places, error) : DELIVERY_DOWN;
}

enum delivery pg_connect(const struct pg_options *options, struct pg **ret_pg, struct error *error)
{
    struct pg *pg = calloc(1, sizeof *pg);
    if (!pg) {
        error_write(error, "out of memory");
        return DELIVERY_DOWN;
    }
    pg->options = *options;
    enum delivery done = start_connecting(pg, error);
    if (done != DELIVERY_DONE) {
        pg_close(pg);
        return done;
    }
    secret_warn_file(options->password_file);
    *ret_pg = pg;
    return DELIVERY_DONE;
}

void pg_close(struct pg *pg)
{
    if (!pg)
        return;
    PQfinish(pg->connection);
    free(pg);
}

static bool flush_query(const struct pg *pg)
{
    int left;
    while ((left = PQflush(pg->connection)) > 0) {
        if (!wait_for_socket(pg, POLLIN | POLLOUT, pg->options.deadline_ms) ||
            !PQconsumeInput(pg->connection))
            return false;
    }
    return left == 0;
}

/* The next result; NULL with *ret_lost when the peer doesn't answer in time. */
static PGresult *next_result(const struct pg *pg, bool *ret_lost)
{
    while (PQisBusy(pg->connection)) {
        if (!wait_for_socket(pg, POLLIN, pg->options.deadline_ms) ||
            !PQconsumeInput(pg->connection)) {
            *ret_lost = true;
            return NULL;
        }
    }
    return PQgetResult(pg->connection);
}

/* 40: the transaction must be run again; 22, 23: the data will never do (PostgreSQL, appendix A).
 */
static enum delivery pg_judge(const char *sqlstate)
{
    if (strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0)
        return DELIVERY_TRANSIENT;
    if (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0)
        return DELIVERY_REFUSED;
    return DELIVERY_DOWN;
}

static enum delivery judge_result(struct pg *pg, const PGresult *result, struct error *error)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return DELIVERY_DONE;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(pg->sqlstate, sizeof pg->sqlstate, "%s", sqlstate ? sqlstate : "");
    write_first_line(error, pg->sqlstate, PQresultErrorMessage(result));
    return pg_judge(pg->sqlstate);
}

static enum delivery fail_lost(struct pg *pg, struct error *error)
{
    pg->lost = true;
    error_write(error, "the connection was lost or gave no answer in time");
    return DELIVERY_DOWN;
}

/* Reads every result of what was sent; keeps the last that has rows. */
static enum delivery read_results(struct pg *pg, PGresult **ret_rows, struct error *error)
{
    enum delivery done = DELIVERY_DONE;
    PGresult *result;
    bool lost = false;
    while (!lost && (result = next_result(pg, &lost)) != NULL) {
        if (done == DELIVERY_DONE)
            done = judge_result(pg, result, error);
        if (done == DELIVERY_DONE && ret_rows && PQresultStatus(result) == PGRES_TUPLES_OK) {
            PQclear(*ret_rows);
            *ret_rows = result;
        } else {
            PQclear(result);
        }
    }
    pg->lost = pg->lost || lost;
    return lost && done == DELIVERY_DONE ? fail_lost(pg, error) : done;
}

/* Two statements in one round trip, which makes them one transaction: the first sets what the
 * second relies on, whatever database, role or pooler say, and the limit that the server holds it
 * to. All of it ends with the transaction. */
static bool send_limited(struct pg *pg, const char *sql, int count, const char *const values[])
{
    static const char SETTINGS[] =
        "SELECT set_config('statement_timeout', $1, true), set_config('synchronous_commit', 'on', "
        "true),"
        " set_config('search_path', 'public', true), set_config('datestyle', 'ISO', true),"
        " set_config('standard_conforming_strings', 'on', true)";
    char limit[NUMBER_SIZE];
    snprintf(limit, sizeof limit, "%d", PG_STATEMENT_LIMIT_MS);
    const char *const limits[] = {limit};
    return PQenterPipelineMode(pg->connection) &&
           PQsendQueryParams(pg->connection, SETTINGS, 1, NULL, limits, NULL, NULL, 0) &&
           PQsendQueryParams(pg->connection, sql, count, NULL, values, NULL, NULL, 0) &&
           PQpipelineSync(pg->connection);
}

/* What follows the two statements' own results: the server is ready for more. */
static enum delivery read_sync(struct pg *pg, struct error *error)
{
    bool lost = false;
    PGresult *sync = next_result(pg, &lost);
    bool in_step = !lost && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    return in_step && PQexitPipelineMode(pg->connection) ? DELIVERY_DONE : fail_lost(pg, error);
}

enum delivery pg_run(struct pg *pg, const char *sql, size_t count, const char *const values[],
                     struct pg_rows **ret_rows, struct error *error)
{
    PGresult *rows = NULL;
    struct error unused = {0};
    assert(count <= PG_PARAMETERS_MAX);
    pg->sqlstate[0] = '\0';
    if (!send_limited(pg, sql, (int)count, values))
        return fail_down(pg, "sending", error);
    if (!flush_query(pg))
        return fail_lost(pg, error);
    enum delivery done = read_results(pg, NULL, error);
    if (done == DELIVERY_DONE)
        done = read_results(pg, &rows, error);
    else if (!pg->lost) /* only says that it wasn't run */
        (void)!read_results(pg, NULL, &unused);
    if (!pg->lost && read_sync(pg, done == DELIVERY_DONE ? error : &unused) != DELIVERY_DONE)
        done = DELIVERY_DOWN;
    if (done == DELIVERY_DONE && ret_rows)
        *ret_rows = (struct pg_rows *)rows;
    else
        PQclear(rows);
    return done;
}

enum delivery pg_run_script(struct pg *pg, const char *sql, struct error *error)
{
    pg->sqlstate[0] = '\0';
    if (!PQsendQuery(pg->connection, sql))
        return fail_down(pg, "sending", error);
    return flush_query(pg) ? read_results(pg, NULL, error) : fail_lost(pg, error);
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

bool pg_is_alive(struct pg *pg)
{
    return PQconsumeInput(pg->connection) && PQstatus(pg->connection) == CONNECTION_OK;
}

/* `struct pg_rows` is libpq's result under a name of our own. */
static const PGresult *pg_result_of(const struct pg_rows *rows)
{
    return (const PGresult *)rows;
}

size_t pg_row_count(const struct pg_rows *rows)
{
    return rows ? (size_t)PQntuples(pg_result_of(rows)) : 0;
}

const char *pg_text(const struct pg_rows *rows, size_t row, int column)
{
    return PQgetvalue(pg_result_of(rows), (int)row, column);
}

bool pg_is_null(const struct pg_rows *rows, size_t row, int column)
{
    return PQgetisnull(pg_result_of(rows), (int)row, column) != 0;
}

int64_t pg_int(const struct pg_rows *rows, size_t row, int column)
{
    return strtoll(pg_text(rows, row, column), NULL, 10);
}

void pg_free_rows(struct pg_rows *rows)
{
    PQclear((PGresult *)rows);
}
