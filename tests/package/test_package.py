"""The package in a clean Debian: a story in the order of a box's life, each test a chapter of it."""

import json
import os
import re
import subprocess

import pytest

from conftest import VERSION

from box import call
from box import wait_until
from next_version import next_version
from ports import free_port

NEXT_VERSION = VERSION + "+next"
CHANGED_BY_BOTH, CHANGED_BY_US = "appliance.conf", "bridge.conf"
BRIDGE_USER = "tillbox-bridge:tillbox-journal"


class Ports:
    orders, inventory, status = free_port(), free_port(), free_port()


def sell(tree, count=1):
    for _ in range(count):
        answer = ask(tree, Ports.orders, "POST", "/orders",
                     {"user_id": 1, "product_id": 1, "quantity": 1})
        assert answer.status == 201, answer


def start(tree, *names):
    """On the tests' own ports: those of the settings may be in use here."""
    ports = {"appliance": {"TILLBOX_ORDERS_LISTEN": f"127.0.0.1:{Ports.orders}",
                           "TILLBOX_INVENTORY_LISTEN": f"127.0.0.1:{Ports.inventory}"},
             "bridge": {"TILLBOX_STATUS_LISTEN": f"127.0.0.1:{Ports.status}"}}
    for name in names:
        tree.start(name, **ports[name])


def token(tree):
    return (tree / "etc/tillbox/credentials/appliance/api-token").read_text().strip()


def ask(tree, port, method, path, body=None):
    return call(port, method, path, body, {"Authorization": f"Bearer {token(tree)}"})


def journal_files(tree):
    return {path.name: (path.stat().st_ino, path.stat().st_size)
            for path in (tree / "var/lib/tillbox").iterdir()}


