/* How an attempt to hand something to a peer ended. */
#ifndef TILLBOX_BRIDGE_DELIVERY_H
#define TILLBOX_BRIDGE_DELIVERY_H

enum delivery {
    DELIVERY_PENDING,   /* not tried, or it isn't known how it ended: the event is sent again */
    DELIVERY_DONE,      /* durable at the peer */
    DELIVERY_TRANSIENT, /* the peer said no, this time: an attempt is spent */
    DELIVERY_DOWN,      /* the peer can't be reached or can't work: no attempt is spent */
    DELIVERY_REFUSED,   /* the peer will never take it */
    DELIVERY_HELD,      /* not sent, since an earlier event of its order was not taken */
    DELIVERY_STOP,      /* going on would do harm: a person is needed */
};

#endif
