"""A PostgreSQL and a RabbitMQ of our own, on free loopback ports and in temporary folders."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time

PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
START_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


class Postgres:
    """`url` is a superuser's, on the database `tillbox`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/tillbox"

    def _run(self, *command, check=True):
        return subprocess.run([str(part) for part in command], check=check, capture_output=True,
                              text=True, cwd="/", **as_user("postgres"))

    def create(self):
        self.folder.mkdir(parents=True)
        give_to(self.folder, "postgres")
        self._run(PG_BIN / "initdb", "-D", self.folder / "data", "-A", "trust", "-U", "postgres",
                  "--no-sync")
        self.start()
        self._run("/usr/bin/createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres",
                  "tillbox")
        return self

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        # pg_ctl's server would keep our pipes open for ever: its output goes nowhere.
        subprocess.run([str(PG_BIN / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l",
                        str(self.folder / "log"), "-o", options, "start"], check=True, cwd="/",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       **as_user("postgres"))

    def stop(self, mode="fast"):
        self._run(PG_BIN / "pg_ctl", "-D", self.folder / "data", "-w", "-m", mode, "stop",
                  check=False)

    def query(self, sql):
        """Rows as lists of texts."""
        done = self._run("/usr/bin/psql", "-X", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1",
                         self.url, "-c", sql)
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def number(self, sql):
        return int(self.query(sql)[0][0])


class Rabbit:
    """One node; `url` is the administrator's of that node alone."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.dist_port = free_port(), free_port()
        self.epmd_port = free_port()
        self.node = f"tillbox{self.port}@localhost"
        self.user, self.password = "tillbox", "tillbox-test"
        self.url = f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}/"
        self.process = None

    def _environment(self):
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.node, "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"), "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port), "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_ENABLED_PLUGINS_FILE": "/dev/null",
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

    def create(self):
        self.folder.mkdir(parents=True)
        (self.folder / "rabbitmq.conf").write_text("loopback_users = none\n")
        give_to(self.folder, "rabbitmq")
        self.start()
        self.control("add_user", self.user, self.password)
        self.control("set_permissions", self.user, ".*", ".*", ".*")
        return self

    def start(self):
        log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(["/usr/lib/rabbitmq/bin/rabbitmq-server"],
                                        env=self._environment(), cwd=self.folder, stdout=log,
                                        stderr=log, start_new_session=True, **as_user("rabbitmq"))
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        self.control("await_startup")

    def stop(self):
        self.control("stop", check=False)
        self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def queue_length(self, queue):
        for line in self.control("list_queues", "name", "messages").splitlines():
            if line.split("\t")[0] == queue:
                return int(line.split("\t")[1])
        return None

    def end(self):
        """Stops the node and the port mapper that it started."""
        self.stop()
        subprocess.run(["/usr/bin/epmd", "-port", str(self.epmd_port), "-kill"], check=False,
                       capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
