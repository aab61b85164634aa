/* A place that every event goes to. One pump thread drives each sink; only `watch` and `break_off`
 * are called from another. */
#ifndef TILLBOX_BRIDGE_SINK_H
#define TILLBOX_BRIDGE_SINK_H

#include "bridge/adapters/delivery.h"
#include "core/journal/journal_reader.h"

/* Events with ascending sequences. Those that are parked are left out, so there may be gaps; all
 * events up to `through` are either here or parked. */
struct batch {
    const struct journal_page *page;
    const size_t *indexes; /* into the page, of the events to deliver */
    size_t count;
    int64_t through;             /* the last sequence that the batch speaks for */
    const uint8_t *through_hash; /* the chain at `through`, SHA256_SIZE bytes */

    /* How it went, one an event: DELIVERY_PENDING before, and after for those that weren't dealt
     * with; DELIVERY_DONE, DELIVERY_TRANSIENT, DELIVERY_REFUSED or DELIVERY_HELD. */
    enum delivery *outcomes;

    /* Called now and then during the delivery, the outcomes being what is known by then. False:
     * begin nothing more, and come back soon. NULL: nobody asks. */
    bool (*progress)(void *context);
    void *context;
};

struct sink_ops {
    const char *name;

    /* Connects, and compares what the peer has with the journal. `*cursor` is the bridge's; it is
     * set to the peer's where the peer knows better. DELIVERY_DONE, DELIVERY_DOWN or DELIVERY_STOP.
     */
    enum delivery (*attach)(void *sink, struct journal_reader *journal,
                            const struct journal_info *info, int64_t *cursor, struct error *error);
    void (*detach)(void *sink);

    /* Asks the peer whether it really has the events after `after`, up to and with `through`, and
     * calls `missing` for each of the journal's that it hasn't. DELIVERY_DONE or DELIVERY_DOWN.
     * NULL if the peer can't be asked. */
    enum delivery (*audit)(void *sink, struct journal_reader *journal, int64_t after,
                           int64_t through,
                           void (*missing)(void *context, const struct journal_event *event),
                           void *context, struct error *error);

    void (*deliver)(void *sink, const struct batch *batch, struct delivery_report *ret_report);

    /* As deliver, for events whose turn is over: replays. Leaves the peer's cursor alone. */
    void (*resend)(void *sink, const struct batch *batch, struct delivery_report *ret_report);

    /* Sends a parked event to the dead letters; NULL if the sink has none. */
    enum delivery (*dead_letter)(void *sink, const char *payload, size_t size,
                                 const struct journal_event *event, const char *reason,
                                 int attempts, struct error *error);

    /* At least once a second while there is nothing to deliver, every event being delivered or
     * parked: keeps the connection alive, and what the peer knows of the cursor up to date.
     * DELIVERY_DONE or DELIVERY_DOWN. */
    enum delivery (*idle)(void *sink, struct error *error);

    /* From the watchdog's thread: breaks off a call that is past its deadline. NULL if calls can't
     * hang. */
    void (*watch)(void *sink, int64_t now_ms);

    /* From another thread: the program ends. The call under way fails soon, and so do later ones.
     */
    void (*break_off)(void *sink);

    void (*free)(void *sink);
};

struct sink {
    const struct sink_ops *ops;
    void *self;
    size_t page_events; /* how many events are read and delivered at a time */
};

#endif
