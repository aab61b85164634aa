"""Head office and a box in containers: from the three calls to the mail, through every restart."""

import json
import os
import re
import subprocess

import pytest
import yaml

from stack import OURS
from stack import PROFILES
from stack import ROOT
from stack import SERVERS
from stack import Stack
from stack import wait_until

IMAGE_BYTES_MAX = 120 * 1000 * 1000
UP_SECONDS = 240


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """All of it, up; nothing of it is there afterwards."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        running.compose("up", "-d", "--no-build", timeout=UP_SECONDS)
        running.wait_for_health(*SERVERS, *OURS)
        yield running
    finally:
        for service in OURS + SERVERS:
            print(running.compose("logs", "--no-color", "--tail", "40", service, check=False).stdout)
        running.compose("down", "-v", "-t", "5", profiles=PROFILES, check=False)


def flows(stack, seconds=60):
    """A sale at the box changes the stock at head office."""
    before = wait_until(lambda: stack.central_stock() is not None and [stack.central_stock()])[0]
    stack.sell()
    wait_until(lambda: stack.central_stock() == before - 1, seconds, "the sale at head office")


def test_the_three_calls_go_all_the_way(stack):
    status, body = stack.curl("TILLBOX_INVENTORY_PORT", "/products", "--location", "--request",
                              "POST", "--header", "Content-Type: application/json", "--data-raw",
                              '{"product_name": "iPhone", "stock": 50}')
    assert status == 201, body
    order = stack.sell()
    wait_until(lambda: stack.central_stock() == 49, what="the sale at head office")
    status, body = stack.curl("TILLBOX_ORDERS_PORT", f"/orders/{order['id']}/cancel", "-X", "POST")
    assert (status, json.loads(body)["status"]) == (200, "cancelled")
    wait_until(lambda: stack.central_stock() == 50, what="the stock of before")
    wait_until(lambda: stack.query("SELECT event_type FROM event_logs ORDER BY sequence") == [
        ["product.created"], ["order.created"], ["order.cancelled"]], what="all events")
    assert stack.query("SELECT status FROM orders") == [["cancelled"]]


def test_the_customer_gets_a_confirmation_and_an_alert(stack):
    wait_until(lambda: stack.query("SELECT DISTINCT status, count(*) FROM notifications GROUP BY 1")
               == [["sent", "4"]], what="two messages by two channels")
    mail = json.loads(stack.curl("TILLBOX_MAIL_PORT", "/api/v1/messages")[1])
    assert mail["total"] == 2 and all(
        message["To"][0]["Address"] == "customer@tillbox.example" for message in mail["messages"])


def test_the_image_is_small_and_says_what_it_is(stack):
    image = json.loads(stack.docker("image", "inspect", "tillbox:latest"))[0]
    print(f"the image has {image['Size'] / 1e6:.1f} MB")
    assert image["Size"] <= IMAGE_BYTES_MAX
    assert image["Config"]["User"] == "10001:10001" and image["Config"]["Healthcheck"]
    assert image["Config"]["Labels"]["org.opencontainers.image.version"] == (
        (ROOT / "VERSION").read_text().strip())
    for program in ("appliance", "bridge"):
        assert program in stack.docker("run", "--rm", "--network=none", "--read-only",
                                       "tillbox:latest", program, "version")


@pytest.mark.parametrize("service", OURS)
def test_a_container_can_do_little(service, stack):
    about = stack.inspect(service)
    host = about["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    for line in stack.docker("exec", about["Id"], "cat", "/proc/1/status").splitlines():
        if line.startswith(("Uid", "Gid")):
            assert line.split()[1:] == ["10001"] * 4
        if line.startswith("CapEff"):
            assert int(line.split()[1], 16) == 0
    assert "Read-only" in subprocess.run(
        ["docker", "exec", about["Id"], "touch", "/usr/bin/x"], env=stack.environment,
        capture_output=True, text=True, check=False).stderr


def test_nothing_is_published_beyond_loopback(stack):
    config = yaml.safe_load(stack.compose("config", profiles=PROFILES).stdout)
    published = [str(port) for service in config["services"].values()
                 for port in service.get("ports", [])]
    assert len(published) == 11 and all("127.0.0.1" in port for port in published)
    for service in OURS + SERVERS + ("mail",):
        ports = stack.inspect(service)["NetworkSettings"]["Ports"]
        assert all(binding["HostIp"] == "127.0.0.1" for bindings in ports.values()
                   for binding in bindings or [])


@pytest.mark.parametrize("profiles", [(), *[(profile,) for profile in PROFILES], PROFILES])
def test_every_choice_of_profiles_is_valid(profiles, stack):
    config = yaml.safe_load(stack.compose("config", profiles=profiles).stdout)
    assert {"postgres", "rabbitmq", "inventory", "notification"} <= set(config["services"])


def secrets_of(stack):
    return {path: path.read_text().strip() for path in stack.folder.glob("secrets/*/*")
            if path.suffix != ".json"}


def test_secrets_stay_in_their_files(stack):
    secrets = secrets_of(stack)
    assert len(set(secrets.values())) == len(secrets) >= 12
    assert (stack.folder / "secrets").stat().st_mode & 0o077 == 0
    told = stack.compose("config", profiles=PROFILES).stdout + stack.compose("logs").stdout
    told += "".join(json.dumps(stack.inspect(service)) for service in OURS + SERVERS)
    told += stack.docker("exec", stack.container("inventory"), "sh", "-c",
                         "cat /proc/1/environ /proc/1/cmdline | tr '\\0' ' '")
    assert told and not [path for path, secret in secrets.items() if secret in told]


def test_a_service_sees_no_other_ones_secrets(stack):
    seen = stack.docker("exec", stack.container("inventory"), "ls", "/run/secrets").split()
    assert seen == ["amqp_password", "postgres_password"]


def test_there_is_no_guest(stack):
    users = stack.compose("exec", "-T", "rabbitmq", "rabbitmqctl", "-q", "list_users").stdout
    assert re.findall(r"^(\S+)\t", users, re.MULTILINE) and "guest" not in users


def test_a_second_up_changes_nothing(stack):
    before = {service: stack.container(service) for service in OURS + SERVERS}, secrets_of(stack)
    stack.compose("up", "-d", "--no-build", timeout=UP_SECONDS)
    assert ({service: stack.container(service) for service in OURS + SERVERS},
            secrets_of(stack)) == before


@pytest.mark.parametrize("service", OURS + SERVERS)
def test_a_killed_container_loses_nothing(service, stack):
    if service != "appliance":
        stack.compose("kill", service)
        stack.sell()
    else:
        stack.compose("kill", service)
    stack.compose("start", service)
    stack.wait_for_health(service)
    wait_until(lambda: unsettled(stack) == 0, 90, "every event at head office")
    flows(stack)


def unsettled(stack):
    """How many events of the box head office's stock has not had."""
    _, body = stack.curl("TILLBOX_STATUS_PORT", "/status")
    sinks = {sink["name"]: sink for sink in json.loads(body or "{}").get("sinks", [])}
    applied = stack.query("SELECT count(DISTINCT event_id) FROM stock_logs")
    return sinks["postgres"]["cursor"] - int(applied[0][0]) if "postgres" in sinks else -1


