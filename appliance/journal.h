/* The journal, as its one writer sees it: orders, stock and the append-only chain of events.
 *
 * Every call between journal_begin() and journal_commit() belongs to one transaction. A savepoint
 * inside it lets one command fail without spoiling the others. The journal keeps the position of
 * the chain in memory; rolling back puts it back too. Used by one thread at a time. */
#ifndef TILLBOX_APPLIANCE_JOURNAL_H
#define TILLBOX_APPLIANCE_JOURNAL_H

#include "appliance/order.h"
#include "appliance/product.h"
#include "core/clock.h"
#include "core/http/http_reply.h"
#include "core/journal/event.h"
#include "core/random.h"
#include "core/result.h"

struct journal;

enum { JOURNAL_NAME_MAX = 64, JOURNAL_PATH_SIZE = 4096 };

struct journal_options {
    const char *data_dir;  /* must exist */
    const char *device_id; /* NULL: what the journal has; a new one gets "box-" and digits */
    const char *location;  /* NULL: keep what it has; a new one gets the device_id */
    const struct clock *clock;
    const struct random_source *random;
};

/* Who the journal is; lives as long as the journal. */
struct journal_identity {
    char journal_id[UUID_TEXT_SIZE];
    char device_id[JOURNAL_NAME_MAX + 1];
    char location[JOURNAL_NAME_MAX + 1];
    bool stopped_cleanly; /* by the run before this one; true for a new journal */
    bool is_new;
    bool lost_wal; /* after an unclean stop there was none: what it had is gone */
};

/* The file's path inside the data folder. */
void journal_path(const char *data_dir, char ret_path[static JOURNAL_PATH_SIZE]);

/* Takes the folder's lock, opens or creates the journal, brings its schema up to date, prepares
 * every statement, and marks it as running. RESULT_LOCKED while another process has it,
 * RESULT_CONFLICT if it belongs to another device_id, RESULT_UNSUPPORTED if it is of a newer
 * version. */
MUST_CHECK enum result journal_open(const struct journal_options *options,
                                    struct journal **ret_journal, struct error *error);

/* Marks the journal as stopped cleanly and closes it. */
MUST_CHECK enum result journal_close(struct journal *journal, struct error *error);

/* Lets go of the journal as a crash would: nothing more is written. */
void journal_abandon(struct journal *journal);

const struct journal_identity *journal_identity(const struct journal *journal);

/* RESULT_NOT_FOUND once the files were removed or replaced: nothing is committed. Any thread. */
MUST_CHECK enum result journal_check_files(const struct journal *journal, struct error *error);
MUST_CHECK enum result journal_begin(struct journal *journal, struct error *error);

/* Durable on RESULT_OK. On anything else it has been rolled back, or must be taken as such. */
MUST_CHECK enum result journal_commit(struct journal *journal, struct error *error);
void journal_rollback(struct journal *journal);

MUST_CHECK enum result journal_savepoint(struct journal *journal, struct error *error);
MUST_CHECK enum result journal_release(struct journal *journal, struct error *error);
MUST_CHECK enum result journal_rollback_to_savepoint(struct journal *journal, struct error *error);

/* Brings the WAL into the database if it has grown; after the answers have gone out. */
MUST_CHECK enum result journal_checkpoint_if_due(struct journal *journal, struct error *error);

/* RESULT_NOT_FOUND if there is none. */
MUST_CHECK enum result journal_find_product(struct journal *journal, int64_t product_id,
                                            struct product *ret_product, struct error *error);

/* Sets product_id. RESULT_CONFLICT if the sku is taken. */
MUST_CHECK enum result journal_insert_product(struct journal *journal, struct product *product,
                                              struct error *error);

/* Writes name, price, sku and updated_at. RESULT_CONFLICT if the sku is taken. */
MUST_CHECK enum result journal_update_product(struct journal *journal,
                                              const struct product *product, struct error *error);

/* Only what a sale needs of a product. RESULT_NOT_FOUND if there is none. */
MUST_CHECK enum result journal_find_stock(struct journal *journal, int64_t product_id,
                                          int64_t *ret_stock, int64_t *ret_price_minor,
                                          struct error *error);
MUST_CHECK enum result journal_set_stock(struct journal *journal, int64_t product_id, int64_t stock,
                                         int64_t now_ms, struct error *error);

/* Sets order_id. */
MUST_CHECK enum result journal_insert_order(struct journal *journal, struct order *order,
                                            struct error *error);

/* Owned by the caller: order_done(). RESULT_NOT_FOUND if there is none. */
MUST_CHECK enum result journal_find_order(struct journal *journal, int64_t order_id,
                                          struct order *ret_order, struct error *error);
MUST_CHECK enum result journal_set_cancelled(struct journal *journal, int64_t order_id,
                                             int64_t cancelled_at_ms, struct error *error);

/* Appends one event: begin, write the members of `data`, end. `type` is static text. */
struct json_writer *journal_begin_event(struct journal *journal, const char *type, int64_t now_ms);
MUST_CHECK enum result journal_end_event(struct journal *journal, struct error *error);

/* The event that journal_end_event() appended last. */
const struct event *journal_last_event(const struct journal *journal);

enum { JOURNAL_EVENTS_REMOVED = 500 };

/* Removes, in a transaction of its own, up to JOURNAL_EVENTS_REMOVED events from the chain's start:
 * those up to `through` that happened before `before_ms`. The anchor moves along, so that the rest
 * of the chain can still be verified. The last event stays: later ids must be above its own. */
MUST_CHECK enum result journal_remove_events(struct journal *journal, int64_t through,
                                             int64_t before_ms, int64_t *ret_removed,
                                             struct error *error);

/* Answers under an Idempotency-Key. */
enum { JOURNAL_KEY_SIZE = 16, JOURNAL_KEYS_SWEPT = 500 };

struct journal_answer {
    int status;
    char location[HTTP_LOCATION_SIZE]; /* empty: none */
    uint8_t request_hash[SHA256_SIZE];
};

/* Appends the stored body to `body`. RESULT_NOT_FOUND if the key is new. */
MUST_CHECK enum result journal_find_answer(struct journal *journal,
                                           const uint8_t key[static JOURNAL_KEY_SIZE],
                                           struct journal_answer *ret_answer, struct buf *body,
                                           struct error *error);
MUST_CHECK enum result journal_insert_answer(struct journal *journal,
                                             const uint8_t key[static JOURNAL_KEY_SIZE],
                                             const struct journal_answer *answer,
                                             const struct buf *body, int64_t now_ms,
                                             struct error *error);

/* Removes, in a transaction of its own, up to JOURNAL_KEYS_SWEPT of the oldest answers that were
 * given before `before_ms`. */
MUST_CHECK enum result journal_sweep_answers(struct journal *journal, int64_t before_ms,
                                             int64_t *ret_removed, struct error *error);

/* The head of the chain as of the last commit; safe from any thread. */
struct journal_head {
    int64_t sequence;
    uint8_t hash[SHA256_SIZE];
};

struct journal_head journal_head(struct journal *journal);

#endif
