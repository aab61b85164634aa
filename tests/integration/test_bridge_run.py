"""The bridge on a good day: every event reaches the database and the broker."""

from bridge import assert_all_arrived
from bridge import open_till


def test_every_type_of_event_reaches_database_and_broker(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(60)
    events = assert_all_arrived(bridge, office, till)
    assert {event.event_type for event in events} == {
        "order.created", "order.cancelled", "product.created", "product.updated",
        "stock.adjusted"}
    assert len(office.messages) == len(events)
