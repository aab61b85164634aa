"""Lines that go dead, slow or dark between the bridge and head office. Each story takes its time, so
all that were asked for run side by side, each with a box, a bridge, a head office and lines of its
own; the tests wait for their story's end."""

import contextlib
import sqlite3
import subprocess
import threading
import time

import pytest

from box import Box
from box import wait_until
from bridge import Bridge
from bridge import SINKS
from bridge import assert_all_arrived
from bridge import open_office
from bridge import open_till
from bridge import read_events
from bridge import settings_of
from bridge import run_bridge
from bridge import seed
from bridge import status_of
from bridge_soak import lines_to
from bridge_soak import running
from central import TAP
from fault_proxy import DOWN
from fault_proxy import UP
from test_bridge_broker import let_one_through
from test_bridge_broker import unbind_all

DEADLINE_SECONDS = 15  # after which a peer that says nothing is given up
MARGIN_SECONDS = 5
RECOVERY_SECONDS = 5
STOP_SECONDS = 2  # whatever the bridge waits for
IDLE_SECONDS = 10
IDLE_CPU_SHARE = 0.005
WINDOW_EVENTS = 1000
BUSY_SECONDS = 15  # longer than the bridge waits for its own file
DEAD_LETTER_SECONDS = 6  # longer than a dead letter that was refused waits for its next try
CONNECT, PUBLISH, ACK = b"\0\x0a\0\x28", b"\0\x3c\0\x28", b"\0\x3c\0\x50"  # AMQP methods
DECLARE = b"\0\x28\0\x0a"

# (sink, how its line goes dead)
STAGES = {
    "postgres-connect": ("postgres", lambda line: line.stall_new()),
    "postgres-login": ("postgres", lambda line: line.stall_at(DOWN, b"server_version")),
    "postgres-compare": ("postgres", lambda line: line.stall_at(UP, b"FROM devices")),
    "postgres-query": ("postgres", lambda line: line.stall_at(UP, b"tillbox_take_events")),
    "postgres-answer": ("postgres", lambda line: line.stall_after(UP, b"tillbox_take_events")),
    "rabbitmq-connect": ("rabbitmq", lambda line: line.stall_new()),
    "rabbitmq-login": ("rabbitmq", lambda line: line.stall_at(UP, b"PLAIN")),
    "rabbitmq-open": ("rabbitmq", lambda line: line.stall_at(UP, CONNECT)),
    "rabbitmq-declare": ("rabbitmq", lambda line: line.stall_at(UP, DECLARE)),
    "rabbitmq-publish": ("rabbitmq", lambda line: line.stall_at(UP, PUBLISH)),
    "rabbitmq-confirm": ("rabbitmq", lambda line: line.stall_at(DOWN, ACK)),
}


class Scene:
    """A box, its head office, and the lines between them."""

    def __init__(self, folder, office, stack):
        self.office = office
        lines, settings = stack.enter_context(lines_to(office))
        self.lines = dict(zip(SINKS, lines))
        self.box = Box(folder / "var")
        self.bridge = Bridge(self.box.data_dir, settings)
        self.stack = stack

    def open(self, changes=10):
        """The box sells; the bridge isn't there yet."""
        self.stack.enter_context(running(self.box))
        self.till = open_till(self.box).trade(changes)

    def assert_all_arrived(self, **options):
        return assert_all_arrived(self.bridge, self.office, self.till, **options)

    def other(self, sink):
        return SINKS[1 - SINKS.index(sink)]


def wait_until_dead(scene, sink):
    """The line is dead, and the other sink doesn't care."""
    line = scene.lines[sink]
    wait_until(lambda: line.hits or line.stalls_new and line.connections, what="the dead line")
    scene.bridge.wait_for_sink(scene.other(sink), state="running", pending=0)


