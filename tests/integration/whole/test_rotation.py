"""A secret is changed while everything runs: the program says that it is refused, and goes on with the
new one once its file has it, without a restart, and with nothing lost."""

import hashlib
import hmac
import shutil

import pytest

from bridge import SINKS
from bridge import assert_all_arrived
from bridge import open_till
from bridge import status_of
from box import wait_until
from mail_server import MailServer
from ports import free_port
from roles import SERVICES
from roles import add_box
from roles import remove_logins
from roles import url_of
from service import Publisher
from service import declare_topology
from service import wait_for_stock

FILES = ("postgres_password", "amqp_password")


@pytest.fixture
def guarded(office):
    """A head office that asks the logins in `office.logins` for their passwords."""
    office.logins = set()
    declare_topology(office)
    hba = office.postgres.folder / "data" / "pg_hba.conf"
    before = hba.read_text()

    def demand(login):
        hba.write_text(f"host {office.name} {login} 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        office.query("SELECT pg_reload_conf()")

    office.demand = demand
    yield office
    hba.write_text(before)
    office.query("SELECT pg_reload_conf()")
    remove_logins(office)


def cut(office):
    """What is connected already isn't asked again."""
    office.terminate_sessions()
    office.close_connections()


def is_refused(text):
    return "password authentication failed" in text or "ACCESS_REFUSED" in text


def wait_for_error(bridge, is_meant):
    """Until both sinks are down for the reason that is meant."""
    for name in SINKS:
        wait_until(lambda name=name: is_meant(bridge.sink(name)["last_error"] or ""), 20,
                   f"{name}'s error")
        bridge.wait_for_sink(name, state="down")


def test_a_box_goes_on_with_new_passwords_and_nothing_is_lost(make_box, guarded, make_bridge,
                                                              tmp_path):
    device = f"till-{guarded.name}"
    box = make_box("--device-id", device)
    settings = add_box(guarded, device, tmp_path)
    guarded.demand(f"box-{device}")
    bridge = make_bridge(box.data_dir, guarded, **settings)
    till = open_till(box).trade(20)
    assert_all_arrived(bridge, guarded, till)
    (tmp_path / "new").mkdir()
    add_box(guarded, device, tmp_path / "new")
    cut(guarded)
    till.trade(20)
    wait_for_error(bridge, is_refused)
    status, _ = status_of(box.data_dir)
    assert status["backlog"] > 0 and all(is_refused(sink["last_error"]) for sink in status["sinks"])
    for name in FILES:
        shutil.copy(tmp_path / "new" / device / name, tmp_path / device / name)
    till.trade(5)
    assert_all_arrived(bridge, guarded, till)
    assert len(bridge.log_events("bridge.ready")) == 1


def test_a_password_that_cannot_be_read_is_an_outage_that_is_told(make_box, guarded, make_bridge,
                                                                  tmp_path):
    """An editor may take the file away for a moment; a person may take the right."""
    device = f"till-{guarded.name}"
    box = make_box("--device-id", device)
    bridge = make_bridge(box.data_dir, guarded, **add_box(guarded, device, tmp_path))
    till = open_till(box).trade(5)
    assert_all_arrived(bridge, guarded, till)
    for name in FILES:
        (tmp_path / device / name).rename(tmp_path / name)
    cut(guarded)
    till.trade(5)
    wait_for_error(bridge, lambda text: "can't read" in text)
    for name in FILES:
        (tmp_path / name).chmod(0o644)
        (tmp_path / name).rename(tmp_path / device / name)
    assert_all_arrived(bridge, guarded, till)
    exposed = {line["file"] for line in bridge.log_events("settings.exposed")}
    assert exposed == {str(tmp_path / device / name) for name in FILES}


def add_service(office, name, folder, number):
    """A service's login, or the one that it has with another password; its settings."""
    login, password = f"{name}-{office.name}", f"password {number}"
    office.query(f"SELECT tillbox_add_login('{login}', 'tillbox_{name}', '{password}')")
    office.api("PUT", f"/users/{login}", {"password": password, "tags": ""})
    office.allow(login, *SERVICES[name])
    office.logins.add(login)
    path = folder / name
    return {"TILLBOX_POSTGRES_URL": url_of(office, login),
            "TILLBOX_POSTGRES_PASSWORD_FILE": str(path), "TILLBOX_AMQP_PASSWORD_FILE": str(path),
            "TILLBOX_AMQP_URL": f"amqp://{login}@127.0.0.1:{office.rabbit.port}/{office.name}"
            }, lambda: path.write_text(password)


def test_head_office_s_services_go_on_with_new_passwords(guarded, make_inventory, notify, tmp_path):
    started = {}
    for name, start in (("inventory", lambda **said: make_inventory(guarded, **said)),
                        ("notification", notify)):
        settings, write = add_service(guarded, name, tmp_path, 1)
        write()
        guarded.demand(f"{name}-{guarded.name}")
        started[name] = start(**settings)
    with Publisher(guarded) as client:
        client.publish(client.product("created", 1, 50), client.order("created", (1, 2)))
        wait_for_stock(guarded, {1: 48})
    news = [add_service(guarded, name, tmp_path, 2)[1] for name in started]
    cut(guarded)
    for service in started.values():
        wait_until(lambda service=service: is_refused(service.get("/healthz").json["last_error"]
                                                      or ""), 20, "a refusal in the health")
    with Publisher(guarded) as client:
        client.publish(client.order("created", (1, 3), order_id=2))
    for write in news:
        write()
    wait_for_stock(guarded, {1: 45}, seconds=20)
    wait_until(lambda: guarded.number("SELECT count(*) FROM notifications WHERE status = 'sent'")
               == 2, 20, "both confirmations")
    answer = started["inventory"].call("GET", "/locations/harbour/products/1")
    assert (answer.status, answer.json["stock"]) == (200, 45)
    assert all(len(service.log_events("service.ready")) == 1 for service in started.values())


def signed_with(request, secret):
    seconds, signature = (part.split("=")[1] for part
                          in request.headers["tillbox-signature"].split(","))
    body = f"{seconds}.".encode() + request.body
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() == signature


def test_the_next_webhook_is_signed_with_the_new_secret(office, notify, receiver, tmp_path):
    secrets = ["the first secret of the shop", "the second secret of the shop"]
    path = tmp_path / "secret"
    path.write_text(secrets[0])
    notify(channels="webhook", TILLBOX_WEBHOOK_URL=receiver.url,
           TILLBOX_WEBHOOK_SECRET_FILE=str(path))
    with Publisher(office) as client:
        for number, secret in enumerate(secrets, 1):
            path.write_text(secret)
            client.publish(client.order("created", (1, 1), order_id=number))
            wait_until(lambda number=number: len(receiver.requests) == number, 10, "a webhook")
    assert [signed_with(request, secret)
            for request, secret in zip(receiver.requests, secrets)] == [True, True]


def test_the_next_mail_is_sent_with_the_new_password(office, notify, tmp_path):
    path = tmp_path / "password"
    path.write_text("first")
    port = free_port()
    notify(channels="smtp", TILLBOX_SMTP_URL=f"smtp://127.0.0.1:{port}",
           TILLBOX_SMTP_ALLOW_PLAIN="true", TILLBOX_SMTP_USER="till",
           TILLBOX_SMTP_PASSWORD_FILE=str(path), TILLBOX_MAIL_FROM="till@shop.example",
           TILLBOX_MAIL_DEFAULT_TO="desk@shop.example")
    with Publisher(office) as client:
        for number, password in enumerate(("first", "second"), 1):
            path.write_text(password)
            with MailServer(login=("till", password), port=port) as server:
                client.publish(client.order("created", (1, 1), order_id=number))
                wait_until(lambda server=server: server.messages, 10, "a mail")
