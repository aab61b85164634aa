"""The broker breaks, refuses and forgets; the database goes on as if nothing were."""

import collections
import time

import pika
import pytest

from box import wait_until
from bridge import assert_all_arrived
from bridge import check_messages
from bridge import has_settled
from bridge import open_till
from bridge import publisher_of
from bridge import read_events
from bridge import read_parked
from bridge import run_bridge
from bridge import seed
from bridge import settings_of
from central import TAP
from central import connected

FAILED = "order.failed"
NOTIFICATIONS = "notification.order.queue"
RECOVERY_SECONDS = 5
ALARM_SECONDS = 4


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


def assert_dead_lettered(office, events, refused, reason, attempts):
    """The dead letters are these events, as they were, each once, with what became of them."""
    letters = {letter.properties.message_id: letter for letter in office.take(FAILED)}
    by_id = {event.event_id: event for event in events if event.sequence in refused}
    assert set(letters) == set(by_id)
    for event_id, event in by_id.items():
        letter = letters[event_id]
        headers = letter.properties.headers
        assert letter.body == event.payload.encode()
        assert (letter.exchange, letter.routing_key) == ("order.dlx", FAILED)
        assert letter.properties.type == event.event_type
        assert headers["x-original-routing-key"] == event.event_type
        assert headers["x-attempts"] == attempts
        assert reason in headers["x-reason"]
        assert headers["x-sequence"] == event.sequence


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_goes_down_under_load_costs_nothing(how, box, office, make_bridge, servers):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box) as till:
        bridge.wait_for_sink("rabbitmq", state="running")
        servers.rabbit.write_down_queues()
        getattr(servers.rabbit, how)()
        assert bridge.wait_for_sink("rabbitmq", state="down")["last_error"]
        bridge.wait_for_sink("rabbitmq", breaker="open")
        head = len(read_events(box.data_dir))
        wait_until(lambda: bridge.sink("postgres")["cursor"] > head, 5, "the database's sink")
        assert bridge.get("/healthz").status == 200
        servers.rabbit.start()
        up_at = time.monotonic()
        cursor = bridge.sink("rabbitmq")["cursor"]
        wait_until(lambda: bridge.sink("rabbitmq")["cursor"] > cursor, 2 * RECOVERY_SECONDS)
        recovered_seconds = time.monotonic() - up_at
    assert_all_arrived(bridge, office, till)
    assert recovered_seconds < RECOVERY_SECONDS
    assert bridge.sink("rabbitmq")["breaker"] == "closed"


def test_connections_that_the_broker_closes_under_load_come_back(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box, per_second=300) as till:
        for _ in range(3):
            bridge.wait_for_sink("rabbitmq", state="running")
            office.close_connections()
    assert_all_arrived(bridge, office, till)


def test_a_memory_alarm_is_an_outage_and_no_refusal(tmp_path, make_box, office, make_bridge,
                                                    servers):
    seed(tmp_path / "var", 2000)
    box = make_box()
    with servers.rabbit.memory_alarm():
        bridge = make_bridge(box.data_dir, office)
        till = open_till(box).trade(20)
        sink = bridge.wait_for_sink("rabbitmq", state="down")
        time.sleep(ALARM_SECONDS)
        wait_until(lambda: bridge.sink("postgres")["pending"] == 0)
    healed_at = time.monotonic()
    wait_until(lambda: bridge.sink("rabbitmq")["state"] == "running", 10)
    assert time.monotonic() - healed_at < RECOVERY_SECONDS
    events = assert_all_arrived(bridge, office, till)
    assert "takes nothing" in sink["last_error"], sink
    assert len(office.messages) < 3 * len(events), "an alarm floods the broker with duplicates"


def test_an_exchange_that_is_deleted_is_declared_anew(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box) as till:
        bridge.wait_for_sink("rabbitmq", state="running")
        time.sleep(0.3)
        office.api("DELETE", f"/exchanges/{office.name}/order.events")
        time.sleep(1)
    assert_all_arrived(bridge, office, till)


