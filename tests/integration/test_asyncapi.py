"""docs/api/asyncapi.yaml is right: the broker has what it declares, every message that comes from a
bridge is as it says, and every message in it comes."""

import collections
import contextlib
import copy
import json
import re
import time

import jsonschema
import pytest
import yaml

from box import ROOT, Box, wait_until
from bridge import (Bridge, Till, calendar_seconds, has_settled, open_office, read_events,
                    run_bridge, settings_of)
from central import Message, connected
from contract import references
from peer_server import PeerServer, json_answer
from service import Service

FILE = ROOT / "docs" / "api" / "asyncapi.yaml"
EVENTS, DEAD_LETTERS, FAILED = "order.events", "order.dlx", "order.failed"
INVENTORY, NOTIFICATION = "inventory.order.queue", "notification.order.queue"
TAP = "test.tap"    # a subscriber to everything
FULL = "test.full"  # takes nothing at all
STOCK_MAX, PRICE_MAX, INTEGER_MAX = 10**9, 10**12, 2**53 - 1
DELIVERIES = 21  # of an event that is always given back: one, and the 20 that a queue adds

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
    return shape({"$ref!": {"type": "string", "pattern": f"^#/{section}/[^/]+$"}})


def amqp(members):
    return shape({"amqp!": shape({**members, "bindingVersion!": {"const": "0.3.0"}})})


# What AsyncAPI 3.0 and its AMQP bindings allow, as far as this file uses it.
TEXT, SWITCH = {"type": "string", "minLength": 1}, {"type": "boolean"}
NAMES = list_of(TEXT)
KEPT = {"durable!": SWITCH, "autoDelete!": SWITCH}
CHANNEL = {"address!": TEXT, "title": TEXT, "summary!": TEXT,
           "messages!": map_of(link_to("components/messages"))}
RULES = jsonschema.Draft7Validator(shape({
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
                                           "location!": TEXT})),
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
        "schemas!": map_of({"type": "object", "minProperties": 1})})}))


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


# What a limit or a choice of a schema is compared with.
MEASURES = {"minimum": int, "maximum": int, "minLength": len, "maxLength": len, "minItems": len,
            "maxItems": len, "enum": str, "type": lambda value: TYPES[type(value)]}
TYPES = {dict: "object", list: "array", str: "string", int: "integer", type(None): "null"}


def facets(where, schema, *value):
    """The schema, its limits and the choices that it leaves; with a value, those that it meets."""
    yield where
    for keyword, measure in MEASURES.items():
        limits = schema.get(keyword, [])
        for limit in limits if isinstance(limits, list) else [limits]:
            if not value or (value[0] is not None or keyword == "type") \
                    and measure(value[0]) == limit:
                yield f"{where} {keyword} {limit}"


def all_facets(where, schema):
    yield from facets(where, schema)
    for place, child in child_schemas(schema):
        yield from all_facets(f"{where}/{place}", child)


