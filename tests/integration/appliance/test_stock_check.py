"""A box that asks an inventory service before it sells, and the ways in which that may fail."""

import concurrent.futures
import subprocess
import time

import pytest

from box import run_command
from box import wait_until
from contract import Contract
from peer_server import PeerServer
from peer_server import after
from peer_server import close
from peer_server import drip
from peer_server import hang
from peer_server import in_turn
from peer_server import json_answer
from peer_server import raw_answer

DEADLINE = 0.8
SLACK = 0.4  # for a busy machine
QUICK = 0.3  # a sale that asks nobody
AT_ONCE = 64


def stock_of(**stocks):
    """An inventory service that has so much of each product: p1=5."""
    def answer(request):
        product_id = int(request.path.rsplit("/", 1)[1])
        if (stock := stocks.get(f"p{product_id}")) is None:
            return json_answer({"title": "unknown"}, 404)
        return json_answer({"product_id": product_id, "product_name": "x", "stock": stock})
    return answer


def status(code):
    return lambda _: raw_answer(code)


@pytest.fixture
def peer():
    with PeerServer(stock_of(p1=50)) as server:
        yield server


@pytest.fixture
def asking_box(make_box, peer):
    """A box with a product of 50 that asks `peer`."""
    box = make_box("--inventory-url", peer.url + "/locations/shop-1", "--inventory-breaker-reset-ms",
                   "300")
    box.add_product(stock=50)
    return box


def timed_sale(box, **options):
    """(answer, seconds)"""
    started = time.monotonic()
    return box.sell(**options), time.monotonic() - started


def sell_checked(box, expected, **options):
    """A sale that must succeed with this stock_checked, within the deadline."""
    answer, seconds = timed_sale(box, **options)
    assert answer.status == 201, answer
    assert answer.json["stock_checked"] == expected
    assert seconds < DEADLINE + SLACK
    return answer, seconds


def outcomes(box):
    return box.status()["stock_check"]


def breaker(box):
    return outcomes(box)["breaker"]


def test_a_sale_that_the_service_has_enough_for_says_so_wherever_it_is_shown(asking_box, peer):
    answer, _ = sell_checked(asking_box, "remote")
    request, = peer.requests
    assert (request.method, request.path) == ("GET", "/locations/shop-1/products/1")
    order = answer.json
    assert asking_box.orders("GET", "/orders/1").json == order
    assert asking_box.orders("GET", "/orders").json["orders"] == [order]
    assert asking_box.orders("POST", "/orders/1/cancel").json["stock_checked"] == "remote"
    events = asking_box.query("SELECT payload ->> '$.data.stock_checked' FROM events"
                              " WHERE event_type LIKE 'order.%'")
    assert events == [("remote",), ("remote",)]


def test_it_is_shown_as_the_api_says(asking_box):
    contract = Contract()
    for operation, answer in (("create_order", asking_box.sell()),
                              ("cancel_order", asking_box.orders("POST", "/orders/1/cancel")),
                              ("get_status", asking_box.orders("GET", "/status"))):
        response = contract.response(contract.operations[operation], answer.status)
        assert contract.answer_faults(response, answer) == []


def test_a_box_without_inventory_url_has_no_such_field(box):
    box.add_product()
    assert "stock_checked" not in box.sell().json
    assert "stock_check" not in box.status()
    assert box.metric("tillbox_inventory_breaker_state") == 0


def test_too_little_in_the_store_is_refused_with_what_there_is(asking_box, peer):
    peer.answer = stock_of(p1=2)
    answer = asking_box.sell(quantity=3)
    assert answer.status == 409
    assert (answer.json["requested"], answer.json["available"]) == (3, 2)
    assert asking_box.stock() == 50
    peer.answer = stock_of(p1=-4)
    assert asking_box.sell().json["available"] == 0
    assert outcomes(asking_box)["short"] == 2


def test_lines_of_one_product_are_added_up(asking_box, peer):
    peer.answer = stock_of(p1=5)
    lines = [{"product_id": 1, "quantity": 3}, {"product_id": 1, "quantity": 3}]
    answer = asking_box.orders("POST", "/orders", {"user_id": 1, "items": lines})
    assert answer.status == 409
    assert (answer.json["requested"], answer.json["available"]) == (6, 5)
    assert len(peer.requests) == 1


def test_the_journals_own_rule_holds_whatever_the_service_says(asking_box, peer):
    peer.answer = stock_of(p1=1000)
    answer = asking_box.sell(quantity=51)
    assert answer.status == 409
    assert answer.json["available"] == 50


