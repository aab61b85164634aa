"""`bridge inventory` while database, broker or it itself goes away: what comes counts once, and an
outage makes no dead letters."""

import os
import signal
import time

import pytest

from box import wait_until
from bridge import run_bridge
from bridge import settings_of
from central import connected
from fault_proxy import FaultProxy
from service import Publisher
from service import declare_topology
from service import stock_of
from service import wait_for_stock
from service import wait_until_taken

QUEUE, FAILED = "inventory.order.queue", "order.failed"
DELIVERY_LIMIT = 20
RECOVERY_SECONDS = 6
STOP_SECONDS = 2


@pytest.fixture
def lines(servers, office):
    """A line to each server, and the settings that lead over them."""
    with FaultProxy(servers.postgres.port) as database, FaultProxy(servers.rabbit.port) as broker:
        yield database, broker, {
            "TILLBOX_POSTGRES_URL": servers.postgres.url_of(office.name, database.port),
            "TILLBOX_AMQP_URL": servers.rabbit.url_of(office.name, port=broker.port)}


@pytest.fixture
def publisher(office):
    declare_topology(office)
    with Publisher(office) as client:
        yield client


def sell(publisher, count):
    publisher.pour(publisher.order("created", (1, 1)) for _ in range(count))


def wait_for_peer(service, peer, state):
    wait_until(lambda: service.status()[peer]["state"] == state, what=f"{peer} {state}")


def test_without_the_database_events_wait_in_the_queue(office, lines, publisher, make_inventory):
    """For other replicas too; nothing is refused, and it resumes by itself."""
    database, _, settings = lines
    inventory = make_inventory(office, **settings)
    sell(publisher, 10)
    wait_for_stock(office, {1: -10})
    database.refuse()
    database.cut()
    sell(publisher, 700)
    wait_for_peer(inventory, "postgres", "down")
    wait_until(lambda: office.queue_length(QUEUE) == 700, what="all of them back in the queue")
    wait_until(lambda: inventory.status()["postgres"]["breaker"] == "open")
    assert inventory.get("/livez").status == inventory.get("/healthz").status == 200
    assert inventory.get("/readyz").status == 503
    database.accept()
    wait_for_stock(office, {1: -710}, RECOVERY_SECONDS)
    assert office.queue_length(FAILED) == 0
    assert inventory.get("/readyz").status == 200


def test_more_outages_than_a_message_may_be_delivered_make_no_dead_letter(
        office, lines, publisher, make_inventory):
    database, _, settings = lines
    inventory = make_inventory(office, **settings)
    for number in range(DELIVERY_LIMIT + 5):
        database.cut()
        sell(publisher, 20)
        office.terminate_sessions()
        wait_for_stock(office, {1: -20 * (number + 1)})
    assert office.queue_length(FAILED) == 0
    assert inventory.counts()["applied"] == 20 * (DELIVERY_LIMIT + 5)


def test_a_database_that_cannot_work_gets_the_same_batch_until_it_can(office, publisher,
                                                                     make_inventory):
    """It takes connections, but the tables aren't what they should be: the messages go back once, not
    once a try."""
    inventory = make_inventory(office)
    sell(publisher, 5)
    wait_for_stock(office, {1: -5})
    office.query("ALTER TABLE products RENAME TO products_gone")
    sell(publisher, 50)
    wait_for_peer(inventory, "postgres", "down")
    wait_until(lambda: sum(line["breaker"] == "open" for line in
                           inventory.log_events("consumer.peer")) >= 2, 20, "a second trip")
    wait_until(lambda: office.queue_length(QUEUE) == 50)
    with connected(office.amqp_url) as connection:
        _, properties, _ = connection.channel().basic_get(QUEUE)
        assert properties.headers["x-delivery-count"] <= 2
    office.query("ALTER TABLE products_gone RENAME TO products")
    wait_for_stock(office, {1: -55}, RECOVERY_SECONDS)
    with connected(office.amqp_url) as connection:
        assert connection.channel().queue_declare(FAILED, passive=True).method.message_count == 0


def test_before_the_migration_nothing_is_taken(servers, make_inventory):
    office = servers.new_office()
    office.create_database()
    office.create_vhost()
    inventory = make_inventory(office)
    with Publisher(office) as publisher:
        sell(publisher, 3)
        wait_until(lambda: "products" in (inventory.status()["last_error"] or ""))
        assert office.queue_length(QUEUE) == 3
        done = run_bridge("migrate", environment=settings_of(office))
        assert done.returncode == 0, done
        wait_for_stock(office, {1: -3}, RECOVERY_SECONDS)
    inventory.stop()
    office.remove()


