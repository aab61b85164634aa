"""Whatever a client sends, it gets a clear answer, nothing changes, and the box sells on."""

import itertools
import urllib.parse

import pytest

from box import Box
from box import Wire
from box import is_sanitized

BODY_MAX = 64 << 10
GROWTH_MAX_KIB = 1024
SALE = b'{"user_id":1,"product_id":1,"quantity":1}'


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A box with a product, a sale and a cancelled sale; its own tests mustn't change them."""
    box = Box(tmp_path_factory.mktemp("bad-input") / "var").start()
    try:
        box.add_product(stock=50, sku="A-1")
        box.sell()
        box.sell()
        assert box.orders("POST", "/orders/2/cancel").status == 200
        yield box
        assert box.sell().status == 201
    finally:
        code = box.stop()
    assert code == 0


@pytest.fixture
def refuse(shop):
    """Sends what must be refused: with this status, a problem document, and nothing changed."""
    before = shop.contents()

    def send(status, method, path, body=None, call=shop.orders, **options):
        answer = call(method, path, body, **options)
        assert answer.status == status, answer
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert set(answer.json) >= {"type", "title", "status", "detail"}
        assert answer.json["status"] == status
        assert answer.json["type"].startswith("urn:tillbox:problem:")
        assert answer.json["detail"]
        return answer

    yield send
    assert shop.contents() == before


def fields(answer):
    """The wrong fields that an answer names, each with something said about it."""
    assert all(error["detail"] for error in answer.json["errors"])
    return {error["field"] for error in answer.json["errors"]}


def in_a_name(text):
    return b'{"product_name":"' + text + b'","stock":1}'