def compact(payload):
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


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
        amqp = {name: channel["bindings"]["amqp"] for name, channel in self.channels.items()}
        self.exchanges = {binding["exchange"]["name"]: name for name, binding in amqp.items()
                          if binding["is"] == "routingKey"}
        self.queues = {binding["queue"]["name"]: name for name, binding in amqp.items()
                       if binding["is"] == "queue"}
        self.messages = self.document["components"]["messages"]
        self.schemas = self.document["components"]["schemas"]
        self.validators = {}

    def look_up(self, pointer):
        node = self.document
        for name in pointer.removeprefix("#/").split("/"):
            node = node[name]
        return node

    def binding(self, channel, kind):
        return self.channels[channel]["bindings"]["amqp"][kind]

    def bound_to(self, queue):
        """{(exchange, routing key)}"""
        bound_to = self.channels[self.queues[queue]]["x-bound-to"]
        return {(bound_to["exchange"], key) for key in bound_to["routing_keys"]}

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
            if keyword == "properties":
                values = [value[name]] if name in value else []
            elif keyword == "oneOf":
                values = [] if self.value_faults(child, value) else [value]
            else:
                values = value if keyword == "items" else [value]
            for part in values:
                yield from self.parts(f"{where}/{place}", child, part)

    def sections(self, name, met):
        """(section, schema, value) of a message."""
        for section, value in (("headers", met.headers), ("x-amqp-properties", met.properties),
                               ("payload", json.loads(met.body))):
            yield section, self.messages[name][section], value

    def relation_faults(self, name, met):
        """Between the parts of a message that are valid each for itself."""
        payload, channel, faults = json.loads(met.body), self.channels[met.channel], []
        keys = channel["x-bound-to"]["routing_keys"] if "x-bound-to" in channel \
            else [channel["address"].format(**payload)]
        if met.routing_key not in keys:
            faults.append(f"{met.routing_key} is none of {keys}")
        for section, section_schema, section_value in self.sections(name, met):
            for where, schema, value in self.parts(section, section_schema, section_value):
                if "x-equals" in schema and value != payload[schema["x-equals"].split("/")[1]]:
                    faults.append(f"{where}: {value} is not {schema['x-equals']}")
                if section == "payload" and "additionalProperties" in schema \
                        and list(value) != [name for name in schema["properties"] if name in value]:
                    faults.append(f"{where}: not in order")
        data = payload["data"]
        if "total" in data and data["total"] != sum(item["quantity"] * item["unit_price"]
                                                    for item in data["items"]):
            faults.append("total is not the sum of the lines")
        if met.properties["timestamp"] != calendar_seconds(payload["occurred_at"]):
            faults.append("timestamp is not occurred_at")
        return faults + ([] if met.body == compact(payload) else ["the body isn't compact"])

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
        self.box = Box(folder / "var", "--device-id", "b", "--location", "harbour." * 8)
        self.bridge = Bridge(self.box.data_dir, settings_of(self.office))
        self.met = []
        run_bridge("topology", environment=settings_of(self.office))
        self.declared = {kind: self.office.api("GET", f"/{kind}/{self.office.name}")
                         for kind in ("exchanges", "queues", "bindings")}
        self.rebind("declare", TAP, durable=True)
        self.rebind("bind", TAP, exchange=EVENTS, routing_key="#")
        self.rebind("bind", TAP, exchange=DEAD_LETTERS, routing_key=FAILED)

    @contextlib.contextmanager
    def running(self):
        try:
            self.box.start()
            self.bridge.start()
            yield
        finally:
            codes = [program.stop() for program in (self.bridge, self.box) if program.process]
        assert codes == [0, 0], self.bridge.log_path.read_text()

    def rebind(self, verb, queue, **arguments):
        with connected(self.office.amqp_url) as connection:
            getattr(connection.channel(), f"queue_{verb}")(queue, **arguments)

    def ask(self, path, body=None, method="POST"):
        answer = self.box.orders(method, path, body)
        assert answer.status < 300, answer

    def take(self, queue=TAP):
        """Takes what is in the queue now; all that was ever taken."""
        for message in self.office.take(queue):
            channel = API.exchanges.get(message.exchange) if queue == TAP else API.queues[queue]
            self.met.append(met_of(channel, message))
        return self.met

    def settle(self):
        wait_until(lambda: has_settled(self.bridge), 30, "the last event")
        self.take()

    def dead_letters(self):
        return sum(met.channel == "dead_letters" for met in self.take())

    def wait_for_dead_letters(self, count):
        wait_until(lambda: self.dead_letters() == count, 30, f"dead letter {count}")

    def give_back(self, queue, count=1, requeue=True):
        """Takes so many messages off a queue as a consumer would, and rejects them."""
        with connected(self.office.amqp_url) as connection:
            channel = connection.channel()

            def get():
                method, properties, body = channel.basic_get(queue)
                return method and Message(body, properties, method.exchange, method.routing_key)

            for _ in range(count):
                message = wait_until(get, what=f"a message in {queue}")
                self.met.append(met_of(API.queues[queue], message))
            channel.basic_nack(multiple=True, requeue=requeue)

    @contextlib.contextmanager
    def nobody_takes(self, event_type):
        bindings = [(TAP, "#")] + [(queue, event_type) for queue in API.queues
                                   if (EVENTS, event_type) in API.bound_to(queue)]
        self.office.allow(self.office.rabbit.user, configure="^$")  # the bridge would declare them
        for queue, key in bindings:
            self.rebind("unbind", queue, exchange=EVENTS, routing_key=key)
        yield
        self.office.allow(self.office.rabbit.user)
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
        """With more words than a dead letter takes."""
        self.office.query(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION '%', repeat('no ', 100) USING ERRCODE = 'check_violation'; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT ON event_logs FOR EACH ROW"
            f" WHEN (NEW.event_type = '{event_type}') EXECUTE FUNCTION refuse()")
        yield
        self.office.query("DROP FUNCTION refuse CASCADE")

    def adjust(self):
        """An event that gets through: what is rejected before it is rejected alone."""
        self.ask("/products/1/stock", {"delta": 1, "reason": "found"})

    def replay(self, *arguments):
        done = run_bridge("replay", "--data-dir", self.box.data_dir, *arguments,
                          environment=settings_of(self.office))
        assert done.returncode == 0, done
        self.take()


