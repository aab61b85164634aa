"""A box that starts from its image by UEFI, in QEMU. Its disk is honest: what the box wrote and did not
flush is in a cache that a power cut loses (nbdkit's filter "cache")."""

import contextlib
import http.client
import pathlib
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration" / "support"))

from box import call  # noqa: E402
from box import wait_until  # noqa: E402
from ports import free_port  # noqa: E402

FIRMWARE = pathlib.Path("/usr/share/OVMF")
START_SECONDS = 240  # an emulated processor is slow, and the machine may be busy
COMMAND_SECONDS = 120
ANSWER_SECONDS = 3
MEMORY_MB = 1024
NO_BATTERY = "2001-01-01T00:00:00"  # where a clock without a battery begins
SHOP_NETWORK, OUTSIDE_NETWORK = "192.168.76", "203.0.113"
ORDERS, INVENTORY, SSH, NOT_ALLOWED = 8081, 8082, 22, 9100


def can_virtualize():
    """Is there a processor that runs guests by itself?"""
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    return ("vmx" in flags or "svm" in flags) and pathlib.Path("/dev/kvm").exists()


class Disk:
    """A disk with a cache, like a real one: what isn't flushed goes with the power."""

    def __init__(self, image, folder):
        self.image, self.folder, self.process = image, folder, None
        self.url = f"nbd+unix:///?socket={folder}/disk.sock"

    def power_on(self):
        socket = self.folder / "disk.sock"
        socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, "--filter=cache",
             "file", self.image, "cache=writeback", "cache-min-block-size=4K"],
            env={"TMPDIR": str(self.folder), "PATH": "/usr/sbin:/usr/bin"})
        wait_until(socket.exists, what="the disk")


class Forwarded:
    """Ports of the box as one network reaches them: port of the box → port on loopback here."""

    def __init__(self, name, network):
        self.name, self.network = name, network
        self.ports = {port: free_port() for port in (ORDERS, INVENTORY, SSH, NOT_ALLOWED)}

    def arguments(self):
        forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}"
                            for there, here in self.ports.items())
        return ["-netdev", f"user,id={self.name},net={self.network}.0/24,restrict=on,{forwards}",
                "-device", f"virtio-net-pci,netdev={self.name}"]


class Machine:
    """`image` is the box's disk; files of the machine's own go into `folder`."""

    def __init__(self, image, folder, key, token):
        self.folder, self.key, self.token = folder, key, token
        self.disk = Disk(image, folder)
        self.serial = folder / "serial.log"
        self.shop = Forwarded("shop", SHOP_NETWORK)
        self.outside = Forwarded("outside", OUTSIDE_NETWORK)
        self.emulator = self.session = None
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", folder / "firmware.fd")

    def power_on(self, clock=NO_BATTERY):
        self.disk.power_on()
        accelerator = ["-accel", "kvm", "-cpu", "host"] if can_virtualize() else \
            ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
        self.emulator = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", *accelerator, "-smp", "2",
             "-m", str(MEMORY_MB), "-nodefaults", "-display", "none", "-vga", "none",
             "-chardev", f"file,id=serial,path={self.serial},append=on", "-serial", "chardev:serial",
             "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
             "-drive", f"if=pflash,format=raw,file={self.folder}/firmware.fd",
             "-drive", f"file={self.disk.url},format=raw,if=virtio,cache=none",
             "-rtc", f"base={clock}", "-device", "i6300esb", "-action", "watchdog=reset",
             *self.shop.arguments(), *self.outside.arguments()])

    def cut_power(self):
        """Machine and disk end in the same moment, with all that was in their memory."""
        running = [process for process in (self.disk.process, self.emulator) if process]
        for process in running:
            process.send_signal(signal.SIGKILL)
        for process in running:
            process.wait()

    def ask(self, port, method, path, body=None, headers=None, timeout=20):
        return call(self.shop.ports[port], method, path, body,
                    {"Authorization": f"Bearer {self.token}", **(headers or {})}, timeout)

    def is_ready(self):
        assert self.emulator.poll() is None, "the machine has ended"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask(ORDERS, "GET", "/readyz", timeout=ANSWER_SECONDS).status == 200
        return False

    def ssh(self, *arguments):
        return ["ssh", "-F", "none", "-i", self.key, "-p", str(self.shop.ports[SSH]),
                "-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR",
                "-o", f"UserKnownHostsFile={self.folder}/known_hosts",
                "-o", f"ControlPath={self.folder}/ssh", "-o", "ServerAliveInterval=5",
                *arguments, "root@127.0.0.1"]

    def has_session(self):
        """Tries to log in until it is done: the box's ssh may start after its services."""
        if self.session is None or self.session.poll() is not None:
            self.session = subprocess.Popen(self.ssh("-M", "-N"), stdin=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
        return (self.folder / "ssh").exists()

    def log_in(self):
        """One connection, which all commands share: a handshake takes the box seconds."""
        self.log_out()
        wait_until(self.has_session, START_SECONDS, "a login")

    def log_out(self):
        if self.session:
            self.session.kill()
            self.session.wait()
            self.session = None
        (self.folder / "ssh").unlink(missing_ok=True)

    def run(self, command, check=True):
        """Runs a shell command as root in the box; gives what it printed."""
        done = subprocess.run([*self.ssh(), command], capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def copy(self, file, folder):
        """Puts a file into a folder of the box."""
        with open(file, "rb") as content:
            subprocess.run([*self.ssh(), f"cat >{folder}/{file.name}"], stdin=content, check=True,
                           timeout=COMMAND_SECONDS)