def test_lintian_has_nothing_to_say(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on=error,warning", *packages],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_readme_s_commands_put_it_on_a_box(tree):
    assert tree.run("tillbox-appliance", "version").stdout == f"tillbox-appliance {VERSION}\n"
    assert tree.owner("/var/lib/tillbox") == ("tillbox-appliance:tillbox-journal", "2750")
    assert tree.owner("/var/lib/tillbox-bridge") == ("tillbox-bridge:tillbox-journal", "2750")
    assert tree.owner("/etc/tillbox/credentials/bridge") == ("root:root", "700")
    enabled = sorted(path.name for path in (tree / "etc/systemd/system").rglob("tillbox-*"))
    assert enabled == ["tillbox-appliance.service", "tillbox-backup.timer",
                       "tillbox-bridge.service", "tillbox-firewall.service",
                       "tillbox-metrics.timer"]
    assert len(token(tree)) == 32


def test_every_command_and_option_is_in_the_manual(tree):
    for program in ("tillbox-appliance", "tillbox-bridge"):
        page = subprocess.run(["man", "--local-file", f"{tree.folder}/usr/share/man/man8/{program}"
                               ".8.gz"], capture_output=True, text=True, check=True,
                              env={**os.environ, "MANWIDTH": "200", "MAN_KEEP_FORMATTING": ""}
                              ).stdout
        shown = tree.run(program, "help").stdout
        words = re.findall(r"^  (--[a-z-]+|[a-z]+) ", shown, re.MULTILINE)
        assert len(words) > 15
        assert [word for word in words if word not in page] == []


def complete(tree, program, *words):
    """What the shell would offer for the last word."""
    line = " ".join((program, *words))
    script = (". /usr/share/bash-completion/bash_completion\n"
              f". {tree.folder}/usr/share/bash-completion/completions/{program}\n"
              f"COMP_WORDS=({program} {' '.join(repr(word) for word in words)})\n"
              f"COMP_CWORD={len(words)} COMP_LINE={line!r} COMP_POINT={len(line)}\n"
              f"_tillbox {tree.folder}/usr/bin/{program} && printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_values(tree):
    for program in ("tillbox-appliance", "tillbox-bridge"):
        shown = tree.run(program, "help").stdout
        options = re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE)
        assert sorted(complete(tree, program, "--")) == sorted(options)
    assert complete(tree, "tillbox-bridge", "rec") == ["reconcile"]
    assert complete(tree, "tillbox-appliance", "ver") == ["verify", "version"]
    assert complete(tree, "tillbox-bridge", "parked", "d") == ["discard"]
    assert complete(tree, "tillbox-bridge", "run", "--log-level", "w") == ["warn"]


def test_the_units_start_under_their_users_and_the_box_sells(tree):
    start(tree, "appliance", "bridge")
    answer = ask(tree, Ports.inventory, "POST", "/products", {"product_name": "iPhone", "stock": 50})
    assert answer.status == 201, answer
    sell(tree, 3)
    assert call(Ports.orders, "GET", "/orders").status == 401  # the token is a credential
    assert tree.owner("/var/lib/tillbox/journal.db") == ("tillbox-appliance:tillbox-journal", "640")


@pytest.mark.parametrize("command", [
    "echo x >>journal.db", "echo x >>journal.db-wal", "echo x >>journal.db-shm",
    "echo x >>journal.lock", "rm -f journal.db", "rm -f journal.db-wal", "mv journal.db other",
    "chmod 666 journal.db", "ln journal.db other", "touch journal.db-journal", "rm -rf .",
    "truncate -s 0 journal.db", "mv ../tillbox ../gone", "exec 9<>journal.db"])
def test_the_bridge_cannot_change_the_journal(tree, command):
    before = journal_files(tree)
    done = tree.run("sh", "-c", f"cd /var/lib/tillbox && {command}", user=BRIDGE_USER, check=False)
    assert done.returncode != 0
    assert journal_files(tree) == before
    sell(tree)


def test_the_bridge_reads_the_journal_and_the_box_reads_the_bridge(tree):
    verified = tree.run("tillbox-appliance", "verify", "--json", user=BRIDGE_USER).stdout
    assert json.loads(verified)["sound"] is True, verified
    wait_until(lambda: ask(tree, Ports.orders, "GET", "/status").json["bridge"]["bridge_running"],
               5, "the bridge in the box's status")
    assert tree.run("sh", "-c", "echo x >>/var/lib/tillbox-bridge/bridge.db", check=False,
                    user="tillbox-appliance:tillbox-journal").returncode != 0


def test_a_nudge_gets_from_the_box_to_the_bridge(tree):
    send = ("use Socket; socket(my $s, PF_UNIX, SOCK_DGRAM, 0); defined send($s, 'x', 0,"
            " pack_sockaddr_un('/var/lib/tillbox-bridge/bridge.sock')) or die $!")
    tree.run("perl", "-e", send, user="tillbox-appliance:tillbox-journal")
    assert tree.run("perl", "-e", send, user="nobody:nogroup", check=False).returncode != 0


def test_strangers_read_neither_sales_nor_secrets(tree):
    for path in ("/var/lib/tillbox/journal.db", "/var/lib/tillbox-bridge/bridge.db",
                 "/etc/tillbox/credentials/appliance/api-token"):
        assert tree.run("cat", path, user="nobody:nogroup", check=False).returncode != 0
    assert tree.run("cat", "/etc/tillbox/credentials/appliance/api-token", user=BRIDGE_USER,
                    check=False).returncode != 0


def test_a_backup_is_made_while_the_box_sells_and_old_ones_go(tree):
    for _ in range(3):
        tree.run_unit("backup")
        sell(tree)
    copies = sorted(path.name for path in (tree / "var/lib/tillbox-backup").iterdir())
    assert [name[:14] for name in copies] == [f"journal-00000{number}" for number in (1, 2, 3)]
    tree.run("tillbox-backup", user="tillbox-backup:tillbox-journal", TILLBOX_BACKUPS_KEPT=2)
    copies = sorted(path.name for path in (tree / "var/lib/tillbox-backup").iterdir())
    assert [name[:14] for name in copies] == ["journal-000003", "journal-000004"]


def test_the_metrics_are_prometheus_text(tree):
    tree.run_unit("metrics")
    text = (tree / "var/lib/tillbox-metrics/tillbox.prom").read_text()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert re.search(r"^tillbox_backup_last_size_bytes [1-9]", text, re.MULTILINE)
    assert re.search(r'^tillbox_journal_size_bytes\{file="journal.db"\} [1-9]', text, re.MULTILINE)


def test_a_restored_journal_has_what_the_backup_had(tree):
    newest = sorted((tree / "var/lib/tillbox-backup").iterdir())[-1].name
    restore = ("tillbox-restore", f"/var/lib/tillbox-backup/{newest}")
    sell(tree, 2)
    assert tree.run(*restore, check=False).returncode == 1  # the box runs
    tree.stop_all()
    before = tree.run("tillbox-appliance", "verify", "--json").stdout
    tree.run(*restore)
    after = tree.run("tillbox-appliance", "verify", "--json").stdout
    assert json.loads(after)["last_sequence"] == json.loads(before)["last_sequence"] - 2
    assert tree.owner("/var/lib/tillbox/journal.db") == ("tillbox-appliance:tillbox-journal", "640")
    assert (tree / "var/lib/tillbox/replaced-1/journal.db").exists()
    start(tree, "appliance")
    sell(tree)


def test_an_upgrade_keeps_settings_and_sales(tree, packages, tmp_path):
    """What was edited stays, also where the new version has changed it: that is laid beside it."""
    tree.stop_all()
    edited, untouched = (tree / "etc/tillbox" / name for name in (CHANGED_BY_BOTH, CHANGED_BY_US))
    settings = edited.read_text()
    credentials = tree.run("ls", "-lR", "/etc/tillbox/credentials").stdout
    before = tree.run("tillbox-appliance", "verify", "--json").stdout
    tree.install(*[next_version(package, NEXT_VERSION, tmp_path, (CHANGED_BY_BOTH, CHANGED_BY_US))
                   for package in packages])
    assert "+next" in tree.run("dpkg-query", "-W", "-f", "${Version}", "tillbox").stdout
    assert edited.read_text() == settings
    assert "next version" in edited.with_name(edited.name + ".dpkg-dist").read_text()
    assert untouched.read_text().endswith("next version\n")
    assert tree.run("ls", "-lR", "/etc/tillbox/credentials").stdout == credentials
    assert tree.run("tillbox-appliance", "verify", "--json").stdout == before
    start(tree, "appliance")
    sell(tree)


def test_removed_it_leaves_settings_and_sales(tree):
    tree.stop_all()
    tree.run("apt-get", "remove", "-y", "-qq", "tillbox", "tillbox-box")
    assert not (tree / "usr/bin/tillbox-appliance").exists()
    assert "till-1" in (tree / "etc/tillbox/appliance.conf").read_text()
    assert (tree / "var/lib/tillbox/journal.db").stat().st_size > 0


def test_purged_without_an_answer_it_leaves_the_sales(tree):
    done = tree.run("apt-get", "purge", "-y", "-qq", "tillbox", "tillbox-box")
    assert "the sales of this box stay in /var/lib/tillbox" in done.stdout + done.stderr
    assert (tree / "var/lib/tillbox/journal.db").stat().st_size > 0
    left = tree.run("find", "/etc", "/usr", "/lib", "/var/lib", "-xdev", "-name", "*tillbox*").stdout
    assert sorted(left.split()) == ["/var/lib/tillbox", "/var/lib/tillbox-backup",
                                    "/var/lib/tillbox-bridge"]
    # What is left belongs to somebody: a number that is given out again would open it to a stranger.
    assert tree.owner("/var/lib/tillbox") == ("tillbox-appliance:tillbox-journal", "2750")


def test_installed_again_it_goes_on_with_the_sales(tree, packages):
    tree.install(*packages)
    (tree / "etc/tillbox/credentials/appliance/api-token").write_text("another-token-0123456789\n")
    start(tree, "appliance")
    sell(tree)
    tree.stop_all()


def test_purged_with_an_explicit_answer_the_sales_go(tree):
    tree.run("debconf-set-selections", text="tillbox tillbox/remove-journal boolean true\n")
    tree.run("apt-get", "purge", "-y", "-qq", "tillbox", "tillbox-box")
    left = [path for path in (tree / "var/lib").iterdir() if path.name.startswith("tillbox")]
    assert left == [] and not (tree / "etc/tillbox").exists()
    assert [path for path in (tree / "etc/systemd").rglob("*tillbox*")] == []
