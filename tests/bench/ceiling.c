/* The ceiling that the appliance is measured against: group commit over HTTP with the statements of
 * a sale, and nothing else. No JSON, no validation, no hashing, no log line per order; whatever the
 * appliance loses against this program is the price of what it does besides.
 *
 *   ceiling --port PORT --data-dir DIR [--schema FILE] [--preload ORDERS]
 *   ceiling --port PORT --no-commit
 *
 * It listens on 127.0.0.1 and answers 201 to every request once its commit is flushed; with
 * --no-commit it answers at once and shows what the load generator and the HTTP library alone could
 * do. DIR must not hold a ceiling.db yet. SIGTERM or SIGINT stops it. Exits with 1 after a failure,
 * 2 on bad usage. */
#include <arpa/inet.h>
#include <getopt.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/attributes.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/result.h"

enum {
    CONNECTIONS_MOST = 1024,
    CHECKPOINT_FRAMES = 1000,
    PRELOAD_BATCH = 10000,
    SCHEMA_SIZE_MOST = 1 << 20,
    PATH_SIZE = 4096,
    HASH_SIZE = 32,
};

static const char DEFAULT_SCHEMA[] = "schema/journal/0001_journal.sql";

static const char PRAGMAS[] = "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA cache_size = -4096;"
                              "PRAGMA wal_autocheckpoint = 0;"
                              "PRAGMA journal_size_limit = 67108864;";

static const char PRODUCT[] = "INSERT INTO products (product_name, stock, price, updated_at_ms)"
                              " VALUES ('ceiling', 1000000000, 0, 0)";

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVEPOINT,
    STATEMENT_FIND_PRODUCT,
    STATEMENT_MOVE_STOCK,
    STATEMENT_ADD_ORDER,
    STATEMENT_ADD_EVENT,
    STATEMENT_RELEASE,
    STATEMENT_COUNT,
};

static const char *const STATEMENTS[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVEPOINT] = "SAVEPOINT command",
    [STATEMENT_FIND_PRODUCT] = "SELECT price, stock FROM products WHERE product_id = 1",
    [STATEMENT_MOVE_STOCK] =
        "UPDATE products SET stock = ?, updated_at_ms = ? WHERE product_id = 1",
    [STATEMENT_ADD_ORDER] =
        "INSERT INTO orders (user_id, items, total, created_at_ms) VALUES (1, ?, 0, ?)",
    [STATEMENT_ADD_EVENT] = "INSERT INTO events (sequence, payload, hash) VALUES (?, ?, ?)",
    [STATEMENT_RELEASE] = "RELEASE command",
};

static const char ITEMS[] = "[{\"product_id\":1,\"quantity\":1,\"unit_price\":0}]";

/* As long as the envelope of a sale with one line. */
static const char PAYLOAD[] =
    "{\"event_id\":\"0190a5d2-0000-7000-8000-000000000000\",\"event_type\":\"order.created\","
    "\"event_version\":\"v1\",\"device_id\":\"box-0123456789ab\","
    "\"journal_id\":\"0190a5d2-1111-7111-8111-111111111111\",\"location\":\"box-0123456789ab\","
    "\"sequence\":1000001,\"occurred_at\":\"2026-01-31T09:05:00.250Z\",\"data\":{"
    "\"order_id\":1000000,\"user_id\":1,\"status\":\"created\","
    "\"items\":[{\"product_id\":1,\"quantity\":1,\"unit_price\":0}],\"total\":0}}";

/* As long as the appliance's answer to such a sale. */
static const char ANSWER[] =
    "{\"id\":1000000,\"user_id\":1,\"product_id\":1,\"quantity\":1,\"status\":\"created\","
    "\"items\":[{\"product_id\":1,\"quantity\":1,\"unit_price\":0}],\"total\":0,"
    "\"created_at\":\"2026-01-31T09:05:00.250Z\"}";

struct options {
    uint16_t port;
    long preload_count;
    const char *data_dir;
    const char *schema;
    bool no_commit;
};

struct ledger {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    int64_t last_sequence;
    int wal_frames;
};

struct request {
    struct MHD_Connection *connection;
    struct request *next;
    unsigned status; /* 0 until it is decided */
};

struct ceiling {
    struct ledger ledger;
    struct MHD_Response *answer;
    bool no_commit;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct request *waiting; /* newest first; guarded by lock, like `closed` */
    bool closed;
};

static enum result ledger_fail(struct ledger *ledger, const char *doing, struct error *error)
{
    return error_set(error, RESULT_IO, "can't %s: %s", doing, sqlite3_errmsg(ledger->database));
}

