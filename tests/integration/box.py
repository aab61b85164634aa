"""Starts a real appliance on free loopback ports and talks to it."""

import functools
import http.client
import json
import os
import pathlib
import socket
import sqlite3
import struct
import subprocess
import time

from process import Program

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TILLBOX_BUILD", ROOT / "build"))
APPLIANCE = BUILD / "appliance"
START_SECONDS = 20  # sanitizers are slow


class Answer:
    """An HTTP answer: status, headers, and the body as bytes, as text and, where it is JSON, as a
    value."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @functools.cached_property
    def text(self):
        return self.body.decode()

    @functools.cached_property
    def json(self):
        is_json = "json" in self.headers.get("Content-Type", "")
        return json.loads(self.text) if is_json and self.body else None

    def __repr__(self):
        return f"{self.status} {self.body.decode(errors='replace')}"


def call(port, method, path, body=None, headers=None, timeout=20):
    """One request on a connection of its own. A body that isn't text or bytes is sent as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Wire:
    """A connection that sends any bytes as they are, and takes the answers one by one."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, path, body=None, headers=()):
        """Sends a request and takes its answer. A body that isn't bytes is sent as JSON."""
        self.send(request_bytes(method, path, body, headers))
        return self.answer()

    def answer(self):
        """The next answer, or None if the connection was closed before it."""
        while b"\r\n\r\n" not in self.received:
            if not self._receive():
                if self.received:
                    raise ConnectionError(f"closed inside an answer: {self.received!r}")
                return None
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = http.client.HTTPMessage()
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        status = int(lines[0].split()[1])
        size = int(headers.get("Content-Length", 0)) if status >= 200 else 0
        while len(self.received) < size:
            if not self._receive():
                raise ConnectionError(f"closed inside an answer: {head!r}")
        body, self.received = self.received[:size], self.received[size:]
        return Answer(status, headers, body)

    def answers(self):
        """Every answer up to the connection's end. A reset after the last one is an end too."""
        answers = []
        try:
            while answer := self.answer():
                answers.append(answer)
        except ConnectionResetError:
            pass
        return answers

    def _receive(self):
        data = self.socket.recv(1 << 16)
        self.received += data
        return len(data)

    def wait_until_read(self):
        """Until the box has taken what was sent out of the kernel's hands."""
        ends = [f":{end[1]:04X}" for end in (self.socket.getpeername(), self.socket.getsockname())]

        def is_read():
            rows = [line.split() for line in
                    pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
            return any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[9] != "0"
                       and row[4].endswith(":00000000") for row in rows)
        wait_until(is_read, what="the box's reading")

    def close(self):
        self.socket.close()

    def reset(self):
        """Leaves without a farewell: the other side gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def request_bytes(method, path, body=None, headers=()):
    """A whole request as `Wire` sends it; `headers` are pairs."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body is not None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def run_command(*arguments, **options):
    """Runs `appliance ARGUMENTS` to its end."""
    return subprocess.run([APPLIANCE, *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, check=False, **options)


def wait_until(condition, seconds=10, what="the condition"):
    """The first true answer of `condition`, which is asked again and again."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} didn't come within {seconds} s"
        time.sleep(0.01)
    return value


def shared_libraries():
    """What the appliance is linked with, as ldd prints it."""
    return subprocess.run(["ldd", APPLIANCE], capture_output=True, text=True, check=True).stdout


def is_sanitized():
    """Was it built with a sanitizer, which takes memory and time of its own?"""
    return "san.so" in shared_libraries()


class Box(Program):
    """An appliance on the data folder `data_dir`."""

    def __init__(self, data_dir, *arguments, environment=None, prefix=()):
        self.data_dir = pathlib.Path(data_dir)
        self.arguments = arguments
        self.environment = environment or {}
        self.prefix = prefix
        self.process = None
        self.log_path = self.data_dir.parent / (self.data_dir.name + ".log")

    def start(self):
        command = [*self.prefix, APPLIANCE, "serve", "--data-dir", self.data_dir,
                   "--orders-listen", "127.0.0.1:0", "--inventory-listen", "127.0.0.1:0",
                   *self.arguments]
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stderr=log,
                                            env={**os.environ, **self.environment})
        ready = self._wait_for_ready(log_start)
        self.orders_port = ready["orders_port"]
        self.inventory_port = ready["inventory_port"]
        return self

    def _wait_for_ready(self, log_start):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log_lines(log_start):
                if line.get("event") == "appliance.ready":
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        raise RuntimeError(f"the appliance didn't start: {self.log_path.read_text()}")

    def log_lines(self, start=0):
        """The log's whole lines from byte `start` on; what isn't JSON comes as {"text": line}."""
        lines = []
        with open(self.log_path, "rb") as log:
            log.seek(start)
            for line in log.read().decode(errors="replace").split("\n")[:-1]:
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    lines.append({"text": line})
        return lines

    def log_events(self, event):
        """The log's lines of one event."""
        return [line for line in self.log_lines() if line.get("event") == event]

    def orders(self, method, path, body=None, **options):
        return call(self.orders_port, method, path, body, **options)

    def inventory(self, method, path, body=None, **options):
        return call(self.inventory_port, method, path, body, **options)

    def add_product(self, stock=50, name="iPhone", **members):
        answer = self.inventory("POST", "/products",
                                {"product_name": name, "stock": stock, **members})
        assert answer.status == 201, answer
        return answer.json["product_id"]

    def sell(self, product_id=1, quantity=1, user_id=1, **options):
        return self.orders("POST", "/orders", {"user_id": user_id, "product_id": product_id,
                                               "quantity": quantity}, **options)

    def stock(self, product_id=1):
        return self.inventory("GET", f"/products/{product_id}").json["stock"]

    def status(self):
        return self.orders("GET", "/status").json

    def metric(self, name):
        """The value of a metric; `name` with its labels, as /metrics writes it."""
        lines = self.orders("GET", "/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(name + " ")))

    def query(self, sql, *values):
        """Rows of the journal, read beside the appliance."""
        connection = sqlite3.connect(f"file:{self.data_dir}/journal.db?mode=ro", uri=True,
                                     timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def contents(self):
        """All that a change would change: how much there is of everything, and the stock."""
        return self.query("SELECT (SELECT count(*) FROM events),"
                          " (SELECT max(sequence) FROM events), (SELECT count(*) FROM orders),"
                          " (SELECT count(*) FROM orders WHERE cancelled_at_ms IS NOT NULL),"
                          " (SELECT count(*) FROM idempotency_keys),"
                          " (SELECT json_group_array(json_array(product_name, stock, price, sku))"
                          "  FROM products)")[0]

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines()
                        if line.startswith("VmRSS")).split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
