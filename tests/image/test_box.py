"""The image in a machine: a story in the order of a box's life, each test a chapter of it. Its clock has
no battery, its networks lead nowhere, and its disk forgets at a power cut what wasn't flushed."""

import calendar
import configparser
import json
import re
import shlex
import socket
import time

import pytest

from machine import INVENTORY
from machine import NO_BATTERY
from machine import NOT_ALLOWED
from machine import ORDERS
from machine import ROOT
from machine import SSH
from machine import START_SECONDS
from tills import Tills

from box import wait_until
from next_version import next_version

SETTINGS = ROOT / "firmware-config" / "etc"
SYSCTL = (SETTINGS / "sysctl.d/99-tillbox.conf").read_text()
NEXT_VERSION, UPGRADES = "0.1.1", "/var/tmp"
JOURNAL_USAGE = "MESSAGE_ID=ec387f577b844b8fa948f33cad9a75e6"  # SD_MESSAGE_JOURNAL_USAGE
SECTOR_BYTES = 512
SALES_BEFORE_THE_END = 40
CLOCK_PORT, LATER = 11123, "2030-01-01T00:00:00"
A_RIGHT_CLOCK = "2031-05-01T00:00:00"  # by a battery, which fails again
SERVICE_SECONDS = 60
CONNECT_SECONDS = 5
HANG = "sysctl -q kernel.panic=0 && echo c >/proc/sysrq-trigger"  # for ever, but for the watchdog
PANIC = "echo c >/proc/sysrq-trigger"
END_BY = {"a hang": HANG, "a panic": PANIC, "a power cut": None}
THOROUGH = pytest.mark.thorough


@pytest.fixture(scope="module")
def tills(box):
    return Tills(box)


@pytest.fixture(scope="module")
def identity(box):
    """What makes the box itself, as it was after its first start."""
    return who_is(box)


def who_is(box):
    return box.run("cat /etc/machine-id /etc/ssh/ssh_host_*.pub"), status(box)["device_id"], \
        status(box)["journal"]["journal_id"]


def status(box):
    return box.ask(ORDERS, "GET", "/status").json


def properties(box, unit, *names):
    shown = box.run(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in names))
    return dict(line.split("=", 1) for line in shown.splitlines())


def is_read_only(box):
    return "ro" in box.run("findmnt -no OPTIONS /").split(",")


def answers(port, question=b""):
    """Does a service answer there? QEMU itself takes every connection, and only then asks the box."""
    try:
        with socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS) as wire:
            wire.settimeout(CONNECT_SECONDS)
            wire.sendall(question)
            return wire.recv(1) != b""
    except OSError:
        return False


