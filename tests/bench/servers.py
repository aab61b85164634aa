"""The servers under load, started on free loopback ports and always stopped again."""
import http.client
import os
import pathlib
import signal
import subprocess
import sys
import time

from load import BenchError, TIMEOUT_S, order_body, place_order, place_orders, post

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "support"))

from ports import free_port  # noqa: E402

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schema/journal/0001_journal.sql"
START_S = 30
STOP_S = 30
POLL_S = 0.001
LOG_LINES = 5
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def machine_cpu_s():
    """The CPU time since the boot that anyone used; see proc(5)."""
    ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_A_SECOND


class Process:
    """A program of ours; a context manager that starts and stops it."""

    def __init__(self, log_path):
        self.log_path = log_path
        self.process = None
        self.started_s = None  # on the monotonic clock
        self.start_ms = None

    def command(self):
        raise NotImplementedError

    def settings(self):
        """Further environment variables."""
        return {}

    def is_ready(self):
        raise NotImplementedError

    def start(self):
        """Spawns the process and waits until it is ready; `start_ms` is how long that took."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("TILLBOX_")}
        self.started_s = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), env={**environment, **self.settings()},
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not self.is_ready():
            if self.process.poll() is not None:
                raise self.failure(f"ended with {self.process.returncode}")
            if time.monotonic() - self.started_s > START_S:
                raise self.failure(f"wasn't ready within {START_S} s")
            time.sleep(POLL_S)
        self.start_ms = (time.monotonic() - self.started_s) * 1e3

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.failure(f"didn't stop within {STOP_S} s") from None
        if code != 0:
            raise self.failure(f"stopped with {code}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT_S)

    def failure(self, what):
        """An error that carries the end of the log, which doesn't outlive the run."""
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return BenchError("\n  ".join([f"{self.process.args[0]} {what}", *lines]))

    def memory_kib(self, field):
        """VmRSS (now) or VmHWM (most so far) of the process."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            if self.process:
                self.kill()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        elif self.process and self.process.poll() is None:
            self.kill()


class Server(Process):
    """A process that takes orders on `port`; ready with its first 201."""
    product_id = 1

    def __init__(self, log_path):
        super().__init__(log_path)
        self.port = free_port()

    def is_ready(self):
        try:
            status, answer = post(self.port, "/orders", order_body(self.product_id))
        except (OSError, http.client.HTTPException):
            return False
        if status not in (201, 503):
            raise self.failure(f"answered the first order {status}: {answer}")
        return status == 201

    def load_with_errors(self, connections, seconds, key_prefix=None):
        """A round that may have socket errors, but no answer other than 201."""
        return place_orders(self.port, self.product_id, connections, seconds, key_prefix)

    def load(self, connections, seconds, key_prefix=None):
        """A round without a single error."""
        load = self.load_with_errors(connections, seconds, key_prefix)
        if load.socket_errors:
            raise BenchError(f"socket errors at {connections} connections: {load}")
        return load


class Ceiling(Server):
    """The program that commits the same statements and does nothing else."""

    def __init__(self, build, folder, preload=0, commit=True):
        super().__init__(folder / "ceiling.log")
        self.build, self.folder, self.preload, self.commit = build, folder, preload, commit

    def command(self):
        place = ["--data-dir", self.folder, "--schema", SCHEMA, "--preload", str(self.preload)]
        return [self.build / "tests/bench/ceiling", "--port", str(self.port),
                *(place if self.commit else ["--no-commit"])]


class Appliance(Server):
    """The box. Every round is checked against the order numbers: they have no gaps."""

    def __init__(self, build, data_dir):
        super().__init__(data_dir.with_suffix(".log"))
        self.build, self.data_dir = build, data_dir
        self.inventory_port = free_port()

    def command(self):
        return [self.build / "appliance", "serve", "--data-dir", self.data_dir,
                "--orders-listen", f"127.0.0.1:{self.port}",
                "--inventory-listen", f"127.0.0.1:{self.inventory_port}"]

    def load_with_errors(self, connections, seconds, key_prefix=None):
        """Each answer stands for one committed order; up to `connections` more were under way."""
        first = place_order(self.port, self.product_id)
        load = super().load_with_errors(connections, seconds, key_prefix)
        committed = place_order(self.port, self.product_id) - first - 1
        if not load.answers <= committed <= load.answers + connections:
            raise BenchError(f"{load.answers} answers, but {committed} orders were committed")
        return load
