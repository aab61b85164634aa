"""The journal's files taken away, swapped or reached by a second name while the box runs: nothing is
acknowledged that would be gone with the process."""

import os

import pytest

from box import Box
from box import wait_until


@pytest.fixture
def shop(make_box):
    box = make_box()
    box.add_product(stock=100)
    assert box.sell(user_id=1).status == 201
    yield box
    if box.process.poll() is None:
        box.kill()


def hide(path):
    """Moves a file away; returns where it is now."""
    return path.rename(path.with_suffix(".hidden" + path.suffix))


def expect_refused(shop):
    answer = shop.sell(user_id=2)
    assert answer.status == 500, answer
    assert "the change was not made" in answer.json["detail"]


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_file_that_was_removed_is_noticed_before_a_sale_is_acknowledged(shop, name):
    hidden = hide(shop.data_dir / name)
    expect_refused(shop)
    hidden.rename(shop.data_dir / name)
    assert shop.sell(user_id=3).status == 201
    assert shop.stop() == 0
    shop.start()
    assert [row[0] for row in shop.query("SELECT user_id FROM orders")] == [1, 3]


def test_a_journal_that_was_replaced_is_noticed_before_a_sale_is_acknowledged(shop):
    path = shop.data_dir / "journal.db"
    hidden = hide(path)
    path.write_bytes(hidden.read_bytes())
    expect_refused(shop)


def test_a_box_that_has_lost_its_journal_is_not_ready_although_nobody_sells(shop):
    hidden = hide(shop.data_dir / "journal.db")
    assert shop.orders("GET", "/readyz").status == 503
    assert shop.orders("GET", "/healthz").json["journal"] == "failing"
    assert shop.metric("tillbox_journal_writable") == 0
    wait_until(lambda: shop.log_events("journal.missing"), 10, "the alarm")
    hidden.rename(shop.data_dir / "journal.db")
    wait_until(lambda: shop.log_events("journal.restored"), 10, "the end of the alarm")
    assert shop.orders("GET", "/readyz").status == 200
    assert shop.metric("tillbox_journal_writable") == 1


def test_a_box_that_has_lost_its_journal_does_not_stop_as_if_all_were_well(shop):
    hide(shop.data_dir / "journal.db")
    assert shop.stop() == 1


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_two_boxes_do_not_share_a_journal_by_two_names(shop, tmp_path, link):
    other = Box(tmp_path / "other")
    other.data_dir.mkdir()
    link(shop.data_dir / "journal.db", other.data_dir / "journal.db")
    with pytest.raises(RuntimeError):
        other.start()
    assert other.process.returncode == 3


def test_a_wal_that_was_removed_after_a_crash_is_told(shop):
    shop.kill()
    (shop.data_dir / "journal.db-wal").unlink()
    shop.start()
    assert shop.log_events("journal.wal_missing")
    assert shop.status()["journal"]["stopped_cleanly_before"] is False


@pytest.mark.parametrize("end", [Box.stop, Box.kill])
def test_a_wal_that_is_there_is_not_missed(shop, end):
    for _ in range(2):
        end(shop)
        shop.start()
    assert not shop.log_events("journal.wal_missing")
