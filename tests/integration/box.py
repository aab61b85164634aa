"""Starts a real appliance on free loopback ports and talks to it."""

import http.client
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TILLBOX_BUILD", ROOT / "build"))
APPLIANCE = BUILD / "appliance"
START_SECONDS = 20  # sanitizers are slow


class Answer:
    """An HTTP answer: status, headers, and the body as text and, where it is JSON, as a value."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        is_json = "json" in response.headers.get("Content-Type", "")
        self.json = json.loads(self.text) if is_json and self.text else None

    def __repr__(self):
        return f"{self.status} {self.text}"


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
        return Answer(connection.getresponse())
    finally:
        connection.close()


def run_command(*arguments, **options):
    """Runs `appliance ARGUMENTS` to its end."""
    return subprocess.run([APPLIANCE, *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, check=False, **options)


class Box:
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

    def stop(self, timeout=20):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        self.process.kill()
        self.process.wait()

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

    def query(self, sql, *values):
        """Rows of the journal, read beside the appliance."""
        connection = sqlite3.connect(f"file:{self.data_dir}/journal.db?mode=ro", uri=True,
                                     timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines()
                        if line.startswith("VmRSS")).split()[1])
