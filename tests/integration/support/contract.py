"""What docs/api/openapi.yaml promises, and whether a box keeps it."""

import http.client
import json
import re
import urllib.parse

import jsonschema
import yaml

from box import ROOT, Answer

FILE = ROOT / "docs" / "api" / "openapi.yaml"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SERVICES = {"http://localhost:8081": "orders", "http://localhost:8082": "inventory"}

# Every answer has these, whatever it is; all others must be in the file.
USUAL_HEADERS = {"date", "connection", "content-length", "content-type"}

# What an object of OpenAPI 3.1 may have, as far as this file uses it: "!" means must, the value is
# the kind of what is in there, "[kind]" a list of it, "{kind}" a map to it.
SHAPES = {
    "document": {"openapi!": "", "info!": "info", "servers": "[server]", "paths!": "{path}",
                 "components": "components", "security": "", "tags": "[tag]"},
    "info": {"title!": "", "version!": "", "summary": "", "description": ""},
    "server": {"url!": "", "description": ""},
    "tag": {"name!": "", "description": ""},
    "path": {"summary": "", "description": "", "servers": "[server]", "parameters": "[parameter]",
             **{method: "operation" for method in METHODS}},
    "operation": {"operationId!": "", "responses!": "{response}", "tags!": "", "summary!": "",
                  "description": "", "parameters": "[parameter]", "requestBody": "request",
                  "security": ""},
    "parameter": {"name!": "", "in!": "", "description!": "", "required": "", "schema!": "schema",
                  "example!": ""},
    "request": {"content!": "{media}", "description": "", "required!": ""},
    "response": {"description!": "", "headers": "{header}", "content": "{media}"},
    "header": {"description!": "", "required": "", "schema!": "schema"},
    "media": {"schema!": "schema", "example": "", "examples": "{example}"},
    "example": {"value!": "", "summary": ""},
    "components": {"securitySchemes": "{security}", "parameters": "{parameter}",
                   "headers": "{header}", "responses": "{response}", "schemas": "{schema}"},
    "security": {"type!": "", "scheme!": "", "description": ""},
}
SECTIONS = {"parameter": "parameters", "header": "headers", "response": "responses"}


class Operation:
    """One method of one path."""

    def __init__(self, document, path, method):
        item = document["paths"][path]
        self.path, self.method = path, method.upper()
        self.spec = item[method]
        self.id = self.spec["operationId"]
        self.parameters = item.get("parameters", []) + self.spec.get("parameters", [])
        self.responses = self.spec["responses"]
        self.services = [SERVICES[server["url"]]
                         for server in item.get("servers", document["servers"])]
        self.needs_token = self.spec.get("security", document["security"]) != []


class Contract:
    """The file, and whether something is as it says. A fault is a sentence."""

    def __init__(self, file=FILE):
        self.document = yaml.safe_load(file.read_text())
        self.operations = {operation.id: operation for operation in (
            Operation(self.document, path, method)
            for path, item in self.document["paths"].items()
            for method in item if method in METHODS)}
        self.validators = {}

    def look_up(self, node):
        """What a Reference Object stands for; anything else is itself."""
        while isinstance(node, dict) and "$ref" in node:
            pointer = node["$ref"]
            node = self.document
            for name in pointer.removeprefix("#/").split("/"):
                node = node[name.replace("~1", "/").replace("~0", "~")]
        return node

    def value_faults(self, schema, value):
        """What is wrong with a value."""
        validator = self.validators.get(id(schema))
        if not validator:
            # The components go along so that "#/components/…" is found inside the schema itself.
            whole = {**schema, "components": self.document["components"]}
            validator = jsonschema.Draft202012Validator(
                whole, format_checker=jsonschema.FormatChecker(["uuid"]))
            self.validators[id(schema)] = validator
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def body_schema(self, operation):
        return operation.spec["requestBody"]["content"]["application/json"]["schema"]

    def request_forms(self, operation):
        """(schema, a valid body) for each form that a request may have."""
        schema = self.look_up(self.body_schema(operation))
        media = operation.spec["requestBody"]["content"]["application/json"]
        for form in schema.get("oneOf", [schema]):
            body = next(value for value in self.examples(media)
                        if not self.value_faults(form, value))
            yield self.look_up(form), body

    def response(self, operation, status):
        """The Response Object for this status; None if the file has none."""
        return self.look_up(operation.responses.get(str(status)))

    def alternatives(self, response):
        """(media type, schema) for every kind of body that the response can have."""
        return [(media_type, schema)
                for media_type, media in response.get("content", {}).items()
                for schema in media["schema"].get("oneOf", [media["schema"]])]

    def header_faults(self, response, answer):
        faults = []
        listed = {name.lower(): self.look_up(header)
                  for name, header in response.get("headers", {}).items()}
        for name, header in listed.items():
            value = answer.headers.get(name)
            if value is None:
                faults += [f"no header {name}"] if header.get("required") else []
                continue
            if header["schema"].get("type") == "integer":
                value = int(value)
            faults += [f"header {name}: {fault}"
                       for fault in self.value_faults(header["schema"], value)]
        names = {name.lower() for name in answer.headers}
        return faults + [f"header {name} isn't in the file"
                         for name in sorted(names - USUAL_HEADERS - set(listed))]

    def answer_faults(self, response, answer, has_body=True):
        """Where an answer differs from the Response Object."""
        faults = self.header_faults(response, answer)
        media_type = answer.headers.get("Content-Type")
        media = response.get("content", {}).get(media_type)
        if media_type is not None and media is None:
            return faults + [f"Content-Type {media_type} isn't in the file"]
        if media_type is None and "content" in response:
            return faults + ["no Content-Type"]
        if not has_body:
            return faults + (["a body"] if answer.text else [])
        if media:
            value = answer.json if "json" in media_type else answer.text
            faults += self.value_faults(media["schema"], value)
        return faults

    def examples(self, node):
        """The values of `example` and `examples`."""
        values = [example["value"] for example in node.get("examples", {}).values()]
        return values + ([node["example"]] if "example" in node else [])


