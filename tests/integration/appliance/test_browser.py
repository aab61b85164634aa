"""The till page in a real browser: runs tests/browser, and says of each test there how it ended."""

import concurrent.futures
import http.server
import json
import os
import re
import subprocess
import threading

import pytest

from box import BUILD
from box import ROOT
from bridge import open_office
from bridge import settings_of
from node import install_packages
from rejections import unbind_all

FOLDER = ROOT / "tests" / "browser"
SECONDS_MAX = 600
# They wait more than they work: two at a time, and what measures time by itself.
LANES = [["till", "stock", "looks"], ["outbox", "box", "access"]]
ALONE = "speed"
ROUTING_KEY = "order.created"
NAME = re.compile(r"^(?:test|shopTest|officeTest)\(\s*'((?:[^'\\]|\\.)*)'", re.MULTILINE)
VIEWS = [f"every view is for everybody: {size}, {colours}"
         for size in ("tablet", "desk", "phone") for colours in ("light", "dark")]


def names_of_tests():
    """Those that tests/browser has, as they stand there."""
    return [name for source in sorted(FOLDER.glob("test_*.mjs"))
            for name in NAME.findall(source.read_text())] + VIEWS


class HeadOffice:
    """What a browser test may ask of head office, by a word."""

    def __init__(self, servers):
        self.servers = servers
        self.offices = []

    def open(self):
        self.offices.append(open_office(self.servers))
        return settings_of(self.offices[-1])

    def stop(self):
        self.servers.postgres.stop()

    def start(self):
        self.servers.postgres.start()

    def refuse(self):
        unbind_all(self.offices[-1], ROUTING_KEY)

    def take(self):
        self.offices[-1].bind(ROUTING_KEY)

    def close(self):
        self.servers.revive()
        for office in self.offices:
            office.remove()


def serve(office):
    """Listens to the browser tests; the server, which runs in a thread of its own."""
    words = {"open": office.open, "stop": office.stop, "start": office.start,
             "refuse": office.refuse, "take": office.take}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                status, said = 200, json.dumps(words[self.path.strip("/")]())
            except Exception as error:
                status, said = 500, repr(error)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_):
            """The tests say enough."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run_lane(files, pattern, control):
    """What node says of the tests in these files."""
    done = subprocess.run(["node", "--test-reporter=tap", *pattern, FOLDER / "main.mjs", *files],
                          cwd=FOLDER, capture_output=True, text=True, timeout=SECONDS_MAX,
                          check=False, env={**os.environ, "TILLBOX_BUILD": str(BUILD),
                                            "TILLBOX_OFFICE": control})
    return done.stdout + done.stderr


def run_node(names, control):
    """{name: (whether it went well, what it said)} of the tests with these names, and all that was
    said."""
    every = len(names) == len(names_of_tests())
    pattern = [] if every else [
        "--test-name-pattern=^(" + "|".join(map(re.escape, names)) + ")$"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda files: run_lane(files, pattern, control), LANES))
    said += [run_lane([ALONE], pattern, control)]
    output = "\n".join(said)
    parts = re.split(r"^(ok|not ok) \d+ - (.*?)(?: # SKIP.*)?$", output, flags=re.MULTILINE)
    return {name: (verdict == "ok", rest) for verdict, name, rest
            in zip(parts[1::3], parts[2::3], parts[3::3])}, output


@pytest.fixture(scope="module")
def results(servers, request):
    names = [item.callspec.params["name"] for item in request.session.items
             if item.module is request.module and hasattr(item, "callspec")]
    install_packages(FOLDER)
    servers.revive()
    office = HeadOffice(servers)
    server = serve(office)
    try:
        yield run_node(names, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        office.close()


@pytest.mark.parametrize("name", names_of_tests())
def test_browser(results, name):
    ended, output = results
    assert name in ended, output
    went_well, said = ended[name]
    assert went_well, said


def test_every_browser_test_is_listed_here(results):
    """So that none can fail without anybody hearing of it."""
    ended, output = results
    assert set(ended) <= set(names_of_tests()), output


def test_every_file_is_in_a_lane():
    files = {source.stem.removeprefix("test_") for source in FOLDER.glob("test_*.mjs")}
    assert files == {name for lane in LANES for name in lane} | {ALONE}
