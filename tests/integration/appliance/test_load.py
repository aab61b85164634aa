"""Many connections, both ports, large orders: everybody is served, and reads are consistent."""

import json
import threading
import time

import pytest

from box import Wire
from box import is_sanitized
from box import request_bytes

STOCK = 1000000
ROUND_SECONDS_MAX = 5
SALE = request_bytes("POST", "/orders", b'{"user_id":1,"product_id":1,"quantity":1}')
READ = request_bytes("GET", "/products/1")


@pytest.fixture
def shop(box):
    box.add_product(stock=STOCK, price=250)
    return box


def run_round(wires, data):
    """Sends the request on every connection at once; each must be answered within seconds."""
    started = time.monotonic()
    for wire in wires:
        wire.send(data)
    statuses = {wire.answer().status for wire in wires}
    took = time.monotonic() - started
    assert took < ROUND_SECONDS_MAX * (10 if is_sanitized() else 1), f"{took:.1f} s for one round"
    return statuses


@pytest.mark.parametrize("count", [1, 127, 128, 129, 256, 384, 512])
def test_no_number_of_connections_stalls(shop, count):
    wires = [Wire(shop.orders_port) for _ in range(count)]
    for _ in range(5):
        assert run_round(wires, SALE) == {201}
        assert run_round(wires, READ) == {200}
    for wire in wires:
        wire.close()
    assert shop.stock() == STOCK - 5 * count


def test_both_ports_serve_at_once(shop):
    adjust = request_bytes("POST", "/products/1/stock", b'{"delta":1,"reason":"delivery"}')
    tills = [Wire(shop.orders_port) for _ in range(128)]
    clerks = [Wire(shop.inventory_port) for _ in range(128)]
    for _ in range(5):
        for wire in clerks:
            wire.send(adjust)
        assert run_round(tills, SALE) == {201}
        assert {wire.answer().status for wire in clerks} == {200}
    for wire in tills + clerks:
        wire.close()
    assert shop.stock() == STOCK


def test_a_full_queue_is_told_and_served_when_it_is_not_full_any_more(shop):
    """More sales wait at once than the queue holds: some may be refused, none may be lost."""
    wires = [Wire(port) for port in (shop.orders_port, shop.inventory_port) for _ in range(700)]
    data = request_bytes("POST", "/products/1/stock", b'{"delta":1,"reason":"delivery"}')
    for wire in wires:
        wire.send(data)
    answers = [wire.answer() for wire in wires]
    for wire in wires:
        wire.close()
    done = sum(answer.status == 200 for answer in answers)
    assert all(answer.status == 200 or (answer.status == 503 and answer.headers["Retry-After"])
               for answer in answers)
    assert shop.stock() == STOCK + done
    assert shop.metric("tillbox_queue_longest") <= 1024
    assert shop.sell().status == 201


def test_an_order_of_a_thousand_lines_is_sold_read_and_cancelled(shop):
    for n in range(9):
        shop.add_product(stock=500, name=f"product {n}", price=n)
    items = [{"product_id": 1 + n % 10, "quantity": 1 + n % 3} for n in range(1000)]
    sale = shop.orders("POST", "/orders", {"user_id": 1, "items": items})
    assert sale.status == 201
    prices = [250, *range(9)]
    assert [(item["product_id"], item["quantity"]) for item in sale.json["items"]] \
        == [(item["product_id"], item["quantity"]) for item in items]
    assert sale.json["total"] == sum(prices[item["product_id"] - 1] * item["quantity"]
                                     for item in items)
    for product_id in range(2, 11):
        sold = sum(item["quantity"] for item in items if item["product_id"] == product_id)
        assert shop.stock(product_id) == 500 - sold
    assert shop.orders("GET", "/orders/1").json == sale.json
    event = json.loads(shop.query("SELECT payload FROM events WHERE order_id = 1")[0][0])
    assert event["data"]["items"] == sale.json["items"]
    assert shop.orders("POST", "/orders/1/cancel").status == 200
    assert [shop.stock(n) for n in range(1, 11)] == [STOCK] + [500] * 9