def references(node, path="#"):
    """(where, pointer) for every $ref below `node`."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return
    for name, child in node.items():
        if name == "$ref":
            yield path, child
        else:
            yield from references(child, f"{path}/{name}")


def shape_faults(node, kind, where):
    """Where a part of the file breaks the rules of OpenAPI 3.1 about what belongs where."""
    if kind.startswith("["):
        return [fault for index, child in enumerate(node)
                for fault in shape_faults(child, kind[1:-1], f"{where}[{index}]")]
    if kind.startswith("{"):
        return [fault for name, child in node.items()
                for fault in shape_faults(child, kind[1:-1], f"{where}/{name}")]
    if kind == "schema":
        try:
            jsonschema.Draft202012Validator.check_schema(node)
        except jsonschema.SchemaError as error:
            return [f"{where}: {error.message}"]
        return []
    if "$ref" in node:
        section = f"#/components/{SECTIONS.get(kind)}/"
        return [] if node["$ref"].startswith(section) and len(node) == 1 else [f"{where}: $ref"]
    shape = {name.rstrip("!"): child for name, child in SHAPES[kind].items()}
    faults = [f"{where}: no {name[:-1]}"
              for name in SHAPES[kind] if name.endswith("!") and name[:-1] not in node]
    for name, child in node.items():
        if name.startswith("x-"):
            continue
        if name not in shape:
            faults.append(f"{where}: {name} doesn't belong here")
        elif shape[name]:
            faults += shape_faults(child, shape[name], f"{where}/{name}")
    return faults


class Pending:
    """A request that has been sent and not been answered yet."""

    def __init__(self, connection, note):
        self.connection, self.note = connection, note

    def answer(self):
        response = self.connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        self.note(answer)
        return answer


class Client:
    """Asks a box by the operations of the file. `record` gets (operation, service, answer) of all,
    `sent` (operation, body)."""

    def __init__(self, contract, box, record, sent):
        self.contract, self.box, self.record, self.sent = contract, box, record, sent

    def connect(self, service):
        port = {"orders": self.box.orders_port, "inventory": self.box.inventory_port}[service]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
        return connection

    def send(self, operation_id, body=None, *, service=None, id=1, location="harbour", headers=(),
             connection=None, **query):
        """Sends a request, on a connection of its own if none is given. A body that isn't text
        goes as JSON. A header may come twice; `headers` with a Host replace the usual one."""
        operation = self.contract.operations[operation_id]
        service = service or operation.services[0]
        connection = connection or self.connect(service)
        if body is not None and not isinstance(body, str):
            self.sent.append((operation, body))
            body = json.dumps(body)
        target = operation.path.replace("{id}", str(id)).replace("{location}", location)
        if query:
            target += "?" + urllib.parse.urlencode(query)
        names = {name.lower() for name, _ in headers}
        connection.putrequest(operation.method, target, skip_host="host" in names,
                              skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None and "content-type" not in names:
            connection.putheader("Content-Type", "application/json")
        if body is not None:
            connection.putheader("Content-Length", str(len((body or "").encode())))
        connection.endheaders((body or "").encode() or None)
        return Pending(connection,
                       lambda answer: self.record.append((operation, service, answer)))

    def ask(self, operation_id, body=None, **options):
        pending = self.send(operation_id, body, **options)
        try:
            return pending.answer()
        finally:
            if "connection" not in options:
                pending.connection.close()

    def ask_both(self, operation_id, body=None, **options):
        """On every service that has the operation; the last answer."""
        for service in self.contract.operations[operation_id].services:
            answer = self.ask(operation_id, body, service=service, **options)
        return answer


class Record:
    """What boxes were asked and answered."""

    def __init__(self, contract):
        self.contract = contract
        self.answers = []  # (operation, service, answer)
        self.sent = []     # (operation, body)
        self.others = []   # (row of x-other-answers, answer)

    def client(self, box):
        return Client(self.contract, box, self.answers, self.sent)

    def of(self, operation_id):
        return [(service, answer) for operation, service, answer in self.answers
                if operation.id == operation_id]


def problem(answer):
    """The last word of its `type`."""
    return (answer.json or {}).get("type", "").removeprefix("urn:tillbox:problem:")


def settle(value, name=None):
    """A value without what differs from box to box and from run to run."""
    if isinstance(value, dict):
        return {key: settle(child, key) for key, child in value.items()}
    if isinstance(value, list):
        return [settle(child) for child in value]
    if name in ("free_bytes", "uptime_s", "created_at", "cancelled_at", "updated_at", "now",
                "started_at", "device_id", "location", "journal_id", "sqlite", "libmicrohttpd",
                "cjson", "libcrypto"):
        return name
    return value


def wrong_values(contract, schema):
    """Values that a property may not have, one for each rule of its schema."""
    schema = contract.look_up(schema)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    samples = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None,
               "array": [], "object": {}}
    yield from (value for name, value in samples.items() if name not in types)
    if "minimum" in schema:
        yield schema["minimum"] - 1
        yield schema["maximum"] + 1
    if "not" in schema:
        yield schema["not"]["const"]
    if "minLength" in schema:
        yield "x" * (schema["minLength"] - 1)
        yield "x" * (schema["maxLength"] + 1)
    if "pattern" in schema:
        yield from ("a\nb", "a\x7fb", "a\x9fb")


def edge_values(contract, schema):
    """The first and the last value that a property may have, and null if it may be that."""
    schema = contract.look_up(schema)
    nothing = [None] if "null" in schema["type"] else []
    if "minimum" in schema:
        return [schema["minimum"], schema["maximum"]] + nothing
    return ["é" * schema["minLength"], "é" * schema["maxLength"]] + nothing


def with_member(body, name, value):
    return {**body, name: value}


def bodies_with(contract, schema, body, values):
    """(body, field) for each way to put one of `values(contract, schema)` into a valid body."""
    for name, member in contract.look_up(schema).get("properties", {}).items():
        member = contract.look_up(member)
        if member.get("type") == "array":
            for changed, field in bodies_with(contract, member["items"], body[name][0], values):
                yield with_member(body, name, [changed]), f"{name}[0].{field}"
        else:
            for value in values(contract, member):
                yield with_member(body, name, value), name


def misshapen_bodies(contract, schema, body, prefix=""):
    """(body, field) for a valid body with a member too many or too few."""
    schema = contract.look_up(schema)
    yield with_member(body, "surprise", 1), prefix + "surprise"
    for name in schema.get("required", []):
        yield {key: value for key, value in body.items() if key != name}, prefix + name
    if "minProperties" in schema:
        yield {}, ""
    for name, member in schema.get("properties", {}).items():
        member = contract.look_up(member)
        if member.get("type") != "array":
            continue
        yield from ((with_member(body, name, value), name)
                    for value in ([], body[name][:1] * (member["maxItems"] + 1), {}, None, 1))
        for changed, field in misshapen_bodies(contract, member["items"], body[name][0],
                                               f"{name}[0]."):
            yield with_member(body, name, [changed]), field


def problem_kinds(contract):
    """{type: (status, title)} of the errors that the file knows."""
    kinds = {}
    for schema in contract.document["components"]["schemas"].values():
        members = schema.get("properties", {})
        if str(members.get("type", {}).get("const", "")).startswith("urn:"):
            kinds[members["type"]["const"]] = (members["status"]["const"],
                                               members["title"]["const"])
    return kinds


def program_problems():
    """The same of the program's own table."""
    table = (ROOT / "core" / "http" / "http_reply.h").read_text()
    rows = re.findall(r'X\(PROBLEM_\w+, (\d+), "([^"]+)",\s*"([^"]+)"\)', table)
    return {f"urn:tillbox:problem:{word}": (int(status), title) for status, word, title in rows}


def program_resources():
    """{(path, services, methods)} of the program's own table."""
    table = (ROOT / "appliance" / "router.c").read_text()
    rows = re.findall(r'\{"(/[^"]*)", (BOTH|SERVICE_ORDERS),[^"]*"([A-Z, ]+)"\}', table)
    return {(path, 2 if services == "BOTH" else 1, methods) for path, services, methods in rows}
