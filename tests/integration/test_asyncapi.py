"""docs/api/asyncapi.yaml is right: the broker has what it declares, every message that comes from a
bridge is as it says, and every message in it comes."""

import collections
import contextlib
import json
import re

import jsonschema
import pytest
import yaml

from box import ROOT, Box, wait_until
from bridge import (Bridge, Till, calendar_seconds, has_settled, open_office, read_events,
                    run_bridge, settings_of)
from central import Message, connected
from contract import references

FILE = ROOT / "docs" / "api" / "asyncapi.yaml"
EVENTS, DEAD_LETTERS, FAILED = "order.events", "order.dlx", "order.failed"
INVENTORY, NOTIFICATION = "inventory.order.queue", "notification.order.queue"
TAP = "test.tap"    # a subscriber to everything
FULL = "test.full"  # takes nothing at all
STOCK_MAX, PRICE_MAX, INTEGER_MAX = 10**9, 10**12, 2**53 - 1
DELIVERIES = 21  # one more than a queue makes of an event that nobody acknowledges

Met = collections.namedtuple("Met", "channel routing_key headers properties body")


def shape(members):
    """The JSON Schema of an object; a member with "!" must be there."""
    return {"type": "object", "additionalProperties": False,
            "properties": {name.rstrip("!"): member for name, member in members.items()},
            "required": [name[:-1] for name in members if name.endswith("!")]}


def map_of(member):
    return {"type": "object", "minProperties": 1, "additionalProperties": member,
            "propertyNames": {"pattern": r"^[A-Za-z0-9._-]+$"}}


def list_of(item):
    return {"type": "array", "minItems": 1, "items": item}


def link_to(section):
    return shape({"$ref!": {"pattern": f"^#/{section}/[^/]+$"}})


def amqp(members):
    return shape({"amqp!": shape({**members, "bindingVersion!": {"const": "0.3.0"}})})


# What AsyncAPI 3.0 and its AMQP bindings allow, as far as this file uses it.
TEXT, SWITCH = {"type": "string", "minLength": 1}, {"type": "boolean"}
NAMES = list_of(TEXT)
KEPT = {"durable!": SWITCH, "autoDelete!": SWITCH}
CHANNEL = {"address!": TEXT, "title": TEXT, "summary!": TEXT,
           "messages!": map_of(link_to("components/messages"))}
RULES = shape({
    "asyncapi!": {"const": "3.0.0"},
    "info!": shape({"title!": TEXT, "version!": TEXT, "description!": TEXT}),
    "defaultContentType!": {"const": "application/json"},
    "servers!": map_of(shape({
        "host!": TEXT, "protocol!": {"enum": ["amqp", "amqps"]},
        "protocolVersion!": {"const": "0.9.1"}, "description!": TEXT,
        "variables": map_of(shape({"description!": TEXT})),
        "security!": list_of(link_to("components/securitySchemes"))})),
    "channels!": map_of({"oneOf": [
        shape({**CHANNEL,
               "parameters": map_of(shape({"description!": TEXT, "enum!": NAMES,
                                           "location!": {"pattern": r"^\$message\.payload#/"}})),
               "bindings!": amqp({"is!": {"const": "routingKey"},
                                  "exchange!": shape({"name!": TEXT, **KEPT, "type!": {
                                      "enum": ["topic", "direct", "fanout", "headers"]}})})}),
        shape({**CHANNEL, "x-queue-arguments!": {"type": "object"},
               "x-bound-to!": shape({"exchange!": TEXT, "routing_keys!": NAMES}),
               "bindings!": amqp({"is!": {"const": "queue"},
                                  "queue!": shape({"name!": TEXT, "exclusive!": SWITCH,
                                                   **KEPT})})})]}),
    "operations!": map_of(shape({
        "action!": {"enum": ["send", "receive"]}, "title!": TEXT, "summary!": TEXT,
        "channel!": link_to("channels"), "messages!": list_of(link_to("channels/[^/]+/messages")),
        "bindings!": {"oneOf": [link_to("components/operationBindings"),
                                amqp({"ack!": SWITCH})]}})),
    "components!": shape({
        "securitySchemes!": map_of(shape({"type!": {"const": "userPassword"},
                                          "description!": TEXT})),
        "operationBindings!": map_of(amqp({"deliveryMode!": {"enum": [1, 2]},
                                           "mandatory!": SWITCH, "timestamp!": SWITCH})),
        "messages!": map_of(shape({
            "name!": TEXT, "title!": TEXT, "summary!": TEXT,
            "headers!": link_to("components/schemas"), "payload!": link_to("components/schemas"),
            "x-amqp-properties!": link_to("components/schemas"),
            "bindings": amqp({"messageType!": TEXT}),
            "examples!": list_of(shape({"name!": TEXT, "headers!": {"type": "object"},
                                        "payload!": {"type": "object"}}))})),
        "schemas!": map_of({"type": "object", "minProperties": 1})})})


