"""The commands beside `serve`: what they print, and how they end."""

import itertools
import json
import re
import shutil
import sqlite3
import subprocess
import threading

import pytest

from box import ROOT
from box import Wire
from box import run_command


@pytest.fixture
def shop(make_box):
    """A box with a product, 20 sales and a cancellation."""
    box = make_box()
    box.add_product(stock=1000, price=250)
    for user in range(1, 21):
        assert box.sell(user_id=user).status == 201
    assert box.orders("POST", "/orders/3/cancel").status == 200
    return box


@pytest.fixture
def folder(shop):
    """The data folder of a box that has stopped."""
    assert shop.stop() == 0
    return shop.data_dir


def change(folder, *statements):
    journal = sqlite3.connect(folder / "journal.db")
    journal.execute("DROP TRIGGER events_are_never_changed")
    for statement in statements:
        journal.execute(statement)
    journal.commit()
    journal.close()


def verify(folder, *arguments):
    return run_command("verify", "--data-dir", folder, *arguments)


def test_help_names_every_command_option_and_exit_code():
    helped = run_command("help")
    assert (helped.returncode, helped.stderr) == (0, "")
    source = (ROOT / "appliance" / "settings.c").read_text()
    options = re.findall(r'\{"([a-z_]+)", OPTION_', source)
    assert len(options) > 10
    for option in options:
        assert f"--{option.replace('_', '-')}" in helped.stdout
    source = (ROOT / "appliance" / "main.c").read_text()
    commands = re.findall(r'\{"([a-z]+)", (?:NULL|"[A-Z]+"), ', source)
    assert set(commands) >= {"serve", "check", "verify", "backup", "version"}
    for command in commands:
        assert re.search(rf"^  {command} ", helped.stdout, re.MULTILINE)
    for code in range(6):
        assert re.search(rf"^  {code}  \S", helped.stdout, re.MULTILINE)
    assert "Examples:" in helped.stdout
    short = run_command("--help").stdout
    for command in commands:
        assert re.search(rf"^  {command} ", short, re.MULTILINE) and "--locale" not in short


def test_the_help_of_a_command_names_its_own_options_and_examples():
    verify = run_command("verify", "--help").stdout
    assert run_command("help", "verify").stdout == verify
    assert re.findall(r"^  (--[a-z-]+)", verify, re.MULTILINE) == [
        "--config", "--data-dir", "--log-level", "--json", "--help", "--version"]
    assert re.findall(r"^  appliance (.+)$", verify, re.MULTILINE) == ["verify --data-dir ./var --json"]