static enum result ledger_run(struct ledger *ledger, enum statement which, struct error *error)
{
    sqlite3_stmt *statement = ledger->statements[which];
    sqlite3_step(statement);
    if (sqlite3_reset(statement) != SQLITE_OK)
        return ledger_fail(ledger, STATEMENTS[which], error);
    return RESULT_OK;
}

static enum result ledger_find_stock(struct ledger *ledger, int64_t *ret_stock, struct error *error)
{
    sqlite3_stmt *find = ledger->statements[STATEMENT_FIND_PRODUCT];
    if (sqlite3_step(find) != SQLITE_ROW)
        return ledger_fail(ledger, "find the product", error);
    *ret_stock = sqlite3_column_int64(find, 1);
    sqlite3_reset(find);
    return RESULT_OK;
}

static void ledger_bind_sale(struct ledger *ledger, int64_t stock)
{
    static const unsigned char hash[HASH_SIZE] = {0};
    int64_t now_ms = clock_wall_ms(&clock_system);
    sqlite3_stmt *move = ledger->statements[STATEMENT_MOVE_STOCK];
    sqlite3_bind_int64(move, 1, stock);
    sqlite3_bind_int64(move, 2, now_ms);
    sqlite3_stmt *order = ledger->statements[STATEMENT_ADD_ORDER];
    sqlite3_bind_text(order, 1, ITEMS, sizeof ITEMS - 1, SQLITE_STATIC);
    sqlite3_bind_int64(order, 2, now_ms);
    sqlite3_stmt *event = ledger->statements[STATEMENT_ADD_EVENT];
    sqlite3_bind_int64(event, 1, ledger->last_sequence);
    sqlite3_bind_text(event, 2, PAYLOAD, sizeof PAYLOAD - 1, SQLITE_STATIC);
    sqlite3_bind_blob(event, 3, hash, sizeof hash, SQLITE_STATIC);
}

static enum result ledger_sell(struct ledger *ledger, struct error *error)
{
    static const enum statement steps[] = {STATEMENT_MOVE_STOCK, STATEMENT_ADD_ORDER,
                                           STATEMENT_ADD_EVENT, STATEMENT_RELEASE};
    int64_t stock = 0;
    enum result result = ledger_run(ledger, STATEMENT_SAVEPOINT, error);
    if (result == RESULT_OK)
        result = ledger_find_stock(ledger, &stock, error);
    if (result != RESULT_OK)
        return result;
    ledger->last_sequence++;
    ledger_bind_sale(ledger, stock - 1);
    for (size_t i = 0; i < ARRAY_LENGTH(steps) && result == RESULT_OK; i++)
        result = ledger_run(ledger, steps[i], error);
    return result;
}

/* One transaction of `count` sales: all of them, or none. */
static enum result ledger_commit_sales(struct ledger *ledger, long count, struct error *error)
{
    int64_t last_sequence = ledger->last_sequence;
    enum result result = ledger_run(ledger, STATEMENT_BEGIN, error);
    if (result != RESULT_OK)
        return result;
    for (long i = 0; i < count && result == RESULT_OK; i++)
        result = ledger_sell(ledger, error);
    if (result == RESULT_OK)
        result = ledger_run(ledger, STATEMENT_COMMIT, error);
    if (result != RESULT_OK) {
        struct error ignored = {0};
        if (ledger_run(ledger, STATEMENT_ROLLBACK, &ignored) == RESULT_OK)
            ledger->last_sequence = last_sequence;
    }
    return result;
}

