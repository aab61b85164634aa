"""docs/api/openapi.yaml is right: every path, method and status in it is met on a real box, and
every answer is as it says."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import sqlite3

import pytest

from box import ROOT, Box, Wire, wait_until
from contract import (Contract, Record, bodies_with, edge_values, misshapen_bodies, problem,
                      problem_kinds, program_problems, program_resources, references, settle,
                      shape_faults, wrong_values)

CONTRACT = Contract()
OPERATIONS = sorted(CONTRACT.operations)
RESPONSES = CONTRACT.document["components"]["responses"]
TOKEN = "0123456789abcdef"
STOCK_MAX = 1000000000

# An overload: together more than the committer's queue and batch, on each service fewer than the
# connections that it takes. A heavy order keeps the committer for milliseconds.
HEAVY_ORDERS, LIGHT_ON_ORDERS, LIGHT_ON_INVENTORY = 500, 400, 900
ROUNDS_MAX = 10

# A body that each operation with one accepts on a box with product 1.
BODIES = {
    "create_order": {"user_id": 1, "product_id": 1, "quantity": 1},
    "cancel_order": None,
    "create_product": {"product_name": "iPhone", "stock": 50},
    "update_product": {"price": 99900},
    "adjust_stock": {"delta": 10, "reason": "delivery"},
}
KEYED = [name for name in BODIES if name != "update_product"]
HEAVY_ORDER = {"user_id": 1, "items": [{"product_id": 1, "quantity": 1}] * 1000}


@contextlib.contextmanager
def running(folder, *arguments, prefix=()):
    """A box that must end cleanly."""
    folder.mkdir()
    box = Box(folder / "var", *arguments, prefix=prefix).start()
    try:
        yield box
    finally:
        code = box.stop()
    assert code == 0, box.log_path.read_text()


def ask_everything(client, **options):
    """Each operation on each service; what the file says of their answers plays no part."""
    return {operation.id: client.ask_both(operation.id, BODIES.get(operation.id), **options)
            for operation in CONTRACT.operations.values()}


def answer_twice(client, operation_id, body, key, **options):
    """The stored answer is the first one, byte for byte."""
    headers = [("Idempotency-Key", key)]
    first, again = (client.ask(operation_id, body, headers=headers, **options) for _ in range(2))
    assert (again.status, again.text) == (first.status, first.text)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Content-Type"] == first.headers["Content-Type"]


def buy_and_cancel(client):
    """The life of a shop from its first minute, in the words of the file's examples."""
    client.ask_both("get_status")
    client.ask("list_orders")
    client.ask("create_product", BODIES["create_product"], service="inventory")
    client.ask("create_order", BODIES["create_order"])
    client.ask("cancel_order")
    client.ask("cancel_order", {})
    client.ask("create_product", service="orders",
               body={"product_name": "Espresso", "stock": 100, "price": 250, "sku": "ESP-1"})
    client.ask_both("list_products", limit=1)
    client.ask("create_order", {"user_id": 1, "items": [{"product_id": 1, "quantity": 2},
                                                        {"product_id": 2, "quantity": 3}]})
    client.ask("create_order", {**BODIES["create_order"], "quantity": 1000})
    client.ask("list_orders", limit=1)
    client.ask("list_latest_orders", limit=1)
    client.ask("list_latest_orders", before=3, limit=1)
    client.ask("list_orders", status="cancelled", after=0)
    client.ask("list_orders", status="created", after=1)


