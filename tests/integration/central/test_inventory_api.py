"""Head office's stock over HTTP: lists, products, adjustments, keys, and what happens while the database
is away."""

import concurrent.futures
import time

import pytest

from box import call
from box import wait_until
from fault_proxy import FaultProxy
from service import Publisher
from service import stock_of
from service import wait_for_stock

HARBOUR = "/locations/harbour/products"
TOKEN = "0123456789abcdef"
PATIENCE_SECONDS = 8  # a stalled database: the desk's deadline, and the breaker after it


@pytest.fixture
def inventory(office, make_inventory):
    return make_inventory(office)


def add(service, stock=50, name="iPhone", path=HARBOUR, **members):
    answer = service.call("POST", path, {"product_name": name, "stock": stock, **members})
    assert answer.status == 201, answer
    return answer.json


def adjust(service, product_id, delta, key=None, reason="count"):
    return service.call("POST", f"{HARBOUR}/{product_id}/stock",
                        {"delta": delta, "reason": reason},
                        headers={"Idempotency-Key": key} if key else None)


def test_a_product_of_head_office_is_added_shown_and_listed(office, inventory):
    product = add(inventory, price=250, sku="A-1")
    number = product["product_id"]
    assert number > 1000000000, "a number that boxes give out"
    assert {**product, "updated_at": None} == {
        "location": "harbour", "product_id": number, "product_name": "iPhone", "stock": 50,
        "price": 250, "sku": "A-1", "below_zero": False, "updated_at": None}
    assert inventory.get(f"{HARBOUR}/{number}").json == product
    assert inventory.get(HARBOUR).json == {"products": [product], "next_after": None}
    assert add(inventory)["product_id"] == number + 1
    assert inventory.get("/locations/station/products").json["products"] == []
    assert office.query("SELECT product_id, change, reason, device_id FROM stock_logs"
                        " ORDER BY product_id") == [
        [str(number), "50", "product.created", ""], [str(number + 1), "50", "product.created", ""]]


def test_a_new_product_says_where_it_is(inventory):
    answer = inventory.call("POST", HARBOUR, {"product_name": "x", "stock": 1, "product_id": 7})
    assert (answer.status, answer.headers["Location"]) == (201, f"{HARBOUR}/7")
    assert inventory.get(answer.headers["Location"]).json == answer.json


def test_pages_follow_each_other(inventory):
    for number in range(1, 8):
        add(inventory, product_id=number)
    after, seen = 0, []
    while after is not None:
        page = inventory.get(f"{HARBOUR}?limit=3&after={after}").json
        seen += [product["product_id"] for product in page["products"]]
        after = page["next_after"]
    assert seen == list(range(1, 8))


def test_what_boxes_say_and_what_head_office_says_add_up(office, inventory):
    with Publisher(office) as publisher:
        publisher.publish(publisher.order("created", (1, 5)))
        wait_for_stock(office, {1: -5})
        shown = inventory.get(f"{HARBOUR}/1").json
        assert (shown["product_name"], shown["price"], shown["below_zero"]) == (None, None, True)
        assert add(inventory, stock=20, name="tea", product_id=1)["stock"] == 15
        again = inventory.call("POST", HARBOUR,
                               {"product_name": "tea", "stock": 1, "product_id": 1})
        assert (again.status, again.json["type"]) == (409, "urn:tillbox:problem:product-exists")
        publisher.publish(publisher.order("created", (1, 5)))
        wait_for_stock(office, {1: 10})
    assert adjust(inventory, 1, 30).json["stock"] == 40
    assert adjust(inventory, 1, -40).json["stock"] == 0
    refused = adjust(inventory, 1, -1)
    assert (refused.status, refused.json["type"]) == (409, "urn:tillbox:problem:insufficient-stock")
    assert (refused.json["requested"], refused.json["available"]) == (1, 0)
    assert office.query("SELECT change, reason, note FROM stock_logs WHERE device_id IS NULL"
                        " ORDER BY applied_at") == [
        ["20", "product.created", ""], ["30", "stock.adjusted", "count"],
        ["-40", "stock.adjusted", "count"]]


def test_a_delivery_may_leave_a_stock_below_zero(office, inventory):
    """What is refused is to go below by hand, not to come nearer."""
    with Publisher(office) as publisher:
        publisher.publish(publisher.order("created", (1, 5)))
    wait_for_stock(office, {1: -5})
    assert adjust(inventory, 1, 2).json["stock"] == -3


def test_a_key_makes_a_change_count_once(office, inventory, make_inventory):
    """On every replica, also when the answers overlap; refusals are kept too."""
    number = add(inventory, stock=10)["product_id"]
    replicas = [inventory, make_inventory(office)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda turn: adjust(replicas[turn % 2], number, 5, key="k-1"),
                                range(16)))
    assert {answer.status for answer in answers} <= {200, 409}
    first = next(answer for answer in answers if answer.status == 200)
    assert all(answer.text == first.text for answer in answers if answer.status == 200)
    assert stock_of(office) == {number: 15}
    assert adjust(inventory, number, -4, key="k-2").json["stock"] == 11
    assert adjust(inventory, number, 5, key="k-1").text == first.text
    reused = adjust(inventory, number, 6, key="k-1")
    assert (reused.status, reused.json["type"]) == (422, "urn:tillbox:problem:key-reused")
    refusal = adjust(inventory, number, -100, key="k-3")
    add_back = adjust(inventory, number, 100)
    assert (refusal.status, add_back.status) == (409, 200)
    assert adjust(inventory, number, -100, key="k-3").status == 409
    created = [inventory.call("POST", HARBOUR, {"product_name": "x", "stock": 1},
                              headers={"Idempotency-Key": "k-4"}) for _ in range(2)]
    assert (created[0].status, created[0].text) == (created[1].status, created[1].text)


