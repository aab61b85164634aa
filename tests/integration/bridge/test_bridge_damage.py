"""A journal that is damaged in the middle: what can be read flows, what can't is named and counted."""

import json
import sqlite3

import pytest

from box import wait_until
from bridge import SINKS
from bridge import read_events
from bridge import read_parked
from bridge import run_bridge
from bridge import seed
from bridge import sinks_of
from central import TAP

ORDERS = 3000
DAMAGED = (700, 701, 1500)  # sequences in whose pages it is


def damage(data_dir, event):
    """Overwrites the start of the page that holds an event."""
    path = data_dir / "journal.db"
    contents = bytearray(path.read_bytes())
    size = int.from_bytes(contents[16:18], "big")
    page = contents.index(event.payload.encode()) // size * size
    contents[page:page + 8] = b"\xff" * 8
    path.write_bytes(contents)


def can_read(journal, sequence):
    try:
        return journal.execute("SELECT hash FROM events WHERE sequence = ?",
                               (sequence,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


@pytest.fixture
def unreadable(tmp_path):
    """A journal of which some events can't be read, and their sequences."""
    seed(tmp_path / "var", ORDERS)
    events = read_events(tmp_path / "var")
    for sequence in DAMAGED:
        damage(tmp_path / "var", events[sequence - 1])
    with sqlite3.connect(f"file:{tmp_path}/var/journal.db?mode=ro", uri=True) as journal:
        lost = {event.sequence for event in events if not can_read(journal, event.sequence)}
    assert set(DAMAGED) <= lost and len(lost) < 100
    return lost


def test_what_can_be_read_flows_and_the_rest_is_named(tmp_path, unreadable, office, make_bridge):
    bridge = make_bridge(tmp_path / "var", office)
    wait_until(lambda: has_settled_at(bridge, ORDERS + 1), 20, "the last event")
    rest = ORDERS + 1 - len(unreadable)
    assert office.number("SELECT count(*) FROM event_logs") == rest
    assert office.queue_length(TAP) == rest
    for name in SINKS:
        rows = read_parked(bridge.data_dir, name)
        assert rows.keys() == unreadable
        assert {row["event_type"] for row in rows.values()} == {"unreadable"}
    assert bridge.status()["unaccounted_events"] == len(SINKS) * len(unreadable)
    assert bridge.get("/healthz").status == 503
    named = bridge.log_events("journal.unreadable")
    told = {sequence for line in named for sequence in range(line["from"], line["to"] + 1)}
    assert told == unreadable and {line["level"] for line in named} == {"error"}

    done = run_bridge("replay", "--data-dir", bridge.data_dir, environment=bridge.settings)
    assert done.returncode == 1
    assert f"{len(SINKS) * len(unreadable)} failed" in done.stdout
    listed = run_bridge("parked", "list", "--json", "--data-dir", bridge.data_dir)
    for event_id in {row["event_id"] for row in json.loads(listed.stdout)}:
        done = run_bridge("parked", "discard", "--id", event_id, "--reason", "read off the till roll",
                          "--data-dir", bridge.data_dir)
        assert done.returncode == 0, done
    assert bridge.status()["unaccounted_events"] == 0
    assert bridge.get("/healthz").status == 200


def has_settled_at(bridge, head):
    return [sink["cursor"] for sink in sinks_of(bridge.status()).values()] == [head] * len(SINKS)
