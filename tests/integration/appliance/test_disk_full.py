"""A disk that fills up: first everything but sales stops, then sales too, and nothing is lost.

The data folder is a small tmpfs of its own; mounting it needs root."""

import itertools
import os
import subprocess

import pytest

from box import Wire
from box import request_bytes
from box import run_command
from box import wait_until

DISK_MIB = 48
RESERVE_BYTES = DISK_MIB * (1 << 20) // 16


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def shop(disk, make_box):
    """A box on the small disk, with products and an order; its log is elsewhere."""
    box = make_box(name=disk.name)
    box.add_product(stock=1000000)
    assert box.sell(user_id=999999).status == 201
    wait_until(lambda: (disk / "ballast").exists(), what="the reserve")
    yield box
    (disk / "filler").unlink(missing_ok=True)  # for a clean end


def free_bytes(folder):
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize


def fill(folder, leave):
    """Writes the file `filler` until only so many bytes are free."""
    with open(folder / "filler", "ab", buffering=0) as filler:
        while (room := free_bytes(folder) - leave) > 0:
            try:
                filler.write(b"x" * min(room, 1 << 20))
            except OSError:
                break


def sell_until_refused(box, first_user):
    """Sells over one connection; returns the users sold to, and the refusal."""
    users = []
    with Wire(box.orders_port) as wire:
        for user in itertools.count(first_user):
            answer = wire.request("POST", "/orders",
                                  {"user_id": user, "product_id": 1, "quantity": 1})
            if answer.status != 201:
                return users, answer
            users.append(user)