static enum result ledger_checkpoint(struct ledger *ledger, struct error *error)
{
    if (ledger->wal_frames <= CHECKPOINT_FRAMES)
        return RESULT_OK;
    int code =
        sqlite3_wal_checkpoint_v2(ledger->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    ledger->wal_frames = 0;
    return code == SQLITE_OK ? RESULT_OK : ledger_fail(ledger, "checkpoint", error);
}

static int ledger_note_frames(void *context, UNUSED sqlite3 *database, UNUSED const char *name,
                              int frames)
{
    struct ledger *ledger = context;
    ledger->wal_frames = frames;
    return SQLITE_OK;
}

static enum result ledger_execute(struct ledger *ledger, const char *sql, struct error *error)
{
    if (sqlite3_exec(ledger->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        return ledger_fail(ledger, "prepare the journal", error);
    return RESULT_OK;
}

static enum result schema_read(const char *path, struct buf *schema, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set_errno(error, RESULT_IO, "can't read %s", path);
    char part[4096];
    size_t size;
    while ((size = fread(part, 1, sizeof part, file)) > 0)
        buf_append(schema, part, size);
    (void)fclose(file);
    return buf_result(schema);
}

static enum result ledger_create_tables(struct ledger *ledger, const char *schema_path,
                                        struct error *error)
{
    CLEANUP(buf_done) struct buf schema;
    buf_init(&schema, SCHEMA_SIZE_MOST);
    enum result result = ledger_execute(ledger, PRAGMAS, error);
    if (result == RESULT_OK)
        result = schema_read(schema_path, &schema, error);
    if (result == RESULT_OK)
        result = ledger_execute(ledger, buf_text(&schema), error);
    if (result == RESULT_OK)
        result = ledger_execute(ledger, PRODUCT, error);
    return result;
}

static enum result ledger_prepare(struct ledger *ledger, struct error *error)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(ledger->database, STATEMENTS[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &ledger->statements[i], NULL) != SQLITE_OK)
            return ledger_fail(ledger, STATEMENTS[i], error);
    return RESULT_OK;
}

static enum result ledger_preload(struct ledger *ledger, long count, struct error *error)
{
    enum result result = RESULT_OK;
    while (count > 0 && result == RESULT_OK) {
        long batch = count < PRELOAD_BATCH ? count : PRELOAD_BATCH;
        result = ledger_commit_sales(ledger, batch, error);
        if (result == RESULT_OK)
            result = ledger_checkpoint(ledger, error);
        count -= batch;
    }
    return result;
}

/* What was opened is closed by ledger_close, also after a failure. */
static enum result ledger_open(struct ledger *ledger, const struct options *options,
                               struct error *error)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/ceiling.db", options->data_dir);
    if (access(path, F_OK) == 0)
        return error_set(error, RESULT_CONFLICT, "%s is there already", path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &ledger->database, flags, NULL) != SQLITE_OK)
        return ledger_fail(ledger, "open the journal", error);
    enum result result = ledger_create_tables(ledger, options->schema, error);
    if (result == RESULT_OK)
        result = ledger_prepare(ledger, error);
    if (result != RESULT_OK)
        return result;
    sqlite3_wal_hook(ledger->database, ledger_note_frames, ledger);
    return ledger_preload(ledger, options->preload_count, error);
}

static void ledger_close(struct ledger *ledger)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(ledger->statements[i]);
    sqlite3_close(ledger->database);
}

/* Hands the request to the committer; false once that takes no more. */
static bool request_enqueue(struct ceiling *ceiling, struct request *request)
{
    pthread_mutex_lock(&ceiling->lock);
    bool taken = !ceiling->closed;
    if (taken) {
        MHD_suspend_connection(request->connection);
        request->next = ceiling->waiting;
        ceiling->waiting = request;
        pthread_cond_signal(&ceiling->arrived);
    }
    pthread_mutex_unlock(&ceiling->lock);
    return taken;
}

static enum MHD_Result request_start(struct MHD_Connection *connection, void **ret_request)
{
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return MHD_NO;
    request->connection = connection;
    *ret_request = request;
    return MHD_YES;
}

static enum MHD_Result request_handle(void *context, struct MHD_Connection *connection,
                                      UNUSED const char *url, UNUSED const char *method,
                                      UNUSED const char *version, UNUSED const char *upload,
                                      size_t *upload_size, void **slot)
{
    struct ceiling *ceiling = context;
    struct request *request = *slot;
    if (request == NULL)
        return request_start(connection, slot);
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (ceiling->no_commit)
        request->status = MHD_HTTP_CREATED;
    else if (request->status == 0 && request_enqueue(ceiling, request))
        return MHD_YES;
    unsigned status = request->status == 0 ? MHD_HTTP_SERVICE_UNAVAILABLE : request->status;
    return MHD_queue_response(connection, status, ceiling->answer);
}

static void request_completed(UNUSED void *context, UNUSED struct MHD_Connection *connection,
                              void **slot, UNUSED enum MHD_RequestTerminationCode code)
{
    free(*slot);
}

/* Waits for requests; NULL once the committer is closed and all are answered. */
static struct request *batch_take(struct ceiling *ceiling)
{
    pthread_mutex_lock(&ceiling->lock);
    while (ceiling->waiting == NULL && !ceiling->closed)
        pthread_cond_wait(&ceiling->arrived, &ceiling->lock);
    struct request *batch = ceiling->waiting;
    ceiling->waiting = NULL;
    pthread_mutex_unlock(&ceiling->lock);
    return batch;
}

static long batch_count(const struct request *batch)
{
    long count = 0;
    for (; batch != NULL; batch = batch->next)
        count++;
    return count;
}

static void batch_answer(struct request *batch, unsigned status)
{
    while (batch != NULL) {
        /* resumed, the request may be freed at any moment */
        struct request *next = batch->next;
        batch->status = status;
        MHD_resume_connection(batch->connection);
        batch = next;
    }
}

