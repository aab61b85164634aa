"""A box speaks for itself alone: the broker vouches for who sent an event, and the services of a head
office with `amqp_user_prefix` act on no event of a device that another login sent."""

import contextlib
import json

import pika
import pytest

from box import wait_until
from bridge import has_settled
from bridge import open_office
from bridge import open_till
from bridge import read_events
from bridge import read_parked
from bridge import run_bridge
from central import connected
from roles import add_service
from roles import remove_logins
from roles import url_of
from service import Publisher
from service import Service
from service import declare_topology
from service import stock_of
from service import wait_for_stock
from service import wait_until_taken
from test_bridge_broker import let_one_through

FAILED = "order.failed"
INVENTORY, NOTIFICATION = "inventory.order.queue", "notification.order.queue"
CHECKED = {"TILLBOX_AMQP_USER_PREFIX": "box-"}


@pytest.fixture
def guarded(servers):
    """A head office with two boxes' logins: `tills` has {device_id: settings of its bridge}."""
    servers.revive()
    office = open_office(servers)
    office.logins, office.tills = set(), {}
    declare_topology(office)
    yield office
    servers.revive()
    remove_logins(office)
    office.remove()


def add_user(office, user, tags=""):
    """The variable that leads to the broker under this login."""
    office.api("PUT", f"/users/{user}", {"password": office.rabbit.password, "tags": tags})
    return {"TILLBOX_AMQP_URL": office.rabbit.url_of(office.name, user=user)}


@pytest.fixture
def tills(guarded):
    """The device_ids of two boxes with logins as tools/add-box.sh makes them, which takes longer."""
    devices = [f"{guarded.name}-till-{number}" for number in (1, 2)]
    for device in devices:
        login = f"box-{device}"
        guarded.query(f"SELECT tillbox_add_box('{device}', NULL)")
        guarded.logins.add(login)
        guarded.tills[device] = {"TILLBOX_POSTGRES_URL": url_of(guarded, login),
                                 **add_user(guarded, login)}
        guarded.allow(login, "^$", "^order[.](events|dlx)$", "^$")
    return devices


@pytest.fixture
def start(guarded, make_inventory, tmp_path):
    """Starts both services under logins with these tags, with the check switched on."""
    with contextlib.ExitStack() as stack:
        def both(tags="impersonator"):
            logins = [add_service(guarded, name, tags) for name in ("inventory", "notification")]
            inventory = make_inventory(guarded, **logins[0], **CHECKED)
            notification = Service(tmp_path, guarded, "notification", "--status-listen",
                                   **logins[1], **CHECKED).start()
            stack.callback(notification.stop)
            return inventory
        yield both


def sender_of(office, device):
    """A raw client that is logged in as the box."""
    return Publisher(office, device, url=office.tills[device]["TILLBOX_AMQP_URL"])


def operator_of(office, tags):
    """The settings of a person's login at head office."""
    user = f"operator-{office.name}"
    office.query(f"SELECT tillbox_add_login('{user}', 'tillbox_reader', 'secret')")
    office.logins.add(user)
    settings = add_user(office, user, tags)
    office.allow(user)
    return settings


def replay_queue(folder, settings):
    return run_bridge("replay", "--queue", "--data-dir", folder, environment=settings)


def letters_in(office, count):
    """The dead letters, once there are so many; they stay."""
    wait_until(lambda: office.queue_length(FAILED) == count, 15, f"{count} dead letters")
    with connected(office.amqp_url) as connection:
        channel = connection.channel()
        return [channel.basic_get(FAILED)[1:] for _ in range(count)]


def assert_nothing_counted(office):
    assert [office.queue_length(queue) for queue in (INVENTORY, NOTIFICATION)] == [0, 0]
    assert office.query("SELECT * FROM stock_logs") == []
    assert office.query("SELECT * FROM notifications") == []
    assert stock_of(office) == {}


@pytest.mark.parametrize("named", [True, False], ids=["under its own name", "without a name"])
def test_what_a_box_sends_for_another_box_changes_nothing(named, guarded, tills, start):
    start()
    victim, forger = tills
    with sender_of(guarded, forger) as client:
        client.device = victim
        client.publish(client.order("created", (1, 5)),
                       **({"user_id": f"box-{forger}"} if named else {}))
    letters = letters_in(guarded, 2)
    reason = (f'user_id is "box-{forger}", who may not send for "{victim}"' if named
              else f'user_id is required, as "box-{victim}"')
    assert {properties.headers["x-reason"] for properties, _ in letters} == {reason}
    assert {properties.headers["x-refused-by"] for properties, _ in letters} == \
        {INVENTORY, NOTIFICATION}
    assert_nothing_counted(guarded)


def test_the_broker_takes_nothing_from_a_box_under_another_boxs_name(guarded, tills, start):
    start()
    victim, forger = tills
    with sender_of(guarded, forger) as client:
        client.device = victim
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="406.*user_id"):
            client.publish(client.order("created", (1, 5)), user_id=f"box-{victim}")
    assert guarded.queue_length(FAILED) == 0
    assert_nothing_counted(guarded)


