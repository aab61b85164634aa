"""`bridge inventory`: what events do to head office's stock, however often and in whatever order they
come."""

import random
import uuid

import pytest

from box import wait_until
from service import JOURNAL
from service import LOCATION
from service import Publisher
from service import expected_stock
from service import logs_of
from service import stock_of
from service import wait_for_stock
from service import wait_until_taken

HOT_EVENTS = 6000
RESIDENT_KIB_MAX = 32 * 1024


@pytest.fixture
def publisher(office, inventory):
    with Publisher(office) as client:
        yield client


@pytest.fixture
def inventory(office, make_inventory):
    return make_inventory(office)


def names_of(office):
    return {int(row[0]): row[1:] for row in office.query(
        "SELECT product_id, coalesce(product_name, 'NULL'), price FROM products")}


def test_orders_take_from_the_stock_and_cancellations_give_back(office, publisher):
    publisher.publish(publisher.product("created", 1, 50), publisher.product("created", 2, 20))
    sale = publisher.publish(publisher.order("created", (1, 3), (2, 5)))
    wait_for_stock(office, {1: 47, 2: 15})
    assert logs_of(office, sale) == [[1, -3], [2, -5]]
    publisher.publish(publisher.order("cancelled", (1, 3), (2, 5)))
    wait_for_stock(office, {1: 50, 2: 20})
    publisher.publish(publisher.adjustment(2, -7))
    wait_for_stock(office, {1: 50, 2: 13})


def test_lines_of_the_same_product_count_together(office, publisher):
    publisher.publish(publisher.product("created", 1, 50))
    sale = publisher.publish(publisher.order("created", (1, 2), (1, 3), (2, 1), (1, 4)))
    wait_for_stock(office, {1: 41, 2: -1})
    assert logs_of(office, sale) == [[1, -9], [2, -1]]


def test_an_event_counts_once_however_often_it_comes(office, publisher, inventory):
    """In one batch, in another, and from another client."""
    product, sale = publisher.product("created", 1, 50), publisher.order("created", (1, 2), (3, 1))
    publisher.publish(product, product, sale, product, sale)
    wait_for_stock(office, {1: 48, 3: -1})
    with Publisher(office) as another:
        another.publish(sale, product, message_id=None)
        another.publish(sale, message_id=sale["event_id"], type="order.created", app_id="box-1")
    wait_until(lambda: inventory.counts()["duplicates"] == 6)
    assert inventory.counts()["applied"] == 2
    assert stock_of(office) == {1: 48, 3: -1}
    assert office.number("SELECT count(*) FROM stock_logs") == 3


@pytest.mark.parametrize("together", [True, False])
def test_a_cancellation_before_its_order_comes_out_even(together, office, publisher, inventory):
    publisher.publish(publisher.product("created", 1, 50))
    sale = publisher.order("created", (1, 8))
    cancellation = publisher.order("cancelled", (1, 8))
    publisher.publish(cancellation)
    if not together:
        wait_for_stock(office, {1: 58})
    publisher.publish(sale, cancellation)
    wait_until(lambda: inventory.counts()["received"] == 4)
    assert stock_of(office) == {1: 50}


def test_a_product_that_only_sales_have_named_gets_its_name_later(office, publisher):
    publisher.publish(publisher.order("created", (7, 2)))
    wait_for_stock(office, {7: -2})
    assert names_of(office) == {7: ["NULL", ""]}
    publisher.publish(publisher.product("created", 7, 10, name="tea", price=250))
    wait_for_stock(office, {7: 8})
    assert names_of(office) == {7: ["tea", "250"]}


def test_what_a_box_says_of_a_product_counts_by_its_sequence(office, publisher, inventory):
    """Never by the clock, nor by when it came."""
    created = publisher.product("created", 1, 10, name="first",
                                occurred_at="2026-05-05T00:00:00.000Z")
    older = publisher.product("updated", 1, 999, name="older")
    newer = publisher.product("updated", 1, 999, name="newer", price=5,
                              occurred_at="2020-01-01T00:00:00.000Z")
    publisher.publish(newer)
    wait_until(lambda: names_of(office) == {1: ["newer", "5"]})
    publisher.publish(created)
    wait_for_stock(office, {1: 10})
    publisher.publish(older)
    wait_until(lambda: inventory.counts()["applied"] == 3)
    assert names_of(office) == {1: ["newer", "5"]}
    publisher.publish(publisher.product("updated", 1, 999, name="newest"))
    wait_until(lambda: names_of(office)[1][0] == "newest")
    assert stock_of(office) == {1: 10}