def test_the_box_sells_while_all_of_head_office_is_away(stack):
    away = ("inventory", "notification", "rabbitmq", "postgres")
    stack.compose("stop", "-t", "10", *away)
    for _ in range(5):
        stack.sell()
    assert stack.curl("TILLBOX_ORDERS_PORT", "/readyz")[0] == 200
    stack.compose("start", *reversed(away))
    wait_until(lambda: stack.health("postgres") == "healthy" and unsettled(stack) == 0, 120,
               "every sale at head office")


def test_a_box_is_added_by_the_script(stack):
    docker = f"docker-compose -f {stack.folder}/docker-compose.yml exec -T"
    done = subprocess.run(
        [stack.folder / "tools" / "add-box.sh", "shop-2", stack.folder / "shop-2"],
        cwd=stack.folder, capture_output=True, text=True, check=False,
        env={**stack.environment, "PSQL": f"{docker} postgres psql -U postgres tillbox",
             "RABBITMQCTL": f"{docker} rabbitmq rabbitmqctl"})
    assert done.returncode == 0, done
    password = (stack.folder / "shop-2" / "postgres_password").read_text().strip()
    url = f"postgresql://box-shop-2@localhost:{stack.ports['TILLBOX_POSTGRES_PORT']}/tillbox"
    for given, answer in ((password, "shop-2"), ("wrong", "")):
        asked = subprocess.run(["psql", "-XAt", url, "-c", "SELECT tillbox_own_device()"],
                               capture_output=True, text=True, check=False,
                               env={**os.environ, "PGPASSWORD": given})
        assert asked.stdout.strip() == answer, asked


def test_prometheus_sees_everyone_and_nothing_is_wrong(stack):
    stack.compose("up", "-d", "--no-build", "prometheus", profiles=PROFILES, timeout=UP_SECONDS)

    def ask(path):
        status, body = stack.curl("TILLBOX_PROMETHEUS_PORT", path)
        return json.loads(body)["data"] if status == 200 else {}

    def jobs():
        return {target["labels"]["job"]: target["health"]
                for target in ask("/api/v1/targets").get("activeTargets", [])}
    wanted = {"appliance", "bridge", "inventory", "notification", "rabbitmq"}
    wait_until(lambda: jobs() == dict.fromkeys(wanted, "up"), 60, f"all targets, {jobs()}")
    queues = ask("/api/v1/query?query=rabbitmq_detailed_queue_messages")["result"]
    assert "order.failed" in {row["metric"]["queue"] for row in queues}
    assert len(ask("/api/v1/rules")["groups"][0]["rules"]) >= 10
    assert ask("/api/v1/alerts")["alerts"] == []
