#include "bridge/relay/delivery_state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/db.h"
#include "core/migrate.h"

/* "TILC": whose file it is. */
static const int32_t APPLICATION_ID = 0x54494C43;

enum { PATH_SIZE = 4096, NOT_ASKED = -1 };

extern const struct migration SCHEMA_BRIDGE[];
extern const size_t SCHEMA_BRIDGE_count;

#define PARKED_COLUMNS                                                                      \
    "sink, sequence, event_id, event_type, coalesce(order_id, 0), state, reason, attempts," \
    " dead_lettered, parked_at_ms, coalesce(settled_at_ms, 0), settled_reason"

#define DELIVERY_STATE_STATEMENTS(X)                                                               \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(INSERT_SINK, "INSERT INTO sinks (name, journal_id, start_sequence, cursor, cursor_hash, "    \
                   "delivered, state,"                                                             \
                   " breaker) VALUES (?1, ?2, ?3, ?3, ?4, 0, 'starting', 'closed')")               \
    X(FIND_SINK, "SELECT journal_id, start_sequence, cursor, delivered, state, breaker,"           \
                 " coalesce(last_delivered_at_ms, 0), coalesce(last_error_at_ms, 0), last_error,"  \
                 " (SELECT count(*) FROM parked WHERE sink = ?1 AND sequence <= cursor),"          \
                 " (SELECT count(*) FROM parked WHERE sink = ?1 AND sequence <= cursor"            \
                 "  AND state IN ('refused', 'held')), cursor_hash"                                \
                 " FROM sinks WHERE name = ?1")                                                    \
    X(SETTLE,                                                                                      \
      "UPDATE sinks SET cursor = ?2, delivered = delivered + ?3, last_delivered_at_ms ="           \
      " CASE WHEN ?3 > 0 THEN ?4 ELSE last_delivered_at_ms END, cursor_hash = ?5 WHERE name = ?1") \
    X(INSERT_PARKED, "INSERT INTO parked (sink, sequence, event_id, event_type, order_id, state,"  \
                     " reason, attempts, dead_lettered, parked_at_ms)"                             \
                     " VALUES (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, ?7, ?8, ?10, ?9)"                \
                     " ON CONFLICT DO NOTHING")                                                    \
    X(FORGET_DELIVERED, "DELETE FROM parked WHERE sink = ?1 AND sequence > ?2"                     \
                        " AND state = 'delivered'")                                                \
    X(REOPEN,                                                                                      \
      "UPDATE parked SET state = 'refused', dead_lettered = 1, settled_at_ms = NULL,"              \
      " settled_reason = NULL, reason = 'head office was restored: it may lack this replay'"       \
      " WHERE sink = ?1 AND sequence <= ?2 AND state = 'delivered' AND"                            \
      " (SELECT count(*) FROM parked p, sinks s WHERE p.sink = ?1 AND s.name = ?1"                 \
      "  AND p.sequence > ?2 AND p.sequence <= s.cursor)"                                          \
      " < (SELECT cursor FROM sinks WHERE name = ?1) - ?2")                                        \
    X(REWIND, "UPDATE sinks SET cursor = ?2, delivered = ?2 - start_sequence -"                    \
              " (SELECT count(*) FROM parked WHERE sink = ?1 AND sequence <= ?2), cursor_hash = "  \
              "?3 WHERE name = ?1")                                                                \
    X(NOTE_STATE, "UPDATE sinks SET state = ?2, breaker = ?3, last_error = coalesce(?4,"           \
                  " last_error), last_error_at_ms = CASE WHEN ?4 IS NULL THEN last_error_at_ms"    \
                  " ELSE ?5 END WHERE name = ?1")                                                  \
    X(EACH_PARKED, "SELECT " PARKED_COLUMNS " FROM parked"                                         \
                   " WHERE sink = coalesce(?1, sink) AND event_id = coalesce(?2, event_id)"        \
                   " AND event_type = coalesce(?3, event_type)"                                    \
                   " AND (?4 = 0 OR order_id = ?4) AND sequence > ?5"                              \
                   " AND (NOT ?6 OR state IN ('refused', 'held'))"                                 \
                   " ORDER BY sequence, sink")                                                     \
    X(FIND_DEAD_LETTER, "SELECT " PARKED_COLUMNS " FROM parked WHERE state = 'refused'"            \
                        " AND dead_lettered = 0 ORDER BY sequence, sink LIMIT 1")                  \
    X(HAS_PARKED, "SELECT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND sequence > ?2)"         \
                  " OR EXISTS (SELECT 1 FROM parked WHERE sink = ?1"                               \
                  " AND state IN ('refused', 'held'))")                                            \
    X(HAS_ROW, "SELECT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND sequence = ?2)")           \
    X(IS_BLOCKED, "SELECT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND sequence = ?2)"         \
                  " OR EXISTS (SELECT 1 FROM parked WHERE sink = ?1"                               \
                  " AND order_id = nullif(?3, 0) AND sequence < ?2"                                \
                  " AND state IN ('refused', 'held'))")                                            \
    X(IS_PARKED, "SELECT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND sequence = ?2"           \
                 " AND state <> 'delivered')")                                                     \
    X(HAS_OPEN_BEFORE, "SELECT EXISTS (SELECT 1 FROM parked WHERE sink = ?1 AND sequence < ?2"     \
                       " AND order_id = ?3 AND state IN ('refused', 'held'))")                     \
    X(SETTLE_PARKED, "UPDATE parked SET state = ?3, settled_reason = ?4, settled_at_ms = ?5"       \
                     " WHERE sink = ?1 AND sequence = ?2 AND state IN ('refused', 'held')")        \
    X(NOTE_DEAD_LETTERED, "UPDATE parked SET dead_lettered = 1 WHERE sink = ?1 AND sequence = ?2")

