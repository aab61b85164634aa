#!/usr/bin/env python3
"""Sees every gate red. usage: tools/selftest.py [--list] [NAME…]

For each row of PLANTS a fault is planted in a copy of the tree, the row's gate is run there, and
must fail with the expected message. Every gate is first run on the copy as it is, and must pass:
a gate that is red anyway proves nothing. Ends with "N passed, N failed"; exit 1 if any failed."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple, Optional

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATE_MAX_S = 900
SHARED_BUILD = ("make check TESTS", "make test TESTS")


class Plant(NamedTuple):
    name: str
    file: str
    old: Optional[str]  # the first place of this text is replaced; None: the file is new
    new: str
    gate: str           # a shell command, run at the top of the copy
    message: str        # a regular expression that the gate's output must match


def unit_test(body, declarations=""):
    """A unit test program with one test."""
    return f"""#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
{declarations}
static void planted(void **state)
{{
    (void)state;
    {body}
}}

int main(void)
{{
    const struct CMUnitTest tests[] = {{cmocka_unit_test(planted)}};
    return cmocka_run_group_tests(tests, NULL, NULL);
}}
"""


RACE = """
#include <pthread.h>

static int shared;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100000; i++)
        shared++;
    return NULL;
}
"""

LONG_FUNCTION = ("int planted(int value);\n\nint planted(int value)\n{\n"
                 + "    value += 1;\n" * 70 + "    return value;\n}\n")

LAYERS = "tools/layers.py"
# The slow ones read only what a plant is in, and a file that is there without it.
TIDY = "PROGRAMS='core/planted.c core/utf8.c' tools/lint.sh tidy"
CPPCHECK = "PROGRAMS='core/planted.c core/utf8.c' tools/lint.sh cppcheck"
# Beside the planted test one that passes: without the plant the gate must have something to run.
CHECK = "make check TESTS='test_buf test_planted'"
ASAN = "make check-asan TESTS='test_buf test_planted'"
TSAN = "make check-tsan TESTS='test_buf test_planted'"

# The committer as it must not be: the answers go before the COMMIT.
COMMIT_FIRST = """    case COMMITTER_COMMITTING:
        committer->outcome = journal_commit(committer->options.journal, &error);
"""
ANSWER_FIRST = """    case COMMITTER_COMMITTING:
        report_events(committer, answer_batch(committer));
        committer->outcome = journal_commit(committer->options.journal, &error);
