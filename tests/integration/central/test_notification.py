"""`bridge notification`: who is told what, and what happens when a receiver can't be told."""

import concurrent.futures
import hashlib
import hmac
import json
import threading
import time
import uuid

import pytest

from box import wait_until
from bridge import run_bridge
from bridge import settings_of
from certificates import Authority
from mail_server import MailServer
from peer_server import after
from peer_server import close
from peer_server import hang
from peer_server import in_turn
from peer_server import raw_answer
from service import Publisher
from service import WEBHOOK_SECRET
from service import wait_until_taken

QUEUE = "notification.order.queue"
SENDER, DEFAULT = "till@shop.example", "office@shop.example"
MANY = 60
THREADS = 2  # that send webhooks
RESIDENT_KIB_MAX = 32 * 1024


def ok(_):
    return raw_answer(204)


def status(code):
    return lambda _: raw_answer(code)


def event_id(number):
    """Ids rise with a box's events."""
    return f"0197d0f2-6a31-7f08-9d44-{number:012x}"


def rows(office, columns="channel, status, attempts"):
    return [tuple(row) for row in office.query(f"SELECT {columns} FROM notifications ORDER BY id")]


def wait_for_rows(office, *wanted, seconds=10):
    wait_until(lambda: sorted(rows(office, "channel, status")) == sorted(wanted), seconds,
               f"{wanted}")


def count(office, condition):
    return office.number(f"SELECT count(*) FROM notifications WHERE {condition}")


def run_notification(office, *arguments):
    return run_bridge("notification", *arguments, environment=settings_of(office))


def listed(office, *arguments):
    done = run_notification(office, "list", "--json", *arguments)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def verify(request):
    """What a receiver does to know who sent this: see docs/NOTIFICATIONS.md."""
    parts = dict(part.split("=", 1) for part in request.headers["tillbox-signature"].split(","))
    signed = parts["t"].encode() + b"." + request.body
    wanted = hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256)
    assert abs(time.time() - int(parts["t"])) < 60
    assert hmac.compare_digest(wanted.hexdigest(), parts["v1"])
    return json.loads(request.body)


def test_orders_and_cancellations_are_told_in_the_log(office, notify):
    service = notify(TILLBOX_CURRENCY="EUR")
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3), order_id=8, event_id=event_id(1)),
                       client.order("cancelled", (1, 3), order_id=8, event_id=event_id(2)))
        wait_for_rows(office, ("log", "sent"), ("log", "sent"))
    lines = service.log_events("notification")
    assert [line["kind"] for line in lines] == ["order_confirmation", "cancellation_alert"]
    assert {(line["order_id"], line["total"]) for line in lines} == {(8, "3.00 EUR")}


def test_a_webhook_is_signed_and_says_which_event_it_is(office, notify, receiver, webhook):
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        sale = client.publish(client.order("created", (1, 3), (2, 1), order_id=8))
        wait_for_rows(office, ("webhook", "sent"))
    request, = receiver.requests
    body = verify(request)
    assert (request.method, request.path) == ("POST", "/orders")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == sale["event_id"] + "-webhook"
    assert body["event_id"] == sale["event_id"]
    assert body["items"] == sale["data"]["items"]
    assert (body["kind"], body["order_id"], body["total"]) == ("order_confirmation", 8, 400)
    assert (body["total_text"], body["occurred_at"]) == ("4.00 EUR", sale["occurred_at"])
    assert "3 x product 1 at 1.00 EUR\n1 x product 2 at 1.00 EUR" in body["text"]
    assert body["subject"] == "Your order 8"


def test_an_event_is_told_once_a_channel_however_often_it_comes(office, notify, receiver, webhook):
    notify(channels="log,webhook", **webhook)
    with Publisher(office) as client:
        sale = client.order("created", (1, 3))
        client.publish(sale, sale)
        wait_for_rows(office, ("log", "sent"), ("webhook", "sent"))
        client.publish(sale)
        wait_until_taken(office, QUEUE)
    with Publisher(office) as another:
        another.publish(sale, message_id=sale["event_id"], type="order.created")
        wait_until_taken(office, QUEUE)
    assert len(rows(office)) == 2 and len(receiver.requests) == 1


