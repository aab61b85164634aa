"""`bridge inventory` and messages that are no good: each goes to order.failed with its reason, none
blocks or repeats, and what is good beside them counts."""

import json

import pika
import pytest

from box import wait_until
from bridge import run_bridge
from bridge import settings_of
from central import connected
from service import Publisher
from service import stock_of
from service import wait_for_stock
from service import wait_until_taken

FAILED = "order.failed"


@pytest.fixture
def inventory(office, make_inventory):
    return make_inventory(office)


@pytest.fixture
def publisher(office, inventory):
    with Publisher(office) as client:
        yield client


def wait_for_failed(office, count=1):
    wait_until(lambda: office.queue_length(FAILED) == count, what=f"{count} dead letters")
    return office.take(FAILED)


def without(event, name):
    return {key: value for key, value in event.items() if key != name}


def with_data(event, **members):
    return {**event, "data": {**event["data"], **members}}


def with_line(event, **members):
    return with_data(event, items=[{**event["data"]["items"][0], **members}])


# (how an order becomes bad, the reason)
BAD_ORDERS = [
    (lambda event: "junk", "a value is missing"),
    (lambda event: "", ""),
    (lambda event: b"\xff\xfe", ""),
    (lambda event: "[1, 2]", "must be an object"),
    (lambda event: json.dumps(event)[:-2], ""),
    (lambda event: "[" * 100, ""),
    (lambda event: json.dumps(event).replace("box-1", "box\\u0000"), ""),
    (lambda event: json.dumps(event)[:-1] + ', "event_id": "twice"}', ""),
    (lambda event: {**event, "event_version": "v2"}, 'event_version is "v2"'),
    (lambda event: {**event, "event_version": 1}, "event_version must be a string"),
    (lambda event: without(event, "event_version"), "event_version is required"),
    (lambda event: {**event, "event_type": "order.paid"}, 'event_type "order.paid"'),
    (lambda event: {**event, "event_id": "7"}, "event_id"),
    (lambda event: {**event, "journal_id": "g" * 36}, "journal_id must be a UUID"),
    (lambda event: {**event, "device_id": "a b"}, "device_id may have letters"),
    (lambda event: {**event, "location": "x" * 65}, "location must have 1 to 64"),
    (lambda event: {**event, "sequence": 0}, "sequence must be an integer"),
    (lambda event: {**event, "sequence": 1.5}, "sequence must be an integer"),
    (lambda event: {**event, "occurred_at": "yesterday"}, "occurred_at must be a time"),
    (lambda event: {**event, "occurred_at": "0000-01-01T00:00:00.000Z"}, "22008"),
    (lambda event: without(event, "data"), "data is required"),
    (lambda event: {**event, "data": []}, "data must be an object"),
    (lambda event: with_data(event, order_id="1"), "data.order_id must be a number"),
    (lambda event: with_data(event, status="cancelled"), 'data.status must be "created"'),
    (lambda event: with_data(event, items=[]), "data.items must have 1 to 1000"),
    (lambda event: with_data(event, items=[7]), "data.items[0] must be an object"),
    (lambda event: with_line(event, quantity=0), "data.items[0].quantity must be an integer"),
    (lambda event: with_line(event, quantity=10**30), "data.items[0].quantity"),
    (lambda event: with_line(event, quantity=-1), "data.items[0].quantity"),
    (lambda event: with_line(event, product_id=2**53), "data.items[0].product_id"),
    (lambda event: with_data(event, items=event["data"]["items"] * 1001), "has 1001"),
]