def test_the_examples_of_the_help_are_commands_that_exist():
    examples = re.findall(r"^  appliance (.+)$", run_command("help").stdout, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        problems = run_command(*example.split(), "--data-dir", "/nowhere", "--no-such-flag").stderr
        assert problems.splitlines()[0].startswith('unknown flag "--no-such-flag"')
        assert "is no command" not in problems and "missing" not in problems


def test_the_version_is_that_of_the_tree():
    version = (ROOT / "VERSION").read_text().strip()
    for arguments in (["version"], ["--version"], ["verify", "--version"]):
        shown = run_command(*arguments)
        assert (shown.returncode, shown.stdout) == (0, f"appliance {version}\n")


@pytest.mark.parametrize("arguments, word", [
    (["sell"], '"sell"'),
    ([""], '""'),
    (["serve", "more"], '"more"'),
    (["verify", "more"], '"more"'),
    (["backup"], "FILE"),
    (["backup", "one", "two"], '"two"'),
    (["--no-such-flag"], "--no-such-flag"),
    (["--data-dri", "x"], "did you mean"),
    (["--data-dir"], "--data-dir"),
    (["-h"], "-h"),
    (["verify", "--json=maybe"], "--json"),
])
def test_wrong_arguments_end_with_2_and_are_named(arguments, word):
    done = run_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr


def test_verify_walks_a_sound_chain(shop, folder):
    head = None
    for arguments in ([], ["--json"]):
        done = verify(folder, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        if arguments:
            report = json.loads(done.stdout)
            assert report == {"sound": True, "checked": 22, "first_sequence": 1,
                              "last_sequence": 22, "head": head}
        else:
            head = re.fullmatch(r"sound: 22 events, sequence 1 to 22, head ([0-9a-f]{64})\n",
                                done.stdout).group(1)
    shop.start()
    assert shop.status()["journal"]["chain_head"] == {"sequence": 22, "hash": head}
    assert verify(folder).returncode == 0, "also beside a running box"


def test_verify_accepts_a_journal_without_events(make_box):
    box = make_box()
    assert box.stop() == 0
    done = verify(box.data_dir, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["checked"] == 0


@pytest.mark.parametrize("statements, sequence, reason", [
    (["UPDATE events SET payload = replace(payload, '\"quantity\":1', '\"quantity\":9')"
      " WHERE sequence = 7"], 7, "hash"),
    (["UPDATE events SET payload = payload || ' ' WHERE sequence = 22"], 22, "hash"),
    (["UPDATE events SET hash = zeroblob(32) WHERE sequence = 9"], 9, "hash"),
    (["UPDATE events SET hash = randomblob(32) WHERE sequence = 1"], 1, "hash"),
    (["DELETE FROM events WHERE sequence = 5"], 5, "missing"),
    (["DELETE FROM events WHERE sequence = 1"], 1, "missing"),
    (["DELETE FROM events WHERE sequence BETWEEN 10 AND 20"], 10, "missing"),
    (["UPDATE events SET sequence = 100 WHERE sequence = 4",
      "UPDATE events SET sequence = 4 WHERE sequence = 5",
      "UPDATE events SET sequence = 5 WHERE sequence = 100"], 4, "hash"),
    (["UPDATE events SET sequence = 40 WHERE sequence = 22"], 22, "missing"),
    (["INSERT INTO events (sequence, payload, hash) SELECT 23, payload, hash FROM events"
      " WHERE sequence = 22"], 23, "hash"),
    (["UPDATE meta SET chain_anchor_hash = randomblob(32)"], 1, "hash"),
    (["UPDATE meta SET journal_id = '00000000-0000-7000-8000-000000000000'"], 1, "journal"),
])
def test_verify_names_the_first_bad_event(folder, statements, sequence, reason):
    change(folder, *statements)
    done = verify(folder)
    assert done.returncode == 4
    assert f"event {sequence}: " in done.stdout
    report = json.loads(verify(folder, "--json").stdout)
    assert report["sound"] is False
    assert (report["bad_sequence"], report["checked"]) == (sequence, sequence - 1)
    assert reason in report["reason"]
    checked = run_command("check", "--data-dir", folder)
    assert checked.returncode == 4
    assert re.search(rf"^fail +chain +event {sequence}: ", checked.stdout, re.MULTILINE)


def test_verify_says_what_it_can_not_read(folder, tmp_path):
    absent = verify(tmp_path / "nowhere")
    assert (absent.returncode, absent.stdout) == (1, "")
    assert str(tmp_path / "nowhere") in absent.stderr
    (folder / "journal.db").write_bytes(b"not a database" * 1000)
    for file in ("journal.db-wal", "journal.db-shm"):
        (folder / file).unlink(missing_ok=True)
    garbled = verify(folder)
    assert (garbled.returncode, garbled.stdout) == (4, "")
    assert str(folder) in garbled.stderr


def events(path):
    journal = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = journal.execute("SELECT sequence, payload, hash FROM events"
                           " ORDER BY sequence").fetchall()
    journal.close()
    return rows


def sell_on(port, stopping, sold):
    with Wire(port) as wire:
        while not stopping.is_set():
            answer = wire.request("POST", "/orders", {"user_id": 1, "product_id": 1, "quantity": 1})
            sold.append(answer.status)


def test_a_backup_under_load_is_a_prefix_of_the_journal_and_a_box_of_its_own(make_box, tmp_path):
    box = make_box()
    box.add_product(stock=1000000)
    stopping, sold = threading.Event(), []
    sellers = [threading.Thread(target=sell_on, args=(box.orders_port, stopping, sold))
               for _ in range(8)]
    for seller in sellers:
        seller.start()
    copies = [tmp_path / f"copy-{n}" for n in range(5)]
    for copy in copies:
        copy.mkdir()
        before = box.query("SELECT count(*) FROM events")[0][0]
        done = run_command("backup", "--data-dir", box.data_dir, copy / "journal.db")
        assert (done.returncode, done.stderr) == (0, "")
        count = int(re.search(r": (\d+) events up to sequence \1, checked\n", done.stdout).group(1))
        assert count >= before
        assert len(events(copy / "journal.db")) == count
    stopping.set()
    for seller in sellers:
        seller.join()
    assert set(sold) == {201}
    whole = events(box.data_dir / "journal.db")
    for copy in copies:
        copied = events(copy / "journal.db")
        assert copied == whole[:len(copied)]
        assert verify(copy).returncode == 0
    twin = make_box(name=copies[-1].name)
    assert twin.stock() == 1000000 - (len(copied) - 1)
    assert twin.sell().json["id"] == len(copied)


def test_a_backup_of_a_stopped_box_is_whole(folder, tmp_path):
    done = run_command("backup", "--data-dir", folder, tmp_path / "copy.db")
    assert done.returncode == 0
    assert events(tmp_path / "copy.db") == events(folder / "journal.db")


def test_a_backup_never_replaces_a_file(folder, tmp_path):
    for content in (b"precious", b""):
        (tmp_path / "file").write_bytes(content)
        done = run_command("backup", "--data-dir", folder, tmp_path / "file")
        assert done.returncode == 1
        assert "exists" in done.stderr
        assert (tmp_path / "file").read_bytes() == content
    journal = folder / "journal.db"
    before = events(journal)
    assert run_command("backup", "--data-dir", folder, journal).returncode == 1
    assert events(journal) == before


def test_a_backup_that_fails_says_why_and_leaves_nothing(folder, tmp_path):
    done = run_command("backup", "--data-dir", folder, tmp_path / "nowhere" / "copy.db")
    assert done.returncode == 1 and done.stderr
    done = run_command("backup", "--data-dir", tmp_path / "nowhere", tmp_path / "copy.db")
    assert done.returncode == 1 and done.stderr
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_of_a_damaged_journal_is_told(folder, tmp_path):
    change(folder, "UPDATE events SET hash = zeroblob(32) WHERE sequence = 9")
    done = run_command("backup", "--data-dir", folder, tmp_path / "copy.db")
    assert done.returncode == 4
    assert "event 9" in done.stderr


def findings(folder, *arguments):
    """The exit code and what `check --json` found, by name."""
    done = run_command("check", "--data-dir", folder, "--json", *arguments)
    report = json.loads(done.stdout)
    grouped = {name: [(item["verdict"], item["detail"]) for item in group]
               for name, group in itertools.groupby(
                   sorted(report["findings"], key=lambda item: item["check"]),
                   key=lambda item: item["check"])}
    assert report["worst"] in ("ok", "note", "warn", "fail")
    return done.returncode, report["worst"], grouped


def test_check_finds_a_healthy_box_healthy(shop):
    code, worst, found = findings(shop.data_dir)
    assert code == 0
    assert worst != "fail"
    assert found["journal"] == [("ok", "ok")]
    assert found["chain"] == [("ok", "22 events")]
    assert found["folder"] == [("ok", str(shop.data_dir))]
    assert {"space", "clock", "sqlite", "libmicrohttpd", "cjson", "libcrypto"} <= set(found)
    plain = run_command("check", "--data-dir", shop.data_dir)
    assert plain.returncode == 0
    assert re.search(r"^ok +chain +22 events$", plain.stdout, re.MULTILINE)


def test_check_knows_the_defects_of_the_libraries(shop):
    _, _, found = findings(shop.data_dir)
    for library in ("sqlite", "libmicrohttpd", "cjson"):
        (verdict, detail), = found[library]
        assert ("known defect" in detail) == (verdict == "note")


def test_check_warns_of_a_folder_that_is_open_to_all(folder):
    folder.chmod(0o755)
    code, _, found = findings(folder)
    assert (code, found["folder"][0][0]) == (0, "warn")


def test_check_fails_where_there_is_no_folder(tmp_path):
    code, worst, found = findings(tmp_path / "nowhere")
    assert (code, worst, found["folder"][0][0]) == (1, "fail", "fail")


def test_check_notes_that_there_is_no_journal_yet(tmp_path):
    tmp_path.chmod(0o700)
    code, _, found = findings(tmp_path)
    assert (code, found["journal"][0][0]) == (0, "note")
    assert list(tmp_path.iterdir()) == [], "it changes nothing"


def test_check_fails_on_a_volume_that_forgets(folder, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", volume], check=True)
    try:
        shutil.copy(folder / "journal.db", volume)
        code, worst, found = findings(volume)
    finally:
        subprocess.run(["umount", volume], check=True)
    assert (code, worst, found["disk"][0][0]) == (1, "fail", "fail")
    assert "tmpfs" in found["disk"][0][1]
    assert found["space"][0][0] == "warn"


def test_check_finds_damaged_pages(folder):
    with open(folder / "journal.db", "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 3)
    code, worst, _ = findings(folder)
    assert (code, worst) == (4, "fail")


def test_commands_leave_the_journal_as_it_is(folder, tmp_path):
    before = (folder / "journal.db").read_bytes()
    verify(folder)
    findings(folder)
    run_command("backup", "--data-dir", folder, tmp_path / "copy.db")
    assert (folder / "journal.db").read_bytes() == before