"""
PLANTS = [
    # who may include and call what
    Plant("layers-core", "core/planted.c", None, '#include "appliance/order.h"\n', LAYERS,
          r'core/planted\.c:1: core/ may include only from core/, not'),
    Plant("layers-core-domain", "core/planted.c", None, '#include "core/journal/event.h"\n', LAYERS,
          r'core/planted\.c:1: core/ may include only from core/, not'),
    Plant("layers-appliance", "appliance/planted.c", None, '\n#include "bridge/relay/pump.h"\n',
          LAYERS, r'appliance/planted\.c:2: appliance/ may include only from core/, .*appliance/, not'),
    Plant("layers-bridge", "bridge/relay/planted.h", None, '#include "appliance/journal.h"\n', LAYERS,
          r'bridge/relay/planted\.h:1: bridge/relay/ may include only from core/'),
    Plant("layers-relay", "bridge/relay/planted.c", None, '#include "bridge/inventory/inventory.h"\n',
          LAYERS, r'bridge/relay/planted\.c:1: bridge/relay/ may include only from core/'),
    Plant("layers-settings", "bridge/repair/planted.c", None,
          '#include "bridge/commands/settings.h"\n', LAYERS,
          r'bridge/repair/planted\.c:1: bridge/repair/ may include only from core/'),
    Plant("layers-no-folder", "bridge/planted.c", None, '#include "core/buf.h"\n', LAYERS,
          r'bridge/planted\.c:1: bridge/ may include only from nowhere'),
    Plant("layers-include-cycle", "core/buf.h", '#include "core/result.h"',
          '#include "core/result.h"\n#include "core/json.h"', LAYERS,
          r'files include each other in a circle: core/json\.h -> core/buf\.h -> core/json\.h'),
    Plant("layers-call-cycle", "core/config/config_name.c", '#include',
          'static void *planted(void);\nstatic void *planted(void)\n{\n    return config_load;\n}\n#include',
          LAYERS, r'files call each other in a circle: core/config/config'),
    Plant("layers-wait", "core/planted.c", None,
          "int late = pthread_cond_timedwait(&wake, &lock, &until);\n", LAYERS,
          r'core/planted\.c:1: pthread_cond_timedwait\(\) is called only in core/clock\.c'),
    Plant("layers-static", "appliance/planted.c", None, "static void end_senders(int left)\n{\n}\n",
          LAYERS, r'end_senders\(\) is also a static function of '),
    Plant("layers-untested", "appliance/planted.c", None, "\n", LAYERS,
          r'appliance/planted\.c:1: has no unit test, and no line in'),
    Plant("layers-way-round", "core/planted.c", None, '#include "core/../appliance/order.h"\n',
          LAYERS, r'core/planted\.c:1: core/ may include only from core/, not'),
    Plant("layers-pure-own", "core/utf8.c", '#include "core/utf8.h"',
          '#include "core/utf8.h"\n#include "core/log.h"', LAYERS,
          r'core/utf8\.c:2: a pure module may not include "core/log\.h"'),
    Plant("layers-pure-system", "core/utf8.c", '#include "core/utf8.h"',
          '#include "core/utf8.h"\n#include <unistd.h>', LAYERS,
          r'core/utf8\.c:2: a pure module may not include <unistd\.h>'),
    Plant("layers-vendor", "core/planted.c", None, "#include <sqlite3.h>\n", LAYERS,
          r'core/planted\.c:1: <sqlite3\.h> is included only in core/db\.c'),
    Plant("layers-unknown", "core/planted.c", None, "#include <zlib.h>\n", LAYERS,
          r'core/planted\.c:1: <zlib\.h> is in no row'),
    Plant("layers-macro", "core/planted.c", None, "#include HEADER\n", LAYERS,
          r'core/planted\.c:1: an include names its file'),
    Plant("layers-clock", "core/planted.c", None, "/* time() */\nlong now = time(NULL);\n", LAYERS,
          r'core/planted\.c:2: time\(\) is called only in core/clock\.c'),
    Plant("layers-random", "core/planted.c", None, 'int dice = rand() % 6;\n', LAYERS,
          r'core/planted\.c:1: rand\(\) is called only in core/clock\.c'),

    # sizes
    Plant("sizes-function", "core/planted.c", None, LONG_FUNCTION, "tools/sizes.py",
          r'core/planted\.c:4: a function of 71 lines, at most 70'),
    Plant("sizes-file", "core/planted.c", None, "\n" * 701, "tools/sizes.py",
          r'core/planted\.c:1: 701 lines, at most 700'),
    Plant("sizes-header", "core/planted.h", None, "\n" * 151, "tools/sizes.py",
          r'core/planted\.h:1: 151 lines, at most 150'),
    Plant("sizes-median", "core/planted.c", None, ("{\n" + "\n" * 13 + "}\n") * 5000,
          "tools/sizes.py", r'the median function has 13 lines, at most 12'),
    Plant("sizes-nine-in-ten", "core/planted.c", None, ("{\n" + "\n" * 46 + "}\n") * 5000,
          "tools/sizes.py", r'nine functions in ten have up to 46 lines, at most 45'),

    # lint
    Plant("lint-format", "core/planted.c", None, "int  planted;\n", "tools/lint.sh format",
          r'core/planted\.c:1:4: error: code should be clang-formatted'),
    Plant("lint-gcc", "core/planted.c", None, "static int planted;\n", "tools/lint.sh gcc",
          r'core/planted\.c:1:12: error: .planted. defined but not used'),
    Plant("lint-clang", "core/planted.c", None,
          "int planted(int a);\n\nint planted(int a)\n{\n    return a = a;\n}\n",
          "tools/lint.sh clang", r'core/planted\.c:5:14: error: explicitly assigning .*itself'),
    Plant("lint-analyzer", "core/planted.c", None,
          "#include <stdio.h>\n\nint planted(const char *path);\n\n"
          "int planted(const char *path)\n{\n    FILE *file = fopen(path, \"r\");\n"
          "    return file ? fgetc(file) : 0;\n}\n",
          "tools/lint.sh analyzer", r'core/planted\.c:8:\d+: error: .*analyzer-file-leak'),
    Plant("lint-tidy", "core/planted.c", None,
          "#include <stdlib.h>\n\nint planted(const char *text);\n\n"
          "int planted(const char *text)\n{\n    return atoi(text);\n}\n",
          TIDY, r'core/planted\.c:7:12: error: .*\[cert-err34-c'),
    Plant("lint-tidy-header", "core/utf8.h", "\n#endif", "\nint plantedName(void);\n\n#endif",
          TIDY,
          r"core/utf8\.h:\d+:5: error: invalid case style for function 'plantedName'"),
    Plant("lint-cppcheck", "core/planted.c", None,
          "int planted(void);\n\nint planted(void)\n{\n    int values[2] = {1, 2};\n"
          "    return values[2];\n}\n",
          CPPCHECK, r"core/planted\.c:6:.*arrayIndexOutOfBounds"),
    Plant("lint-shellcheck", "tools/planted.sh", None, "#!/bin/sh\nrm -r $1/*\n",
          "tools/lint.sh shellcheck", r'In tools/planted\.sh line 2:(.|\n)*SC2086'),
    Plant("lint-shellcheck-no-suffix", "tools/planted", None, "#!/bin/sh\nrm -r $1/*\n",
          "tools/lint.sh shellcheck", r'In tools/planted line 2:(.|\n)*SC2086'),
    Plant("lint-pyflakes", "tools/planted.py", None, "import os\n", "tools/lint.sh pyflakes",
          r"tools/planted\.py:1:1.* 'os' imported but unused"),
    Plant("lint-page-syntax", "appliance/page/planted.js", None, "const = 1;\n",
          "tools/lint.sh page", r"planted\.js:1"),
    Plant("lint-page-markup", "appliance/page/planted.js", None, "x.innerHTML = '';\n",
          "tools/lint.sh page", r"appliance/page/planted\.js:1:x\.innerHTML"),
    Plant("lint-page-inline", "appliance/page/index.html", "<main ", '<main style="color: red" ',
          "tools/lint.sh page", r'appliance/page/index\.html:\d+:<main style='),
    Plant("lint-page-length", "appliance/page/planted.js", None, "\n" * 401,
          "tools/lint.sh page", r"planted\.js: more than 400 lines"),
    Plant("lint-marker", "docs/planted.md", None, "later: TO" "DO\n", "tools/lint.sh text",
          r'docs/planted\.md:1:later'),
    Plant("lint-trailing-space", "docs/planted.md", None, "a line \n", "tools/lint.sh text",
          r'docs/planted\.md:1:a line'),
    Plant("lint-layers", "core/planted.c", None, "#include <sqlite3.h>\n", "tools/lint.sh layers",
          r'layers +failed\ncore/planted\.c:1:'),
    Plant("lint-sizes", "core/planted.c", None, "\n" * 701, "tools/lint.sh sizes",
          r'sizes +failed\ncore/planted\.c:1:'),

    # tests and sanitizers
    Plant("check-unit", "tests/unit/test_planted.c", None, unit_test("assert_int_equal(1, 2);"),
          CHECK, r'test_planted: 0 passed, 1 FAILED'),
    Plant("asan-overflow", "tests/unit/test_planted.c", None,
          unit_test("char *volatile bytes = malloc(8);\n    volatile size_t size = 9;\n"
                    "    memset(bytes, 1, size);\n"
                    "    assert_int_equal(bytes[0], 1);\n    free(bytes);"),
          ASAN, r'AddressSanitizer: heap-buffer-overflow'),
    Plant("asan-leak", "tests/unit/test_planted.c", None,
          unit_test("char *volatile lost = malloc(8);\n    lost[0] = 1;\n    lost = NULL;"),
          ASAN, r'LeakSanitizer: detected memory leaks'),
    Plant("ubsan-overflow", "tests/unit/test_planted.c", None,
          unit_test("volatile int most = 2147483647;\n    most = most + 1;"),
          ASAN, r'runtime error: signed integer overflow'),
    Plant("tsan-race", "tests/unit/test_planted.c", None,
          unit_test("pthread_t one, two;\n    pthread_create(&one, NULL, count, NULL);\n"
                    "    pthread_create(&two, NULL, count, NULL);\n    pthread_join(one, NULL);\n"
                    "    pthread_join(two, NULL);", RACE),
          TSAN, r'ThreadSanitizer: data race'),

    # what the box promises
    Plant("fuzz-answer", "core/json_writer.c", r"(const char[]){'\\', special}, 2", "&special, 1",
          "tools/fuzz.sh form", r"fuzz_form: FAILED"),
    Plant("answer-before-commit", "appliance/committer.c", COMMIT_FIRST, ANSWER_FIRST,
          "make check-crash KILLS=10", r'was acknowledged and is not there'),
    Plant("committer-transition-missing", "appliance/committer.c",
          "TO(COMMITTER_EXPIRING) | TO(COMMITTER_FAILED)", "TO(COMMITTER_EXPIRING)",
          "make check TESTS=test_committer", r"test_committer: .* FAILED"),
    Plant("stock-check-transition-missing", "appliance/stock_check.c",
          "TO(STOCK_CHECK_QUERYING) | TO(STOCK_CHECK_REPORTING)", "TO(STOCK_CHECK_QUERYING)",
          "make check TESTS=test_stock_check", r"test_stock_check: .* FAILED"),
    Plant("flush-left-out", "core/db.c", "PRAGMA synchronous=FULL; PRAGMA cache_size=-4096",
          "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-4096", "make check TESTS=test_db",
          r'test_db: .* FAILED'),
    Plant("oversell", "appliance/stock.c", "moved < 0", "moved < -1000000",
          "make check TESTS='test_stock test_command'", r'test_stock: .* FAILED'),
    Plant("key-forgotten", "appliance/committer.c", "command->keeps_answer = result == RESULT_OK;",
          "command->keeps_answer = false;", "make test TESTS=test_idempotency",
          r'the_same_key_in_one_batch_is_in_flight'),
    Plant("any-origin", "core/http/http_guard.c", "if (origin && !is_own_origin(",
          "if (origin && false && !is_own_origin(", "make test TESTS=test_access",
          r'FAILED tests/integration/appliance/test_access'),
    Plant("smuggling", "core/http/http_server_framing.c",
          "if (framing->encodings > 0 && framing->lengths > 0)", "if (framing->encodings > 9)",
          "make test TESTS=test_http_wire", r'FAILED tests/integration/appliance/test_http_wire'),
    Plant("parked-removed", "core/journal/delivery_status.c", "if (sink->first_parked > 0 &&",
          "if (sink->first_parked > 0 && false &&", "make test TESTS=test_bridge_retention",
          r'FAILED tests/integration/bridge/test_bridge_retention'),
    Plant("sink-missing-removed", "core/journal/delivery_status.c", "done < watermark ? done : watermark",
          "done > 0 ? done : watermark", "make test TESTS=test_bridge_retention",
          r'what_one_sink_has_not_got_stays'),
    Plant("lonely-stop", "bridge/relay/pump.c", "fence_raise(pump->options.fence, reason);",
          "(void)reason;", "make test TESTS=a_cloned_box",
          r'a_cloned_box_sends_nothing_more_to_anyone'),
    Plant("page-sent-again", "bridge/relay/in_flight.c", "if (in_flight->outcomes[i] == DELIVERY_DONE)",
          "if (i == 0 && in_flight->outcomes[i] == DELIVERY_DONE)",
          "make check TESTS=test_in_flight", r'test_in_flight: .* FAILED'),
    Plant("journal-replaced", "core/journal/journal_reader.c", "file.st_ino == reader->inode",
          "file.st_ino > 0", "make check TESTS=test_journal_reader",
          r'test_journal_reader: .* FAILED'),
    Plant("pump-transition-missing", "bridge/relay/pump.c", "TO(PUMP_CONNECTING) | TO(PUMP_READING) |",
          "TO(PUMP_READING) |", "make check TESTS=test_pump", r"test_pump: .* FAILED"),
    Plant("pump-forgets-lost-answer", "bridge/relay/in_flight.c",
          "if (in_flight->outcomes[i] == DELIVERY_DONE)", "if (in_flight->outcomes[i] <= DELIVERY_DONE)",
          "make check TESTS=test_pump", r"test_pump: .* FAILED"),
    Plant("notifier-transition-missing", "bridge/notification/notifier.c",
          '{"CLAIMING", TO(NOTIFIER_CONNECTING) | ', '{"CLAIMING", ',
          "make check TESTS=test_notifier", r"test_notifier: .* FAILED"),
    Plant("notifier-sends-before-marking", "bridge/notification/notifier.c",
          "        return lose_database(sender, &error);\n    sender->sent_count = 0;",
          "        sender->look_again_ms = 0;\n    else\n        sender->sent_count = 0;",
          "make check TESTS=test_notifier", r"test_notifier: .* FAILED"),
    Plant("worker-drops-queue", "core/worker.c", "if (worker->count > 0) {",
          "if (worker->count > 0 && !worker->is_closed) {", "make check TESTS=test_worker",
          r"test_worker: .* FAILED"),
    Plant("unreadable-skipped", "bridge/relay/cursor.c", "while (result == RESULT_OK && from < to)",
          "while (result == RESULT_OK && from < 0)", "make test TESTS=test_bridge_damage",
          r'FAILED tests/integration/bridge/test_bridge_damage'),
    Plant("called-delivered-on-trust", "bridge/relay/cursor.c", "|| through <= cursor->sequence)",
          "|| through > 0)", "make test TESTS=bridge_db_is_lost",
          r'what_was_parked_is_parked_again_when_bridge_db_is_lost'),
    Plant("held-behind-nothing", "bridge/relay/delivery_state.c", "if (result != RESULT_OK || there || behind)",
          "if (result != RESULT_OK || there || !behind || behind)", "make check TESTS=test_delivery_state",
          r'test_delivery_state: .* FAILED'),
    Plant("any-certificate", "bridge/adapters/broker_tls.c", "X509_VERIFY_PARAM_set1_host(expected, host, 0) == 1",
          "1", "make test TESTS=for_another_host", r'a_certificate_for_another_host_is_told'),
    Plant("deaf-to-sigterm", "bridge/commands/run.c", "pump_break_off(bridge->pumps[i]);",
          "(void)0;", "make test TESTS=stop-rabbitmq-confirm", r'FAILED tests/integration/bridge/test_bridge_line'),
    Plant("api-undescribed", "docs/api/openapi.yaml", "/livez:", "/livezz:",
          "make test TESTS=test_openapi", r'(FAILED|ERROR) tests/integration/appliance/test_openapi'),

    # the box as a machine
    Plant("units-exposed", "firmware-config/systemd/tillbox-.service.d/sandbox.conf",
          "CapabilityBoundingSet=\n", "CapabilityBoundingSet=~\n", "make units",
          r'more exposed than 1\.5'),
    Plant("units-unknown-word", "firmware-config/systemd/tillbox-bridge.service",
          "Type=notify", "Type=notifies", "make units", r'Failed to parse service type'),
    Plant("disk-that-forgets-nothing", "tests/image/machine.py", "cache=writeback",
          "cache=writethrough",
          "tools/install-deps.sh image && /usr/bin/python3 -m pytest tests/image/test_disk.py", r'1 failed, 1 passed'),
    Plant("watchdog-blind", "core/watchdog.c", "part->seen || part->has_moved(part->context)",
          "part->has_moved(part->context) || true", "make check TESTS=test_watchdog",
          r'test_watchdog: .* FAILED'),
    Plant("secret-dumped", "core/config/secret.c", "PR_SET_DUMPABLE, 0", "PR_SET_DUMPABLE, 1",
          "make check TESTS=test_secret", r'test_secret: .* FAILED'),
]


def copy_tree(copy):
    """What git would commit, in a repository of its own, since gates ask git for the files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)