def test_events_of_no_order_are_passed_over_and_bad_ones_are_dead_letters(office, notify):
    service = notify()
    with Publisher(office) as client:
        office.bind("product.created", QUEUE)
        office.bind("order.#", QUEUE)
        client.publish(client.product("created", 1, 5))
        client.publish("{", key="order.created")
        client.publish(client.order("created", (1, 1), event_version="v9"))
        client.publish(client.order("created", (1, 1)))
        wait_for_rows(office, ("log", "sent"))
        wait_until_taken(office, QUEUE)
    assert service.counts()["dead_lettered"] == 2
    assert office.queue_length("order.failed") == 2


@pytest.mark.parametrize("behaviour", [status(500), hang, close], ids=["500", "hangs", "closes"])
def test_a_receiver_that_fails_is_tried_three_times_and_then_listed(office, notify, receiver,
                                                                    webhook, behaviour):
    receiver.answer = behaviour
    service = notify(channels="log,webhook", **webhook)
    with Publisher(office) as client:
        sale = client.publish(client.order("created", (1, 3)))
        wait_for_rows(office, ("log", "sent"), ("webhook", "failed"))
    assert len({request.headers["idempotency-key"] for request in receiver.requests}) == 1
    failed, = listed(office, "--failed")
    assert (failed["event_id"], failed["channel"]) == (sale["event_id"], "webhook")
    assert failed["attempts"] == 3 and failed["last_error"]
    assert sale["event_id"] in run_notification(office, "list", "--failed").stdout
    wait_until(lambda: service.metric('tillbox_notifications_failed{channel="webhook"}') == 1)

    receiver.answer = ok
    done = run_notification(office, "retry", "--id", sale["event_id"])
    assert (done.returncode, done.stdout) == (0, "1 will be sent again\n")
    wait_for_rows(office, ("log", "sent"), ("webhook", "sent"))
    assert listed(office, "--failed") == []


def test_a_list_shows_what_a_stranger_wrote_and_no_more(office, notify):
    notify()
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3)))
        wait_for_rows(office, ("log", "sent"))
    office.query("UPDATE notifications SET last_error = E'no\\x1b[2J\\nyes'")
    shown = run_notification(office, "list").stdout
    assert shown.endswith("no\\x1b[2J\\x0ayes\n") and "\x1b" not in shown
    assert listed(office)[0]["last_error"] == "no\x1b[2J\nyes"


def test_what_fails_in_passing_is_sent_by_the_third_try(office, notify, receiver, webhook):
    receiver.answer = in_turn(status(503), status(429), ok)
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3)))
        wait_for_rows(office, ("webhook", "sent"))
    assert rows(office) == [("webhook", "sent", "3")]
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("code", [400, 404, 302])
def test_a_receiver_that_will_never_take_it_is_not_asked_again(office, notify, receiver, webhook,
                                                               code):
    receiver.answer = status(code)
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3)))
        wait_for_rows(office, ("webhook", "failed"))
    assert len(receiver.requests) == 1


def test_a_receiver_that_answers_at_length_has_taken_it(office, notify, receiver, webhook):
    receiver.answer = lambda _: raw_answer(200, b"x" * 500000)
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3)))
        wait_for_rows(office, ("webhook", "sent"))
    assert rows(office) == [("webhook", "sent", "1")]


def test_messages_of_an_order_go_out_in_their_order(office, notify, receiver, webhook):
    receiver.answer = in_turn(after(0.4, status(500)), ok)
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 3), event_id=event_id(1)),
                       client.order("cancelled", (1, 3), event_id=event_id(2)))
        wait_for_rows(office, ("webhook", "sent"), ("webhook", "sent"))
    kinds = [json.loads(request.body)["kind"] for request in receiver.requests]
    assert kinds == ["order_confirmation", "order_confirmation", "cancellation_alert"]


def test_a_receiver_that_hangs_holds_no_other_channel_up(office, notify, receiver, webhook):
    receiver.answer = hang
    notify(channels="log,webhook", **{**webhook, "TILLBOX_NOTIFICATION_TIMEOUT_MS": "4000"})
    with Publisher(office) as client:
        client.publish(*(client.order("created", (1, 1), order_id=n + 1) for n in range(20)))
        wait_until(lambda: count(office, "channel = 'log' AND status = 'sent'") == 20, 3)
    assert count(office, "channel = 'webhook' AND status = 'sent'") == 0


@pytest.fixture(scope="session")
def mail_certificates(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("mail") / "authority")
    return authority, authority.issue("127.0.0.1")


def mail_settings(server, authority=None, **settings):
    certificate = {"TILLBOX_SMTP_CA_FILE": str(authority.file)} if authority else {}
    return {"TILLBOX_SMTP_URL": server.url, "TILLBOX_MAIL_FROM": SENDER,
            "TILLBOX_MAIL_DEFAULT_TO": DEFAULT, **certificate, **settings}


