"""A box at head office, as a fleet is run: encrypted lines, a login of its own, passwords in files; and
what such a login can't do."""

import ssl
import subprocess

import pika
import pytest

from bridge import assert_all_arrived
from bridge import open_till
from bridge import run_bridge
from bridge import settings_of
from bridge import status_of
from box import wait_until
from certificates import Authority

PASSWORD = "a password: of/its?own@#"
DENIED = "ACCESS_REFUSED"


class Login:
    """A box's login at a head office, on both servers."""

    def __init__(self, office, authority, folder, device):
        self.office, self.authority, self.device = office, authority, device
        self.name = office.query(f"SELECT tillbox_add_box('{device}', '{PASSWORD}')")[0][0]
        self.password_file = folder / f"{device}.password"
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)
        office.api("PUT", f"/users/{self.name}", {"password": PASSWORD, "tags": ""})
        office.allow(self.name, configure="^$", write="^order\\.(events|dlx)$", read="^$")
        office.api("PUT", f"/topic-permissions/{office.name}/{self.name}",
                   {"exchange": "order.events", "write": "^(order|product|stock)\\.", "read": "^$"})

    @property
    def postgres_url(self):
        return (f"postgresql://{self.name}@localhost:{self.office.postgres.port}/{self.office.name}"
                f"?sslmode=verify-full&sslrootcert={self.authority.file}")

    def settings(self):
        return {"TILLBOX_POSTGRES_URL": self.postgres_url,
                "TILLBOX_POSTGRES_PASSWORD_FILE": str(self.password_file),
                "TILLBOX_AMQP_URL": f"amqps://{self.name}@localhost:{self.office.rabbit.tls_port}"
                                    f"/{self.office.name}",
                "TILLBOX_AMQP_PASSWORD_FILE": str(self.password_file),
                "TILLBOX_AMQP_CA_FILE": str(self.authority.file)}

    def sql(self, text):
        """What psql says, whether it worked or not."""
        done = subprocess.run(["/usr/bin/psql", "-X", "-A", "-t", self.postgres_url, "-c", text],
                              capture_output=True, text=True, check=False, cwd="/",
                              env={"PGPASSWORD": PASSWORD})
        return done.stdout.strip() + done.stderr.strip()

    def channel(self):
        """A channel of another program that has got hold of the login."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            "localhost", self.office.rabbit.tls_port, self.office.name,
            pika.PlainCredentials(self.name, PASSWORD),
            ssl_options=pika.SSLOptions(context, "localhost")))
        return connection.channel()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def ask_boxes_for_passwords(postgres):
    """The tests' server trusts everybody; from now on a box over TLS has to prove itself."""
    hba = postgres.folder / "data" / "pg_hba.conf"
    line = "hostssl all +tillbox_box 127.0.0.1/32 scram-sha-256\n"
    if line not in (text := hba.read_text()):
        hba.write_text(line + text)
        postgres.query("SELECT pg_reload_conf()")


@pytest.fixture
def make_login(office, authority, tmp_path):
    certificate = authority.issue("localhost")
    office.postgres.use_certificate(certificate)
    office.rabbit.use_certificate(certificate)
    ask_boxes_for_passwords(office.postgres)
    assert run_bridge("topology", environment=settings_of(office)).returncode == 0
    logins = []

    def make(device):
        logins.append(Login(office, authority, tmp_path, device))
        return logins[-1]

    yield make
    for login in logins:
        office.query(f"SELECT tillbox_remove_box('{login.device}')")
        office.api("DELETE", f"/users/{login.name}")


@pytest.fixture
def own_box(make_box, office):
    return make_box("--device-id", f"till-{office.name}")


@pytest.fixture
def login(make_login, office):
    """The login of `own_box`."""
    return make_login(f"till-{office.name}")


def test_every_event_flows_by_a_box_s_own_login_and_encrypted_lines(own_box, office, make_bridge,
                                                                  login):
    bridge = make_bridge(own_box.data_dir, office, **login.settings())
    till = open_till(own_box).trade(40)
    assert_all_arrived(bridge, office, till)


