"""What the benchmark of the bridge measures: one function a figure, each beside its ceiling in the
same run."""
import contextlib
import dataclasses
import json
import sqlite3
import subprocess
import threading
import time

from bridge_servers import SINKS, Bridge, Ledger, cpu_s_of, settings_of
from figures import CONNECTIONS, Bench, Figure, interleave, least, median_of, most, plain
from load import BenchError, place_order
from paced import sell_steadily

from central import connected
from fault_proxy import FaultProxy

SALES_A_SECOND = 200
DRAIN_S = 600
CONFIRM_S = 30
RECOVERY_S = 60
TABLES = ("event_logs", "orders")
BOX_ORDERS = 1000
QUEUE = "inventory.order.queue"


@dataclasses.dataclass(frozen=True)
class Profile:
    rounds: int
    backlog: int          # orders
    online_seconds: int
    idle_seconds: int
    outage_seconds: int
    load_seconds: int


FULL = Profile(rounds=3, backlog=200_000, online_seconds=20, idle_seconds=20, outage_seconds=60,
               load_seconds=8)
QUICK = Profile(rounds=3, backlog=20_000, online_seconds=3, idle_seconds=3, outage_seconds=5,
                load_seconds=2)


@dataclasses.dataclass(frozen=True)
class Drain:
    """How a backlog went out: events a second for each sink, from the start of the process. Of
    several sinks it counts what each did until the first had finished."""
    rate: dict
    peak_mib: float
    cpu_us_per_event: float


class BridgeBench(Bench):
    """Where things are, journals, and a running head office."""

    def __init__(self, build, folder, profile, head_office):
        super().__init__(build, folder, profile)
        self.head_office = head_office

    def own_cpu_clock(self):
        """… with the servers."""
        roots = self.head_office.roots()
        return lambda: cpu_s_of(roots)

    def rows_file(self, table):
        return self.head_office.postgres.folder / f"{table}.rows"


def read_journal(data_dir, sql):
    uri = f"file:{data_dir}/journal.db?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as journal:
        return journal.execute(sql).fetchall()


def head_of(data_dir):
    return read_journal(data_dir, "SELECT max(sequence) FROM events")[0][0]


def backlog_of(bench):
    """The data directory with the backlog, of which no sink knows anything yet."""
    data_dir = bench.folder / f"seeded-{bench.profile.backlog}"
    if not data_dir.exists():
        bench.journal(bench.profile.backlog)
    for path in data_dir.glob("bridge.*"):
        path.unlink()
    return data_dir


def check_arrival(office, sinks, head):
    if "postgres" in sinks and office.number("SELECT count(*) FROM event_logs") != head:
        raise BenchError("head office's database hasn't got every event")
    if "rabbitmq" in sinks and office.queue_length(QUEUE) < head:
        raise BenchError("head office's queue hasn't got every event")


def save_rows(bench, office):
    """Keeps the rows that the bridge has made of the backlog, for COPY."""
    for table in TABLES:
        if not bench.rows_file(table).exists():
            office.query(f"COPY {table} TO '{bench.rows_file(table)}'")


def rate_of(sink, steps, started_s):
    """Until the cursor moved for the last time: it moves by whole pages."""
    last = steps[-1][1].get(sink, 0)
    moved_s = next(at_s for at_s, cursors in steps if cursors.get(sink, 0) == last)
    return last / (moved_s - started_s)


def drain(bench, sinks):
    data_dir = backlog_of(bench)
    head = head_of(data_dir)
    with bench.head_office.office() as office:
        with Bridge(bench.build, data_dir, settings_of(office, sinks)) as bridge:
            steps = Ledger(data_dir).follow({sink: head for sink in sinks}, DRAIN_S)
            peak_mib, cpu_s = bridge.peak_mib(), bridge.cpu_s()
        check_arrival(office, sinks, head)
        if "postgres" in sinks:
            save_rows(bench, office)
    first_end = next(i for i, (_, cursors) in enumerate(steps) if head in cursors.values())
    rates = {sink: rate_of(sink, steps[:first_end + 1], bridge.started_s) for sink in sinks}
    return Drain(rates, peak_mib, cpu_s * 1e6 / head)