def test_queues_that_are_deleted_are_declared_anew_on_the_next_connection(box, office,
                                                                        make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    for queue in (TAP, NOTIFICATIONS, FAILED):
        office.api("DELETE", f"/queues/{office.name}/{queue}")
    outages = bridge.outages("rabbitmq")
    office.close_connections()
    bridge.wait_for_outage("rabbitmq", outages)
    till.trade(20)
    assert_all_arrived(bridge, office, till)


def test_queues_that_are_deleted_meanwhile_lose_nothing(box, office, make_bridge):
    """What no queue takes is parked and in the dead letters, and what is said of it is true."""
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    for queue in (TAP, NOTIFICATIONS):
        office.api("DELETE", f"/queues/{office.name}/{queue}")
    till.trade(4)
    wait_until(lambda: has_settled(bridge), 10)
    parked = set(open_parked(bridge))
    sequences = {event.sequence for event in read_events(box.data_dir)}
    if parked:
        wait_until(lambda: office.queue_length(FAILED) == len(parked))
        assert_dead_lettered(office, read_events(box.data_dir), parked, "unroutable", 1)
    elsewhere = {message.properties.headers["x-sequence"] for message in office.tap()}
    assert parked | elsewhere == sequences
    assert bridge.status()["unaccounted_events"] == 0


def test_an_unroutable_event_holds_up_its_order_and_no_other(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office, **publisher_of(office))
    till = open_till(box).trade(8)
    assert_all_arrived(bridge, office, till)
    unbind_all(office, "order.created")
    order_id = box.sell(user_id=7).json["id"]
    refused = len(read_events(box.data_dir))
    down = bridge.wait_for_sink("rabbitmq", state="down")
    assert "unroutable" in down["last_error"] and open_parked(bridge) == {}
    let_one_through(box)
    wait_until(lambda: refused in open_parked(bridge), what="the refusal")
    assert box.orders("POST", f"/orders/{order_id}/cancel").status == 200
    held = len(read_events(box.data_dir))
    office.bind("order.created")
    till.trade(20)
    events = assert_all_arrived(bridge, office, till, {"rabbitmq": {refused, held}})
    parked = open_parked(bridge)
    assert (parked[refused]["state"], parked[refused]["attempts"]) == ("refused", 1)
    assert (parked[held]["state"], parked[held]["order_id"]) == ("held", order_id)
    wait_until(lambda: read_parked(box.data_dir, "rabbitmq")[refused]["dead_lettered"])
    assert_dead_lettered(office, events, {refused}, "unroutable", 1)
    done = run_bridge("status", "--data-dir", box.data_dir)
    assert (done.returncode, "2 parked" in done.stdout) == (1, True), done
    assert bridge.get("/healthz").status == 200


def test_a_held_event_never_overtakes_the_one_it_is_held_behind(box, office, make_bridge):
    """Not even when both are read from the journal at once."""
    publisher = publisher_of(office)
    unbind_all(office, "order.created")
    open_till(box)
    for order_id in range(1, 6):
        box.sell()
        box.orders("POST", f"/orders/{order_id}/cancel")
    let_one_through(box)
    bridge = make_bridge(box.data_dir, office, **publisher)
    assert_all_arrived(bridge, office, parked={"rabbitmq": set(range(3, 13))})


def test_the_restart_of_a_bridge_keeps_what_is_parked(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office, **publisher_of(office))
    till = open_till(box).trade(8)
    assert_all_arrived(bridge, office, till)
    unbind_all(office, "order.cancelled")
    till.trade(10)
    events = read_events(box.data_dir)
    refused = {event.sequence for event in events[-10:] if event.event_type == "order.cancelled"}
    let_one_through(box)
    assert_all_arrived(bridge, office, till, {"rabbitmq": refused})
    assert bridge.stop() == 0
    office.bind("order.cancelled")
    bridge.start()
    till.trade(10)
    assert_all_arrived(bridge, office, till, {"rabbitmq": refused})
    assert_dead_lettered(office, events, refused, "unroutable", 1)


def test_events_that_no_queue_takes_don_t_slow_the_others_down(tmp_path, make_box, office,
                                                             make_bridge):
    """Each event is published as often as it must be, not again for every other one's refusal."""
    seed(tmp_path / "var", 2000)
    box = make_box()
    till = open_till(box)
    till.orders = set(range(1, 2001))
    till.trade(500)
    let_one_through(box)
    publisher = publisher_of(office)
    unbind_all(office, "order.cancelled")
    bridge = make_bridge(box.data_dir, office, **publisher)
    events = read_events(box.data_dir)
    refused = {event.sequence for event in events if event.event_type == "order.cancelled"}
    assert_all_arrived(bridge, office, till, {"rabbitmq": refused})
    wanted = len(events) - len(refused)
    assert len(office.messages) < 3 * wanted, f"{len(office.messages)} messages for {wanted} events"


def takes(office, queue):
    """Does the queue take a message? If so, it has one more: no event."""
    with connected(office.amqp_url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish("", queue, b"{}")
        except pika.exceptions.NackError:
            return False
    return True


def fill(office, queue):
    """From now on the queue takes nothing."""
    office.api("PUT", f"/policies/{office.name}/full",
               {"pattern": f"^{queue}$", "apply-to": "queues",
                "definition": {"max-length": 1, "overflow": "reject-publish"}})
    wait_until(lambda: not takes(office, queue), 10, "a full queue")


def empty(office, queue):
    office.api("DELETE", f"/policies/{office.name}/full")
    office.api("DELETE", f"/queues/{office.name}/{queue}/contents")


def test_a_queue_that_stays_full_is_an_outage(tmp_path, make_box, office, make_bridge):
    """A nack says nothing about an event: nothing is parked, however long it lasts, and the queues
    that aren't full get no flood of copies."""
    seed(tmp_path / "var", 3000)
    box = make_box()
    till = open_till(box)
    till.orders = set(range(1, 3001))
    till.trade(100)
    publisher = publisher_of(office)
    fill(office, NOTIFICATIONS)
    bridge = make_bridge(box.data_dir, office, **publisher)
    down = bridge.wait_for_sink("rabbitmq", state="down")
    assert "nack" in down["last_error"], down
    bridge.wait_for_sink("rabbitmq", breaker="open")
    time.sleep(ALARM_SECONDS)
    assert open_parked(bridge) == {}
    office.tap()
    empty(office, NOTIFICATIONS)
    emptied_at = time.monotonic()
    bridge.wait_for_sink("rabbitmq", state="running")
    assert time.monotonic() - emptied_at < RECOVERY_SECONDS
    events = assert_all_arrived(bridge, office, till)
    came = collections.Counter(message.properties.message_id for message in office.messages)
    often = sorted(came.values())[-10:]
    assert sum(came.values()) < 3 * len(events), f"{sum(came.values())} for {len(events)}: {often}"


def test_what_a_full_queue_nacks_while_others_get_through_is_parked(box, office, make_bridge):
    """After three tries, each beside an event that went elsewhere."""
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(8)
    assert_all_arrived(bridge, office, till)
    fill(office, NOTIFICATIONS)
    box.sell()
    refused = len(read_events(box.data_dir))
    bridge.wait_for_sink("rabbitmq", state="down")
    for _ in range(3):
        assert refused not in open_parked(bridge)
        through = let_one_through(box)
        wait_until(lambda: through in {message.properties.headers["x-sequence"]
                                       for message in office.tap()}, what="the one behind it")
        wait_until(lambda: refused in open_parked(bridge) or
                   bridge.sink("rabbitmq")["state"] == "down")
    wait_until(lambda: refused in open_parked(bridge), what="the third attempt")
    empty(office, NOTIFICATIONS)
    till.trade(10)
    wait_until(lambda: has_settled(bridge), 10)
    assert open_parked(bridge)[refused]["attempts"] == 3 and len(open_parked(bridge)) == 1
    assert_dead_lettered(office, read_events(box.data_dir), {refused}, "nack", 3)
    assert bridge.status()["unaccounted_events"] == 0


def test_a_dead_letter_that_finds_no_queue_is_not_called_delivered(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office, **publisher_of(office))
    till = open_till(box).trade(8)
    assert_all_arrived(bridge, office, till)
    office.api("DELETE", f"/queues/{office.name}/{FAILED}")
    unbind_all(office, "order.created")
    box.sell()
    refused = len(read_events(box.data_dir))
    let_one_through(box)
    wait_until(lambda: refused in open_parked(bridge))
    bridge.wait_for_event("dead_letter.refused")
    assert not read_parked(box.data_dir, "rabbitmq")[refused]["dead_lettered"]
    office.allow(office.rabbit.user)
    assert run_bridge("topology", environment=settings_of(office)).returncode == 0
    wait_until(lambda: office.queue_length(FAILED) == 1)
    assert_dead_lettered(office, read_events(box.data_dir), {refused}, "unroutable", 1)
    check_messages(office.tap(), read_events(box.data_dir), {refused})