static void *committer_main(void *context)
{
    struct ceiling *ceiling = context;
    struct error error = {0};
    struct request *batch;
    while ((batch = batch_take(ceiling)) != NULL) {
        enum result result = ledger_commit_sales(&ceiling->ledger, batch_count(batch), &error);
        batch_answer(batch, result == RESULT_OK ? MHD_HTTP_CREATED : MHD_HTTP_INSUFFICIENT_STORAGE);
        if (result == RESULT_OK)
            result = ledger_checkpoint(&ceiling->ledger, &error);
        if (result != RESULT_OK)
            LOG(LOG_ERROR, "ceiling.commit_failed", LOG_TEXT("cause", error.text));
    }
    return NULL;
}

static struct MHD_Daemon *http_start(struct ceiling *ceiling, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, port, NULL,
                            NULL, request_handle, ceiling, MHD_OPTION_SOCK_ADDR, &address,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
                            MHD_OPTION_NOTIFY_COMPLETED, request_completed, NULL, MHD_OPTION_END);
}

static void committer_close(struct ceiling *ceiling)
{
    pthread_mutex_lock(&ceiling->lock);
    ceiling->closed = true;
    pthread_cond_signal(&ceiling->arrived);
    pthread_mutex_unlock(&ceiling->lock);
}

/* Serves until one of `stop_signals`, which are blocked, arrives. */
static enum result ceiling_serve(struct ceiling *ceiling, uint16_t port,
                                 const sigset_t *stop_signals, struct error *error)
{
    pthread_t committer;
    if (pthread_create(&committer, NULL, committer_main, ceiling) != 0)
        return error_set(error, RESULT_NO_MEMORY, "can't start the committer");
    struct MHD_Daemon *http = http_start(ceiling, port);
    int signal_number = 0;
    if (http != NULL)
        sigwait(stop_signals, &signal_number);
    committer_close(ceiling);
    pthread_join(committer, NULL);
    if (http == NULL)
        return error_set(error, RESULT_IO, "can't listen on port %u", (unsigned)port);
    MHD_stop_daemon(http);
    return RESULT_OK;
}

static enum result answer_create(struct MHD_Response **ret_answer, struct error *error)
{
    char body[sizeof ANSWER];
    memcpy(body, ANSWER, sizeof body);
    struct MHD_Response *answer =
        MHD_create_response_from_buffer(sizeof body - 1, body, MHD_RESPMEM_MUST_COPY);
    if (answer == NULL)
        return error_set(error, RESULT_NO_MEMORY, "can't create the answer");
    MHD_add_response_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    MHD_add_response_header(answer, MHD_HTTP_HEADER_LOCATION, "/orders/1000000");
    *ret_answer = answer;
    return RESULT_OK;
}

static enum result ceiling_run(const struct options *options, struct error *error)
{
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    struct ceiling ceiling = {.no_commit = options->no_commit,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .arrived = PTHREAD_COND_INITIALIZER};
    enum result result = answer_create(&ceiling.answer, error);
    if (result != RESULT_OK)
        return result;
    if (!options->no_commit)
        result = ledger_open(&ceiling.ledger, options, error);
    if (result == RESULT_OK)
        result = ceiling_serve(&ceiling, options->port, &stop_signals, error);
    ledger_close(&ceiling.ledger);
    MHD_destroy_response(ceiling.answer);
    return result;
}

static bool options_parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},   {"data-dir", required_argument, NULL, 'd'},
        {"schema", required_argument, NULL, 's'}, {"preload", required_argument, NULL, 'l'},
        {"no-commit", no_argument, NULL, 'n'},    {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'p')
            options->port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (option == 'd')
            options->data_dir = optarg;
        else if (option == 's')
            options->schema = optarg;
        else if (option == 'l')
            options->preload_count = strtol(optarg, NULL, 10);
        else if (option == 'n')
            options->no_commit = true;
        else
            return false;
    }
    bool has_place = options->no_commit || options->data_dir != NULL;
    return optind == argc && options->port != 0 && has_place;
}

int main(int argc, char **argv)
{
    log_start("ceiling", LOG_INFO);
    struct options options = {.schema = DEFAULT_SCHEMA};
    if (!options_parse(argc, argv, &options)) {
        fprintf(stderr, "usage: ceiling --port PORT (--data-dir DIR [--schema FILE]"
                        " [--preload ORDERS] | --no-commit)\n");
        return 2;
    }
    struct error error = {0};
    if (ceiling_run(&options, &error) != RESULT_OK) {
        fprintf(stderr, "ceiling: %s\n", error.text);
        return 1;
    }
    return 0;
}