def tell_dead_line(scene, stage):
    sink, deaden = STAGES[stage]
    scene.open()
    deaden(scene.lines[sink])
    with running(scene.bridge):
        wait_until_dead(scene, sink)
        dead_at = time.monotonic()
        down = scene.bridge.wait_for_sink(sink, DEADLINE_SECONDS + MARGIN_SECONDS, state="down")
        noticed_seconds = time.monotonic() - dead_at
        scene.lines[sink].heal()
        scene.assert_all_arrived(seconds=RECOVERY_SECONDS + MARGIN_SECONDS)
    assert down["last_error"], down
    assert noticed_seconds < DEADLINE_SECONDS + MARGIN_SECONDS


def assert_stops_at_once(scene, leaves_a_thread=False):
    """… and the next bridge finds all in order."""
    asked_at = time.monotonic()
    assert scene.bridge.stop() == 0
    took_seconds = time.monotonic() - asked_at
    assert took_seconds < STOP_SECONDS, f"it took {took_seconds:.1f} s to stop"
    assert bool(scene.bridge.log_events("bridge.thread_leaked")) == leaves_a_thread
    assert status_of(scene.box.data_dir)[0]["unaccounted_events"] == 0
    for line in scene.lines.values():
        line.heal()
    with running(scene.bridge):
        scene.assert_all_arrived()


def tell_stop_on_dead_line(scene, stage):
    """A bridge that waits for an answer ends all the same."""
    sink, deaden = STAGES[stage]
    scene.open()
    deaden(scene.lines[sink])
    scene.bridge.start()
    wait_until_dead(scene, sink)
    assert_stops_at_once(scene)


def tell_stop_in_handshake(scene):
    """A peer that takes the connection and then says nothing, not even hello."""
    scene.open()
    for sink, line in scene.lines.items():
        line.stall_new()
    settings = scene.bridge.settings
    plain = dict(settings)
    settings["TILLBOX_AMQP_URL"] = settings["TILLBOX_AMQP_URL"].replace("amqp:", "amqps:")
    settings["TILLBOX_POSTGRES_URL"] += "?sslmode=require"
    scene.bridge.start()
    wait_until(lambda: all(line.connections for line in scene.lines.values()), 5)
    settings.update(plain)
    assert_stops_at_once(scene, leaves_a_thread=True)


# Names under .example take a minute to be looked up; a file with the name says that it has begun.
SLOW_NAMES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    int (*look_up)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strstr(node, ".example")) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", getenv("SLOW_NAMES_FOLDER"), node);
        close(open(path, O_CREAT | O_WRONLY, 0600));
        sleep(60);
    }
    return look_up(node, service, hints, result);
}
"""


def tell_stop_in_name_lookup(scene):
    """The lookup of a name can't be broken off; the program goes without that thread."""
    scene.open()
    folder = scene.box.data_dir.parent
    library = folder / "slow_names.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=SLOW_NAMES,
                   text=True, check=True)
    plain = dict(scene.bridge.settings)
    scene.bridge.settings.update(
        LD_PRELOAD=str(library), SLOW_NAMES_FOLDER=str(folder),
        TILLBOX_AMQP_URL=plain["TILLBOX_AMQP_URL"].replace("127.0.0.1", "broker.example"),
        TILLBOX_POSTGRES_URL=plain["TILLBOX_POSTGRES_URL"].replace("127.0.0.1", "db.example"))
    scene.bridge.start()
    wait_until(lambda: all((folder / name).exists() for name in ("broker.example", "db.example")),
               what="both look-ups")
    del scene.bridge.settings["LD_PRELOAD"]
    scene.bridge.settings.update(plain)
    assert_stops_at_once(scene, leaves_a_thread=True)


def tell_stop_on_locked_table(scene):
    scene.open()
    with scene.office.transaction("LOCK TABLE event_logs IN ACCESS EXCLUSIVE MODE"):
        scene.bridge.start()
        wait_until(lambda: scene.office.number(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            f" AND datname = '{scene.office.name}'"), 5, "the lock")
        asked_at = time.monotonic()
        assert scene.bridge.stop() == 0
        assert time.monotonic() - asked_at < STOP_SECONDS
    with running(scene.bridge):
        scene.assert_all_arrived()


