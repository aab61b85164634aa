#!/usr/bin/python3
"""Runs the unit tests (cmocka) and the tests against a running appliance (pytest), and ends with
"N passed, N failed".

usage: tools/run_tests.py --build DIR [--only-units] [--without MARKS] [NAME…]
NAME picks unit test programs (test_json) or pytest expressions (test_first_sale)."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECOND_TRIES_MAX = 8
# A file's tests stay together, for they share what they have started. More would hold up the tests
# that keep real servers to a time.
SIDE_BY_SIDE = ["-n", "2", "--dist", "loadfile"]


def run_unit(program):
    """(passed, failed) of one cmocka program; its output is shown only if something failed."""
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, errors="replace",
                          check=False)
    output = done.stdout + done.stderr
    passed = len(re.findall(r"^\[       OK \]", output, re.MULTILINE))
    failed = len(re.findall(r"^\[  FAILED  \] \S+$", output, re.MULTILINE))
    failed = max(failed // 2, 1) if done.returncode else 0  # cmocka names each twice
    print(f"  {program.name}: {passed} passed" + (f", {failed} FAILED\n{output}" if failed else ""),
          flush=True)
    return passed, failed


def run_units(build, names):
    programs = [build / "tests" / "unit" / source.stem
                for source in sorted((ROOT / "tests" / "unit").glob("test_*.c"))
                if not names or source.stem in names]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run_unit, programs))
    return sum(passed for passed, _ in results), sum(failed for _, failed in results)


def pytest_once(build, arguments):
    """(exit code, tests, those that failed) of one run of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                               "--junit-xml", report, "-o", "junit_family=xunit1", *arguments],
                              cwd=ROOT, check=False,
                              env={**os.environ, "TILLBOX_BUILD": str(build),
                                   "PYTHONDONTWRITEBYTECODE": "1"})
        if not report.exists():
            return done.returncode, 0, []
        cases = xml.etree.ElementTree.parse(report).getroot().findall(".//testcase")
    failed = [f"{case.get('file')}::{case.get('name')}" for case in cases
              if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))]
    return done.returncode, len(cases), sorted(set(failed))


def run_pytest(build, names, without):
    """(passed, failed). Many tests wait for real servers and hold them to a time: on a machine that
    is busy with something else one may be late. What fails gets a second try, and is told."""
    arguments = ["tests/integration"]
    if names:
        arguments += ["-k", " or ".join(names)]
    else:
        arguments += SIDE_BY_SIDE
    if without:
        arguments += ["-m", f"not ({without})"]
    code, total, failed = pytest_once(build, arguments)
    if code not in (0, 1, 5) or (code == 1 and not failed):
        return total, 1
    if failed and len(failed) <= SECOND_TRIES_MAX:
        print("second try:", *failed, sep="\n  ")
        code, _, failed_again = pytest_once(build, failed)
        failed = failed_again if code in (0, 1) else failed
    return total - len(failed), len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--only-units", action="store_true")
    parser.add_argument("--without", metavar="MARKS",
                        help="leave out the pytest tests with these marks: 'central or dump'")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    passed, failed = run_units(build, arguments.names)
    if not arguments.only_units:
        more_passed, more_failed = run_pytest(build, arguments.names, arguments.without)
        passed, failed = passed + more_passed, failed + more_failed
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
