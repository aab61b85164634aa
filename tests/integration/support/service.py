"""Starts head office's services, and publishes events as any AMQP client may."""

import collections
import contextlib
import itertools
import json
import uuid

import pika

from box import call
from box import wait_until
from bridge import BRIDGE
from bridge import Bridge
from bridge import run_bridge
from bridge import settings_of
from central import connected

JOURNAL = "0197d0f2-6a31-7f08-9d44-51b7e0c2a893"
LOCATION = "harbour"
WEBHOOK_SECRET = "a secret between shop and receiver"


class Service(Bridge):
    """`bridge NAME` for a head office: "inventory"; `listen` is its option of the address."""

    READY, PORT = "service.ready", "port"

    def __init__(self, folder, office, name, listen, *arguments, **settings):
        super().__init__(folder, {**settings_of(office), **settings}, *arguments)
        self.office, self.name, self.listen = office, name, listen
        self.log_path = folder / f"{name}-{uuid.uuid4().hex[:6]}.log"

    def command(self):
        return [BRIDGE, self.name, self.listen, "127.0.0.1:0", *self.arguments]

    def call(self, method, path, body=None, **options):
        return call(self.port, method, path, body, **options)

    def counts(self):
        return self.status()["consumed"]

    def metric(self, name):
        """The value of a metric; `name` with its labels, as /metrics writes it."""
        lines = self.get("/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(name + " ")))


def declare_topology(office):
    done = run_bridge("topology", environment=settings_of(office))
    assert done.returncode == 0, done


class Publisher:
    """A foreign client that publishes what a box might; it counts its sequences itself."""

    def __init__(self, office, device="box-1", journal=JOURNAL, location=LOCATION, url=None):
        self.office, self.device, self.journal = office, device, journal
        self.url = url or office.amqp_url
        self.location = location
        self.sequences = itertools.count(1)
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        connection = self.stack.enter_context(connected(self.url))
        self.channel = connection.channel()
        self.channel.confirm_delivery()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def event(self, event_type, data, **members):
        return {"event_id": str(uuid.uuid4()), "event_type": event_type, "event_version": "v1",
                "device_id": self.device, "journal_id": self.journal, "location": self.location,
                "sequence": next(self.sequences), "occurred_at": "2026-01-31T09:05:00.250Z",
                "data": data, **members}

    def order(self, kind, *lines, order_id=1, **members):
        """`lines` are (product_id, quantity); `kind` is "created" or "cancelled"."""
        items = [{"product_id": product, "quantity": quantity, "unit_price": 100}
                 for product, quantity in lines]
        return self.event(f"order.{kind}", {
            "order_id": order_id, "user_id": 1, "status": kind, "items": items,
            "total": sum(100 * quantity for _, quantity in lines)}, **members)

    def product(self, kind, product_id, stock, name="iPhone", price=100, **members):
        """`kind` is "created" or "updated"."""
        return self.event(f"product.{kind}", {"product_id": product_id, "product_name": name,
                                              "stock": stock, "price": price, "sku": None},
                          **members)

    def adjustment(self, product_id, delta, **members):
        return self.event("stock.adjusted", {"product_id": product_id, "delta": delta,
                                             "reason": "delivery", "stock": 1}, **members)

    def pour(self, events):
        """Many, not one confirm at a time."""
        with self.channel.connection.channel() as channel:
            for event in events:
                channel.basic_publish("order.events", event["event_type"], json.dumps(event),
                                      pika.BasicProperties(delivery_mode=2))

    def publish(self, *events, key=None, **properties):
        """Events, or bodies as text, through order.events, confirmed."""
        for event in events:
            is_text = isinstance(event, (str, bytes))
            self.channel.basic_publish(
                "order.events", key or (is_text and "order.created") or event["event_type"],
                event if is_text else json.dumps(event),
                pika.BasicProperties(delivery_mode=2, **properties))
        return events[0]


def moves_of(event):
    """[(product_id, change)] that an event makes, a product once."""
    data = event["data"]
    if event["event_type"] == "product.updated":
        return [(data["product_id"], 0)]
    if "items" not in data:
        return [(data["product_id"], data.get("delta", data["stock"]))]
    sign = {"order.created": -1, "order.cancelled": 1}[event["event_type"]]
    moves = collections.Counter()
    for line in data["items"]:
        moves[line["product_id"]] += sign * line["quantity"]
    return list(moves.items())


def expected_stock(events):
    """What events, each counted once, come to."""
    stock = collections.Counter()
    for event in {event["event_id"]: event for event in events}.values():
        for product_id, change in moves_of(event):
            stock[product_id] += change
    return dict(stock)


def stock_of(office, location=LOCATION):
    """{product_id: stock}"""
    return {int(row[0]): int(row[1]) for row in office.query(
        f"SELECT product_id, stock FROM products WHERE location = '{location}'")}


def logs_of(office, event):
    """[[product_id, change]] that an event has made."""
    return sorted([int(row[0]), int(row[1])] for row in office.query(
        f"SELECT product_id, change FROM stock_logs WHERE event_id = '{event['event_id']}'"))


def wait_for_stock(office, wanted, seconds=10, location=LOCATION):
    wait_until(lambda: stock_of(office, location) == wanted, seconds,
               f"{wanted}, {stock_of(office, location)}")


def wait_until_taken(office, queue="inventory.order.queue", seconds=10):
    """Until nothing in the queue is ready, and nothing unacknowledged."""
    wait_until(lambda: office.held(queue) == 0, seconds, f"an empty {queue}")
