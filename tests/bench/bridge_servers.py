"""The bridge, what it has written down, and a head office for it: PostgreSQL and RabbitMQ of our
own on free loopback ports."""
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import time

from load import BenchError
from servers import TICKS_A_SECOND, Process, machine_cpu_s

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration" / "support"))

import central  # noqa: E402

SINKS = ("postgres", "rabbitmq")
CALM_CORES = 0.2
CALM_SAMPLE_S = 0.25
CALM_S = 5
COMMAND_S = 60
POLL_S = 0.02


def processes_of(roots):
    """The ticks of CPU time that each of these processes has used, and each that they have started,
    with those of its children that have ended; see proc(5)."""
    parents, ticks = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            pid = int(path.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))

    def belongs(pid):
        while pid in parents and pid not in roots:
            pid = parents[pid]
        return pid in roots
    return {pid: ticks[pid] for pid in ticks if belongs(pid)}


def cpu_s_of(roots):
    return sum(processes_of(roots).values()) / TICKS_A_SECOND


class DurablePostgres(central.Postgres):
    """One that flushes, as head office's would: the tests' own doesn't."""

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1" \
                  " -c track_commit_timestamp=on"
        # The server would keep our pipes open for ever: its output goes nowhere.
        subprocess.run([str(central.PG_BIN / "pg_ctl"), "-D", str(self.folder / "data"), "-w",
                        "-l", str(self.folder / "log"), "-o", options, "start"], check=True,
                       cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       **central.as_user("postgres"))

    def pid(self):
        done = self.run("/usr/bin/head", "-1", self.folder / "data/postmaster.pid")
        return int(done.stdout)


class HeadOffice(central.Servers):
    """Both servers; an office is a fresh database and a fresh virtual host in them."""

    def __init__(self, build):
        super().__init__()
        self.build = build
        self.postgres = DurablePostgres(self.folder / "postgres")

    def __enter__(self):
        super().__enter__()
        try:
            self.postgres.query("CREATE DATABASE migrated")
            self.run_bridge("migrate", {"TILLBOX_POSTGRES_URL": self.postgres.url_of("migrated")})
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def run_bridge(self, command, settings):
        done = subprocess.run([self.build / "bridge", command], env={**os.environ, **settings},
                              capture_output=True, text=True, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            raise BenchError(f"bridge {command}: {done.stdout}{done.stderr}")

    @contextlib.contextmanager
    def office(self):
        office = self.new_office()
        office.create_database("migrated")
        office.create_vhost()
        try:
            self.run_bridge("topology", settings_of(office, ["rabbitmq"]))
            self.calm_down()
            yield office
        finally:
            office.remove()

    def roots(self):
        """The processes whose descendants are ours: this one, and PostgreSQL's, which has left."""
        return {os.getpid(), self.postgres.pid()}

    @contextlib.contextmanager
    def apart(self):
        """Gives half of the cores to head office and half to all that is started meanwhile, as if
        each had a machine of its own."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchError("it takes two cores to keep the box and head office apart")
        half = len(cores) // 2
        try:
            os.sched_setaffinity(0, cores[:half])
            self.keep_to(cores[half:])
            yield
        finally:
            os.sched_setaffinity(0, cores)
            self.keep_to(cores)

    def keep_to(self, cores):
        for pid in processes_of({self.postgres.pid(), self.rabbit.process.pid}):
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(int(task.name), cores)

    def calm_down(self):
        """Waits a little for the machine to have nothing else to do: for what an earlier round has
        left to the servers, and for others."""
        self.postgres.query("CHECKPOINT")
        os.sync()
        until_s = time.monotonic() + CALM_S
        while time.monotonic() < until_s:
            before_s = machine_cpu_s()
            time.sleep(CALM_SAMPLE_S)
            if machine_cpu_s() - before_s <= CALM_CORES * CALM_SAMPLE_S:
                return


def settings_of(office, sinks, ports=None):
    """The variables that lead these sinks to an office; over other ports, if any are given."""
    ports = ports or {}
    urls = {"postgres": office.postgres.url_of(office.name, port=ports.get("postgres")),
            "rabbitmq": office.rabbit.url_of(office.name, port=ports.get("rabbitmq"))}
    variables = {"postgres": "TILLBOX_POSTGRES_URL", "rabbitmq": "TILLBOX_AMQP_URL"}
    return {variables[sink]: urls[sink] for sink in sinks}


class Bridge(Process):
    """`bridge run` beside a journal; ready when its pumps run."""

    def __init__(self, build, data_dir, settings):
        super().__init__(data_dir.with_name(f"{data_dir.name}-bridge.log"))
        self.build, self.data_dir, self.bridge_settings = build, data_dir, settings
        self.log_path.touch()
        self.log_start = self.log_path.stat().st_size

    def command(self):
        return [self.build / "bridge", "run", "--data-dir", self.data_dir,
                "--status-listen", "127.0.0.1:0"]

    def settings(self):
        return self.bridge_settings

    def is_ready(self):
        return b'"bridge.ready"' in self.log_path.read_bytes()[self.log_start:]

    def cpu_s(self):
        """To the nanosecond, of threads that are still there: the bridge's never end."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def peak_mib(self):
        return self.memory_kib("VmHWM") / 1024


class Ledger:
    """The cursors that the bridge writes down: events up to there are confirmed by the peer. Looked
    at seldom, since whoever reads the file may make the bridge wait."""

    def __init__(self, data_dir):
        self.path = data_dir / "bridge.db"

    def cursors(self):
        """Empty as long as the bridge hasn't created its tables."""
        try:
            uri = f"file:{self.path}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as ledger:
                return dict(ledger.execute("SELECT name, cursor FROM sinks"))
        except sqlite3.OperationalError:
            return {}

    def follow(self, goals, seconds):
        """(time, cursors) again and again, until each sink's cursor is at its goal."""
        until_s, steps, cursors = time.monotonic() + seconds, [], {}
        while any(cursors.get(sink, 0) < goal for sink, goal in goals.items()):
            if time.monotonic() > until_s:
                raise BenchError(f"after {seconds} s the cursors stand at {cursors}")
            time.sleep(POLL_S)
            cursors = self.cursors()
            steps.append((time.monotonic(), cursors))
        return steps