def answers_http(port):
    return answers(port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")


def in_seconds(text):
    """The seconds of a time as JSON and systemd have it."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def test_it_starts_by_uefi_and_sells_at_once_though_nobody_knows_the_time(box, tills):
    wait_until(box.is_ready, START_SECONDS, "the box")
    order = tills.open_shop()
    box.log_in()
    floor = int(box.run("stat -c %Y /usr/lib/clock-epoch"))
    assert floor > in_seconds("2026-01-01T00:00:00")
    assert in_seconds(order["created_at"]) >= floor
    assert "NTPSynchronized=no" in box.run("timedatectl show")
    assert box.run("systemctl is-active chrony") == "active"


def test_nothing_has_failed(box, identity):
    assert box.run("systemctl is-system-running --wait; systemctl --failed --plain --no-legend"
                   ) == "running"
    assert box.run("readlink /proc/1/exe") == "/usr/lib/systemd/systemd"
    assert box.run("test -d /sys/firmware/efi && uname -r").endswith("-amd64")
    assert identity[1] == "till-1" and status(box)["bridge"]["bridge_running"]
    for name in ("tillbox-appliance", "tillbox-bridge"):
        assert properties(box, name, "Type", "SubState", "NRestarts") == {
            "Type": "notify", "SubState": "running", "NRestarts": "0"}


def test_the_root_cannot_be_written(box):
    for path in ("/planted", "/etc/planted", "/usr/bin/planted", "/root/planted"):
        refusal = box.run(f"touch {path} 2>&1", check=False)
        assert refusal.endswith("Read-only file system"), refusal
    mounted = dict(line.split() for line in box.run(
        "findmnt --real -rno TARGET,SOURCE -t ext4,vfat,autofs").splitlines())
    assert mounted == {"/": "/dev/vda2", "/var": "/dev/vda3"}
    assert is_read_only(box)


def test_var_has_the_disk_s_rest(box):
    part = "/sys/block/vda/vda3"
    start, size, disk, room = map(int, box.run(
        f"cat {part}/start {part}/size /sys/block/vda/size; df --output=size -B512 /var | tail -n 1"
    ).split())
    assert disk - (start + size) < 2 * 1024 * 1024 / SECTOR_BYTES
    assert room > 0.9 * size


def test_the_shop_reaches_what_it_should_and_a_stranger_nothing(box):
    box.run("systemd-run --quiet --unit=planted systemd-socket-activate --listen=9100 --inetd"
            " --accept cat")
    echo = "exec 3<>/dev/tcp/127.0.0.1/9100 && echo hello >&3 && head -n 1 <&3"
    wait_until(lambda: box.run(echo, check=False) == "hello", SERVICE_SECONDS, "a server")
    assert answers_http(box.shop.ports[ORDERS]) and answers_http(box.shop.ports[INVENTORY])
    assert not answers(box.shop.ports[NOT_ALLOWED], b"hello\n")
    assert not answers(box.outside.ports[SSH])
    assert not answers_http(box.outside.ports[ORDERS])


def test_without_the_firewall_the_units_still_let_no_stranger_in(box):
    """Shows, too, that the networks of the chapter before would have let everything through."""
    box.run("systemctl stop tillbox-firewall")
    assert answers(box.shop.ports[NOT_ALLOWED], b"hello\n")
    assert answers(box.outside.ports[SSH])
    assert not answers_http(box.outside.ports[ORDERS])
    box.run("systemctl start tillbox-firewall; systemctl stop planted")


def test_the_log_is_kept_within_its_limits(box):
    shown = [json.loads(line) for line in box.run(
        f"journalctl --boot --output=json {JOURNAL_USAGE}").splitlines()]
    usage = next(line for line in shown if line["JOURNAL_PATH"].startswith("/var/log/journal/"))
    assert (usage["MAX_USE"], usage["DISK_KEEP_FREE"]) == (str(200 << 20), str(500 << 20))


def test_a_crash_leaves_no_core(box):
    box.run("mkdir /var/tmp/crash && cd /var/tmp/crash && ulimit -c unlimited"
            " && ! sh -c 'kill -SEGV $$' && rmdir /var/tmp/crash")


def test_the_kernel_has_the_settings(box):
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.read_string("[all]\n" + SYSCTL)
    wanted = dict(parser["all"])
    assert len(wanted) > 20
    live = box.run("sysctl " + " ".join(wanted)).splitlines()
    assert dict(line.split(" = ", 1) for line in live) == wanted


def test_systemd_feeds_the_hardware_s_watchdog(box):
    assert box.run("cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout"
                   ).split() == ["active", "30"]
    shown = properties(box, "", "WatchdogDevice", "RebootWatchdogUSec")
    assert shown["RebootWatchdogUSec"] == "5min"
    assert shown["WatchdogDevice"].startswith("/dev/watchdog")  # it has two names


def test_a_service_that_hangs_is_restarted_and_sells(box, tills):
    """With a shorter patience than the unit's 90 s."""
    box.run("mkdir -p /run/systemd/system/tillbox-appliance"
            ".service.d && printf '[Service]\\nWatchdogSec=15\\n' >/run/systemd/system/"
            "tillbox-appliance.service.d/patience.conf && systemctl daemon-reload"
            " && systemctl restart tillbox-appliance")
    before = properties(box, "tillbox-appliance", "MainPID")
    box.run(f"kill -STOP {before['MainPID']}")
    wait_until(lambda: properties(box, "tillbox-appliance", "NRestarts") == {"NRestarts": "1"},
               SERVICE_SECONDS, "a restart")
    wait_until(box.is_ready, SERVICE_SECONDS, "the box")
    assert "Watchdog timeout" in box.run("journalctl -b -u tillbox-appliance")
    tills.sell(1)
    box.run("rm -r /run/systemd/system/tillbox-appliance.service.d && systemctl daemon-reload"
            " && systemctl restart tillbox-appliance")
    wait_until(box.is_ready, SERVICE_SECONDS, "the box")


def test_a_backup_is_due_every_night_and_can_be_restored(box, tills):
    due = box.run("systemctl list-timers --no-legend tillbox-backup.timer")
    assert re.search(r" 03:[3-5]\d:\d\d | 04:00:00 ", due), due
    box.run("systemctl start tillbox-backup.service")
    copies = box.run("ls /var/lib/tillbox-backup").split()
    assert len(copies) == 1
    before = tills.orders()
    tills.sell(2)
    box.run(f"tillbox-restore /var/lib/tillbox-backup/{copies[0]}")
    wait_until(box.is_ready, SERVICE_SECONDS, "the box")
    assert tills.orders() == before
    tills.acknowledged = dict(before)
    tills.sell(1)


def test_the_metrics_come_by_themselves(box):
    text = wait_until(lambda: box.run("cat /var/lib/tillbox-metrics/tillbox.prom", check=False), 120,
                      "metrics")
    assert re.search(r'^tillbox_journal_size_bytes\{file="journal.db"\} [1-9]', text, re.MULTILINE)


def test_it_is_upgraded_while_the_shop_sells(box, tills, packages, tmp_path):
    """By the commands of docs/box.md."""
    text = (ROOT / "docs/box.md").read_text().split("open the root for that long")[1]
    commands = re.findall(r"^    (.+)$", text.split("\n\n")[1], re.MULTILINE)
    upgrade, = [next_version(package, NEXT_VERSION, tmp_path) for package in packages
                if package.name.startswith("tillbox_")]
    box.copy(upgrade, UPGRADES)
    with tills.selling(SALES_BEFORE_THE_END):
        box.run(f"cd {UPGRADES} && " + " && ".join(commands))
    assert is_read_only(box)
    assert NEXT_VERSION == box.run("dpkg-query -W -f '${Version}' tillbox")
    wait_until(box.is_ready, SERVICE_SECONDS, "the box")
    tills.try_again()
    tills.audit()
    assert box.run("systemctl is-system-running") == "running"


def test_the_clock_is_set_right_once_a_server_answers(box, tills):
    program = (ROOT / "tests/image/clock_server.pl").read_text()
    box.run(f"systemd-run --quiet --unit=planted-clock perl -e {shlex.quote(program)}"
            f" {CLOCK_PORT} {in_seconds(LATER)}")
    box.run(f"chronyc add server 127.0.0.1 port {CLOCK_PORT} iburst")
    wait_until(lambda: in_seconds(tills.sell(1)["created_at"]) >= in_seconds(LATER),
               SERVICE_SECONDS, "the right time")
    box.run("chronyc delete 127.0.0.1; systemctl stop planted-clock")


@pytest.mark.parametrize("end, clock", [
    ("a hang", NO_BATTERY), ("a power cut", A_RIGHT_CLOCK),
    pytest.param("a power cut", NO_BATTERY, marks=THOROUGH),
    pytest.param("a panic", NO_BATTERY, marks=THOROUGH),
    pytest.param("a power cut", NO_BATTERY, marks=THOROUGH)])
def test_every_sale_is_there_after(box, tills, identity, end, clock):
    boot = box.run("cat /proc/sys/kernel/random/boot_id")
    starts = int(box.run("journalctl --sync && journalctl --list-boots | wc -l"))
    with tills.selling(SALES_BEFORE_THE_END):
        if END_BY[end]:
            box.run(f"(sleep 0.1; {END_BY[end]}) >/dev/null 2>&1 &")
        else:
            box.cut_power()
    if not END_BY[end]:
        box.power_on(clock)
    wait_until(box.is_ready, START_SECONDS, "the box")
    tills.sell(1)
    tills.try_again()
    box.log_in()
    assert box.run("cat /proc/sys/kernel/random/boot_id") != boot
    tills.audit()
    assert json.loads(box.run("tillbox-appliance verify --json"))["sound"] is True
    assert who_is(box) == identity and is_read_only(box)
    assert int(box.run("journalctl --list-boots | wc -l")) == starts + 1
    assert box.run("systemctl is-system-running --wait") == "running"
