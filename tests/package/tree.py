"""A clean Debian in a folder, and in it what the service manager would do for a unit: its user, its
group, its folders, limits and credentials, and its exact command line."""

import configparser
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration" / "support"))

from service_manager import ServiceManager  # noqa: E402

UNITS = "lib/systemd/system"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Repeated(dict):
    """A key that comes again adds to its value, as in unit files."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            before = self[key]
            value = (before.split("\n") if isinstance(before, str) else before) + value
        super().__setitem__(key, value)


class Unit:
    """The [Service] section of an installed unit, with what its drop-in says."""

    def __init__(self, tree, name):
        parser = configparser.RawConfigParser(dict_type=Repeated, strict=False,
                                              interpolation=None, delimiters="=")
        parser.optionxform = str
        files = [tree / UNITS / f"tillbox-{name}.service",
                 tree / UNITS / "tillbox-.service.d" / "sandbox.conf"]
        assert parser.read(files) == [str(file) for file in files]
        self.name = f"tillbox-{name}"
        self.settings = parser["Service"]

    def __getitem__(self, key):
        """The last value: a drop-in's wins."""
        return self.settings[key].strip().splitlines()[-1]

    def commands(self):
        return [shlex.split(line) for line in self.settings["ExecStart"].splitlines() if line]


class Tree:
    """`folder` is the root of a clean system; made by tests/fresh/make_system.sh."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.running = {}  # the latest service of a name

    def make(self):
        subprocess.run([ROOT / "tests/fresh/make_system.sh", self.folder], check=True)
        return self.mount()

    def mount(self):
        subprocess.run(["mount", "-t", "proc", "proc", self.folder / "proc"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", self.folder / "dev"], check=True)
        return self

    def copy(self, folder):
        """Another one, in an empty folder, with the same files."""
        subprocess.run(["cp", "-a", "--reflink=auto", "--one-file-system", f"{self.folder}/.",
                        folder], check=True)
        return Tree(folder).mount()

    def __truediv__(self, path):
        return self.folder / str(path).lstrip("/")

    def run(self, *command, user="root:root", check=True, text=None, **environment):
        """Runs a command in the tree, as a user of the tree."""
        variables = [f"{name}={value}" for name, value in environment.items()]
        proxies = [f"{name}={os.environ[name]}" for name in ("http_proxy", "https_proxy")
                   if name in os.environ]
        done = subprocess.run(
            ["chroot", f"--userspec={user}", self.folder, "env", "-i", f"PATH={PATH}",
             "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *proxies, *variables,
             *map(str, command)], capture_output=True, text=True, input=text, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def give(self, *packages):
        """Puts the packages where somebody who follows README has them, and no others."""
        shutil.rmtree(self / "root/build", ignore_errors=True)
        (self / "root/build").mkdir()
        for package in packages:
            shutil.copy(package, self / "root/build")
        self.run("apt-get", "update", "-qq")

    def install(self, *packages):
        """Nobody is there to be asked about settings that were edited: they are kept."""
        self.give(*packages)
        return self.run("apt-get", "install", "-y", "-qq", "--no-install-recommends",
                        "-o", "Dpkg::Options::=--force-confold",
                        *(f"/root/build/{package.name}" for package in packages))

    def unit(self, name):
        return Unit(self.folder, name)

    def owner(self, path):
        """("user:group", "mode") as the tree sees them."""
        shown = self.run("stat", "-c", "%U:%G %a", path).stdout.split()
        return tuple(shown)

    def prepare(self, unit):
        """Folders and credentials, as the unit wants them; gives the variables they come with."""
        user, group = unit["User"], unit["Group"]
        if "StateDirectory" in unit.settings:
            self.run("install", "-d", "-o", user, "-g", group, "-m", unit["StateDirectoryMode"],
                     f"/var/lib/{unit['StateDirectory']}")
        if "LoadCredential" not in unit.settings:
            return {}
        prefix, source = unit["LoadCredential"].split(":")
        folder = f"/run/credentials/{unit.name}.service"
        self.run("install", "-d", "-m", "755", "/run/credentials")
        self.run("install", "-d", "-o", user, "-m", "500", folder)
        for file in (self / source).iterdir():
            self.run("install", "-o", user, "-m", "400", f"{source}/{file.name}",
                     f"{folder}/{prefix}_{file.name}")
        return {"CREDENTIALS_DIRECTORY": folder}

    def command_of(self, unit, command, variables):
        settings = unit.settings
        limits = [f"--core={unit['LimitCORE']}"]
        if "LimitNOFILE" in settings:
            limits.append(f"--nofile={unit['LimitNOFILE']}")
        return ["prlimit", *limits, "chroot", f"--userspec={unit['User']}:{unit['Group']}",
                str(self.folder), "env", "-i", f"PATH={PATH}",
                *(f"{name}={value}" for name, value in variables.items()),
                "setpriv", "--no-new-privs", *command]

    def run_unit(self, name, check=True):
        """A oneshot unit to its end."""
        unit = self.unit(name)
        variables = self.prepare(unit)
        for command in unit.commands():
            done = subprocess.run(self.command_of(unit, command, variables), capture_output=True,
                                  text=True, umask=int(unit["UMask"], 8), check=False)
            if check and done.returncode:
                raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, name, **variables):
        return Service(self, self.unit(name), variables)

    def stop_all(self):
        for service in self.running.values():
            service.stop()


class Service:
    """A unit that runs; it has said that it is ready."""

    def __init__(self, tree, unit, variables):
        run = tree / "run" / unit.name
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        self.manager = ServiceManager(run)
        self.listener = None
        self.log = tree / f"tmp/{unit.name}.log"
        told = {**self.manager.environment(), "NOTIFY_SOCKET": f"/run/{unit.name}/notify",
                **tree.prepare(unit), **variables}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                tree.command_of(unit, unit.commands()[0], told), stdout=log, stderr=log,
                umask=int(unit["UMask"], 8))
        tree.running[unit.name] = self
        try:
            self.manager.wait_for("READY=1")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()}") from error
        # A manager that doesn't listen blocks who speaks to it.
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()

    def _listen(self):
        while self.process.poll() is None:
            self.manager.listen(0.2)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        if self.listener:
            self.listener.join()
        self.manager.close()
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()
