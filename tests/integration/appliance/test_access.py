"""Who may talk to the box: tokens, host names, web pages."""

import pytest

from box import Wire
from box import request_bytes

TOKEN = "a-token-of-32-characters-or-more"
SALE = b'{"user_id":1,"product_id":1,"quantity":1}'


@pytest.fixture
def shop(box):
    box.add_product(stock=1000)
    return box


@pytest.fixture
def guarded(make_box, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    return make_box("--api-token-file", tmp_path / "token")


def ask(port, method, path, body=None, host="localhost", **headers):
    """One request with exactly these headers."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = request_bytes(method, path, body, headers.items())
    data = data.replace(b"Host: localhost\r\n", b"" if host is None
                        else f"Host: {host}\r\n".encode("latin-1"))
    with Wire(port) as wire:
        wire.send(data)
        return wire.answer()


def test_every_call_needs_the_token(guarded):
    calls = [("GET", "/orders"), ("GET", "/orders/1"), ("POST", "/orders"), ("GET", "/products"),
             ("POST", "/orders/1/cancel"), ("POST", "/products"), ("GET", "/products/1"),
             ("PATCH", "/products/1"), ("POST", "/products/1/stock"), ("GET", "/status"),
             ("GET", "/metrics"), ("GET", "/nowhere"), ("DELETE", "/orders"), ("GET", "/livez/"),
             ("GET", "/livez/../orders"), ("GET", "//livez")]
    before = guarded.contents()
    for port in (guarded.orders_port, guarded.inventory_port):
        for method, path in calls:
            answer = ask(port, method, path, SALE if method in ("POST", "PATCH") else None)
            assert answer.status == 401, path
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json["type"] == "urn:tillbox:problem:unauthorized"
    assert guarded.contents() == before


def test_probes_are_open_to_all(guarded):
    for port in (guarded.orders_port, guarded.inventory_port):
        for path in ("/livez", "/readyz", "/healthz"):
            assert ask(port, "GET", path).status == 200


@pytest.mark.parametrize("authorization", [
    "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer x{TOKEN}",
    f"Bearer {TOKEN.upper()}", f"Basic {TOKEN}", f"Bearer: {TOKEN}", f"Bearer {TOKEN} {TOKEN}",
    f"Bearer {TOKEN},", f"Token {TOKEN}", f'Bearer "{TOKEN}"', "Bearer " + "x" * 4000,
])
def test_a_wrong_token_is_refused(guarded, authorization):
    assert ask(guarded.orders_port, "GET", "/status", Authorization=authorization).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_right_token_opens_both_ports(guarded, scheme):
    for port in (guarded.orders_port, guarded.inventory_port):
        answer = ask(port, "GET", "/status", Authorization=f"{scheme} {TOKEN}")
        assert answer.status == 200


def test_a_sale_with_the_token_is_made(guarded):
    header = {"Authorization": f"Bearer {TOKEN}"}
    product = {"product_name": "iPhone", "stock": 5}
    assert guarded.inventory("POST", "/products", product, headers=header).status == 201
    assert guarded.sell(headers=header).status == 201
    assert guarded.sell().status == 401
    assert guarded.query("SELECT count(*) FROM orders") == [(1,)]


def test_the_box_answers_to_the_names_of_this_machine(shop):
    port = shop.orders_port
    for host in ("localhost", "LocalHost", "127.0.0.1", "[::1]", f"localhost:{port}",
                 "127.0.0.1:8081", "localhost:80", "[::1]:8081"):
        assert ask(port, "GET", "/livez", host=host).status == 200, host


@pytest.mark.parametrize("host", [
    "example.com", "example.com:8081", "localhost.example.com", "example.com.localhost",
    "localhost.", "127.0.0.1.example.com", "127.0.0.2", "0.0.0.0", "[::]", "192.168.1.1",
    "xlocalhost", "localhostx", "user@localhost", "[localhost]", "[::1",
])
def test_a_foreign_host_is_refused_before_anything_is_done(shop, host):
    before = shop.contents()
    for method, path in (("GET", "/livez"), ("GET", "/nowhere"), ("POST", "/orders")):
        answer = ask(shop.orders_port, method, path, SALE if method == "POST" else None, host=host)
        assert answer.status == 421
        assert answer.json["type"] == "urn:tillbox:problem:misdirected"
    assert shop.contents() == before


@pytest.mark.parametrize("host", [None, "", " ", ":8081", "localhost:", "localhost:x",
                                  "localhost:-1", "localhost:65536", "localhost:80:80",
                                  "localhost:+80", "localhost:80a", "[::1]x", "h" * 300])
def test_a_host_that_can_not_be_read_is_refused(shop, host):
    before = shop.contents()
    answer = ask(shop.orders_port, "POST", "/orders", SALE, host=host)
    assert answer.status == 400
    assert shop.contents() == before


def test_further_names_can_be_allowed(make_box):
    box = make_box("--allowed-hosts", "till.example, 192.0.2.7")
    for host in ("till.example", "TILL.example:8081", "192.0.2.7", "192.0.2.7:80", "localhost"):
        assert ask(box.orders_port, "GET", "/livez", host=host).status == 200, host
    for host in ("example", "a.till.example", "192.0.2.8", "till.example.com"):
        assert ask(box.orders_port, "GET", "/livez", host=host).status == 421, host


@pytest.mark.parametrize("origin", [
    "http://example.com", "https://example.com", "null", "", "http://localhost.example.com",
    "http://localhost:1", "http://127.0.0.1:1", "file://", "http://", "localhost",
    "http://example.com#http://localhost", "http://user@localhost", "chrome-extension://abc",
    "http://localhost/", "http://localhost http://localhost", "ftp://localhost",
])
def test_a_foreign_web_page_is_refused_before_anything_is_done(shop, origin):
    before = shop.contents()
    for port in (shop.orders_port, shop.inventory_port):
        for method, path in (("GET", "/orders"), ("POST", "/orders"), ("OPTIONS", "/orders"),
                             ("GET", "/livez")):
            answer = ask(port, method, path, SALE if method == "POST" else None,
                         host=f"localhost:{port}", Origin=origin)
            assert answer.status == 403, (method, path, answer)
            assert answer.json["type"] == "urn:tillbox:problem:foreign-origin"
    assert shop.contents() == before


def test_the_box_s_own_pages_may_use_both_ports(shop):
    ports = (shop.orders_port, shop.inventory_port)
    for port in ports:
        for page_port in ports:
            for name in ("localhost", "127.0.0.1", "LOCALHOST"):
                answer = ask(port, "GET", "/products", host=f"{name}:{port}",
                             Origin=f"http://{name}:{page_port}")
                assert answer.status == 200, (port, page_port, name)


def test_a_page_of_an_allowed_host_may_use_the_box(make_box):
    box = make_box("--allowed-hosts", "till.example")
    for origin, status in (("http://till.example", 200), ("https://till.example", 200),
                           ("http://other.example", 403), ("http://till.example:1", 403)):
        answer = ask(box.orders_port, "GET", "/products", host="till.example", Origin=origin)
        assert answer.status == status, origin


def test_no_page_is_ever_let_in_by_cors(shop):
    port = shop.orders_port
    answers = [ask(port, method, path, host=f"localhost:{port}", Origin=origin,
                   Access_Control_Request_Method="POST",
                   Access_Control_Request_Headers="content-type")
               for method in ("GET", "OPTIONS", "POST")
               for path in ("/products", "/livez", "/nowhere")
               for origin in (f"http://localhost:{port}", "http://example.com", "null")]
    for answer in answers:
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_answers_are_not_cached_nor_sniffed(shop):
    for path in ("/orders", "/products/1", "/status", "/metrics", "/nowhere"):
        headers = shop.orders("GET", path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_order_of_checks_tells_strangers_nothing(guarded):
    port = guarded.orders_port
    assert ask(port, "GET", "/nowhere", host="example.com").status == 421
    assert ask(port, "GET", "/nowhere", Origin="http://example.com").status == 403
    assert ask(port, "GET", "/nowhere").status == 401
    assert ask(port, "POST", "/orders", b"{").status == 401