def test_every_bad_message_is_a_dead_letter_with_its_reason(office, publisher, inventory):
    """In the order in which they came, with the body as it was."""
    publisher.publish(publisher.product("created", 1, 50))
    bodies = []
    for spoil, _ in BAD_ORDERS:
        bad = spoil(publisher.order("created", (1, 1)))
        bodies.append(bad if isinstance(bad, (str, bytes)) else json.dumps(bad))
        publisher.publish(bodies[-1], publisher.order("created", (1, 1)))
    letters = wait_for_failed(office, len(bodies))
    reasons = {letter.body: letter.properties.headers["x-reason"] for letter in letters}
    for body, (_, reason) in zip(bodies, BAD_ORDERS):
        told = reasons[body.encode() if isinstance(body, str) else body]
        assert reason in told and told, (body[:80], told)
    assert stock_of(office) == {1: 50 - len(BAD_ORDERS)}
    assert inventory.counts()["dead_lettered"] == len(bodies)
    wait_until_taken(office)


def test_a_dead_letter_keeps_its_properties_and_can_be_published_again(office, publisher):
    """But for what would make the broker drop it: an expiry."""
    publisher.publish("junk", message_id="m-1", type="order.created", app_id="box-1",
                      user_id=office.rabbit.user, expiration="60000", priority=3,
                      content_type="text/plain", correlation_id="c-1", reply_to="r-1",
                      headers={"x-sequence": 7, "x-reason": "forged", "note": "kept"})
    letter, = wait_for_failed(office)
    properties, headers = letter.properties, letter.properties.headers
    assert (letter.body, letter.routing_key, letter.exchange) == (b"junk", "order.failed",
                                                                  "order.dlx")
    assert (properties.message_id, properties.type, properties.app_id, properties.priority) == \
        ("m-1", "order.created", "box-1", 3)
    assert (properties.content_type, properties.correlation_id, properties.reply_to) == \
        ("text/plain", "c-1", "r-1")
    assert (properties.user_id, properties.expiration, properties.delivery_mode) == \
        (office.rabbit.user, None, 2)
    assert (headers["x-sequence"], headers["note"]) == (7, "kept")
    assert headers["x-reason"] != "forged"
    assert headers["x-original-routing-key"] == "order.created"
    assert headers["x-refused-by"] == "inventory.order.queue"


@pytest.mark.parametrize("properties, reason", [
    ({"app_id": "box-2"}, "app_id is not the body's device_id"),
    ({"type": "order.cancelled"}, "type is not the body's event_type"),
    ({"message_id": "0197d0f2-6a31-7f08-9d44-51b7e0c2a893"},
     "message_id is not the body's event_id"),
])
def test_properties_that_contradict_the_body_are_refused(properties, reason, office, publisher):
    publisher.publish(publisher.order("created", (1, 1)), **properties)
    letter, = wait_for_failed(office)
    assert letter.properties.headers["x-reason"] == reason
    assert stock_of(office) == {}


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_what_is_too_large_goes_to_the_dead_letters_unread(size, office, publisher, inventory):
    publisher.publish(publisher.order("created", (1, 1)), "x" * size,
                      publisher.order("created", (1, 1)), "y" * size)
    letters = wait_for_failed(office, 2)
    assert sorted(letter.body[:1] for letter in letters) == [b"x", b"y"]
    assert letters[0].properties.headers["x-death"][0]["reason"] == "rejected"
    wait_for_stock(office, {1: -2})
    wait_until_taken(office)
    assert inventory.peak_kib() < 32 * 1024


def test_an_order_of_a_thousand_lines_is_not_too_large(office, publisher):
    lines = [(10**15 + number, 1000000) for number in range(1000)]
    publisher.publish(publisher.order("created", *lines))
    wait_until(lambda: office.number("SELECT count(*) FROM stock_logs") == 1000)


def test_members_that_v1_does_not_know_are_ignored(office, publisher):
    event = publisher.order("created", (1, 1))
    publisher.publish({**with_data(event, note="new"), "trace_id": "t"})
    wait_for_stock(office, {1: -1})


def test_a_heap_of_headers_does_not_keep_a_message_from_the_dead_letters(office, publisher):
    publisher.publish("junk", headers={f"h{number}": "x" * 1000 for number in range(100)})
    letter, = wait_for_failed(office)
    assert letter.properties.headers["x-reason"] and "h1" not in letter.properties.headers


