import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))

from box import Box
from bridge import Bridge
from bridge import create_template
from bridge import open_office
from bridge import settings_of
from central import Servers
from peer_server import PeerServer
from peer_server import raw_answer
from service import WEBHOOK_SECRET
from service import Service
from service import declare_topology


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.has_failed = getattr(item, "has_failed", False) or report.get_result().failed


@pytest.fixture(autouse=True)
def tidy_up(request, tmp_path):
    """A box keeps a reserve on its disk, and there are many boxes: only what failed is kept."""
    yield
    if not request.node.has_failed:
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def make_box(tmp_path):
    """Starts boxes and stops them at the end of the test; each must end cleanly."""
    boxes = []

    def make(*arguments, name="var", start=True, **options):
        box = Box(tmp_path / name, *arguments, **options)
        boxes.append(box)
        return box.start() if start else box

    yield make
    codes = [box.stop() for box in boxes if box.process and box.process.poll() is None]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


@pytest.fixture
def box(make_box):
    return make_box()


@pytest.fixture(scope="session")
def servers():
    """One PostgreSQL and one RabbitMQ for all tests."""
    with Servers() as running:
        create_template(running)
        yield running


@pytest.fixture
def make_office(servers):
    """Head offices, each with a database and a virtual host of its own."""
    offices = []

    def make():
        servers.revive()
        offices.append(open_office(servers))
        return offices[-1]

    yield make
    servers.revive()
    for office in offices:
        office.remove()


@pytest.fixture
def office(make_office):
    return make_office()


@pytest.fixture
def make_bridge():
    """Starts bridges and stops them at the end of the test; each must end cleanly."""
    bridges = []

    def make(data_dir, office, *arguments, start=True, **settings):
        bridge = Bridge(data_dir, {**settings_of(office), **settings}, *arguments)
        bridges.append(bridge)
        return bridge.start() if start else bridge

    yield make
    codes = [bridge.stop() for bridge in bridges
             if bridge.process and bridge.process.poll() is None]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


@pytest.fixture
def make_inventory(tmp_path):
    """Starts `bridge inventory`, as many as asked for; each must end cleanly."""
    services = []

    def make(office, *arguments, start=True, **settings):
        declare_topology(office)
        service = Service(tmp_path, office, "inventory", "--inventory-listen", *arguments,
                          **settings)
        services.append(service)
        return service.start() if start else service

    yield make
    codes = [service.stop() for service in services
             if service.process and service.process.poll() is None]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


@pytest.fixture
def receiver():
    """Takes webhooks: 204, unless the test says otherwise."""
    with PeerServer(lambda _: raw_answer(204)) as server:
        yield server


@pytest.fixture
def webhook(receiver, tmp_path):
    """The settings that lead a notification service to `receiver`."""
    secret = tmp_path / "secret"
    secret.write_text(WEBHOOK_SECRET + "\n")
    secret.chmod(0o600)
    return {"TILLBOX_WEBHOOK_URL": receiver.url + "/orders",
            "TILLBOX_WEBHOOK_SECRET_FILE": str(secret)}


@pytest.fixture
def notify(office, tmp_path):
    """Starts `bridge notification`, as many as asked for, with quick retries; each must end
    cleanly."""
    services = []
    declare_topology(office)

    def make(*arguments, channels="log", **settings):
        quick = {"TILLBOX_NOTIFICATION_RETRY_MS": "50", "TILLBOX_NOTIFICATION_TIMEOUT_MS": "500"}
        service = Service(tmp_path, office, "notification", "--status-listen", *arguments,
                          TILLBOX_NOTIFICATION_CHANNELS=channels, **{**quick, **settings})
        services.append(service.start())
        return service

    yield make
    codes = [service.stop() for service in services if service.process.poll() is None]
    assert all(code == 0 for code in codes), f"exit codes {codes}"


def pytest_configure(config):
    config.addinivalue_line("markers", "central: needs PostgreSQL and RabbitMQ")
    config.addinivalue_line("markers", "dump: writes out a program's memory; a sanitizer's is huge")


def pytest_collection_modifyitems(items):
    """`-m "not central"` leaves out what needs head office, however it comes by it."""
    for item in items:
        if "servers" in item.fixturenames:
            item.add_marker("central")