def test_several_names_in_one_batch_leave_the_last(office, make_inventory):
    inventory = make_inventory(office, start=False)
    with Publisher(office) as publisher:
        events = [publisher.product("updated", 1, 1, name=f"name {number}") for number in range(9)]
        random.Random(7).shuffle(events)
        publisher.publish(*events)
    inventory.start()
    wait_until(lambda: inventory.counts()["applied"] == 9)
    assert names_of(office) == {1: ["name 8", "100"]}


def test_a_replaced_box_counts_its_sequences_anew(office, publisher):
    for _ in range(5):
        publisher.publish(publisher.product("updated", 1, 1, name="old journal"))
    wait_until(lambda: names_of(office) == {1: ["old journal", "100"]})
    with Publisher(office, journal=str(uuid.uuid4())) as replaced:
        replaced.publish(replaced.product("updated", 1, 1, name="new journal"))
    wait_until(lambda: names_of(office) == {1: ["new journal", "100"]})


def test_boxes_of_a_location_share_products_and_other_locations_do_not(office, publisher):
    publisher.publish(publisher.product("created", 1, 10))
    with Publisher(office, device="box-2") as same, \
            Publisher(office, device="box-3", location="station") as other:
        same.publish(same.product("created", 1, 5))
        same.publish(same.order("created", (1, 1)))
        other.publish(other.product("created", 1, 7))
    wait_for_stock(office, {1: 14})
    wait_for_stock(office, {1: 7}, location="station")


def test_stock_below_zero_is_kept_flagged_and_told_once(office, publisher, inventory):
    publisher.publish(publisher.product("created", 1, 1))
    for _ in range(3):
        publisher.publish(publisher.order("created", (1, 2)))
    wait_for_stock(office, {1: -5})
    assert office.query("SELECT below_zero FROM products") == [["t"]]
    wait_until(lambda: inventory.metric("tillbox_inventory_products_below_zero") == 1)
    publisher.publish(publisher.adjustment(1, 5))
    wait_for_stock(office, {1: 0})
    publisher.publish(publisher.order("created", (1, 1)))
    wait_for_stock(office, {1: -1})
    wait_until(lambda: len(inventory.log_events("stock.below_zero")) == 2)
    assert len(inventory.log_events("stock.recovered")) == 1
    assert inventory.metric("tillbox_inventory_went_below_zero_total") == 2


def test_the_log_says_why_the_stock_is_what_it_is(office, publisher):
    product = publisher.publish(publisher.product("created", 1, 50))
    publisher.publish(publisher.adjustment(1, 4))
    sale = publisher.publish(publisher.order("created", (1, 2), order_id=42))
    wait_for_stock(office, {1: 52})
    rows = office.query("SELECT event_id, location, product_id, change, reason, note, device_id,"
                        " journal_id, sequence, order_id FROM stock_logs ORDER BY sequence")
    assert rows[0] == [product["event_id"], LOCATION, "1", "50", "product.created", "", "box-1",
                       JOURNAL, "1", ""]
    assert rows[1][3:6] == ["4", "stock.adjusted", "delivery"]
    assert rows[2][0] == sale["event_id"] and rows[2][3:] == ["-2", "order.created", "", "box-1",
                                                              JOURNAL, "3", "42"]


def test_three_replicas_on_hot_products_are_exact(office, make_inventory):
    """Each event twice, in random order, on four products."""
    dice = random.Random(11)
    with Publisher(office) as publisher:
        services = [make_inventory(office, start=False) for _ in range(3)]
        events = [publisher.product("created", number, 1000) for number in range(1, 5)]
        for number in range(HOT_EVENTS // 2):
            products = dice.sample(range(1, 5), dice.randint(1, 4))
            lines = [(product, dice.randint(1, 3)) for product in products]
            kind = dice.choice(["created", "created", "cancelled"])
            events.append(publisher.order(kind, *lines, order_id=number + 1))
        twice = events * 2
        dice.shuffle(twice)
        publisher.pour(twice)
    for service in services:
        service.start()
    wait_until_taken(office, seconds=30)
    assert stock_of(office) == expected_stock(events)
    counts = [service.counts() for service in services]
    assert sum(count["applied"] for count in counts) == len(events)
    assert sum(count["duplicates"] for count in counts) == len(events)
    assert sum(count["received"] > 0 for count in counts) == 3, counts
    assert all(service.peak_kib() <= RESIDENT_KIB_MAX for service in services)
    assert office.queue_length("order.failed") == 0