def test_a_header_without_a_name_harms_no_message(office, publisher, inventory):
    """AMQP allows an empty name; it says nothing about the broker."""
    nameless = {"": 1, "note": {"": 2}, "list": [{"": 3}]}
    publisher.publish(publisher.order("created", (1, 1)), "junk", headers=nameless)
    publisher.publish(publisher.order("created", (1, 2)))
    letter, = wait_for_failed(office)
    headers = letter.properties.headers
    assert letter.body == b"junk" and headers["x-reason"]
    assert {name: headers[name] for name in nameless} == nameless
    wait_for_stock(office, {1: -3})
    wait_until_taken(office)
    assert not [line for line in inventory.log_events("consumer.peer") if line["state"] == "down"]


def test_poison_in_the_database_is_found_and_the_rest_counts(office, make_inventory):
    """What only PostgreSQL knows to be wrong, in the midst of a batch."""
    inventory = make_inventory(office, start=False)
    with Publisher(office) as publisher:
        for number in range(300):
            strange = {"occurred_at": "0000-01-01T00:00:00.000Z"} if number % 100 == 50 else {}
            publisher.publish(publisher.order("created", (1, 1), **strange))
    inventory.start()
    letters = wait_for_failed(office, 3)
    assert all("22008" in letter.properties.headers["x-reason"] for letter in letters)
    wait_for_stock(office, {1: -297})


def test_nobody_takes_dead_letters_then_the_message_waits(office, publisher, inventory):
    """Without order.failed a bad message stays in its queue; none is lost."""
    with connected(office.amqp_url) as connection:
        connection.channel().queue_unbind(FAILED, "order.dlx", FAILED)
    publisher.publish("junk")
    wait_until(lambda: inventory.status()["rabbitmq"]["state"] == "down")
    with connected(office.amqp_url) as connection:
        connection.channel().queue_bind(FAILED, "order.dlx", FAILED)
    wait_for_failed(office)
    publisher.publish(publisher.order("created", (1, 1)))
    wait_for_stock(office, {1: -1})


def test_a_mended_dead_letter_can_be_brought_back(office, publisher, inventory, tmp_path):
    """`bridge replay --queue` moves it back; what is good by then counts."""
    event = publisher.order("created", (1, 4))
    with connected(office.amqp_url) as connection:
        connection.channel().basic_publish(
            "order.dlx", FAILED, json.dumps(event),
            pika.BasicProperties(type="order.created", message_id=event["event_id"],
                                 user_id=office.rabbit.user))
    wait_until(lambda: office.queue_length(FAILED) == 1)
    done = run_bridge("replay", "--queue", "--data-dir", tmp_path,
                      environment=settings_of(office))
    assert done.returncode == 0, done
    wait_for_stock(office, {1: -4})


@pytest.mark.parametrize("other_line", [{"product_id": 2}, {"quantity": 9}])
def test_an_event_id_that_is_known_counts_for_no_other_event(office, publisher, other_line):
    publisher.publish(publisher.product("created", 1, 10), publisher.product("created", 2, 10))
    sold = publisher.publish(publisher.order("created", (1, 3)))
    wait_for_stock(office, {1: 7, 2: 10})
    publisher.publish(with_line(sold, **other_line))
    dead, = wait_for_failed(office)
    assert "belongs to another event" in dead.properties.headers["x-reason"]
    assert stock_of(office) == {1: 7, 2: 10}


def test_two_events_of_one_id_in_one_batch_count_once(office, make_inventory):
    inventory = make_inventory(office)
    inventory.stop()
    with Publisher(office) as client:
        sold = client.order("created", (1, 3))
        client.pour([sold, client.order("created", (3, 1)), sold, with_line(sold, product_id=2),
                     with_data(sold, items=[*sold["data"]["items"], *sold["data"]["items"]])])
    inventory.start()
    assert len(wait_for_failed(office, 2)) == 2
    wait_for_stock(office, {1: -3, 3: -1})
