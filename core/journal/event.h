/* The envelope that every event travels in, from the journal's `payload` to head office.
 *
 *   {"event_id":…,"event_type":…,"event_version":"v1","device_id":…,"journal_id":…,"location":…,
 *    "sequence":…,"occurred_at":…,"data":{…}}
 *
 * Members stand in this order, without white space: the bytes are what the hash chain covers. */
#ifndef TILLBOX_CORE_EVENT_H
#define TILLBOX_CORE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/json.h"
#include "core/sha256.h"
#include "core/uuid.h"

#define EVENT_VERSION "v1"
#define EVENT_ORDER_CREATED "order.created"
#define EVENT_ORDER_CANCELLED "order.cancelled"
#define EVENT_PRODUCT_CREATED "product.created"
#define EVENT_PRODUCT_UPDATED "product.updated"
#define EVENT_STOCK_ADJUSTED "stock.adjusted"

struct event {
    char event_id[UUID_TEXT_SIZE];
    const char *event_type; /* one of the words above */
    const char *device_id;
    const char *journal_id;
    const char *location;
    int64_t sequence;
    int64_t occurred_at_ms;
};

/* Writes the envelope up to the opening of `data`; the caller writes its members, then event_end.
 */
void event_begin(struct json_writer *writer, const struct event *event);
void event_end(struct json_writer *writer);

/* One link of the chain: `hash` becomes SHA-256(hash ‖ payload). The chain of a new journal starts
 * from 32 zero bytes. */
void event_chain(struct sha256 *hasher, uint8_t hash[static SHA256_SIZE], const void *payload,
                 size_t size);

#endif
