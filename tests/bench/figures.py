"""What the benchmark measures: one function a figure, each beside its ceiling in the same run."""
import contextlib
import dataclasses
import os
import pathlib
import resource
import secrets
import shutil
import statistics
import subprocess
import threading
import time

from load import BenchError, measure_flush, wrk_command
from servers import Appliance, Ceiling

CONNECTIONS = 64
STALL_CONNECTIONS = [127, 128, 129, 256, 384, 512]
SAMPLE_S = 0.1
KILL_AFTER_S = 1.5
SEED_S = 600


@dataclasses.dataclass(frozen=True)
class Profile:
    rounds: int
    seconds: int       # of one round
    stall_rounds: int
    stall_seconds: int
    starts: int
    small_orders: int
    large_orders: int


FULL = Profile(rounds=3, seconds=6, stall_rounds=3, stall_seconds=5, starts=5,
               small_orders=10_000, large_orders=1_000_000)
QUICK = Profile(rounds=3, seconds=1, stall_rounds=1, stall_seconds=2, starts=3,
                small_orders=10_000, large_orders=100_000)


@dataclasses.dataclass(frozen=True)
class Target:
    sign: str
    bound: float

    def met(self, value):
        return value >= self.bound if self.sign == "≥" else value <= self.bound


def least(bound):
    return Target("≥", bound)


def most(bound):
    return Target("≤", bound)


@dataclasses.dataclass
class Figure:
    """A line of the table. The target is one for the value, or for the ratio to the ceiling."""
    name: str
    value: float
    unit: str
    ceiling: float = None
    beside: str = ""             # what the ceiling is
    target: Target = None
    ratio_target: Target = None
    error: str = ""              # makes any target missed
    foreign_cores: float = 0     # kept busy by other processes meanwhile
    rounds: dict = dataclasses.field(default_factory=dict)

    @property
    def ratio(self):
        return self.value / self.ceiling if self.ceiling else None

    @property
    def verdict(self):
        if not self.target and not self.ratio_target:
            return "-"
        good = (not self.error and (not self.target or self.target.met(self.value))
                and (not self.ratio_target or self.ratio_target.met(self.ratio)))
        return "met" if good else "missed"


