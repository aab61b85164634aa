"""`appliance health` and `bridge health`, which containers are watched by."""

import json

import pytest

from box import run_command
from bridge import run_bridge
from ports import free_port


def test_a_box_that_is_well_says_so(box):
    for host in ("127.0.0.1", "0.0.0.0"):  # "any address" is asked over loopback
        done = run_command("health", "--orders-listen", f"{host}:{box.orders_port}")
        assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ready")


def test_so_does_a_bridge(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    done = run_bridge("health", "--status-listen", f"127.0.0.1:{bridge.port}")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok")


def test_a_bridge_that_needs_a_person_is_not_well(box, office, make_bridge):
    bridge = make_bridge(box.data_dir, office)
    box.add_product(stock=1)
    bridge.wait_for_sink("postgres", cursor=1)
    office.query("UPDATE devices SET journal_id = gen_random_uuid()")
    office.terminate_sessions()
    bridge.wait_for_sink("postgres", 20, state="stopped")
    done = run_bridge("health", "--status-listen", f"127.0.0.1:{bridge.port}")
    assert done.returncode == 1 and "answers 503" in done.stderr


@pytest.mark.parametrize("ask", [
    lambda port: run_command("health", "--orders-listen", f"127.0.0.1:{port}"),
    lambda port: run_bridge("health", "--status-listen", f"127.0.0.1:{port}")])
def test_one_that_does_not_run_is_not_well(ask):
    done = ask(free_port())
    assert (done.returncode, done.stdout) == (1, "") and "health: " in done.stderr
