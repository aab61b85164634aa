"""Every service and every box has logins of its own, which open what it needs and nothing else."""

import json
import pathlib
import shlex

import pika
import pytest

from box import wait_until
from bridge import assert_all_arrived
from bridge import open_office
from bridge import open_till
from bridge import run_bridge
from central import connected
from roles import PSQL
from roles import add_box
from roles import add_reader
from roles import add_service
from roles import psql
from roles import remove_logins
from roles import url_of
from service import Publisher
from service import Service
from service import declare_topology
from service import wait_for_stock
from service import wait_until_taken

HASH = "decode(repeat('00', 32), 'hex')"
TABLES = ("contacts", "device_roles", "devices", "event_logs", "inventory_keys", "notifications",
          "orders", "product_sources", "products", "schema_migrations", "stock_logs")


@pytest.fixture(scope="module")
def staffed(servers):
    """A head office whose logins are removed with it: they belong to the whole server."""
    servers.revive()
    office = open_office(servers)
    office.logins = set()
    declare_topology(office)
    yield office
    remove_logins(office)
    office.remove()


@pytest.fixture(scope="module")
def shop(staffed, tmp_path_factory):
    """The settings of a box that was added by the operator's script."""
    return add_box(staffed, f"{staffed.name}-a", tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="module")
def devices(staffed, shop):
    """(settings of the shop's box, its name, settings of another, name of the other), each with an
    event and an order at head office."""
    names = [f"{staffed.name}-a", f"{staffed.name}-b"]
    staffed.query(f"SELECT tillbox_add_box('{names[1]}', NULL)")
    staffed.logins.add(f"box-{names[1]}")
    settings = [shop, {"TILLBOX_POSTGRES_URL": url_of(staffed, f"box-{names[1]}")}]
    for number, name in enumerate(names):
        staffed.query(f"""
            INSERT INTO devices VALUES ('{name}', gen_random_uuid(), 'here', 1, {HASH})
            ON CONFLICT DO NOTHING;
            SELECT tillbox_store_events('{name}', '[{json.dumps(event_of(name, number))}]');
            INSERT INTO stock_logs (event_id, location, product_id, change, reason, device_id,
                                    occurred_at)
            VALUES (gen_random_uuid(), 'here', 1, -1, 'order.created', '{name}', now())""")
    return settings[0], names[0], settings[1], names[1]


def event_of(device, number):
    return {"event_id": f"0190a0f2-6a31-7f08-9d44-51b7e0c2a8{number:02}", "device_id": device,
            "sequence": 1000 + number, "event_type": "order.created", "event_version": "v1",
            "location": "here", "occurred_at": "2026-01-31T09:05:00Z",
            "data": {"order_id": 1000, "user_id": 1, "items": [], "total": 3}}


def test_a_box_flows_under_its_own_logins(make_box, staffed, make_bridge, make_inventory, shop):
    """It is the first of the tests: head office has no other box's events yet."""
    box = make_box("--device-id", f"{staffed.name}-a")
    bridge = make_bridge(box.data_dir, staffed, **shop)
    till = open_till(box).trade(40)
    assert_all_arrived(bridge, staffed, till)
    make_inventory(staffed, **add_service(staffed, "inventory"))
    for command in (["replay", "--from", 1], ["reconcile"]):  # the test has taken all messages so far
        done = run_bridge(*command, "--data-dir", box.data_dir, environment=shop)
        assert done.returncode == 0, done
        wait_until_taken(staffed)


@pytest.fixture
def notification(staffed, tmp_path):
    service = Service(tmp_path, staffed, "notification", "--status-listen",
                      **add_service(staffed, "notification")).start()
    yield service
    assert service.stop() == 0


def test_the_services_work_under_their_own_logins(staffed, make_inventory, notification):
    inventory = make_inventory(staffed, **add_service(staffed, "inventory"))
    with Publisher(staffed) as publisher:
        publisher.publish(publisher.product("created", 1, 50), publisher.order("created", (1, 2)))
        wait_for_stock(staffed, {1: 48})
        body = {"delta": 2, "reason": "count"}
        path = f"/locations/{publisher.location}/products"
        answer = inventory.call("POST", f"{path}/1/stock", body, headers={"Idempotency-Key": "k"})
        assert (answer.status, answer.json["stock"]) == (200, 50)
        answer = inventory.call("POST", path, {"product_name": "tea", "stock": 1})
        assert answer.status == 201, answer
        publisher.publish("no event")
    wait_until(lambda: staffed.number("SELECT count(*) FROM notifications WHERE status = 'sent'"
                                      " AND device_id = 'box-1'") == 1, 10, "the confirmation")
    wait_until(lambda: staffed.held("order.failed") == 2, 10, "two dead letters")


