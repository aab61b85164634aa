/* Sends events again: those that are parked, or a range of the journal.
 *
 * Events keep their type and id, so a replay may run any number of times: head office's tables and
 * its consumers take each event once. It may run beside `bridge run`. */
#ifndef TILLBOX_BRIDGE_REPLAY_H
#define TILLBOX_BRIDGE_REPLAY_H

#include "bridge/relay/delivery_state.h"
#include "bridge/relay/sink.h"

struct replay_filter {
    const char *event_id; /* NULL: any */
    const char *event_type;
    int64_t order_id; /* 0: any */
    int64_t since_ms; /* of the event's own time; 0: no bound */
    int64_t until_ms;
    int64_t from, to; /* a range of sequences, both included; 0: parked events instead */
    int64_t limit;    /* 0: none */
    int64_t rate;     /* events a second; 0: as fast as it goes */
    bool dry_run;
};

struct replay_options {
    const char *data_dir;
    struct delivery_state *deliveries;
    const struct sink *sink;
    const struct clock *clock;
    const struct replay_filter *filter;

    /* Called for every event that was sent, or would be; `reason` is NULL unless it failed. */
    void (*progress)(void *context, const char *sink, const struct journal_event *event,
                     const char *reason);
    void *context;
};

struct replay_report {
    int64_t sent; /* with dry_run: would be sent */
    int64_t failed;
};

/* Adds to `report`. RESULT_OK when every event could be tried; RESULT_IO when the peer went away.
 */
MUST_CHECK enum result replay_run(const struct replay_options *options,
                                  struct replay_report *report, struct error *error);

#endif
