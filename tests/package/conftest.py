"""A clean Debian in which README's commands have put both packages, once for all tests."""

import ctypes
import os
import pathlib
import subprocess

import pytest

from tree import ROOT
from tree import Tree

from central import Servers

BUILD = pathlib.Path(os.environ.get("TILLBOX_BUILD", ROOT / "build"))
VERSION = (ROOT / "VERSION").read_text().strip()
CLONE_NEWNS = 0x00020000  # unshare(2)


def pytest_sessionstart():
    """Trees have this machine's /dev mounted. That must end with the tests: else whoever removes their
    folders removes the machine's devices."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        pytest.exit(f"no mounts of our own: {os.strerror(ctypes.get_errno())}", 2)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@pytest.fixture(scope="session")
def packages():
    """Both packages, made from this tree."""
    done = subprocess.run(["make", "-C", ROOT, "deb", f"BUILD={BUILD}", f"VERSION={VERSION}"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(BUILD.glob(f"tillbox*_{VERSION}_*.deb"))


def readme_commands():
    """The commands under "Put it on a box", as they stand there."""
    section = (ROOT / "README.md").read_text().split("\n## Put it on a box\n")[1].split("\n## ")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def follow_readme(tree):
    """Does what it says, as it says it; apt-get is told to be quiet about it."""
    for command in readme_commands():
        if command == "tillbox-appliance check":
            continue  # there is no journal yet, as nothing has been started in here
        tree.run("sh", "-c", f"cd /root && {command}".replace(
            "apt-get install ", "apt-get install -y -qq --no-install-recommends "),
                 SYSTEMD_OFFLINE=1)  # so that systemctl knows it, too


@pytest.fixture(scope="session")
def installed(packages, tmp_path_factory):
    """For tests to copy, and to leave as it is."""
    tree = Tree(tmp_path_factory.mktemp("installed"))
    tree.folder.chmod(0o755)
    tree.make()
    tree.give(*packages)
    follow_readme(tree)
    return tree


@pytest.fixture(scope="module")
def tree(installed, tmp_path_factory):
    """A box of the module's own."""
    tree = installed.copy(tmp_path_factory.mktemp("system"))
    yield tree
    tree.stop_all()


@pytest.fixture(scope="session")
def servers():
    """A head office's PostgreSQL and RabbitMQ."""
    with Servers() as running:
        yield running