def fill_up(box, disk, first_user=1):
    """Fills the disk and then the reserve; returns the users sold to and the refusal."""
    fill(disk, leave=RESERVE_BYTES // 8)
    wait_until(lambda: box.status()["disk"]["stage"] == "low", what="the low stage")
    fill(disk, leave=RESERVE_BYTES // 2)
    return sell_until_refused(box, first_user)


def everything_is_there(box, users):
    """Whoever was sold to is in the journal, once, and the stock fits."""
    sold = [row[0] for row in box.query("SELECT user_id FROM orders WHERE user_id < 999999")]
    assert sorted(sold) == sorted(users)
    assert box.stock() == 1000000 - 1 - len(users)


def test_when_space_is_low_sales_go_on_and_nothing_else(shop, disk):
    fill(disk, leave=RESERVE_BYTES // 8)
    wait_until(lambda: shop.status()["disk"]["stage"] == "low", what="the low stage")
    assert not (disk / "ballast").exists()
    refused = [shop.inventory("POST", "/products", {"product_name": "iPad", "stock": 1}),
               shop.inventory("PATCH", "/products/1", {"price": 5}),
               shop.inventory("POST", "/products/1/stock", {"delta": 1, "reason": "count"})]
    for answer in refused:
        assert answer.status == 507
        assert answer.json["type"] == "urn:tillbox:problem:disk-full"
        assert int(answer.headers["Retry-After"]) > 0
    assert shop.sell().status == 201
    assert shop.orders("POST", "/orders/1/cancel").status == 200
    assert shop.orders("GET", "/readyz").json == {"status": "degraded"}
    assert shop.orders("GET", "/healthz").json["disk"] == "low"
    assert shop.metric("tillbox_disk_stage") == 1


def test_a_full_disk_refuses_everything_reads_on_and_loses_nothing(shop, disk):
    users, refusal = fill_up(shop, disk)
    assert len(users) > 50, "the reserve is for selling"
    assert refusal.status == 507
    assert int(refusal.headers["Retry-After"]) > 0
    again = shop.sell(user_id=1)
    assert (again.status, again.json["type"]) == (507, "urn:tillbox:problem:disk-full")
    assert shop.orders("POST", "/orders/1/cancel").status == 507
    assert shop.orders("GET", "/orders/1").status == 200
    assert shop.orders("GET", "/orders?limit=500").status == 200
    assert shop.orders("GET", "/livez").status == 200
    assert shop.orders("GET", "/readyz").status == 503
    assert shop.orders("GET", "/healthz").json["disk"] == "full"
    assert shop.metric("tillbox_disk_stage") == 2
    everything_is_there(shop, users)
    assert run_command("verify", "--data-dir", disk).returncode == 0


def test_when_there_is_room_again_the_box_recovers_by_itself(shop, disk):
    users, _ = fill_up(shop, disk)
    key = {"Idempotency-Key": "the-same-sale"}
    assert shop.sell(user_id=500000, headers=key).status == 507
    (disk / "filler").unlink()
    sale = wait_until(lambda: (answer := shop.sell(user_id=500000, headers=key)).status == 201
                      and answer, seconds=5, what="the first sale")
    assert shop.sell(user_id=500000, headers=key).json == sale.json
    wait_until(lambda: shop.status()["disk"]["stage"] == "ok", seconds=5, what="the ok stage")
    assert (disk / "ballast").stat().st_size == RESERVE_BYTES
    assert shop.inventory("PATCH", "/products/1", {"price": 5}).status == 200
    assert shop.orders("GET", "/readyz").json == {"status": "ready"}
    everything_is_there(shop, [*users, 500000])
    stages = [(line["from"], line["to"]) for line in shop.log_events("disk.stage")]
    assert stages == [("ok", "low"), ("low", "full"), ("full", "low"), ("low", "ok")]


def test_many_waiting_sales_are_answered_when_the_disk_fills(shop, disk):
    fill(disk, leave=RESERVE_BYTES // 8)
    wait_until(lambda: shop.status()["disk"]["stage"] == "low", what="the low stage")
    fill(disk, leave=RESERVE_BYTES // 4)
    wires = [Wire(shop.orders_port) for _ in range(32)]
    users, refused, sent = [], 0, 0
    while refused < 100:
        for wire in wires:
            sent += 1
            wire.send(request_bytes("POST", "/orders", {"user_id": sent, "product_id": 1,
                                                        "quantity": 1}))
        for user, wire in enumerate(wires, sent - len(wires) + 1):
            answer = wire.answer()
            assert answer.status in (201, 507)
            refused += answer.status == 507
            users += [user] if answer.status == 201 else []
    for wire in wires:
        wire.close()
    everything_is_there(shop, users)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_box_restarts_with_its_reserve_given_up_and_sells_on(shop, disk, end):
    fill(disk, leave=RESERVE_BYTES // 8)
    wait_until(lambda: shop.status()["disk"]["stage"] == "low", what="the low stage")
    assert shop.sell(user_id=1).status == 201
    if end == "kill":
        shop.kill()
    else:
        assert shop.stop() == 0
    shop.start()
    assert shop.sell(user_id=2).status == 201
    everything_is_there(shop, [1, 2])


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_box_restarts_on_a_full_disk_and_recovers(shop, disk, end):
    users, _ = fill_up(shop, disk)
    if end == "kill":
        shop.kill()
    else:
        assert shop.stop() in (0, 1)  # 1: there was no room to write down that it stopped
    fill(disk, leave=0)
    shop.start()
    assert shop.orders("GET", "/orders/1").status == 200
    assert shop.query("SELECT count(*) FROM orders") == [(1 + len(users),)]
    more, _ = sell_until_refused(shop, 500000)
    (disk / "filler").unlink()
    wait_until(lambda: shop.sell(user_id=400000).status == 201, seconds=5, what="a sale")
    everything_is_there(shop, [*users, *more, 400000])


def test_a_box_on_a_disk_that_is_full_before_its_first_start_says_so(disk, make_box):
    fill(disk, leave=0)
    box = make_box(name=disk.name, start=False)
    with pytest.raises(RuntimeError):
        box.start()
    assert box.process.returncode == 1
    failure, = box.log_events("appliance.start_failed")
    assert "space" in failure["result"] + failure["error"]
