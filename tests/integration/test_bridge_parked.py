"""What head office refused: listed, sent again, given up; and the comparison with head office."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time

import pika
import pytest

from box import ROOT
from box import wait_until
from bridge import BRIDGE
from bridge import assert_all_arrived
from bridge import open_till
from bridge import read_events
from bridge import read_parked
from bridge import run_bridge
from bridge import settings_of
from central import connected
from test_bridge_broker import FAILED
from test_bridge_broker import let_one_through
from test_bridge_broker import open_parked
from test_bridge_broker import unbind_all


@pytest.fixture
def refused(box, office, make_bridge):
    """An order that the broker has no queue for, and its cancellation behind it."""
    bridge = make_bridge(box.data_dir, office)
    assert_all_arrived(bridge, office, open_till(box).trade(3))
    unbind_all(office, "order.created")
    order_id = box.sell(user_id=7).json["id"]
    let_one_through(box)
    wait_until(lambda: open_parked(bridge), what="the refusal")
    assert box.orders("POST", f"/orders/{order_id}/cancel").status == 200
    wait_until(lambda: len(open_parked(bridge)) == 2, what="the cancellation behind it")
    wait_until(lambda: office.queue_length(FAILED) == 1, what="the dead letter")
    return bridge, order_id, sorted(open_parked(bridge))


def ask(bridge, *arguments):
    """`bridge ARGUMENTS --json`: the exit code, and its lines as values."""
    done = run_bridge(*arguments, "--json", "--data-dir", bridge.data_dir,
                      environment=bridge.settings)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def say(bridge, *arguments):
    return run_bridge(*arguments, "--data-dir", bridge.data_dir, environment=bridge.settings)


def test_parked_events_are_listed_and_shown(refused):
    bridge, order_id, sequences = refused
    code, (rows,) = ask(bridge, "parked", "list")
    assert code == 0 and [row["sequence"] for row in rows] == sequences
    assert [row["state"] for row in rows] == ["refused", "held"]
    assert {row["order_id"] for row in rows} == {order_id}
    code, (shown,) = ask(bridge, "parked", "show", "--id", rows[0]["event_id"])
    assert code == 0 and len(shown) == 1
    assert "unroutable" in shown[0]["reason"] and shown[0]["attempts"] == 1
    assert ask(bridge, "parked", "list", "--sink", "postgres") == (0, [[]])
    text = say(bridge, "parked").stdout
    assert rows[0]["event_id"] in text and "order.cancelled" in text
    nobody = say(bridge, "parked", "show", "--id", "0" * 36)
    assert nobody.returncode == 1 and "no such event" in nobody.stderr
    assert say(bridge, "parked", "keep").returncode == 2


def test_a_replay_sends_them_in_order_and_twice_changes_nothing(refused, office):
    bridge, order_id, sequences = refused
    office.bind("order.created")
    code, lines = ask(bridge, "replay", "--dry-run")
    assert code == 0 and [line["sequence"] for line in lines] == sequences
    assert not any(line["sent"] for line in lines)
    assert sorted(open_parked(bridge)) == sequences
    code, lines = ask(bridge, "replay")
    assert code == 0 and [line["sequence"] for line in lines] == sequences
    assert [line["event_type"] for line in lines] == ["order.created", "order.cancelled"]
    assert open_parked(bridge) == {}
    for _ in range(2):
        assert ask(bridge, "replay") == (0, [])
    events = read_events(bridge.data_dir)
    came = [message for message in office.tap()
            if message.properties.headers["x-sequence"] in sequences]
    assert [message.body.decode() for message in came] == [
        event.payload for event in events if event.sequence in sequences]
    assert bridge.status()["unaccounted_events"] == 0
    assert say(bridge, "status").returncode == 0
    assert office.query(f"SELECT status FROM orders WHERE order_id = {order_id}") == [["cancelled"]]


def test_a_replay_takes_only_what_it_is_asked_for(refused, office):
    bridge, order_id, sequences = refused
    office.bind("order.created")
    events = {event.sequence: event for event in read_events(bridge.data_dir)}
    for nothing in (("--order", order_id + 1), ("--type", "product.created"),
                    ("--sink", "postgres"), ("--since", "2999-01-01"), ("--until", "2001-01-01")):
        assert ask(bridge, "replay", *nothing) == (0, [])
    code, (behind,) = ask(bridge, "replay", "--id", events[sequences[1]].event_id.upper())
    assert code == 1 and "held behind" in behind["reason"]
    code, (sent,) = ask(bridge, "replay", "--limit", "1", "--rate", "1000")
    assert code == 0 and sent["sequence"] == sequences[0] and sent["sent"]
    assert list(open_parked(bridge)) == sequences[1:]
    for wrong in (("--sink", "mars"), ("--since", "yesterday"), ("--limit", "0"),
                  ("--id", "x" * 36), ("--type", "order.paid"), ("--from", "9", "--to", "3"),
                  ("--queue", "--order", "1"), ("--queue", "--from", "1"),
                  ("--queue", "--sink", "rabbitmq")):
        assert say(bridge, "replay", *wrong).returncode == 2


def test_a_time_picks_events_to_the_millisecond(refused):
    bridge, _, _ = refused
    for event in read_events(bridge.data_dir)[:4]:
        moment = json.loads(event.payload)["occurred_at"]
        _, lines = ask(bridge, "replay", "--from", "1", "--dry-run", "--sink", "postgres",
                       "--since", moment, "--until", moment)
        assert event.sequence in [line["sequence"] for line in lines]


def test_a_rate_is_kept(refused):
    bridge, _, _ = refused
    started = time.monotonic()
    code, lines = ask(bridge, "replay", "--from", "1", "--to", "3", "--rate", "2", "--sink",
                      "postgres")
    assert (code, len(lines)) == (0, 3) and time.monotonic() - started >= 1.5


def test_a_range_is_sent_again_and_changes_nothing_at_head_office(refused, office):
    bridge, _, sequences = refused
    before = office.query("SELECT * FROM event_logs ORDER BY sequence")
    orders = office.query("SELECT * FROM orders ORDER BY order_id")
    office.bind("order.created")
    code, lines = ask(bridge, "replay", "--from", "1", "--to", "3")
    assert code == 0 and sorted(line["sequence"] for line in lines) == [1, 1, 2, 2, 3, 3]
    assert office.query("SELECT * FROM event_logs ORDER BY sequence") == before
    assert office.query("SELECT * FROM orders ORDER BY order_id") == orders
    assert sorted(open_parked(bridge)) == sequences


def test_the_dead_letters_are_moved_back(refused, office):
    bridge, _, sequences = refused
    office.bind("order.created")
    code, lines = ask(bridge, "replay", "--queue", "--dry-run")
    assert code == 0 and len(lines) == 1
    wait_until(lambda: office.queue_length(FAILED) == 1, what="the message, given back")
    code, lines = ask(bridge, "replay", "--queue")
    assert code == 0 and [line["event_type"] for line in lines] == ["order.created"]
    wait_until(lambda: office.queue_length(FAILED) == 0, what="an empty queue")
    assert list(open_parked(bridge)) == sequences[1:]
    assert sequences[0] in {message.properties.headers["x-sequence"] for message in office.tap()}


def test_a_message_that_cannot_be_sent_holds_up_none_behind_it(refused, office):
    """It has no type, and a name that would break a line of JSON and clear a terminal."""
    bridge, _, _ = refused
    name = '"} \x1b[2J'
    with connected(office.amqp_url) as connection:
        channel = connection.channel()
        _, properties, body = channel.basic_get(FAILED, auto_ack=True)
        channel.basic_publish("", FAILED, b"{}", pika.BasicProperties(message_id=name))
        channel.basic_publish("", FAILED, body, properties)
    wait_until(lambda: office.queue_length(FAILED) == 2, what="both messages")
    office.bind("order.created")
    code, lines = ask(bridge, "replay", "--queue")
    assert code == 1 and [line["result"] == "sent" for line in lines] == [False, True]
    assert lines[0]["event_id"] == name
    wait_until(lambda: office.queue_length(FAILED) == 1, what="the bad one, given back")
    shown = say(bridge, "replay", "--queue")
    assert shown.returncode == 1 and '"} \\x1b[2J' in shown.stdout and "\x1b" not in shown.stdout


def test_a_dead_letter_whose_header_has_no_name_is_moved_back_like_any_other(refused, office):
    """Also when no queue takes it, and the broker returns it."""
    bridge, _, sequences = refused
    with connected(office.amqp_url) as connection:
        channel = connection.channel()
        _, properties, body = channel.basic_get(FAILED, auto_ack=True)
        properties.headers[""] = 1
        returned = pika.BasicProperties(message_id="m-1", type="order.paid", headers={"": 1})
        channel.basic_publish("", FAILED, b"{}", returned)
        channel.basic_publish("", FAILED, body, properties)
    wait_until(lambda: office.queue_length(FAILED) == 2, what="both messages")
    office.bind("order.created")
    code, lines = ask(bridge, "replay", "--queue")
    assert code == 1 and [line["event_type"] for line in lines] == ["order.paid", "order.created"]
    assert "unroutable" in lines[0]["result"] and lines[1]["result"] == "sent"
    headers = [message.properties.headers for message in office.tap()]
    assert [h[""] for h in headers if h["x-sequence"] == sequences[0]] == [1]


def test_what_a_server_said_moves_no_cursor(refused):
    """A server's text in bridge.db, as a person and as a program sees it."""
    bridge, _, sequences = refused
    said = "no\x1b[2J\n\x9b"
    with contextlib.closing(sqlite3.connect(f"{bridge.data_dir}/bridge.db", timeout=10)) as state:
        state.execute("UPDATE parked SET reason = ?", (said,))
        state.execute("UPDATE sinks SET last_error = ?, last_error_at_ms = 1", (said,))
        state.commit()
    for command in (("parked", "list"), ("parked", "show"), ("status",)):
        shown = say(bridge, *command).stdout
        assert "no\\x1b[2J\\x0a\\xc2\\x9b" in shown, command
        assert "\x1b" not in shown and "\x9b" not in shown, command
    assert [row["reason"] for row in ask(bridge, "parked", "list")[1][0]] == [said] * len(sequences)


