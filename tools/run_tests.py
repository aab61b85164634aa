#!/usr/bin/python3
"""Runs the unit tests (cmocka) and the tests against a running appliance (pytest), and ends with
"N passed, N failed".

usage: tools/run_tests.py --build DIR [--only-units] [--without MARK] [NAME…]
NAME picks unit test programs (test_json) or pytest expressions (test_first_sale)."""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run_unit(program):
    """(passed, failed) of one cmocka program; its output is shown only if something failed."""
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, errors="replace",
                          check=False)
    output = done.stdout + done.stderr
    passed = len(re.findall(r"^\[       OK \]", output, re.MULTILINE))
    failed = len(re.findall(r"^\[  FAILED  \] \S+$", output, re.MULTILINE))
    failed = max(failed // 2, 1) if done.returncode else 0  # cmocka names each twice
    print(f"  {program.name}: {passed} passed" + (f", {failed} FAILED" if failed else ""))
    if failed:
        print(output)
    return passed, failed


def run_units(build, names):
    programs = [build / "tests" / "unit" / source.stem
                for source in sorted((ROOT / "tests" / "unit").glob("test_*.c"))
                if not names or source.stem in names]
    results = [run_unit(program) for program in programs]
    return sum(passed for passed, _ in results), sum(failed for _, failed in results)


def run_pytest(build, names, without):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   "--junit-xml", report, "tests/integration"]
        expression = " or ".join(names)
        if without:
            command += ["-m", f"not {without}"]
        if expression:
            command += ["-k", expression]
        done = subprocess.run(command, cwd=ROOT, check=False,
                              env={**os.environ, "TILLBOX_BUILD": str(build),
                                   "PYTHONDONTWRITEBYTECODE": "1"})
        if not report.exists():
            return 0, 1
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    total = int(suite.get("tests"))
    failed = int(suite.get("failures")) + int(suite.get("errors")) + int(suite.get("skipped"))
    if done.returncode not in (0, 5) and failed == 0:
        failed = 1
    return total - failed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--only-units", action="store_true")
    parser.add_argument("--without", help="leave out the pytest tests that have this mark")
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
