/* The sink over a fake adapter: this program has pg_run() and its like from below, so that the
 * database is a few arrays, and says what a test wants it to. */
#include "bridge/relay/sink_postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/relay/missing_events.h"
#include "core/json.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/unit.h"

enum { EVENTS = 12, CALLS_MAX = 200 };

struct pg {
    char sqlstate[PG_SQLSTATE_SIZE];
};

struct pg_rows {
    const char *cells[3];
    size_t count;
};

/* What the database holds, and how it behaves. */
static struct {
    int stored[EVENTS + 1]; /* how often, by sequence */
    int64_t cursor;         /* of the device */
    bool knows_device, is_of_other_journal, is_alive;
    const char *rejects[EVENTS + 1]; /* the SQLSTATE that an event gives; NULL: none */
    int down_at, transient_times;    /* the n-th call; how many calls */
    bool is_answer_lost;             /* … which does its work all the same */
    int calls, connections;
} database;

static struct pg connection;
static struct fixture fixture;
static struct journal_reader *journal;
static struct journal_info info;
static struct sink sink;
static struct journal_page page;
static size_t indexes[EVENTS];
static enum delivery outcomes[EVENTS];

enum delivery pg_connect(UNUSED const struct pg_options *options, struct pg **ret_pg,
                         UNUSED struct error *error)
{
    database.connections++;
    connection.sqlstate[0] = '\0';
    *ret_pg = &connection;
    return DELIVERY_DONE;
}

void pg_close(UNUSED struct pg *pg)
{
}

bool pg_is_alive(UNUSED struct pg *pg)
{
    return database.is_alive;
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

static enum delivery fail_with(const char *sqlstate, enum delivery done, struct error *error)
{
    snprintf(connection.sqlstate, sizeof connection.sqlstate, "%s", sqlstate);
    error_write(error, "the database says %s", sqlstate);
    return done;
}

/* All of the array or nothing. */
static enum delivery store(const char *array, struct error *error)
{
    struct json *events = NULL;
    assert_ok(json_parse(array, strlen(array), &events, NULL));
    const char *sqlstate = NULL;
    int64_t sequence = 0;
    for (const struct json *event = json_first(events); event; event = json_next(event)) {
        assert_ok(json_integer(json_member(event, "sequence"), &sequence));
        if (!sqlstate)
            sqlstate = database.rejects[sequence];
    }
    for (const struct json *event = json_first(events); event && !sqlstate;
         event = json_next(event)) {
        assert_ok(json_integer(json_member(event, "sequence"), &sequence));
        database.stored[sequence]++;
    }
    json_free(events);
    if (!sqlstate)
        return DELIVERY_DONE;
    bool is_data = strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
    return fail_with(sqlstate, is_data ? DELIVERY_REFUSED : DELIVERY_DOWN, error);
}

static enum delivery take_events(const char *const values[], struct error *error)
{
    if (database.is_of_other_journal)
        return fail_with("TB002", DELIVERY_DOWN, error);
    if (strtoll(values[3], NULL, 10) != database.cursor)
        return fail_with("TB001", DELIVERY_DOWN, error);
    enum delivery done = store(values[6], error);
    if (done == DELIVERY_DONE)
        database.cursor = strtoll(values[4], NULL, 10);
    return done;
}

enum delivery pg_run(UNUSED struct pg *pg, const char *sql, UNUSED size_t count,
                     const char *const values[], struct pg_rows **ret_rows, struct error *error)
{
    static struct pg_rows rows;
    static char cursor[32], head[SHA256_TEXT_SIZE + 2];
    int call = ++database.calls;
    assert_in_range(call, 1, CALLS_MAX);
    if (database.down_at == call && !database.is_answer_lost)
        return fail_with("", DELIVERY_DOWN, error);
    if (database.transient_times > 0 && database.transient_times-- > 0)
        return fail_with("40001", DELIVERY_TRANSIENT, error);
    enum delivery done = DELIVERY_DONE;
    if (strstr(sql, "SELECT journal_id")) {
        snprintf(cursor, sizeof cursor, "%" PRId64, database.cursor);
        uint8_t hash[SHA256_SIZE];
        assert_ok(journal_reader_hash(journal, database.cursor, hash, NULL));
        snprintf(head, sizeof head, "\\x");
        sha256_format(hash, head + 2);
        rows = (struct pg_rows){{info.journal_id, cursor, head}, database.knows_device ? 1 : 0};
        *ret_rows = &rows;
    } else if (strstr(sql, "INSERT INTO devices")) {
        database.knows_device = true;
        database.cursor = strtoll(values[3], NULL, 10);
    } else if (strstr(sql, "tillbox_take_events")) {
        done = take_events(values, error);
    } else {
        assert_non_null(strstr(sql, "tillbox_store_events"));
        done = store(values[1], error);
    }
    return database.down_at == call ? fail_with("", DELIVERY_DOWN, error) : done;
}

size_t pg_row_count(const struct pg_rows *rows)
{
    return rows->count;
}

const char *pg_text(const struct pg_rows *rows, UNUSED size_t row, int column)
{
    return rows->cells[column];
}

int64_t pg_int(const struct pg_rows *rows, size_t row, int column)
{
    return strtoll(pg_text(rows, row, column), NULL, 10);
}

bool pg_is_null(UNUSED const struct pg_rows *rows, UNUSED size_t row, UNUSED int column)
{
    return false;
}

void pg_free_rows(UNUSED struct pg_rows *rows)
{
}

enum delivery missing_events_find(UNUSED struct journal_reader *reader, UNUSED struct pg *pg,
                                  UNUSED int64_t after, UNUSED int64_t through,
                                  UNUSED void (*missing)(void *context,
                                                         const struct journal_event *event),
                                  UNUSED void *context, UNUSED struct error *error)
{
    return DELIVERY_DONE;
}

/* A product and its sales, an order each. */
static void sell(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 50, 250)), 201);
    for (int i = 1; i < EVENTS; i++)
        assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
}

