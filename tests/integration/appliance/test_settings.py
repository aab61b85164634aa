"""Where settings come from, and that wrong ones stop the start and are all named."""

import http.client
import json
import os

import pytest

from box import Wire
from box import run_command

TOKEN = "0123456789abcdef"
LOOPBACK = ["--orders-listen", "127.0.0.1:0", "--inventory-listen", "127.0.0.1:0"]
EVERYWHERE = ["--orders-listen", "0.0.0.0:0"]


@pytest.fixture
def refuse(tmp_path):
    """Runs `appliance serve` with what must be refused, and returns what it says."""
    def serve(*arguments, environment=None):
        done = run_command("serve", "--data-dir", tmp_path / "var", *LOOPBACK, *arguments,
                           env={**os.environ, **(environment or {})})
        assert (done.returncode, done.stdout) == (2, "")
        assert not (tmp_path / "var").exists(), "it touched the data folder"
        return done.stderr

    return serve


@pytest.fixture
def config(tmp_path):
    def write(*lines):
        path = tmp_path / "appliance.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def token_file(tmp_path):
    def write(content, mode=0o600):
        path = tmp_path / "token"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


def test_flag_beats_variable_beats_file_beats_default(make_box, config):
    file = config("# a comment", "", "location = from-file", "device_id = box-1")
    box = make_box(start=False)
    steps = [((), {}, "box-1"),
             (("--config", file), {}, "from-file"),
             (("--config", file), {"TILLBOX_LOCATION": "from-variable"}, "from-variable"),
             (("--config", file), {"TILLBOX_LOCATION": ""}, "from-file"),
             (("--config", file, "--location", "from-flag"),
              {"TILLBOX_LOCATION": "from-variable"}, "from-flag"),
             (("--config", file, "--location=from-a", "--location=from-b"), {}, "from-b"),
             ((), {"TILLBOX_CONFIG": str(file)}, "from-file")]
    for number, (arguments, environment, location) in enumerate(steps):
        box.arguments = arguments if number else ("--device-id", "box-1")
        box.environment = environment
        box.start()
        assert (box.status()["location"], box.status()["device_id"]) == (location, "box-1")
        assert box.stop() == 0


def test_a_box_has_a_name_of_its_own_that_stays(make_box):
    box = make_box()
    status = box.status()
    assert status["device_id"].startswith("box-")
    assert status["location"] == status["device_id"]
    box.stop()
    box.start()
    assert box.status()["device_id"] == status["device_id"]


def test_another_device_id_for_the_same_journal_is_refused(make_box):
    box = make_box("--device-id", "box-1")
    box.add_product()
    assert box.stop() == 0
    box.arguments = ("--device-id", "box-2")
    with pytest.raises(RuntimeError):
        box.start()
    assert box.process.returncode == 1
    error = box.log_events("appliance.start_failed")[0]["error"]
    assert "box-1" in error and "box-2" in error


def test_the_names_travel_in_every_event(make_box):
    box = make_box("--device-id", "box-1", "--location", "shop-7")
    box.add_product()
    event = json.loads(box.query("SELECT payload FROM events")[0][0])
    assert (event["device_id"], event["location"]) == ("box-1", "shop-7")


def test_all_errors_are_named_at_once_each_with_its_place(refuse, config):
    file = config("[section]", "no equals sign", "orders_lisen = 127.0.0.1:1", "log_level = loud",
                  "idempotency_hours = 0", "idempotency_hours = 5", "config = x", "json = true")
    text = refuse("--config", file, "--disk-reserve-mb", "much", "--orders-listen", "somewhere",
                  "--device-id", "a b", "--nonsense",
                  environment={"TILLBOX_ALLOW_ANONYMOUS": "perhaps", "TILLBOX_LOCATION": "x" * 65})
    lines = text.splitlines()
    for place, about in [("line 1", "section"), ("line 2", "key = value"),
                         ("line 3", 'did you mean "orders_listen"'), ("line 4", "loud"),
                         ("line 5", "idempotency_hours"), ("line 6", "idempotency_hours"),
                         ("line 7", "config"), ("line 8", "json"),
                         ("--disk-reserve-mb", "much"), ("--orders-listen", "somewhere"),
                         ("--device-id", "letters"), ("--nonsense", "unknown"),
                         ("TILLBOX_ALLOW_ANONYMOUS", "perhaps"), ("TILLBOX_LOCATION", "64")]:
        assert any(place in line and about in line for line in lines), (place, about, text)


