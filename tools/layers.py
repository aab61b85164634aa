#!/usr/bin/env python3
"""Checks who may include and call what, that nothing goes in circles, and that static functions have
names of their own. usage: tools/layers.py [ROOT]

Every .c and .h file under the folders named below is read; tests are exempt. A violation is
printed as "file:line: message"; exit 1 if there is any."""
import fnmatch
import pathlib
import re
import sys

# folder   files of FOLDER itself include "…" only from these folders and of these files
# system   <…> headers that every file may include (besides those of the C standard library)
# pure     these files include only the C standard library, each other and the headers the row names
# vendor   these <…> headers are included only in the files that the row names
# call     these functions are called only in the files that the row names
CORE = "core core/config core/http core/journal "
RULES = [
    ("folder", "core", "core"),
    ("folder", "core/config", "core core/config"),
    ("folder", "core/http", "core core/config core/http"),
    ("folder", "core/journal", "core core/journal"),
    ("folder", "appliance", "core core/config core/http core/journal appliance"),
    ("folder", "bridge", ""),
    ("folder", "bridge/adapters", CORE + "bridge/adapters"),
    ("folder", "bridge/relay", CORE + "bridge/adapters bridge/relay"),
    # what an event means for stock is what reconciling compares
    ("folder", "bridge/repair", CORE + "bridge/adapters bridge/relay bridge/repair"
                                " bridge/consumer/envelope.h bridge/inventory/stock_movements.h"),
    ("folder", "bridge/consumer", CORE + "bridge/adapters bridge/consumer"),
    ("folder", "bridge/inventory", CORE + "bridge/adapters bridge/consumer bridge/inventory"),
    ("folder", "bridge/notification", CORE + "bridge/adapters bridge/consumer bridge/notification"),
    ("folder", "bridge/commands", CORE + "bridge/adapters bridge/relay bridge/repair"
                                  " bridge/consumer bridge/inventory bridge/notification"
                                  " bridge/commands"),
    ("system", "arpa/inet.h dirent.h fcntl.h getopt.h grp.h ifaddrs.h libgen.h linux/*.h net/if.h"
               " netdb.h netinet/*.h poll.h pthread.h pwd.h sched.h semaphore.h spawn.h strings.h"
               " sys/*.h termios.h unistd.h", ""),
    ("pure", "appliance/order.* appliance/stock.* core/breaker.* core/retry.* core/utf8.*"
             " core/uuid.*", "core/attributes.h core/clock.h core/random.h core/result.h"),
    ("vendor", "microhttpd.h", "core/http/http_server.c core/http/http_server_*.c"),
    ("vendor", "cJSON.h cjson/*", "core/json.c"),
    ("vendor", "ini.h", "core/config/config*.c"),
    ("vendor", "sqlite3.h", "core/db.c core/db.h"),
    ("vendor", "openssl/*", "core/sha256.c bridge/adapters/broker_tls.c"),
    ("vendor", "curl/*", "core/http/curl_setup.* core/http/http_client.c core/http/smtp_client.c"),
    ("vendor", "systemd/*", "core/sd_notify.c"),
    ("vendor", "libpq-fe.h", "bridge/adapters/pg.c"),
    ("vendor", "amqp*.h rabbitmq-c/*", "bridge/adapters/broker.c bridge/adapters/broker_consume.c"
                                       " bridge/adapters/broker_internal.h"),
    ("call", "time clock clock_gettime gettimeofday sleep usleep nanosleep clock_nanosleep rand"
             " rand_r srand random srandom getrandom getentropy", "core/clock.c core/random.c"),
    ("call", "pthread_cond_wait pthread_cond_timedwait pthread_cond_clockwait", "core/clock.c"),
]

STANDARD_HEADERS = set(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal"
    " stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath"
    " threads time uchar wchar wctype".split())

COMMENT_OR_LITERAL = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*(.*)')
INCLUDE_NAME = re.compile(r'([<"])([^>"]+)[>"]')


def rows(kind):
    return [(what.split(), where.split()) for row_kind, what, where in RULES if row_kind == kind]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_standard(header):
    return header.endswith(".h") and header[:-2] in STANDARD_HEADERS


def blank_out(text, keep_literals):
    """The text with comments (and literals) replaced by spaces; every line keeps its number."""
    def replace(found):
        if keep_literals and found[0][0] in "\"'":
            return found[0]
        return re.sub(r"[^\n]", " ", found[0])
    return COMMENT_OR_LITERAL.sub(replace, text)


def check_quoted(path, header):
    folder = path.rpartition("/")[0]
    allowed = next((where for what, where in rows("folder") if folder in what), [])
    if ".." in header or header.rpartition("/")[0] not in allowed and header not in allowed:
        names = ", ".join(name if name.endswith(".h") else name + "/" for name in allowed)
        yield f'{folder}/ may include only from {names or "nowhere"}, not "{header}"'
    for pure, also in rows("pure"):
        if matches(path, pure) and not matches(header, pure + also):
            yield f'a pure module may not include "{header}"'


def check_angled(path, header):
    for pure, _ in rows("pure"):
        if matches(path, pure) and not is_standard(header):
            yield f"a pure module may not include <{header}>"
    for vendor, files in rows("vendor"):
        if matches(header, vendor):
            if not matches(path, files):
                yield f'<{header}> is included only in {", ".join(files)}'
            return
    if not is_standard(header) and not any(matches(header, known) for known, _ in rows("system")):
        yield f"<{header}> is in no row of the rules"