static void begin(void)
{
    static const struct pg_options OPTIONS = {
        .url = "", .deadline_ms = 1000, .clock = &fixture.clock.clock};
    memset(&database, 0, sizeof database);
    database.is_alive = true;
    for (size_t i = 0; i < EVENTS; i++) {
        indexes[i] = i;
        outcomes[i] = DELIVERY_PENDING;
    }
    assert_ok(sink_postgres_new(&OPTIONS, &fixture.random.source, &sink));
}

static void begin_again(void)
{
    sink.ops->free(sink.self);
    begin();
}

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    sell();
    assert_ok(journal_reader_open(fixture.folder.path, &journal, NULL));
    assert_ok(journal_reader_info(journal, &info, NULL));
    assert_ok(journal_page_init(&page, EVENTS, 1 << 20));
    assert_ok(journal_reader_page(journal, 0, INT64_MAX, &page, NULL));
    assert_int_equal(page.count, EVENTS);
    begin();
    return 0;
}

static int tear_down(UNUSED void **state)
{
    sink.ops->free(sink.self);
    journal_page_done(&page);
    journal_reader_close(journal);
    fixture_done(&fixture);
    return 0;
}

static enum delivery attach(struct error *error)
{
    int64_t cursor = 0;
    return sink.ops->attach(sink.self, journal, &info, &cursor, error);
}

static struct delivery_report deliver(void)
{
    const struct journal_event *last = &page.events[EVENTS - 1];
    const struct batch batch = {.page = &page,
                                .indexes = indexes,
                                .count = EVENTS,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = outcomes};
    struct delivery_report report;
    sink.ops->deliver(sink.self, &batch, &report);
    return report;
}

/* D, R, H, or '.' for an event that was not dealt with. */
static void assert_outcomes(const char *word)
{
    for (size_t i = 0; i < EVENTS; i++) {
        char letter = outcomes[i] == DELIVERY_DONE      ? 'D'
                      : outcomes[i] == DELIVERY_REFUSED ? 'R'
                      : outcomes[i] == DELIVERY_HELD    ? 'H'
                                                        : '.';
        if (letter != word[i])
            fail_msg("event %zu is %c, not %c", i + 1, letter, word[i]);
    }
}

static void a_batch_is_one_statement_and_moves_the_cursor(UNUSED void **state)
{
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    int calls = database.calls;
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("DDDDDDDDDDDD");
    assert_int_equal(database.calls, calls + 1);
    assert_int_equal(database.cursor, EVENTS);
}

/* Whatever its code: the others get through, and the cursor stays before it. */
static void one_event_that_is_rejected_stands_alone(UNUSED void **state)
{
    static const char *const STATES[] = {"23514", "22P05", "P0001", "42501", "XX001"};
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        begin_again();
        database.rejects[5] = STATES[i];
        assert_int_equal(attach(NULL), DELIVERY_DONE);
        struct delivery_report report = deliver();
        assert_int_equal(report.verdict, DELIVERY_DONE);
        assert_outcomes("DDDDRDDDDDDD");
        assert_contains(report.refusal.text, STATES[i]);
        assert_int_equal(database.cursor, 4);
        for (int sequence = 1; sequence <= EVENTS; sequence++)
            assert_int_equal(database.stored[sequence], sequence != 5);
    }
}