def test_a_key_under_way_is_in_flight(office, inventory):
    number = add(inventory)["product_id"]
    with office.transaction(f"SELECT * FROM products WHERE product_id = {number} FOR UPDATE"):
        answer = adjust(inventory, number, 1, key="k")
        assert (answer.status, answer.headers["Retry-After"]) == (409, "2")
        assert answer.json["type"] == "urn:tillbox:problem:in-flight"
        assert adjust(inventory, number, 1).json["type"] == "urn:tillbox:problem:service-busy"
    assert adjust(inventory, number, 1, key="k").json["stock"] == 51


@pytest.mark.parametrize("method, path, body, status, field", [
    ("POST", HARBOUR, {"stock": 1}, 422, "product_name"),
    ("POST", HARBOUR, {"product_name": "x", "stock": -1}, 422, "stock"),
    ("POST", HARBOUR, {"product_name": "x", "stock": 1, "colour": "red"}, 422, "colour"),
    ("POST", HARBOUR, {"product_name": "x", "stock": 1, "product_id": 0}, 422, "product_id"),
    ("POST", HARBOUR, "junk", 400, None),
    ("POST", HARBOUR, "", 400, None),
    ("POST", f"{HARBOUR}/1/stock", {"delta": 0, "reason": "x"}, 422, "delta"),
    ("POST", f"{HARBOUR}/1/stock", {"delta": 1}, 422, "reason"),
    ("POST", f"{HARBOUR}/1/stock", {"delta": 1, "reason": "x"}, 404, None),
    ("GET", f"{HARBOUR}?limit=0", None, 422, "limit"),
    ("GET", f"{HARBOUR}?colour=red", None, 422, "colour"),
    ("GET", f"{HARBOUR}/1", None, 404, None),
    ("GET", f"{HARBOUR}/0", None, 404, None),
    ("GET", f"{HARBOUR}/1/stock", None, 405, None),
    ("DELETE", f"{HARBOUR}/1", None, 405, None),
    ("PATCH", HARBOUR, {"stock": 1}, 405, None),
    ("GET", "/locations/a%20b/products", None, 404, None),
    ("GET", "/locations//products", None, 404, None),
    ("GET", "/locations/harbour", None, 404, None),
    ("GET", f"/locations/{'x' * 65}/products", None, 404, None),
    ("POST", "/livez", {}, 405, None),
])
def test_wrong_requests_are_told_what_is_wrong(method, path, body, status, field, inventory):
    answer = inventory.call(method, path, body)
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    if field:
        assert [error["field"] for error in answer.json["errors"]] == [field]


def test_strangers_are_kept_out(office, make_inventory, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    inventory = make_inventory(office, "--api-token-file", secret)
    assert inventory.get(HARBOUR).status == call(inventory.port, "POST", HARBOUR, {}).status == 401
    assert inventory.get("/status").status == inventory.get("/metrics").status == 401
    for probe in ("/livez", "/readyz", "/healthz"):
        assert inventory.get(probe).status in (200, 503)
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert call(inventory.port, "GET", HARBOUR, headers=good).status == 200
    assert call(inventory.port, "GET", HARBOUR,
                headers={**good, "Host": "evil.example"}).status == 421
    assert call(inventory.port, "GET", HARBOUR,
                headers={**good, "Origin": "http://evil.example"}).status == 403


def test_while_the_database_is_away_the_answer_is_503_and_soon(servers, office, make_inventory):
    with FaultProxy(servers.postgres.port) as line:
        inventory = make_inventory(office, TILLBOX_POSTGRES_URL=servers.postgres.url_of(
            office.name, line.port))
        number = add(inventory)["product_id"]
        line.refuse()
        line.cut()
        for answer in (inventory.get(HARBOUR), adjust(inventory, number, 1)):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert answer.json["type"] == "urn:tillbox:problem:database-away"
        line.accept()
        wait_until(lambda: inventory.get(HARBOUR).status == 200)
        assert stock_of(office) == {number: 50}


def test_a_database_that_hangs_holds_up_neither_probes_nor_everybody(servers, office,
                                                                    make_inventory):
    with FaultProxy(servers.postgres.port) as line:
        inventory = make_inventory(office, TILLBOX_POSTGRES_URL=servers.postgres.url_of(
            office.name, line.port))
        add(inventory)
        line.stall()
        line.stall_new()
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(80) as pool:
            waiting = [pool.submit(inventory.get, HARBOUR) for _ in range(80)]
            time.sleep(0.2)
            asked = time.monotonic()
            assert inventory.get("/livez").status == 200
            assert time.monotonic() - asked < 0.5
            answers = [future.result() for future in waiting]
        assert time.monotonic() - began < PATIENCE_SECONDS
        assert {answer.status for answer in answers} == {503}
        assert {answer.json["type"].rpartition(":")[2] for answer in answers} == {
            "database-away", "service-busy"}
        wait_until(lambda: inventory.status()["api_breaker"] != "closed")
        line.heal()
        wait_until(lambda: inventory.get(HARBOUR).status == 200)
