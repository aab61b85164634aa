"""The image is built once, from the packages of this tree and with a shop's own settings."""

import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile

import pytest

from machine import ROOT
from machine import SSH
from machine import Machine

BUILD = pathlib.Path(os.environ.get("TILLBOX_BUILD", ROOT / "build"))
VERSION = (ROOT / "VERSION").read_text().strip()
MEMORY = pathlib.Path("/dev/shm")
ROOM_BYTES = 6 << 30
DISK_BYTES = 4 << 30
FIREWALL = "etc/nftables.d/tillbox-settings.nft"


def run(*command, **variables):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          env={**os.environ, **variables})
    assert done.returncode == 0, (command, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture(scope="session")
def folder():
    """In memory where there is room: hundreds of packages are unpacked in here."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    with tempfile.TemporaryDirectory(prefix="tillbox-image-",
                                     dir=MEMORY if in_memory else None) as name:
        yield pathlib.Path(name)


@pytest.fixture(scope="session")
def key(folder):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    return folder / "key"


@pytest.fixture(scope="session")
def token():
    return secrets.token_hex(16)


@pytest.fixture(scope="session")
def packages():
    run("make", "-C", ROOT, "deb", f"BUILD={BUILD}")
    return sorted(BUILD.glob(f"tillbox*_{VERSION}_*.deb"))


@pytest.fixture(scope="session")
def settings(folder, key, token, packages):
    """The package's own, changed as README says, and a way in, as docs/box.md says."""
    settings = folder / "settings"
    for package in packages:
        run("dpkg-deb", "--extract", package, folder / "unpacked")
    for file in ("etc/tillbox/appliance.conf", FIREWALL):
        write(settings / file, (folder / "unpacked" / file).read_text())
    for command in re.findall(r"^    (sed -i .*)$", (ROOT / "README.md").read_text(), re.MULTILINE):
        run("sh", "-c", command.replace("/etc/", f"{settings}/etc/"))
    run("sed", "-i", f"s/^define box_ports = .*/define box_ports = {{ 8081, 8082, {SSH} }}/",
        settings / FIREWALL)
    write(settings / "etc/tillbox/credentials/appliance/api-token", token, 0o600)
    write(settings / "root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600)
    return settings


@pytest.fixture(scope="session")
def image(folder, settings, packages):
    """As it is written to a disk that is larger than the image."""
    run(ROOT / "firmware-config/image/build-image.sh", folder / "box.img", *packages,
        SETTINGS=str(settings), TMPDIR=str(folder))
    os.truncate(folder / "box.img", DISK_BYTES)
    return folder / "box.img"


@pytest.fixture(scope="session")
def box(image, folder, key, token):
    """The box, switched on for the first time."""
    machine = Machine(image, folder, key, token)
    try:
        machine.power_on()
        yield machine
    finally:
        machine.log_out()
        machine.cut_power()


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: another start of the machine, beyond each kind")
