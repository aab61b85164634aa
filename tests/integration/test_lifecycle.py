"""Starting and stopping, well and badly: signals, a second instance, damage, a failing disk."""

import json
import re
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import box as harness
from box import Wire
from box import request_bytes
from box import run_command
from box import shared_libraries
from box import wait_until

SALE = {"user_id": 1, "product_id": 1, "quantity": 1}
STOP_SECONDS_MAX = 3


@pytest.fixture
def shop(make_box):
    box = make_box()
    box.add_product(stock=1000000)
    return box


def sell_many(box, count):
    """Over many connections at once, so that the sales share their flushes."""
    wires = [Wire(box.orders_port) for _ in range(50)]
    for _ in range(count // len(wires)):
        for wire in wires:
            wire.send(request_bytes("POST", "/orders", SALE))
        assert {wire.answer().status for wire in wires} == {201}
    for wire in wires:
        wire.close()


def sold_to(box):
    return sorted(row[0] for row in box.query("SELECT user_id FROM orders"))


def integrity(box):
    return box.status()["journal"]["integrity"]


def wait_for_integrity(box, state):
    wait_until(lambda: integrity(box) == state, what=f"the state {state}")


class Sellers:
    """Threads that sell over a connection each until the box closes it."""

    def __init__(self, box, count):
        self.acknowledged = []
        self.other_answers = []
        self.unanswered = 0
        self.threads = [threading.Thread(target=self.sell, args=(box.orders_port, number))
                        for number in range(count)]
        for thread in self.threads:
            thread.start()

    def sell(self, port, number):
        user = number
        try:
            with Wire(port) as wire:
                while True:
                    user += 1000
                    answer = wire.request("POST", "/orders", {**SALE, "user_id": user})
                    if not answer:
                        break
                    if answer.status != 201:
                        self.other_answers.append(answer)
                        return
                    self.acknowledged.append(user)
        except OSError:
            pass
        self.unanswered += 1

    def join(self):
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_keeps_exactly_what_it_answered(shop, number):
    sellers = Sellers(shop, 24)
    wait_until(lambda: len(sellers.acknowledged) > 500, what="some sales")
    started = time.monotonic()
    shop.process.send_signal(number)
    assert shop.process.wait(20) == 0
    assert time.monotonic() - started < STOP_SECONDS_MAX
    sellers.join()
    assert sold_to(shop) == sorted(sellers.acknowledged)
    assert all(answer.status == 503 and answer.headers["Retry-After"]
               and answer.headers["Connection"].lower() == "close"
               for answer in sellers.other_answers), sellers.other_answers
    shop.start()
    assert integrity(shop) == "trusted"
    assert shop.status()["journal"]["stopped_cleanly_before"] is True
    assert sold_to(shop) == sorted(sellers.acknowledged)


def takes_nobody(port):
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_that_has_begun_before_the_stop_is_answered(shop):
    data = request_bytes("POST", "/orders", SALE)
    with Wire(shop.orders_port) as wire:
        wire.send(data[:-10])
        wire.wait_until_read()
        shop.process.send_signal(signal.SIGTERM)
        wait_until(lambda: takes_nobody(shop.orders_port), what="the stop")
        wire.send(data[-10:])
        answer = wire.answer()
        assert answer.status == 201
        assert answer.headers["Connection"].lower() == "close"
    assert shop.process.wait(20) == 0
    assert sold_to(shop) == [1]


def test_a_request_that_never_ends_does_not_stop_the_stop(shop):
    with Wire(shop.orders_port) as wire:
        wire.send(request_bytes("POST", "/orders", SALE)[:-10])
        wire.wait_until_read()
        assert shop.stop(timeout=10) == 0
    assert sold_to(shop) == []


def test_a_stop_with_hundreds_of_idle_connections_is_quick(shop):
    wires = [Wire(shop.orders_port if n % 2 else shop.inventory_port) for n in range(300)]
    for wire in wires:
        assert wire.request("GET", "/livez").status == 200
    started = time.monotonic()
    assert shop.stop() == 0
    assert time.monotonic() - started < STOP_SECONDS_MAX
    for wire in wires:
        assert wire.answers() == []
        wire.close()


def test_a_box_that_is_being_started_can_be_stopped(make_box):
    for _ in range(5):
        box = make_box()
        assert box.stop() == 0


def test_a_second_instance_on_the_folder_is_refused(shop, tmp_path):
    (tmp_path / "link").symlink_to(shop.data_dir)
    for folder in (shop.data_dir, tmp_path / "link"):
        second = run_command("serve", "--data-dir", folder, "--orders-listen", "127.0.0.1:0",
                             "--inventory-listen", "127.0.0.1:0")
        assert second.returncode == 3
        assert f"another process has the journal in {folder}" in second.stderr
    assert shop.sell().status == 201


@pytest.mark.parametrize("option", ["--orders-listen", "--inventory-listen"])
def test_a_port_in_use_is_told(shop, make_box, option):
    second = make_box(option, f"127.0.0.1:{shop.orders_port}", name="second", start=False)
    with pytest.raises(RuntimeError):
        second.start()
    assert second.process.returncode == 3
    failure, = second.log_events("appliance.start_failed")
    assert str(shop.orders_port) in failure["error"]
    assert shop.sell().status == 201
    third = make_box(name="second")
    third.add_product()
    assert third.sell().status == 201


def test_after_a_kill_the_box_sells_at_once_and_checks_meanwhile(shop):
    sell_many(shop, 3000)
    shop.kill()
    log_start = shop.log_path.stat().st_size
    shop.start()
    assert shop.sell().json["id"] == 3001
    assert shop.status()["journal"]["stopped_cleanly_before"] is False
    wait_for_integrity(shop, "sound")
    states = wait_until(lambda: len(lines := [line["state"] for line in shop.log_lines(log_start)
                                              if line["event"] == "journal.integrity"]) == 2
                        and lines, what="both lines of the log")
    assert states == ["checking", "sound"]
    assert shop.orders("GET", "/healthz").json["integrity"] == "sound"
    assert shop.stop() == 0
    shop.start()
    assert integrity(shop) == "trusted"


def damage_payload(box, sequence):
    """As somebody would who knows SQLite and not the hash."""
    journal = sqlite3.connect(box.data_dir / "journal.db")
    journal.execute("DROP TRIGGER events_are_never_changed")
    journal.execute("UPDATE events SET payload = replace(payload, '\"quantity\":1', "
                    "'\"quantity\":2') WHERE sequence = ?", (sequence,))
    journal.commit()
    journal.close()


def damage_page(box):
    """Overwrites part of an old page of events, as a failing disk would."""
    journal = sqlite3.connect(box.data_dir / "journal.db")
    journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page, size = journal.execute("SELECT pageno, pgsize FROM dbstat WHERE name = 'events'"
                                 " AND pagetype = 'leaf' ORDER BY path LIMIT 1").fetchone()
    journal.close()
    with open(box.data_dir / "journal.db", "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * 200)


def expect_alarm(box):
    """Status, metrics, log and health say that the journal is damaged, and sales go on."""
    wait_for_integrity(box, "damaged")
    status = box.status()
    assert status["status"] == "degraded"
    assert status["journal"]["damage"]
    assert box.metric("tillbox_journal_damaged") == 1
    health = box.orders("GET", "/healthz")
    assert (health.status, health.json["status"], health.json["integrity"]) \
        == (200, "degraded", "damaged")
    assert box.orders("GET", "/readyz").json == {"status": "degraded"}
    alarm = wait_until(lambda: box.log_events("journal.integrity"))[-1]
    assert (alarm["level"], alarm["state"]) == ("error", "damaged"), "the log's last word"
    before = box.stock()
    assert box.sell().status == 201
    assert box.stock() == before - 1
    assert box.orders("POST", "/orders/1/cancel").status in (200, 409)


def test_a_changed_event_raises_an_alarm_and_sales_go_on(shop):
    sell_many(shop, 100)
    shop.kill()
    damage_payload(shop, 50)
    shop.start()
    expect_alarm(shop)
    assert "50" in shop.status()["journal"]["damage"]
    assert run_command("verify", "--data-dir", shop.data_dir).returncode == 4


def test_a_damaged_page_raises_an_alarm_and_sales_go_on(shop):
    sell_many(shop, 3000)
    shop.kill()
    damage_page(shop)
    shop.start()
    expect_alarm(shop)
    assert run_command("verify", "--data-dir", shop.data_dir).returncode == 4


def test_damage_is_not_forgotten_by_a_clean_restart(shop):
    sell_many(shop, 100)
    shop.kill()
    damage_payload(shop, 50)
    shop.start()
    wait_for_integrity(shop, "damaged")
    assert shop.stop() == 0
    shop.start()
    expect_alarm(shop)


@pytest.mark.parametrize("content", [b"not a database\n" * 1000,
                                     b"SQLite format 3\0" + b"\xff" * 8176])
def test_a_file_that_is_no_journal_is_left_as_it_is(make_box, content):
    box = make_box(start=False)
    box.data_dir.mkdir()
    (box.data_dir / "journal.db").write_bytes(content)
    with pytest.raises(RuntimeError):
        box.start()
    assert box.process.returncode == 4
    assert box.log_events("appliance.start_failed")
    assert (box.data_dir / "journal.db").read_bytes() == content


@pytest.mark.parametrize("sql", ["PRAGMA application_id = 12345", "PRAGMA user_version = 999",
                                 "CREATE TABLE notes (text)"])
def test_a_database_of_something_else_is_left_as_it_is(make_box, sql):
    box = make_box(start=False)
    box.data_dir.mkdir()
    other = sqlite3.connect(box.data_dir / "journal.db")
    other.execute(sql)
    other.commit()
    before = list(other.iterdump())
    with pytest.raises(RuntimeError):
        box.start()
    assert box.process.returncode == 1
    assert box.log_events("appliance.start_failed")[0]["error"]
    assert list(other.iterdump()) == before
    other.close()


def test_a_data_folder_that_is_none_is_told(make_box):
    box = make_box(start=False)
    box.data_dir.write_text("a file")
    with pytest.raises(RuntimeError):
        box.start()
    assert box.process.returncode == 1
    assert str(box.data_dir) in box.log_events("appliance.start_failed")[0]["error"]


FAILING_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fails for files whose names end as the file FAILING_DISK says, while that is there. */
static int fails(int descriptor)
{
    char link[64], path[4096] = "", suffix[64] = "";
    FILE *file = fopen(getenv("FAILING_DISK"), "r");
    if (!file)
        return 0;
    if (!fgets(suffix, sizeof suffix, file))
        suffix[0] = 0;
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if (readlink(link, path, sizeof path - 1) < 0)
        return 0;
    size_t length = strlen(path), end = strlen(suffix);
    return length >= end && strcmp(path + length - end, suffix) == 0;
}

static int sync_by(const char *name, int descriptor)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!fails(descriptor))
        return real(descriptor);
    errno = EIO;
    return -1;
}