def refuse_by_the_journal(client):
    """What the fields don't show: other products, orders, amounts."""
    client.ask_both("create_product", {"product_name": "x", "stock": 1, "sku": "ESP-1"})
    client.ask_both("update_product", {"sku": "ESP-1"})
    client.ask_both("update_product", {"sku": None}, id=2)
    client.ask_both("update_product", BODIES["update_product"])
    client.ask_both("update_product", {})
    client.ask_both("adjust_stock", BODIES["adjust_stock"], id=2)
    client.ask_both("adjust_stock", {"delta": -STOCK_MAX, "reason": "loss"}, id=2)
    client.ask("create_product", {"product_name": "Water", "stock": 1})
    order = client.ask("create_order", {**BODIES["create_order"], "product_id": 3})
    client.ask("adjust_stock", {"delta": STOCK_MAX, "reason": "a flood"}, id=3)
    client.ask_both("adjust_stock", {"delta": 1, "reason": "more"}, id=3)
    client.ask("cancel_order", id=order.json["id"])
    client.ask("create_order", {"user_id": 1, "items": [{"product_id": 1, "quantity": 1},
                                                        {"product_id": 999, "quantity": 1}]})
    for id in (999, 0):
        ask_everything(client, id=id)


def repeat_under_a_key(client):
    client.ask("create_order", BODIES["create_order"])
    for operation_id in KEYED:
        for service in CONTRACT.operations[operation_id].services:
            key, body = f"{operation_id} {service}".replace(" ", "/"), BODIES[operation_id]
            where = {"service": service, "id": 3 if operation_id == "cancel_order" else 1}
            answer_twice(client, operation_id, body, key, **where)
            other = {} if body is None else {**body, **edge_of(operation_id)}
            client.ask(operation_id, other, headers=[("Idempotency-Key", key)], **where)
            client.ask(operation_id, body, headers=[("Idempotency-Key", "a key")], **where)
    answer_twice(client, "create_order", {**BODIES["create_order"], "product_id": 999}, "refused")


def edge_of(operation_id):
    """Members that make a body another one."""
    return {"create_order": {"quantity": 2}, "create_product": {"stock": 49},
            "adjust_stock": {"delta": 11}}[operation_id]


def refuse_what_is_sent(client):
    """On every operation: what is wrong before anyone looks at the journal."""
    for operation in CONTRACT.operations.values():
        for service in operation.services:
            def ask(**options):
                client.ask(operation.id, service=service, **options)

            ask(headers=[("Host", "localhost"), ("Host", "localhost")])
            ask(headers=[("Host", "shop.example")])
            ask(headers=[("Origin", "http://shop.example")])
            ask(body="x" * 65537)
            ask(headers=[("Transfer-Encoding", "gzip")])
            if operation.id in BODIES:
                ask(body="{}", headers=[("Content-Type", "text/plain")])
                ask(body="{")
                ask(body='{"surprise": 1}')
            if operation.id.startswith("list_") or operation.id in (
                    "head_orders", "head_products", "head_latest_orders"):
                ask(limit=0, page=2)


def ask_again_for_the_page(client):
    known = [("If-None-Match", client.ask("get_page").headers["ETag"])]
    assert client.ask("get_page", headers=known).status == 304
    assert client.ask("head_page", headers=known).status == 304
    assert client.ask("get_page", headers=[("If-None-Match", '"other"')]).status == 200


def read_everything(client):
    for operation in CONTRACT.operations.values():
        if operation.method in ("GET", "HEAD"):
            client.ask_both(operation.id)


def half_a_request(client, service):
    """A connection whose request has begun; without its body it doesn't end."""
    connection = client.connect(service)
    connection.sock.sendall(b"POST /products HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n")
    return connection


def refuse_while_stopping(client):
    """While a request is under way a stopping box still answers on the connections that it has."""
    connections = {(operation.id, service): client.connect(service)
                   for operation in CONTRACT.operations.values()
                   for service in operation.services}
    half_requests = [half_a_request(client, service) for service in ("orders", "inventory")]
    for (_, service), connection in connections.items():
        client.ask("get_livez", service=service, connection=connection)
    client.box.process.send_signal(signal.SIGTERM)
    for service in ("orders", "inventory"):
        probe = connections.pop(("get_livez", service))
        wait_until(lambda: client.ask("get_livez", service=service,
                                      connection=probe).status == 503)
    for (operation_id, service), connection in connections.items():
        client.ask(operation_id, BODIES.get(operation_id), service=service, connection=connection)
    for connection in half_requests:
        connection.close()