def test_a_product_that_the_service_does_not_know_yet_is_sold_from_own_stock(asking_box, peer):
    asking_box.add_product(name="new")
    lines = [{"product_id": 2, "quantity": 1}, {"product_id": 1, "quantity": 1}]
    answer = asking_box.orders("POST", "/orders", {"user_id": 1, "items": lines})
    assert (answer.status, answer.json["stock_checked"]) == (201, "local")
    assert len(peer.requests) == 2
    assert breaker(asking_box) == "closed"
    peer.answer = stock_of(p1=0)
    assert asking_box.orders("POST", "/orders", {"user_id": 1, "items": lines}).status == 409


def test_a_slow_answer_within_the_deadline_counts(asking_box, peer):
    peer.answer = after(0.5, stock_of(p1=50))
    sell_checked(asking_box, "remote")


def test_an_answer_that_fails_in_passing_is_asked_for_three_times(asking_box, peer):
    peer.answer = in_turn(status(500), close, stock_of(p1=50))
    sell_checked(asking_box, "remote")
    assert len(peer.requests) == 3
    peer.answer = status(503)
    sell_checked(asking_box, "local")
    assert len(peer.requests) == 6


def test_connections_are_used_again(asking_box, peer):
    for _ in range(20):
        sell_checked(asking_box, "remote")
    assert peer.connections <= 8


@pytest.mark.parametrize("behaviour", [
    hang, drip, close, status(500), status(401), status(204),
    lambda _: raw_answer(302, Location="http://127.0.0.1:1/"),
    lambda _: raw_answer(200, b"x" * 1_000_000), lambda _: raw_answer(200, b"{"),
    lambda _: json_answer({"stock": 5}), lambda _: json_answer({"product_id": 2, "stock": 5}),
    lambda _: json_answer({"product_id": 1, "stock": "5"}),
    lambda _: json_answer({"product_id": 1, "stock": 5.5}), lambda _: json_answer([]),
    lambda _: b"HTTP/1.1 200 -\r\n" + b"X: " + b"x" * 50_000 + b"\r\n\r\n",
    lambda _: b"SSH-2.0\r\n",
], ids=["hangs", "drips", "closes", "500", "401", "204", "redirects", "huge", "half-json",
        "no-product", "another-product", "text-stock", "fraction", "list", "headers", "no-http"])
def test_whatever_it_does_the_sale_is_made_within_the_deadline(asking_box, peer, behaviour):
    peer.answer = behaviour
    sell_checked(asking_box, "local")
    assert asking_box.stock() == 49
    assert outcomes(asking_box)["failed"] == 1


def test_nobody_there_costs_next_to_nothing(asking_box, peer):
    peer.stop()
    _, seconds = sell_checked(asking_box, "local")
    assert seconds < DEADLINE


def test_a_certificate_that_cannot_be_verified_is_not_trusted(make_box, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=peer",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    token = tmp_path / "token"
    token.write_text("secret-of-the-shop\n")
    with PeerServer(stock_of(p1=50), certificate, key) as peer:
        stranger = make_box("--inventory-url", peer.url, name="stranger")
        stranger.add_product()
        sell_checked(stranger, "local")
        assert not peer.requests
        friend = make_box("--inventory-url", peer.url, "--inventory-ca-file", certificate,
                          "--inventory-token-file", token, name="friend")
        friend.add_product()
        sell_checked(friend, "remote")
        assert peer.requests[0].headers["authorization"] == "Bearer secret-of-the-shop"
        assert "secret-of-the-shop" not in friend.log_path.read_text()


def test_the_breaker_opens_falls_back_probes_and_closes(asking_box, peer):
    assert breaker(asking_box) == "closed"
    peer.answer = status(500)
    for _ in range(3):
        sell_checked(asking_box, "local")
    assert breaker(asking_box) == "open"
    assert asking_box.metric("tillbox_inventory_breaker_state") == 1
    asked = len(peer.requests)
    _, seconds = sell_checked(asking_box, "local")
    assert seconds < QUICK and len(peer.requests) == asked

    wait_until(lambda: breaker(asking_box) == "half-open")
    sell_checked(asking_box, "local")  # the probe fails …
    assert breaker(asking_box) == "open"
    wait_until(lambda: breaker(asking_box) == "half-open")
    peer.answer = stock_of(p1=50)
    sell_checked(asking_box, "remote")  # … and this one succeeds
    assert breaker(asking_box) == "closed"
    assert asking_box.metric("tillbox_inventory_breaker_state") == 0
    moves = [line["to"] for line in asking_box.log_events("inventory.breaker")]
    assert moves == ["open", "half-open", "open", "half-open", "closed"]


def sell_at_once(box, count=AT_ONCE):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: timed_sale(box), range(count)))