def add_contact(office, user_id, address):
    office.query(f"INSERT INTO contacts (user_id, email) VALUES ({user_id}, '{address}')")


def order_of(client, user_id, kind="created", **members):
    event = client.order(kind, (1, 2), **members)
    event["data"]["user_id"] = user_id
    return event


def test_a_mail_goes_to_the_contact_or_to_the_default(office, notify, mail_certificates, tmp_path):
    authority, certificate = mail_certificates
    password = tmp_path / "password"
    password.write_text("mail password\n")
    add_contact(office, 7, "seven@home.example")
    with MailServer(certificate, login=("till", "mail password")) as server:
        service = notify(channels="smtp", TILLBOX_SMTP_USER="till", TILLBOX_CURRENCY="EUR",
                         TILLBOX_SMTP_PASSWORD_FILE=str(password),
                         **mail_settings(server, authority))
        with Publisher(office) as client:
            sale = client.publish(order_of(client, 7, order_id=3))
            wait_for_rows(office, ("smtp", "sent"))
            client.publish(order_of(client, 8, "cancelled", order_id=4))
            wait_for_rows(office, ("smtp", "sent"), ("smtp", "sent"))
        first, second = server.messages
    assert first.recipients == ["seven@home.example"] and second.recipients == [DEFAULT]
    assert (first["From"], first["To"]) == (SENDER, "seven@home.example")
    assert first["Subject"] == "Your order 3"
    assert first["Message-ID"] == f"<{sale['event_id']}.smtp@shop.example>"
    assert abs(first["Date"].datetime.timestamp() - time.time()) < 60
    assert first["Auto-Submitted"] == "auto-generated"
    assert "2 x product 1 at 1.00 EUR" in first.get_content()
    assert second["Subject"] == "Your order 4 was cancelled"
    log = service.log_path.read_text()
    assert "home.example" not in log and "mail password" not in log
    assert "home.example" not in run_notification(office, "list").stdout


def test_a_mail_server_that_refuses_one_recipient_gets_the_others(office, notify,
                                                                  mail_certificates):
    authority, certificate = mail_certificates
    add_contact(office, 7, "seven@home.example")
    add_contact(office, 8, "eight@home.example")
    with MailServer(certificate) as server:
        server.refused["seven@home.example"] = "550 5.1.1 seven@home.example is unknown here"
        service = notify(channels="smtp", **mail_settings(server, authority))
        with Publisher(office) as client:
            client.publish(order_of(client, 7), order_of(client, 8), order_of(client, 9))
            wait_for_rows(office, ("smtp", "failed"), ("smtp", "sent"), ("smtp", "sent"))
    assert sorted(message.recipients[0] for message in server.messages) \
        == ["eight@home.example", DEFAULT]
    failed, = listed(office, "--failed")
    assert "550" in failed["last_error"] and "home.example" not in failed["last_error"]
    assert "home.example" not in service.log_path.read_text()


def test_a_mail_server_that_asks_for_patience_is_tried_again(office, notify, mail_certificates):
    authority, certificate = mail_certificates
    with MailServer(certificate) as server:
        server.refused[DEFAULT] = "451 4.7.1 greylisted"
        notify(channels="smtp", **{**mail_settings(server, authority),
                                   "TILLBOX_NOTIFICATION_RETRY_MS": "1000"})
        with Publisher(office) as client:
            client.publish(order_of(client, 1))
            wait_until(lambda: server.tries == 1)
            server.refused.clear()
            wait_for_rows(office, ("smtp", "sent"))


@pytest.mark.parametrize("kind", ["implicit", "no TLS", "stranger", "plain allowed"])
def test_mails_go_over_tls_unless_it_is_said_otherwise(office, notify, mail_certificates, tmp_path,
                                                       kind):
    authority, certificate = mail_certificates
    stranger = Authority(tmp_path / "stranger")
    is_plain = kind in ("no TLS", "plain allowed")
    plain = {"TILLBOX_SMTP_ALLOW_PLAIN": "yes"} if kind == "plain allowed" else {}
    with MailServer(None if is_plain else certificate, implicit=kind == "implicit") as server:
        notify(channels="smtp",
               **mail_settings(server, stranger if kind == "stranger" else authority, **plain))
        with Publisher(office) as client:
            client.publish(order_of(client, 1))
            may_pass = kind in ("implicit", "plain allowed")
            wait_for_rows(office, ("smtp", "sent" if may_pass else "failed"))
    assert len(server.messages) == may_pass


