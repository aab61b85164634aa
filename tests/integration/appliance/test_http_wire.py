"""Broken, ambiguous, slow and vanishing clients, on raw sockets."""

import threading
import time

import pytest

from box import Box
from box import Wire
from box import request_bytes
from box import wait_until

DEADLINE_SECONDS = 15
DESCRIPTORS_FOR_LATER = 4
SALE = b'{"user_id":1,"product_id":1,"quantity":1}'
HIDDEN = request_bytes("POST", "/orders", SALE)
CHUNKED_HIDDEN = b"0\r\n\r\n" + HIDDEN


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    box = Box(tmp_path_factory.mktemp("wire") / "var").start()
    try:
        box.add_product(stock=1000000)
        before = box.descriptors()
        yield box
        wait_for_descriptors(box, before)
        assert box.sell().status == 201
    finally:
        code = box.stop()
    assert code == 0


def wait_for_descriptors(box, before):
    """Until no more are open than before, but for a few that the box opens when it first needs
    them."""
    wait_until(lambda: box.descriptors() <= before + DESCRIPTORS_FOR_LATER,
               what="the end of every connection")


def order_count(box):
    return box.query("SELECT count(*) FROM orders")[0][0]


def stock_adds_up(box):
    sold = box.query("SELECT ifnull(sum(value ->> '$.quantity'), 0) FROM orders, json_each(items)")
    return box.stock() + sold[0][0] == 1000000


def exchange(box, data, patience=0.25):
    """Every answer to these bytes until the box closes, or has said nothing for a while. Where it
    is to close, the last request had better ask for it: the box takes a half-closed connection for
    one whose client has left."""
    with Wire(box.orders_port, patience) as wire:
        answers = []
        try:
            wire.send(data)
            while answer := wire.answer():
                answers.append(answer)
        except (ConnectionError, TimeoutError):
            pass
        return answers


def closing(method, path, body=None):
    return request_bytes(method, path, body, [("Connection", "close")])


def head(*lines):
    return "\r\n".join(("POST /orders HTTP/1.1", "Host: localhost",
                        "Content-Type: application/json", *lines, "", "")).encode("latin-1")