def check_includes(path, line):
    directive = INCLUDE.match(line)
    if not directive:
        return
    name = INCLUDE_NAME.match(directive[1])
    if not name:
        yield "an include names its file"
    elif name[1] == '"':
        yield from check_quoted(path, name[2])
    else:
        yield from check_angled(path, name[2])


def check_calls(path, line):
    for functions, files in rows("call"):
        if matches(path, files):
            continue
        for found in re.finditer(r"(?<![\w.>])(%s)\s*\(" % "|".join(functions), line):
            yield f'{found[1]}() is called only in {", ".join(files)}'


def check_file(root, path):
    text = (root / path).read_text(encoding="utf-8")
    with_literals = blank_out(text, keep_literals=True).split("\n")
    code = blank_out(text, keep_literals=False).split("\n")
    for number, (include, call) in enumerate(zip(with_literals, code), 1):
        for message in (*check_includes(path, include), *check_calls(path, call)):
            yield f"{path}:{number}: {message}"


DEFINITION = re.compile(r'^(?!static\b|typedef\b|extern\b)[a-z][\w \t*]*?\b(\w+)\((?:[^;{}]*?)\)\s*\{', re.M)
NAME = re.compile(r"(?<!enum )(?<!struct )(?<![.>\w])[a-z]\w+\b")


def includes_of(root, path):
    text = blank_out((root / path).read_text(encoding="utf-8"), keep_literals=True)
    names = (INCLUDE_NAME.match(found[1]) for found in map(INCLUDE.match, text.split("\n")) if found)
    return {name[2] for name in names if name and name[1] == '"'}


def calls_between(root, sources):
    """Of each .c file the others whose functions it names."""
    code = {path: blank_out((root / path).read_text(encoding="utf-8"), keep_literals=False)
            for path in sources}
    home = {}
    for path, text in code.items():
        home.update({name: path for name in DEFINITION.findall(text)})
    home.pop("main", None)
    return {path: {home[word] for word in set(NAME.findall(text)) & home.keys()
                   if home[word] != path and folder_of(home[word]) == folder_of(path)}
            for path, text in code.items()}


def folder_of(path):
    return path.rpartition("/")[0]


def find_cycle(graph):
    """One cycle as a list of nodes, or None."""
    done, trail = set(), []

    def visit(node):
        if node in trail:
            return trail[trail.index(node):] + [node]
        if node in done:
            return None
        trail.append(node)
        for target in sorted(graph.get(node, ())):
            cycle = visit(target)
            if cycle:
                return cycle
        trail.pop()
        done.add(node)
        return None

    return next(filter(None, map(visit, sorted(graph))), None)


def check_cycles(root, paths):
    headers = {path: includes_of(root, path) for path in paths if path.endswith(".h")}
    sources = [path for path in paths if path.endswith(".c")]
    for what, graph in (("include", headers), ("call", calls_between(root, sources))):
        cycle = find_cycle(graph)
        if cycle:
            yield f"{cycle[0]}:1: files {what} each other in a circle: " + " -> ".join(cycle)


STATIC = re.compile(r"^static (?:inline )?(?:const )?(?:struct |enum |unsigned )?\w+[ *\n]+(?:const )?\**(\w+)\(", re.M)


def check_statics(root, paths):
    """The name of a static function says all there is to say, in a debugger and a search too."""
    home = {}
    for path in paths:
        text = blank_out((root / path).read_text(encoding="utf-8"), keep_literals=False)
        for found in STATIC.finditer(text):
            first = home.setdefault(found[1], path)
            if first != path:
                line = text.count("\n", 0, found.start(1)) + 1
                yield f"{path}:{line}: {found[1]}() is also a static function of {first}"


COVERED = "tests/unit/covered.txt"


def check_tests(root, paths):
    """Each module has a unit test, or a line of the list that says which test covers it."""
    if not (root / COVERED).exists():
        return
    listed = {}
    for number, line in enumerate((root / COVERED).read_text(encoding="utf-8").split("\n"), 1):
        if line and not line.startswith("#"):
            module, _, test = line.partition(": ")
            listed[module] = number
            if not (root / module).exists() or not (root / test).exists():
                yield f"{COVERED}:{number}: {module} or {test} isn't there"
    for path in paths:
        own = root / "tests" / "unit" / f"test_{pathlib.Path(path).stem}.c"
        if path.endswith(".c") and not own.exists() and path not in listed:
            yield f"{path}:1: has no unit test, and no line in {COVERED}"
        if own.exists() and path in listed:
            yield f"{COVERED}:{listed[path]}: {path} has a unit test of its own"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folders = [folder for what, _ in rows("folder") for folder in what]
    paths = sorted({path.relative_to(root).as_posix() for folder in folders
                    for path in (root / folder).rglob("*.[ch]")})
    violations = [message for path in paths for message in check_file(root, path)]
    violations += check_cycles(root, paths)
    violations += check_statics(root, paths)
    violations += check_tests(root, paths)
    for message in violations:
        print(message)
    if not paths:
        print(f"no .c or .h file under {root}")
    return 1 if violations or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
