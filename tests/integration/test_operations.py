"""docs/OPERATIONS.md: in each trouble its own commands are run, as they stand in the document. Those under
"over" must fail while the trouble lasts, and succeed once it is over."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pika
import pytest

from box import APPLIANCE
from box import ROOT
from box import wait_until
from bridge import BRIDGE
from bridge import Till
from bridge import open_till
from bridge import settings_of
from central import connected
from roles import operators_commands
from service import Publisher
from service import Service
from service import declare_topology
from test_bridge_broker import let_one_through
from test_bridge_broker import unbind_all

OVER_SECONDS = 30
RECOVERY_SECONDS = 5


def read_book():
    """{heading: {"look" | "do" | "over": commands}}"""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    return {section.split("\n", 1)[0]: dict(re.findall(r"^```sh (\w+)\n(.*?)^```$", section,
                                                       re.MULTILINE | re.DOTALL))
            for section in text.split("\n## ")[1:]}


BOOK = read_book()


class Operator:
    """Has the installed programs' names, and the variables that the document's first page sets."""

    def __init__(self, folder, office):
        programs = folder / "programs"
        programs.mkdir()
        (programs / "tillbox-appliance").symlink_to(APPLIANCE)
        (programs / "tillbox-bridge").symlink_to(BRIDGE)
        self.environment = {**os.environ, **settings_of(office),
                            **operators_commands(office, folder),
                            "PATH": f"{programs}:{os.environ['PATH']}"}

    def at(self, box, bridge=None, **variables):
        self.environment |= {"TILLBOX_DATA_DIR": str(box.data_dir), **variables,
                             "ORDERS": f"http://localhost:{box.orders_port}"}
        if bridge:
            self.environment["BRIDGE"] = f"http://localhost:{bridge.port}"
        return self

    def run(self, heading, part):
        return subprocess.run(["bash", "-c", BOOK[heading][part]], env=self.environment,
                              capture_output=True, text=True, check=False, timeout=60)

    def look(self, heading):
        done = self.run(heading, "look")
        return done.stdout + done.stderr

    def do(self, heading):
        done = self.run(heading, "do")
        assert done.returncode == 0, done
        return done.stdout

    def is_over(self, heading):
        return self.run(heading, "over").returncode == 0

    def wait_until_over(self, heading):
        wait_until(lambda: self.is_over(heading), OVER_SECONDS,
                   f"{heading}: {self.run(heading, 'over')}")


@pytest.fixture
def operator(tmp_path, office):
    return Operator(tmp_path, office)


@pytest.fixture
def shop(box, office, make_bridge, operator):
    """(till, bridge): a box whose first sales have arrived."""
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(5)
    operator.at(box, bridge)
    wait_until(lambda: operator.is_over("Head office can't be reached"), OVER_SECONDS, "a start")
    return till, bridge


@pytest.mark.parametrize("peer", ["postgres", "rabbitmq"])
def test_a_peer_is_down_and_its_breaker_open(peer, shop, operator, office):
    till, bridge = shop
    server = office.postgres if peer == "postgres" else office.rabbit
    server.stop()
    till.trade(2)
    bridge.wait_for_sink(peer, 20, breaker="open")
    assert f"{peer}" in operator.look("Head office can't be reached")
    assert f'{{sink="{peer}"}} 1' in operator.look("A breaker is open")
    assert not operator.is_over("Head office can't be reached")
    assert not operator.is_over("A breaker is open")
    server.start()
    operator.wait_until_over("Head office can't be reached")
    operator.wait_until_over("A breaker is open")


def test_events_are_parked(shop, operator, office):
    till, bridge = shop
    unbind_all(office, "order.created")
    till.trade(1)
    let_one_through(till.box)
    wait_until(lambda: bridge.sink("rabbitmq")["parked"], 20, "a parked event")
    assert "order.created" in operator.look("Events are parked")
    assert not operator.is_over("Events are parked")
    for queue in ("inventory.order.queue", "notification.order.queue"):
        office.bind("order.created", queue)
    operator.do("Events are parked")
    operator.wait_until_over("Events are parked")


def confirms_at(office, stopping):
    """The times at which a publisher without a bridge hears from the broker, until it is stopped."""
    times = []

    def publish():
        while not stopping.is_set():
            with contextlib.suppress(pika.exceptions.AMQPError), connected(office.amqp_url) as line:
                channel = line.channel()
                channel.confirm_delivery()
                channel.basic_publish("order.events", "order.created", b"{}")
                times.append(time.monotonic())
    threading.Thread(target=publish, daemon=True).start()
    return times


def test_a_queue_has_no_leader(operator, office, box, make_bridge, servers):
    """Nobody else gets a confirm from such a broker; the bridge has gone on soon after they do."""
    heading = "A queue has no leader"
    declare_topology(office)
    servers.rabbit.forget_queue(office.name, "notification.order.queue")
    servers.rabbit.start()
    bridge = make_bridge(box.data_dir, office)
    stopping = threading.Event()
    confirmed = confirms_at(office, stopping)
    open_till(box).trade(5)
    operator.at(box, bridge)
    wait_until(lambda: "has each of its queues a leader?" in operator.look(heading), 20)
    assert "timeout" in operator.look(heading) and not operator.is_over(heading)
    assert confirmed == []
    operator.do(heading)
    operator.wait_until_over(heading)
    recovered_at = time.monotonic()
    stopping.set()
    assert recovered_at - confirmed[0] < RECOVERY_SECONDS


def test_messages_are_in_order_failed(operator, office, box, make_bridge):
    heading = "Messages are in order.failed"
    make_bridge(box.data_dir, office).wait_for_sink("rabbitmq", state="running")
    operator.at(box)
    with Publisher(office) as publisher:
        event = publisher.order("created", (1, 1))
        publisher.channel.basic_publish("order.dlx", "order.failed", json.dumps(event),
                                        pika.BasicProperties(type=event["event_type"],
                                                             message_id=event["event_id"]))
    wait_until(lambda: not operator.is_over(heading), 15, "the message among what is counted")
    assert "order.failed" in operator.look(heading)
    operator.do(heading)
    operator.wait_until_over(heading)
    assert [message.properties.message_id for message in office.tap()] == [event["event_id"]]


@pytest.mark.parametrize("heading", ["Events are unaccounted for",
                                     "Head office was restored from a backup"])
def test_what_head_office_lacks_is_named_and_sent(heading, shop, operator, office, make_inventory):
    """As after a backup of before the last sales, with the boxes' cursors of after them."""
    make_inventory(office)
    till, _ = shop
    till.trade(5)
    wait_until(lambda: operator.is_over(heading), OVER_SECONDS, "what was sold so far")
    office.query("DELETE FROM event_logs WHERE sequence > 4; DELETE FROM stock_logs WHERE sequence > 4;"
                 "UPDATE products SET stock = coalesce((SELECT sum(change) FROM stock_logs s"
                 " WHERE s.product_id = products.product_id), 0)")
    assert not operator.is_over(heading)
    operator.look(heading)
    operator.do(heading)
    operator.wait_until_over(heading)