def test_without_contact_and_default_a_mail_fails_at_once(office, notify, mail_certificates):
    authority, certificate = mail_certificates
    with MailServer(certificate) as server:
        settings = mail_settings(server, authority)
        del settings["TILLBOX_MAIL_DEFAULT_TO"]
        notify(channels="smtp", **settings)
        with Publisher(office) as client:
            client.publish(order_of(client, 1))
            wait_for_rows(office, ("smtp", "failed"))
    assert rows(office) == [("smtp", "failed", "1")]


@pytest.mark.parametrize("address", ["a@b@c", "a b@c.example",
                                     "a@c.example>\r\nBcc: x@y.example"])
def test_contacts_take_addresses_only(office, address):
    with pytest.raises(Exception):
        add_contact(office, 1, address)


def test_templates_of_ones_own(office, notify, mail_certificates, tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "order_confirmation.txt").write_text(
        "Subject: D\u00fcrfen wir {order_id} \u2713 \u2013 auf Wiedersehen im Laden {location} \u263a\n\n"
        "{{{user_id}}} {items}\n")
    (folder / "cancellation_alert.txt").write_text("Subject: x\n\n{order_id} {total}\n")
    authority, certificate = mail_certificates
    with MailServer(certificate) as server:
        notify(channels="smtp", TILLBOX_TEMPLATES_DIR=str(folder),
               **mail_settings(server, authority))
        with Publisher(office) as client:
            client.publish(order_of(client, 5, order_id=2))
            wait_for_rows(office, ("smtp", "sent"))
    message, = server.messages
    assert message["Subject"] == \
        "D\u00fcrfen wir 2 \u2713 \u2013 auf Wiedersehen im Laden harbour \u263a"
    assert message.get_content() == "{5} 2 x product 1 at 1.00 EUR\n"
    assert max(len(line) for line in message.raw.split(b"\r\n")) <= 78


@pytest.mark.parametrize("text, fault", [
    ("Subject: {order}\n\n{order_id}\n", "{order}"), ("Subject: x\n\nno field\n", "{order_id}"),
    ("Subject: x\n\n{order_id\n", "alone"), ("{order_id}\n", "Subject"),
    ("Subject: {items}\n\n{order_id}\n", "subject"), (None, "can't open")])
def test_a_bad_template_stops_the_start(tmp_path, text, fault):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "cancellation_alert.txt").write_text("Subject: x\n\n{order_id}\n")
    if text:
        (folder / "order_confirmation.txt").write_text(text)
    done = run_bridge("notification", "--templates-dir", folder)
    assert done.returncode == 2
    assert fault in done.stderr and "order_confirmation" in done.stderr


@pytest.mark.parametrize("settings, named", [
    (("--notification-channels", "fax"), "notification-channels"),
    (("--notification-channels", "webhook"), "webhook-url"),
    (("--notification-channels", "webhook"), "webhook-secret-file"),
    (("--notification-channels", "webhook", "--webhook-url", "ftp://x/"), "webhook-url"),
    (("--notification-channels", "smtp"), "smtp-url"),
    (("--notification-channels", "smtp", "--smtp-url", "smtp://u:p@x"), "smtp-url"),
    (("--notification-channels", "smtp", "--mail-from", "a@b\nBcc: c@d"), "mail-from"),
    (("--currency", "eur"), "currency")])
def test_settings_that_cannot_work_stop_the_start(settings, named):
    done = run_bridge("notification", *settings)
    assert done.returncode == 2 and named in done.stderr.replace("_", "-")


def test_three_replicas_tell_each_event_once(office, notify, receiver, webhook):
    for _ in range(3):
        notify(channels="log,webhook", **webhook)
    with Publisher(office) as client:
        client.publish(*(client.order("created", (1, 1), order_id=n + 1) for n in range(MANY)))
        wait_until(lambda: count(office, "status = 'sent'") == 2 * MANY, 20)
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert len(keys) == len(set(keys)) == MANY


def test_what_a_killed_sender_had_is_sent_by_another(office, notify, receiver, webhook):
    receiver.answer = hang
    slow = {**webhook, "TILLBOX_NOTIFICATION_TIMEOUT_MS": "20000"}
    service = notify(channels="webhook", **slow)
    with Publisher(office) as client:
        client.publish(*(client.order("created", (1, 1), order_id=n + 1) for n in range(MANY)))
        wait_until(lambda: len(receiver.requests) >= 2)
        service.kill()
        # The claims of a time-out of 20 s would last 25 s: shorten them as time would.
        receiver.answer = ok
        office.query("UPDATE notifications SET due_at = now() WHERE status = 'sending'")
        notify(channels="webhook", **webhook)
        wait_until(lambda: count(office, "status = 'sent'") == MANY, 20)
    keys = {request.headers["idempotency-key"] for request in receiver.requests}
    assert len(keys) == MANY == count(office, "true")


