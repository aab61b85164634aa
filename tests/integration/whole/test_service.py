"""What a service manager is told: ready, alive, stopping; and that it isn't told what isn't so."""

import socket
import time
import types

import pytest

from box import wait_until
from bridge import Bridge
from ports import free_port
from service import Service
from service import declare_topology
from service_manager import ServiceManager


@pytest.fixture
def manager(tmp_path):
    manager = ServiceManager(tmp_path)
    yield manager
    manager.close()


def sells(box):
    return box.sell(timeout=3).status == 201


def test_ready_is_said_once_both_sockets_answer_and_the_journal_is_open(make_box, manager):
    orders, inventory = free_port(), free_port()
    box = make_box("--orders-listen", f"127.0.0.1:{orders}", "--inventory-listen",
                   f"127.0.0.1:{inventory}", environment=manager.environment())
    manager.wait_for("READY=1")
    for port in (orders, inventory):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert box.query("SELECT count(*) FROM meta") == [(1,)]
    assert manager.count("READY=1") == 1


def test_a_box_that_cannot_start_never_says_ready(make_box, manager):
    make_box()
    second = make_box(start=False, environment=manager.environment())
    with pytest.raises(RuntimeError):
        second.start()
    manager.listen(0.2)
    assert manager.words == []


def test_an_idle_box_says_alive_and_so_does_one_that_sells(make_box, manager):
    box = make_box(environment=manager.environment())
    box.add_product()
    manager.wait_for("WATCHDOG=1", manager.watchdog_s).wait_for("WATCHDOG=1", manager.watchdog_s)
    assert sells(box)
    manager.wait_for("WATCHDOG=1", manager.watchdog_s)


def test_the_status_names_port_and_events(make_box, manager):
    box = make_box(environment=manager.environment())
    manager.wait_for("READY=1")
    status = next(word for _, word in manager.words if word.startswith("STATUS="))
    assert f"port {box.orders_port}" in status and "0 events" in status and "disk ok" in status


def test_stopping_is_said_when_it_begins(make_box, manager):
    box = make_box(environment=manager.environment())
    assert box.stop() == 0
    manager.wait_for("STOPPING=1", 1)


@pytest.mark.parametrize("call, part", [("sigtimedwait", None), ("fdatasync", "committer"),
                                        ("accept4", "orders")])
def test_alive_is_not_said_while_a_part_of_the_box_hangs(make_box, manager, call, part):
    box = make_box(environment=manager.environment(hang_call=call))
    box.add_product()
    manager.wait_for("WATCHDOG=1")
    with manager.hanging():
        if part == "committer":
            with pytest.raises(TimeoutError):
                box.sell(timeout=0.5)
        assert manager.goes_quiet()
        stuck = [line["part"] for line in box.log_events("watchdog.stuck")]
        assert part in stuck if part else stuck == []
    manager.wait_for("WATCHDOG=1", 2 * manager.watchdog_s)


def test_a_bridge_without_head_office_is_ready_and_alive(box, manager):
    box.add_product()
    nowhere = free_port()
    settings = {"TILLBOX_POSTGRES_URL": f"postgresql://box@127.0.0.1:{nowhere}/tillbox",
                "TILLBOX_AMQP_URL": f"amqp://box:box@127.0.0.1:{nowhere}/",
                **manager.environment()}
    bridge = Bridge(box.data_dir, settings).start()
    manager.wait_for("READY=1")
    wait_until(lambda: [line for line in bridge.log_events("sink.state")
                        if line["breaker"] == "open"], 30, "an open breaker")
    for _ in range(3):
        manager.wait_for("WATCHDOG=1", manager.watchdog_s)
    assert bridge.stop() == 0
    manager.wait_for("STOPPING=1", 1)


@pytest.mark.parametrize("call, part", [("poll", None), ("accept4", "status")])
def test_alive_is_not_said_while_a_part_of_the_bridge_hangs(box, manager, call, part):
    bridge = Bridge(box.data_dir, manager.environment(hang_call=call)).start()
    manager.wait_for("WATCHDOG=1")
    with manager.hanging():
        assert manager.goes_quiet()
        stuck = [line["part"] for line in bridge.log_events("watchdog.stuck")]
        assert part in stuck if part else stuck == []
    manager.wait_for("WATCHDOG=1", 2 * manager.watchdog_s)
    assert bridge.stop() == 0


LISTEN = {"inventory": "--inventory-listen", "notification": "--status-listen"}


@pytest.fixture
def start_service(tmp_path):
    """Starts a service of head office, as (service, its manager); each must end cleanly, and within
    two seconds."""
    started = []

    def start(name, office=None, hang_call=None):
        nowhere = types.SimpleNamespace(
            postgres_url=f"postgresql://box@127.0.0.1:{free_port()}/tillbox",
            amqp_url=f"amqp://box:box@127.0.0.1:{free_port()}/")
        (tmp_path / name).mkdir()
        manager = ServiceManager(tmp_path / name)
        started.append((Service(tmp_path, office or nowhere, name, LISTEN[name],
                                **manager.environment(hang_call)).start(), manager))
        return started[-1]

    yield start
    for service, manager in started:
        began = time.monotonic()
        assert service.stop() == 0 and time.monotonic() - began < 2
        manager.close()


def test_services_without_database_and_broker_are_ready_and_alive(start_service):
    started = [start_service(name) for name in LISTEN]
    for service, manager in started:
        manager.wait_for("READY=1")
        wait_until(lambda service=service: service.status()["postgres"]["breaker"] == "open", 20,
                   "an open breaker")
    for _ in range(2):
        for service, manager in started:
            manager.wait_for("WATCHDOG=1", manager.watchdog_s)
    for service, manager in started:
        assert service.stop() == 0
        manager.wait_for("STOPPING=1", 1)


def test_services_whose_peers_go_away_stay_alive(start_service, office):
    declare_topology(office)
    started = [start_service(name, office) for name in LISTEN]
    for service, manager in started:
        wait_until(lambda service=service: service.get("/readyz").status == 200, 20, "both peers")
    office.rabbit.stop()
    office.postgres.stop()
    for service, manager in started:
        wait_until(lambda service=service: service.get("/readyz").status == 503, 20, "an outage")
    for _ in range(2):
        for service, manager in started:
            manager.wait_for("WATCHDOG=1", manager.watchdog_s)


@pytest.mark.parametrize("name, call, part", [("inventory", "poll", None),
                                              ("notification", "poll", None),
                                              ("inventory", "accept4", "http")])
def test_alive_is_not_said_while_a_part_of_a_service_hangs(name, call, part, start_service):
    service, manager = start_service(name, hang_call=call)
    manager.wait_for("WATCHDOG=1")
    with manager.hanging():
        assert manager.goes_quiet()
        stuck = [line["part"] for line in service.log_events("watchdog.stuck")]
        assert part in stuck if part else stuck == []
    manager.wait_for("WATCHDOG=1", 2 * manager.watchdog_s)
