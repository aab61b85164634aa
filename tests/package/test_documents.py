"""What docs/box.md says of files, users and rights is what is installed, and nothing is left out."""

import re
import subprocess

import pytest

from tree import ROOT

from conftest import BUILD

TEXT = (ROOT / "docs" / "box.md").read_text()
STATE = "/var/lib/tillbox"
CREDENTIALS = "/etc/tillbox/credentials"


def table(first):
    """The rows of the table whose first heading this is, as lists of cells."""
    lines = TEXT.split(f"\n| {first} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def files_of(tree, package):
    listed = tree.run("dpkg", "-L", package).stdout.split()
    return [path for path in listed if (tree / path).is_file()]


USERS = {quoted(row[0])[0]: row[1:] for row in table("user")}
FOLDERS = sorted(path for row in USERS.values() for path in quoted(row[1]))


def test_the_table_names_every_user_and_every_folder(installed):
    declared = (installed / "usr/lib/sysusers.d/tillbox.conf").read_text()
    assert sorted(re.findall(r"^u (\S+)", declared, re.MULTILINE)) == sorted(USERS)
    folders = (installed / "usr/lib/tmpfiles.d/tillbox.conf").read_text()
    assert sorted(re.findall(rf"^d ({STATE}\S*)", folders, re.MULTILINE)) == FOLDERS


@pytest.mark.parametrize("user", USERS)
def test_a_user_has_the_rights_of_the_table_and_no_others(installed, user):
    group, writes, reads = (quoted(cell) for cell in USERS[user])
    assert installed.run("id", "-gn", user).stdout.split() in (group, [user])
    everybody_s = f"{STATE}-metrics"
    script = ("for folder; do [ ! -w $folder ] || echo w $folder; [ ! -r $folder ] || echo r $folder;"
              " done")
    done = installed.run("runuser", "-u", user, "-g", group[0], *(
        ("-G", "tillbox-journal") if user == "tillbox-metrics" else ()), "--", "sh", "-c", script,
        "sh", *FOLDERS).stdout.splitlines()
    assert {line[2:] for line in done if line[0] == "w"} == set(writes)
    assert {line[2:] for line in done if line[0] == "r"} == {*writes, *reads, everybody_s}


def test_each_unit_runs_as_a_user_of_the_table(installed):
    units = (installed / "lib/systemd/system").glob("tillbox-*.service")
    users = {name: installed.unit(name) for name in (
        unit.stem.removeprefix("tillbox-") for unit in units if "firewall" not in unit.name)}
    assert {f"tillbox-{name}": unit["Group"] for name, unit in users.items()} == {
        user: quoted(row[0])[0] for user, row in USERS.items()}
    assert all(unit["User"] == f"tillbox-{name}" for name, unit in users.items())


def test_the_table_of_credentials_has_all_that_programs_ask_for(installed):
    asked = set()
    for source in [*(ROOT / "core").rglob("*.c"), *(ROOT / "bridge").rglob("*.c"),
                   *(ROOT / "appliance").rglob("*.c")]:
        asked |= set(re.findall(r'"([a-z]+-(?:token|password|secret))"', source.read_text()))
    named = [name for row in table("file in `/etc/tillbox/credentials`") for name in quoted(row[0])]
    assert {name.split("/")[1] for name in named} - {"…"} == asked
    folders = installed.run("ls", CREDENTIALS).stdout.split()
    assert {name.split("/")[0] for name in named} == set(folders)
    for folder in folders:
        assert installed.owner(f"{CREDENTIALS}/{folder}") == ("root:root", "700")


def test_the_table_of_the_machine_s_settings_is_whole(installed):
    named = [name for row in table("`tillbox-box`") for name in quoted(row[0])]
    files = [path for path in files_of(installed, "tillbox-box")
             if not path.startswith(("/usr/share/doc", "/lib/systemd"))]
    assert [name for name in named if not any(path.startswith(name) for path in files)] == []
    folders = {name.rsplit("/", 1)[0] if name.endswith(".nft") else name for name in named}
    assert [path for path in files if not path.startswith(tuple(folders))] == []


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """`make install` as somebody without the package would."""
    folder = tmp_path_factory.mktemp("local")
    subprocess.run(["make", "-C", ROOT, "install", "install-box", f"BUILD={BUILD}",
                    f"DESTDIR={folder}", "PREFIX=/opt/till"], check=True, capture_output=True)
    return folder


def test_make_install_brings_all_that_the_packages_have(installed, local):
    for package in ("tillbox", "tillbox-box"):
        for path in files_of(installed, package):
            name = path.removeprefix("/usr/").removeprefix("/").removesuffix(".gz")
            if not re.search("/(changelog.*|copyright)$|/lintian/", path):
                assert (local / "opt/till" / name).exists() or (local / path[1:]).exists(), path


def test_what_make_install_brings_fits_its_prefix(local):
    programs = sorted(path.name for path in (local / "opt/till/bin").iterdir())
    for unit in (local / "opt/till/lib/systemd/system").rglob("tillbox-*.service"):
        for program in re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE):
            assert (local / program[1:]).exists() or program == "/usr/sbin/nft", unit
    for name in programs:
        assert (local / f"opt/till/share/man/man8/{name}.8").exists()
        assert subprocess.run([local / "opt/till/bin" / name, "--version"], check=True,
                              capture_output=True, text=True).stdout.startswith(name)