enum delivery_state_statement {
#define X(name, sql) DELIVERY_STATE_##name,
    DELIVERY_STATE_STATEMENTS(X)
#undef X
        DELIVERY_STATE_STATEMENT_COUNT
};

static const char *const STATEMENTS[] = {
#define X(name, sql) [DELIVERY_STATE_##name] = (sql),
    DELIVERY_STATE_STATEMENTS(X)
#undef X
};

struct delivery_state {
    const struct clock *clock;
    pthread_mutex_t lock;
    struct db *db;
    struct statement *statements[DELIVERY_STATE_STATEMENT_COUNT];
};

static const char *const SINK_STATES[] = {[SINK_STARTING] = "starting",
                                          [SINK_RUNNING] = "running",
                                          [SINK_DOWN] = "down",
                                          [SINK_STOPPED] = "stopped"};
static const char *const PARKED_STATES[] = {[PARKED_REFUSED] = "refused",
                                            [PARKED_HELD] = "held",
                                            [PARKED_DELIVERED] = "delivered",
                                            [PARKED_DISCARDED] = "discarded"};

const char *sink_state_text(enum sink_state state)
{
    return SINK_STATES[state];
}

const char *parked_state_text(enum parked_state state)
{
    return PARKED_STATES[state];
}

/* The index of a word in a table whose words the schema's CHECK allows, and no others. */
static int index_of(const char *word, const char *const words[], int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return 0;
}

enum result delivery_state_open(const char *bridge_dir, const struct clock *clock,
                                struct delivery_state **ret_deliveries, struct error *error)
{
    char path[PATH_SIZE];
    struct delivery_state *deliveries = calloc(1, sizeof *deliveries);
    if (!deliveries)
        return RESULT_NO_MEMORY;
    deliveries->clock = clock;
    pthread_mutex_init(&deliveries->lock, NULL);
    snprintf(path, sizeof path, "%s/bridge.db", bridge_dir);
    enum result result = db_open(path, DB_SHARED, &deliveries->db, error);
    if (result == RESULT_OK)
        result =
            migrate_up(deliveries->db, APPLICATION_ID, SCHEMA_BRIDGE, SCHEMA_BRIDGE_count, error);
    for (int i = 0; i < DELIVERY_STATE_STATEMENT_COUNT && result == RESULT_OK; i++)
        result =
            statement_prepare(deliveries->db, STATEMENTS[i], &deliveries->statements[i], error);
    if (result != RESULT_OK) {
        delivery_state_close(deliveries);
        return result;
    }
    *ret_deliveries = deliveries;
    return RESULT_OK;
}