def test_a_box_was_cloned(shop, operator, office, make_box, make_bridge, tmp_path):
    heading = "A box was cloned or restored"
    till, bridge = shop
    shutil.copytree(till.box.data_dir, tmp_path / "clone",
                    ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    till.trade(3)
    wait_until(lambda: operator.is_over(heading), OVER_SECONDS, "the original's sales")
    clone = make_box(name="clone")
    clone_bridge = make_bridge(clone.data_dir, office)
    Till(clone).trade(3)
    operator.at(clone, clone_bridge)
    clone_bridge.wait_for_sink("postgres", 20, state="stopped")
    assert "stopped" in operator.look(heading) and not operator.is_over(heading)
    assert (clone_bridge.stop(), clone.stop()) == (0, 0)
    operator.do(heading)
    fresh = make_box("--device-id", f"{office.name}-new", name="clone")
    make_bridge(fresh.data_dir, office)
    open_till(fresh).trade(3)
    operator.at(fresh).wait_until_over(heading)


def test_bridge_db_is_lost(shop, operator, make_bridge, make_inventory, office):
    heading = "bridge.db is lost"
    till, bridge = shop
    make_inventory(office)
    assert bridge.stop() == 0
    operator.do(heading)
    assert not operator.is_over(heading)
    till.trade(2)
    operator.at(till.box, make_bridge(till.box.data_dir, office))
    operator.wait_until_over(heading)


def test_the_bridge_does_not_run(shop, operator):
    _, bridge = shop
    heading = "The bridge doesn't run"
    assert operator.is_over(heading)
    assert bridge.stop() == 0
    assert "not running" in operator.look(heading) and not operator.is_over(heading)
    bridge.start()
    operator.wait_until_over(heading)


def test_the_box_does_not_answer(box, operator):
    heading = "The box doesn't answer"
    operator.at(box)
    box.kill()
    assert "journal" in operator.look(heading) and not operator.is_over(heading)
    box.start()
    operator.at(box).wait_until_over(heading)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_the_disk_is_full(small_disk, make_box, operator):
    heading = "The disk is full"
    box = make_box("--disk-reserve-mb", 1, name="disk/var")
    operator.at(box)
    assert operator.is_over(heading)
    with open(small_disk / "other", "wb") as other:
        os.posix_fallocate(other.fileno(), 0, shutil.disk_usage(small_disk).free - 64 * 1024)
    wait_until(lambda: not operator.is_over(heading), 20, "a full disk")
    assert re.search(r"\"stage\":\"(low|full)\"", operator.look(heading))
    (small_disk / "other").unlink()
    operator.wait_until_over(heading)


def test_the_journal_is_damaged(box, operator):
    heading = "The journal is damaged"
    open_till(box).trade(3)
    operator.at(box)
    assert operator.is_over(heading)
    operator.do(heading)
    assert (box.data_dir.parent / "journal-copy.db").stat().st_size > 0
    box.stop()
    with open(box.data_dir / "journal.db", "r+b") as journal:
        at = journal.read().rindex(b'"quantity":1')
        journal.seek(at + len('"quantity":'))
        journal.write(b"2")
    assert "event" in operator.look(heading) and not operator.is_over(heading)


def test_the_journal_is_gone(box, operator):
    heading, names = "The journal is gone", ("journal.db", "journal.db-wal")
    open_till(box).trade(7)
    before = box.contents()
    operator.at(box, PID=str(box.process.pid))
    assert operator.is_over(heading)
    for name in names:
        (box.data_dir / name).unlink()
    assert '"journal":"failing"' in operator.look(heading) and not operator.is_over(heading)
    assert "sound" in operator.do(heading)
    assert box.stop() == 1
    for name in names:
        (box.data_dir.with_name(f"{box.data_dir.name}.rescued") / name).rename(box.data_dir / name)
    operator.at(box.start())
    operator.wait_until_over(heading)
    assert box.contents() == before


def test_the_clock_is_looked_at(box, operator):
    operator.at(box)
    assert "clock" in operator.look("The clock is wrong")
    assert operator.is_over("The clock is wrong")


def test_a_sale_is_in_doubt(shop, operator, office):
    heading = "A sale is in doubt"
    till, _ = shop
    sale = '{"user_id": 77, "items": [{"product_id": 1, "quantity": 1}]}'
    device = office.query("SELECT device_id FROM devices")[0][0]
    operator.at(till.box, KEY="doubt-1", SALE=sale, DEVICE=device)
    first, second = operator.do(heading), operator.do(heading)
    assert first == second and '"user_id":77' in first
    order = re.match(r'\{"id":(\d+)', first)[1]
    operator.at(till.box, ORDER=order)
    wait_until(lambda: operator.look(heading).rstrip().endswith("created"), 10, "it at head office")
    assert first.strip() in operator.look(heading)


def test_a_service_is_down(office, operator, make_inventory, box):
    heading = "A service of head office is down"
    inventory = make_inventory(office)
    operator.at(box, SERVICE=f"127.0.0.1:{inventory.port}")
    operator.wait_until_over(heading)
    assert inventory.stop() == 0
    assert not operator.is_over(heading)


def test_messages_to_customers_have_failed(office, operator, box, tmp_path):
    heading = "Messages to customers have failed"
    declare_topology(office)
    service = Service(tmp_path, office, "notification", "--status-listen").start()
    operator.at(box)
    with Publisher(office) as publisher:
        event = publisher.publish(publisher.order("created", (1, 1)))
    wait_until(lambda: office.number("SELECT count(*) FROM notifications"), 10, "the message")
    office.query("UPDATE notifications SET status = 'failed', attempts = 3, last_error = 'no answer'")
    assert event["event_id"] in operator.look(heading) and not operator.is_over(heading)
    operator.do(heading)
    operator.wait_until_over(heading)
    assert service.stop() == 0


def test_every_page_is_tried():
    source = (ROOT / "tests" / "integration" / "test_operations.py").read_text()
    assert len(BOOK) >= 15 and all(f'"{heading}"' in source for heading in BOOK)
