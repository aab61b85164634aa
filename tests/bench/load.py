"""The load: wrk with orders.lua, one order at a time, and the flush of the disk below."""
import dataclasses
import http.client
import json
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
TIMEOUT_S = 10


class BenchError(Exception):
    """Something broke: this is no figure."""


@dataclasses.dataclass(frozen=True)
class Load:
    """What wrk saw of one round."""
    answers: int
    duration_us: int
    p50_us: int
    p99_us: int
    max_us: int
    not_created: int
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int

    @property
    def rate(self):
        return self.answers * 1e6 / self.duration_us

    @property
    def socket_errors(self):
        return self.connect_errors + self.read_errors + self.write_errors + self.timeouts


def order_body(product_id):
    return json.dumps({"user_id": 1, "product_id": product_id, "quantity": 1},
                      separators=(",", ":"))


def wrk_command(port, product_id, connections, seconds, key_prefix=None):
    if not shutil.which("wrk"):
        raise BenchError("wrk is not installed (apt-get install wrk)")
    keys = [key_prefix] if key_prefix else []
    return ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s",
            f"--script={HERE / 'orders.lua'}", f"http://127.0.0.1:{port}/orders",
            "--", order_body(product_id), *keys]


def place_orders(port, product_id, connections, seconds, key_prefix=None):
    """One round. An answer that isn't 201 ends the benchmark; socket errors are the caller's."""
    command = wrk_command(port, product_id, connections, seconds, key_prefix)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + TIMEOUT_S)
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    load = Load(**json.loads(done.stdout.strip().splitlines()[-1]))
    if load.not_created:
        raise BenchError(f"{load.not_created} of {load.answers} orders weren't answered 201")
    if not load.answers:
        raise BenchError(f"no answer in {seconds} s over {connections} connections")
    return load


def post(port, path, body):
    """One POST on a connection of its own: status and body, parsed if it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def place_order(port, product_id):
    """The number of the order just placed."""
    status, answer = post(port, "/orders", order_body(product_id))
    if status != 201:
        raise BenchError(f"an order was answered {status}: {answer}")
    return answer["id"]


def measure_flush(build, folder, count):
    """Durations of an append with fdatasync in that folder, as the program prints them."""
    command = [build / "tests/bench/fdatasync", folder, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    return json.loads(done.stdout)
