#!/usr/bin/python3
"""Minutes of faults for the bridge, against a PostgreSQL and a RabbitMQ of its own; afterwards every
acknowledged order is in the database exactly once and was on the broker at least once.

usage: tests/integration/support/bridge_soak.py [--build DIR] [--kills N] [--seconds N] [--seed N]

  kills     the bridge is killed with SIGKILL again and again while it drains
  outage    neither server can be reached for `seconds`; then everything flows within 5 s
  line      connections stall, break and crawl at random for `seconds`
  lock      a table is locked for `seconds`; the bridge's sessions don't pile up
  alarm     the broker takes nothing for `seconds`; it isn't flooded with duplicates

Exit code: 0 all is well, 1 something isn't."""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import random
import sys
import tempfile
import time
import traceback

import box as harness
import bridge as bridges
from box import Box
from box import wait_until
from bridge import Bridge
from bridge import SINKS
from bridge import assert_all_arrived
from bridge import create_template
from bridge import has_settled
from bridge import open_office
from bridge import open_till
from bridge import seed
from bridge import settings_of
from bridge import sinks_of
from bridge import status_of
from central import Servers
from fault_proxy import DOWN
from fault_proxy import FaultProxy
from fault_proxy import UP

ALIVE_SECONDS = (0.03, 0.3)
RECOVERY_SECONDS = 5
SESSIONS_MAX = 2  # one that the bridge gave up and the server doesn't know of yet, and its next
DUPLICATES_MAX = 3  # messages for each event
SETTLE_SECONDS = 60


@contextlib.contextmanager
def running(server):
    """Starts a box or a bridge; at the end it must stop cleanly."""
    server.start()
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0, f"{server.data_dir}: exit code {code}"


def check_accounts_while_down(box):
    """Nobody needs the bridge in order to know where its events are."""
    status, _ = status_of(box.data_dir)
    assert (status["unaccounted_events"], status["bridge_running"]) == (0, False), status
    assert "error" not in box.status()["bridge"], box.status()


def run_kills(folder, office, kills, backlog, randomness):
    seed(folder / "var", backlog)
    with running(Box(folder / "var")) as box:
        bridge = Bridge(box.data_dir, settings_of(office))
        with open_till(box) as till:
            for _ in range(kills):
                bridge.start(wait=False)
                time.sleep(randomness.uniform(*ALIVE_SECONDS))
                bridge.kill()
                check_accounts_while_down(box)
        with running(bridge):
            assert_all_arrived(bridge, office, till, seconds=SETTLE_SECONDS)
    return f"{kills} kills, {len(office.messages)} messages"


@contextlib.contextmanager
def lines_to(office):
    """A line to each server, and the settings that lead over them."""
    with FaultProxy(office.postgres.port) as database, FaultProxy(office.rabbit.port) as broker:
        yield (database, broker), {
            "TILLBOX_POSTGRES_URL": office.postgres.url_of(office.name, database.port),
            "TILLBOX_AMQP_URL": office.rabbit.url_of(office.name, port=broker.port)}


def run_outage(folder, office, seconds, _randomness):
    with lines_to(office) as (lines, settings), running(Box(folder / "var")) as box, \
         running(Bridge(box.data_dir, settings)) as bridge, open_till(box) as till:
        for name in SINKS:
            bridge.wait_for_sink(name, state="running")
        for line in lines:
            line.refuse()
            line.cut()
        time.sleep(seconds)
        before = {name: bridge.wait_for_sink(name, state="down", breaker="open")["cursor"]
                  for name in SINKS}
        for line in lines:
            line.accept()
        healed_at = time.monotonic()
        wait_until(lambda: all(sink["cursor"] > before[name]
                               for name, sink in sinks_of(bridge.status()).items()),
                   RECOVERY_SECONDS, "an event after the outage")
        recovered_seconds = time.monotonic() - healed_at
        till.finish()
        assert_all_arrived(bridge, office, till, seconds=SETTLE_SECONDS)
        return f"{recovered_seconds:.1f} s until the first events flowed"


