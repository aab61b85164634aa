#!/usr/bin/env python3
"""Measures the bridge, each figure beside its ceiling in the same run.

    bridge_bench.py                       everything, with a backlog of 200,000 events: over ten minutes
    bridge_bench.py --quick               about a minute and a half, with a smaller backlog
    bridge_bench.py --only drain_rabbitmq  that one; may be given more than once

Starts a PostgreSQL and a RabbitMQ of its own and stops them at the end. Prints a table and writes
BUILD/bench-bridge.json. Exits with 1 if something broke or, with --strict, a target was missed. The
last column says how many cores were kept busy by others meanwhile: with more than a tenth, repeat
the run on a quiet machine."""
import argparse
import dataclasses
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from bench import ROOT, check_disk, describe_machine, print_table, write_json
import bridge_figures
import inventory_figures
from bridge_figures import FULL, QUICK, BridgeBench
from bridge_servers import HeadOffice, cpu_s_of, machine_cpu_s
from load import BenchError

FIGURES = {**bridge_figures.FIGURES, **inventory_figures.FIGURES}

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--data-dir", type=pathlib.Path, default=ROOT / "build/bench-data",
                        help="where the journals live: on the disk to be measured")
    parser.add_argument("--quick", action="store_true",
                        help="about a minute and a half, smaller backlog")
    parser.add_argument("--only", action="append", choices=FIGURES, metavar="NAME",
                        help=", ".join(FIGURES))
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    return parser.parse_args()


def take(name, bench):
    """The figures of that name, with what else the machine did meanwhile."""
    roots = bench.head_office.roots()
    started_s, machine_s, own_s = time.monotonic(), machine_cpu_s(), cpu_s_of(roots)
    figures = list(FIGURES[name](bench))
    foreign_s = machine_cpu_s() - machine_s - (cpu_s_of(roots) - own_s)
    cores = max(foreign_s / (time.monotonic() - started_s), 0)
    return [dataclasses.replace(figure, foreign_cores=cores) for figure in figures]


def measure(arguments, machine, profile):
    build, figures = arguments.build.resolve(), []
    with tempfile.TemporaryDirectory(prefix="run-", dir=arguments.data_dir) as folder, \
            HeadOffice(build) as head_office:
        bench = BridgeBench(build, pathlib.Path(folder).resolve(), profile, head_office)
        for name in arguments.only or FIGURES:
            print(f"{name} …", file=sys.stderr, flush=True)
            figures.extend(take(name, bench))
    print_table(figures)
    write_json(arguments.build / "bench-bridge.json", machine, profile, figures)
    return figures


def run(arguments):
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    folder = arguments.data_dir.resolve()
    machine = describe_machine(folder)
    check_disk(machine, folder)
    print("{cores} cores, kernel {kernel}, journals on {filesystem}".format(**machine), flush=True)
    return measure(arguments, machine, QUICK if arguments.quick else FULL)


def main():
    arguments = parse_arguments()
    # so that every server is stopped on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = run(arguments)
    except (BenchError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"bridge_bench: {error}", file=sys.stderr)
        return 1
    missed = any(figure.verdict == "missed" for figure in figures)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