int fsync(int descriptor)
{
    return sync_by("fsync", descriptor);
}

int fdatasync(int descriptor)
{
    return sync_by("fdatasync", descriptor);
}
"""


class FailingDisk:
    """A library to preload, under which flushing fails on demand."""

    def __init__(self, folder):
        self.switch = folder / "failing"
        source, library = folder / "failing_disk.c", folder / "failing_disk.so"
        source.write_text(FAILING_DISK)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        # a sanitizer's own library has to come first
        first = re.findall(r"=> (\S+/lib[at]san\.so\S*)", shared_libraries())
        self.environment = {"LD_PRELOAD": " ".join([*first, str(library)]),
                            "FAILING_DISK": str(self.switch)}

    def fail(self, suffix):
        self.switch.write_text(suffix)

    def work(self):
        self.switch.unlink()


@pytest.fixture
def failing_disk(tmp_path):
    return FailingDisk(tmp_path)


@pytest.fixture
def fragile(make_box, failing_disk):
    box = make_box(environment=failing_disk.environment)
    box.add_product(stock=1000000)
    return box


def expect_all_there(box, acknowledged):
    """Every acknowledged sale is there after the restart; one that was refused may be too."""
    box.start()
    assert set(acknowledged) <= set(sold_to(box))
    wait_until(lambda: integrity(box) != "checking", what="the end of the check")
    assert integrity(box) in ("sound", "trusted")
    assert box.sell().status == 201
    assert run_command("verify", "--data-dir", box.data_dir).returncode == 0


def test_a_disk_that_refuses_to_flush_ends_the_process_and_acknowledges_nothing(fragile,
                                                                                failing_disk):
    sellers = Sellers(fragile, 16)
    wait_until(lambda: len(sellers.acknowledged) > 100, what="some sales")
    failing_disk.fail("-wal")
    assert fragile.process.wait(20) == 5
    sellers.join()
    assert any(answer.status == 500 for answer in sellers.other_answers)
    assert all(answer.status in (500, 503) for answer in sellers.other_answers)
    failing_disk.work()
    expect_all_there(fragile, sellers.acknowledged)


def test_a_single_sale_that_could_not_be_flushed_is_not_acknowledged(fragile, failing_disk):
    failing_disk.fail("")
    answer = fragile.sell(user_id=7)
    assert (answer.status, answer.json["type"]) == (500, "urn:tillbox:problem:internal")
    assert fragile.process.wait(20) == 5
    assert any(line["level"] == "error" for line in fragile.log_lines())
    failing_disk.work()
    expect_all_there(fragile, [])


def test_a_sale_that_is_there_after_all_was_not_called_unmade(fragile, failing_disk):
    failing_disk.fail("")
    key = {"Idempotency-Key": "key"}
    refused = fragile.sell(user_id=7, headers=key)
    assert fragile.process.wait(20) == 5
    failing_disk.work()
    fragile.start()
    was_made = sold_to(fragile) == [7]
    assert fragile.sell(user_id=7, headers=key).status == 201
    assert sold_to(fragile) == [7]
    assert not (was_made and "was not made" in refused.json["detail"]), refused


def test_a_checkpoint_that_could_not_be_flushed_ends_the_process_too(fragile, failing_disk):
    failing_disk.fail("journal.db")
    sellers = Sellers(fragile, 8)
    assert fragile.process.wait(60) == 5
    sellers.join()
    failing_disk.work()
    expect_all_there(fragile, sellers.acknowledged)


def test_a_stop_that_could_not_be_flushed_says_so(fragile, failing_disk):
    assert fragile.sell(user_id=7).status == 201
    failing_disk.fail("")
    assert fragile.stop() == 5
    failing_disk.work()
    expect_all_there(fragile, [7])


def test_a_start_that_can_not_flush_fails(fragile, failing_disk):
    assert fragile.stop() == 0
    failing_disk.fail("")
    with pytest.raises(RuntimeError):
        fragile.start()
    assert fragile.process.returncode == 5
    failing_disk.work()
    expect_all_there(fragile, [])


@pytest.fixture
def piped(make_box):
    """A box whose log goes into a pipe that has been read up to the line that it is ready."""
    box = make_box(start=False)
    command = [harness.APPLIANCE, "serve", "--data-dir", box.data_dir,
               "--orders-listen", "127.0.0.1:0", "--inventory-listen", "127.0.0.1:0"]
    box.process = subprocess.Popen(command, stderr=subprocess.PIPE)
    ready = json.loads(next(line for line in box.process.stderr if b"appliance.ready" in line))
    box.orders_port, box.inventory_port = ready["orders_port"], ready["inventory_port"]
    box.add_product(stock=1000000)
    yield box
    box.process.stderr.close()


def test_a_log_that_nobody_reads_stops_no_sale(piped):
    sell_many(piped, 2000)
    assert piped.metric("tillbox_log_lines_dropped_total") > 0
    started = time.monotonic()
    assert piped.sell().status == 201
    assert time.monotonic() - started < 1
    assert piped.stop() == 0


def test_a_log_whose_reader_has_gone_stops_no_sale(piped):
    piped.process.stderr.close()
    sell_many(piped, 200)
    assert piped.stop() == 0
