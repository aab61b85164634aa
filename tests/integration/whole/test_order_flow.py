"""The whole way of an order, every program real: box, bridge, broker, head office's stock, and the
customer's notice."""

import json

import pytest

from box import wait_until
from service import wait_for_stock

SHOP = "harbour"


@pytest.fixture
def inventory(office, make_inventory):
    return make_inventory(office)


@pytest.fixture
def make_till(office, inventory, make_box, make_bridge):
    """Boxes of one shop that ask head office before they sell."""
    def make(name):
        url = f"http://127.0.0.1:{inventory.port}/locations/{SHOP}"
        till = make_box("--location", SHOP, "--inventory-url", url, name=name)
        make_bridge(till.data_dir, office)
        return till
    return make


def test_an_order_reaches_stock_and_customer_and_so_does_its_cancellation(
        office, make_till, notify, receiver, webhook):
    notification = notify(channels="log,webhook", **webhook)
    till = make_till("till")
    till.add_product(stock=50)
    wait_for_stock(office, {1: 50}, location=SHOP)
    assert till.sell(quantity=3).json["stock_checked"] == "remote"
    wait_for_stock(office, {1: 47}, location=SHOP)
    assert till.orders("POST", "/orders/1/cancel").status == 200
    wait_for_stock(office, {1: 50}, location=SHOP)
    wait_until(lambda: len(receiver.requests) == 2)
    told = [(body["kind"], body["order_id"]) for body in map(
        lambda request: json.loads(request.body), receiver.requests)]
    assert told == [("order_confirmation", 1), ("cancellation_alert", 1)]
    assert len(notification.log_events("notification")) == 2


def test_two_tills_of_a_shop_sell_out_of_one_stock(office, make_till, inventory):
    first, second = make_till("first"), make_till("second")
    first.add_product(stock=10)
    second.add_product(stock=10)
    wait_for_stock(office, {1: 20}, location=SHOP)
    answer = inventory.call("POST", f"/locations/{SHOP}/products/1/stock",
                            {"delta": -12, "reason": "broken in the store"})
    assert answer.json["stock"] == 8
    assert first.sell(quantity=6).status == 201
    wait_for_stock(office, {1: 2}, location=SHOP)
    refused = second.sell(quantity=3)
    assert (refused.status, refused.json["available"]) == (409, 2)
    assert second.stock() == 10


def test_a_till_sells_on_while_head_office_has_no_inventory_service(office, make_till, inventory):
    till = make_till("till")
    till.add_product(stock=50)
    wait_for_stock(office, {1: 50}, location=SHOP)
    inventory.kill()
    assert {till.sell().json["stock_checked"] for _ in range(9)} == {"local"}
    assert till.status()["stock_check"]["breaker"] == "open"
    inventory.start()
    wait_for_stock(office, {1: 41}, location=SHOP)