def open_with_large_orders(scene):
    """More than all buffers between here and the broker hold, and no order in two events, of which
    the second would wait for the first one's confirm."""
    scene.open(changes=0)
    items = [{"product_id": 1, "quantity": 1}, {"product_id": 2, "quantity": 1}] * 450
    for _ in range(200):
        answer = scene.box.orders("POST", "/orders", {"user_id": 1, "items": items})
        assert answer.status == 201, answer


def tell_full_line(scene):
    """The broker reads nothing: publishing itself hangs."""
    open_with_large_orders(scene)
    scene.lines["rabbitmq"].stall_at(UP, PUBLISH)
    with running(scene.bridge):
        wait_until_dead(scene, "rabbitmq")
        scene.bridge.wait_for_sink("rabbitmq", DEADLINE_SECONDS + MARGIN_SECONDS, state="down")
        scene.lines["rabbitmq"].heal()
        scene.assert_all_arrived()


def tell_stop_on_full_line(scene):
    open_with_large_orders(scene)
    scene.lines["rabbitmq"].stall_at(UP, PUBLISH)
    scene.bridge.start()
    wait_until_dead(scene, "rabbitmq")
    time.sleep(0.5)
    assert_stops_at_once(scene)


def tell_line_dead_while_idle(scene):
    """Nothing is sold, and both lines die: the first sale notices."""
    scene.open()
    with running(scene.bridge):
        scene.assert_all_arrived()
        for line in scene.lines.values():
            line.stall()
        scene.till.trade(5)
        scene.assert_all_arrived(seconds=DEADLINE_SECONDS + MARGIN_SECONDS)


def tell_dark_line(scene):
    """The peers can't be reached: the breakers open, try now and then, and close. Nothing is spent
    or parked."""
    scene.open()
    with running(scene.bridge):
        scene.assert_all_arrived()
        for sink, line in scene.lines.items():
            assert scene.bridge.sink(sink)["breaker"] == "closed"
            line.refuse()
            line.cut()
        scene.till.trade(5)
        for sink in SINKS:
            scene.bridge.wait_for_sink(sink, 20, state="down", breaker="open")
        for line in scene.lines.values():
            line.stall_new()
            line.accept()
        for sink in SINKS:  # an attempt is under way
            scene.bridge.wait_for_sink(sink, 10, breaker="half-open")
        for line in scene.lines.values():
            line.heal()
        for sink in SINKS:
            scene.bridge.wait_for_sink(sink, RECOVERY_SECONDS, state="running", breaker="closed")
        scene.assert_all_arrived()


def tell_slow_line(scene):
    """So slow that a batch takes longer than the deadline: a line that moves is no broken one."""
    seed(scene.box.data_dir, 900)
    scene.open()
    for line in scene.lines.values():
        line.delay(0.05)
        line.throttle(20000, UP)
    with running(scene.bridge):
        scene.assert_all_arrived(seconds=3 * DEADLINE_SECONDS)


def tell_stop_on_slow_line(scene):
    """A page that takes minutes is broken off between two events, and what was confirmed by then is
    not sent again."""
    seed(scene.box.data_dir, 3000)
    scene.open()
    for line in scene.lines.values():
        line.throttle(20000, UP)
    scene.bridge.start()
    wait_until(lambda: scene.office.queue_length(TAP), 10, "the first events")
    time.sleep(1)
    assert_stops_at_once(scene)
    events = read_events(scene.box.data_dir)
    assert len(scene.office.messages) < len(events) + WINDOW_EVENTS


def tell_broken_lines(scene):
    """Cut in the midst of each kind of message."""
    scene.open()
    database, broker = scene.lines["postgres"], scene.lines["rabbitmq"]
    with running(scene.bridge):
        for round_number in range(3):
            for line, direction, marker in (
                    (database, UP, b"tillbox_take_events"), (broker, UP, PUBLISH),
                    (database, DOWN, b"tillbox_take_events"), (broker, DOWN, ACK)):
                hits = line.hits
                line.cut_at(direction, marker)
                scene.till.trade(3)
                wait_until(lambda: line.hits > hits, what=f"round {round_number}: {marker}")
        scene.assert_all_arrived()