def test_no_way_round_leads_by_the_dead_letters(guarded, tills, start, tmp_path):
    """A box may write there; what an operator brings back is still the forger's."""
    start()
    victim, forger = tills
    with sender_of(guarded, forger) as client:
        client.device = victim
        event = client.order("created", (1, 5))
        for user_id in (f"box-{forger}", None):
            client.channel.basic_publish(
                "order.dlx", FAILED, json.dumps(event),
                pika.BasicProperties(type="order.created", message_id=event["event_id"],
                                     user_id=user_id, headers={"x-user-id": f"box-{victim}"}))
    letters_in(guarded, 2)
    done = replay_queue(tmp_path, operator_of(guarded, "impersonator"))
    assert done.returncode == 0, done
    letters_in(guarded, 4)  # each of the two services refuses both
    assert_nothing_counted(guarded)


def test_a_box_speaks_for_itself(make_box, guarded, tills, start, make_bridge, tmp_path):
    """Its sales count, each once, also when they are sent again: by a replay of a range, of what is
    parked, and of the dead letters by an operator."""
    start()
    device = tills[0]
    box = make_box("--device-id", device, "--location", "harbour")
    bridge = make_bridge(box.data_dir, guarded, **guarded.tills[device])
    open_till(box).trade(20)
    for queue in (INVENTORY, NOTIFICATION):
        guarded.unbind("order.created", queue)
    box.sell()
    refused = len(read_events(box.data_dir))
    let_one_through(box)
    wait_until(lambda: read_parked(box.data_dir, "rabbitmq").get(refused, {"dead_lettered": 0})
               ["dead_lettered"], 10, "the dead letter of a parked event")
    for queue in (INVENTORY, NOTIFICATION):
        guarded.bind("order.created", queue)
    done = replay_queue(box.data_dir, operator_of(guarded, "impersonator"))
    assert done.returncode == 0, done
    for command in (["replay"], ["replay", "--from", 1]):
        done = run_bridge(*command, "--data-dir", box.data_dir, environment=guarded.tills[device])
        assert done.returncode == 0, done
    wait_until(lambda: has_settled(bridge), 10, "the last event")
    wait_for_stock(guarded, {number: box.stock(number) for number in (1, 2)})
    for queue in (INVENTORY, NOTIFICATION):
        wait_until_taken(guarded, queue)
    assert guarded.queue_length(FAILED) == 0


def test_an_operator_who_may_not_send_in_anothers_name_is_told(guarded, tills, start, tmp_path):
    """And the message stays where it is."""
    start()
    device = tills[0]
    with sender_of(guarded, device) as client:
        event = client.order("created", (1, 5))
        client.channel.basic_publish(
            "order.dlx", FAILED, json.dumps(event),
            pika.BasicProperties(type="order.created", message_id=event["event_id"],
                                 user_id=f"box-{device}"))
    operator = operator_of(guarded, "")
    done = replay_queue(tmp_path, operator)
    assert done.returncode == 1
    assert (f"{event['event_id']} was sent by box-{device}, and the broker lets "
            f"operator-{guarded.name} send nothing in another's name; that takes a user with the "
            "tag impersonator") in done.stderr
    letters_in(guarded, 1)
    operator_of(guarded, "impersonator")
    assert replay_queue(tmp_path, operator).returncode == 0
    wait_for_stock(guarded, {1: -5})


def test_a_dead_letter_keeps_its_senders_name(guarded, tills, start):
    start()
    with sender_of(guarded, tills[0]) as client:
        client.publish("junk", user_id=f"box-{tills[0]}")
    assert {properties.user_id for properties, _ in letters_in(guarded, 2)} == {f"box-{tills[0]}"}


def test_services_that_may_not_keep_it_send_their_dead_letters_all_the_same(guarded, tills, start):
    inventory = start(tags="")
    with sender_of(guarded, tills[0]) as client:
        client.publish("junk", "more junk", client.order("created", (1, 5)),
                       user_id=f"box-{tills[0]}")
        wait_for_stock(guarded, {1: -5})
        client.publish("junk again", user_id=f"box-{tills[0]}")
    letters = letters_in(guarded, 6)
    assert {properties.user_id for properties, _ in letters} == {None}
    assert inventory.counts()["dead_lettered"] == 3
    assert inventory.status()["rabbitmq"]["state"] == "up"


def test_boxes_that_share_a_login_are_told_apart_by_nobody(box, office, make_bridge, make_inventory):
    """Without the setting, as in a shop that runs it all on one machine."""
    make_inventory(office)
    make_bridge(box.data_dir, office)
    open_till(box).trade(5)
    location = json.loads(read_events(box.data_dir)[0].payload)["location"]
    wait_for_stock(office, {number: box.stock(number) for number in (1, 2)}, location=location)
    assert {message.properties.user_id for message in office.take(NOTIFICATION)} \
        == {office.rabbit.user}