@pytest.mark.parametrize("option, value", [
    ("--orders-listen", "127.0.0.1"), ("--orders-listen", ":8081"), ("--orders-listen", "host:1"),
    ("--orders-listen", "127.0.0.1:65536"), ("--orders-listen", "127.0.0.1:x"),
    ("--orders-listen", "::1:8081"), ("--orders-listen", ""), ("--orders-listen", "127.0.0.1:-1"),
    ("--idempotency-hours", "0"), ("--idempotency-hours", "8761"), ("--idempotency-hours", "1.5"),
    ("--idempotency-hours", "9" * 30), ("--disk-reserve-mb", "-1"), ("--log-level", "trace"),
    ("--allow-anonymous=maybe", None), ("--allowed-hosts", "a,,b"), ("--device-id", "x" * 65),
    ("--device-id", "a/b"), ("--location", "ä"), ("--location", "tab\there"),
    ("--config", "/nowhere/appliance.conf"), ("--data-dir", ""),
])
def test_a_wrong_value_is_refused_and_named(refuse, option, value):
    text = refuse(*([option] if value is None else [option, value]))
    assert option.split("=")[0] in text


def test_an_address_that_others_reach_needs_a_token(refuse):
    for option in ("--orders-listen", "--inventory-listen"):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
            text = refuse(option, address)
            assert option in text and "api_token_file" in text


def test_loopback_in_any_spelling_needs_none(make_box):
    for address in ("127.0.0.2:0", "localhost:0"):
        box = make_box("--orders-listen", address, name=address.replace(":", "-"))
        assert box.log_events("settings.anonymous") == []


def test_anonymous_access_must_be_asked_for_and_is_warned_of(make_box):
    box = make_box(*EVERYWHERE, "--allow-anonymous")
    warning, = box.log_events("settings.anonymous")
    assert (warning["level"], warning["option"]) == ("warn", "orders_listen")
    box.add_product()
    assert box.sell().status == 201


def test_with_a_token_any_address_may_be_listened_on(make_box, token_file):
    box = make_box(*EVERYWHERE, "--api-token-file", token_file(TOKEN + "\n"))
    assert box.orders("GET", "/status").status == 401
    answer = box.orders("GET", "/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200
    assert box.log_events("settings.exposed") == []


@pytest.mark.parametrize("content, about", [
    ("", "empty"), ("\n", "empty"), (TOKEN[:-1], "fewer than 16"), ("x" * 513, "longer"),
    (TOKEN + "\n" + TOKEN + "\n", "line"), (TOKEN + "\0", "NUL"),
])
def test_a_token_that_is_none_is_refused(refuse, token_file, content, about):
    text = refuse("--api-token-file", token_file(content))
    assert "--api-token-file" in text and about in text
    assert TOKEN[:-1] not in text and "x" * 20 not in text, "it shows the secret"


def test_a_token_file_that_is_not_there_is_refused(refuse, tmp_path):
    assert str(tmp_path / "token") in refuse("--api-token-file", tmp_path / "token")
    assert "--api-token-file" in refuse("--api-token-file", tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_may_read_is_warned_of(make_box, token_file, mode):
    file = token_file(TOKEN, mode)
    box = make_box("--api-token-file", file)
    warning, = box.log_events("settings.exposed")
    assert (warning["level"], warning["file"]) == ("warn", str(file))


def test_the_token_never_shows_up(make_box, token_file):
    box = make_box("--api-token-file", token_file(TOKEN), "--log-level", "debug")
    for authorization in (f"Bearer {TOKEN}", f"Bearer {TOKEN}x", f"Basic {TOKEN}"):
        with Wire(box.orders_port) as wire:
            wire.request("GET", "/status", headers=[("Authorization", authorization)])
            answers = [wire.request("GET", path, headers=[("Authorization", f"Bearer {TOKEN}")])
                       for path in ("/status", "/metrics", "/healthz", "/nowhere")]
        assert all(TOKEN not in answer.text for answer in answers)
    assert box.stop() == 0
    assert TOKEN not in box.log_path.read_text()


@pytest.mark.parametrize("level, shown", [("debug", True), ("info", False)])
def test_the_log_level_is_kept_to(make_box, level, shown):
    box = make_box("--log-level", level)
    with Wire(box.orders_port) as wire:
        wire.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n")
        wire.socket.recv(1 << 16)
    assert box.stop() == 0
    assert shown == any(line["level"] == "debug" for line in box.log_lines())


def test_an_ipv6_address_works(make_box):
    box = make_box("--orders-listen", "[::1]:0")
    connection = http.client.HTTPConnection("::1", box.orders_port, timeout=20)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()