def run_gate(copy, gate):
    """(exit code, output); what `make selftest` was given isn't meant for the gate."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD")}
    done = subprocess.run(["timeout", str(GATE_MAX_S), "sh", "-c", gate], cwd=copy, env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    return done.returncode, done.stdout


def plant(path, row):
    """Plants the fault; returns what undoes it, or None where the row no longer fits the tree."""
    if row.old is None:
        if path.exists():
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row.new, encoding="utf-8")
        return path.unlink
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if row.old not in text:
        return None
    path.write_text(text.replace(row.old, row.new, 1), encoding="utf-8")
    return lambda: path.write_text(text, encoding="utf-8")


def try_plant(copy, row):
    """None when the gate caught the fault, or else what went wrong."""
    undo = plant(copy / row.file, row)
    if undo is None:
        return f"the plant doesn't fit {row.file} any more"
    try:
        code, output = run_gate(copy, row.gate)
    finally:
        undo()
    if code == 0:
        return f"`{row.gate}` didn't notice"
    if not re.search(row.message, output):
        return f"`{row.gate}` failed with {code}, but not with {row.message!r}:\n{output[-4000:]}"
    return None


class Copy:
    """A copy of the tree, and which gates are green in it; one row at a time is tried there."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="selftest-")
        self.path = pathlib.Path(self.folder.name)
        self.green = {}
        copy_tree(self.path)

    def try_row(self, row):
        """None when the gate caught the fault, or else what went wrong."""
        if row.gate not in self.green:
            self.green[row.gate] = run_gate(self.path, row.gate)
        code, output = self.green[row.gate]
        if code != 0:
            return f"`{row.gate}` fails without the plant:\n{output[-4000:]}"
        return try_plant(self.path, row)

    def try_rows(self, rows):
        """Prints a line for each row; returns how many failed."""
        failed = 0
        for row in rows:
            began = time.monotonic()
            problem = self.try_row(row)
            took = f"({time.monotonic() - began:.0f} s)"
            print(f"FAILED {row.name} {took}: {problem}\n" if problem else
                  f"ok     {row.name} {took}\n", end="", flush=True)
            failed += bool(problem)
        return failed


def try_rows(rows):
    """In two copies side by side: what needs a build of its own, and what shares one. Returns how
    many failed."""
    shares = [row for row in rows if row.gate.startswith(SHARED_BUILD)]
    own = [row for row in rows if row not in shares]
    copies = [Copy(), Copy()]
    try:
        with concurrent.futures.ThreadPoolExecutor() as lanes:
            return sum(lanes.map(Copy.try_rows, copies, (shares, own)))
    finally:
        for copy in copies:
            copy.folder.cleanup()


def main(arguments):
    if arguments == ["--list"]:
        for row in PLANTS:
            print(f"{row.name:26} {row.file:28} {row.gate}")
        return 0
    names = [row.name for row in PLANTS]
    unknown = set(arguments) - set(names)
    if unknown or len(set(names)) < len(names):
        print("no such row, or two of one name:", *sorted(unknown), file=sys.stderr)
        return 2
    rows = [row for row in PLANTS if not arguments or row.name in arguments]
    failed = try_rows(rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