class Bench:
    """Where things are, and journals of a given size."""

    def __init__(self, build, folder, profile):
        self.build, self.folder, self.profile = pathlib.Path(build), folder, profile
        self.copies = 0

    def own_cpu_clock(self):
        """A function that tells the CPU time that this run and its ended children have used."""
        def own_cpu_s():
            used = [resource.getrusage(who)
                    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            return sum(usage.ru_utime + usage.ru_stime for usage in used)
        return own_cpu_s

    def new_folder(self, name):
        self.copies += 1
        folder = self.folder / f"{name}-{self.copies}"
        folder.mkdir()
        return folder

    def journal(self, orders):
        """A fresh copy of a cleanly stopped data directory with that many orders."""
        seeded = self.folder / f"seeded-{orders}"
        if not seeded.exists():
            seeded.mkdir()
            command = [self.build / "tests/bench/seed", "--data-dir", seeded,
                       "--orders", str(orders)]
            subprocess.run(command, check=True, timeout=SEED_S)
        copy = self.new_folder("journal")
        shutil.copytree(seeded, copy, dirs_exist_ok=True)
        os.sync()
        return copy

    @contextlib.contextmanager
    def appliance(self, orders):
        """A running appliance over a journal of its own, which is removed afterwards."""
        data_dir = self.journal(orders)
        with Appliance(self.build, data_dir) as appliance:
            yield appliance
        shutil.rmtree(data_dir)

    @contextlib.contextmanager
    def pair(self):
        """The ceiling and the appliance over journals of the same size."""
        orders = self.profile.small_orders
        folder = self.new_folder("ceiling")
        with Ceiling(self.build, folder, preload=orders) as ceiling:
            with self.appliance(orders) as appliance:
                yield ceiling, appliance
        shutil.rmtree(folder)


def median_of(values):
    return statistics.median(list(values))


def interleave(rounds, **takes):
    """Runs each of `takes` once a round, in turn; what came out, per name. What an earlier round
    left to be written back would slow down the next, so the disk settles in between."""
    results = {name: [] for name in takes}
    for _ in range(rounds):
        for name, take in takes.items():
            os.sync()
            results[name].append(take())
    return results


def medians(results, field):
    return {name: median_of(getattr(load, field) for load in loads)
            for name, loads in results.items()}


def plain(results):
    """The rounds for the JSON file."""
    return {name: [dataclasses.asdict(item) if dataclasses.is_dataclass(item) else item
                   for item in items] for name, items in results.items()}


def load_64(bench):
    """The main figure: durable orders over 64 connections. A server that answers at once shows
    that the load generator could do more."""
    profile = bench.profile
    folder = bench.new_folder("at-once")
    with bench.pair() as (ceiling, appliance), \
            Ceiling(bench.build, folder, commit=False) as at_once:
        results = interleave(profile.rounds,
                             at_once=lambda: at_once.load(CONNECTIONS, profile.seconds),
                             ceiling=lambda: ceiling.load(CONNECTIONS, profile.seconds),
                             appliance=lambda: appliance.load(CONNECTIONS, profile.seconds))
    rate, p99_us = medians(results, "rate"), medians(results, "p99_us")
    yield Figure("orders, 64 connections", rate["appliance"], "/s", rate["ceiling"], "ceiling",
                 least(15_000), least(0.5), rounds=plain(results))
    yield Figure("p99, 64 connections", p99_us["appliance"] / 1e3, "ms", p99_us["ceiling"] / 1e3,
                 "ceiling", most(15))
    yield Figure("load generator, 64 connections", rate["at_once"], "/s", rate["ceiling"],
                 "ceiling", ratio_target=least(1.5))


def load_64_keyed(bench):
    """The same with an Idempotency-Key of its own in every order."""
    profile = bench.profile

    def keyed(server):
        return lambda: server.load(CONNECTIONS, profile.seconds, secrets.token_hex(8) + "-")
    with bench.pair() as (ceiling, appliance):
        results = interleave(profile.rounds, ceiling=keyed(ceiling), appliance=keyed(appliance))
    rate, p99_us = medians(results, "rate"), medians(results, "p99_us")
    yield Figure("orders with keys, 64 connections", rate["appliance"], "/s", rate["ceiling"],
                 "ceiling", rounds=plain(results))
    yield Figure("p99 with keys, 64 connections", p99_us["appliance"] / 1e3, "ms",
                 p99_us["ceiling"] / 1e3, "ceiling")


def one_connection(bench):
    """What a single till waits, beside the one flush that no design can save."""
    profile = bench.profile
    with bench.pair() as (ceiling, appliance):
        results = interleave(profile.rounds,
                             fdatasync=lambda: measure_flush(bench.build, bench.folder, 1000),
                             ceiling=lambda: ceiling.load(1, profile.seconds),
                             appliance=lambda: appliance.load(1, profile.seconds))
    flush_ms = median_of(flush["p50_us"] for flush in results["fdatasync"]) / 1e3
    p50_ms = {name: median_of(load.p50_us for load in results[name]) / 1e3
              for name in ("ceiling", "appliance")}
    yield Figure("p50, 1 connection", p50_ms["appliance"], "ms", flush_ms, "one fdatasync",
                 ratio_target=most(3), rounds=plain(results))
    yield Figure("p50, 1 connection, beside HTTP", p50_ms["appliance"], "ms", p50_ms["ceiling"],
                 "ceiling")


def no_stall(bench):
    """Connection counts around multiples of 128, beside 64 connections."""
    profile = bench.profile
    counts = [CONNECTIONS, *STALL_CONNECTIONS]
    with bench.appliance(profile.small_orders) as appliance:
        takes = {str(count): lambda count=count: appliance.load_with_errors(
            count, profile.stall_seconds) for count in counts}
        results = interleave(profile.stall_rounds, **takes)
    rate = medians(results, "rate")
    for count in counts[1:]:
        loads = results[str(count)]
        errors = sum(load.socket_errors for load in loads)
        yield Figure(f"orders, {count} connections", rate[str(count)], "/s", rate[str(CONNECTIONS)],
                     "64 connections", ratio_target=least(0.5),
                     error=f"{errors} socket errors" if errors else "",
                     rounds=plain({"loads": loads}))


def load_and_sample(server, seconds):
    """A round; the most VmRSS seen during it and the process's VmHWM after it, in MiB."""
    resident_kib, finished = [], threading.Event()

    def sample():
        while not finished.wait(SAMPLE_S):
            resident_kib.append(server.memory_kib("VmRSS"))
    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        server.load(CONNECTIONS, seconds)
    finally:
        finished.set()
        sampler.join()
    return {"resident_mib": max(resident_kib) / 1024,
            "peak_mib": server.memory_kib("VmHWM") / 1024}


def memory(bench):
    """Resident memory under load with the large journal; the peak of the process counts."""
    orders, seconds = bench.profile.large_orders, bench.profile.seconds
    with Ceiling(bench.build, bench.new_folder("ceiling")) as ceiling:
        floor = load_and_sample(ceiling, seconds)
    with bench.appliance(orders) as appliance:
        taken = load_and_sample(appliance, seconds)
    yield Figure(f"peak memory with {orders:,} orders", taken["peak_mib"], "MiB", floor["peak_mib"],
                 "ceiling", most(24), rounds={"appliance": taken, "ceiling": floor})


def large_journal(bench):
    """Throughput with the large journal beside that with the small one."""
    profile = bench.profile

    def load_over(orders):
        with bench.appliance(orders) as appliance:
            os.sync()
            return appliance.load(CONNECTIONS, profile.seconds)
    results = interleave(profile.rounds, small=lambda: load_over(profile.small_orders),
                         large=lambda: load_over(profile.large_orders))
    rate = medians(results, "rate")
    yield Figure(f"orders with {profile.large_orders:,} in the journal", rate["large"], "/s",
                 rate["small"], f"{profile.small_orders:,} orders", ratio_target=least(0.9),
                 rounds=plain(results))


def starts_clean(bench, orders):
    """Milliseconds from spawning to the first 201, each after a clean stop."""
    appliance = Appliance(bench.build, bench.journal(orders))
    durations_ms = []
    for _ in range(bench.profile.starts):
        with appliance:
            durations_ms.append(appliance.start_ms)
    shutil.rmtree(appliance.data_dir)
    return durations_ms


def kill_under_load(appliance):
    command = wrk_command(appliance.port, appliance.product_id, CONNECTIONS, 30)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as wrk:
        try:
            time.sleep(KILL_AFTER_S)
            if wrk.poll() is not None:
                raise BenchError("wrk ended before the kill")
            appliance.kill()
        finally:
            wrk.kill()


def starts_killed(bench, orders):
    """Milliseconds from spawning to the first 201, each after a kill -9 under load."""
    durations_ms = []
    with bench.appliance(orders) as appliance:
        for _ in range(bench.profile.starts):
            kill_under_load(appliance)
            appliance.start()
            durations_ms.append(appliance.start_ms)
    return durations_ms


def start(bench):
    """Start to first accepted order with the large journal."""
    small, large = bench.profile.small_orders, bench.profile.large_orders
    rounds = {"small": starts_clean(bench, small), "clean": starts_clean(bench, large),
              "killed": starts_killed(bench, large)}
    after = {name: median_of(durations_ms) for name, durations_ms in rounds.items()}
    yield Figure(f"start after a stop, {large:,} orders", after["clean"], "ms", after["small"],
                 f"{small:,} orders", most(200), rounds=rounds)
    yield Figure(f"start after a kill, {large:,} orders", after["killed"], "ms", after["clean"],
                 "after a stop", most(1_000))


FIGURES = {take.__name__: take for take in
           (load_64, load_64_keyed, one_connection, no_stall, memory, large_journal, start)}
