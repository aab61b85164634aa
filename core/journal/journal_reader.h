/* Reading a journal from another process: the appliance's file, opened so that it can't be written.
 *
 * Reads are short: a page is copied into memory and its transaction ended before anything else
 * happens, lest the journal's WAL grow while head office is slow. Used by one thread at a time. */
#ifndef TILLBOX_CORE_JOURNAL_READER_H
#define TILLBOX_CORE_JOURNAL_READER_H

#include <stdint.h>

#include "core/buf.h"
#include "core/sha256.h"
#include "core/uuid.h"

enum { JOURNAL_READER_NAME_SIZE = 65, JOURNAL_READER_TYPE_SIZE = 32 };

struct journal_reader;

struct journal_info {
    char journal_id[UUID_TEXT_SIZE];
    char device_id[JOURNAL_READER_NAME_SIZE];
    char location[JOURNAL_READER_NAME_SIZE];
    int64_t anchor_sequence; /* events up to here may have been removed */
};

struct journal_event {
    int64_t sequence;
    int64_t order_id;       /* 0: the event belongs to no order */
    int64_t occurred_at_ms; /* since 1970 */
    char event_id[UUID_TEXT_SIZE];
    char event_type[JOURNAL_READER_TYPE_SIZE];
    uint8_t hash[SHA256_SIZE];
    size_t payload_at; /* offset into the page's bytes */
    size_t payload_size;
};

/* Events in order of their sequence. */
struct journal_page {
    struct journal_event *events; /* owned */
    size_t count, capacity;
    struct buf bytes;
};

/* `capacity` events at most, with together about `bytes_max` bytes of payload. */
MUST_CHECK enum result journal_page_init(struct journal_page *page, size_t capacity,
                                         size_t bytes_max);
void journal_page_done(struct journal_page *page);

/* Forgets the first `count` events. */
void journal_page_drop(struct journal_page *page, size_t count);

/* NUL-terminated JSON, as it goes to head office. */
const char *journal_page_payload(const struct journal_page *page, size_t index);

/* RESULT_NOT_FOUND while there is no journal, RESULT_UNSUPPORTED if its schema isn't the one that
 * this program knows. */
MUST_CHECK enum result journal_reader_open(const char *data_dir, struct journal_reader **ret_reader,
                                           struct error *error);
void journal_reader_close(struct journal_reader *reader);

/* Is the file that was opened still the one at its path? */
bool journal_reader_is_current(const struct journal_reader *reader);

MUST_CHECK enum result journal_reader_info(struct journal_reader *reader,
                                           struct journal_info *ret_info, struct error *error);

/* The last event's sequence; the anchor's if there is none. */
MUST_CHECK enum result journal_reader_head(struct journal_reader *reader, int64_t *ret_sequence,
                                           struct error *error);

/* The chain's hash at `sequence`: an event's or the anchor's. RESULT_NOT_FOUND if it isn't there.
 */
MUST_CHECK enum result journal_reader_hash(struct journal_reader *reader, int64_t sequence,
                                           uint8_t ret_hash[static SHA256_SIZE],
                                           struct error *error);

/* Replaces the page's content by the events after `after`, up to and with `through`. Ends before an
 * event that can't be read; RESULT_CORRUPT if that is the first. */
MUST_CHECK enum result journal_reader_page(struct journal_reader *reader, int64_t after,
                                           int64_t through, struct journal_page *page,
                                           struct error *error);

/* Adds to the page, which isn't empty, the events behind its last one, as far as there is room and
 * they can be read. */
MUST_CHECK enum result journal_reader_extend(struct journal_reader *reader,
                                             struct journal_page *page, struct error *error);

/* The first sequence after `after` whose event can be read, where the one right behind it can't.
 * RESULT_NOT_FOUND if there is none up to the last. */
MUST_CHECK enum result journal_reader_skip(struct journal_reader *reader, int64_t after,
                                           int64_t *ret_sequence, struct error *error);

/* When the first event after `after` happened, in ms since 1970. RESULT_NOT_FOUND if none is. */
MUST_CHECK enum result journal_reader_oldest(struct journal_reader *reader, int64_t after,
                                             int64_t *ret_occurred_at_ms, struct error *error);

#endif