def use_a_new_box(record, folder):
    with running(folder) as box:
        client = record.client(box)
        buy_and_cancel(client)
        refuse_by_the_journal(client)
        repeat_under_a_key(client)
        refuse_what_is_sent(client)
        read_everything(client)
        ask_again_for_the_page(client)
        ask_what_belongs_to_no_operation(record, box)
        refuse_while_stopping(client)


def raw_answer(port, request):
    """The answer to bytes that need not be HTTP."""
    with Wire(port) as wire:
        wire.send(request.encode())
        return wire.answer()


def ask_what_belongs_to_no_operation(record, box):
    host = "Host: localhost\r\nConnection: close\r\n"
    requests = {
        "unknown path": [f"GET /nothing HTTP/1.1\r\n{host}\r\n",
                         f"GET /orders/1/ HTTP/1.1\r\n{host}\r\n"],
        "unknown method": [f"DELETE {path} HTTP/1.1\r\n{host}\r\n"
                           for path in CONTRACT.document["paths"]],
        "broken HTTP": ["GET /livez HTTP/1.1\r\n\r\n",
                        f"GET /livez HTTP/1.1\r\n{host}no colon\r\n\r\n"],
        "absurd Content-Length":
            [f"POST /orders HTTP/1.1\r\n{host}Content-Length: {'9' * 30}\r\n\r\n"],
        "long request line": [f"GET /livez?{'x' * 60000} HTTP/1.1\r\n{host}\r\n"],
        "large headers": [f"GET /livez HTTP/1.1\r\n{host}X-Large: {'x' * 60000}\r\n\r\n"],
        "unknown HTTP version": [f"GET /livez HTTP/2.0\r\n{host}\r\n"],
    }
    for row in CONTRACT.document["x-other-answers"]:
        record.others += [(row, raw_answer(box.orders_port, request))
                          for request in requests[row["when"]]]
    not_here = raw_answer(box.inventory_port, f"GET /orders HTTP/1.1\r\n{host}\r\n")
    record.others.append((CONTRACT.document["x-other-answers"][0], not_here))


def use_a_box_with_a_token(record, folder):
    token_file = folder.with_suffix(".secret")
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    with running(folder, "--api-token-file", token_file) as box:
        client = record.client(box)
        for operation_id, answer in ask_everything(client).items():
            needs_token = CONTRACT.operations[operation_id].needs_token
            assert (answer.status == 401) == needs_token, (operation_id, answer)
        wrong = client.ask("list_orders", headers=[("Authorization", f"Bearer {TOKEN}0")])
        right = client.ask("list_orders", headers=[("Authorization", f"Bearer {TOKEN}")])
        assert (wrong.status, right.status) == (401, 200)


def show_the_bridge(record, folder):
    """A box whose bridge has been running: one sink has delivered, the other never could."""
    with running(folder) as box:
        bridge = sqlite3.connect(box.data_dir / "bridge.db")
        for script in sorted((ROOT / "schema" / "bridge").glob("*.sql")):
            bridge.executescript(script.read_text())
        insert = ("INSERT INTO sinks (name, journal_id, start_sequence, cursor, cursor_hash, delivered,"
                  " state,"
                  " breaker, last_delivered_at_ms, last_error, last_error_at_ms)"
                  " VALUES (?, '', 0, ?, zeroblob(32), ?, ?, ?, ?, ?, ?)")
        bridge.execute(insert, ("postgres", 1, 1, "running", "closed", 1795341464000, "", None))
        bridge.execute(insert, ("rabbitmq", 0, 0, "down", "open", None, "connection refused",
                                1795341464000))
        park = ("INSERT INTO parked VALUES (?, ?, '01a202b0-b39e-7434-8cef-633d721e024c',"
                " 'order.created', ?, ?, 'refused by the database', 3, 0, 1795341464000, NULL, NULL)")
        bridge.execute(park, ("postgres", 1, 1, "refused"))
        bridge.execute(park, ("rabbitmq", 2, None, "held"))
        bridge.execute("PRAGMA user_version = 1")
        bridge.commit()
        bridge.close()
        wait_until(lambda: box.status()["bridge"]["sinks"], what="the accounts")
        client = record.client(box)
        client.ask("create_product", BODIES["create_product"])
        client.ask_both("get_status")
        client.ask_both("get_metrics")
        parked = client.ask("get_parked").json["parked"]
        assert [(entry["sink"], entry["order_id"]) for entry in parked] \
            == [("postgres", 1), ("rabbitmq", None)]


