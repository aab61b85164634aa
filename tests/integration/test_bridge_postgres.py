"""The database breaks, refuses and forgets; boxes are cloned and restored; the broker's sink goes on
as if nothing were."""

import concurrent.futures
import shutil
import time

import pytest

from box import run_command
from box import wait_until
from bridge import SINKS
from bridge import assert_all_arrived
from bridge import open_till
from bridge import read_events
from bridge import read_journal
from bridge import read_parked
from bridge import run_bridge
from bridge import seed
from bridge import settings_of
from central import PgBouncer
from central import TAP
from test_bridge_broker import let_one_through

RECOVERY_SECONDS = 5


def flows_to(bridge, sink, seconds=RECOVERY_SECONDS):
    """Waits until a sink moves on; returns how long that took."""
    began = time.monotonic()
    cursor = bridge.sink(sink)["cursor"]
    wait_until(lambda: bridge.sink(sink)["cursor"] > cursor, seconds, f"an event for {sink}")
    return time.monotonic() - began


def stopped_sink(bridge):
    """What is said of the database's sink once it has stopped; the whole box says it loudly."""
    sink = bridge.wait_for_sink("postgres", state="stopped")
    assert bridge.get("/healthz").status == 503
    assert 'tillbox_sink_stopped{sink="postgres"} 1' in bridge.get("/metrics").text.splitlines()
    assert run_bridge("status", "--data-dir", bridge.data_dir).returncode == 1
    line = bridge.wait_for_event("sink.stopped")
    assert (line["level"], line["reason"]) == ("error", sink["last_error"])
    return sink


def copy_folder(folder, copy):
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock"))


def test_a_crashed_database_costs_nothing(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box) as till:
        for _ in range(2):
            flows_to(bridge, "postgres")
            office.postgres.stop("immediate")
            bridge.wait_for_sink("postgres", state="down")
            flows_to(bridge, "rabbitmq")
            assert bridge.get("/healthz").status == 200
            office.postgres.start()
            flows_to(bridge, "postgres")
    assert_all_arrived(bridge, office, till)


def test_sessions_that_are_terminated_under_load_come_back(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box, per_second=300) as till:
        for _ in range(5):
            flows_to(bridge, "postgres")
            office.terminate_sessions()
    assert_all_arrived(bridge, office, till)


@pytest.mark.parametrize("lock", ["LOCK TABLE event_logs IN ACCESS EXCLUSIVE MODE",
                                  "LOCK TABLE orders IN SHARE MODE",
                                  "SELECT FROM devices FOR UPDATE"])
def test_a_lock_only_delays(lock, box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box) as till:
        flows_to(bridge, "postgres")
        with office.transaction(lock):
            # The bridge may not have written down yet what was committed just before.
            reached = office.number("SELECT last_sequence FROM devices")
            time.sleep(1.5)
            flows_to(bridge, "rabbitmq")
            assert bridge.sink("postgres")["cursor"] <= reached + 1
        flows_to(bridge, "postgres")
    assert_all_arrived(bridge, office, till)


def test_a_database_that_takes_no_writes_for_a_while_is_an_outage(box, office, make_bridge):
    """As while it fails over to another server."""
    bridge = make_bridge(box.data_dir, office)
    read_only = f"ALTER DATABASE {office.name} SET default_transaction_read_only ="
    with open_till(box) as till:
        flows_to(bridge, "postgres")
        office.query(f"{read_only} on")
        office.terminate_sessions()
        bridge.wait_for_sink("postgres", state="down", breaker="open")
        office.query(f"SET default_transaction_read_only = off; {read_only} off")
    assert_all_arrived(bridge, office, till)


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_transaction_that_must_be_run_again_is(code, box, office, make_bridge):
    office.query(f"""
        CREATE SEQUENCE tries;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('tries') % 5 <> 0 THEN RAISE EXCEPTION 'again' USING ERRCODE = '{code}';
          END IF; RETURN NULL; END $$;
        CREATE TRIGGER fail AFTER INSERT ON event_logs FOR EACH STATEMENT EXECUTE FUNCTION fail()
        """)
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)


