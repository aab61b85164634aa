/* Where every event is: what the bridge and the appliance both report, read from the journal and
 * from bridge.db without writing to either. It works while the bridge is down.
 *
 * For each sink every sequence of the journal is delivered, parked, or pending beyond the cursor.
 * `unaccounted` is what is none of these: the sum is taken from counts that are kept apart, so that
 * an event that slipped past would show, and so do those that a damaged journal can't give. It must
 * be 0. */
#ifndef TILLBOX_CORE_DELIVERY_STATUS_H
#define TILLBOX_CORE_DELIVERY_STATUS_H

#include <stdint.h>

#include "core/json.h"

enum {
    DELIVERY_STATUS_SINKS_MAX = 4,
    DELIVERY_STATUS_WORD_SIZE = 16,
    DELIVERY_STATUS_TEXT_SIZE = 256
};

struct delivery_status_sink {
    char name[DELIVERY_STATUS_WORD_SIZE];
    char state[DELIVERY_STATUS_WORD_SIZE];   /* starting, running, down, stopped */
    char breaker[DELIVERY_STATUS_WORD_SIZE]; /* closed, open, half-open */
    int64_t cursor;
    int64_t delivered;
    int64_t parked;  /* open: refused, or held behind a refused one */
    int64_t settled; /* parked once, since delivered by a replay or discarded */
    int64_t pending; /* beyond the cursor: the backlog */
    int64_t unaccounted;
    int64_t first_parked;         /* the first open parked sequence; 0: none */
    bool fits_journal;            /* the cursor was moved along this journal, and no other */
    int64_t oldest_pending_ms;    /* when the oldest pending event happened, since 1970; 0: none */
    int64_t last_delivered_at_ms; /* 0: never */
    int64_t last_error_at_ms;     /* 0: never */
    char last_error[DELIVERY_STATUS_TEXT_SIZE];
};

struct delivery_status {
    int64_t head; /* the journal's last sequence */
    bool bridge_running;
    size_t sink_count; /* 0: there has been no bridge here */
    struct delivery_status_sink sinks[DELIVERY_STATUS_SINKS_MAX];
};

/* From the journal in `data_dir` and bridge.db in `bridge_dir`. RESULT_NOT_FOUND while there is no
 * journal. */
MUST_CHECK enum result delivery_status_read(const char *data_dir, const char *bridge_dir,
                                            struct delivery_status *ret_accounting,
                                            struct error *error);

/* The sequence up to which every sink is done for good, parked events included; 0 if there has been
 * no bridge. What comes after it must be kept. */
int64_t delivery_status_watermark(const struct delivery_status *delivery_status);

/* The most events that wait for one sink. */
int64_t delivery_status_backlog(const struct delivery_status *delivery_status);

/* Writes `bridge_running`, `backlog` (the largest), `unaccounted_events` and the array `sinks` into
 * an object that is open. `now_ms` is the wall clock. */
void delivery_status_write(const struct delivery_status *delivery_status, int64_t now_ms,
                           struct json_writer *writer);

/* The same as metrics, in the Prometheus text format. */
void delivery_status_write_metrics(const struct delivery_status *delivery_status, int64_t now_ms,
                                   struct buf *out);

/* The bridge holds a lock on this file while it runs. RESULT_LOCKED if another process has it. The
 * descriptor is released with close(2). */
MUST_CHECK enum result delivery_status_lock_bridge(const char *bridge_dir, int *ret_descriptor,
                                                   struct error *error);

#endif
