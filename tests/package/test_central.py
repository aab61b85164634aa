"""Head office without containers, and a box that has its login there: docs/box.md's own commands, and
the units' command lines under their users, against a real PostgreSQL and RabbitMQ."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import time

import pytest

from tree import ROOT

from box import call
from box import wait_until
from certificates import Authority
from ports import free_port
from service import Publisher

DEVICE = "till-1"  # README's
SERVICES = ("inventory", "notification")
STOP_SECONDS = 2
SALES = 20


def commands_of(heading):
    """The commands under a heading of docs/box.md, as they stand there."""
    section = (ROOT / "docs" / "box.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    ")) + "\n"


class Operator:
    """Types commands as root at a machine whose /etc/tillbox is the tree's, and whose servers are the
    test's: they differ from the document's by their ports and host names."""

    def __init__(self, tree, servers, folder):
        self.tree, self.servers = tree, servers
        self.folder = folder
        postgres, rabbit = servers.postgres, servers.rabbit
        self.places = {
            "/etc/tillbox": f"{tree.folder}/etc/tillbox",
            "@localhost/tillbox": f"@localhost:{postgres.port}/tillbox",
            "@localhost|": f"@localhost:{rabbit.port}|",
            "@db.example.org/": f"@localhost:{postgres.port}/",
            "@mq.example.org/": f"@localhost:{rabbit.tls_port}/",
        }
        settings = shlex.join(f"{key}={value}" for key, value in rabbit._environment().items())
        self._program("rabbitmqctl", f'exec env {settings} /usr/lib/rabbitmq/bin/rabbitmqctl "$@"')
        # Nothing runs in there that could start a service: the test does.
        self._program("systemctl", 'case $* in restart*) exit ;; esac\nSYSTEMD_OFFLINE=1 exec chroot '
                      f'{tree.folder} systemctl $(echo "$@" | sed "s/ --now//")')
        self._program("tillbox-start-over", f'exec chroot {tree.folder} tillbox-start-over "$@"')
        self._program("tillbox-add-box", f'exec {ROOT}/tools/add-box.sh "$@"')

    def _program(self, name, text):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def type(self, commands):
        for document, here in self.places.items():
            commands = commands.replace(document, here)
        # what the settings then hold is what the tree knows as /etc/tillbox
        commands = commands.replace(f"sslrootcert={self.tree.folder}", "sslrootcert=")
        commands = commands.replace(f"amqp_ca_file = {self.tree.folder}", "amqp_ca_file = ")
        postgres = self.servers.postgres
        done = subprocess.run(
            ["bash", "-euc", commands], capture_output=True, text=True, check=False,
            cwd=self.folder, env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}",
                                  "PGHOST": str(postgres.folder), "PGPORT": str(postgres.port)})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ERROR" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def office(servers):
    """Servers as Debian's packages leave them: no database of ours, and passwords are asked for."""
    servers.postgres.query("DROP DATABASE tillbox", servers.postgres.url_of("postgres"))
    hba = servers.postgres.folder / "data" / "pg_hba.conf"
    for_boxes = re.search("^    (hostssl .*)$", (ROOT / "docs" / "box.md").read_text(), re.MULTILINE)
    hba.write_text(f"{for_boxes[1]}\nlocal all postgres trust\nhost all postgres 127.0.0.1/32 trust\n"
                   "host all all 127.0.0.1/32 scram-sha-256\n")
    servers.postgres.query("SELECT pg_reload_conf()", servers.postgres.url_of("postgres"))
    return servers.postgres


@pytest.fixture(scope="module")
def operator(tree, servers, tmp_path_factory):
    return Operator(tree, servers, tmp_path_factory.mktemp("operator"))


class Ports:
    orders, inventory, status = free_port(), free_port(), free_port()
    central = {"inventory": free_port(), "notification": free_port()}


@pytest.fixture(scope="module")
def central(tree, office, operator):
    """{name: service}, after docs/box.md's commands; where they start services, units are started."""
    _, *steps = re.split(r"^(?=systemctl disable)", commands_of("Head office without containers"),
                         flags=re.MULTILINE)  # the packages are there
    migrate, services = re.split(r"(?<=--now tillbox-migrate\n)", steps[0])
    operator.type(migrate)
    tree.run_unit("migrate")
    operator.type(services)
    options = {"inventory": "TILLBOX_INVENTORY_LISTEN", "notification": "TILLBOX_STATUS_LISTEN"}
    return {name: tree.start(name, **{options[name]: f"127.0.0.1:{Ports.central[name]}"})
            for name in SERVICES}