def spoil(line, randomness):
    """One fault, of any kind."""
    direction = randomness.choice([UP, DOWN])
    kind = randomness.choice(["cut", "stall", "refuse", "delay", "throttle", "cut_at", "heal"])
    if kind == "cut":
        line.cut()
    elif kind == "stall":
        line.stall(direction)
    elif kind == "refuse":
        line.refuse()
        line.cut()
    elif kind == "delay":
        line.delay(randomness.uniform(0.001, 0.3))
    elif kind == "throttle":
        line.throttle(randomness.randint(20000, 500000))
    elif kind == "cut_at":
        line.cut_at(direction, randomness.choice([b"event_id", b"\0\x3c\0\x50", b"SELECT", b"C"]))
    else:
        line.heal()


def run_line(folder, office, seconds, randomness):
    with lines_to(office) as (lines, settings), running(Box(folder / "var")) as box, \
         running(Bridge(box.data_dir, settings)) as bridge, open_till(box) as till:
        until = time.monotonic() + seconds
        faults = 0
        while time.monotonic() < until:
            spoil(randomness.choice(lines), randomness)
            faults += 1
            time.sleep(randomness.uniform(0, 1))
        for line in lines:
            line.heal()
        till.finish()
        assert_all_arrived(bridge, office, till, seconds=SETTLE_SECONDS)
        return f"{faults} faults"


def run_lock(folder, office, seconds, _randomness):
    sessions = (f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{office.name}'"
                " AND application_name = 'tillbox-bridge'")
    with running(Box(folder / "var")) as box, \
         running(Bridge(box.data_dir, settings_of(office))) as bridge, open_till(box) as till:
        bridge.wait_for_sink("postgres", state="running")
        with office.transaction("LOCK TABLE event_logs IN ACCESS EXCLUSIVE MODE"):
            time.sleep(seconds)
            count = office.number(sessions)
        till.finish()
        assert_all_arrived(bridge, office, till, seconds=SETTLE_SECONDS)
        assert count <= SESSIONS_MAX, f"{count} sessions of one bridge wait for the lock"
        return f"{count} sessions at the end of the lock"


def run_alarm(folder, office, seconds, _randomness):
    with running(Box(folder / "var")) as box, \
         running(Bridge(box.data_dir, settings_of(office))) as bridge:
        till = open_till(box).trade(100)
        wait_until(lambda: has_settled(bridge))
        with office.rabbit.memory_alarm():
            till.trade(2000)
            bridge.wait_for_sink("rabbitmq", seconds=20, state="down")
            time.sleep(seconds)
        events = assert_all_arrived(bridge, office, till, seconds=SETTLE_SECONDS)
        told = f"{len(office.messages)} messages for {len(events)} events"
        assert len(office.messages) <= DUPLICATES_MAX * len(events), told
        return told


def tell(name, story, *arguments):
    """Runs one story; True if all went well."""
    began = time.monotonic()
    try:
        said = story(*arguments)
    except Exception:
        said = f"FAILED\n{traceback.format_exc()}"
    print(f"{name}, {time.monotonic() - began:.0f} s: {said}", flush=True)
    return "FAILED" not in said


def run_all(servers, folder, arguments):
    """The stories; those that mind their own business run side by side."""
    def start(name, story, *details):
        (folder / name).mkdir()
        return tell(name, story, folder / name, open_office(servers), *details,
                    random.Random(f"{arguments.seed} {name}"))

    create_template(servers)
    good = [start("kills", run_kills, arguments.kills, 200 * arguments.kills)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stories = {"outage": run_outage, "line": run_line, "lock": run_lock}
        good += list(pool.map(lambda name: start(name, stories[name], arguments.seconds),
                              stories))
    good.append(start("alarm", run_alarm, arguments.seconds))
    return all(good)


def main():
    parser = argparse.ArgumentParser(description="Minutes of faults for the bridge.")
    parser.add_argument("--build", type=pathlib.Path, default=harness.BUILD)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    harness.APPLIANCE = build / "appliance"
    bridges.BRIDGE, bridges.SEED = build / "bridge", build / "tests" / "bench" / "seed"
    print(f"bridge_soak: seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tillbox-soak-") as folder, Servers() as servers:
        good = run_all(servers, pathlib.Path(folder), arguments)
    print(f"bridge_soak: {'passed' if good else 'failed'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