def test_a_discard_needs_a_reason_and_is_written_down(refused):
    bridge, _, sequences = refused
    rows = open_parked(bridge)
    event_id = rows[sequences[0]]["event_id"]
    assert say(bridge, "parked", "discard", "--id", event_id).returncode == 2
    done = say(bridge, "parked", "discard", "--id", event_id, "--reason", "refunded by hand")
    assert done.returncode == 0, done
    row = read_parked(bridge.data_dir, "rabbitmq")[sequences[0]]
    assert (row["state"], row["settled_reason"]) == ("discarded", "refunded by hand")
    again = say(bridge, "parked", "discard", "--id", event_id, "--reason", "again")
    assert again.returncode == 1 and "no open event" in again.stderr
    assert bridge.status()["unaccounted_events"] == 0
    assert list(open_parked(bridge)) == sequences[1:]


def test_reconcile_names_what_is_missing_and_sends_it(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    events = assert_all_arrived(bridge, office, open_till(box).trade(30))
    code, (report,) = ask(bridge, "reconcile")
    assert code == 0 and report["compared"] == len(events)
    assert report["missing"] == report["unknown"] == report["other"] == 0
    lost = [event for event in events if event.sequence in (4, 5, 9)]
    office.query("DELETE FROM event_logs WHERE sequence IN (4, 5, 9)")
    code, lines = ask(bridge, "reconcile")
    assert code == 1
    assert [line["event_id"] for line in lines[:-1]] == [event.event_id for event in lost]
    assert {line["difference"] for line in lines[:-1]} == {"missing"}
    assert ask(bridge, "reconcile", "--repair")[0] == 0
    assert ask(bridge, "reconcile")[0] == 0
    assert_all_arrived(bridge, office)


@pytest.mark.parametrize("change, difference", [
    ("UPDATE event_logs SET payload = jsonb_set(payload, '{data,total}', '1')"
     " WHERE order_id = 2", "other"),
    ("UPDATE orders SET total = total + 1 WHERE order_id = 2", "other"),
    ("UPDATE orders SET items = '[]' WHERE order_id = 2", "other"),
    ("UPDATE orders SET status = 'created', cancelled_at = NULL WHERE order_id = 1", "other"),
    ("DELETE FROM orders WHERE order_id IN (1, 2)", "missing")])
def test_reconcile_names_what_was_changed_at_head_office(box, office, make_bridge, change,
                                                         difference):
    bridge = make_bridge(box.data_dir, office)
    assert_all_arrived(bridge, office, open_till(box).trade(12))
    assert ask(bridge, "reconcile")[0] == 0
    office.query(change)
    code, lines = ask(bridge, "reconcile")
    assert code == 1 and {line["difference"] for line in lines[:-1]} == {difference}
    sequences = {line["sequence"] for line in lines[:-1]}
    events = [event for event in read_events(bridge.data_dir) if event.sequence in sequences]
    assert {event.order_id for event in events} <= {1, 2}
    if difference == "missing":
        assert ask(bridge, "reconcile", "--repair")[0] == 0
        assert ask(bridge, "reconcile")[0] == 0
        assert_all_arrived(bridge, office)


def test_reconcile_names_what_the_box_does_not_know(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    events = assert_all_arrived(bridge, office, open_till(box).trade(5))
    office.query("UPDATE event_logs SET event_id = gen_random_uuid() WHERE sequence = 3")
    office.query("INSERT INTO event_logs (event_id, device_id, sequence, event_type, event_version,"
                 " payload, occurred_at) SELECT gen_random_uuid(), device_id, 999, event_type,"
                 " event_version, payload, occurred_at FROM event_logs WHERE sequence = 1")
    code, lines = ask(bridge, "reconcile")
    assert code == 1
    assert [(line["difference"], line["sequence"]) for line in lines[:-1]] == [
        ("other", 3), ("unknown", 999)]
    assert lines[-1]["compared"] == len(events)


def test_commands_without_a_head_office_say_what_is_missing(box):
    for arguments, code in ((("replay",), 1), (("replay", "--queue"), 1), (("reconcile",), 2),
                            (("migrate",), 2), (("topology",), 2)):
        done = run_bridge(*arguments, "--data-dir", box.data_dir)
        assert done.returncode == code and "set" in done.stderr, done


def test_help_names_every_command_and_option():
    text = run_bridge("help").stdout
    for word in ("run", "status", "parked", "replay", "reconcile", "migrate", "topology", "version",
                 "--from", "--to", "--queue", "--dry-run", "--repair", "--status-listen"):
        assert word in text
    assert run_bridge("version").stdout.startswith("bridge ")
    assert run_bridge().returncode == run_bridge("fly").returncode == 2


def test_the_help_of_replay_is_about_replay():
    text = run_bridge("replay", "--help").stdout
    assert "--queue" in text and "replay --sink rabbitmq --dry-run" in text
    assert "--smtp-url" not in text and "--repair" not in text and "--failed" not in text


def test_migrating_twice_and_at_once_applies_once(office):
    done = [run_bridge("migrate", environment=settings_of(office)) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 0], done
    assert office.query("SELECT count(*) FROM schema_migrations") == [
        [str(len(list((ROOT / "schema/central").glob("*.sql"))))]]


@pytest.mark.parametrize("arguments", [("status", "--json"), ("parked", "list"), ("reconcile",)])
def test_an_answer_that_can_not_be_written_is_no_success(refused, arguments):
    bridge, _, _ = refused
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BRIDGE, *arguments, "--data-dir", bridge.data_dir], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=30,
                              env={**os.environ, **bridge.settings})
    assert done.returncode != 0 and "can't be written" in done.stderr