def test_many_sales_at_once_wait_no_longer_than_the_deadline_while_it_hangs(make_box, peer):
    peer.answer = hang
    box = make_box("--inventory-url", peer.url, "--inventory-breaker-threshold", "1000")
    box.add_product(stock=1000)
    sales = sell_at_once(box, 4 * AT_ONCE)
    assert {answer.status for answer, _ in sales} == {201}
    assert {answer.json["stock_checked"] for answer, _ in sales} == {"local"}
    assert max(seconds for _, seconds in sales) < DEADLINE + 2 * SLACK
    assert box.stock() == 1000 - 4 * AT_ONCE
    assert outcomes(box)["skipped"] > 0  # their time was over before a thread was free


def test_a_probe_slows_one_sale_only(make_box, peer):
    peer.answer = hang
    box = make_box("--inventory-url", peer.url, "--inventory-breaker-reset-ms", "300",
                   "--inventory-breaker-threshold", "1")
    box.add_product(stock=1000)
    sell_checked(box, "local")
    assert breaker(box) == "open"
    wait_until(lambda: breaker(box) == "half-open")
    sales = sell_at_once(box)
    assert {answer.status for answer, _ in sales} == {201}
    assert len([seconds for _, seconds in sales if seconds >= DEADLINE - 0.1]) == 1
    assert len(peer.requests) == 2


def test_reads_and_other_changes_go_on_while_sales_wait(asking_box, peer):
    peer.answer = hang
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sales = [pool.submit(timed_sale, asking_box) for _ in range(8)]
        wait_until(lambda: outcomes(asking_box)["waiting"] == 8)
        started = time.monotonic()
        assert asking_box.stock() == 50
        asking_box.add_product(name="another")
        assert time.monotonic() - started < QUICK
        assert {sale.result()[0].status for sale in sales} == {201}


def test_the_same_key_is_in_flight_while_the_service_is_asked(asking_box, peer):
    peer.answer = hang
    key = {"Idempotency-Key": "till-1-0001"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(asking_box.sell, headers=key)
        wait_until(lambda: outcomes(asking_box)["waiting"] == 1)
        second, seconds = timed_sale(asking_box, headers=key)
        assert seconds < QUICK
        assert (second.status, second.json["type"]) == (409, "urn:tillbox:problem:in-flight")
        assert int(second.headers["Retry-After"]) > 0
        first = first.result()
    assert asking_box.sell(headers=key).json == first.json
    assert asking_box.stock() == 49


def test_a_retry_gets_the_first_answer_and_asks_nobody(asking_box, peer):
    key = {"Idempotency-Key": "till-1-0001"}
    first = asking_box.sell(headers=key)
    peer.answer = stock_of(p1=0)
    again = asking_box.sell(headers=key)
    assert (again.status, again.json) == (201, first.json)
    refused = {"Idempotency-Key": "till-1-0002"}
    assert asking_box.sell(headers=refused).status == 409
    peer.answer = stock_of(p1=50)
    assert asking_box.sell(headers=refused).status == 409
    assert len(peer.requests) == 2
    assert asking_box.stock() == 49


def test_a_client_that_gives_up_and_asks_again_buys_once(asking_box, peer):
    peer.answer = hang
    key = {"Idempotency-Key": "till-1-0003"}
    with pytest.raises(TimeoutError):
        asking_box.sell(headers=key, timeout=0.2)
    wait_until(lambda: asking_box.stock() == 49)
    assert asking_box.sell(headers=key).status == 201
    assert asking_box.stock() == 49


def test_a_stop_answers_the_sales_that_wait(asking_box, peer):
    peer.answer = hang
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        sales = [pool.submit(asking_box.sell) for _ in range(32)]
        wait_until(lambda: outcomes(asking_box)["waiting"] == 32)
        assert asking_box.stop() == 0
        assert {sale.result().status for sale in sales} == {201}


def test_the_environments_proxy_is_not_used(make_box, peer):
    nowhere = "http://127.0.0.1:1"
    box = make_box("--inventory-url", peer.url,
                   environment={"http_proxy": nowhere, "ALL_PROXY": nowhere})
    box.add_product()
    sell_checked(box, "remote")


@pytest.mark.parametrize("url", ["ftp://shop/", "shop:8082", "http://user:secret@shop/",
                                 "http://shop/?location=1", "file:///etc/passwd", "http://"])
def test_an_inventory_url_that_cannot_be_meant_stops_the_start(tmp_path, url):
    done = run_command("serve", "--data-dir", tmp_path / "var", "--inventory-url", url)
    assert done.returncode == 2
    assert "inventory-url" in done.stderr
    assert "secret" not in done.stderr