void delivery_state_close(struct delivery_state *deliveries)
{
    if (!deliveries)
        return;
    for (int i = 0; i < DELIVERY_STATE_STATEMENT_COUNT; i++)
        statement_free(deliveries->statements[i]);
    db_close(deliveries->db);
    pthread_mutex_destroy(&deliveries->lock);
    free(deliveries);
}

static void bind_word(struct statement *statement, int index, const char *text)
{
    if (text)
        statement_bind_text(statement, index, text, strlen(text));
    else
        statement_bind_null(statement, index);
}

/* A statement of the deliveries's, with its first parameter bound to the sink's name. */
static struct statement *statement_for(struct delivery_state *deliveries,
                                       enum delivery_state_statement which, const char *sink)
{
    struct statement *statement = deliveries->statements[which];
    bind_word(statement, 1, sink);
    return statement;
}

static enum result begin(struct delivery_state *deliveries, struct error *error)
{
    pthread_mutex_lock(&deliveries->lock);
    enum result result = statement_run(deliveries->statements[DELIVERY_STATE_BEGIN], error);
    if (result != RESULT_OK)
        pthread_mutex_unlock(&deliveries->lock);
    return result;
}

/* Commits if all went well, else takes everything back. */
static enum result delivery_state_end(struct delivery_state *deliveries, enum result result,
                                      struct error *error)
{
    if (result == RESULT_OK)
        result = statement_run(deliveries->statements[DELIVERY_STATE_COMMIT], error);
    if (db_in_transaction(deliveries->db) &&
        statement_run(deliveries->statements[DELIVERY_STATE_ROLLBACK], NULL) != RESULT_OK)
        abort();
    pthread_mutex_unlock(&deliveries->lock);
    return result;
}

static void delivery_state_read_sink(struct statement *row, struct delivery_state_sink *ret_sink)
{
    snprintf(ret_sink->journal_id, sizeof ret_sink->journal_id, "%s", statement_text(row, 0));
    ret_sink->start_sequence = statement_int(row, 1);
    ret_sink->cursor = statement_int(row, 2);
    ret_sink->delivered = statement_int(row, 3);
    ret_sink->state =
        (enum sink_state)index_of(statement_text(row, 4), SINK_STATES, ARRAY_LENGTH(SINK_STATES));
    for (int i = BREAKER_CLOSED; i <= BREAKER_HALF_OPEN; i++)
        if (strcmp(statement_text(row, 5), breaker_state_text((enum breaker_state)i)) == 0)
            ret_sink->breaker = (enum breaker_state)i;
    ret_sink->last_delivered_at_ms = statement_int(row, 6);
    ret_sink->last_error_at_ms = statement_int(row, 7);
    snprintf(ret_sink->last_error, sizeof ret_sink->last_error, "%s", statement_text(row, 8));
    ret_sink->parked = statement_int(row, 9);
    ret_sink->parked_open = statement_int(row, 10);
    memcpy(ret_sink->cursor_hash, statement_blob(row, 11), sizeof ret_sink->cursor_hash);
}

static enum result find_sink(struct delivery_state *deliveries, const char *sink,
                             struct delivery_state_sink *ret_sink, struct error *error)
{
    struct statement *select = statement_for(deliveries, DELIVERY_STATE_FIND_SINK, sink);
    bool row = false;
    enum result result = statement_step(select, &row, error);
    if (result == RESULT_OK && !row)
        return RESULT_NOT_FOUND;
    if (result != RESULT_OK)
        return result;
    *ret_sink = (struct delivery_state_sink){0};
    snprintf(ret_sink->name, sizeof ret_sink->name, "%s", sink);
    delivery_state_read_sink(select, ret_sink);
    statement_reset(select);
    return RESULT_OK;
}

enum result delivery_state_find_sink(struct delivery_state *deliveries, const char *sink,
                                     struct delivery_state_sink *ret_sink, struct error *error)
{
    pthread_mutex_lock(&deliveries->lock);
    enum result result = find_sink(deliveries, sink, ret_sink, error);
    pthread_mutex_unlock(&deliveries->lock);
    return result;
}

