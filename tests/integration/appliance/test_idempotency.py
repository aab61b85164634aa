"""A request with an Idempotency-Key is done once, however often it is sent."""

import threading

import pytest

from box import Wire
from box import request_bytes

SALE = {"user_id": 1, "product_id": 1, "quantity": 1}


def post(box, path, body, key, call=None):
    return (call or box.orders)("POST", path, body, headers={"Idempotency-Key": key})


def same(first, second):
    """Are they the same answer, byte for byte?"""
    return (first.status, first.body, first.headers.get("Location"),
            first.headers["Content-Type"]) == \
           (second.status, second.body, second.headers.get("Location"),
            second.headers["Content-Type"])


@pytest.fixture
def shop(box):
    box.add_product(stock=1000)
    return box


def test_the_same_request_again_gets_the_same_bytes_and_sells_once(shop):
    first = post(shop, "/orders", SALE, "till-1/0001")
    assert first.status == 201
    before = shop.contents()
    for _ in range(5):
        assert same(post(shop, "/orders", SALE, "till-1/0001"), first)
    assert shop.contents() == before
    assert shop.stock() == 999
    assert shop.metric("tillbox_answers_replayed_total") == 5


def test_without_a_key_each_request_sells(shop):
    assert [shop.sell().json["id"] for _ in range(3)] == [1, 2, 3]


def test_a_key_is_known_on_every_post(shop):
    shop.sell()
    requests = [("/orders", SALE, shop.orders),
                ("/orders/1/cancel", None, shop.orders),
                ("/products", {"product_name": "iPad", "stock": 7}, shop.inventory),
                ("/products", {"product_name": "iMac", "stock": 7}, shop.orders),
                ("/products/1/stock", {"delta": 5, "reason": "count"}, shop.inventory),
                ("/products/1/stock", {"delta": -5, "reason": "count"}, shop.orders)]
    for number, (path, body, call) in enumerate(requests):
        first = post(shop, path, body, f"key-{number}", call)
        assert first.status in (200, 201), first
        before = shop.contents()
        assert same(post(shop, path, body, f"key-{number}", call), first)
        assert shop.contents() == before


def test_a_key_is_one_for_both_ports(shop):
    body = {"product_name": "iPad", "stock": 7}
    first = post(shop, "/products", body, "key", shop.orders)
    assert same(post(shop, "/products", body, "key", shop.inventory), first)


@pytest.mark.parametrize("path, body", [
    ("/orders", {**SALE, "quantity": 2}),
    ("/orders", '{"user_id": 1, "product_id": 1,  "quantity": 1}'),
    ("/orders/1/cancel", None),
    ("/products", {"product_name": "iPad", "stock": 7}),
    ("/products/1/stock", {"delta": 5, "reason": "count"}),
])
def test_a_key_that_was_used_for_another_request_is_refused(shop, path, body):
    first = post(shop, "/orders", SALE, "key")
    before = shop.contents()
    answer = post(shop, path, body, "key")
    assert answer.status == 422
    assert answer.json["type"] == "urn:tillbox:problem:key-reused"
    assert shop.contents() == before
    assert same(post(shop, "/orders", SALE, "key"), first)


def test_a_refusal_is_repeated_even_if_it_would_be_none_now(shop):
    too_many = {**SALE, "quantity": 2000}
    refusals = [post(shop, "/orders", too_many, "a"),
                post(shop, "/orders/9/cancel", None, "b"),
                post(shop, "/orders", {**SALE, "product_id": 2}, "c")]
    assert [answer.status for answer in refusals] == [409, 404, 422]
    shop.inventory("POST", "/products/1/stock", {"delta": 5000, "reason": "delivery"})
    shop.add_product()
    again = [post(shop, "/orders", too_many, "a"),
             post(shop, "/orders/9/cancel", None, "b"),
             post(shop, "/orders", {**SALE, "product_id": 2}, "c")]
    assert all(map(same, refusals, again))
    assert shop.orders("GET", "/orders").json["orders"] == []


def test_a_request_that_can_not_be_read_does_not_use_up_its_key(shop):
    assert post(shop, "/orders", {**SALE, "quantity": 0}, "key").status == 422
    assert post(shop, "/orders", "{", "key").status == 400
    assert post(shop, "/orders", SALE, "key").status == 201