def test_the_documented_commands_migrate_and_start_head_office(central, tree, office):
    assert office.number("SELECT count(*) FROM schema_migrations") >= 6
    for name in SERVICES:
        answer = call(Ports.central[name], "GET", "/readyz")
        wait_until(lambda name=name: call(Ports.central[name], "GET", "/readyz").status == 200, 10,
                   f"{name} with both peers, {answer}")
        central[name].manager.wait_for("WATCHDOG=1")
    enabled = sorted(path.name for path in (tree / "etc/systemd/system").rglob("tillbox-*"))
    assert enabled == ["tillbox-firewall.service", "tillbox-inventory.service",
                       "tillbox-migrate.service", "tillbox-notification.service"]


def test_each_service_has_a_user_and_a_login_of_its_own(central, tree, office):
    logins = office.query("SELECT DISTINCT usename FROM pg_stat_activity"
                          " WHERE datname = 'tillbox' AND usename <> 'postgres' ORDER BY 1")
    assert logins == [[name] for name in SERVICES]
    for name, service in central.items():
        status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
        user = tree.run("id", "-u", f"tillbox-{name}").stdout.strip()
        assert re.search(r"^Uid:\t(\d+)\t\1\t\1\t\1$", status, re.MULTILINE)[1] == user
    owner = office.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owner == [["migrate"]]
    assert office.query("SELECT rolname FROM pg_roles WHERE rolsuper") == [["postgres"]]


def test_a_migration_that_is_run_again_changes_nothing(central, tree):
    done = tree.run_unit("migrate")
    assert done.returncode == 0


@pytest.fixture(scope="module")
def box(tree, servers, operator, central, tmp_path_factory):
    """The tree's box, with the login that the document gives it, over encrypted lines."""
    authority = Authority(tmp_path_factory.mktemp("certificates") / "authority")
    certificate = authority.issue("localhost")
    servers.postgres.use_certificate(certificate)
    servers.rabbit.use_certificate(certificate)
    (tree / "etc/tillbox/ca.pem").write_bytes(authority.file.read_bytes())
    (tree / "etc/tillbox/ca.pem").chmod(0o644)
    commands = commands_of("Head office: a login for each box")
    add, rest = commands.split("install -m", 1)
    operator.type(add.replace("/root/till-1", str(operator.folder)))
    operator.type("install -m" + rest.split("\nhostssl")[0] + "\n")
    start_box(tree)


def start_box(tree):
    tree.start("appliance", TILLBOX_ORDERS_LISTEN=f"127.0.0.1:{Ports.orders}",
               TILLBOX_INVENTORY_LISTEN=f"127.0.0.1:{Ports.inventory}")
    tree.start("bridge", TILLBOX_STATUS_LISTEN=f"127.0.0.1:{Ports.status}")


def ask(tree, port, path, body, method="POST"):
    token = (tree / "etc/tillbox/credentials/appliance/api-token").read_text().strip()
    answer = call(port, method, path, body, {"Authorization": f"Bearer {token}"})
    assert answer.status in (200, 201), answer
    return answer.json


def sell(tree, count):
    return [ask(tree, Ports.orders, "/orders", {"user_id": number + 1, "product_id": 1,
                                                "quantity": 2}) for number in range(count)]


def test_a_box_s_sales_reach_central_stock_and_the_customer(tree, box, office):
    ask(tree, Ports.inventory, "/products", {"product_name": "iPhone", "stock": 200,
                                        "price": 200})
    sell(tree, SALES)
    ask(tree, Ports.orders, "/orders/1/cancel", None)
    wait_until(lambda: office.query("SELECT location, product_id, stock FROM products")
               == [[DEVICE, "1", str(200 - 2 * (SALES - 1))]], 15, "the stock at head office")
    wait_until(lambda: office.number("SELECT count(*) FROM notifications WHERE status = 'sent'")
               == SALES + 1, 15, "every confirmation")
    log = (tree / "tmp/tillbox-notification.log").read_text()
    assert log.count('"event":"notification"') == SALES + 1
    page = call(Ports.central["inventory"], "GET", f"/locations/{DEVICE}/products/1")
    assert page.json["stock"] == 200 - 2 * (SALES - 1)
    assert office.query("SELECT count(*), count(DISTINCT device_id) FROM event_logs") == [
        [str(SALES + 2), "1"]]


def test_what_another_login_sends_in_the_box_s_name_counts_nowhere(central, box, servers, office):
    stock = office.query("SELECT stock FROM products")
    with Publisher(None, DEVICE, location=DEVICE, url=servers.rabbit.url) as client:
        client.publish(client.order("created", (1, 5)), user_id=servers.rabbit.user)
    wait_until(lambda: servers.rabbit.queue_length("order.failed") == len(SERVICES), 10,
               "the refusals")
    assert office.query("SELECT stock FROM products") == stock


def status(tree):
    return json.loads(tree.run("tillbox-bridge", "status", "--json", check=False).stdout)