def run_publisher(bench, office, count, *options):
    size = read_journal(backlog_of(bench), "SELECT avg(length(payload)) FROM events")[0][0]
    command = [bench.build / "tests/bench/publisher", "--url", office.amqp_url,
               "--count", str(count), "--size", str(round(size)), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DRAIN_S, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    return json.loads(done.stdout)


def publish(bench):
    """As many messages as the backlog has, by the bare publisher: a second, from its start."""
    count = head_of(backlog_of(bench))
    with bench.head_office.office() as office:
        start_s = time.monotonic()
        run_publisher(bench, office, count)
        return count / (time.monotonic() - start_s)


def copy_rows(bench):
    """The rows that the bridge makes of the backlog, by COPY in one transaction, as events a
    second."""
    commands = [f"\\copy {table} FROM '{bench.rows_file(table)}'" for table in TABLES]
    with bench.head_office.office() as office:
        start_s = time.monotonic()
        office.query("\n".join(["BEGIN;", *commands, "COMMIT;"]))
        duration_s = time.monotonic() - start_s
        return office.number("SELECT count(*) FROM event_logs") / duration_s


def median_rate(drains, sink):
    return median_of(taken.rate[sink] for taken in drains)


def peak_figure(name, drains):
    return Figure(name, max(taken.peak_mib for taken in drains), "MiB", target=most(24))


def drain_rabbitmq(bench):
    """The backlog into the broker's quorum queues."""
    results = interleave(bench.profile.rounds, publisher=lambda: publish(bench),
                         bridge=lambda: drain(bench, ["rabbitmq"]))
    yield Figure(f"{bench.profile.backlog:,} events into RabbitMQ",
                 median_rate(results["bridge"], "rabbitmq"), "/s", median_of(results["publisher"]),
                 "bare publisher", ratio_target=least(0.8), rounds=plain(results))
    yield peak_figure("peak memory, RabbitMQ", results["bridge"])


def drain_postgres(bench):
    """The backlog into the database."""
    results = interleave(bench.profile.rounds, bridge=lambda: drain(bench, ["postgres"]),
                         copy=lambda: copy_rows(bench))
    yield Figure(f"{bench.profile.backlog:,} events into PostgreSQL",
                 median_rate(results["bridge"], "postgres"), "/s", median_of(results["copy"]),
                 "COPY", ratio_target=least(0.5), rounds=plain(results))
    yield peak_figure("peak memory, PostgreSQL", results["bridge"])


def drain_both(bench):
    """The backlog into both at once, beside each alone."""
    results = interleave(bench.profile.rounds, rabbitmq=lambda: drain(bench, ["rabbitmq"]),
                         postgres=lambda: drain(bench, ["postgres"]),
                         both=lambda: drain(bench, SINKS))
    rounds = plain(results)
    for sink, name in (("rabbitmq", "RabbitMQ"), ("postgres", "PostgreSQL")):
        yield Figure(f"both at once: {name}", median_rate(results["both"], sink), "/s",
                     median_rate(results[sink], sink), "alone", ratio_target=least(0.5),
                     rounds=rounds)
    yield peak_figure("peak memory, both", results["both"])


class Consumer(threading.Thread):
    """Notes when the broker hands each order's event to a consumer; a context manager. A quorum
    queue delivers a message once it is committed, which is when the broker confirms it."""

    def __init__(self, office):
        super().__init__()
        self.url = office.amqp_url
        self.times_s = {}  # by order
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        with connected(self.url) as connection:
            connection.channel().basic_consume(QUEUE, self.note, auto_ack=True)
            while not self.over.is_set():
                connection.process_data_events(time_limit=0.1)

    def note(self, _channel, _method, _properties, body):
        now_s = time.monotonic()
        order_id = json.loads(body)["data"].get("order_id")
        self.times_s.setdefault(order_id, now_s)

    def time_of(self, order_id):
        until_s = time.monotonic() + CONFIRM_S
        while order_id not in self.times_s:
            if time.monotonic() > until_s:
                raise BenchError(f"order {order_id} didn't come within {CONFIRM_S} s")
            time.sleep(0.01)
        return self.times_s[order_id]


@contextlib.contextmanager
def shop(bench, settings):
    """A box with its bridge, which has delivered all that there was."""
    with bench.appliance(BOX_ORDERS) as appliance:
        with Bridge(bench.build, appliance.data_dir, settings) as bridge:
            head = head_of(appliance.data_dir)
            Ledger(appliance.data_dir).follow({sink: head for sink in SINKS}, DRAIN_S)
            yield appliance, bridge


def percentiles(values):
    """p50 and p99."""
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100]}


def sell_and_consume(bench, office, appliance):
    """Milliseconds from a sale's 201 until the broker gives its event to a consumer."""
    with Consumer(office) as consumer:
        sales = sell_steadily(appliance, SALES_A_SECOND, bench.profile.online_seconds)
        return percentiles([(consumer.time_of(sale.order_id) - sale.answered_s) * 1e3
                            for sale in sales])


def publish_steadily(bench, office):
    """The bare publisher at the same pace, one message at a time: its publish to its confirm."""
    count = SALES_A_SECOND * bench.profile.online_seconds
    taken = run_publisher(bench, office, count, "--window", "1", "--rate", str(SALES_A_SECOND))
    return {"p50": taken["p50_us"] / 1e3, "p99": taken["p99_us"] / 1e3}