def child_schemas(schema):
    """(place, schema) of what stands in a schema."""
    for name, child in schema.get("properties", {}).items():
        if isinstance(child, dict):
            yield f"properties/{name}", child
    if "items" in schema:
        yield "items", schema["items"]
    for keyword in ("allOf", "oneOf"):
        for index, child in enumerate(schema.get(keyword, [])):
            yield f"{keyword}/{index}", child


def member_at(expression, payload):
    """What "$message.payload#/…" means in this payload."""
    value = payload
    for name in expression.removeprefix("$message.payload#/").split("/"):
        value = value[name]
    return value


def met_of(channel, message):
    """A message off the channel of that name, in words of JSON."""
    properties = {name: value for name, value in vars(message.properties).items()
                  if value is not None}
    headers = json.loads(json.dumps(properties.pop("headers", {}), default=str))
    return Met(channel, message.routing_key, headers, properties, message.body)


class AsyncApi:
    """The file, and whether something is as it says. A fault is a sentence."""

    def __init__(self):
        self.document = yaml.safe_load(FILE.read_text())
        self.channels = self.document["channels"]
        self.messages = self.document["components"]["messages"]
        self.schemas = self.document["components"]["schemas"]
        self.validators = {}

    def look_up(self, pointer):
        node = self.document
        for name in pointer.removeprefix("#/").split("/"):
            node = node[name]
        return node

    def binding(self, channel):
        """(what it is, its binding) for an exchange or a queue."""
        amqp = self.channels[channel]["bindings"]["amqp"]
        return ("queue", amqp["queue"]) if amqp["is"] == "queue" else ("exchange",
                                                                       amqp["exchange"])

    def channel_of(self, kind, name):
        """The channel that stands for an exchange or a queue; None if there is none."""
        for channel in self.channels:
            found, binding = self.binding(channel)
            if (found, binding["name"]) == (kind, name):
                return channel
        return None

    def value_faults(self, schema, value):
        """What is wrong with a value. AsyncAPI's schemas are JSON Schema, draft 7."""
        if id(schema) not in self.validators:
            # The components go along so that "#/components/…" is found inside the schema itself.
            whole = {**schema, "components": self.document["components"]}
            self.validators[id(schema)] = jsonschema.Draft7Validator(whole)
        return [f"{error.json_path}: {error.message}"
                for error in self.validators[id(schema)].iter_errors(value)]

    def parts(self, where, schema, value):
        """(where, schema, value) for every schema that applies to a part of a valid value."""
        yield where, schema, value
        if "$ref" in schema:
            yield from self.parts(schema["$ref"], self.look_up(schema["$ref"]), value)
            return
        for place, child in child_schemas(schema):
            keyword, _, name = place.partition("/")
            values = [value]
            if keyword == "properties":
                values = [value[name]] if name in value else []
            elif keyword == "items":
                values = value
            elif keyword == "oneOf" and self.value_faults(child, value):
                values = []
            for part in values:
                yield from self.parts(f"{where}/{place}", child, part)

    def sections(self, name, met):
        """(section, schema, value) of a message."""
        for section, value in (("headers", met.headers), ("x-amqp-properties", met.properties),
                               ("payload", json.loads(met.body))):
            yield section, self.messages[name][section], value

    def key_faults(self, met):
        """Did it come by a routing key of its channel?"""
        channel = self.channels[met.channel]
        if "x-bound-to" in channel:
            keys = channel["x-bound-to"]["routing_keys"]
        else:
            keys = [channel["address"]]
            for name, parameter in channel.get("parameters", {}).items():
                value = member_at(parameter["location"], json.loads(met.body))
                keys = [key.replace("{%s}" % name, value) for key in keys]
        return [] if met.routing_key in keys else [f"{met.routing_key} is none of {keys}"]

    def relation_faults(self, name, met):
        """Between the parts of a message that are valid each for itself."""
        payload, faults = json.loads(met.body), self.key_faults(met)
        for section, section_schema, section_value in self.sections(name, met):
            for where, schema, value in self.parts(section, section_schema, section_value):
                if "x-equals" in schema and value != member_at(schema["x-equals"], payload):
                    faults.append(f"{where}: {value} is not {schema['x-equals']}")
                if section == "payload" and "additionalProperties" in schema:
                    wanted = [member for member in schema["properties"] if member in value]
                    faults += [] if list(value) == wanted else [f"{where}: not in order"]
        if met.properties["timestamp"] != calendar_seconds(payload["occurred_at"]):
            faults.append("timestamp is not occurred_at")
        compact = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return faults + ([] if met.body == compact.encode() else ["the body isn't compact"])

    def message_faults(self, name, met):
        faults = [f"{section}: {fault}" for section, schema, value in self.sections(name, met)
                  for fault in self.value_faults(schema, value)]
        return faults or self.relation_faults(name, met)

    def faults(self, met):
        """{message of the file: in what this one differs}, for those of the channel."""
        messages = self.channels[met.channel]["messages"] if met.channel else {}
        return {name: self.message_faults(name, met) for name in messages}

    def name_of(self, met):
        """The one message of the file that this one is; None if it is none or several."""
        names = [name for name, faults in self.faults(met).items() if not faults]
        return names[0] if len(names) == 1 else None


