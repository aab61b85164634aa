"""docs/api/inventory.yaml is right: every operation and status in it is met on a real service, and every
answer is as it says."""

import re

import pytest

from box import ROOT
from box import wait_until
from contract import Contract
from contract import Record
from contract import references
from contract import shape_faults
from fault_proxy import FaultProxy
from bridge import open_office
from service import Service
from service import declare_topology

CONTRACT = Contract(ROOT / "docs" / "api" / "inventory.yaml")
OPERATIONS = sorted(CONTRACT.operations)
BODIES = {"add_product": {"product_name": "iPhone", "stock": 50, "product_id": 1},
          "adjust_stock": {"delta": 10, "reason": "delivery"}}
TOKEN = "0123456789abcdef"


class Target:
    """A service where contract.Client expects a box."""

    def __init__(self, service):
        self.inventory_port = service.port
        self.orders_port = None


def ask_everything(client, bodies=None, **options):
    for name in CONTRACT.operations:
        client.ask(name, (bodies or BODIES).get(name), **options)


def trade(client, key):
    """What a day at head office brings, and what goes wrong in it."""
    ask_everything(client)
    ask_everything(client)
    client.ask("list_products", limit=1)
    client.ask("get_product", id=99)
    client.ask("head_product", id=99)
    client.ask("adjust_stock", BODIES["adjust_stock"], id=99)
    client.ask("adjust_stock", {"delta": -1000, "reason": "loss"})
    client.ask("add_product", {"product_name": "x", "stock": 1, "sku": "S"})
    for operation in ("list_products", "head_products"):
        client.ask(operation, limit=0)
    for operation in BODIES:
        client.ask(operation, {})
        client.ask(operation, "junk")
        client.ask(operation, BODIES[operation], headers=[("Content-Type", "text/plain")])
        for body in (BODIES[operation], {**BODIES[operation], "stock": 2}):
            client.ask(operation, body, headers=[("Idempotency-Key", key + operation)])
    ask_everything(client, headers=[("Host", "evil.example")])


@pytest.fixture(scope="module")
def record(servers, tmp_path_factory):
    """Of services that have seen everything there is in the file."""
    servers.revive()
    folder, office, record = tmp_path_factory.mktemp("openapi"), open_office(servers), \
        Record(CONTRACT)
    declare_topology(office)
    secret = folder / "token"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    with FaultProxy(servers.postgres.port) as line:
        services = [
            Service(folder, office, "inventory", "--inventory-listen",
                    TILLBOX_POSTGRES_URL=servers.postgres.url_of(office.name, line.port)),
            Service(folder, office, "inventory", "--inventory-listen", "--api-token-file", secret)]
        for service in services:
            service.start()
            wait_until(lambda: service.get("/readyz").status == 200, what="a service that is ready")
        clients = [record.client(Target(service)) for service in services]
        trade(clients[0], "k")
        ask_everything(clients[1])
        line.refuse()
        line.cut()
        wait_until(lambda: services[0].get("/readyz").status == 503, what="a lost database")
        ask_everything(clients[0])
        codes = [service.stop() for service in services]
    office.remove()
    assert codes == [0, 0]
    return record


def test_the_file_keeps_the_rules_of_openapi():
    assert CONTRACT.document["openapi"] == "3.1.0"
    assert shape_faults(CONTRACT.document, "document", "") == []
    assert CONTRACT.document["info"]["version"] == (ROOT / "VERSION").read_text().strip()


def test_every_reference_leads_somewhere_and_every_component_is_used():
    pointers = {pointer for _, pointer in references(CONTRACT.document)}
    assert all(CONTRACT.look_up({"$ref": pointer}) is not None for pointer in pointers)
    assert pointers == {f"#/components/{section}/{name}"
                        for section, entries in CONTRACT.document["components"].items()
                        for name in entries if section != "securitySchemes"}


def test_every_example_is_valid():
    nodes = [media for response in CONTRACT.document["components"]["responses"].values()
             for media in response["content"].values()]
    nodes += [operation.spec["requestBody"]["content"]["application/json"]
              for operation in CONTRACT.operations.values() if "requestBody" in operation.spec]
    nodes += list(CONTRACT.document["components"]["parameters"].values())
    examples = [(node["schema"], value) for node in nodes for value in CONTRACT.examples(node)]
    assert len(examples) >= 8
    assert [fault for schema, value in examples
            for fault in CONTRACT.value_faults(schema, value)] == []


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_answer_is_as_the_file_says_and_every_status_was_met(record, operation_id):
    operation = CONTRACT.operations[operation_id]
    answers = [answer for _, answer in record.of(operation_id)]
    for answer in answers:
        response = CONTRACT.response(operation, answer.status)
        assert response, f"{answer.status} isn't in the file: {answer}"
        assert CONTRACT.answer_faults(response, answer, operation.method != "HEAD") == [], answer
    assert set(operation.responses) - {str(answer.status) for answer in answers} == set()


def test_problems_of_head_office_are_in_the_file_and_in_the_program():
    text = CONTRACT.document["info"]["description"]
    told = set(re.findall(r"\| `([a-z-]+)` \| (\d+) \|", text))
    header = (ROOT / "core" / "http" / "http_reply.h").read_text()
    assert told == {(word, status) for status, word in
                    re.findall(r'Y\(PROBLEM_\w+, (\d+), "([^"]+)"', header)}


def test_the_file_names_the_metrics_that_there_are(record):
    metrics = next(answer for _, answer in record.of("get_metrics") if answer.status == 200)
    told = re.findall(r"\| `(tillbox_\w+)", CONTRACT.operations["get_metrics"].spec["description"])
    assert sorted(told) == sorted(re.findall(r"^# TYPE (\w+) ", metrics.text, re.MULTILINE))