def test_a_box_reads_no_rows_but_its_own(devices):
    ours, name, theirs, other = devices
    for table in ("devices", "event_logs", "orders", "stock_logs", "device_roles"):
        for settings, device in ((ours, name), (theirs, other)):
            seen, _ = psql(settings["TILLBOX_POSTGRES_URL"],
                           f"SELECT DISTINCT device_id FROM {table}")
            assert seen == device, table


@pytest.mark.parametrize("sql", [
    f"INSERT INTO devices (device_id, journal_id, location, last_sequence, chain_head)"
    f" VALUES ('another', gen_random_uuid(), 'here', 0, {HASH})",
    "SELECT tillbox_store_events('{other}', '[{event}]')",
    "SELECT tillbox_store_events('{name}', '[{event}]');"
    "INSERT INTO event_logs (event_id, device_id, sequence, event_type, event_version, payload,"
    " occurred_at) VALUES (gen_random_uuid(), '{other}', 9, 'x', 'v1', '{{}}', now())",
    "UPDATE devices SET last_sequence = 99 WHERE device_id = '{other}'",
    "UPDATE orders SET status = 'cancelled' WHERE device_id = '{other}'",
    "SELECT tillbox_take_events('{other}', gen_random_uuid(), 'here', 1, 2, {hash}, '[]')",
])
def test_a_box_writes_no_rows_but_its_own(sql, devices, staffed):
    ours, name, _, other = devices
    before = rows_of(staffed, other)
    asked = sql.format(other=other, name=name, hash=HASH, event=json.dumps(event_of(other, 2)))
    _, complaint = psql(ours["TILLBOX_POSTGRES_URL"], asked)
    assert not complaint or "row-level security" in complaint or "is not known" in complaint
    assert rows_of(staffed, other) == before


def rows_of(office, device):
    return [office.query(f"SELECT * FROM {table} WHERE device_id = '{device}' ORDER BY 1, 2")
            for table in ("devices", "event_logs", "orders", "stock_logs")]


@pytest.mark.parametrize("sql", [
    "UPDATE devices SET journal_id = gen_random_uuid()", "UPDATE event_logs SET payload = '{}'",
    "UPDATE orders SET total = 0", "UPDATE orders SET device_id = 'x'", "DELETE FROM event_logs",
    "DELETE FROM devices", "TRUNCATE orders", "LOCK TABLE event_logs IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE orders IN SHARE MODE", "INSERT INTO device_roles VALUES ('x', 'y')",
    "INSERT INTO stock_logs SELECT * FROM stock_logs", "SELECT * FROM products",
    "SELECT * FROM contacts", "SELECT * FROM notifications", "CREATE TABLE t (i int)",
    "CREATE SCHEMA s", "SET ROLE postgres", "SELECT tillbox_add_box('x', 'y')",
    "SELECT tillbox_move_stock('[]')", "SELECT tillbox_remove_box('x')",
])
def test_a_box_may_not(sql, devices):
    _, complaint = psql(devices[0]["TILLBOX_POSTGRES_URL"], f"BEGIN; {sql}")
    assert "permission denied" in complaint


def test_a_table_of_the_boxs_own_puts_nobody_in_anothers_place(devices):
    """A database whose boxes may make temporary tables, as PostgreSQL has it by default."""
    ours, name, _, other = devices
    seen, complaint = psql(ours["TILLBOX_POSTGRES_URL"], f"""
        CREATE TEMP TABLE device_roles AS SELECT current_user AS role_name, '{other}' AS device_id;
        SET search_path = pg_temp, public;
        SELECT DISTINCT device_id FROM public.event_logs""")
    assert complaint == "" and seen.splitlines()[-1] == name


@pytest.mark.parametrize("what", [
    lambda channel: channel.basic_get("inventory.order.queue"),
    lambda channel: channel.queue_purge("order.failed"),
    lambda channel: channel.queue_declare("mine"),
    lambda channel: channel.queue_delete("inventory.order.queue"),
    lambda channel: channel.exchange_declare("mine", "topic"),
    lambda channel: channel.queue_bind("order.failed", "order.events", "order.created"),
    lambda channel: channel.basic_publish("", "inventory.order.queue", "{}"),
    lambda channel: channel.basic_publish("amq.topic", "order.created", "{}"),
    lambda channel: channel.basic_publish("order.events", "order.failed", "{}"),
], ids=["get", "purge", "declare", "delete", "exchange", "bind", "default", "elsewhere", "key"])
def test_on_the_broker_a_box_may_only_publish_events(what, devices):
    settings = devices[0]
    password = pathlib.Path(settings["TILLBOX_AMQP_PASSWORD_FILE"]).read_text().strip()
    url = settings["TILLBOX_AMQP_URL"].replace("@", f":{password}@")
    with connected(url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("order.events", "order.created", "{}")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="403"):
            what(channel)