API = AsyncApi()


class Story:
    """A box, its bridge and its head office; `met` has every message that was taken there."""

    def __init__(self, servers, folder):
        servers.revive()
        self.office = open_office(servers)
        self.box = Box(folder / "var", "--device-id", "box-17", "--location", "harbour")
        self.bridge = Bridge(self.box.data_dir, settings_of(self.office))
        self.met = []
        self.declared = {}

    @contextlib.contextmanager
    def running(self):
        """Both must end cleanly."""
        done = run_bridge("topology", environment=settings_of(self.office))
        assert done.returncode == 0, done
        self.declared = {kind: self.office.api("GET", f"/{kind}/{self.office.name}")
                         for kind in ("exchanges", "queues", "bindings")}
        self.rebind("declare", TAP, durable=True)
        self.rebind("bind", TAP, exchange=EVENTS, routing_key="#")
        self.rebind("bind", TAP, exchange=DEAD_LETTERS, routing_key=FAILED)
        self.box.start()
        self.bridge.start()
        try:
            yield
        finally:
            codes = [self.bridge.stop(), self.box.stop()]
        assert codes == [0, 0], self.bridge.log_path.read_text()

    def rebind(self, verb, queue, **arguments):
        with connected(self.office.amqp_url) as connection:
            getattr(connection.channel(), f"queue_{verb}")(queue, **arguments)

    def take(self, queue=TAP):
        """Takes what is in the queue now; all that were ever taken."""
        for message in self.office.take(queue):
            channel = API.channel_of("exchange", message.exchange) if queue == TAP \
                else API.channel_of("queue", queue)
            self.met.append(met_of(channel, message))
        return self.met

    def settle(self):
        wait_until(lambda: has_settled(self.bridge), 30, "the last event")
        self.take()

    def wait_for_dead_letters(self, count):
        wait_until(lambda: sum(met.channel == "dead_letters" for met in self.take()) == count, 30,
                   f"dead letter {count}")

    def give_back(self, queue, count=1, requeue=True):
        """Takes so many messages off a queue as a consumer would, and rejects them."""
        with connected(self.office.amqp_url) as connection:
            channel = connection.channel()

            def get():
                method, properties, body = channel.basic_get(queue)
                return method and Message(body, properties, method.exchange, method.routing_key)

            for _ in range(count):
                message = wait_until(get, what=f"a message in {queue}")
                self.met.append(met_of(API.channel_of("queue", queue), message))
            channel.basic_nack(multiple=True, requeue=requeue)

    @contextlib.contextmanager
    def nobody_takes(self, event_type):
        bindings = [(TAP, "#"), (INVENTORY, event_type), (NOTIFICATION, event_type)]
        for queue, key in bindings:
            self.rebind("unbind", queue, exchange=EVENTS, routing_key=key)
        yield
        for queue, key in bindings:
            self.rebind("bind", queue, exchange=EVENTS, routing_key=key)

    @contextlib.contextmanager
    def full_queue(self, event_type):
        self.rebind("declare", FULL, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
        self.rebind("bind", FULL, exchange=EVENTS, routing_key=event_type)
        yield
        self.rebind("delete", FULL)

    @contextlib.contextmanager
    def database_refuses(self, event_type):
        self.office.query("ALTER TABLE event_logs ADD CONSTRAINT not_now"
                          f" CHECK (event_type <> '{event_type}') NOT VALID")
        yield
        self.office.query("ALTER TABLE event_logs DROP CONSTRAINT not_now")

    def replay(self, *arguments):
        done = run_bridge("replay", "--data-dir", self.box.data_dir, *arguments,
                          environment=settings_of(self.office))
        assert done.returncode == 0, done
        self.take()


def sell(story, **members):
    answer = story.box.orders("POST", "/orders", {"user_id": 1, **members})
    assert answer.status == 201, answer
    return answer.json["id"]


def change(story, product_id, **members):
    """Its name, price or sku; or its stock, by a delta and a reason."""
    path = f"/products/{product_id}"
    answer = story.box.inventory("POST", f"{path}/stock", members) if "delta" in members \
        else story.box.inventory("PATCH", path, members)
    assert answer.status == 200, answer


def open_a_shop(story):
    """The first minutes, in the words of the file's examples."""
    story.box.add_product(price=99900)
    story.box.add_product(stock=100, name="Espresso", price=250, sku="ESP-1")
    order_id = sell(story, items=[{"product_id": 1, "quantity": 1},
                                  {"product_id": 2, "quantity": 3}])
    assert story.box.orders("POST", f"/orders/{order_id}/cancel").status == 200
    change(story, 2, price=280)
    change(story, 1, delta=10, reason="delivery")
    story.settle()


def refuse_in_every_way(story):
    """By the broker, by a consumer, by a queue and by the database."""
    with story.nobody_takes("order.created"):
        sell(story, product_id=1, quantity=1)
        story.wait_for_dead_letters(1)
    story.take(INVENTORY)
    story.take(NOTIFICATION)
    story.replay()
    story.give_back(INVENTORY, requeue=False)
    story.wait_for_dead_letters(2)
    for _ in range(DELIVERIES):
        story.give_back(NOTIFICATION)
    story.wait_for_dead_letters(3)
    with story.full_queue("stock.adjusted"):
        change(story, 1, delta=-1, reason="broken")
        story.wait_for_dead_letters(4)
    with story.database_refuses("product.updated"):
        change(story, 1, sku=None)
        story.wait_for_dead_letters(5)


def go_to_the_limits(story):
    long_name, long_sku = "\N{CROISSANT}" * 200, ('"\\/' + "é" * 61)
    story.box.add_product(stock=STOCK_MAX, name=long_name, price=PRICE_MAX, sku=long_sku)
    story.box.add_product(stock=STOCK_MAX, name="x")
    story.box.add_product(stock=0, name=" ")
    sell(story, user_id=INTEGER_MAX, product_id=3, quantity=INTEGER_MAX // PRICE_MAX)
    sell(story, items=[{"product_id": 4, "quantity": 1000000}] * 1000)
    sell(story, items=[{"product_id": 3, "quantity": 1}] * 1000)
    change(story, 5, delta=STOCK_MAX, reason="\u2028" * 200)
    change(story, 5, delta=-STOCK_MAX, reason="x")
    change(story, 3, product_name="y" * 200, price=0, sku=None)


@pytest.fixture(scope="module")
def story(servers, tmp_path_factory):
    """A head office that has seen everything there is in the file."""
    story = Story(servers, tmp_path_factory.mktemp("asyncapi"))
    with story.running():
        open_a_shop(story)
        refuse_in_every_way(story)
        story.give_back(FAILED, count=5)
        story.replay("--queue", "--dry-run")
        story.replay("--queue")
        go_to_the_limits(story)
        Till(story.box).trade(40)
        story.settle()
        story.replay("--from", "1")
    for queue in (INVENTORY, NOTIFICATION):
        story.take(queue)
    yield story
    story.office.remove()


def test_explore(story):
    import pprint
    seen=set()
    for met in story.met:
        faults=API.faults(met)
        key=(met.channel, API.name_of(met), tuple(sorted(met.headers)))
        if key in seen and API.name_of(met): continue
        seen.add(key)
        print(met.channel, met.routing_key, API.name_of(met)); pprint.pprint(met.headers); print(met.properties, met.body[:300])
        if not API.name_of(met): pprint.pprint(faults)
    pprint.pprint(story.declared)
    assert 0
