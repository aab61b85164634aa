"""The whole way: three boxes sell and cancel while everything behind them is killed at random; in the
end head office's stock is right to the piece, and `bridge reconcile` finds nothing, or names it."""

import json
import os
import random
import threading

import pytest

from box import wait_until
from bridge import assert_all_arrived
from bridge import has_settled
from bridge import open_till
from bridge import read_events
from bridge import run_bridge
from bridge import settings_of
from chaos import Chaos
from chaos import broker_victim
from chaos import database_victim
from chaos import service_victim
from service import expected_stock
from service import moves_of
from service import stock_of
from service import wait_for_stock
from service import wait_until_taken

ORDERS, CANCELS = 2000, 500
PRODUCTS, INITIAL_STOCK = 5, 100000
LOCATIONS = ["harbour", "harbour", "station"]  # of the boxes
SETTLE_SECONDS = 60


class Shopper(threading.Thread):
    """Places a box's share of the orders and cancels some of them."""

    def __init__(self, box, orders, cancels, seed):
        super().__init__(daemon=True)
        self.box, self.orders, self.cancels = box, orders, cancels
        self.dice = random.Random(seed)
        self.problem = None

    def run(self):
        try:
            placed = [self.place() for _ in range(self.orders)]
            for order_id in self.dice.sample(placed, self.cancels):
                answer = self.box.orders("POST", f"/orders/{order_id}/cancel")
                assert answer.status == 200, answer
        except Exception as error:
            self.problem = repr(error)

    def place(self):
        items = [{"product_id": self.dice.randint(1, PRODUCTS), "quantity": self.dice.randint(1, 3)}
                 for _ in range(self.dice.randint(1, 3))]
        answer = self.box.orders("POST", "/orders", {"user_id": 1, "items": items})
        assert answer.status == 201, answer
        return answer.json["id"]


@pytest.fixture
def shops(make_box, make_bridge, office):
    """(box, its bridge), three of them, two at one location."""
    pairs = []
    for number, location in enumerate(LOCATIONS):
        box = make_box("--location", location, name=f"box{number}")
        for product in range(PRODUCTS):
            box.add_product(stock=INITIAL_STOCK, name=f"product {product}")
        pairs.append((box, make_bridge(box.data_dir, office)))
    return pairs


def events_at(shops, location):
    return [json.loads(event.payload) for (box, _), place in zip(shops, LOCATIONS)
            if place == location for event in read_events(box.data_dir)]


def reconcile(box, office, *arguments):
    done = run_bridge("reconcile", "--json", "--data-dir", box.data_dir, *arguments,
                      environment=settings_of(office))
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def check_stock(office, shops):
    """Initial - sold + restored: by the boxes' events, and by what the boxes have themselves."""
    for location in set(LOCATIONS):
        boxes = [box for (box, _), place in zip(shops, LOCATIONS) if place == location]
        central = stock_of(office, location)
        assert central == expected_stock(events_at(shops, location))
        assert central == {product: sum(box.stock(product) for box in boxes)
                           for product in range(1, PRODUCTS + 1)}


def check_logs(office, shops):
    """One row for each event and product, with its change, and no others."""
    rows = sorted((row[0], row[1], int(row[2]), int(row[3])) for row in office.query(
        "SELECT location, event_id, product_id, change FROM stock_logs"))
    assert rows == sorted((location, event["event_id"], product_id, change)
                          for location in set(LOCATIONS)
                          for event in events_at(shops, location)
                          for product_id, change in moves_of(event))


def check_notifications(office, shops, receiver):
    """One for each order's event and channel, each sent, and told to the receiver under one key."""
    wanted = sorted(event["event_id"] for location in set(LOCATIONS)
                    for event in events_at(shops, location)
                    if event["event_type"].startswith("order."))
    wait_until(lambda: office.number("SELECT count(*) FROM notifications WHERE status = 'sent'")
               == 2 * len(wanted), SETTLE_SECONDS, "every notification sent")
    for channel in ("log", "webhook"):
        assert sorted(row[0] for row in office.query(
            f"SELECT event_id FROM notifications WHERE channel = '{channel}'")) == wanted
    assert sorted({request.headers["idempotency-key"] for request in receiver.requests}) \
        == [event_id + "-webhook" for event_id in wanted]