def test_no_role_has_more_than_it_needs(staffed):
    rights = {}
    for role, table, right in staffed.query(
            "SELECT grantee, table_name, privilege_type FROM information_schema.table_privileges"
            " WHERE grantee = 'PUBLIC' OR grantee LIKE 'tillbox%' AND table_schema = 'public'"
            " AND table_catalog = current_database()"):
        if table in TABLES:
            rights.setdefault(role, {}).setdefault(table, set()).add(right)
    read, add = {"SELECT"}, {"SELECT", "INSERT"}
    assert rights == {
        "tillbox_box": {"device_roles": read, "devices": read, "event_logs": read,
                        "orders": add, "stock_logs": read},
        "tillbox_inventory": {"products": add, "stock_logs": add, "product_sources": add,
                              "inventory_keys": add | {"DELETE"}, "schema_migrations": read},
        "tillbox_notification": {"contacts": read, "schema_migrations": read,
                                 "notifications": add | {"UPDATE"}},
        "tillbox_reader": {table: read for table in TABLES if table not in (
            "contacts", "device_roles", "inventory_keys", "product_sources")},
    }


def test_a_reader_sees_every_boxs_rows_and_no_contacts(devices, staffed):
    url = add_reader(staffed)
    for table in ("devices", "event_logs", "orders", "stock_logs"):
        seen = psql(url, f"SELECT DISTINCT device_id FROM {table}")[0].split()
        assert {devices[1], devices[3]} <= set(seen), table
    assert "permission denied" in psql(url, "SELECT * FROM contacts")[1]
    assert "permission denied" in psql(url, "DELETE FROM orders")[1]


def test_a_migrator_needs_no_superuser(servers):
    """It owns the database, and makes roles."""
    postgres = servers.postgres
    postgres.query("CREATE ROLE migrator LOGIN CREATEROLE; CREATE ROLE stranger LOGIN")
    postgres.query("CREATE DATABASE modest OWNER migrator")
    url = postgres.url_of("modest").replace("postgres@", "migrator@")
    try:
        for _ in range(2):
            done = run_bridge("migrate", environment={"TILLBOX_POSTGRES_URL": url})
            assert done.returncode == 0, done
        assert psql(url, "SELECT tillbox_add_box('modest-1', NULL)") == ("box-modest-1", "")
        box_url = url.replace("migrator@", "box-modest-1@")
        assert psql(box_url, "SELECT tillbox_own_device()") == ("modest-1", "")
        assert "permission denied" in psql(box_url, "CREATE TEMP TABLE t (i int)")[1]
        assert "permission denied for database" in psql(url.replace("migrator@", "stranger@"),
                                                        "SELECT 1")[1]
        assert psql(url, "SELECT tillbox_remove_box('modest-1')")[1] == ""
        assert "does not exist" in psql(box_url, "SELECT 1")[1]
    finally:
        postgres.query("DROP DATABASE modest WITH (FORCE)")
        postgres.query("DROP ROLE migrator, stranger")


def test_an_open_session_of_a_removed_box_has_no_rows(staffed):
    name = f"{staffed.name}-gone"
    staffed.query(f"SELECT tillbox_add_box('{name}', NULL)")
    staffed.query(f"SELECT tillbox_store_events('{name}', '[{json.dumps(event_of(name, 7))}]')")
    remove = shlex.join([*PSQL, staffed.postgres_url, "-c", f"SELECT tillbox_remove_box('{name}')"])
    counted = "SELECT count(*) FROM event_logs;"
    seen, complaint = psql(url_of(staffed, f"box-{name}"), f"{counted}\n\\! {remove}\n{counted}")
    assert seen.split() == ["1", "0"] or (seen.split() == ["1"] and complaint)
    assert staffed.number(f"SELECT count(*) FROM event_logs WHERE device_id = '{name}'") == 1


@pytest.mark.parametrize("call, complaint", [
    ("tillbox_add_box('{}', 'x')".format("x" * 60), "1 to 59"),
    ("tillbox_add_box('a b', 'x')", "1 to 59"),
    ("tillbox_add_login('postgres', 'tillbox_box', 'x')", "not in tillbox_box"),
    ("tillbox_add_login('x', 'pg_read_all_data', 'x')", "no group"),
    ("tillbox_remove_box('nobody')", "has no login"),
])
def test_what_would_make_a_wrong_login_is_refused(call, complaint, staffed):
    assert complaint in psql(staffed.postgres_url, f"SELECT {call}")[1]


def test_a_box_that_is_added_again_gets_other_passwords(staffed, shop, tmp_path):
    device = f"{staffed.name}-a"
    stored = f"SELECT rolpassword FROM pg_authid WHERE rolname = 'box-{device}'"
    first = staffed.query(stored)
    add_box(staffed, device, tmp_path)
    assert staffed.query(stored) != first and first[0][0].startswith("SCRAM-SHA-256$")
    assert (tmp_path / device / "postgres_password").stat().st_mode & 0o077 == 0
