"""Starts a real bridge beside a box, and holds journal, database and broker against each other."""

import calendar
import collections
import json
import os
import pathlib
import sqlite3
import subprocess
import threading
import time

from box import BUILD
from box import START_SECONDS
from box import Wire
from box import call
from box import wait_until
from process import Program

BRIDGE = BUILD / "bridge"
SEED = BUILD / "tests" / "bench" / "seed"
SINKS = ("postgres", "rabbitmq")
SETTLE_SECONDS = 30
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def settings_of(office):
    """The variables that lead to a head office."""
    return {"TILLBOX_POSTGRES_URL": office.postgres_url, "TILLBOX_AMQP_URL": office.amqp_url}


def publisher_of(office):
    """The same for a user who may publish and declare nothing; the topology is there."""
    user = f"box-{office.name}"
    done = run_bridge("topology", environment=settings_of(office))
    assert done.returncode == 0, done
    office.api("PUT", f"/users/{user}", {"password": office.rabbit.password, "tags": ""})
    office.allow(user, configure="^$", write="^order\\.(events|dlx)$", read="^$")
    return {"TILLBOX_AMQP_URL": office.rabbit.url_of(office.name, user=user)}


def run_bridge(*arguments, environment=None, timeout=60):
    """Runs `bridge ARGUMENTS` to its end."""
    return subprocess.run([BRIDGE, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, check=False,
                          env={**os.environ, **(environment or {})})


def status_of(data_dir):
    """What `bridge status --json` prints, and its exit code."""
    done = run_bridge("status", "--json", "--data-dir", data_dir)
    assert done.stdout, done
    return json.loads(done.stdout), done.returncode


def create_template(servers):
    """A database with head office's tables, for open_office() to copy."""
    servers.postgres.query("CREATE DATABASE template_office")
    done = run_bridge("migrate", environment={
        "TILLBOX_POSTGRES_URL": servers.postgres.url_of("template_office")})
    assert done.returncode == 0, done


def open_office(servers):
    """A head office with tables and an empty virtual host; to be removed by the caller."""
    office = servers.new_office()
    office.create_database("template_office")
    return office.create_vhost()


def seed(data_dir, orders, days_ago=0):
    """A new journal with so many orders, which were sold so many days ago."""
    data_dir.mkdir(parents=True, exist_ok=True)
    subprocess.run([SEED, "--data-dir", data_dir, "--orders", str(orders), "--days-ago",
                    str(days_ago)], check=True)


class Bridge(Program):
    """`bridge run` on the data folder `data_dir`, for the head office that `settings` lead to."""

    READY, PORT = "bridge.ready", "status_port"

    def __init__(self, data_dir, settings, *arguments):
        self.data_dir = pathlib.Path(data_dir)
        self.settings = settings
        self.arguments = arguments
        self.process = None
        self.log_path = self.data_dir.parent / (self.data_dir.name + "-bridge.log")
        self.log_start = 0

    def start(self, wait=True):
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(list(map(str, self.command())), stderr=log,
                                            env={**os.environ, **self.settings})
        if wait:
            self.wait_for_event(self.READY, START_SECONDS)
        return self

    def command(self):
        return [BRIDGE, "run", "--data-dir", self.data_dir, "--status-listen", "127.0.0.1:0",
                *self.arguments]

    @property
    def port(self):
        return self.wait_for_event(self.READY)[self.PORT]

    def log_events(self, event, since=None):
        """The log's lines of one event, since the last start."""
        lines = self.log_path.read_bytes()[self.log_start if since is None else since:]
        parsed = [json.loads(line) for line in lines.split(b"\n")[:-1]]
        return [line for line in parsed if line["event"] == event]

    def wait_for_event(self, event, seconds=10):
        def find():
            lines = self.log_events(event)
            assert lines or self.process.poll() is None, self.log_path.read_text()
            return lines and lines[0]
        return wait_until(find, seconds, event)

    def get(self, path):
        return call(self.port, "GET", path)

    def status(self):
        """What it says; another test sees to it that it always has an answer."""
        def ask():
            answer = self.get("/status")
            return answer.status == 200 and answer.json
        return wait_until(ask, 2, "an answer of /status")

    def sink(self, name):
        """Its accounts; None while it has none."""
        return sinks_of(self.status()).get(name)

    def wait_for_sink(self, name, seconds=10, **members):
        """Waits until the sink's accounts say so."""
        def find():
            sink = self.sink(name) or {}
            return all(sink.get(key) == value for key, value in members.items()) and sink
        return wait_until(find, seconds, f"{name} with {members}")

    def outages(self, sink):
        """How often the sink has gone down since the last start. While a peer is away for a moment
        only, its state may be "running" again before anybody asks; the log keeps what was."""
        return sum((line["sink"], line["state"]) == (sink, "down")
                   for line in self.log_events("sink.state"))

    def wait_for_outage(self, sink, before):
        """Waits until there have been more than `before`."""
        wait_until(lambda: self.outages(sink) > before, what=f"an outage of {sink}")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / CLOCK_TICKS

    def peak_kib(self):
        """The most memory that was ever resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM"))
                   .split()[1])


def sinks_of(status):
    return {sink["name"]: sink for sink in (status or {}).get("sinks", [])}


class Till(threading.Thread):
    """Sells, cancels, counts stock and changes prices until it is told to stop; writes down what was
    acknowledged."""

    def __init__(self, box, per_second=100):
        super().__init__(daemon=True)
        self.box = box
        self.pause_seconds = 1 / per_second
        self.orders, self.cancelled = set(), set()
        self.changes = 0
        self.stopping = threading.Event()
        self.problem = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.finish()

    def finish(self):
        self.stopping.set()
        self.join()
        assert self.problem is None, self.problem

    def run(self):
        try:
            with Wire(self.box.orders_port) as wire:
                while not self.stopping.wait(self.pause_seconds):
                    self.step(wire)
        except Exception as error:
            self.problem = repr(error)

    def step(self, wire):
        self.changes += 1
        if self.changes % 5 == 0:
            order_id = min(self.orders - self.cancelled)
            self.post(wire, f"/orders/{order_id}/cancel", None)
            self.cancelled.add(order_id)
        elif self.changes % 23 == 0:
            self.post(wire, "/products/1/stock", {"delta": 1, "reason": f"count {self.changes}"})
        elif self.changes % 29 == 0:
            self.post(wire, "/products/1", {"price": self.changes}, "PATCH")
        else:
            items = [{"product_id": 1, "quantity": 1}, {"product_id": 2, "quantity": 2}]
            order = self.post(wire, "/orders", {"user_id": self.changes, "items": items})
            self.orders.add(order["id"])

    def post(self, wire, path, body, method="POST"):
        answer = wire.request(method, path, body)
        assert answer and answer.status < 300, f"{method} {path}: {answer}"
        return answer.json

    def trade(self, changes):
        """So many steps at once, in the caller's thread."""
        with Wire(self.box.orders_port) as wire:
            for _ in range(changes):
                self.step(wire)
        return self


def open_till(box, per_second=100):
    """A till of a box that has products to sell."""
    box.add_product(stock=100000, name="bread", price=250)
    box.add_product(stock=100000, name="\N{HOT BEVERAGE} \"coffee\" \\ tea", price=199, sku="C-1")
    return Till(box, per_second)


Event = collections.namedtuple("Event", "sequence event_id event_type order_id payload hash")


def read_journal(data_dir, sql="SELECT sequence, event_id, event_type, coalesce(order_id, 0),"
                               " payload, hex(hash) FROM events ORDER BY sequence"):
    with sqlite3.connect(f"file:{data_dir}/journal.db?mode=ro", uri=True, timeout=10) as journal:
        return journal.execute(sql).fetchall()


def read_events(data_dir):
    return [Event(*row) for row in read_journal(data_dir)]


def read_parked(data_dir, sink):
    """{sequence: row} of the events that a sink has parked."""
    with sqlite3.connect(f"file:{data_dir}/bridge.db?mode=ro", uri=True, timeout=10) as ledger:
        ledger.row_factory = sqlite3.Row
        rows = ledger.execute("SELECT * FROM parked WHERE sink = ? ORDER BY sequence", (sink,))
        return {row["sequence"]: row for row in rows}


def has_settled(bridge):
    """Has every event of the journal been dealt with, by every sink?"""
    head = read_journal(bridge.data_dir, "SELECT max(sequence) FROM events")[0][0]
    sinks = sinks_of(bridge.status())
    return len(sinks) == len(SINKS) and all(sink["cursor"] == head for sink in sinks.values())


def check_accounts(status, events, parked):
    assert status["unaccounted_events"] == 0, status
    assert status["backlog"] == 0, status
    for name, sink in sinks_of(status).items():
        refused = parked.get(name, set())
        assert sink["cursor"] == events[-1].sequence, status
        assert sink["parked"] == len(refused), status
        assert sink["delivered"] == len(events) - len(refused), status


def check_event_logs(office, events, refused):
    """The database has each event that wasn't refused, once, as it was sold."""
    rows = office.query("SELECT sequence, event_id, event_type, coalesce(order_id, 0), device_id,"
                        " event_version, payload FROM event_logs ORDER BY sequence")
    wanted = [event for event in events if event.sequence not in refused]
    assert [int(row[0]) for row in rows] == [event.sequence for event in wanted]
    for row, event in zip(rows, wanted):
        payload = json.loads(event.payload)
        assert json.loads(row[6]) == payload
        assert row[1:6] == [event.event_id, event.event_type, str(event.order_id),
                            payload["device_id"], payload["event_version"]]


def check_orders(office, data_dir, events, refused):
    """The orders at head office are the box's."""
    without = {event.order_id for event in events if event.sequence in refused}
    wanted = {str(row[0]): [str(row[1]), row[2], str(row[3]), json.loads(row[4])]
              for row in read_journal(data_dir, "SELECT order_id, user_id, status, total, items"
                                                " FROM orders") if row[0] not in without}
    rows = office.query("SELECT order_id, user_id, status, total, items FROM orders")
    assert {row[0]: [*row[1:4], json.loads(row[4])] for row in rows
            if int(row[0]) not in without} == wanted


def check_device(office, events):
    """Head office's cursor is at the journal's head, with its hash."""
    head = [[str(events[-1].sequence), events[-1].hash]]
    wait_until(lambda: office.query(
        "SELECT last_sequence, upper(encode(chain_head, 'hex')) FROM devices") == head,
        what="head office's cursor")


def check_message(message, event):
    """A message is the event, byte for byte, with the properties of the event flow; the broker has
    seen to it that its user_id is its sender's."""
    envelope, properties = json.loads(event.payload), message.properties
    occurred_at = calendar_seconds(envelope["occurred_at"])
    assert message.body == event.payload.encode()
    assert (message.exchange, message.routing_key) == ("order.events", event.event_type)
    assert (properties.message_id, properties.type) == (event.event_id, event.event_type)
    assert (properties.app_id, properties.timestamp) == (envelope["device_id"], occurred_at)
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert properties.user_id
    assert properties.headers["x-device-id"] == envelope["device_id"]
    assert properties.headers["x-sequence"] == event.sequence


def calendar_seconds(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def check_messages(messages, events, refused):
    """The broker had each event that wasn't refused at least once, and those of an order in their
    sequence: at its first coming, none has a later one of its order before it."""
    by_id = {event.event_id: event for event in events}
    latest, seen = {}, set()
    for message in messages:
        event = by_id[message.properties.message_id]
        if event.event_id in seen:
            continue
        check_message(message, event)
        seen.add(event.event_id)
        if event.order_id:
            assert event.sequence > latest.get(event.order_id, 0), f"{event} came too late"
            latest[event.order_id] = event.sequence
    wanted = {event.event_id for event in events if event.sequence not in refused}
    assert wanted - seen == set(), f"{len(wanted - seen)} events never came"
    assert seen - wanted == set(), f"{len(seen - wanted)} parked events came all the same"


def assert_all_arrived(bridge, office, till=None, parked=None, seconds=SETTLE_SECONDS):
    """Whatever happened: every acknowledged order is at head office, in the database exactly once
    and on the broker at least once. `parked` has the sequences that each sink refused."""
    parked = parked or {}
    wait_until(lambda: has_settled(bridge), seconds, "the last event")
    events = read_events(bridge.data_dir)
    check_accounts(bridge.status(), events, parked)
    refused = parked.get("postgres", set())
    check_event_logs(office, events, refused)
    check_orders(office, bridge.data_dir, events, refused)
    if not events[-1].sequence in refused:
        check_device(office, events)
    check_messages(office.tap(), events, parked.get("rabbitmq", set()))
    if till:
        check_acknowledged(events, till)
    return events


def check_acknowledged(events, till):
    created = [event.order_id for event in events if event.event_type == "order.created"]
    cancelled = [event.order_id for event in events if event.event_type == "order.cancelled"]
    assert till.orders <= set(created) and till.cancelled <= set(cancelled)
    assert len(created) == len(set(created)) and len(cancelled) == len(set(cancelled))