def open_a_shop(story):
    """The first minutes, in the words of the file's examples."""
    story.box.add_product(price=99900)
    story.box.add_product(stock=100, name="Espresso", price=250, sku="ESP-1")
    story.ask("/orders", {"user_id": 1, "items": [{"product_id": 1, "quantity": 1},
                                                  {"product_id": 2, "quantity": 3}]})
    story.ask("/orders/1/cancel")
    story.ask("/products/2", {"price": 280}, "PATCH")
    story.ask("/products/1/stock", {"delta": 10, "reason": "delivery"})
    story.settle()


def refuse_in_every_way(story):
    """By a consumer, by the broker, by a queue and by the database."""
    story.give_back(INVENTORY, count=6, requeue=False)
    story.wait_for_dead_letters(6)
    story.take(NOTIFICATION)
    with story.nobody_takes("order.created"):
        story.box.sell()
        story.adjust()
        story.wait_for_dead_letters(7)
    story.replay()
    for _ in range(DELIVERIES):
        story.give_back(NOTIFICATION)
    story.wait_for_dead_letters(8)
    with story.full_queue("stock.adjusted"):
        story.ask("/products/1/stock", {"delta": -1, "reason": "broken"})
        for count in range(60):  # three of its tries have to find the broker taking another one
            story.ask("/products/1", {"sku": f"s-{count}"}, "PATCH")
            time.sleep(0.5)
            if story.dead_letters() == 9:
                break
        story.wait_for_dead_letters(9)
    with story.database_refuses("product.updated"):
        story.ask("/products/1", {"sku": "s"}, "PATCH")
        story.adjust()
        story.wait_for_dead_letters(10)
        with story.nobody_takes("product.updated"):
            story.ask("/products/1", {"sku": None}, "PATCH")
            story.adjust()
            story.wait_for_dead_letters(12)


def bring_back(story):
    """What is in order.failed, after somebody has looked at it; a consumer rejects it all again."""
    story.take(INVENTORY)
    story.give_back(FAILED, count=12)
    story.replay("--queue", "--dry-run")
    story.replay("--queue")
    assert story.office.queue_length(FAILED) == 0
    story.give_back(INVENTORY, count=12, requeue=False)
    story.wait_for_dead_letters(24)