def has_arrived(tree):
    told = status(tree)
    return len(told["sinks"]) == 2 and told["backlog"] == 0


def stop_box(tree):
    for name in ("bridge", "appliance"):
        tree.running[f"tillbox-{name}"].stop()


def rows_of(office, device):
    return [office.query(f"SELECT * FROM {table} WHERE device_id = '{device}' ORDER BY 1, 2")
            for table in ("event_logs", "orders", "stock_logs")]


def restore(tree, backup):
    stop_box(tree)
    tree.run("tillbox-restore", backup)
    start_box(tree)


def has_stopped(tree):
    return [sink["state"] for sink in status(tree)["sinks"]] == ["stopped", "stopped"]


def refusal(tree):
    done = tree.run("tillbox-start-over", "till-1b", check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.fixture(scope="module")
def backup(tree, box):
    """One that is older than what head office has."""
    tree.run_unit("backup")
    sell(tree, 3)
    wait_until(lambda: has_arrived(tree), 15, "the sales after the backup")
    return f"/var/lib/tillbox-backup/{next((tree / 'var/lib/tillbox-backup').iterdir()).name}"


def test_a_box_that_is_well_cannot_start_over(tree, backup):
    assert "no need" in refusal(tree)
    sell(tree, 1)


def test_a_newer_journal_that_is_sound_is_put_back(tree, backup):
    restore(tree, backup)
    wait_until(lambda: has_stopped(tree), 15, "a bridge that has stopped")
    assert "put that one back" in refusal(tree)
    restore(tree, "/var/lib/tillbox/replaced-1/journal.db")
    sell(tree, 1)
    wait_until(lambda: has_arrived(tree), 15, "what was sold after that")


def test_what_was_sent_after_a_restore_is_not_handed_over_again(tree, backup, office):
    """The bridge went on then; much later it stops for another reason, as for a cloned box."""
    stop_box(tree)
    journal = office.query(f"SELECT journal_id FROM devices WHERE device_id = '{DEVICE}'")[0][0]
    office.query(f"UPDATE devices SET journal_id = gen_random_uuid() WHERE device_id = '{DEVICE}'")
    start_box(tree)
    wait_until(lambda: has_stopped(tree), 15, "a bridge that has stopped")
    assert "another reason" in refusal(tree)
    stop_box(tree)
    office.query(f"UPDATE devices SET journal_id = '{journal}' WHERE device_id = '{DEVICE}'")
    start_box(tree)
    wait_until(lambda: has_arrived(tree) and not has_stopped(tree), 15, "a bridge that goes on")


@pytest.fixture(scope="module")
def lost(tree, office, backup):
    """(orders of the restored journal that head office hasn't got, its products): the newer journal is
    lost, and the shop has gone on selling."""
    stop_box(tree)
    for file in (tree / "var/lib/tillbox").rglob("journal.db*"):
        file.unlink()
    tree.run("tillbox-restore", backup)
    start_box(tree)
    wait_until(lambda: has_stopped(tree), 15, "a bridge that has stopped")
    ask(tree, Ports.inventory, "/products/1", {"price": 250}, "PATCH")
    orders = sell(tree, 3)
    orders[1] = ask(tree, Ports.orders, f"/orders/{orders[1]['id']}/cancel", None)
    ask(tree, Ports.orders, "/orders/2/cancel", None)
    ask(tree, Ports.inventory, "/products/1", {"price": 300}, "PATCH")
    ask(tree, Ports.inventory, "/products", {"product_name": "tea", "stock": 0, "sku": "T-1"})
    return orders, ask(tree, Ports.inventory, "/products", None, "GET")["products"]


def interrupt(tree):
    """Begins, and is broken off after some requests."""
    broken = tree / "tmp/broken"
    broken.mkdir()
    broken.chmod(0o777)  # curl runs as the box's user
    (broken / "curl").write_text("#!/bin/sh\necho >>/tmp/broken/calls\n"
                                 "[ $(wc -l </tmp/broken/calls) -le 4 ] && exec /usr/bin/curl \"$@\"\n"
                                 "exit 22\n")
    (broken / "curl").chmod(0o755)
    done = tree.run("tillbox-start-over", "till-1b", check=False,
                    PATH="/tmp/broken:/usr/sbin:/usr/bin:/sbin:/bin")
    assert done.returncode == 1 and "run me again" in done.stderr


def replaced(path, text):
    """Writes a file anew, as its owner would, and gives back what it held."""
    before = path.read_bytes()
    path.write_bytes(text)
    return before


def test_what_lies_in_the_box_s_folder_gives_nobody_root(tree, lost):
    """Whoever owns the folder writes into its files what he likes; root runs none of it."""
    stop_box(tree)
    mark = tree / "root/pwned"
    through = tree / "var/lib/tillbox/restored-through"
    rest = through.read_bytes().split(b"\n", 1)[1]
    for hostile in (b"0 OR writefile('/root/pwned', 'x')", b"0; SELECT writefile('/root/pwned', 'x')",
                    b".shell touch /root/pwned", b"$(touch /root/pwned)", b""):
        before = replaced(through, hostile + b"\n" + rest)
        assert "isn't a number" in refusal(tree)
        through.write_bytes(before)
    for hostile in ("x@/;e touch /root/pwned\n#", "x/w /root/pwned", "../../etc"):
        journal = tree / "var/lib/tillbox/journal.db"
        before = journal.read_bytes()
        tree.run("sqlite3", "/var/lib/tillbox/journal.db",
                 f"UPDATE meta SET device_id = '{hostile}'")
        done = tree.run("tillbox-start-over", "till-1b", check=False)
        assert done.returncode == 1, done
        journal.write_bytes(before)
    assert not mark.exists()
    assert not list((tree / "var/lib/tillbox").glob("closed-*"))
    start_box(tree)
    wait_until(lambda: has_stopped(tree), 15, "a bridge that has stopped")


def what_counts(order):
    return [order[name] for name in ("user_id", "status", "items", "total")]


def test_a_box_that_has_lost_its_journal_starts_over(tree, lost, office, operator):
    orders, products = lost
    old_rows = rows_of(office, DEVICE)
    commands = re.search(r"^      tillbox-add-box.*?^  It refuses",
                         (ROOT / "docs/box.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    at_office, on_the_box = (re.findall("^      (.*)$", part, re.MULTILINE)
                             for part in commands.split("  Then on the box"))
    operator.type("\n".join(at_office).replace("/root/till-1b", str(operator.folder)))
    stop_box(tree)
    interrupt(tree)
    operator.type("\n".join(on_the_box))
    start_box(tree)
    wait_until(lambda: has_arrived(tree), 15, "the new box at head office")
    again = ask(tree, Ports.orders, "/orders", None, "GET")["orders"]
    assert [what_counts(order) for order in again] == [what_counts(order) for order in orders]
    assert [(product["product_id"], product["stock"], product["price"], product["sku"])
            for product in ask(tree, Ports.inventory, "/products", None, "GET")["products"]] == [
                (product["product_id"], product["stock"], product["price"], product["sku"])
                for product in products]
    assert rows_of(office, DEVICE) == old_rows
    assert office.query("SELECT user_id, status, total FROM orders WHERE device_id = 'till-1b'"
                        " ORDER BY order_id") == [
        [str(order["user_id"]), order["status"], str(order["total"])] for order in orders]


def test_then_stock_and_accounts_are_right_and_the_old_journal_is_kept(tree, lost, office, operator):
    orders, products = lost
    wait_until(lambda: office.query("SELECT location, product_id, stock FROM products ORDER BY 1, 2")
               == [[DEVICE, "1", "0"], *[["till-1b", str(product["product_id"]),
                                          str(product["stock"])] for product in products]],
               15, "the stock at head office")
    passwords = {f"TILLBOX_{peer}_PASSWORD_FILE":
                 f"/etc/tillbox/credentials/bridge/{peer.lower()}-password"
                 for peer in ("POSTGRES", "AMQP")}
    tree.run("tillbox-bridge", "reconcile", **passwords)
    closed = "/var/lib/tillbox/closed-1"
    assert json.loads(tree.run("tillbox-appliance", "verify", "--json", "--data-dir", closed).stdout
                      )["sound"]
    handed_over = [line.split("\t") for line in (tree / closed / "handed-over").read_text().splitlines()]
    assert [(int(line[0]), int(line[1]), int(line[3]), line[4]) for line in handed_over] == [
        (number, order["id"], order["total"], order["status"])
        for number, order in enumerate(orders, 1)]
    assert (tree / closed / "cancelled").read_text() == "2\n"
    assert "no need" in refusal(tree)
    assert sell(tree, 1)[0]["id"] == len(orders) + 1


def test_each_ends_within_two_seconds_and_says_so(central, box, tree):
    for service in (tree.running["tillbox-bridge"], *central.values()):
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < STOP_SECONDS


def test_a_link_in_the_box_s_folder_leads_root_nowhere(tree, lost, backup):
    stop_box(tree)
    target = tree / "etc/tillbox/appliance.conf"
    before = target.read_text()
    through = tree / "var/lib/tillbox/restored-through"
    through.unlink(missing_ok=True)
    through.symlink_to("/etc/tillbox/appliance.conf")
    tree.run("tillbox-restore", backup)
    assert target.read_text() == before
    assert not through.is_symlink() and through.read_text().splitlines()[0].isdigit()
