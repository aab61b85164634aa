"""Events that head office rejects: how a test brings that about, and what has become of them."""

from bridge import read_events
from bridge import read_parked
from central import TAP

FAILED = "order.failed"
NOTIFICATIONS = "notification.order.queue"


def open_parked(bridge, sink="rabbitmq"):
    return {sequence: row for sequence, row in read_parked(bridge.data_dir, sink).items()
            if row["state"] in ("refused", "held")}


def unbind_all(office, routing_key):
    """… and nobody declares it anew, as a bridge does that may."""
    office.allow(office.rabbit.user, configure="^$")
    for queue in (TAP, NOTIFICATIONS):
        office.unbind(routing_key, queue)


def let_one_through(box):
    """An event of no order, which every queue of the event flow takes or none: what is rejected
    before it is rejected alone."""
    assert box.inventory("POST", "/products/1/stock", {"delta": 1, "reason": "found"}).status == 200
    return len(read_events(box.data_dir))