def damage_a_box(record, folder):
    """Another program has the journal's lock, then takes its tables away."""
    with running(folder) as box:
        client = record.client(box)
        client.ask("create_product", {"product_name": "iPhone", "stock": 50})
        journal = sqlite3.connect(box.data_dir / "journal.db", isolation_level=None)
        journal.execute("BEGIN IMMEDIATE")
        assert client.ask("create_order", BODIES["create_order"]).status == 500
        client.ask_both("get_readyz")
        journal.execute("ROLLBACK")
        for table in ("orders", "products", "events"):
            journal.execute(f"ALTER TABLE {table} RENAME TO hidden_{table}")
        journal.close()
        wait_until(lambda: "error" in box.status()["bridge"], what="the accounts")
        ask_everything(client)


def fill_up(path):
    with open(path, "ab", buffering=0) as filler:
        with contextlib.suppress(OSError):
            while True:
                filler.write(b"\0" * 4096)


def own_volume(folder):
    """A command prefix that gives the program a small volume at `folder`, which ends with it."""
    # In a chroot, / is no mount point and can't be made private: there it has to be so already.
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = ('mount --make-rprivate / 2>/dev/null; '
             'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"')
    return ["unshare", "--mount", "--propagation", "unchanged", *user, "sh", "-c", mount, folder]


def fill_a_disk(record, folder):
    with running(folder, prefix=own_volume(folder)) as box:
        client = record.client(box)
        filler = pathlib.Path(f"/proc/{box.process.pid}/root{folder}/filler")
        client.ask("create_product", BODIES["create_product"])
        fill_up(filler)
        assert client.ask("create_order", BODIES["create_order"]).status == 201, "no reserve"
        read_everything(client)
        fill_up(filler)
        wait_until(lambda: client.ask("create_order", BODIES["create_order"]).status == 507)
        for operation_id in ("get_readyz", "get_healthz", "head_readyz", "head_healthz"):
            assert client.ask_both(operation_id).status == 503
        answers = ask_everything(client)
        assert all(answers[operation_id].status == 507 for operation_id in BODIES)
        filler.unlink()
        assert client.ask("create_order", BODIES["create_order"]).status == 201
    assert not os.path.ismount(folder)


def send_heavy_orders(box, count):
    """What keeps the committer busy meanwhile. Their answers are many and much alike, and not
    recorded."""
    client = Record(CONTRACT).client(box)
    return [client.send("create_order", HEAVY_ORDER) for _ in range(count)]


def send_heavy_cancellations(box, ids):
    """The same without work for the HTTP threads."""
    client = Record(CONTRACT).client(box)
    return [client.send("cancel_order", id=id) for id in ids]


def take_answers(pending):
    answers = [request.answer() for request in pending]
    for request in pending:
        request.connection.close()
    return answers


def ask_twice_at_once(client):
    """Both uses of a key come into one batch, behind orders that take their time."""
    def collide(operation_id, attempt):
        key = [("Idempotency-Key", f"{operation_id}/{attempt}")]
        heavy = send_heavy_orders(client.box, 5)
        both = [client.send(operation_id, BODIES[operation_id], headers=key) for _ in range(2)]
        answers = take_answers(both)
        take_answers(heavy)
        return "in-flight" in map(problem, answers)

    client.ask("create_order", HEAVY_ORDER)
    for operation_id in KEYED:
        assert any(collide(operation_id, attempt) for attempt in range(50)), operation_id


