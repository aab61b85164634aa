"""Recognisable secrets are planted in every place that takes one, and must come out nowhere: not in
logs, messages, answers, arguments, environment, or what a dump of the memory holds."""

import os
import pathlib
import re
import subprocess
import tempfile

import pytest

from bridge import BRIDGE
from bridge import run_bridge
from box import APPLIANCE
from box import run_command
from ports import free_port

TOKEN = "planted-token-7f3a9c51"
DATABASE = "planted-database-password-2b8e"
BROKER = "planted-broker-password-c04d"
PLANTED = re.compile(rb"planted-[a-z-]*-?[0-9a-f]{4,}|planted-")
# as they come in a URL: whole, and with what a URL would have to encode
IN_URL = ["planted-x", "planted-p@ss", "planted-a/b", "planted-a:b@c", "planted-100%", "planted a"]


@pytest.fixture
def secret_file(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path
    return write


def leaks(*texts):
    """The planted secrets that occur in any of these."""
    found = set()
    for text in texts:
        data = text if isinstance(text, bytes) else str(text).encode()
        found.update(PLANTED.findall(data))
    return found


def outside_view(process):
    """What others see of a process without looking into its memory."""
    folder = pathlib.Path(f"/proc/{process.pid}")
    return [(folder / name).read_bytes() for name in ("cmdline", "environ", "status", "comm")]


def dump(process, folder):
    """What a tool of root's would write down of the memory."""
    core = folder / f"core.{process.pid}"
    done = subprocess.run(["gcore", "-o", folder / "core", str(process.pid)], capture_output=True,
                          text=True, check=False)
    assert core.exists(), done.stdout + done.stderr
    return core.read_bytes()


@pytest.fixture
def box(make_box, secret_file):
    return make_box("--api-token-file", secret_file("token", TOKEN), "--log-level", "debug")


@pytest.fixture
def settings(secret_file):
    """Of a head office that nobody is at."""
    nowhere = free_port()
    return {"TILLBOX_POSTGRES_URL": f"postgresql://till@127.0.0.1:{nowhere}/tillbox",
            "TILLBOX_POSTGRES_PASSWORD_FILE": str(secret_file("database", DATABASE)),
            "TILLBOX_AMQP_URL": f"amqp://till@127.0.0.1:{nowhere}/",
            "TILLBOX_AMQP_PASSWORD_FILE": str(secret_file("broker", BROKER))}


@pytest.mark.dump
def test_the_box_keeps_its_token(box, tmp_path):
    answers = [box.orders("GET", path, headers={"Authorization": f"Bearer {token}"}).body
               for path in ("/orders", "/status", "/metrics", "/healthz", "/nowhere")
               for token in (TOKEN, TOKEN + "x", "")]
    answers.append(box.orders("POST", f"/orders?{TOKEN}", "{", headers={TOKEN: TOKEN}).body)
    assert box.orders("GET", "/orders", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    core = dump(box.process, tmp_path)
    assert leaks(*answers, *outside_view(box.process), core, box.log_path.read_bytes()) == set()


def test_the_bridge_keeps_its_passwords(box, make_bridge, settings, tmp_path, office):
    bridge = make_bridge(box.data_dir, office, "--log-level", "debug", **settings)
    bridge.wait_for_sink("postgres", state="down")
    bridge.wait_for_sink("rabbitmq", state="down")
    answers = [bridge.get(path).body for path in ("/status", "/metrics", "/healthz", "/nowhere")]
    printed = run_bridge("status", "--json", "--data-dir", box.data_dir, environment=settings)
    core = dump(bridge.process, tmp_path)
    assert leaks(*answers, *outside_view(bridge.process), core, printed,
                 bridge.log_path.read_bytes(), (box.data_dir / "bridge.db").read_bytes()) == set()


def test_the_bridge_keeps_passwords_that_are_wrong(box, make_bridge, office, secret_file):
    wrong = str(secret_file("wrong", BROKER))
    office.query(f"CREATE ROLE till_{office.name} LOGIN CONNECTION LIMIT 0")  # refuses it
    database = office.postgres_url.replace("postgres@", f"till_{office.name}@")
    broker = office.amqp_url.replace(":tillbox-test@", "@")
    bridge = make_bridge(box.data_dir, office, "--log-level", "debug",
                         TILLBOX_POSTGRES_URL=database, TILLBOX_POSTGRES_PASSWORD_FILE=wrong,
                         TILLBOX_AMQP_URL=broker, TILLBOX_AMQP_PASSWORD_FILE=wrong)
    errors = [bridge.wait_for_sink(name, state="down")["last_error"]
              for name in ("postgres", "rabbitmq")]
    assert "too many connections" in errors[0] and "ACCESS_REFUSED" in errors[1], errors
    assert leaks(*errors, bridge.log_path.read_bytes()) == set()


@pytest.mark.parametrize("password", IN_URL)
def test_a_url_with_a_password_is_never_quoted(password, box, make_bridge, office):
    """Right, or written so that no library can read it."""
    nowhere = free_port()
    bridge = make_bridge(
        box.data_dir, office, "--log-level", "debug",
        TILLBOX_POSTGRES_URL=f"postgresql://till:{password}@127.0.0.1:{nowhere}/tillbox",
        TILLBOX_AMQP_URL=f"amqp://till:{password}@127.0.0.1:{nowhere}/")
    errors = [bridge.wait_for_sink(name, state="down")["last_error"]
              for name in ("postgres", "rabbitmq")]
    log = bridge.log_path.read_bytes()
    assert leaks(*errors, bridge.get("/status").body, log) == set()
    exposed = {line["option"] for line in bridge.log_events("settings.exposed")}
    assert "amqp_url" in exposed, log


@pytest.mark.parametrize("flag", ["--postgres-url=postgresql://till:{}@h/d",
                                  "--amqp-url=amqp://till:{}@h/"])
def test_a_password_among_the_arguments_is_refused(flag):
    done = run_bridge("run", flag.format(BROKER))
    assert done.returncode == 2 and "command line" in done.stderr
    assert leaks(done.stdout, done.stderr) == set()


def test_settings_that_are_wrong_are_told_without_the_secret(secret_file, tmp_path):
    short = secret_file("short", "planted-2b8e")
    two_lines = secret_file("lines", f"{TOKEN}\n{TOKEN}")
    for arguments in (("--api-token-file", short), ("--api-token-file", two_lines)):
        done = run_command("serve", "--data-dir", tmp_path / "var", *arguments)
        assert done.returncode == 2
        assert leaks(done.stdout, done.stderr) == set()
    done = run_bridge("run", "--amqp-password-file", two_lines)
    assert done.returncode == 2 and leaks(done.stdout, done.stderr) == set()


def test_help_and_settings_show_none(settings, secret_file):
    for program in (APPLIANCE, BRIDGE):
        for word in ("--help", "print-config", "version"):
            done = subprocess.run([program, word], capture_output=True, check=True,
                                  env={**settings, "TILLBOX_API_TOKEN_FILE":
                                       str(secret_file("token", TOKEN))})
            assert leaks(done.stdout, done.stderr) == set()


def can_look_into(box):
    """Can another process of the same user?"""
    owner = pathlib.Path(f"/proc/{box.process.pid}/environ").stat()
    own = subprocess.run(["stat", "-c", "%u", box.data_dir / "journal.db"], capture_output=True,
                         text=True, check=True).stdout.strip()
    return str(owner.st_uid) == own


@pytest.fixture
def as_a_user(tmp_path):
    """The beginning of a command that is run as somebody who isn't root."""
    folder = tmp_path
    while folder != folder.parent and folder != pathlib.Path(tempfile.gettempdir()):
        folder.chmod(0o777 if folder == tmp_path else 0o755)
        folder = folder.parent
    return ("setpriv", "--reuid=65534", "--clear-groups") if os.geteuid() == 0 else ()


def test_no_other_process_of_its_user_looks_in_and_no_core_is_written(make_box, secret_file,
                                                                    as_a_user):
    """The kernel gives a process that isn't to be dumped to root (proc(5))."""
    token = secret_file("token", TOKEN)
    os.chown(token, 65534 if os.geteuid() == 0 else -1, -1)
    assert not can_look_into(make_box("--api-token-file", token, prefix=as_a_user))
    assert can_look_into(make_box(name="without", prefix=as_a_user))


def test_a_service_tells_of_a_password_that_others_may_read(office, make_inventory, secret_file):
    path = secret_file("database-password", DATABASE)
    path.chmod(0o644)
    service = make_inventory(office, TILLBOX_POSTGRES_PASSWORD_FILE=str(path))
    assert str(path) in [line.get("file") for line in service.log_events("settings.exposed")]


@pytest.mark.dump
def test_this_test_would_see_a_leak(make_box, tmp_path):
    """A box that has no secret can be looked into: a dump shows what it was sent."""
    box = make_box()
    box.add_product(name=TOKEN)
    assert leaks(dump(box.process, tmp_path)) != set()
