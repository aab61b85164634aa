"""The bridge on good days: what it brings to head office, what it says of itself, how it starts and
how it ends."""

import json
import os
import re
import signal
import socket
import time

import pytest

from box import wait_until
from bridge import Bridge
from bridge import SINKS
from bridge import assert_all_arrived
from bridge import open_till
from bridge import publisher_of
from bridge import read_events
from bridge import run_bridge
from bridge import seed
from bridge import settings_of
from bridge import sinks_of
from bridge import status_of
from central import TAP
from fault_proxy import FaultProxy

NUDGED_SECONDS = 0.15  # less than the poll, of which a nudge makes the bridge independent
STOP_SECONDS = 5
RESIDENT_KIB_MAX = 24 * 1024
BACKLOG = 30000  # many times what the bridge holds at once


def test_every_type_of_event_reaches_database_and_broker(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(60)
    events = assert_all_arrived(bridge, office, till)
    assert {event.event_type for event in events} == {
        "order.created", "order.cancelled", "product.created", "product.updated",
        "stock.adjusted"}
    assert len(office.messages) == len(events)


def test_a_backlog_and_what_is_sold_meanwhile_arrive(tmp_path, make_box, office, make_bridge):
    seed(tmp_path / "var", 5000)
    box = make_box()
    with open_till(box, per_second=500) as till:
        bridge = make_bridge(box.data_dir, office)
        wait_until(lambda: bridge.sink("rabbitmq"), 5)
        time.sleep(1)
    assert_all_arrived(bridge, office, till)


def test_a_sale_is_at_head_office_at_once(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    open_till(box)
    wait_until(lambda: len(office.tap()) == 2)
    delays = []
    for _ in range(10):
        time.sleep(0.03)
        sold_at = time.monotonic()
        box.sell()
        head = len(read_events(box.data_dir))
        wait_until(lambda: all(sink["cursor"] == head
                               for sink in sinks_of(bridge.status()).values()), 2)
        delays.append(time.monotonic() - sold_at)
    assert sorted(delays)[5] < NUDGED_SECONDS, delays


def test_without_a_nudge_a_sale_arrives_all_the_same(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    for name in SINKS:  # the topology takes its time, the first time
        bridge.wait_for_sink(name, state="running")
    (box.data_dir / "bridge.sock").unlink()
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till, seconds=5)


@pytest.mark.parametrize("missing", ["folder", "journal"])
def test_a_bridge_waits_for_the_appliance(missing, make_box, office, make_bridge, tmp_path):
    if missing == "journal":
        (tmp_path / "var").mkdir()
    bridge = make_bridge(tmp_path / "var", office, start=False).start(wait=missing == "journal")
    time.sleep(0.5)
    if missing == "journal":
        assert bridge.status()["unaccounted_events"] == 0
        assert bridge.get("/healthz").status == 200
    else:
        bridge.wait_for_event("bridge.waiting")
    box = make_box()
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)


def test_a_bridge_waits_for_head_office(box, servers, make_office, make_bridge):
    """Its servers aren't there at first; then they are, and have neither tables nor a virtual host."""
    office = servers.new_office()
    with FaultProxy(servers.postgres.port) as database, FaultProxy(servers.rabbit.port) as broker:
        database.refuse()
        broker.refuse()
        bridge = make_bridge(
            box.data_dir, office,
            TILLBOX_POSTGRES_URL=servers.postgres.url_of(office.name, database.port),
            TILLBOX_AMQP_URL=servers.rabbit.url_of(office.name, port=broker.port))
        till = open_till(box).trade(20)
        for name in SINKS:
            sink = bridge.wait_for_sink(name, state="down")
            assert "refused" in sink["last_error"] or "connecting" in sink["last_error"], sink
        assert bridge.get("/healthz").status == 200
        office.create_database()
        database.accept()
        broker.accept()
        wait_until(lambda: database.connections and broker.connections)
        time.sleep(0.5)
        office.create_vhost()
        done = run_bridge("migrate", environment=settings_of(office))
        assert done.returncode == 0, done
        assert_all_arrived(bridge, office, till)
    office.remove()


def test_a_sink_that_is_not_configured_is_off(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office, TILLBOX_AMQP_URL="")
    open_till(box).trade(5)
    wait_until(lambda: office.number("SELECT count(*) FROM event_logs") == 7)
    assert list(sinks_of(bridge.status())) == ["postgres"]


def test_a_second_bridge_on_the_folder_ends_with_3(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    second = Bridge(box.data_dir, settings_of(office))
    second.log_path = box.data_dir.parent / "second.log"
    assert second.start(wait=False).process.wait(10) == 3
    assert "another bridge" in second.log_events("bridge.start_failed")[0]["error"]
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)


def test_a_status_port_in_use_ends_with_3(box, office):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = run_bridge("run", "--data-dir", box.data_dir, "--status-listen",
                          f"127.0.0.1:{other.getsockname()[1]}", environment=settings_of(office))
    assert done.returncode == 3, done


def test_accounts_are_the_same_everywhere(box, office, make_bridge):
    """In `bridge status`, from the bridge and from the appliance, and also while it is down."""
    assert status_of(box.data_dir)[1] == 0
    assert box.status()["bridge"]["sinks"] == []
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(30)
    assert_all_arrived(bridge, office, till)
    running = bridge.status()
    assert running["bridge_running"] and len(running["sinks"]) == 2
    assert status_of(box.data_dir) == (running, 0)
    wait_until(lambda: {"version": running["version"], **box.status()["bridge"]} == running, 5)
    assert bridge.stop() == 0
    box.sell()
    stopped, code = status_of(box.data_dir)
    assert (stopped["bridge_running"], stopped["backlog"], code) == (False, 1, 0)
    wait_until(lambda: {"version": stopped["version"], **box.status()["bridge"]}
               == status_of(box.data_dir)[0], 5)
    assert box.metric("tillbox_bridge_running") == 0
    for name in SINKS:
        assert box.metric(f'tillbox_backlog_events{{sink="{name}"}}') == 1
        assert box.metric(f'tillbox_unaccounted_events{{sink="{name}"}}') == 0
    text = run_bridge("status", "--data-dir", box.data_dir).stdout
    assert re.search(r"postgres +running +breaker closed, at sequence 32: 32 delivered, 1 pending",
                     text), text


def test_accounts_are_there_at_any_moment(tmp_path, make_box, office, make_bridge):
    """Also in the midst of a drain, and while every sale moves the cursors."""
    seed(tmp_path / "var", 5000)
    box = make_box()
    bridge = make_bridge(box.data_dir, office)
    with open_till(box, per_second=1000) as till:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            accounts = box.status()["bridge"]
            assert "error" not in accounts, accounts
            assert accounts["unaccounted_events"] == 0
            for path in ("/status", "/healthz", "/metrics"):
                answer = bridge.get(path)
                assert answer.status == 200, answer
    assert_all_arrived(bridge, office, till)


def test_metrics_are_what_the_status_says(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)
    metrics = bridge.get("/metrics").text
    for name in SINKS:
        for line in (f'tillbox_sink_cursor{{sink="{name}"}} 7',
                     f'tillbox_backlog_events{{sink="{name}"}} 0',
                     f'tillbox_parked_events{{sink="{name}"}} 0',
                     f'tillbox_unaccounted_events{{sink="{name}"}} 0',
                     f'tillbox_breaker_state{{sink="{name}"}} 0',
                     f'tillbox_sink_stopped{{sink="{name}"}} 0'):
            assert line in metrics.splitlines(), metrics
    assert "tillbox_bridge_running 1" in metrics.splitlines()
    assert bridge.get("/livez").status == 200
    assert bridge.get("/nothing").status == 404


def test_a_user_who_may_only_publish_publishes(box, office, make_bridge):
    """Head office has declared the topology; the box's user may not."""
    bridge = make_bridge(box.data_dir, office, **publisher_of(office))
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    office.close_connections()
    till.trade(20)
    assert_all_arrived(bridge, office, till)


def test_the_broker_s_password_may_come_from_a_file(box, office, make_bridge, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(office.rabbit.password + "\n")
    secret.chmod(0o600)
    url = office.amqp_url.replace(office.rabbit.password, "wrong")
    bridge = make_bridge(box.data_dir, office, "--amqp-password-file", secret,
                         TILLBOX_AMQP_URL=url)
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)


def test_neither_log_nor_status_tell_a_secret(box, office, make_bridge):
    """Whether the peer takes it or not."""
    bridge = make_bridge(box.data_dir, office, "--log-level", "debug",
                         TILLBOX_AMQP_URL=office.amqp_url.replace("tillbox:", "nobody:"),
                         TILLBOX_POSTGRES_URL=office.postgres_url.replace(
                             "postgres@", "nobody:s3cret@"))
    for name in SINKS:
        bridge.wait_for_sink(name, state="down")
    told = bridge.log_path.read_text() + bridge.get("/status").text + bridge.get("/metrics").text
    assert office.rabbit.password not in told and "s3cret" not in told


def test_wrong_settings_are_told_all_at_once(tmp_path):
    done = run_bridge("run", "--data-dir", tmp_path, "--status-listen", "nowhere", "--log-level",
                      "loud", "--colour", "red")
    assert done.returncode == 2
    for word in ("status-listen", "log-level", "colour"):
        assert word in done.stderr.replace("_", "-"), done.stderr
    assert run_bridge("fly").returncode == 2
    assert run_bridge().returncode == 2


def test_the_log_is_one_json_object_a_line(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)
    assert bridge.stop() == 0
    for line in bridge.log_path.read_text().splitlines():
        assert {"time", "level", "program", "event"} <= set(json.loads(line))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_drain_in_seconds(number, tmp_path, office, make_bridge):
    seed(tmp_path / "var", 50000)
    bridge = make_bridge(tmp_path / "var", office)
    wait_until(lambda: all(sink["cursor"] > 0 for sink in sinks_of(bridge.status()).values())
               and bridge.status()["sinks"])
    os.kill(bridge.process.pid, number)
    asked_at = time.monotonic()
    assert bridge.process.wait(20) == 0
    assert time.monotonic() - asked_at < STOP_SECONDS
    status, code = status_of(bridge.data_dir)
    assert (status["unaccounted_events"], status["bridge_running"], code) == (0, False, 0)
    assert status["backlog"] > 0, "it had ended before the signal"
    for sink in status["sinks"]:
        if sink["name"] == "postgres":
            assert office.number("SELECT count(*) FROM event_logs") == sink["cursor"]
        else:
            assert office.queue_length(TAP) >= sink["cursor"]


def test_a_large_backlog_is_drained_in_little_memory(tmp_path, office, make_bridge):
    seed(tmp_path / "var", BACKLOG)
    bridge = make_bridge(tmp_path / "var", office)
    assert_all_arrived(bridge, office, seconds=60)
    assert bridge.peak_kib() <= RESIDENT_KIB_MAX