def overload(client):
    """Light changes of each kind fill the committer's queue while it is busy with heavy ones."""
    def light_requests(service, count):
        kinds = [name for name in BODIES if service in CONTRACT.operations[name].services]
        return [client.send(name, BODIES[name], service=service)
                for name in itertools.islice(itertools.cycle(kinds), count)]

    def refused_kinds():
        return {operation.id for operation, _, answer in client.record
                if problem(answer) == "busy"}

    for _ in range(ROUNDS_MAX):
        orders = take_answers(send_heavy_orders(client.box, HEAVY_ORDERS))
        heavy = send_heavy_cancellations(client.box, [order.json["id"] for order in orders])
        light = light_requests("inventory", LIGHT_ON_INVENTORY)
        light += light_requests("orders", LIGHT_ON_ORDERS)
        assert {answer.status for answer in take_answers(light + heavy)} <= {200, 201, 409, 503}
        if refused_kinds() == set(BODIES):
            return


@contextlib.contextmanager
def as_many_connections_as_it_takes():
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


def keep_a_box_busy(record, folder):
    with as_many_connections_as_it_takes(), running(folder) as box:
        client = record.client(box)
        client.ask("create_product", {"product_name": "iPhone", "stock": STOCK_MAX // 2})
        ask_twice_at_once(client)
        overload(client)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """What boxes answered that were made to give every answer of the file."""
    folder = tmp_path_factory.mktemp("openapi")
    record = Record(CONTRACT)
    use_a_new_box(record, folder / "new")
    use_a_box_with_a_token(record, folder / "token")
    show_the_bridge(record, folder / "bridged")
    damage_a_box(record, folder / "damaged")
    fill_a_disk(record, folder / "full")
    keep_a_box_busy(record, folder / "busy")
    return record


def test_the_file_keeps_the_rules_of_openapi():
    document = CONTRACT.document
    assert document["openapi"] == "3.1.0"
    assert shape_faults(document, "document", "") == []
    tags = {tag["name"] for tag in document["tags"]}
    assert all(tag in tags for operation in CONTRACT.operations.values()
               for tag in operation.spec["tags"])
    schemes = set(document["components"]["securitySchemes"])
    assert all(set(need) <= schemes for need in document["security"])
    identifiers = [item[method]["operationId"] for item in document["paths"].values()
                   for method in item if method in ("get", "head", "post", "patch")]
    assert len(identifiers) == len(set(identifiers)) == len(CONTRACT.operations)
    for operation in CONTRACT.operations.values():
        assert all(re.fullmatch("[1-5][0-9][0-9]", status) for status in operation.responses)
        in_path = {parameter["name"] for parameter in map(CONTRACT.look_up, operation.parameters)
                   if parameter["in"] == "path" and parameter["required"]}
        assert in_path == set(re.findall(r"{(\w+)}", operation.path))


def test_every_reference_leads_somewhere_and_every_component_is_used():
    pointers = {pointer for _, pointer in references(CONTRACT.document)}
    for pointer in pointers:
        assert CONTRACT.look_up({"$ref": pointer}) is not None
    components = {f"#/components/{section}/{name}"
                  for section, entries in CONTRACT.document["components"].items()
                  for name in entries if section != "securitySchemes"}
    assert components == pointers


def test_every_example_is_valid():
    def media_of(owner):
        return owner.get("content", {}).values()

    nodes = [media for response in RESPONSES.values() for media in media_of(response)]
    nodes += [media for operation in CONTRACT.operations.values()
              for media in media_of(operation.spec.get("requestBody", {}))]
    nodes += [CONTRACT.look_up(parameter) for operation in CONTRACT.operations.values()
              for parameter in operation.parameters]
    examples = [(node["schema"], value) for node in nodes for value in CONTRACT.examples(node)]
    assert len(examples) > 50
    assert [fault for schema, value in examples
            for fault in CONTRACT.value_faults(schema, value)] == []


def test_the_file_and_the_program_agree_on_version_paths_and_problems():
    assert CONTRACT.document["info"]["version"] == (ROOT / "VERSION").read_text().strip()
    assert problem_kinds(CONTRACT) == program_problems()
    services = {operation.path: len(operation.services)
                for operation in CONTRACT.operations.values()}
    methods = {path: [operation.method for operation in CONTRACT.operations.values()
                      if operation.path == path] for path in services}
    assert {(path, services[path], ", ".join(methods[path])) for path in services} \
        == program_resources()


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_answer_is_as_the_file_says(record, operation_id):
    operation = CONTRACT.operations[operation_id]
    for service, answer in record.of(operation_id):
        response = CONTRACT.response(operation, answer.status)
        assert response, f"{service}: {answer.status} isn't in the file: {answer}"
        assert CONTRACT.answer_faults(response, answer, operation.method != "HEAD") == [], answer


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_status_in_the_file_was_met_on_every_port(record, operation_id):
    operation = CONTRACT.operations[operation_id]
    met = {(service, str(answer.status)) for service, answer in record.of(operation_id)}
    listed = {(service, status) for service in operation.services
              for status in operation.responses}
    assert listed - met == set()


@pytest.mark.parametrize("operation_id",
                         [name for name in OPERATIONS if not name.startswith("head_")])
def test_every_kind_of_answer_in_the_file_was_met(record, operation_id):
    operation = CONTRACT.operations[operation_id]
    for status in operation.responses:
        response = CONTRACT.response(operation, status)
        answers = [answer for _, answer in record.of(operation_id) if answer.status == int(status)]
        for media_type, schema in CONTRACT.alternatives(response):
            assert any(answer.headers["Content-Type"] == media_type
                       and not CONTRACT.value_faults(schema, answer.json or answer.text)
                       for answer in answers), (status, media_type, schema)


def test_answers_outside_of_the_operations_are_as_the_file_says(record):
    assert {row["when"] for row, _ in record.others} \
        == {row["when"] for row in CONTRACT.document["x-other-answers"]}
    for row, answer in record.others:
        assert str(answer.status) == row["status"], (row["when"], answer.text)
        assert CONTRACT.answer_faults(CONTRACT.look_up(row["response"]), answer) == []


def test_a_refused_method_is_told_which_ones_there_are(record):
    allowed = [answer.headers["Allow"] for row, answer in record.others
               if row["when"] == "unknown method"]
    assert sorted(allowed) == sorted(methods for _, _, methods in program_resources())


def test_answers_that_a_client_should_wait_after_say_how_long(record):
    for word in ("in-flight", "busy", "stopping", "disk-full"):
        answers = [answer for _, _, answer in record.answers if problem(answer) == word]
        assert answers and all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)


def test_every_example_has_happened(record):
    answered = [(id(CONTRACT.response(operation, answer.status)), settle(answer.json))
                for operation, _, answer in record.answers if answer.json]
    answered += [(id(CONTRACT.look_up(row["response"])), settle(answer.json))
                 for row, answer in record.others]
    for name, response in RESPONSES.items():
        for media in response.get("content", {}).values():
            for example in CONTRACT.examples(media):
                assert (id(response), settle(example)) in answered, (name, example)
    for operation in CONTRACT.operations.values():
        for media in operation.spec.get("requestBody", {}).get("content", {}).values():
            for example in CONTRACT.examples(media):
                assert (operation, example) in record.sent, (operation.id, example)


def test_the_status_was_met_with_and_without_a_bridge(record):
    """So that every form of its member `bridge` has been held against the file."""
    bridges = [answer.json["bridge"] for _, answer in record.of("get_status")
               if answer.status == 200]
    names = [[sink["name"] for sink in bridge.get("sinks", [])] for bridge in bridges]
    assert [] in names and ["postgres", "rabbitmq"] in names
    assert any(bridge.keys() == {"error"} for bridge in bridges)


def test_the_file_names_the_metrics_that_there_are(record):
    text = next(answer.text for _, answer in record.of("get_metrics") if answer.status == 200)
    table = CONTRACT.operations["get_metrics"].spec["description"]
    assert re.findall(r"^\| `(\w+)[^|]*\| (\w+) ", table, re.MULTILINE) \
        == re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)