def tell_busy_file(scene):
    """The bridge's own file can't be written for a while, just when head office comes back: that
    passes too."""
    scene.open()
    with running(scene.bridge):
        scene.assert_all_arrived()
        for line in scene.lines.values():
            line.refuse()
            line.cut()
        scene.till.trade(5)
        for sink in SINKS:
            scene.bridge.wait_for_sink(sink, 20, breaker="open")
        with contextlib.closing(sqlite3.connect(scene.box.data_dir / "bridge.db",
                                                isolation_level=None)) as ledger:
            ledger.execute("BEGIN IMMEDIATE")
            for line in scene.lines.values():
                line.accept()
            time.sleep(BUSY_SECONDS)
            ledger.execute("COMMIT")
        scene.assert_all_arrived(seconds=RECOVERY_SECONDS + MARGIN_SECONDS)


def tell_dead_letter_first(scene):
    """What goes to the broker first after an outage is a dead letter; it holds nothing up."""
    office = scene.office
    scene.open()
    with running(scene.bridge):
        scene.assert_all_arrived()
        office.api("DELETE", f"/queues/{office.name}/order.failed")
        unbind_all(office, "order.created")
        assert scene.box.sell().status == 201
        refused = len(read_events(scene.box.data_dir))
        let_one_through(scene.box)
        scene.bridge.wait_for_event("dead_letter.refused")
        scene.lines["rabbitmq"].refuse()
        scene.lines["rabbitmq"].cut()
        scene.bridge.wait_for_sink("rabbitmq", 20, breaker="open")
        time.sleep(DEAD_LETTER_SECONDS)
        office.allow(office.rabbit.user)
        assert run_bridge("topology", environment=settings_of(office)).returncode == 0
        scene.lines["rabbitmq"].accept()
        wait_until(lambda: office.queue_length("order.failed") == 1, 10, "the dead letter")
        scene.till.trade(10)
        scene.assert_all_arrived(parked={"rabbitmq": {refused}}, seconds=10)


def tell_idle(scene):
    scene.open()
    with running(scene.bridge):
        scene.assert_all_arrived()
        began = scene.bridge.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        share = (scene.bridge.cpu_seconds() - began) / IDLE_SECONDS
    assert share <= IDLE_CPU_SHARE


STORIES = {
    **{f"dead-{stage}": (tell_dead_line, stage) for stage in STAGES},
    **{f"stop-{stage}": (tell_stop_on_dead_line, stage) for stage in STAGES},
    "stop-handshake": (tell_stop_in_handshake,),
    "stop-names": (tell_stop_in_name_lookup,),
    "stop-lock": (tell_stop_on_locked_table,),
    "full": (tell_full_line,),
    "stop-full": (tell_stop_on_full_line,),
    "dead-while-idle": (tell_line_dead_while_idle,),
    "dark": (tell_dark_line,),
    "slow": (tell_slow_line,),
    "stop-slow": (tell_stop_on_slow_line,),
    "broken": (tell_broken_lines,),
    "busy-file": (tell_busy_file,),
    "dead-letter-first": (tell_dead_letter_first,),
    "idle": (tell_idle,),
}


class Story(threading.Thread):
    def __init__(self, name, folder, office):
        super().__init__(daemon=True)
        self.tell, *self.arguments = STORIES[name]
        self.folder, self.office = folder, office
        self.problem = None

    def run(self):
        try:
            with contextlib.ExitStack() as stack:
                self.tell(Scene(self.folder, self.office, stack), *self.arguments)
        except BaseException as problem:
            self.problem = problem


@pytest.fixture(scope="module")
def stories(request, servers, tmp_path_factory):
    """All that were selected, begun."""
    servers.revive()
    begun = {}
    for item in request.session.items:
        if item.module is request.module:
            name = item.callspec.params["name"]
            begun[name] = Story(name, tmp_path_factory.mktemp(name), open_office(servers))
            begun[name].start()
    yield begun
    for story in begun.values():
        story.join()
        story.office.remove()


@pytest.mark.parametrize("name", STORIES)
def test_line(name, stories):
    stories[name].join()
    if stories[name].problem:
        raise stories[name].problem