def online(bench):
    """A sale's way to the broker while the line is good."""
    with bench.head_office.office() as office, bench.head_office.office() as another, \
            shop(bench, settings_of(office, SINKS)) as (appliance, bridge):
        results = interleave(bench.profile.rounds,
                             publisher=lambda: publish_steadily(bench, another),
                             bridge=lambda: sell_and_consume(bench, office, appliance))
        peak_mib = bridge.peak_mib()
    for name, bound_ms in (("p50", 10), ("p99", 50)):
        values = {who: median_of(taken[name] for taken in results[who]) for who in results}
        yield Figure(f"201 to confirmed, {name}, {SALES_A_SECOND}/s", values["bridge"], "ms",
                     values["publisher"], "publish to confirm", most(bound_ms), rounds=results)
    yield Figure("peak memory, online", peak_mib, "MiB", target=most(24))


def idle(bench):
    """What the bridge uses while nobody sells and both sinks are connected."""
    def rest():
        before_s = bridge.cpu_s()
        time.sleep(bench.profile.idle_seconds)
        return (bridge.cpu_s() - before_s) / bench.profile.idle_seconds * 100
    with bench.head_office.office() as office, \
            shop(bench, settings_of(office, SINKS)) as (_, bridge):
        results = interleave(bench.profile.rounds, bridge=rest)
    yield Figure("idle, of one core", median_of(results["bridge"]), "%", target=most(0.5),
                 rounds=results)


def endure_outage(bench, appliance, lines):
    """Seconds from the moment both peers can be reached again until each has the first event."""
    for line in lines.values():
        line.refuse()
        line.cut()
    place_order(appliance.port, appliance.product_id)
    time.sleep(bench.profile.outage_seconds)
    head = head_of(appliance.data_dir)
    for line in lines.values():
        line.accept()
    end_s = time.monotonic()
    steps = Ledger(appliance.data_dir).follow({sink: head for sink in lines}, RECOVERY_S)
    return {sink: next(at_s for at_s, cursors in steps if cursors.get(sink, 0) >= head) - end_s
            for sink in lines}


def outage(bench):
    """How soon the first event flows after a line was down: the slowest of the rounds, as the
    moment of the next try is drawn by lot."""
    head_office = bench.head_office
    with head_office.office() as office, FaultProxy(head_office.postgres.port) as to_database, \
            FaultProxy(head_office.rabbit.port) as to_broker:
        settings = settings_of(office, SINKS, {"postgres": to_database.port,
                                               "rabbitmq": to_broker.port})
        with shop(bench, settings) as (appliance, _):
            lines = {"postgres": to_database, "rabbitmq": to_broker}
            results = interleave(bench.profile.rounds,
                                 bridge=lambda: endure_outage(bench, appliance, lines))
    for sink, name in (("postgres", "PostgreSQL"), ("rabbitmq", "RabbitMQ")):
        slowest_s = max(taken[sink] for taken in results["bridge"])
        yield Figure(f"{name} again, after {bench.profile.outage_seconds} s", slowest_s, "s",
                     target=most(5), rounds=results)


def load_while_draining(bench, appliance):
    """p99 in ms of a load while both sinks drain a backlog."""
    for path in appliance.data_dir.glob("bridge.*"):
        path.unlink()
    ledger = Ledger(appliance.data_dir)
    with bench.head_office.office() as office:
        with Bridge(bench.build, appliance.data_dir, settings_of(office, SINKS)):
            ledger.follow({sink: 1 for sink in SINKS}, DRAIN_S)
            p99_ms = appliance.load(CONNECTIONS, bench.profile.load_seconds).p99_us / 1e3
            cursors = ledger.cursors()
    if cursors["rabbitmq"] == head_of(appliance.data_dir):
        raise BenchError("the backlog was too small: the bridge had drained it before the end")
    return p99_ms


def appliance_p99(bench):
    """What the tills notice of a bridge that drains: the box and head office are kept to cores of
    their own."""
    with bench.head_office.apart(), bench.appliance(bench.profile.backlog) as appliance:
        results = interleave(
            bench.profile.rounds,
            alone=lambda: appliance.load(CONNECTIONS, bench.profile.load_seconds).p99_us / 1e3,
            draining=lambda: load_while_draining(bench, appliance))
    yield Figure(f"p99 of orders while it drains, {CONNECTIONS} connections",
                 median_of(results["draining"]), "ms", median_of(results["alone"]), "without",
                 ratio_target=most(1.5), rounds=results)


FIGURES = {take.__name__: take for take in (drain_rabbitmq, drain_postgres, drain_both, online,
                                            idle, outage, appliance_p99)}