def test_a_wrong_password_is_told_and_the_right_one_goes_on(own_box, office, make_bridge, login):
    login.password_file.write_text("not the password\n")
    bridge = make_bridge(own_box.data_dir, office, **login.settings())
    database = bridge.wait_for_sink("postgres", state="down")["last_error"]
    broker = bridge.wait_for_sink("rabbitmq", state="down")["last_error"]
    assert "password authentication failed" in database
    assert "ACCESS_REFUSED" in broker or "refused" in broker
    status, code = status_of(own_box.data_dir)
    assert code == 1 or status["sinks"], status
    assert {sink["last_error"] for sink in status["sinks"]} == {database, broker}
    assert "not the password" not in bridge.log_path.read_text()
    login.password_file.write_text(PASSWORD)
    bridge.stop()
    till = open_till(own_box).trade(10)
    assert_all_arrived(bridge.start(), office, till)


def test_a_box_cannot_write_as_another_box(make_box, office, make_bridge, login):
    stranger = make_box("--device-id", f"other-{office.name}", name="other")
    stranger.add_product()
    bridge = make_bridge(stranger.data_dir, office, **login.settings())
    error = bridge.wait_for_sink("postgres", state="down")["last_error"]
    assert "row-level security" in error, error
    assert office.number("SELECT (SELECT count(*) FROM event_logs)"
                         " + (SELECT count(*) FROM devices)") == 0
    assert wait_until(lambda: bridge.sink("postgres")["pending"], 5) == 1  # and it isn't lost


def test_a_box_reads_its_own_rows_alone(make_box, own_box, office, make_bridge, make_login, login):
    other = make_login(f"other-{office.name}")
    stranger = make_box("--device-id", other.device, name="other")
    for box, key in ((own_box, login), (stranger, other)):
        box.add_product()
        bridge = make_bridge(box.data_dir, office, **key.settings())
        bridge.wait_for_sink("postgres", pending=0, cursor=1)
    assert office.number("SELECT count(*) FROM event_logs") == 2
    for table in ("event_logs", "devices"):
        assert login.sql(f"SELECT DISTINCT device_id FROM {table}") == login.device
    for change in (f"UPDATE devices SET last_sequence = 0 WHERE device_id = '{other.device}'",
                   f"UPDATE orders SET status = 'cancelled' WHERE device_id = '{other.device}'"):
        assert login.sql(change) == "UPDATE 0"
    for change in ("DELETE FROM event_logs", "UPDATE event_logs SET payload = '{}'",
                   "TRUNCATE orders", "CREATE TABLE mine (id int)", "DROP TABLE orders"):
        said = login.sql(change)
        assert "permission denied" in said or "must be owner" in said, said


@pytest.mark.parametrize("deed", [
    lambda channel: channel.basic_get("inventory.order.queue"),
    lambda channel: channel.queue_declare("mine"),
    lambda channel: channel.queue_purge("order.failed"),
    lambda channel: channel.queue_delete("order.failed"),
    lambda channel: channel.exchange_delete("order.events"),
    lambda channel: channel.queue_bind("order.failed", "order.events", "#"),
    lambda channel: publish(channel, "amq.topic", "order.created"),
    lambda channel: publish(channel, "", "inventory.order.queue"),
    lambda channel: publish(channel, "order.events", "payment.made"),
], ids=["consume", "declare", "purge", "delete-queue", "delete-exchange", "bind",
        "other-exchange", "straight-to-a-queue", "other-event"])
def test_a_box_s_login_can_do_nothing_on_the_broker_but_publish_its_events(login, deed):
    channel = login.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match=DENIED):
        deed(channel)
    channel.connection.close()


def publish(channel, exchange, routing_key):
    channel.confirm_delivery()
    channel.basic_publish(exchange, routing_key, b"{}")


def test_a_box_s_login_may_publish_its_events(login):
    channel = login.channel()
    publish(channel, "order.events", "order.created")
    channel.connection.close()