# What follows the header is, to one reader, a second request, and to another, a body.
AMBIGUOUS = {
    "length and chunked": head("Content-Length: 5", "Transfer-Encoding: chunked")
                          + CHUNKED_HIDDEN,
    "chunked and length": head("Transfer-Encoding: chunked", f"Content-Length: {len(HIDDEN) + 5}")
                          + CHUNKED_HIDDEN,
    "zero length and chunked": head("Content-Length: 0", "Transfer-Encoding: chunked")
                               + CHUNKED_HIDDEN,
    "two lengths": head("Content-Length: 0", f"Content-Length: {len(HIDDEN)}") + HIDDEN,
    "two lengths the other way": head(f"Content-Length: {len(SALE)}", "Content-Length: 0")
                                 + SALE + HIDDEN,
    "the same length twice": head("Content-Length: 0", "Content-Length: 0") + HIDDEN,
    "a list of lengths": head("Content-Length: 0, 0") + HIDDEN,
    "an empty length": head("Content-Length:") + HIDDEN,
    "a length with a sign": head("Content-Length: +0") + HIDDEN,
    "a negative length": head("Content-Length: -1") + HIDDEN,
    "a length with letters": head("Content-Length: 0x") + HIDDEN,
    "a hexadecimal length": head("Content-Length: 0x0") + HIDDEN,
    "a length beyond 64 bits": head("Content-Length: 18446744073709551616") + HIDDEN,
    "a length with a fraction": head("Content-Length: 0.0") + HIDDEN,
    "a length and a space before the colon": head(f"Content-Length : {len(HIDDEN)}") + HIDDEN,
    "a length and a tab before the colon": head(f"Content-Length\t: {len(HIDDEN)}") + HIDDEN,
    "chunked and a space before the colon": head("Transfer-Encoding : chunked") + CHUNKED_HIDDEN,
    "chunked twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")
                     + CHUNKED_HIDDEN,
    "chunked, chunked": head("Transfer-Encoding: chunked, chunked") + CHUNKED_HIDDEN,
    "chunked and identity": head("Transfer-Encoding: chunked, identity") + CHUNKED_HIDDEN,
    "identity": head("Transfer-Encoding: identity", "Content-Length: 0") + HIDDEN,
    "gzip": head("Transfer-Encoding: gzip") + HIDDEN,
    "an unknown encoding": head("Transfer-Encoding: xchunked") + CHUNKED_HIDDEN,
    "an encoding with a parameter": head("Transfer-Encoding: chunked;q=1") + CHUNKED_HIDDEN,
    "an empty encoding": head("Transfer-Encoding:") + CHUNKED_HIDDEN,
    "a quoted encoding": head('Transfer-Encoding: "chunked"') + CHUNKED_HIDDEN,
    "an encoding after a vertical tab": head("Transfer-Encoding: \x0bchunked") + CHUNKED_HIDDEN,
    "an encoding on a second line": head("Transfer-Encoding:", " chunked") + CHUNKED_HIDDEN,
    "a header that begins with a space": head(" Transfer-Encoding: chunked") + CHUNKED_HIDDEN,
    "two hosts": head("Host: localhost", "Content-Length: 0") + HIDDEN,
    "two hosts that differ": head("Host: example.com", "Content-Length: 0") + HIDDEN,
    "a chunk size of letters": head("Transfer-Encoding: chunked") + b"zz\r\n" + HIDDEN,
    "a negative chunk size": head("Transfer-Encoding: chunked") + b"-1\r\n" + HIDDEN,
    "a chunk size with 0x": head("Transfer-Encoding: chunked") + b"0x0\r\n\r\n" + HIDDEN,
    "an empty chunk size": head("Transfer-Encoding: chunked") + b"\r\n\r\n" + HIDDEN,
    "a chunk size beyond 64 bits": head("Transfer-Encoding: chunked")
                                   + b"10000000000000000\r\n\r\n" + HIDDEN,
    "a chunk longer than its size": head("Transfer-Encoding: chunked") + b"1\r\nxx\r\n0\r\n\r\n"
                                    + HIDDEN,
    "a chunk without its end": head("Transfer-Encoding: chunked") + b"1\r\nx0\r\n\r\n" + HIDDEN,
    "no last chunk": head("Transfer-Encoding: chunked") + b"1\r\nx\r\n" + HIDDEN,
    "a chunk size after a space": head("Transfer-Encoding: chunked") + b" 0\r\n\r\n" + HIDDEN,
    "a NUL in the path": head(f"Content-Length: {len(HIDDEN)}").replace(b"orders", b"orders\0", 1)
                         + HIDDEN,
    "a NUL in a header's name": head(f"Content-Length\0: {len(HIDDEN)}") + HIDDEN,
    "a NUL behind a length": head(f"Content-Length: {len(HIDDEN)}\0") + HIDDEN,
    "a NUL before a length": head(f"Content-Length: \0{len(HIDDEN)}") + HIDDEN,
    "a bare CR before a length": head(f"X: y\rContent-Length: {len(HIDDEN)}") + HIDDEN,
    "a bare LF before a length": head(f"X: y\nContent-Length: {len(HIDDEN)}") + HIDDEN,
    "a bare CR before an encoding": head(f"Content-Length: {len(HIDDEN) + 5}",
                                         "X: y\rTransfer-Encoding: chunked") + CHUNKED_HIDDEN,
    "HTTP/0.9": b"POST /orders\r\n" + HIDDEN,
    "HTTP/0.9 with a version": b"POST /orders HTTP/0.9\r\n\r\n" + HIDDEN,
    "HTTP/2.0": b"POST /orders HTTP/2.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "HTTP/9.9": b"POST /orders HTTP/9.9\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "no version but two spaces": b"POST  /orders\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + HIDDEN,
    "a header without a colon": head(f"Content-Length {len(HIDDEN)}") + HIDDEN,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_what_it_hides_is_never_executed(shop, name):
    before = order_count(shop)
    answers = exchange(shop, AMBIGUOUS[name])
    assert order_count(shop) == before, answers
    assert len(answers) <= 1, answers
    assert all(400 <= answer.status <= 505 for answer in answers), answers


