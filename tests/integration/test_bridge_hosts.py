"""Head office has more than one address, and some of them say nothing; or the line is slow."""

import time

from bridge import assert_all_arrived
from bridge import open_till
from bridge import seed
from fault_proxy import UP
from fault_proxy import FaultProxy

CONNECT_SECONDS = 15  # of all hosts and addresses together
SLOW_BYTES_PER_SECOND = 64_000
SLOW_SECONDS = 120


def urls_with(office, servers, first_postgres, first_rabbit):
    """A first host on these ports of this machine, and then the real one."""
    postgres = servers.postgres.url_of(office.name, first_postgres)
    rabbit = servers.rabbit.url_of(office.name, port=first_rabbit)
    return {
        "TILLBOX_POSTGRES_URL": postgres.replace(
            f"127.0.0.1:{first_postgres}",
            f"127.0.0.1:{first_postgres},127.0.0.1:{servers.postgres.port}"),
        "TILLBOX_AMQP_URL": rabbit.replace(
            f"127.0.0.1:{first_rabbit}",
            f"127.0.0.1:{first_rabbit},localhost:{servers.rabbit.port}")}


def test_a_silent_host_leaves_time_for_the_next(box, office, make_bridge, servers):
    with FaultProxy(servers.postgres.port) as postgres, FaultProxy(servers.rabbit.port) as rabbit:
        postgres.stall_new()
        rabbit.stall_new()
        began = time.monotonic()
        bridge = make_bridge(box.data_dir, office,
                             **urls_with(office, servers, postgres.port, rabbit.port))
        till = open_till(box).trade(5)
        assert_all_arrived(bridge, office, till, seconds=CONNECT_SECONDS)
        assert time.monotonic() - began < CONNECT_SECONDS
        assert postgres.connections and rabbit.connections


def test_a_host_that_is_down_costs_no_time(box, office, make_bridge, servers):
    with FaultProxy(servers.postgres.port) as postgres, FaultProxy(servers.rabbit.port) as rabbit:
        bridge = make_bridge(box.data_dir, office,
                             **urls_with(office, servers, postgres.port, rabbit.port))
        till = open_till(box).trade(5)
        assert_all_arrived(bridge, office, till)
        for line in (postgres, rabbit):
            line.refuse()
            line.cut()
        till.trade(5)
        assert_all_arrived(bridge, office, till, seconds=5)


def test_a_page_shrinks_until_it_gets_through_a_slow_line(tmp_path, make_box, office, make_bridge,
                                                          servers):
    """1.6 MB would take longer than a silent peer is waited for."""
    seed(tmp_path / "var", 4000)
    box = make_box()
    with FaultProxy(servers.postgres.port) as line:
        line.throttle(SLOW_BYTES_PER_SECOND, UP)
        bridge = make_bridge(box.data_dir, office, TILLBOX_POSTGRES_URL=servers.postgres.url_of(
            office.name, line.port))
        till = open_till(box)
        till.orders = set(range(1, 4001))
        began = time.monotonic()
        assert_all_arrived(bridge, office, till, seconds=SLOW_SECONDS)
        print(f"{line.passed[UP]} bytes in {time.monotonic() - began:.0f} s")
        assert line.passed[UP] < 3 * 4000 * 600