def test_a_cancelled_sale_under_its_key_is_still_the_answer_it_was(shop):
    first = post(shop, "/orders", SALE, "key")
    assert shop.orders("POST", "/orders/1/cancel").status == 200
    assert same(post(shop, "/orders", SALE, "key"), first)
    assert shop.stock() == 1000


def test_keys_outlive_a_restart_and_a_kill(make_box):
    box = make_box()
    box.add_product(stock=1000)
    first = post(box, "/orders", SALE, "key")
    refused = post(box, "/orders", {**SALE, "quantity": 2000}, "other")
    assert box.stop() == 0
    box.start()
    assert same(post(box, "/orders", SALE, "key"), first)
    box.kill()
    box.start()
    assert same(post(box, "/orders", SALE, "key"), first)
    assert same(post(box, "/orders", {**SALE, "quantity": 2000}, "other"), refused)
    assert post(box, "/orders", {**SALE, "quantity": 3}, "key").status == 422
    assert box.stock() == 999


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "tab\there", "caf\xe9", "\x7f",
                                 "\x01"])
def test_a_key_has_1_to_255_visible_ascii_characters(shop, key):
    before = shop.contents()
    with Wire(shop.orders_port) as wire:
        answer = wire.request("POST", "/orders", SALE, [("Idempotency-Key", key)])
    assert answer.status == 400
    # A control character is no part of any header: then the server itself refuses.
    assert "Idempotency-Key" in answer.json["detail"] or not key.isprintable()
    assert shop.contents() == before


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "~!@#$%^&*()_+{}|:<>?`-=[];',./",
                                 "0190b0a2-7c5e-7d58-8c3e-0123456789ab"])
def test_any_visible_text_is_a_key(shop, key):
    first = post(shop, "/orders", SALE, key)
    assert first.status == 201
    assert same(post(shop, "/orders", SALE, key), first)
    assert post(shop, "/orders", SALE, key[:-1] + "y").json["id"] == 2


def test_other_methods_take_no_notice_of_a_key(shop):
    key = {"Idempotency-Key": "key"}
    assert shop.inventory("PATCH", "/products/1", {"price": 5}, headers=key).status == 200
    assert shop.inventory("PATCH", "/products/1", {"price": 6}, headers=key).json["price"] == 6
    assert shop.inventory("GET", "/products/1", headers=key).json["price"] == 6
    assert post(shop, "/orders", SALE, "key").status == 201


def send_at_once(box, requests):
    """Sends each of the (path, body, key) on a connection of its own, all at one time."""
    barrier, answers = threading.Barrier(len(requests)), [None] * len(requests)

    def send(number):
        path, body, key = requests[number]
        with Wire(box.orders_port) as wire:
            barrier.wait()
            answers[number] = wire.request("POST", path, body, [("Idempotency-Key", key)])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_twenty_at_once_make_one_sale(shop):
    for attempt in range(20):
        answers = send_at_once(shop, [("/orders", SALE, f"key-{attempt}")] * 20)
        made = [answer for answer in answers if answer.status == 201]
        others = [answer for answer in answers if answer.status != 201]
        assert made and all(same(answer, made[0]) for answer in made)
        assert all(answer.json["type"] == "urn:tillbox:problem:in-flight" for answer in others)
        assert all(answer.status == 409 and answer.headers["Retry-After"] for answer in others)
        assert made[0].json["id"] == attempt + 1
        assert same(post(shop, "/orders", SALE, f"key-{attempt}"), made[0])
    assert shop.stock() == 980


def test_requests_in_one_connection_s_pipeline_make_one_sale(shop):
    data = request_bytes("POST", "/orders", SALE, [("Idempotency-Key", "key")])
    with Wire(shop.orders_port) as wire:
        wire.send(data * 10)
        answers = [wire.answer() for _ in range(10)]
    assert all(same(answer, answers[0]) for answer in answers)
    assert shop.stock() == 999


def test_of_two_bodies_under_one_key_at_once_one_is_sold(shop):
    for attempt in range(10):
        bodies = [{**SALE, "quantity": 1 + n % 2} for n in range(10)]
        answers = send_at_once(shop, [("/orders", body, f"key-{attempt}") for body in bodies])
        made = [answer for answer in answers if answer.status == 201]
        assert made and all(same(answer, made[0]) for answer in made)
        assert {answer.status for answer in answers} <= {201, 409, 422}
    assert shop.query("SELECT count(*) FROM orders") == [(10,)]