def test_a_claim_runs_out_by_itself(office, notify, receiver, webhook):
    receiver.answer = hang
    service = notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 1)))
        wait_until(lambda: receiver.requests)
        service.kill()
    receiver.answer = ok
    notify(channels="webhook", **webhook)
    wait_for_rows(office, ("webhook", "sent"), seconds=15)


def test_killed_again_and_again_it_loses_and_doubles_nothing_but_the_tries_under_way(
        office, notify, receiver, webhook):
    receiver.answer = after(0.01, ok)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        service = notify(channels="log,webhook", **webhook)

        def publish():
            with Publisher(office) as client:
                for number in range(2 * MANY):
                    client.publish(client.order("created", (1, 1), order_id=number + 1))
        publishing = pool.submit(publish)
        for _ in range(3):
            seen = len(receiver.requests)
            wait_until(lambda: len(receiver.requests) > seen)
            service.kill()
            office.query("UPDATE notifications SET due_at = now() WHERE status = 'sending'")
            service = notify(channels="log,webhook", **webhook)
        publishing.result()
    wait_until(lambda: count(office, "status = 'sent'") == 4 * MANY, 30)
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert len(set(keys)) == 2 * MANY
    assert len(keys) <= 2 * MANY + 3 * THREADS


def test_without_the_database_it_waits_and_then_goes_on(office, notify, receiver, webhook, servers):
    service = notify(channels="webhook", **webhook)
    servers.postgres.stop("immediate")
    try:
        with Publisher(office) as client:
            client.publish(*(client.order("created", (1, 1), order_id=n + 1) for n in range(9)))
            wait_until(lambda: service.get("/readyz").status == 503)
            assert service.get("/healthz").status == 200
    finally:
        servers.postgres.start()
    wait_until(lambda: count(office, "status = 'sent'") == 9, 30)
    assert office.queue_length("order.failed") == 0
    assert len(receiver.requests) == 9


def test_a_message_that_was_sent_is_not_sent_again_though_the_database_went_away(
        office, notify, receiver, webhook, servers):
    stopped = threading.Event()

    def answer(_):
        servers.postgres.stop("immediate")
        stopped.set()
        return raw_answer(204)
    receiver.answer = answer
    notify(channels="webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 1)))
        assert stopped.wait(10)
    receiver.answer = ok
    servers.revive()
    wait_for_rows(office, ("webhook", "sent"), seconds=30)
    assert len(receiver.requests) == 1


def test_it_needs_no_more_than_its_own_role(office, notify, receiver, webhook, servers):
    login = f"teller_{uuid.uuid4().hex[:8]}"
    office.query(f"SELECT tillbox_add_login('{login}', 'tillbox_notification', NULL)")
    try:
        notify(channels="log,webhook", TILLBOX_POSTGRES_URL=office.postgres_url.replace(
            "postgres@", login + "@"), **webhook)
        with Publisher(office) as client:
            client.publish(client.order("created", (1, 1)))
            wait_for_rows(office, ("log", "sent"), ("webhook", "sent"))
    finally:
        office.query(f"DROP OWNED BY {login}")
        office.query(f"DROP ROLE {login}")


def test_status_and_metrics_say_how_each_channel_does(office, notify, receiver, webhook):
    receiver.answer = status(500)
    service = notify(channels="log,webhook", **webhook)
    with Publisher(office) as client:
        client.publish(client.order("created", (1, 1)))
        wait_for_rows(office, ("log", "sent"), ("webhook", "failed"))
    channels = service.status()["channels"]
    assert channels["log"]["sent"] == 1
    assert (channels["webhook"]["retried"], channels["webhook"]["given_up"]) == (2, 1)
    wait_until(lambda: service.status()["channels"]["webhook"]["failed"] == 1)
    assert service.metric('tillbox_notifications_sent_total{channel="log"}') == 1
    assert service.metric('tillbox_notifications_waiting{channel="log"}') == 0
    assert service.get("/readyz").status == 200 and service.get("/livez").status == 200
    assert service.peak_kib() <= RESIDENT_KIB_MAX