static void what_is_about_the_server_is_an_outage(UNUSED void **state)
{
    static const char *const STATES[] = {"08006", "25006", "28000", "53300", "55P03",
                                         "57014", "57P01", "58030", "3D000"};
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        begin_again();
        database.rejects[5] = STATES[i];
        assert_int_equal(attach(NULL), DELIVERY_DONE);
        assert_int_equal(deliver().verdict, DELIVERY_DOWN);
        assert_outcomes("............");
    }
}

static void later_events_of_its_order_are_not_offered(UNUSED void **state)
{
    database.rejects[3] = "23514";
    page.events[6].order_id = page.events[9].order_id = page.events[2].order_id;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("DDRDDDHDDHDD");
    assert_int_equal(database.stored[7] + database.stored[10], 0);
}

/* As it would for every event of a year. */
static void what_rejects_all_is_left_after_a_few(UNUSED void **state)
{
    for (int sequence = 1; sequence <= EVENTS; sequence++)
        database.rejects[sequence] = "P0001";
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("RRRR........");
}

static void at_the_end_the_cursor_goes_over_what_was_parked(UNUSED void **state)
{
    database.rejects[EVENTS] = "23514";
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_int_equal(database.cursor, EVENTS - 1);
    assert_int_equal(sink.ops->idle(sink.self, NULL), DELIVERY_DONE);
    assert_int_equal(database.cursor, EVENTS);
    int calls = database.calls;
    assert_int_equal(sink.ops->idle(sink.self, NULL), DELIVERY_DONE);
    assert_int_equal(database.calls, calls);
}

static void a_serialization_failure_is_tried_again(UNUSED void **state)
{
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    database.transient_times = 2;
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("DDDDDDDDDDDD");
    database.transient_times = 100;
    assert_int_equal(sink.ops->idle(sink.self, NULL), DELIVERY_DONE);
}

static void another_journal_stops_the_sink(UNUSED void **state)
{
    struct error error = {0};
    database.is_of_other_journal = true;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    assert_int_equal(deliver().verdict, DELIVERY_STOP);
    (void)error;
}

/* Each call in turn, and its answer: the sink is attached anew, and all arrive. */
static void a_call_that_fails_costs_no_event(UNUSED void **state)
{
    for (int lost = 0; lost <= 1; lost++)
        for (int nth = 1; nth <= 12; nth++) {
            begin_again();
            database.rejects[7] = "23514";
            database.down_at = nth;
            database.is_answer_lost = lost == 1;
            for (int tries = 0; tries < 4; tries++) {
                if (attach(NULL) != DELIVERY_DONE) {
                    sink.ops->detach(sink.self);
                    continue;
                }
                for (size_t i = 0; i < EVENTS; i++)
                    outcomes[i] = DELIVERY_PENDING;
                if (deliver().verdict == DELIVERY_DONE)
                    break;
                sink.ops->detach(sink.self);
            }
            assert_outcomes("DDDDDDRDDDDD");
            for (int sequence = 1; sequence <= EVENTS; sequence++)
                assert_int_equal(database.stored[sequence] > 0, sequence != 7);
        }
}

static void a_connection_that_is_gone_is_noticed_when_idle(UNUSED void **state)
{
    struct error error = {0};
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    database.is_alive = false;
    assert_int_equal(sink.ops->idle(sink.self, &error), DELIVERY_DOWN);
    assert_string_equal(error.text, "the connection was lost");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_batch_is_one_statement_and_moves_the_cursor),
        TEST(one_event_that_is_rejected_stands_alone),
        TEST(what_is_about_the_server_is_an_outage),
        TEST(later_events_of_its_order_are_not_offered),
        TEST(what_rejects_all_is_left_after_a_few),
        TEST(at_the_end_the_cursor_goes_over_what_was_parked),
        TEST(a_serialization_failure_is_tried_again),
        TEST(another_journal_stops_the_sink),
        TEST(a_call_that_fails_costs_no_event),
        TEST(a_connection_that_is_gone_is_noticed_when_idle),
    };
    return RUN_TESTS(argc, argv, tests);
}
