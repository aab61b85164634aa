#include "core/journal/chain.h"

#include <stdio.h>
#include <string.h>

#include "core/journal/event.h"

enum { CHAIN_PAGE = 1000 };

struct walk {
    struct statement *page; /* a page of events after a sequence */
    struct sha256 *hasher;
    char journal_id[UUID_TEXT_SIZE];
    int64_t sequence; /* of the last event that was good */
    uint8_t hash[SHA256_SIZE];
    struct chain_report report;
};

static const char PAGE_SQL[] = "SELECT sequence, payload, hash, CASE WHEN json_valid(payload) THEN "
                               "payload ->> '$.sequence' END,"
                               " CASE WHEN json_valid(payload) THEN payload ->> '$.journal_id' END"
                               " FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";

/* Where the check starts: after the event before the tail, or after the anchor. */
static const char START_SQL[] =
    "SELECT e.sequence, e.hash, m.journal_id FROM events e, meta m"
    " WHERE ?1 > 0 AND e.sequence = (SELECT max(sequence) FROM events) - ?1"
    " AND e.sequence > m.chain_anchor_sequence"
    " UNION ALL SELECT chain_anchor_sequence, chain_anchor_hash, journal_id FROM meta LIMIT 1";

static void find_bad(struct walk *walk, int64_t sequence, const char *reason)
{
    walk->report.bad_sequence = sequence;
    snprintf(walk->report.reason, sizeof walk->report.reason, "%s", reason);
}

static enum result find_start(struct db *journal, struct walk *walk, int64_t tail,
                              struct error *error)
{
    struct statement *start = NULL;
    bool row = false;
    enum result result = statement_prepare(journal, START_SQL, &start, error);
    if (result == RESULT_OK) {
        statement_bind_int(start, 1, tail);
        result = statement_step(start, &row, error);
    }
    if (result == RESULT_OK && (!row || statement_size(start, 1) != SHA256_SIZE))
        result = error_set(error, RESULT_CORRUPT, "the journal doesn't say where its chain starts");
    if (result == RESULT_OK) {
        walk->sequence = statement_int(start, 0);
        memcpy(walk->hash, statement_blob(start, 1), SHA256_SIZE);
        snprintf(walk->journal_id, sizeof walk->journal_id, "%s", statement_text(start, 2));
    }
    statement_free(start);
    return result;
}

static void check_event(struct walk *walk)
{
    struct statement *row = walk->page;
    int64_t sequence = statement_int(row, 0);
    if (sequence != walk->sequence + 1) {
        find_bad(walk, walk->sequence + 1, "the event is missing");
        return;
    }
    const char *payload = statement_text(row, 1);
    event_chain(walk->hasher, walk->hash, payload, statement_size(row, 1));
    if (statement_size(row, 2) != SHA256_SIZE ||
        memcmp(walk->hash, statement_blob(row, 2), SHA256_SIZE) != 0)
        find_bad(walk, sequence, "the hash doesn't follow from the event and the hash before it");
    else if (statement_int(row, 3) != sequence)
        find_bad(walk, sequence, "the payload carries another sequence");
    else if (strcmp(statement_text(row, 4), walk->journal_id) != 0)
        find_bad(walk, sequence, "the payload belongs to another journal");
    else {
        walk->sequence = sequence;
        walk->report.checked++;
    }
}

/* Tells how many rows there were: 0 at the end of the chain. */
static enum result check_page(struct walk *walk, int64_t *ret_rows, struct error *error)
{
    int64_t rows = 0;
    bool row = true;
    statement_bind_int(walk->page, 1, walk->sequence);
    statement_bind_int(walk->page, 2, CHAIN_PAGE);
    enum result result = statement_step(walk->page, &row, error);
    while (result == RESULT_OK && row && walk->report.bad_sequence == 0) {
        check_event(walk);
        rows++;
        result = statement_step(walk->page, &row, error);
    }
    statement_reset(walk->page);
    *ret_rows = rows;
    return result;
}

static enum result walk_chain(struct walk *walk, struct error *error)
{
    int64_t rows = 1;
    enum result result = RESULT_OK;
    while (result == RESULT_OK && rows > 0 && walk->report.bad_sequence == 0)
        result = check_page(walk, &rows, error);
    return result;
}

enum result chain_check(struct db *journal, int64_t tail, struct chain_report *ret_report,
                        struct error *error)
{
    struct walk walk = {0};
    enum result result = sha256_new(&walk.hasher);
    if (result == RESULT_OK)
        result = find_start(journal, &walk, tail, error);
    if (result == RESULT_OK)
        result = statement_prepare(journal, PAGE_SQL, &walk.page, error);
    int64_t before = walk.sequence;
    if (result == RESULT_OK)
        result = walk_chain(&walk, error);
    statement_free(walk.page);
    sha256_free(walk.hasher);
    if (result != RESULT_OK)
        return result;
    walk.report.first_sequence = walk.report.checked > 0 ? before + 1 : 0;
    walk.report.last_sequence = walk.sequence;
    memcpy(walk.report.head, walk.hash, SHA256_SIZE);
    *ret_report = walk.report;
    return RESULT_OK;
}