static enum result insert_sink(struct delivery_state *deliveries, const char *sink,
                               const char *journal_id, int64_t start_sequence, const uint8_t *hash,
                               struct error *error)
{
    struct statement *insert = statement_for(deliveries, DELIVERY_STATE_INSERT_SINK, sink);
    bind_word(insert, 2, journal_id);
    statement_bind_int(insert, 3, start_sequence);
    statement_bind_blob(insert, 4, hash, SHA256_SIZE);
    return statement_run(insert, error);
}

enum result delivery_state_attach(struct delivery_state *deliveries, const char *sink,
                                  const char *journal_id, int64_t start_sequence,
                                  const uint8_t hash[static SHA256_SIZE], struct error *error)
{
    struct delivery_state_sink found;
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    result = find_sink(deliveries, sink, &found, error);
    if (result == RESULT_NOT_FOUND)
        result = insert_sink(deliveries, sink, journal_id, start_sequence, hash, error);
    else if (result == RESULT_OK && strcmp(found.journal_id, journal_id) != 0)
        result = error_set(error, RESULT_CONFLICT,
                           "bridge.db belongs to journal %s, this one is %s: the box's files have "
                           "been mixed up",
                           found.journal_id, journal_id);
    return delivery_state_end(deliveries, result, error);
}

/* Runs a statement that answers a question about an event, and its order unless that is NOT_ASKED,
 * with 0 or 1. */
static enum result ask_locked(struct delivery_state *deliveries,
                              enum delivery_state_statement question, const char *sink,
                              int64_t sequence, int64_t order_id, bool *ret_yes,
                              struct error *error)
{
    bool row = false;
    struct statement *select = statement_for(deliveries, question, sink);
    statement_bind_int(select, 2, sequence);
    if (order_id != NOT_ASKED)
        statement_bind_int(select, 3, order_id);
    enum result result = statement_step(select, &row, error);
    if (result == RESULT_OK)
        *ret_yes = row && statement_int(select, 0) == 1;
    statement_reset(select);
    return result;
}

/* A row is held behind another: one that is held behind nothing would never be sent. */
static enum result check_held(struct delivery_state *deliveries, const char *sink,
                              const struct parked *parked, struct error *error)
{
    bool there = false, behind = false;
    enum result result = ask_locked(deliveries, DELIVERY_STATE_HAS_ROW, sink, parked->sequence,
                                    NOT_ASKED, &there, error);
    if (result == RESULT_OK && !there)
        result = ask_locked(deliveries, DELIVERY_STATE_HAS_OPEN_BEFORE, sink, parked->sequence,
                            parked->order_id, &behind, error);
    if (result != RESULT_OK || there || behind)
        return result;
    return error_set(error, RESULT_CONFLICT, "event %lld has nothing to be held behind",
                     (long long)parked->sequence);
}

static enum result insert_parked(struct delivery_state *deliveries, const char *sink,
                                 const struct parked *parked, struct error *error)
{
    enum result result =
        parked->state == PARKED_HELD ? check_held(deliveries, sink, parked, error) : RESULT_OK;
    if (result != RESULT_OK)
        return result;
    struct statement *insert = statement_for(deliveries, DELIVERY_STATE_INSERT_PARKED, sink);
    statement_bind_int(insert, 2, parked->sequence);
    bind_word(insert, 3, parked->event_id);
    bind_word(insert, 4, parked->event_type);
    statement_bind_int(insert, 5, parked->order_id);
    bind_word(insert, 6, PARKED_STATES[parked->state]);
    bind_word(insert, 7, parked->reason);
    statement_bind_int(insert, 8, parked->attempts);
    statement_bind_int(insert, 9, clock_wall_ms(deliveries->clock));
    statement_bind_int(insert, 10, parked->dead_lettered);
    return statement_run(insert, error);
}

