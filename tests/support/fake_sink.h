/* A sink without a peer: it remembers what it was given, and plays the faults that a test orders.
 *
 * Calls are counted by their kind, from 1. A test says what the n-th call gives in place of
 * success; whether the work is done all the same is the difference between a fault and a lost
 * answer. */
#ifndef TILLBOX_TESTS_SUPPORT_FAKE_SINK_H
#define TILLBOX_TESTS_SUPPORT_FAKE_SINK_H

#include "bridge/relay/sink.h"

enum fake_sink_call {
    FAKE_SINK_ATTACH,
    FAKE_SINK_AUDIT,
    FAKE_SINK_DELIVER,
    FAKE_SINK_DEAD_LETTER,
    FAKE_SINK_IDLE,
    FAKE_SINK_CALLS,
};

enum { FAKE_SINK_EVENTS_MAX = 64, FAKE_SINK_FOR_EVER = 1 << 30 };

struct fake_sink_fault {
    int nth, times;        /* 0: none */
    enum delivery verdict; /* DELIVERY_DOWN, or DELIVERY_STOP where the call may give it */
    size_t events_done;    /* of a delivery: so many are durable before it fails */
    bool is_answer_lost;   /* … or all of them, and nobody hears of it */
};

struct fake_sink {
    struct sink sink;
    bool is_attached;
    int calls[FAKE_SINK_CALLS];
    struct fake_sink_fault faults[FAKE_SINK_CALLS];
    int taken[FAKE_SINK_EVENTS_MAX];                /* how often, by sequence */
    int dead_lettered[FAKE_SINK_EVENTS_MAX];        /* likewise */
    enum delivery answers[FAKE_SINK_EVENTS_MAX];    /* what each event gets; 0: it is taken */
    enum delivery answer_to_all;                    /* in place of these; 0: none */
    int offered[FAKE_SINK_EVENTS_MAX];              /* how often, by sequence */
    int64_t order_of_arrival[FAKE_SINK_EVENTS_MAX]; /* sequences, the first time of each */
    size_t arrivals;
    int64_t peer_cursor;               /* what attach says; -1: as the bridge has it */
    void (*on_deliver)(void *context); /* before a delivery; NULL: nothing */
    void *context;
};

/* `fake` must stay where it is. */
void fake_sink_init(struct fake_sink *fake, size_t page_events);

void fake_sink_fail(struct fake_sink *fake, enum fake_sink_call call, struct fake_sink_fault fault);

#endif
