"""The box's firewall, in network namespaces: a box, a till in the shop's network, and a stranger who is
on the same wire with an address from outside."""

import contextlib
import subprocess

import pytest

from tree import ROOT

RULES = ROOT / "firmware-config" / "etc" / "nftables.d"
BOX, TILL, STRANGER = "192.168.77.1", "192.168.77.2", "203.0.113.2"
BOX_OUTSIDE = "203.0.113.1"
# who holds the capability without being root, as the unit has it
AS_THE_UNIT = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
               "--inh-caps=+net_admin", "--ambient-caps=+net_admin")


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class Namespace:
    """A network of its own, held open by a process that sleeps."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec sleep 600"],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "made\n"

    def run(self, *command):
        return run("nsenter", f"--target={self.process.pid}", "--net", *command)

    def python(self, text):
        done = subprocess.run(["nsenter", f"--target={self.process.pid}", "--net", "python3", "-c",
                               text], capture_output=True, text=True, check=False)
        return done.returncode == 0

    @contextlib.contextmanager
    def listening(self, *ports):
        """Takes and closes connections on these ports."""
        program = ("import selectors, socket, sys\nchosen = selectors.DefaultSelector()\n"
                   f"for port in {ports!r}:\n"
                   "    server = socket.create_server(('', port))\n"
                   "    chosen.register(server, selectors.EVENT_READ)\n"
                   "print('ready', flush=True)\n"
                   "while True:\n"
                   "    for key, _ in chosen.select():\n"
                   "        key.fileobj.accept()[0].close()\n")
        with subprocess.Popen(["nsenter", f"--target={self.process.pid}", "--net", "python3", "-c",
                               program], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout.readline() == "ready\n"
            yield
            server.kill()

    def reaches(self, address, port, source=""):
        return self.python("import socket; socket.create_connection("
                           f"('{address}', {port}), 1, source_address=('{source}', 0))")

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The installed files under a path of the test's own."""
    folder = tmp_path_factory.mktemp("rules")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    folder.parent.parent.chmod(0o755)
    for file in RULES.iterdir():
        (folder / file.name).write_text(
            file.read_text().replace("/etc/nftables.d/", f"{folder}/"))
    return folder / "tillbox.nft"


@pytest.fixture(scope="module")
def wire(rules):
    """A box with the rules, and on the other end of its wire a till and a stranger."""
    box, shop = Namespace(), Namespace()
    box.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns",
            shop.process.pid)
    for namespace, addresses in ((box, (BOX, BOX_OUTSIDE)), (shop, (TILL, STRANGER))):
        for address in addresses:
            namespace.run("ip", "address", "add", f"{address}/24", "dev", "wire")
        namespace.run("ip", "link", "set", "wire", "up")
        namespace.run("ip", "link", "set", "lo", "up")
    box.run(*AS_THE_UNIT, "nft", "-f", rules)
    yield box, shop
    box.end()
    shop.end()


def test_the_rules_need_no_names_of_the_system_s(rules, tmp_path):
    """A small system has no /etc/protocols and no /etc/services."""
    empty = tmp_path / "empty"
    empty.touch()
    run("unshare", "--net", "--mount", "sh", "-c",
        f"mount --bind {empty} /etc/protocols && mount --bind {empty} /etc/services"
        f" && nft --check --file {rules}")


def test_a_till_reaches_both_services_and_nothing_else(wire):
    box, shop = wire
    with box.listening(22, 8081, 8082, 8083, 9100):
        reached = [port for port in (22, 8081, 8082, 8083, 9100) if shop.reaches(BOX, port, TILL)]
    assert reached == [8081, 8082]


def test_a_stranger_reaches_nothing(wire):
    box, shop = wire
    with box.listening(8081, 8082):
        assert not shop.reaches(BOX_OUTSIDE, 8081, STRANGER)
        assert not shop.reaches(BOX_OUTSIDE, 8082, STRANGER)


def test_the_box_reaches_everybody_and_itself(wire):
    box, shop = wire
    with shop.listening(5432, 5671):
        assert box.reaches(TILL, 5432, BOX) and box.reaches(STRANGER, 5671, BOX_OUTSIDE)
    with box.listening(8083):
        assert box.reaches("127.0.0.1", 8083)


def test_the_rules_can_be_loaded_again_and_taken_away(wire, rules):
    box, shop = wire
    box.run("nft", "-f", rules)
    assert box.run("nft", "list", "tables").split() == ["table", "inet", "tillbox"]
    box.run("nft", "delete", "table", "inet", "tillbox")
    with box.listening(22):
        assert shop.reaches(BOX, 22, TILL)
    box.run("nft", "-f", rules)