enum result delivery_state_settle(struct delivery_state *deliveries, const char *sink,
                                  const struct delivery_state_place *cursor, int64_t delivered,
                                  const struct parked *parked, size_t count, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    struct statement *update = statement_for(deliveries, DELIVERY_STATE_SETTLE, sink);
    statement_bind_int(update, 2, cursor->sequence);
    statement_bind_int(update, 3, delivered);
    statement_bind_int(update, 4, clock_wall_ms(deliveries->clock));
    statement_bind_blob(update, 5, cursor->hash, SHA256_SIZE);
    result = statement_run(update, error);
    for (size_t i = 0; i < count && result == RESULT_OK; i++)
        result = insert_parked(deliveries, sink, &parked[i], error);
    return delivery_state_end(deliveries, result, error);
}

enum result delivery_state_park(struct delivery_state *deliveries, const char *sink,
                                const struct parked *parked, size_t count, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    for (size_t i = 0; i < count && result == RESULT_OK; i++)
        result = insert_parked(deliveries, sink, &parked[i], error);
    return delivery_state_end(deliveries, result, error);
}

enum result delivery_state_rewind(struct delivery_state *deliveries, const char *sink,
                                  const struct delivery_state_place *cursor, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    struct statement *reopen = statement_for(deliveries, DELIVERY_STATE_REOPEN, sink);
    statement_bind_int(reopen, 2, cursor->sequence);
    result = statement_run(reopen, error);
    struct statement *forget = statement_for(deliveries, DELIVERY_STATE_FORGET_DELIVERED, sink);
    statement_bind_int(forget, 2, cursor->sequence);
    if (result == RESULT_OK)
        result = statement_run(forget, error);
    struct statement *update = statement_for(deliveries, DELIVERY_STATE_REWIND, sink);
    statement_bind_int(update, 2, cursor->sequence);
    statement_bind_blob(update, 3, cursor->hash, SHA256_SIZE);
    if (result == RESULT_OK)
        result = statement_run(update, error);
    return delivery_state_end(deliveries, result, error);
}

enum result delivery_state_note_state(struct delivery_state *deliveries, const char *sink,
                                      enum sink_state state, enum breaker_state breaker,
                                      const char *reason, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    struct statement *update = statement_for(deliveries, DELIVERY_STATE_NOTE_STATE, sink);
    bind_word(update, 2, SINK_STATES[state]);
    bind_word(update, 3, breaker_state_text(breaker));
    bind_word(update, 4, reason);
    statement_bind_int(update, 5, clock_wall_ms(deliveries->clock));
    result = statement_run(update, error);
    return delivery_state_end(deliveries, result, error);
}

static void delivery_state_read_parked(struct statement *row, struct parked *ret_parked)
{
    *ret_parked = (struct parked){0};
    snprintf(ret_parked->sink, sizeof ret_parked->sink, "%s", statement_text(row, 0));
    ret_parked->sequence = statement_int(row, 1);
    snprintf(ret_parked->event_id, sizeof ret_parked->event_id, "%s", statement_text(row, 2));
    snprintf(ret_parked->event_type, sizeof ret_parked->event_type, "%s", statement_text(row, 3));
    ret_parked->order_id = statement_int(row, 4);
    ret_parked->state = (enum parked_state)index_of(statement_text(row, 5), PARKED_STATES,
                                                    ARRAY_LENGTH(PARKED_STATES));
    snprintf(ret_parked->reason, sizeof ret_parked->reason, "%s", statement_text(row, 6));
    ret_parked->attempts = (int)statement_int(row, 7);
    ret_parked->dead_lettered = statement_int(row, 8) == 1;
    ret_parked->parked_at_ms = statement_int(row, 9);
    ret_parked->settled_at_ms = statement_int(row, 10);
    snprintf(ret_parked->settled_reason, sizeof ret_parked->settled_reason, "%s",
             statement_text(row, 11));
}

enum result delivery_state_each_parked(struct delivery_state *deliveries,
                                       const struct parked_filter *filter,
                                       void (*each)(void *context, const struct parked *parked),
                                       void *context, struct error *error)
{
    bool row = true;
    struct parked parked;
    pthread_mutex_lock(&deliveries->lock);
    struct statement *select = statement_for(deliveries, DELIVERY_STATE_EACH_PARKED, filter->sink);
    bind_word(select, 2, filter->event_id);
    bind_word(select, 3, filter->event_type);
    statement_bind_int(select, 4, filter->order_id);
    statement_bind_int(select, 5, filter->after);
    statement_bind_int(select, 6, filter->only_open);
    enum result result = statement_step(select, &row, error);
    while (result == RESULT_OK && row) {
        delivery_state_read_parked(select, &parked);
        each(context, &parked);
        result = statement_step(select, &row, error);
    }
    pthread_mutex_unlock(&deliveries->lock);
    return result;
}