def test_many_large_orders_at_once_are_all_sold(shop):
    items = [{"product_id": 1, "quantity": 1}] * 1000
    large = request_bytes("POST", "/orders", {"user_id": 1, "items": items})
    wires = [Wire(shop.orders_port) for _ in range(20)]
    assert run_round(wires, large) == {201}
    assert run_round(wires, SALE) == {201}
    for wire in wires:
        wire.close()
    assert shop.stock() == STOCK - 20 * 1000 - 20


def test_pages_of_large_orders_are_cut_and_lead_on(shop):
    items = [{"product_id": 1, "quantity": 1}] * 1000
    for _ in range(30):
        assert shop.orders("POST", "/orders", {"user_id": 1, "items": items}).status == 201
    seen, after, pages = [], 0, 0
    while after is not None:
        page = shop.orders("GET", f"/orders?limit=500&after={after}")
        assert len(page.body) < 4 << 20
        seen += [order["id"] for order in page.json["orders"]]
        after = page.json["next_after"]
        pages += 1
    assert seen == list(range(1, 31))
    assert pages > 1


class Load:
    """Sellers, each on a connection of its own, until told to stop."""

    def __init__(self, box, sellers):
        self.box = box
        self.stopping = threading.Event()
        self.problems = []
        self.threads = [threading.Thread(target=self.sell) for _ in range(sellers)]

    def sell(self):
        with Wire(self.box.orders_port) as wire:
            while not self.stopping.is_set():
                sale = wire.request("POST", "/orders",
                                    {"user_id": 1, "product_id": 1, "quantity": 1})
                read = wire.request("GET", sale.headers["Location"])
                if (sale.status, read.status, read.json) != (201, 200, sale.json):
                    self.problems.append((sale, read))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def count_orders(wire, after):
    """The orders after one, page by page, checked for gaps; returns the id of the last."""
    more = True
    while more:
        page = wire.request("GET", f"/orders?limit=500&after={after}").json
        ids = [order["id"] for order in page["orders"]]
        assert ids == list(range(after + 1, after + 1 + len(ids)))
        after += len(ids)
        more = page["next_after"] is not None
    return after


def test_reads_under_load_are_consistent(shop):
    """Each sale is of one piece: what is missing in stock is in the orders, and the other way."""
    orders, stock = Wire(shop.orders_port), Wire(shop.inventory_port)
    with Load(shop, 8) as load, orders, stock:
        last, until = 0, time.monotonic() + 1.5
        while time.monotonic() < until:
            sold_before = STOCK - stock.request("GET", "/products/1").json["stock"]
            last = count_orders(orders, last)
            sold_after = STOCK - stock.request("GET", "/products/1").json["stock"]
            assert sold_before <= last <= sold_after
    assert load.problems == []
    assert last > 100
    assert STOCK - shop.stock() == shop.query("SELECT count(*) FROM orders")[0][0]


def test_metrics_count_what_was_done(shop):
    wires = [Wire(shop.orders_port) for _ in range(20)]
    for _ in range(10):
        assert run_round(wires, SALE) == {201}
    for wire in wires:
        wire.close()
    shop.orders("POST", "/orders/1/cancel")
    shop.orders("POST", "/orders/1/cancel")
    assert shop.metric('tillbox_events_total{type="order.created"}') == 200
    assert shop.metric('tillbox_events_total{type="order.cancelled"}') == 1
    assert shop.metric("tillbox_commands_refused_total") == 1
    assert shop.metric('tillbox_http_responses_total{service="orders",status="201"}') == 200
    assert shop.metric("tillbox_journal_sequence") == 202
    assert shop.metric("tillbox_commit_duration_seconds_count") <= 203
