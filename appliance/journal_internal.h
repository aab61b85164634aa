/* What the journal's own files share. */
#ifndef TILLBOX_APPLIANCE_JOURNAL_INTERNAL_H
#define TILLBOX_APPLIANCE_JOURNAL_INTERNAL_H

#include <pthread.h>

#include "appliance/journal.h"
#include "appliance/journal_files.h"
#include "appliance/rows.h"
#include "core/db.h"

/* Every statement the writer runs; prepared at start, so that a typo stops the boot, not a sale. */
#define JOURNAL_STATEMENTS(X)                                                                      \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVEPOINT, "SAVEPOINT command")                                                              \
    X(RELEASE, "RELEASE command")                                                                  \
    X(ROLLBACK_TO, "ROLLBACK TO command")                                                          \
    X(FIND_STOCK, "SELECT stock, price FROM products WHERE product_id = ?1")                       \
    X(SET_STOCK, "UPDATE products SET stock = ?2, updated_at_ms = ?3 WHERE product_id = ?1")       \
    X(FIND_PRODUCT, "SELECT " ROW_PRODUCT " FROM products WHERE product_id = ?1")                  \
    X(INSERT_PRODUCT, "INSERT INTO products (product_name, stock, price, sku, updated_at_ms)"      \
                      " VALUES (?1, ?2, ?3, ?4, ?5)")                                              \
    X(UPDATE_PRODUCT, "UPDATE products SET product_name = ?2, price = ?3, sku = ?4,"               \
                      " updated_at_ms = ?5 WHERE product_id = ?1")                                 \
    X(INSERT_ORDER, "INSERT INTO orders (user_id, items, total, created_at_ms, stock_checked)"     \
                    " VALUES (?1, ?2, ?3, ?4, ?5)")                                                \
    X(FIND_ORDER, "SELECT " ROW_ORDER " FROM orders WHERE order_id = ?1")                          \
    X(SET_CANCELLED, "UPDATE orders SET cancelled_at_ms = ?2 WHERE order_id = ?1")                 \
    X(INSERT_EVENT, "INSERT INTO events (sequence, payload, hash) VALUES (?1, ?2, ?3)")            \
    X(FIND_ANSWER, "SELECT status, location, body, request_hash FROM idempotency_keys"             \
                   " WHERE key_hash = ?1")                                                         \
    X(INSERT_ANSWER, "INSERT INTO idempotency_keys"                                                \
                     " (key_hash, request_hash, status, location, body, created_at_ms)"            \
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                           \
    X(SWEEP_ANSWERS, "DELETE FROM idempotency_keys WHERE id IN (SELECT id FROM"                    \
                     " (SELECT id, created_at_ms FROM idempotency_keys ORDER BY id LIMIT 5000)"    \
                     " WHERE created_at_ms < ?1 LIMIT ?2)")                                        \
    X(OLD_EVENTS, "SELECT sequence, hash, occurred_at < ?2 FROM events WHERE sequence <= ?1"       \
                  " AND sequence < (SELECT max(sequence) FROM events) ORDER BY sequence LIMIT ?3") \
    X(MOVE_ANCHOR, "UPDATE meta SET chain_anchor_sequence = ?1, chain_anchor_hash = ?2")           \
    X(REMOVE_EVENTS, "DELETE FROM events WHERE sequence <= ?1")                                    \
    X(SET_RUNNING, "UPDATE meta SET stopped_cleanly = 0, location = ?1")                           \
    X(SET_STOPPED, "UPDATE meta SET stopped_cleanly = 1")

enum journal_statement {
#define X(name, sql) JOURNAL_##name,
    JOURNAL_STATEMENTS(X)
#undef X
        JOURNAL_STATEMENT_COUNT
};

struct journal {
    const struct clock *clock;
    struct db *db;
    struct statement *statements[JOURNAL_STATEMENT_COUNT];
    int lock; /* descriptor that holds the folder's flock */
    struct journal_files files;
    struct journal_identity identity;
    struct uuid_generator ids;
    struct sha256 *hasher;
    struct buf payload; /* of the event under construction */
    struct json_writer writer;
    struct buf items;
    struct event event;
    struct journal_head head;           /* inside the transaction */
    struct journal_head savepoint_head; /* to go back to */
    struct journal_head committed_head; /* under the lock */
    pthread_mutex_t head_lock;
};

#endif
