"""What both sinks have and is old leaves the journal; what is parked doesn't, and what is left can
still be proved."""

import time

from box import run_command
from box import wait_until
from bridge import assert_all_arrived
from bridge import has_settled
from bridge import open_till
from bridge import read_journal
from bridge import run_bridge
from bridge import seed

OLD_ORDERS = 400
REFUSED_ORDER = 300
LOOK_SECONDS = 2.5  # after its start a box has looked for what it may remove


def first_event(box):
    return read_journal(box.data_dir, "SELECT min(sequence) FROM events")[0][0]


def retire(box, first):
    """A box looks for what it may remove soon after its start, and once a minute."""
    assert box.stop() == 0
    box.start()
    wait_until(lambda: first_event(box) >= first, 10, f"the removal of what is before {first}")


def assert_proved(box):
    done = run_command("verify", "--data-dir", box.data_dir)
    assert done.returncode == 0, done


def test_old_events_leave_once_all_have_them_and_parked_ones_stay(tmp_path, make_box, office,
                                                                make_bridge):
    seed(tmp_path / "var", OLD_ORDERS, days_ago=10)
    box = make_box("--retention-days", "1")
    office.query(f"ALTER TABLE orders ADD CONSTRAINT never CHECK (order_id <> {REFUSED_ORDER})")
    bridge = make_bridge(box.data_dir, office)
    till = open_till(box)
    till.orders = set(range(1, OLD_ORDERS + 1))
    till.trade(20)
    refused = REFUSED_ORDER + 1  # the first event is the product's
    events = assert_all_arrived(bridge, office, till, {"postgres": {refused}})
    recent = OLD_ORDERS + 2

    retire(box, refused)
    assert first_event(box) == refused
    assert_proved(box)
    assert bridge.status()["unaccounted_events"] == 0

    office.query("ALTER TABLE orders DROP CONSTRAINT never")
    assert run_bridge("replay", "--data-dir", box.data_dir,
                      environment=bridge.settings).returncode == 0
    retire(box, recent)
    assert first_event(box) == recent
    assert_proved(box)
    assert bridge.stop() == 0
    bridge.start()
    till.trade(20)
    wait_until(lambda: has_settled(bridge), 10)
    assert bridge.status()["unaccounted_events"] == 0
    assert office.number("SELECT count(*) FROM event_logs") == len(events) + 20
    assert run_bridge("reconcile", "--data-dir", box.data_dir,
                      environment=bridge.settings).returncode == 0


def test_what_one_sink_has_not_got_stays(tmp_path, make_box, office, make_bridge):
    seed(tmp_path / "var", OLD_ORDERS, days_ago=10)
    box = make_box("--retention-days", "1")
    bridge = make_bridge(box.data_dir, office, TILLBOX_AMQP_URL="amqp://nobody@127.0.0.1:1/")
    bridge.wait_for_sink("postgres", pending=0)
    bridge.wait_for_sink("rabbitmq", state="down")
    box.sell()
    retire(box, 1)
    time.sleep(LOOK_SECONDS)
    assert first_event(box) == 1
