/* How an attempt to hand something to a peer ended. */
#ifndef TILLBOX_BRIDGE_DELIVERY_H
#define TILLBOX_BRIDGE_DELIVERY_H

#include "core/result.h"

enum delivery {
    DELIVERY_PENDING,   /* not tried, or it isn't known how it ended: the event is sent again */
    DELIVERY_DONE,      /* durable at the peer */
    DELIVERY_TRANSIENT, /* the peer said no, this time: an attempt is spent */
    DELIVERY_DOWN,      /* the peer can't be reached or can't work: no attempt is spent */
    DELIVERY_REFUSED,   /* the peer will never take it */
    DELIVERY_HELD,      /* not sent, since an earlier event of its order was not taken */
    DELIVERY_STOP,      /* going on would do harm: a person is needed */
};

/* How the delivery of several events went as a whole, and why. */
struct delivery_report {
    enum delivery verdict;  /* DELIVERY_DONE: the peer works, the outcomes tell; DOWN or STOP */
    struct error reason;    /* of a verdict that isn't DELIVERY_DONE */
    struct error refusal;   /* why events are DELIVERY_REFUSED */
    struct error unwilling; /* why events are DELIVERY_TRANSIENT */
};

/* Why an event has this outcome, which isn't DELIVERY_DONE. Lives as long as the report. */
const char *delivery_reason(const struct delivery_report *report, enum delivery outcome);

#endif