@pytest.mark.parametrize("operation_id", sorted(BODIES))
def test_each_wrong_field_is_named(box, operation_id):
    box.add_product()
    client = Record(CONTRACT).client(box)
    operation = CONTRACT.operations[operation_id]
    whole = CONTRACT.body_schema(operation)
    tried = 0
    for schema, body in CONTRACT.request_forms(operation):
        wrong = list(bodies_with(CONTRACT, schema, body, wrong_values))
        for changed, field in wrong + list(misshapen_bodies(CONTRACT, schema, body)):
            assert CONTRACT.value_faults(whole, changed), f"{changed} is valid"
            answer = client.ask(operation_id, changed)
            assert answer.status == 422, (changed, answer)
            assert CONTRACT.answer_faults(CONTRACT.response(operation, 422), answer) == []
            fields = [error["field"] for error in answer.json["errors"]]
            # Without `items` an order is one of one line, and lacks what such an order has.
            lacking = ["product_id", "quantity"] if field == "items" and "items" not in changed \
                else [field]
            assert fields == lacking, (changed, answer)
            tried += 1
    for changed in ([], "text", 1, True, None):
        answer = client.ask(operation_id, json.dumps(changed))
        assert [error["field"] for error in answer.json["errors"]] == [""], (changed, answer)
    assert tried >= 1