def test_a_broker_that_comes_back_is_found_again(office, servers, make_inventory):
    inventory = make_inventory(office)
    with Publisher(office) as publisher:
        sell(publisher, 10)
    wait_for_stock(office, {1: -10})
    servers.rabbit.stop()
    wait_for_peer(inventory, "rabbitmq", "down")
    servers.rabbit.start()
    with Publisher(office, device="box-2") as another:
        sell(another, 10)
        wait_for_stock(office, {1: -20}, RECOVERY_SECONDS)
    assert inventory.get("/readyz").status == 200


def test_broken_lines_to_the_broker_cost_nothing(office, lines, publisher, make_inventory):
    _, broker, settings = lines
    make_inventory(office, **settings)
    for number in range(10):
        sell(publisher, 30)
        broker.cut()
        wait_for_stock(office, {1: -30 * (number + 1)}, RECOVERY_SECONDS)
    assert office.queue_length(FAILED) == 0


def test_a_consumer_that_the_broker_dismisses_comes_back(office, publisher, make_inventory):
    inventory = make_inventory(office)
    sell(publisher, 3)
    wait_for_stock(office, {1: -3})
    with connected(office.amqp_url) as connection:
        connection.channel().queue_delete(QUEUE)
    wait_until(lambda: [line["state"] for line in inventory.log_events("consumer.peer")
                        if line["peer"] == "rabbitmq"] == ["up", "down", "up"])
    assert any("cancelled the consumer" in line["reason"]
               for line in inventory.log_events("consumer.peer"))
    sell(publisher, 3)
    wait_for_stock(office, {1: -6})


def test_killed_in_the_midst_it_goes_on_where_it_was(office, publisher, make_inventory):
    inventory = make_inventory(office, start=False)
    sell(publisher, 3000)
    for _ in range(4):
        inventory.start()
        before = office.number("SELECT count(*) FROM stock_logs")
        wait_until(lambda: office.number("SELECT count(*) FROM stock_logs") > min(before, 2999))
        inventory.kill()
    inventory.start()
    wait_for_stock(office, {1: -3000})
    wait_until_taken(office)
    assert office.number("SELECT count(*) FROM stock_logs") == 3000
    assert office.queue_length(FAILED) == 0


@pytest.mark.parametrize("trouble", ["none", "database", "broker", "both"])
def test_a_signal_ends_it_within_two_seconds(trouble, office, lines, publisher, make_inventory):
    """Whether it works, or a line hangs."""
    database, broker, settings = lines
    inventory = make_inventory(office, **settings)
    wait_for_peer(inventory, "rabbitmq", "up")
    for line in {"none": [], "database": [database], "broker": [broker],
                 "both": [database, broker]}[trouble]:
        line.stall()
        line.stall_new()
    sell(publisher, 2000)
    time.sleep(0.3)  # it may have any part of them in hand
    os.kill(inventory.process.pid, signal.SIGTERM)
    asked_at = time.monotonic()
    assert inventory.process.wait(10) == 0
    assert time.monotonic() - asked_at < STOP_SECONDS
    assert stock_of(office).get(1, 0) == -office.number("SELECT count(*) FROM stock_logs")


def test_a_user_who_may_only_consume_and_bury_consumes_and_buries(office, publisher,
                                                                 make_inventory):
    user = f"inventory-{office.name}"
    office.api("PUT", f"/users/{user}", {"password": office.rabbit.password, "tags": ""})
    office.allow(user, configure="^$", write="^order\\.dlx$", read="^inventory\\.order\\.queue$")
    make_inventory(office, TILLBOX_AMQP_URL=office.rabbit.url_of(office.name, user=user))
    publisher.publish("junk")
    sell(publisher, 3)
    wait_for_stock(office, {1: -3})
    wait_until(lambda: office.queue_length(FAILED) == 1)


def test_wrong_settings_are_told_all_at_once(tmp_path):
    done = run_bridge("inventory", "--inventory-listen", "0.0.0.0:0", "--api-token-file",
                      tmp_path / "none", environment={"TILLBOX_POSTGRES_URL": "",
                                                      "TILLBOX_AMQP_URL": ""})
    assert done.returncode == 2
    for word in ("postgres_url", "amqp_url", "api-token-file"):
        assert word.replace("-", "_") in done.stderr.replace("-", "_"), done.stderr
    done = run_bridge("inventory", "--inventory-listen", "0.0.0.0:0", environment={
        "TILLBOX_POSTGRES_URL": "postgresql://x", "TILLBOX_AMQP_URL": "amqp://x"})
    assert done.returncode == 2 and "not a loopback address" in done.stderr


def test_an_address_in_use_ends_with_3(office, make_inventory):
    port = make_inventory(office).port
    done = run_bridge("inventory", "--inventory-listen", f"127.0.0.1:{port}",
                      environment=settings_of(office))
    assert done.returncode == 3, done