static enum result delivery_state_ask(struct delivery_state *deliveries,
                                      enum delivery_state_statement question, const char *sink,
                                      int64_t sequence, int64_t order_id, bool *ret_yes,
                                      struct error *error)
{
    pthread_mutex_lock(&deliveries->lock);
    enum result result = ask_locked(deliveries, question, sink, sequence, order_id, ret_yes, error);
    pthread_mutex_unlock(&deliveries->lock);
    return result;
}

enum result delivery_state_find_dead_letter(struct delivery_state *deliveries,
                                            struct parked *ret_parked, struct error *error)
{
    bool row = false;
    pthread_mutex_lock(&deliveries->lock);
    struct statement *select = deliveries->statements[DELIVERY_STATE_FIND_DEAD_LETTER];
    enum result result = statement_step(select, &row, error);
    if (result == RESULT_OK && row)
        delivery_state_read_parked(select, ret_parked);
    statement_reset(select);
    pthread_mutex_unlock(&deliveries->lock);
    return result == RESULT_OK && !row ? RESULT_NOT_FOUND : result;
}

enum result delivery_state_has_parked(struct delivery_state *deliveries, const char *sink,
                                      int64_t after, bool *ret_any, struct error *error)
{
    return delivery_state_ask(deliveries, DELIVERY_STATE_HAS_PARKED, sink, after, NOT_ASKED,
                              ret_any, error);
}

enum result delivery_state_is_parked(struct delivery_state *deliveries, const char *sink,
                                     int64_t sequence, bool *ret_parked, struct error *error)
{
    return delivery_state_ask(deliveries, DELIVERY_STATE_IS_PARKED, sink, sequence, NOT_ASKED,
                              ret_parked, error);
}

enum result delivery_state_is_blocked(struct delivery_state *deliveries, const char *sink,
                                      int64_t sequence, int64_t order_id, bool *ret_blocked,
                                      struct error *error)
{
    return delivery_state_ask(deliveries, DELIVERY_STATE_IS_BLOCKED, sink, sequence, order_id,
                              ret_blocked, error);
}

enum result delivery_state_has_open_before(struct delivery_state *deliveries, const char *sink,
                                           int64_t sequence, int64_t order_id, bool *ret_open,
                                           struct error *error)
{
    return delivery_state_ask(deliveries, DELIVERY_STATE_HAS_OPEN_BEFORE, sink, sequence, order_id,
                              ret_open, error);
}

static enum result update_one(struct delivery_state *deliveries, struct statement *update,
                              struct error *error)
{
    enum result result = statement_run(update, error);
    return result == RESULT_OK && db_changes(deliveries->db) == 0 ? RESULT_NOT_FOUND : result;
}

enum result delivery_state_settle_parked(struct delivery_state *deliveries, const char *sink,
                                         int64_t sequence, enum parked_state state,
                                         const char *reason, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    struct statement *update = statement_for(deliveries, DELIVERY_STATE_SETTLE_PARKED, sink);
    statement_bind_int(update, 2, sequence);
    bind_word(update, 3, PARKED_STATES[state]);
    bind_word(update, 4, reason);
    statement_bind_int(update, 5, clock_wall_ms(deliveries->clock));
    result = update_one(deliveries, update, error);
    return delivery_state_end(deliveries, result, error);
}

enum result delivery_state_note_dead_lettered(struct delivery_state *deliveries, const char *sink,
                                              int64_t sequence, struct error *error)
{
    enum result result = begin(deliveries, error);
    if (result != RESULT_OK)
        return result;
    struct statement *update = statement_for(deliveries, DELIVERY_STATE_NOTE_DEAD_LETTERED, sink);
    statement_bind_int(update, 2, sequence);
    result = update_one(deliveries, update, error);
    return delivery_state_end(deliveries, result, error);
}