@pytest.mark.parametrize("operation_id", sorted(set(BODIES) - {"cancel_order"}))
def test_each_field_may_have_its_least_and_its_most(box, operation_id):
    box.add_product(stock=STOCK_MAX)
    box.add_product(stock=STOCK_MAX, price=250)
    client = Record(CONTRACT).client(box)
    for schema, body in CONTRACT.request_forms(CONTRACT.operations[operation_id]):
        if "required" in schema:
            least = {name: body[name] for name in schema["required"]}
            assert client.ask(operation_id, least).status in (200, 201, 409)
        for changed, field in bodies_with(CONTRACT, schema, body, edge_values):
            answer = client.ask(operation_id, changed)
            if field.endswith("product_id") and answer.status == 422:
                assert answer.json["errors"][0]["detail"] == "there is no such product"
            else:
                assert answer.status in (200, 201, 409), (changed, answer)


@pytest.mark.parametrize("operation_id", ["list_orders", "list_products", "list_latest_orders"])
def test_each_wrong_parameter_is_named(box, operation_id):
    client = Record(CONTRACT).client(box)
    operation = CONTRACT.operations[operation_id]
    wrong = {"surprise": ["1"]}
    for parameter in map(CONTRACT.look_up, operation.parameters):
        schema = CONTRACT.look_up(parameter["schema"])
        wrong[parameter["name"]] = ["", "x", "-1", "1.5", " 1"] + (
            [schema["minimum"] - 1, schema["maximum"] + 1] if "minimum" in schema else ["CREATED"])
        for value in schema.get("enum", [schema.get("minimum"), schema.get("maximum")]):
            assert client.ask(operation_id, **{parameter["name"]: value}).status == 200
    for name, values in wrong.items():
        for value in values:
            answer = client.ask(operation_id, **{name: value})
            assert answer.status == 422, (name, value, answer)
            assert [error["field"] for error in answer.json["errors"]] == [name]
