"""What the benchmark of the bridge measures of `bridge inventory`: a figure a function, beside its
ceiling in the same run."""
import subprocess
import time

from bridge_figures import DRAIN_S, backlog_of, head_of, percentiles, shop
from bridge_servers import Bridge, Ledger, SINKS, settings_of
from figures import Figure, interleave, least, median_of, most, plain
from load import BenchError
from paced import sell_steadily

SALES_A_SECOND = 100
EVENTS_MAX = 50_000
ARRIVE_S = 30
RESIDENT_MIB_MAX = 32


class Inventory(Bridge):
    """`bridge inventory`; ready when it serves."""

    def __init__(self, build, folder, settings):
        super().__init__(build, folder / "inventory", settings)

    def command(self):
        return [self.build / "bridge", "inventory", "--inventory-listen", "127.0.0.1:0"]

    def is_ready(self):
        return b'"service.ready"' in self.log_path.read_bytes()[self.log_start:]


def fill(bench, office):
    """The backlog onto the broker, by the bridge; how many events that is."""
    data_dir = backlog_of(bench)
    head = min(head_of(data_dir), EVENTS_MAX)
    with Bridge(bench.build, data_dir, settings_of(office, ["rabbitmq"])):
        Ledger(data_dir).follow({"rabbitmq": head}, DRAIN_S)
    return office.queue_length("inventory.order.queue")


def applied(office):
    return office.number("SELECT count(DISTINCT event_id) FROM stock_logs")


def wait_until_applied(office, count, seconds):
    until_s = time.monotonic() + seconds
    while office.queue_length("inventory.order.queue") > 0 or applied(office) < count:
        if time.monotonic() > until_s:
            raise BenchError(f"only {applied(office)} of {count} events were applied")
        time.sleep(0.05)


def take_bare(bench):
    """The backlog by the bare consumer: events a second, from its start."""
    with bench.head_office.office() as office:
        count = fill(bench, office)
        start_s = time.monotonic()
        subprocess.run([bench.build / "tests/bench/taker", "--url", office.amqp_url, "--database",
                        office.postgres_url, "--count", str(count)], check=True, timeout=DRAIN_S)
        return count / (time.monotonic() - start_s)


def take_all(bench):
    """The same by `bridge inventory`: (events a second, MiB), from its start to the last commit, by
    the database's clock."""
    with bench.head_office.office() as office:
        count = fill(bench, office)
        started_s = time.time()
        with Inventory(bench.build, bench.folder, settings_of(office, SINKS)) as inventory:
            wait_until_applied(office, count, DRAIN_S)
            peak_mib = inventory.peak_mib()
        ended_s = float(office.query("SELECT extract(epoch FROM max(applied_at)) FROM stock_logs")
                        [0][0])
        return count / (ended_s - started_s), peak_mib


def inventory(bench):
    """A queue full of events into head office's stock."""
    results = interleave(bench.profile.rounds, bare=lambda: take_bare(bench),
                         inventory=lambda: take_all(bench))
    rate = median_of(taken[0] for taken in results["inventory"])
    yield Figure("events into stock", rate, "/s", median_of(results["bare"]), "bare consumer",
                 target=least(5000), ratio_target=least(0.5), rounds=plain(results))
    yield Figure("peak memory, inventory", max(taken[1] for taken in results["inventory"]), "MiB",
                 target=most(RESIDENT_MIB_MAX))


def sell_and_count(bench, office, appliance):
    """Milliseconds from a sale's 201 until its change of the stock is committed, by the wall clock
    that both share."""
    to_wall_s = time.time() - time.monotonic()
    before = applied(office)
    sales = sell_steadily(appliance, SALES_A_SECOND, bench.profile.online_seconds)
    wait_until_applied(office, before + len(sales), ARRIVE_S)
    commits_s = {int(order_id): float(committed_s) for order_id, committed_s in office.query(
        "SELECT order_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM stock_logs"
        " WHERE reason = 'order.created'")}
    return percentiles([(commits_s[sale.order_id] - sale.answered_s - to_wall_s) * 1e3
                        for sale in sales])


def stock_online(bench):
    """A sale's way into head office's stock while the line is good."""
    with bench.head_office.office() as office:
        settings = settings_of(office, SINKS)
        with Inventory(bench.build, bench.folder, settings) as inventory_service, \
                shop(bench, settings) as (appliance, _):
            wait_until_applied(office, head_of(appliance.data_dir), ARRIVE_S)
            rounds = [sell_and_count(bench, office, appliance)
                      for _ in range(bench.profile.rounds)]
            peak_mib = inventory_service.peak_mib()
    for name, bound_ms in (("p50", 25), ("p99", 150)):
        yield Figure(f"201 to stock changed, {name}, {SALES_A_SECOND}/s",
                     median_of(taken[name] for taken in rounds), "ms", target=most(bound_ms),
                     rounds={name: [taken[name] for taken in rounds]})
    yield Figure("peak memory, inventory online", peak_mib, "MiB", target=most(RESIDENT_MIB_MAX))


FIGURES = {"inventory": inventory, "stock_online": stock_online}