def test_a_database_restored_from_its_dump_gets_the_rest_again(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(50)
    assert_all_arrived(bridge, office, till)
    dump = office.postgres.run("/usr/bin/pg_dump", office.postgres_url).stdout
    till.trade(50)
    assert_all_arrived(bridge, office, till)
    office.postgres.query(f"DROP DATABASE {office.name} WITH (FORCE)",
                          office.postgres.url_of("postgres"))
    till.trade(10)
    bridge.wait_for_sink("postgres", state="down")
    office.create_database()
    # At once or not at all: the bridge goes on trying meanwhile.
    office.postgres.run("/usr/bin/psql", "-X", "-q", "--single-transaction", "-v", "ON_ERROR_STOP=1",
                        office.postgres_url, input=dump)
    assert_all_arrived(bridge, office, till)
    moved = bridge.log_events("sink.cursor_moved")[0]
    assert (moved["sink"], moved["from"], moved["to"]) == ("postgres", 102, 52)


def test_a_database_restored_from_nothing_gets_everything_again(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(50)
    assert_all_arrived(bridge, office, till)
    office.query("TRUNCATE event_logs, orders, devices")
    office.terminate_sessions()
    till.trade(5)
    assert_all_arrived(bridge, office, till)


def test_a_cursor_set_back_under_load_doubles_nothing(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    with open_till(box) as till:
        wait_until(lambda: len(till.orders) > 50)
        kept = read_events(box.data_dir)[19]
        office.query("BEGIN; SELECT FROM devices FOR UPDATE;"
                     f"DELETE FROM event_logs WHERE sequence > {kept.sequence};"
                     f"UPDATE devices SET last_sequence = {kept.sequence},"
                     f" chain_head = decode('{kept.hash}', 'hex'); COMMIT")
        flows_to(bridge, "postgres")
    assert_all_arrived(bridge, office, till)


def stopped_sinks(bridge):
    """Once one has stopped, all have, for the same reason."""
    reason = stopped_sink(bridge)["last_error"]
    assert bridge.wait_for_sink("rabbitmq", state="stopped")["last_error"] == reason
    return reason


def test_a_cloned_box_sends_nothing_more_to_anyone(make_box, office, make_bridge):
    """Two boxes with one identity: the first one goes on, the second says so loudly."""
    box = make_box()
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    assert bridge.stop() == 0 and box.stop() == 0
    copy_folder(box.data_dir, box.data_dir.parent / "clone")
    box.start()
    bridge.start()
    till.trade(20)
    assert_all_arrived(bridge, office, till)
    clone = make_box(name="clone")
    for _ in range(30):
        assert clone.sell().status == 201
    second = make_bridge(clone.data_dir, office)
    assert "cloned" in stopped_sinks(second)
    office.take(TAP)
    assert clone.sell().status == 201
    till.trade(20)
    wait_until(lambda: bridge.status()["backlog"] == 0)
    ids = {event.event_id for event in read_events(box.data_dir)}
    assert {row[0] for row in office.query("SELECT event_id FROM event_logs")} == ids
    assert {message.properties.message_id for message in office.take(TAP)} <= ids
    assert second.status()["unaccounted_events"] == 0
    done = run_bridge("replay", "--from", "1", "--sink", "rabbitmq", "--data-dir", clone.data_dir,
                      environment=second.settings)
    assert done.returncode == 1 and "has stopped" in done.stderr, done


def test_a_box_that_was_stopped_sends_nothing_after_a_restart_until_it_was_asked_again(
        make_box, office, make_bridge):
    box = make_box()
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)
    foreign = "gen_random_uuid()"
    office.query(f"UPDATE devices SET journal_id = {foreign}")
    office.terminate_sessions()
    stopped_sinks(bridge)
    assert bridge.stop() == 0
    office.take(TAP)
    till.trade(5)
    away = {"TILLBOX_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    home = dict(bridge.settings)
    bridge.settings.update(away)
    for _ in range(2):  # the second start must know it too
        bridge.start()
        assert bridge.wait_for_sink("postgres", state="stopped")
        sink = bridge.wait_for_sink("rabbitmq", state="down")
        assert "hasn't been asked again" in sink["last_error"], sink
        assert bridge.stop() == 0
    assert office.queue_length(TAP) == 0
    journal = read_journal(box.data_dir, "SELECT journal_id FROM meta")[0][0]
    office.query(f"UPDATE devices SET journal_id = '{journal}'")
    bridge.settings.update(home)
    bridge.start()
    for name in SINKS:
        bridge.wait_for_sink(name, state="running", pending=0)


@pytest.mark.parametrize("restored, sales", [
    ("whole folder", 5), ("journal alone", 5), ("journal alone", 30), ("journal, no bridge.db", 5)])
def test_a_restored_box_stops_loudly(restored, sales, box, office, make_bridge):
    """Its journal is older than head office's cursor: what it sells now has sequences that were
    used before. Nobody gets it until a person has looked."""
    folder = box.data_dir
    bridge = make_bridge(folder, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    backup = folder.parent / "backup.db"
    assert run_command("backup", backup, "--data-dir", folder).returncode == 0
    assert bridge.stop() == 0
    copy_folder(folder, folder.parent / "copy")
    bridge.start()
    till.trade(20)
    assert_all_arrived(bridge, office, till)
    assert bridge.stop() == 0 and box.stop() == 0
    if restored == "whole folder":
        shutil.rmtree(folder)
        (folder.parent / "copy").rename(folder)
    else:
        restore(folder, backup)
        if restored != "journal alone":
            (folder / "bridge.db").unlink()
    box.start()
    for _ in range(sales):
        assert box.sell().status == 201
    bridge.start()
    assert "restored" in stopped_sinks(bridge)
    assert bridge.sink("rabbitmq")["pending"] >= 0


def restore(folder, backup):
    for old in folder.glob("journal.db*"):
        old.unlink()
    shutil.copy(backup, folder / "journal.db")


def test_a_journal_that_is_replaced_under_a_running_bridge_is_noticed(box, office, make_bridge):
    folder = box.data_dir
    bridge = make_bridge(folder, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    backup = folder.parent / "backup.db"
    assert run_command("backup", backup, "--data-dir", folder).returncode == 0
    till.trade(20)
    assert_all_arrived(bridge, office, till)
    assert box.stop() == 0
    restore(folder, backup)
    assert "restored" in stopped_sinks(bridge)


def test_a_journal_that_is_moved_and_comes_back_goes_on(box, office, make_bridge):
    """As when a folder is restored that is the very same: nothing is lost or sent again."""
    folder = box.data_dir
    bridge = make_bridge(folder, office)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    assert box.stop() == 0
    backup = folder.parent / "backup.db"
    assert run_command("backup", backup, "--data-dir", folder).returncode == 0
    restore(folder, backup)
    bridge.wait_for_event("journal.replaced")
    box.start()
    till.trade(20)
    events = assert_all_arrived(bridge, office, till)
    assert len(office.messages) == len(events)


def test_what_was_parked_is_parked_again_when_bridge_db_is_lost(box, office, make_bridge):
    """Head office's cursor has passed the event; only head office can tell that it isn't there."""
    office.query("ALTER TABLE orders ADD CONSTRAINT never_700 CHECK (user_id <> 700)")
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(10)
    order_id = box.sell(user_id=700).json["id"]
    till.trade(5)
    assert box.orders("POST", f"/orders/{order_id}/cancel").status == 200
    till.trade(5)
    parked = {"postgres": {13, 19}}
    assert_all_arrived(bridge, office, till, parked)
    assert bridge.stop() == 0
    for path in box.data_dir.glob("bridge.db*"):
        path.unlink()
    bridge.start()
    assert_all_arrived(bridge, office, till, parked)
    rows = read_parked(box.data_dir, "postgres")
    assert [row["state"] for row in rows.values()] == ["refused", "held"]
    assert "bridge.db" in rows[13]["reason"]
    office.query("ALTER TABLE orders DROP CONSTRAINT never_700")
    done = run_bridge("replay", "--data-dir", box.data_dir, environment=bridge.settings)
    assert done.returncode == 0, done
    assert office.number("SELECT count(*) FROM event_logs") == len(read_events(box.data_dir))


def test_events_that_the_database_refuses_are_parked_and_the_rest_arrives(tmp_path, make_box,
                                                                        office, make_bridge):
    """They are found by halving the batch that holds them."""
    seed(tmp_path / "var", 1500)
    box = make_box()
    till = open_till(box)
    refused = set()
    for user_id in (700, 701, 702):
        till.trade(10)
        assert box.sell(user_id=user_id).status == 201
        refused.add(len(read_events(box.data_dir)))
    order_id = read_events(box.data_dir)[-1].order_id
    assert box.orders("POST", f"/orders/{order_id}/cancel").status == 200
    held = len(read_events(box.data_dir))
    office.query("ALTER TABLE orders ADD CONSTRAINT never_700 CHECK (user_id NOT IN"
                 " (700, 701, 702))")
    bridge = make_bridge(box.data_dir, office)
    till.trade(10)
    events = assert_all_arrived(bridge, office, till, {"postgres": refused | {held}})
    parked = read_parked(box.data_dir, "postgres")
    assert {row["sequence"] for row in parked.values() if row["state"] == "refused"} == refused
    assert parked[held]["state"] == "held"
    assert all("never_700" in parked[sequence]["reason"] for sequence in refused)
    wait_until(lambda: office.queue_length("order.failed") == 3)
    letters = office.take("order.failed")
    assert [letter.properties.headers["x-sequence"] for letter in letters] == sorted(refused)
    by_sequence = {event.sequence: event for event in events}
    for letter in letters:
        assert letter.body == by_sequence[
            letter.properties.headers["x-sequence"]].payload.encode()
        assert "never_700" in letter.properties.headers["x-reason"]


RAISE = ("CREATE FUNCTION no_thanks() RETURNS trigger LANGUAGE plpgsql AS"
         " $$ BEGIN RAISE EXCEPTION 'no thanks'; END $$;"
         "CREATE TRIGGER no_thanks BEFORE INSERT ON orders FOR EACH ROW {when}"
         " EXECUTE FUNCTION no_thanks()")


def test_one_event_that_a_trigger_refuses_blocks_nothing(box, office, make_bridge):
    """Whatever the server's code for it: here it is P0001, which says nothing about data."""
    office.query(RAISE.format(when="WHEN (NEW.user_id = 700)"))
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(10)
    box.sell(user_id=700)
    refused = len(read_events(box.data_dir))
    till.trade(10)
    assert_all_arrived(bridge, office, till, {"postgres": {refused}})
    assert "no thanks" in read_parked(box.data_dir, "postgres")[refused]["reason"]
    office.query("DROP TRIGGER no_thanks ON orders")
    assert "bridge replay" in run_bridge("status", "--data-dir", box.data_dir).stdout
    assert run_bridge("replay", "--data-dir", box.data_dir,
                      environment=bridge.settings).returncode == 0
    assert office.query("SELECT count(*) FROM orders WHERE user_id = 700") == [["1"]]
    assert read_parked(box.data_dir, "postgres")[refused]["state"] == "delivered"


def test_what_a_trigger_refuses_of_every_order_is_an_outage(box, office, make_bridge):
    office.query(RAISE.format(when=""))
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(10)
    down = bridge.wait_for_sink("postgres", state="down")
    assert "no thanks" in down["last_error"]
    bridge.wait_for_sink("postgres", breaker="open")
    assert read_parked(box.data_dir, "postgres") == {}
    office.query("DROP TRIGGER no_thanks ON orders")
    healed_at = time.monotonic()
    bridge.wait_for_sink("postgres", state="running")
    assert time.monotonic() - healed_at < RECOVERY_SECONDS
    assert_all_arrived(bridge, office, till)


def test_a_refused_event_near_the_head_stays_parked_over_a_restart(box, office, make_bridge):
    """Head office's cursor is behind the bridge's then; nothing is sent, parked or counted twice."""
    office.query("ALTER TABLE orders ADD CONSTRAINT never_700 CHECK (user_id <> 700)")
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box).trade(10)
    box.sell(user_id=700)
    down = bridge.wait_for_sink("postgres", state="down")
    assert "never_700" in down["last_error"] and read_parked(box.data_dir, "postgres") == {}
    let_one_through(box)
    parked = {"postgres": {13}}
    assert_all_arrived(bridge, office, till, parked)
    for _ in range(2):
        assert bridge.stop() == 0
        bridge.start()
        bridge.wait_for_sink("postgres", state="running")
        assert_all_arrived(bridge, office, till, parked)
    till.trade(10)
    assert_all_arrived(bridge, office, till, parked)
    office.query("ALTER TABLE orders DROP CONSTRAINT never_700")
    till.trade(10)
    assert_all_arrived(bridge, office, till, parked)


def test_through_a_pooler_in_transaction_mode(box, office, make_bridge, servers):
    """Everything, from the migration on; also when the pooler goes away for a moment."""
    pooler = PgBouncer(servers.postgres, servers.folder / office.name)
    url = {"TILLBOX_POSTGRES_URL": servers.postgres.url_of(office.name, pooler.port)}
    try:
        done = run_bridge("migrate", environment=url)
        assert done.returncode == 0, done
        bridge = make_bridge(box.data_dir, office, **url)
        with open_till(box) as till:
            flows_to(bridge, "postgres")
            office.terminate_sessions()
            flows_to(bridge, "postgres")
        assert_all_arrived(bridge, office, till)
    finally:
        pooler.stop()
    bridge.wait_for_sink("postgres", state="down")


def test_a_statement_s_limit_is_set_with_it_and_leaves_no_trace(box, office, make_bridge, servers):
    """Also through a pooler, whose sessions belong to everybody."""
    office.query("""
        CREATE TABLE limits (setting text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO limits VALUES (current_setting('statement_timeout')); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON event_logs EXECUTE FUNCTION note()
        """)
    pooler = PgBouncer(servers.postgres, servers.folder / office.name)
    url = servers.postgres.url_of(office.name, pooler.port)
    try:
        bridge = make_bridge(box.data_dir, office, TILLBOX_POSTGRES_URL=url)
        assert_all_arrived(bridge, office, open_till(box).trade(5))
        assert office.query("SELECT DISTINCT setting FROM limits") == [["2min"]]
        for _ in range(3):
            assert office.postgres.query("SHOW statement_timeout", url) == [["0"]]
    finally:
        pooler.stop()


def test_migrations_are_applied_once(servers, make_office):
    office = servers.new_office()
    office.create_database()
    environment = settings_of(office)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: run_bridge("migrate", environment=environment), range(3)))
    again = run_bridge("migrate", environment=environment)
    assert again.returncode == 0 and "applied" not in again.stdout, again
    assert any(done.returncode == 0 and "applied 0001" in done.stdout for done in runs), runs
    numbers = [row[0] for row in office.query("SELECT number FROM schema_migrations ORDER BY 1")]
    assert numbers == [str(number + 1) for number in range(len(numbers))]
    office.query("INSERT INTO schema_migrations (number, name) VALUES (9999, 'from the future')")
    newer = run_bridge("migrate", environment=environment)
    assert newer.returncode == 1 and "9999" in newer.stderr, newer
    office.postgres.query(f"DROP DATABASE {office.name}", office.postgres.url_of("postgres"))
    assert run_bridge("migrate", environment=environment).returncode == 1
    assert run_bridge("migrate").returncode == 2


def test_the_topology_is_declared_once_and_stays(office):
    for _ in range(2):
        done = run_bridge("topology", environment=settings_of(office))
        assert done.returncode == 0, done
    exchanges = {exchange["name"]: exchange
                 for exchange in office.api("GET", f"/exchanges/{office.name}")}
    for name, kind in (("order.events", "topic"), ("order.dlx", "direct")):
        assert (exchanges[name]["type"], exchanges[name]["durable"]) == (kind, True)
    queues = {queue["name"]: queue for queue in office.api("GET", f"/queues/{office.name}")}
    assert set(queues) == {"order.failed", "inventory.order.queue", "notification.order.queue"}
    for queue in queues.values():
        assert (queue["durable"], queue["arguments"]["x-queue-type"]) == (True, "quorum")
        # One that doesn't say has 20 from RabbitMQ 4.0 on, and order.failed would drop what it has.
        assert queue["arguments"]["x-delivery-limit"] in (20, 10**9)
        if queue["name"] != "order.failed":
            assert queue["arguments"]["x-delivery-limit"] == 20
            assert queue["arguments"]["x-dead-letter-exchange"] == "order.dlx"
    assert queues["order.failed"]["arguments"]["x-delivery-limit"] == 10**9
    bindings = {(binding["source"], binding["routing_key"], binding["destination"])
                for binding in office.api("GET", f"/bindings/{office.name}") if binding["source"]}
    assert ("order.dlx", "order.failed", "order.failed") in bindings
    for key in ("order.created", "order.cancelled"):
        for queue in ("inventory.order.queue", "notification.order.queue"):
            assert ("order.events", key, queue) in bindings
    assert run_bridge("topology").returncode == 2