MALFORMED = {
    "nothing closed": b"{",
    "a comma too many": b'{"user_id":1,"product_id":1,"quantity":1,}',
    "a comma too few": b'{"user_id":1 "product_id":1,"quantity":1}',
    "a colon too few": b'{"user_id" 1,"product_id":1,"quantity":1}',
    "single quotes": b"{'user_id':1,'product_id':1,'quantity':1}",
    "no quotes": b"{user_id:1,product_id:1,quantity:1}",
    "a comment": b'{"user_id":1,/* one */"product_id":1,"quantity":1}',
    "two documents": SALE + SALE,
    "something behind": SALE + b"x",
    "a NUL behind": SALE + b"\0",
    "a byte order mark": b"\xef\xbb\xbf" + SALE,
    "UTF-16": SALE.decode().encode("utf-16"),
    "a leading zero": b'{"user_id":01,"product_id":1,"quantity":1}',
    "a plus sign": b'{"user_id":+1,"product_id":1,"quantity":1}',
    "no digit before the point": b'{"user_id":.5,"product_id":1,"quantity":1}',
    "no digit after the point": b'{"user_id":1.,"product_id":1,"quantity":1}',
    "no exponent": b'{"user_id":1e,"product_id":1,"quantity":1}',
    "hexadecimal": b'{"user_id":0x1,"product_id":1,"quantity":1}',
    "NaN": b'{"user_id":NaN,"product_id":1,"quantity":1}',
    "Infinity": b'{"user_id":-Infinity,"product_id":1,"quantity":1}',
    "True": b'{"user_id":True,"product_id":1,"quantity":1}',
    "a name twice": b'{"user_id":1,"product_id":1,"quantity":1,"quantity":2}',
    "a name twice, once escaped": b'{"user_id":1,"product_id":1,"quantity":1,"quantit\\u0079":2}',
    "a name twice, further down": b'{"user_id":1,"items":[{"product_id":1,"quantity":1,'
                                  b'"product_id":1}]}',
    "65 members": b"{" + b",".join(b'"%d":1' % n for n in range(65)) + b"}",
    "17 deep": b"[" * 17 + b"]" * 17,
    "17 deep in a member": b'{"user_id":1,"product_id":1,"quantity":1,"x":'
                           + b"[" * 16 + b"]" * 16 + b"}",
    "30,000 deep": b"[" * 30000 + b"]" * 30000,
    "30,000 deep and never closed": b'{"a":' * 10000,
    "a raw control character": in_a_name(b"a\x01b"),
    "a raw tab": in_a_name(b"a\tb"),
    "a raw line end": in_a_name(b"a\nb"),
    "a raw NUL": in_a_name(b"a\0b"),
    "an escaped NUL": in_a_name(b"a\\u0000b"),
    "an unknown escape": in_a_name(b"\\x41"),
    "half an escape": in_a_name(b"\\u00"),
    "a lone high surrogate": in_a_name(b"\\ud83d"),
    "a lone low surrogate": in_a_name(b"\\ude00"),
    "surrogates in the wrong order": in_a_name(b"\\ude00\\ud83d"),
    "a continuation byte": in_a_name(b"\x80"),
    "a cut sequence": in_a_name(b"\xf0\x9f\x98"),
    "an overlong slash": in_a_name(b"\xc0\xaf"),
    "an encoded surrogate": in_a_name(b"\xed\xa0\x80"),
    "above U+10FFFF": in_a_name(b"\xf4\x90\x80\x80"),
    "Latin-1": in_a_name(b"caf\xe9"),
    "only white space": b" \r\n\t ",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_json_is_refused_with_the_place(refuse, shop, name):
    body = MALFORMED[name]
    is_product = b"product_name" in body
    answer = refuse(400, "POST", "/products" if is_product else "/orders", body,
                    call=shop.inventory if is_product else shop.orders)
    assert answer.json["type"].endswith(":malformed")
    assert any(word in answer.json["detail"] for word in ("byte", "twice", "members")), answer


def test_every_cut_of_a_good_order_is_refused(refuse):
    for size in range(1, len(SALE)):
        refuse(400, "POST", "/orders", SALE[:size])


def test_an_empty_body_is_refused(refuse, shop):
    for path in ("/orders", "/products", "/products/1/stock"):
        assert "empty" in refuse(400, "POST", path, b"").json["detail"]
        assert "empty" in refuse(400, "POST", path).json["detail"]
    refuse(400, "PATCH", "/products/1", b"", call=shop.inventory)


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true", "[[[]]]"])
def test_a_body_that_is_no_object_is_refused(refuse, body):
    for path in ("/orders", "/products", "/products/1/stock", "/orders/1/cancel"):
        answer = refuse(422, "POST", path, body)
        assert "must be an object" in answer.json["errors"][0]["detail"]


NOT_AN_ID = ['"1"', "true", "null", "[]", "{}", "[1]", "1.5", "-1", "0", "-0", "0.0", "1e400",
             "-1e400", "1e-400", "9007199254740992", "9007199254740993", "9223372036854775808",
             "18446744073709551617", "1" + "0" * 30, "1e30",
             pytest.param("1" * 4000, id="4000 digits"),
             pytest.param("0." + "0" * 4000 + "1", id="4000 places")]


@pytest.mark.parametrize("value", NOT_AN_ID)
@pytest.mark.parametrize("field", ["user_id", "product_id", "quantity"])
def test_each_number_of_an_order_must_be_a_whole_one_in_range(refuse, field, value):
    members = {"user_id": "1", "product_id": "1", "quantity": "1", field: value}
    body = "{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}"
    assert fields(refuse(422, "POST", "/orders", body)) == {field}


def test_a_quantity_has_an_upper_limit(refuse):
    order = {"user_id": 1, "product_id": 1, "quantity": 1000001}
    assert fields(refuse(422, "POST", "/orders", order)) == {"quantity"}


def test_a_product_that_is_not_there_is_named(refuse):
    order = {"user_id": 1, "product_id": 2 ** 53 - 1, "quantity": 1}
    assert fields(refuse(422, "POST", "/orders", order)) == {"product_id"}
    items = [{"product_id": 1, "quantity": 1}, {"product_id": 9, "quantity": 1}]
    answer = refuse(422, "POST", "/orders", {"user_id": 1, "items": items})
    assert fields(answer) == {"items[1].product_id"}


def test_more_than_there_is_can_not_be_sold(refuse):
    answer = refuse(409, "POST", "/orders", {"user_id": 1, "product_id": 1, "quantity": 50})
    assert answer.json["type"].endswith(":insufficient-stock")
    assert (answer.json["requested"], answer.json["available"]) == (50, 49)
    items = [{"product_id": 1, "quantity": 25}, {"product_id": 1, "quantity": 25}]
    answer = refuse(409, "POST", "/orders", {"user_id": 1, "items": items})
    assert (answer.json["requested"], answer.json["available"]) == (25, 24)


def test_missing_fields_are_all_named(refuse):
    assert fields(refuse(422, "POST", "/orders", {})) == {"user_id", "product_id", "quantity"}
    assert fields(refuse(422, "POST", "/products", {})) == {"product_name", "stock"}
    assert fields(refuse(422, "POST", "/products/1/stock", {})) == {"delta", "reason"}
    assert refuse(422, "PATCH", "/products/1", {}).json["errors"]


def test_unknown_fields_are_named(refuse):
    order = {"user_id": 1, "product_id": 1, "quantity": 1}
    for name in ("Quantity", "price", "", "quantity ", "é", "x" * 60, "a.b", "\\", '"', "\x7f"):
        assert fields(refuse(422, "POST", "/orders", {**order, name: 1})) == {name}
    product = {"product_name": "iPad", "stock": 1, "colour": "grey"}
    assert fields(refuse(422, "POST", "/products", product)) == {"colour"}
    assert fields(refuse(422, "PATCH", "/products/1", {"stock": 7})) == {"stock"}
    assert fields(refuse(422, "POST", "/orders/1/cancel", {"why": "no"})) == {"why"}


def test_several_errors_are_all_named_at_once(refuse):
    body = {"user_id": "7", "product_id": -1, "quantity": 1.5, "coupon": "X"}
    answer = refuse(422, "POST", "/orders", body)
    assert fields(answer) == {"user_id", "product_id", "quantity", "coupon"}
    body = {"product_name": "", "stock": -1, "price": -1, "sku": "", "x": 1}
    answer = refuse(422, "POST", "/products", body)
    assert fields(answer) == {"product_name", "stock", "price", "sku", "x"}


@pytest.mark.parametrize("items, named", [
    ([], {"items"}),
    ({}, {"items"}),
    ("x", {"items"}),
    (None, {"items"}),
    ([{"product_id": 1, "quantity": 1}] * 1001, {"items"}),
    ([1], {"items[0]"}),
    ([[]], {"items[0]"}),
    ([{}], {"items[0].product_id", "items[0].quantity"}),
    ([{"product_id": 1, "quantity": 1}, {"product_id": 1}], {"items[1].quantity"}),
    ([{"product_id": 1, "quantity": 1, "unit_price": 0}], {"items[0].unit_price"}),
    ([{"product_id": "1", "quantity": 0}, None, {"product_id": 1, "quantity": True}],
     {"items[0].product_id", "items[0].quantity", "items[1]", "items[2].quantity"}),
])
def test_wrong_lines_of_an_order_are_named_with_their_place(refuse, items, named):
    assert fields(refuse(422, "POST", "/orders", {"user_id": 1, "items": items})) == named


def test_an_order_is_either_one_line_or_a_list(refuse):
    order = {"user_id": 1, "product_id": 1, "quantity": 1,
             "items": [{"product_id": 1, "quantity": 1}]}
    assert fields(refuse(422, "POST", "/orders", order)) == {"product_id", "quantity"}


def test_a_thousand_wrong_lines_get_an_answer_of_sensible_size(refuse):
    items = [{"q": 1}] * 1000
    answer = refuse(422, "POST", "/orders", {"user_id": 1, "items": items})
    assert "3000" in answer.json["detail"]
    assert 10 < len(answer.json["errors"]) < 1000
    assert len(answer.text) < BODY_MAX


@pytest.mark.parametrize("member, value", [
    ("product_name", ""), ("product_name", "x" * 201), ("product_name", 5),
    ("product_name", None), ("product_name", "a\nb"), ("product_name", "a\x7fb"),
    ("product_name", ["iPhone"]),
    ("stock", -1), ("stock", 1000000001), ("stock", 0.5), ("stock", "5"), ("stock", None),
    ("stock", 10 ** 30), ("price", -1), ("price", 10 ** 12 + 1), ("price", 9.99), ("price", "1"),
    ("price", None), ("sku", ""), ("sku", "x" * 65), ("sku", 5), ("sku", "a\tb"),
])
def test_each_field_of_a_product_has_its_limits(refuse, shop, member, value):
    product = {"product_name": "iPad", "stock": 1, member: value}
    assert fields(refuse(422, "POST", "/products", product, call=shop.inventory)) == {member}
    if member != "stock":
        answer = refuse(422, "PATCH", "/products/1", {member: value}, call=shop.inventory)
        assert fields(answer) == {member}


@pytest.mark.parametrize("member, value", [
    ("delta", 0), ("delta", 0.5), ("delta", "1"), ("delta", None), ("delta", 1000000001),
    ("delta", -1000000001), ("delta", -10 ** 30), ("reason", ""), ("reason", "x" * 201),
    ("reason", 1), ("reason", "a\rb"), ("reason", None),
])
def test_each_field_of_a_stock_adjustment_has_its_limits(refuse, shop, member, value):
    adjustment = {"delta": 1, "reason": "count", member: value}
    answer = refuse(422, "POST", "/products/1/stock", adjustment, call=shop.inventory)
    assert fields(answer) == {member}


def test_stock_stays_between_its_limits(refuse, shop):
    for delta in (-50, 1000000000):
        refuse(409, "POST", "/products/1/stock", {"delta": delta, "reason": "count"},
               call=shop.inventory)


def test_a_sku_belongs_to_one_product(refuse, shop):
    refuse(409, "POST", "/products", {"product_name": "iPad", "stock": 1, "sku": "A-1"},
           call=shop.inventory)


@pytest.mark.parametrize("media_type", [
    "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data",
    "application/jsonx", "application/json+x", "application/problem+json", "json", "*/*",
    "text/plain; application/json", "application/json, text/plain",
])
def test_a_body_of_another_media_type_is_refused(refuse, media_type):
    headers = {"Content-Type": media_type}
    assert refuse(415, "POST", "/orders", SALE, headers=headers).json["type"].endswith("media-type")


def test_a_media_type_may_have_parameters(shop):
    for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/json ;"):
        answer = shop.orders("POST", "/orders", b"{}", headers={"Content-Type": media_type})
        assert answer.status == 422


def test_a_body_of_64_kib_is_read_and_a_byte_more_is_not(refuse, shop):
    padded = b"{}" + b" " * (BODY_MAX - 2)
    assert fields(refuse(422, "POST", "/orders", padded)) == {"user_id", "product_id", "quantity"}
    for path in ("/orders", "/products/1/stock", "/orders/1/cancel", "/nothing"):
        refuse(413, "POST", path, padded + b" ")
    assert refuse(413, "POST", "/orders", padded * 20).headers["Connection"] == "close"


def test_a_chunked_body_over_the_limit_is_refused(shop):
    before = shop.contents()
    chunk = b"%x\r\n" % 1000 + b" " * 1000 + b"\r\n"
    with Wire(shop.orders_port) as wire:
        wire.send(b"POST /orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                  b"Content-Type: application/json\r\n\r\n" + chunk * 70 + b"0\r\n\r\n")
        assert wire.answer().status == 413
    assert shop.contents() == before


def test_an_announced_giant_is_refused_before_it_comes(shop):
    for size in (BODY_MAX + 1, 10 ** 10, 2 ** 63 - 1):
        with Wire(shop.orders_port) as wire:
            wire.send(b"POST /orders HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                      b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
            assert wire.answer().status == 413


@pytest.mark.parametrize("path", [
    "/", "//", "/orders/", "//orders", "/Orders", "/orders/1/", "/orders/1/cancel/",
    "/orders//cancel", "/orders/1/cancel/1", "/orders/1/stock", "/order", "/ordersx",
    "/products/1/cancel",
    "/products/1/stock/1", "/orders/../orders", "/./orders", "/livez/", "/metrics/1",
    "/%00", "/livez%00", "/orders%00/1", "/orders%00", "/orders/1/cancel%00", "/%ff%fe", "/%",
    "/%zz",
    pytest.param("/" + "x" * 4000, id="a long one"),
])
def test_an_unknown_path_is_404(refuse, shop, path):
    if path != "/":  # the orders port may serve a page there
        refuse(404, "GET", path)
        refuse(404, "POST", path, SALE)
    refuse(404, "GET", path, call=shop.inventory)


def test_orders_are_served_on_the_orders_port_alone(refuse, shop):
    refuse(404, "POST", "/orders", SALE, call=shop.inventory)
    for path in ("/orders", "/orders/1"):
        refuse(404, "GET", path, call=shop.inventory)


ALLOWED = {"/orders": "GET, HEAD, POST", "/orders/1": "GET, HEAD", "/orders/1/cancel": "POST",
           "/products": "GET, HEAD, POST", "/products/1": "GET, HEAD, PATCH",
           "/products/1/stock": "POST", "/livez": "GET, HEAD", "/readyz": "GET, HEAD",
           "/healthz": "GET, HEAD", "/status": "GET, HEAD", "/metrics": "GET, HEAD"}
METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get", "Post", "X" * 60]


@pytest.mark.parametrize("path", ALLOWED)
def test_a_wrong_method_is_405_and_the_right_ones_are_told(refuse, path):
    for method in METHODS:
        if method not in ALLOWED[path].split(", "):
            answer = refuse(405, method, path, SALE if method != "GET" else None)
            assert answer.headers["Allow"] == ALLOWED[path]


NOT_IDS = ["0", "-1", "+1", "1.0", "1.5", "1e0", "0x1", "one", "%20", "1%20", "%201", "١", "1,2",
           "9007199254740992", "9223372036854775808", "18446744073709551617", "9" * 30, "*",
           "null", "1;2", "1'--", "%00", "1%00", "%0a1", "..%2f1",
           pytest.param("9" * 4000, id="4000 digits")]


@pytest.mark.parametrize("text", NOT_IDS)
def test_an_id_that_is_none_finds_nothing(refuse, text):
    text = urllib.parse.quote(text, safe="%+*,;'")
    refuse(404, "GET", f"/orders/{text}")
    refuse(404, "GET", f"/products/{text}")
    refuse(404, "POST", f"/orders/{text}/cancel")
    refuse(404, "PATCH", f"/products/{text}", {"price": 1})
    refuse(404, "POST", f"/products/{text}/stock", {"delta": 1, "reason": "count"})


def test_an_id_that_nothing_has_finds_nothing(refuse):
    for text in ("3", "9007199254740991"):
        refuse(404, "GET", f"/orders/{text}")
        refuse(404, "POST", f"/orders/{text}/cancel")
        refuse(404, "POST", f"/products/{text}/stock", {"delta": 1, "reason": "count"})


@pytest.mark.parametrize("query, named", [
    ("x=1", {"x"}), ("Limit=1", {"Limit"}), ("limit=0", {"limit"}), ("limit=501", {"limit"}),
    ("limit=", {"limit"}), ("limit", {"limit"}), ("limit=1.5", {"limit"}), ("limit=-1", {"limit"}),
    ("limit=1e2", {"limit"}), ("limit=%201", {"limit"}), ("limit=1%00", {"limit"}),
    ("after=-1", {"after"}),
    ("after=x", {"after"}), ("after=9007199254740992", {"after"}), ("after=" + "9" * 99, {"after"}),
    ("status=open", {"status"}), ("status=", {"status"}), ("status=Created", {"status"}),
    ("status=created&limit=x&after=y&z=1", {"limit", "after", "z"}), ("%ff=1", {"?"}),
    ("=1", {""}), pytest.param("x" * 3000 + "=1", {"x" * 60}, id="a long name"),
])
def test_wrong_query_parameters_are_named(refuse, query, named):
    assert fields(refuse(422, "GET", f"/orders?{query}")) == named


def test_products_have_no_status_to_ask_for(refuse):
    assert fields(refuse(422, "GET", "/products?status=created")) == {"status"}


BAD_REQUESTS = [
    *[("POST", "/products" if b"product_name" in body else "/orders", body)
      for body in MALFORMED.values() if len(body) < 1000],
    ("POST", "/orders", b"[" * 30000),
    ("POST", "/orders", b'{"user_id":1,"items":[' + b'{"q":1},' * 999 + b'{"q":1}]}'),
    ("POST", "/orders", b'{"user_id":1,"product_id":9,"quantity":1}'),
    ("POST", "/orders", b'{"user_id":1,"product_id":1,"quantity":1000000}'),
    ("POST", "/products/1/stock", b'{"delta":-1000000,"reason":"count"}'),
    ("PATCH", "/products/1", b"{}"), ("DELETE", "/orders", None), ("GET", "/nothing", None),
    ("GET", "/orders/abc", None), ("POST", "/orders/7/cancel", None), ("GET", "/orders?x=1", None),
    ("POST", "/orders", b" " * BODY_MAX),
]


def send_bad_requests(port, count):
    """On one connection, as long as the box keeps it."""
    with Wire(port) as wire:
        for method, path, body in itertools.islice(itertools.cycle(BAD_REQUESTS), count):
            answer = wire.request(method, path, body)
            assert 400 <= answer.status < 500, (method, path, body, answer)


def test_thousands_of_bad_requests_change_nothing_and_take_no_memory(shop):
    before = shop.contents()
    send_bad_requests(shop.orders_port, 20 * len(BAD_REQUESTS))
    resident = shop.resident_kib()
    for _ in range(20):
        send_bad_requests(shop.orders_port, 5 * len(BAD_REQUESTS))
    assert shop.contents() == before
    if not is_sanitized():
        assert shop.resident_kib() - resident <= GROWTH_MAX_KIB


@pytest.mark.parametrize("blank", [" ", "   ", "\u00a0", "\u3000 \u2003", "\ufeff"])
def test_a_text_of_nothing_but_spaces_is_no_text(refuse, shop, blank):
    for method, path, body in (
            ("POST", "/products", {"product_name": blank, "stock": 1}),
            ("POST", "/products", {"product_name": "tea", "stock": 1, "sku": blank}),
            ("PATCH", "/products/1", {"product_name": blank}),
            ("PATCH", "/products/1", {"sku": blank}),
            ("POST", "/products/1/stock", {"delta": 1, "reason": blank})):
        answer = refuse(422, method, path, body, call=shop.inventory)
        assert [error["detail"] for error in answer.json["errors"]] == ["must not be blank"]


def test_an_order_in_both_forms_is_told_to_choose(refuse):
    answer = refuse(422, "POST", "/orders", {"user_id": 1, "product_id": 1, "quantity": 1,
                                             "items": [{"product_id": 1, "quantity": 1}]})
    assert fields(answer) == {"product_id", "quantity"}
    assert all("items" in error["detail"] for error in answer.json["errors"])


@pytest.mark.parametrize("query", ["limit=1&limit=2", "after=0&after=0",
                                   "status=created&status=created"])
def test_a_parameter_that_is_given_twice_is_refused(refuse, query):
    answer = refuse(422, "GET", f"/orders?{query}")
    assert answer.json["errors"] == [{"field": query.split("=")[0], "detail": "is given twice"}]
