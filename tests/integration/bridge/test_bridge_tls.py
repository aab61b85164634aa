"""Encrypted lines: a peer that proves itself is trusted, any other is an outage that says why."""

import pytest

from bridge import assert_all_arrived
from bridge import open_till
from bridge import run_bridge
from bridge import settings_of
from certificates import Authority
from certificates import EXPIRED

# (what the certificate is for, the host that is asked for)
GOOD = [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def certify(office, authority):
    """Gives both servers a certificate and returns the settings that lead to them by TLS."""
    def use(*hosts, host="localhost", trusted=authority, days=None, broker_port=None):
        certificate = authority.issue(*hosts, **({"days": days} if days else {}))
        office.postgres.use_certificate(certificate)
        office.rabbit.use_certificate(certificate)
        broker = office.rabbit.url_of(office.name, port=broker_port or office.rabbit.tls_port,
                                      scheme="amqps", host=host)
        database = (f"postgresql://postgres@{host}:{office.postgres.port}/{office.name}"
                    f"?sslmode=verify-full&sslrootcert={trusted.file}")
        return {"TILLBOX_POSTGRES_URL": database, "TILLBOX_AMQP_URL": broker,
                "TILLBOX_AMQP_CA_FILE": str(trusted.file)}
    return use


def errors_of(bridge):
    """What the sinks say, once both are down."""
    return {name: bridge.wait_for_sink(name, state="down")["last_error"]
            for name in ("postgres", "rabbitmq")}


@pytest.mark.parametrize("issued, host", GOOD)
def test_events_flow_to_peers_that_prove_themselves(issued, host, box, office, make_bridge,
                                                  certify):
    bridge = make_bridge(box.data_dir, office, **certify(issued, host=host))
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, office, till)
    assert office.number("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                         f" WHERE ssl AND datname = '{office.name}'") == 1
    used = office.rabbit.control("list_connections", "vhost", "ssl", "--silent").splitlines()
    assert [line.split() for line in used] == [[office.name, "true"]]


@pytest.mark.parametrize("issued, host", [("elsewhere.example", "localhost"),
                                          ("localhost", "127.0.0.1"),
                                          ("127.0.0.2", "127.0.0.1")])
def test_a_certificate_for_another_host_is_told(issued, host, box, office, make_bridge, certify):
    bridge = make_bridge(box.data_dir, office, **certify(issued, host=host))
    errors = errors_of(bridge)
    assert "does not match host name" in errors["postgres"], errors
    assert "mismatch" in errors["rabbitmq"], errors
    assert "certificate can't be trusted" in errors["rabbitmq"], errors


def test_a_certificate_that_has_expired_is_told(box, office, make_bridge, certify):
    errors = errors_of(make_bridge(box.data_dir, office, **certify("localhost", days=EXPIRED)))
    assert "certificate verify failed" in errors["postgres"], errors
    assert "certificate has expired" in errors["rabbitmq"], errors


def test_an_authority_that_nobody_knows_is_told(box, office, make_bridge, certify, tmp_path):
    other = Authority(tmp_path / "other", "other authority")
    errors = errors_of(make_bridge(box.data_dir, office, **certify("localhost", trusted=other)))
    assert "certificate verify failed" in errors["postgres"], errors
    assert "unable to get local issuer certificate" in errors["rabbitmq"], errors


def test_without_a_named_authority_the_system_s_are_asked(box, office, make_bridge, certify):
    settings = certify("localhost")
    bridge = make_bridge(box.data_dir, office, TILLBOX_AMQP_URL=settings["TILLBOX_AMQP_URL"])
    sink = bridge.wait_for_sink("rabbitmq", state="down")
    assert "certificate can't be trusted" in sink["last_error"], sink


def test_a_port_without_tls_is_told(box, office, make_bridge, certify):
    settings = certify("localhost", broker_port=office.rabbit.port)
    bridge = make_bridge(box.data_dir, office, **settings)
    sink = bridge.wait_for_sink("rabbitmq", state="down")
    assert "TLS handshake" in sink["last_error"], sink


def test_a_server_that_has_no_tls_is_told(box, office, make_bridge, certify):
    settings = certify("localhost")
    office.postgres.offer_tls(False)
    sink = make_bridge(box.data_dir, office, **settings).wait_for_sink("postgres", state="down")
    assert "does not support SSL" in sink["last_error"], sink


def test_a_file_that_holds_no_authority_is_told(box, office, make_bridge, certify, tmp_path):
    settings = certify("localhost")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    sink = make_bridge(box.data_dir, office, **{**settings, "TILLBOX_AMQP_CA_FILE": str(empty)}
                       ).wait_for_sink("rabbitmq", state="down")
    assert f"{empty} holds no certificate authority" in sink["last_error"], sink


def test_a_certificate_that_is_renewed_heals_by_itself(box, office, make_bridge, certify):
    bridge = make_bridge(box.data_dir, office, **certify("localhost", days=EXPIRED))
    errors_of(bridge)
    certify("localhost")
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, office, till)


def test_commands_speak_tls_too(office, certify):
    settings = certify("localhost")
    for command in ("migrate", "topology"):
        done = run_bridge(command, environment={**settings_of(office), **settings})
        assert done.returncode == 0, done