PROBLEMS = ["length and chunked", "two lengths", "two hosts", "gzip", "chunked twice"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_ambiguous_request_is_told_what_is_wrong(shop, name):
    answer, = exchange(shop, AMBIGUOUS[name])
    assert answer.status == (501 if name == "gzip" else 400)
    assert answer.headers["Connection"].lower() == "close"
    assert answer.json["status"] == answer.status


@pytest.mark.parametrize("name, values", [
    ("Idempotency-Key", ("a", "b")), ("Idempotency-Key", ("a", "a")),
    ("Content-Type", ("text/plain",)), ("Authorization", ("Bearer a", "Bearer b")),
    ("Origin", ("http://localhost", "http://example.com"))])
def test_a_header_that_counts_is_not_read_twice_over(shop, name, values):
    before = order_count(shop)
    lines = [f"{name}: {value}" for value in values]
    answer, = exchange(shop, head(f"Content-Length: {len(SALE)}", *lines) + SALE)
    assert answer.status == 400, answer
    assert answer.json["detail"] == f"the header {name} is repeated"
    assert order_count(shop) == before


def test_a_chunked_body_is_taken(shop):
    half = len(SALE) // 2
    data = head("Transfer-Encoding: chunked") + b"%x;name=value\r\n" % half + SALE[:half] \
        + b"\r\n%X\r\n" % (len(SALE) - half) + SALE[half:] + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
    answers = exchange(shop, data + closing("POST", "/orders", SALE), patience=20)
    assert [answer.status for answer in answers] == [201, 201]


@pytest.mark.parametrize("data", [
    b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nhOST:localhost\r\n\r\n",
    b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n",
    b"GET /livez?x=1#here HTTP/1.1\r\nHost: localhost\r\n\r\n",
])
def test_unusual_requests_get_one_clear_answer(shop, data):
    answer, = exchange(shop, data)
    assert answer.status in (200, 400, 404)


@pytest.mark.parametrize("target", [
    "http://example.com/orders", "http://localhost/orders", "http://evil@localhost/orders",
    "//localhost/orders", "localhost:8081", "*", "orders", "\\orders", "http:/orders",
    "/orders%00", "/orders%00/1/cancel", "\0/orders",
])
def test_a_sale_needs_a_plain_path(shop, target):
    before = order_count(shop)
    answers = exchange(shop, closing("POST", target, SALE), patience=20)
    assert [answer.status for answer in answers] in ([400], [404], [421], [])
    assert order_count(shop) == before


@pytest.mark.parametrize("host", ["Host: localhost", ""])
def test_http_1_0_is_answered_and_closed(shop, host):
    with Wire(shop.orders_port) as wire:
        wire.send(f"GET /livez HTTP/1.0\r\n{host}\r\n\r\n".encode())
        answers = wire.answers()
    assert [answer.status for answer in answers] == [200 if host else 400]


def test_a_bare_line_feed_between_header_and_body_hides_nothing(shop):
    before = order_count(shop)
    text = (head(f"Content-Length: {len(SALE)}") + SALE).replace(b"\r\n", b"\n")
    answers = exchange(shop, text)
    assert len(answers) == 1
    assert order_count(shop) - before == (1 if answers[0].status == 201 else 0)


@pytest.mark.parametrize("data", [
    b"GET /" + b"x" * 60000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60000 + b"\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"x" * 60000,
    b"x" * 600000,
    b"\r\n" * 100000,
    b"GET /livez?" + b"a=1&" * 15000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
], ids=["path", "header", "headers", "half a header", "no request", "empty lines", "query"])
def test_a_huge_head_is_refused_or_cut_off(shop, data):
    try:
        answers = exchange(shop, data + HIDDEN)
    except ConnectionError:
        answers = []
    assert len(answers) <= 1
    assert all(answer.status in (400, 413, 414, 431) for answer in answers), answers
    assert shop.orders("GET", "/livez").status == 200


def test_a_browser_with_all_its_cookies_is_served(shop):
    """Other programs on the same host name fill its jar."""
    cookies = "; ".join(f"cookie-{number}=" + "x" * 60 for number in range(200))
    answer = shop.orders("GET", "/status", headers={"Cookie": cookies})
    assert answer.status == 200


def test_pipelined_requests_are_answered_in_their_order(shop):
    before = order_count(shop)
    sales = [request_bytes("POST", "/orders", {"user_id": n, "product_id": 1, "quantity": 1})
             for n in range(1, 101)]
    answers = exchange(shop, b"".join(sales) + closing("GET", "/livez"), patience=20)[:-1]
    assert [answer.status for answer in answers] == [201] * 100
    assert [answer.json["user_id"] for answer in answers] == list(range(1, 101))
    assert [answer.json["id"] for answer in answers] == list(range(before + 1, before + 101))
    reads = [request_bytes("GET", f"/orders/{before + n}") for n in range(1, 51)]
    answers = exchange(shop, b"".join(reads) + closing("GET", "/livez"), patience=20)[:-1]
    assert [answer.json["user_id"] for answer in answers] == list(range(1, 51))


def test_a_refused_request_in_a_pipeline_spoils_no_other(shop):
    bad = request_bytes("POST", "/orders", b'{"user_id":')
    nowhere = request_bytes("POST", "/nowhere", SALE)
    answers = exchange(shop, HIDDEN + bad + HIDDEN + nowhere + closing("POST", "/orders", SALE),
                       patience=20)
    assert [answer.status for answer in answers] == [201, 400, 201, 404, 201]


def test_nothing_after_a_request_that_closes_is_executed(shop):
    before = order_count(shop)
    answers = exchange(shop, closing("POST", "/orders", SALE) + HIDDEN, patience=20)
    assert [answer.status for answer in answers] == [201]
    assert order_count(shop) == before + 1


def test_a_client_that_expects_100_continue_gets_it(shop):
    with Wire(shop.orders_port) as wire:
        wire.send(head(f"Content-Length: {len(SALE)}", "Expect: 100-continue"))
        assert wire.answer().status == 100
        wire.send(SALE)
        assert wire.answer().status == 201


def test_head_is_get_without_the_body(shop):
    with Wire(shop.orders_port) as wire:
        wire.send(request_bytes("HEAD", "/orders", None, [("Connection", "close")]))
        received = b"".join(iter(lambda: wire.socket.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n")


def drip(port, data, first=b""):
    """Sends a byte a second until the box has had enough: how many seconds that took."""
    started = time.monotonic()
    with Wire(port) as wire:
        wire.send(first)
        for n in range(2 * DEADLINE_SECONDS):
            try:
                wire.send(data[n:n + 1])
            except (BrokenPipeError, ConnectionResetError):
                break
            if is_closed(wire, 1):
                break
    return time.monotonic() - started


def is_closed(wire, seconds):
    wire.socket.settimeout(seconds)
    try:
        while wire.socket.recv(1 << 16):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def wait_for_close(port, data):
    """Sends this and waits: how many seconds until the box closed."""
    started = time.monotonic()
    with Wire(port) as wire:
        wire.send(data)
        is_closed(wire, 2 * DEADLINE_SECONDS)
    return time.monotonic() - started


def ask_and_read_nothing(port, count):
    """Asks for more than fits into the socket buffers: seconds until the box closed."""
    started = time.monotonic()
    wire = Wire(port, timeout=0.5)
    asked = request_bytes("GET", "/orders?limit=500")
    try:
        for _ in range(count):
            wire.send(asked)
    except TimeoutError:
        pass
    while time.monotonic() < started + 2 * DEADLINE_SECONDS:
        try:
            wire.send(b"x")
        except TimeoutError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            break
        time.sleep(0.2)
    wire.close()
    return time.monotonic() - started


def stay_idle(port):
    """An idle connection that has brought whole requests may stay longer than the deadline."""
    with Wire(port) as wire:
        assert wire.request("GET", "/livez").status == 200
        time.sleep(DEADLINE_SECONDS + 3)
        assert wire.request("GET", "/livez").status == 200
    return DEADLINE_SECONDS


def test_slow_clients_are_closed_at_the_deadline_and_hold_up_nobody(shop):
    before = order_count(shop)
    attempts = {
        "drips its header": lambda: drip(shop.orders_port, HIDDEN),
        "drips its body": lambda: drip(shop.orders_port, b" " * 1000,
                                       first=head("Content-Length: 1000")),
        "drips chunks": lambda: drip(shop.orders_port, b"1\r\n{\r\n" * 30,
                                     first=head("Transfer-Encoding: chunked")),
        "keeps its last byte": lambda: wait_for_close(
            shop.orders_port, head(f"Content-Length: {len(SALE)}") + SALE[:-1]),
        "says nothing": lambda: wait_for_close(shop.orders_port, b""),
        "stops in its header": lambda: wait_for_close(shop.orders_port, HIDDEN[:30]),
        "reads nothing": lambda: ask_and_read_nothing(shop.orders_port, 2000),
        "is idle between requests": lambda: stay_idle(shop.orders_port),
    }
    took, sales = {}, []
    threads = [threading.Thread(target=lambda name=name: took.update({name: attempts[name]()}))
               for name in attempts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        assert shop.sell().status == 201
        sales.append(time.monotonic() - started)
        time.sleep(0.05)
    assert set(took) == set(attempts), "one of the slow clients failed"
    assert all(DEADLINE_SECONDS - 1 <= seconds <= DEADLINE_SECONDS + 3
               for seconds in took.values()), took
    assert order_count(shop) - before == len(sales)
    assert max(sales) < 2


def leave(port, data, how):
    wire = Wire(port)
    wire.send(data)
    wire.reset() if how == "reset" else wire.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_clients_that_leave_in_a_request_leave_nothing_behind(shop, how):
    before, descriptors = order_count(shop), shop.descriptors()
    for size in range(0, len(HIDDEN)):
        leave(shop.orders_port, HIDDEN[:size], how)
    wait_for_descriptors(shop, descriptors)
    assert order_count(shop) == before
    assert shop.sell().status == 201


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_sale_whose_client_leaves_is_made_once_or_not_at_all(shop, how):
    before, descriptors = order_count(shop), shop.descriptors()
    for n in range(200):
        leave(shop.orders_port, request_bytes("POST", "/orders", {
            "user_id": 5000 + n, "product_id": 1, "quantity": 1}), how)
    wait_for_descriptors(shop, descriptors)
    made = shop.query("SELECT user_id, count(*) FROM orders WHERE order_id > ? GROUP BY user_id",
                      before)
    assert all(count == 1 for _, count in made)
    wait_until(lambda: stock_adds_up(shop), what="the books balance")  # one may still be under way
    assert shop.sell().status == 201


def test_clients_that_leave_in_an_answer_leave_nothing_behind(shop):
    descriptors = shop.descriptors()
    for n in range(100):
        wire = Wire(shop.orders_port)
        wire.send(request_bytes("GET", "/orders?limit=500") * 20)
        wire.socket.recv(1000)
        wire.reset() if n % 2 else wire.close()
    wait_for_descriptors(shop, descriptors)
    assert shop.orders("GET", "/livez").status == 200


def test_thousands_that_connect_and_leave_take_nothing_with_them(shop):
    descriptors = shop.descriptors()
    for n in range(3000):
        port = shop.orders_port if n % 2 else shop.inventory_port
        leave(port, b"", "reset" if n % 3 else "close")
    assert shop.sell().status == 201
    wait_for_descriptors(shop, descriptors)


def test_more_connections_than_the_limit_lock_nobody_out_for_good(shop):
    wires = []
    try:
        for _ in range(1200):
            wires.append(Wire(shop.orders_port))
        served = 0
        for wire in wires[:900]:
            served += wire.request("GET", "/livez").status == 200
        assert served == 900
        assert shop.inventory("GET", "/products/1").status == 200
    finally:
        for wire in wires:
            wire.close()
    assert wait_until(lambda: shop.sell(), what="a sale").status == 201
