"""docker-compose.yml in a folder of its own, with docker-compose as an operator uses it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/integration/support"))

from ports import free_port  # noqa: E402

PROFILES = ("box", "mail", "observe")
PORTS = {"TILLBOX_ORDERS_PORT": 8081, "TILLBOX_INVENTORY_PORT": 8082, "TILLBOX_STATUS_PORT": 8083,
         "TILLBOX_CENTRAL_INVENTORY_PORT": 8092, "TILLBOX_NOTIFICATION_PORT": 8093,
         "TILLBOX_POSTGRES_PORT": 15432, "TILLBOX_AMQP_PORT": 5672,
         "TILLBOX_MANAGEMENT_PORT": 15672, "TILLBOX_MAIL_PORT": 8025,
         "TILLBOX_PROMETHEUS_PORT": 9090, "TILLBOX_GRAFANA_PORT": 3000}
OURS = ("appliance", "bridge", "inventory", "notification")
SERVERS = ("postgres", "rabbitmq")


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def wait_until(condition, seconds=30, what="the condition"):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} didn't come within {seconds} s"
        time.sleep(0.2)
    return value


class Stack:
    """The default ports, so that the calls of the documents work as they stand; where something of
    this machine has one, another."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for part in ("docker-compose.yml", "Dockerfile", ".env.mail"):
            shutil.copy(ROOT / part, self.folder)
        for part in ("firmware-config", "tools"):
            shutil.copytree(ROOT / part, self.folder / part)
        self.ports = {name: port if is_free(port) else free_port() for name, port in PORTS.items()}
        self.environment = {**os.environ, **{name: str(port) for name, port in self.ports.items()},
                            "COMPOSE_PROJECT_NAME": "tillbox-test"}

    def compose(self, *arguments, check=True, profiles=("box", "mail"), **options):
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        done = subprocess.run(["docker-compose", "--env-file", ".env.mail", *chosen, *arguments],
                              cwd=self.folder, env=self.environment, capture_output=True, text=True,
                              check=False, **options)
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def docker(self, *arguments, check=True):
        done = subprocess.run(["docker", *arguments], env=self.environment, capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def container(self, service):
        """None while it has none."""
        return self.compose("ps", "-q", service, profiles=PROFILES).stdout.strip() or None

    def inspect(self, service):
        return json.loads(self.docker("inspect", self.container(service)))[0]

    def health(self, service):
        return self.inspect(service)["State"].get("Health", {}).get("Status")

    def wait_for_health(self, *services, seconds=90):
        for service in services:
            wait_until(lambda name=service: self.health(name) == "healthy", seconds,
                       f"a healthy {service}")

    def query(self, sql):
        """Rows as lists of texts."""
        done = self.compose("exec", "-T", "postgres", "psql", "-XAtU", "postgres", "tillbox", "-c",
                            sql)
        return [line.split("|") for line in done.stdout.splitlines()]

    def curl(self, port, path, *arguments):
        """(status, body) by curl; `port` is the name of a published port's variable."""
        done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "20", "-w",
                               "\n%{http_code}", *arguments,
                               f"http://localhost:{self.ports[port]}{path}"],
                              capture_output=True, text=True, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def sell(self, quantity=1):
        status, body = self.curl("TILLBOX_ORDERS_PORT", "/orders", "-X", "POST", "-H",
                                 "Content-Type: application/json", "-d",
                                 json.dumps({"user_id": 1, "product_id": 1, "quantity": quantity}))
        assert status == 201, body
        return json.loads(body)

    def central_stock(self):
        """Of the first product, or None."""
        rows = self.query("SELECT stock FROM products WHERE product_id = 1")
        return int(rows[0][0]) if rows else None
