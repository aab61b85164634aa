"""A head office of our own: PostgreSQL and RabbitMQ on free loopback ports and in temporary folders,
and in them a database and a virtual host for each test."""

import base64
import collections
import concurrent.futures
import contextlib
import http.client
import json
import logging
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pika

from certificates import Authority
from ports import free_port



def newest_postgres():
    """The folder with initdb and postgres: Debian keeps one a version, and none of them in PATH."""
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                      key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    return pathlib.Path(subprocess.run(["pg_config", "--bindir"], check=True, text=True,
                                       capture_output=True).stdout.strip())


PG_BIN = newest_postgres()
START_SECONDS = 60
TAP = "inventory.order.queue"  # the queue of the event flow that takes every type
TABLE_SEPARATOR = "\x1f"

logging.getLogger("pika").setLevel(logging.CRITICAL)  # a queue that isn't there is no news here


def as_user(name):
    """subprocess options that run a command as `name` where we are root: servers refuse to."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_to(folder, name):
    if os.geteuid() == 0:
        user = pwd.getpwnam(name)
        os.chown(folder, user.pw_uid, user.pw_gid)


def install_file(source, target, name):
    """Copies a secret to where the user `name`, and nobody else, can read it."""
    shutil.copy(source, target)
    target.chmod(0o600)
    give_to(target, name)


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def wait_for_port(port, listening=True):
    deadline = time.monotonic() + START_SECONDS
    while is_listening(port) != listening:
        if time.monotonic() > deadline:
            raise RuntimeError(f"port {port} didn't {'open' if listening else 'close'}")
        time.sleep(0.02)


class Postgres:
    """`url` is a superuser's, on the database `tillbox`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.url = self.url_of("tillbox")
        self.has_certificate = False

    def url_of(self, database, port=None):
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def run(self, *command, check=True, **options):
        """Runs a program of PostgreSQL's as the servers' user."""
        done = subprocess.run([str(part) for part in command], check=False, capture_output=True,
                              text=True, cwd="/", **options, **as_user("postgres"))
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done

    def create(self):
        self.folder.mkdir(parents=True)
        give_to(self.folder, "postgres")
        self.run(PG_BIN / "initdb", "-D", self.folder / "data", "-A", "trust", "-U", "postgres",
                 "--no-sync")
        self.start()
        self.query("CREATE DATABASE tillbox", self.url_of("postgres"))
        return self

    def start(self):
        # The tests kill processes, never the machine: what the kernel has is safe enough.
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        # pg_ctl's server would keep our pipes open for ever: its output goes nowhere.
        subprocess.run([str(PG_BIN / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l",
                        str(self.folder / "log"), "-o", options, "start"], check=True, cwd="/",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       **as_user("postgres"))

    def stop(self, mode="fast"):
        self.run(PG_BIN / "pg_ctl", "-D", self.folder / "data", "-w", "-m", mode, "stop",
                 check=False)

    def use_certificate(self, certificate):
        """Takes TLS connections too, from now on, and proves itself with this."""
        data = self.folder / "data"
        install_file(certificate.file, data / "server.crt", "postgres")
        install_file(certificate.key, data / "server.key", "postgres")
        self.offer_tls(True)

    def offer_tls(self, offered):
        self.has_certificate = offered
        self.query(f"ALTER SYSTEM SET ssl = {'on' if offered else 'off'}", self.url_of("postgres"))
        self.query("SELECT pg_reload_conf()", self.url_of("postgres"))

    def query(self, sql, url=None):
        """Rows as lists of texts."""
        done = self.run("/usr/bin/psql", "-X", "-A", "-t", "-F", TABLE_SEPARATOR, "-v",
                        "ON_ERROR_STOP=1", url or self.url, "-f", "-", input=sql)
        return [line.split(TABLE_SEPARATOR) for line in done.stdout.splitlines()]

    def number(self, sql, url=None):
        return int(self.query(sql, url)[0][0])

    @contextlib.contextmanager
    def transaction(self, sql, url=None):
        """Holds a transaction open in which `sql` has been run."""
        with subprocess.Popen(["/usr/bin/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                               url or self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, cwd="/", **as_user("postgres")) as session:
            session.stdin.write(f"BEGIN;\n{sql};\nSELECT 'held';\n")
            session.stdin.flush()
            while (line := session.stdout.readline()) != "held\n":
                assert line, f"{sql} failed"
            yield
            session.stdin.close()


class PgBouncer:
    """A pooler in transaction mode before a PostgreSQL."""

    def __init__(self, postgres, folder):
        self.port = free_port()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        give_to(self.folder, "postgres")
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            "pool_mode = transaction\nauth_type = any\ndefault_pool_size = 2\nunix_socket_dir =\n"
            "ignore_startup_parameters =\n")
        self.process = subprocess.Popen(["/usr/sbin/pgbouncer", "-q", settings], cwd=self.folder,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        **as_user("postgres"))
        wait_for_port(self.port)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Rabbit:
    """One node with the management plugin; `url` is the administrator's, on the default host."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.dist_port = free_port(), free_port()
        self.tls_port = free_port()
        self.epmd_port, self.api_port = free_port(), free_port()
        self.node = f"tillbox{self.port}@localhost"
        self.user, self.password = "tillbox", "tillbox-test"
        self.url = self.url_of("")
        self.process = None

    def url_of(self, vhost, user=None, port=None, scheme="amqp", host="127.0.0.1"):
        return (f"{scheme}://{user or self.user}:{self.password}@{host}:{port or self.port}/"
                f"{vhost}")

    def _environment(self):
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.node, "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"), "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port), "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def control(self, *command, check=True):
        done = subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *map(str, command)],
                              env=self._environment(), cwd=self.folder, capture_output=True,
                              text=True, check=False, **as_user("rabbitmq"))
        if check and done.returncode:
            raise RuntimeError(f"rabbitmqctl {command}: {done.stdout}{done.stderr}")
        return done.stdout

    def api(self, method, path, body=None):
        """A call of the management API; `path` is what follows /api."""
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, f"/api{path}", body=json.dumps(body or {}),
                               headers={"Authorization": f"Basic {login}",
                                        "Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
            return json.loads(text) if text else None

    def create(self):
        self.folder.mkdir(parents=True)
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"loopback_users = none\ndefault_user = {self.user}\ndefault_pass = {self.password}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.api_port}\n"
            "disk_free_limit.absolute = 1MB\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.folder}/server.pem\n"
            f"ssl_options.keyfile = {self.folder}/server.key\n"
            "ssl_options.verify = verify_none\n")
        self._install_certificate(Authority(self.folder / "unknown").issue("nowhere"))
        give_to(self.folder, "rabbitmq")
        self.start()
        return self

    def _install_certificate(self, certificate):
        install_file(certificate.file, self.folder / "server.pem", "rabbitmq")
        install_file(certificate.key, self.folder / "server.key", "rabbitmq")

    def use_certificate(self, certificate):
        """Proves itself with this on `tls_port` from now on."""
        self._install_certificate(certificate)
        self.control("eval", "ssl:clear_pem_cache().")

    def start(self):
        """Returns when it takes connections."""
        if self.process and self.process.poll() is None:
            self.control("start_app")
        else:
            self._start_node()

    def _start_node(self):
        path = self.folder / "server.log"
        with open(path, "ab") as log:
            log_start = log.tell()
            self.process = subprocess.Popen(["/usr/lib/rabbitmq/bin/rabbitmq-server"],
                                            env=self._environment(), cwd=self.folder, stdout=log,
                                            stderr=log, start_new_session=True,
                                            **as_user("rabbitmq"))
        deadline = time.monotonic() + START_SECONDS
        while b"Server startup complete" not in path.read_bytes()[log_start:]:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"RabbitMQ didn't start: {path.read_text()[log_start:]}")
            time.sleep(0.02)

    def write_down_queues(self):
        """A node that is killed within a second of making a quorum queue may not find it again: see
        docs/OPERATIONS.md. From here on it will."""
        self.control("eval", "dets:sync(ra_directory_reverse).")

    def forget_queue(self, vhost, queue):
        """What a kill within a second of making the queue may do, for certain."""
        name = f"'{vhost}_{queue}'"
        self.control("eval", f"dets:delete(ra_directory_reverse, {name}).")
        self.write_down_queues()
        self.kill()

    def stop(self):
        """As an operator would; only the node's shell stays, so that start() takes less time."""
        self.control("stop_app")

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The node may outlive the script that started it, for a moment.
        wait_for_port(self.port, listening=False)
        wait_for_port(self.dist_port, listening=False)

    @contextlib.contextmanager
    def memory_alarm(self):
        """It takes no messages meanwhile."""
        normal = self.control("eval", "vm_memory_monitor:get_vm_memory_high_watermark().")
        self.control("set_vm_memory_high_watermark", "0.0000001")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", normal.strip())

    def queue_length(self, queue, vhost=""):
        """None if there is no such queue."""
        with connected(self.url_of(vhost)) as connection:
            return length_of(connection, queue)

    def end(self):
        """Stops the node and the port mapper that it started."""
        self.kill()
        subprocess.run(["/usr/bin/epmd", "-port", str(self.epmd_port), "-kill"], check=False,
                       capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def connected(url):
    """A pika connection to the broker."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


def length_of(connection, queue):
    try:
        channel = connection.channel()
        return channel.queue_declare(queue, passive=True).method.message_count
    except pika.exceptions.ChannelClosedByBroker:
        return None


Message = collections.namedtuple("Message", "body properties exchange routing_key")


class Office:
    """A head office for one test: a database and a virtual host of its own. `messages` is all that
    was taken from the tap so far, in order."""

    def __init__(self, postgres, rabbit, name):
        self.postgres, self.rabbit, self.name = postgres, rabbit, name
        self.postgres_url = postgres.url_of(name)
        self.amqp_url = rabbit.url_of(name)
        self.messages = []

    def create_database(self, template="template0"):
        self.postgres.query(f"CREATE DATABASE {self.name} TEMPLATE {template}",
                            self.postgres.url_of("postgres"))

    def create_vhost(self):
        self.api("PUT", f"/vhosts/{self.name}")
        self.allow(self.rabbit.user)
        return self

    def allow(self, user, configure=".*", write=".*", read=".*"):
        self.api("PUT", f"/permissions/{self.name}/{user}",
                 {"configure": configure, "write": write, "read": read})

    def remove(self):
        self.api("DELETE", f"/vhosts/{self.name}")
        self.postgres.query(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)",
                            self.postgres.url_of("postgres"))

    def api(self, method, path, body=None):
        return self.rabbit.api(method, path, body)

    def query(self, sql):
        return self.postgres.query(sql, self.postgres_url)

    def number(self, sql):
        return self.postgres.number(sql, self.postgres_url)

    def transaction(self, sql):
        return self.postgres.transaction(sql, self.postgres_url)

    def queue_length(self, queue):
        return self.rabbit.queue_length(queue, self.name)

    def held(self, queue):
        """How many messages a queue has, given out or not; None if the broker is away. The
        management API would tell it seconds later."""
        lines = self.rabbit.control("list_queues", "-p", self.name, "--no-table-headers", "name",
                                    "messages", check=False).splitlines()
        return next((int(line.split()[1]) for line in lines if line.split()[0] == queue), None)

    def take(self, queue):
        """Consumes all that is in a queue now."""
        taken = []
        with connected(self.amqp_url) as connection:
            while left := length_of(connection, queue):
                channel = connection.channel()
                channel.basic_qos(prefetch_count=1000)
                for number, (method, properties, body) in enumerate(channel.consume(queue), 1):
                    taken.append(Message(body, properties, method.exchange, method.routing_key))
                    if number == left or number % 500 == 0:
                        channel.basic_ack(method.delivery_tag, multiple=True)
                    if number == left:
                        break
                channel.close()
        return taken

    def tap(self):
        """Takes what has come since the last time; all that has ever come."""
        self.messages += self.take(TAP)
        return self.messages

    def bind(self, routing_key, queue=TAP):
        self.api("POST", f"/bindings/{self.name}/e/order.events/q/{queue}",
                 {"routing_key": routing_key})

    def unbind(self, routing_key, queue=TAP):
        self.api("DELETE", f"/bindings/{self.name}/e/order.events/q/{queue}/{routing_key}")

    def close_connections(self):
        """The broker closes every connection, with a farewell."""
        self.rabbit.control("close_all_connections", "--vhost", self.name, "tests")

    def terminate_sessions(self):
        self.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            f" WHERE datname = '{self.name}'", self.postgres.url_of("postgres"))


class Servers:
    """Both servers, started at once; a context manager that stops them."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tillbox-office-"))
        self.folder.chmod(0o755)  # the servers run as users of their own
        self.postgres = Postgres(self.folder / "postgres")
        self.rabbit = Rabbit(self.folder / "rabbit")
        self.count = 0

    def __enter__(self):
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                for started in [pool.submit(self.postgres.create),
                                pool.submit(self.rabbit.create)]:
                    started.result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.rabbit.process:
            self.rabbit.end()
        self.postgres.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def revive(self):
        """Starts again what a test has left behind dead, and ends what it has left on: a client that
        is offered TLS takes it, and a proxy can't read along."""
        if not is_listening(self.postgres.port):
            self.postgres.start()
        if not is_listening(self.rabbit.port):
            self.rabbit.start()
        if self.postgres.has_certificate:
            self.postgres.offer_tls(False)

    def new_office(self):
        """One that has neither database nor virtual host yet."""
        self.count += 1
        return Office(self.postgres, self.rabbit, f"office{self.count}")