def victims_of(servers, *services):
    """Who is killed."""
    return [*map(service_victim, services), broker_victim(servers), database_victim(servers)]


def test_stock_is_exact_after_everything_was_killed_at_random(servers, office, shops,
                                                             make_inventory, notify,
                                                             receiver, webhook):
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    inventory = make_inventory(office)
    shoppers = [Shopper(box, ORDERS // 3 + (number < ORDERS % 3),
                        CANCELS // 3 + (number < CANCELS % 3), seed + number)
                for number, (box, _) in enumerate(shops)]
    notification = notify(channels="log,webhook", **webhook)
    chaos = Chaos(victims_of(servers, inventory, notification), seed)
    for thread in [*shoppers, chaos]:
        thread.start()
    for shopper in shoppers:
        shopper.join()
        assert shopper.problem is None, shopper.problem
    chaos.check()
    wait_until(lambda: all(has_settled(bridge) for _, bridge in shops), SETTLE_SECONDS,
               [bridge.status() for _, bridge in shops])
    wait_until_taken(office, seconds=SETTLE_SECONDS)
    check_stock(office, shops)
    check_logs(office, shops)
    wait_until_taken(office, "notification.order.queue", SETTLE_SECONDS)
    check_notifications(office, shops, receiver)
    assert office.queue_length("order.failed") == 0
    for box, _ in shops:
        code, (report,) = reconcile(box, office)
        assert code == 0, report
        assert report["stock_compared"] == report["compared"] == len(read_events(box.data_dir))


def test_reconcile_names_missing_and_doubled_changes_and_sends_the_missing(box, office, make_bridge,
                                                                          make_inventory):
    make_inventory(office)
    bridge = make_bridge(box.data_dir, office)
    open_till(box).trade(30)
    wait_until(lambda: has_settled(bridge))
    events = [json.loads(event.payload) for event in read_events(box.data_dir)]
    right = expected_stock(events)
    wait_for_stock(office, right, location=events[0]["location"])
    code, (report,) = reconcile(box, office)
    assert (code, report["stock_compared"], report["stock_missing"]) == (0, len(events), 0)

    sold = next(event for event in events if event["event_type"] == "order.created")
    office.query(f"DELETE FROM stock_logs WHERE event_id = '{sold['event_id']}' AND product_id = 2;"
                 "UPDATE products SET stock = stock + 2 WHERE product_id = 2")
    code, lines = reconcile(box, office)
    assert (code, lines[0]) == (1, {"difference": "stock_missing", "sequence": sold["sequence"],
                                    "event_id": sold["event_id"], "product_id": 2})
    assert (lines[-1]["stock_missing"], len(lines)) == (1, 2)
    assert reconcile(box, office, "--repair")[0] == 0
    wait_for_stock(office, right, location=events[0]["location"])
    assert reconcile(box, office)[0] == 0

    office.query("INSERT INTO stock_logs (event_id, location, product_id, change, reason,"
                 " occurred_at) SELECT event_id, 'elsewhere', product_id, change, reason,"
                 f" occurred_at FROM stock_logs WHERE event_id = '{sold['event_id']}'"
                 " AND product_id = 1;"
                 f"UPDATE stock_logs SET change = -9 WHERE event_id = '{sold['event_id']}'"
                 " AND product_id = 2")
    code, lines = reconcile(box, office)
    assert code == 1
    assert [(line["difference"], line["product_id"]) for line in lines[:-1]] == [
        ("stock_doubled", 1), ("stock_other", 2)]


def test_without_an_inventory_service_reconcile_compares_no_stock(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    assert_all_arrived(bridge, office, open_till(box).trade(5))
    code, (report,) = reconcile(box, office)
    assert (code, report["stock_compared"]) == (0, 0)
    done = run_bridge("reconcile", "--data-dir", box.data_dir, environment=settings_of(office))
    assert "its stock was not compared" in done.stdout