def go_to_the_limits(story):
    story.box.add_product(stock=STOCK_MAX, price=PRICE_MAX, name="\N{CROISSANT}" * 200,
                          sku='"\\/' + "é" * 61)
    story.box.add_product(stock=STOCK_MAX, price=0, name="x")
    story.box.add_product(stock=STOCK_MAX, price=INTEGER_MAX // 69431)
    story.ask("/orders", {"user_id": 1, "items": [{"product_id": 4, "quantity": 1000000}] * 1000})
    story.box.sell(product_id=5, quantity=69431, user_id=INTEGER_MAX)
    story.ask("/products/4/stock", {"delta": STOCK_MAX, "reason": "\u2028" * 199 + "x"})
    story.ask("/products/4/stock", {"delta": -STOCK_MAX, "reason": "x"})


def ask_before_selling(story):
    """One order is sold by what an inventory service says, one when it is gone."""
    order = {"user_id": 1, "product_id": 3, "quantity": 1}
    with PeerServer(lambda _: json_answer({"product_id": 3, "stock": STOCK_MAX})) as peer:
        story.box.stop()
        story.box.arguments += ("--inventory-url", peer.url)
        story.box.start()
        story.ask("/orders", order)
    story.ask("/orders", order)


def refuse_by_a_service(story):
    """Head office's stock can't take a change; it is a dead letter with the queue's name."""
    story.take(INVENTORY)
    story.office.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON stock_logs FOR EACH ROW EXECUTE FUNCTION refuse()")
    service = Service(story.box.data_dir.parent, story.office, "inventory", "--inventory-listen")
    service.start()
    story.ask("/products/1/stock", {"delta": 1, "reason": "found"})
    story.wait_for_dead_letters(25)
    assert service.stop() == 0


@pytest.fixture(scope="module")
def story(servers, tmp_path_factory):
    """Of a head office that has seen everything there is in the file."""
    story = Story(servers, tmp_path_factory.mktemp("asyncapi"))
    with story.running():
        open_a_shop(story)
        refuse_in_every_way(story)
        bring_back(story)
        go_to_the_limits(story)
        ask_before_selling(story)
        Till(story.box).trade(40)
        story.settle()
        story.replay("--from", "1")
        refuse_by_a_service(story)
    for queue in API.queues:
        story.take(queue)
    yield story
    story.office.remove()


def settled(headers, payload):
    """As a text, without what differs from box to box and from run to run."""
    return re.sub('"(event_id|(journal|(x-)?device).id|location|occurred_at|time)": "[^"]*"',
                  r"\1", json.dumps([headers, payload], sort_keys=True))


def test_the_file_keeps_the_rules_of_asyncapi():
    assert list(RULES.iter_errors(API.document)) == []
    for schema in API.schemas.values():
        jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("path", ["info/surprise", "servers/tls/protocol",
                                  "channels/events/address", "components/messages/refused/payload",
                                  "channels/events/messages/order.created/$ref"])
def test_a_file_that_breaks_the_rules_is_noticed(path):
    *parents, name = path.split("/")
    document = node = copy.deepcopy(API.document)
    for parent in parents:
        node = node[parent]
    node[name] = {"surprise": 1}
    assert not RULES.is_valid(document)


def test_every_reference_leads_somewhere_and_every_component_is_used():
    pointers = {pointer for _, pointer in references(API.document)}
    assert all(map(API.look_up, pointers))
    components = {f"#/components/{section}/{name}"
                  for section, entries in API.document["components"].items() for name in entries}
    assert components == {pointer for pointer in pointers if "/components/" in pointer}


def test_channels_operations_and_messages_fit_together():
    for channel in API.channels.values():
        members = re.findall(r"{(\w+)}", channel["address"])
        assert {member: f"$message.payload#/{member}" for member in members} == {
            name: at["location"] for name, at in channel.get("parameters", {}).items()}
        for message, link in channel["messages"].items():
            assert link["$ref"] == f"#/components/messages/{message}"
    for queue, name in API.queues.items():
        assert API.channels[name]["address"] == queue
        assert API.channels[name]["x-bound-to"]["exchange"] in API.exchanges
    for operation in API.document["operations"].values():
        for link in operation["messages"]:
            assert link["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
    mode = API.schemas["Properties"]["properties"]["delivery_mode"]["const"]
    assert mode == API.look_up("#/components/operationBindings/published/amqp/deliveryMode")
    for server in API.document["servers"].values():
        assert re.findall(r"{(\w+)}", server["host"]) == list(server.get("variables", {}))


def test_the_file_and_the_programs_agree_on_versions_and_types():
    header = (ROOT / "core" / "journal" / "event.h").read_text()
    words = dict(re.findall(r'#define EVENT_(\w+) "([^"]+)"', header))
    assert API.document["info"]["version"] == (ROOT / "VERSION").read_text().strip()
    envelope = API.schemas["Envelope"]["properties"]
    assert envelope["event_version"] == {"const": words.pop("VERSION")}
    types = list(words.values())
    channel = API.channels["events"]
    assert channel["parameters"]["event_type"]["enum"] == list(channel["messages"]) == types
    assert envelope["event_type"] == {"enum": types}
    for event_type in types:
        message = API.messages[event_type]
        own_type = API.look_up(message["payload"]["$ref"] + "/properties/event_type/const")
        assert event_type == own_type == message["name"] \
            == message["bindings"]["amqp"]["messageType"]


def test_the_broker_has_what_the_file_declares(story):
    """Of the file's exchanges and queues: no more, no less, and no otherwise."""
    exchanges = {row["name"]: {"name": row["name"], "type": row["type"],
                               "durable": row["durable"], "autoDelete": row["auto_delete"]}
                 for row in story.declared["exchanges"]
                 if row["name"] and not row["name"].startswith("amq.")}
    queues = {row["name"]: ({"name": row["name"], "durable": row["durable"],
                             "exclusive": row["exclusive"], "autoDelete": row["auto_delete"]},
                            row["arguments"]) for row in story.declared["queues"]}
    bindings = {(row["destination"], (row["source"], row["routing_key"]))
                for row in story.declared["bindings"] if row["source"]}
    assert exchanges == {exchange: API.binding(name, "exchange")
                         for exchange, name in API.exchanges.items()}
    assert queues == {queue: (API.binding(name, "queue"), API.channels[name]["x-queue-arguments"])
                      for queue, name in API.queues.items()}
    assert bindings == {(queue, bound) for queue in API.queues for bound in API.bound_to(queue)}


@pytest.mark.parametrize("name", sorted(API.messages))
def test_every_example_is_valid(name):
    for example in API.messages[name]["examples"]:
        for section in ("headers", "payload"):
            assert API.value_faults(API.messages[name][section], example[section]) == []


def test_every_message_is_as_the_file_says(story):
    assert len(story.met) > 200
    for met in story.met:
        assert API.name_of(met), (met, API.faults(met))


def test_every_message_in_the_file_was_met_on_every_channel(story):
    assert {(met.channel, API.name_of(met)) for met in story.met} \
        == {(name, message) for name, channel in API.channels.items()
            for message in channel["messages"]}


def test_every_member_every_choice_and_every_limit_was_met(story):
    declared = {facet for name, schema in API.schemas.items()
                for facet in all_facets(f"#/components/schemas/{name}", schema)}
    met = {facet for message in story.met if (name := API.name_of(message))
           for _, section, section_value in API.sections(name, message)
           for where, schema, value in API.parts("", section, section_value)
           for facet in facets(where, schema, value)}
    assert declared - met == set()


def test_every_event_of_the_journal_came_byte_for_byte(story):
    """Those too that were refused; and every copy of an event is the same."""
    journal = {(row.event_id, row.payload.encode()) for row in read_events(story.box.data_dir)}
    for channels in (["events"], API.channels):
        assert {(met.properties["message_id"], met.body) for met in story.met
                if met.channel in channels} == journal


def test_an_event_has_no_more_headers_than_it_must_until_it_was_a_dead_letter(story):
    dead = set()
    for met in story.met:
        if met.channel == "dead_letters":
            dead.add(met.properties["message_id"])
        elif met.channel == "events" and met.properties["message_id"] not in dead:
            assert list(met.headers) == API.schemas["EventHeaders"]["required"], met


def test_every_example_has_happened(story):
    met = [(API.name_of(met), settled(met.headers, json.loads(met.body))) for met in story.met]
    for name, message in API.messages.items():
        for example in message["examples"]:
            assert (name, settled(example["headers"], example["payload"])) in met, example


def with_members_spoilt(members, needed):
    """Each member in turn gone, if it is needed, and of a kind that none may be; one too many."""
    for name in members:
        if name in needed:
            yield {key: value for key, value in members.items() if key != name}
        yield {**members, name: []}
    yield {**members, "surprise": 1}


def with_one_thing_wrong(met):
    """Messages that are not quite this one."""
    payload, properties = json.loads(met.body), met.properties
    data = payload["data"]
    for change in ({"event_version": "v2"}, {"event_type": "order.forgotten"},
                   {"sequence": payload["sequence"] + 1}, {"device_id": "another"},
                   {"data": dict(reversed(data.items()))},
                   {"data": {**data, "total": data.get("total", 0) + 1}},
                   *({"data": spoilt} for spoilt in with_members_spoilt(data, data))):
        yield met._replace(body=compact({**payload, **change}))
    for spoilt in (dict(reversed(payload.items())), *with_members_spoilt(payload, payload)):
        yield met._replace(body=compact(spoilt))
    yield met._replace(body=json.dumps(payload).encode())
    for spoilt in with_members_spoilt(met.headers, API.schemas["EventHeaders"]["properties"]):
        yield met._replace(headers=spoilt)
    for change in ({"message_id": "another"}, {"type": "another"}, {"app_id": "another"},
                   {"timestamp": properties["timestamp"] + 1}):
        yield met._replace(properties={**properties, **change})
    for spoilt in with_members_spoilt(properties, properties):
        yield met._replace(properties=spoilt)
    yield met._replace(routing_key="order.forgotten")
    yield met._replace(channel=None)


def test_a_message_that_is_not_quite_as_the_file_says_is_noticed(story):
    samples = {(met.channel, API.name_of(met)): met for met in reversed(story.met)}
    for met in samples.values():
        for spoilt in with_one_thing_wrong(met):
            assert API.name_of(spoilt) is None, spoilt
