#!/usr/bin/env python3
"""Measures the appliance, each figure beside its ceiling in the same run.

    bench.py                    everything, with a journal of 1,000,000 orders
    bench.py --quick            about a minute, with a smaller journal
    bench.py --only load_64     that one; may be given more than once

Prints a table and writes BUILD/bench.json. Exits with 1 if something broke or, with --strict, a
target was missed. The last column says how many cores were kept busy by others meanwhile: with more
than a tenth, repeat the run on a quiet machine."""
import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from figures import FIGURES, FULL, QUICK, Bench
from load import BenchError

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEMORY_FILESYSTEMS = {"tmpfs", "ramfs"}
FREE_BYTES_LEAST = 4 << 30
HEAD = ("figure", "measured", "ceiling", "ratio", "target", "", "others")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--data-dir", type=pathlib.Path, default=ROOT / "build/bench-data",
                        help="where the journals live: on the disk to be measured")
    parser.add_argument("--quick", action="store_true", help="about a minute, smaller journals")
    parser.add_argument("--only", action="append", choices=FIGURES, metavar="NAME",
                        help=", ".join(FIGURES))
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    return parser.parse_args()


def filesystem_type(folder):
    """The type of the mounted filesystem that holds the folder."""
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    holding = [(where, kind) for where, kind in mounts if folder.is_relative_to(where)]
    return max(holding, key=lambda mount: len(mount[0]))[1]


def foreign_cpu_s():
    """CPU time since the boot that this run and its ended children didn't use; see proc(5)."""
    ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split()[1:9]]
    user, nice, system, _idle, _io_wait, *interrupts_and_stolen = ticks
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in own)
    busy = user + nice + system + sum(interrupts_and_stolen)
    return busy / os.sysconf("SC_CLK_TCK") - own_s


def describe_machine(folder):
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cores": os.cpu_count(), "kernel": platform.release(),
            "filesystem": filesystem_type(folder)}


def check_disk(machine, folder):
    if machine["filesystem"] in MEMORY_FILESYSTEMS:
        raise BenchError(f"{folder} is on {machine['filesystem']}: nothing is flushed there")
    if shutil.disk_usage(folder).free < FREE_BYTES_LEAST:
        raise BenchError(f"{folder} has less than {FREE_BYTES_LEAST >> 30} GiB left")


def amount(value, unit):
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"


def target_text(figure):
    texts = []
    if figure.target:
        texts.append(f"{figure.target.sign} {amount(figure.target.bound, figure.unit)}")
    if figure.ratio_target:
        texts.append(f"ratio {figure.ratio_target.sign} {figure.ratio_target.bound}")
    return ", ".join(texts)


def table_row(figure):
    beside = f"{amount(figure.ceiling, figure.unit)} ({figure.beside})" if figure.ceiling else ""
    ratio = f"{figure.ratio:.2f}" if figure.ceiling else ""
    verdict = f"{figure.verdict}: {figure.error}" if figure.error else figure.verdict
    measured = amount(figure.value, figure.unit)
    others = f"{figure.foreign_cores:.2f}"
    return figure.name, measured, beside, ratio, target_text(figure), verdict, others


def print_table(figures):
    rows = [HEAD, *map(table_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def figure_json(figure):
    names = {"ratio": figure.ratio, "verdict": figure.verdict}
    return {**dataclasses.asdict(figure), **names}


def write_json(path, machine, profile, figures):
    report = {"machine": machine, "profile": dataclasses.asdict(profile),
              "figures": [figure_json(figure) for figure in figures]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def take(name, bench):
    """The figures of that name, with what else the machine did meanwhile."""
    started_s, foreign_s = time.monotonic(), foreign_cpu_s()
    figures = list(FIGURES[name](bench))
    cores = (foreign_cpu_s() - foreign_s) / (time.monotonic() - started_s)
    return [dataclasses.replace(figure, foreign_cores=max(cores, 0)) for figure in figures]


def measure(arguments, machine, profile):
    figures = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=arguments.data_dir) as folder:
        bench = Bench(arguments.build.resolve(), pathlib.Path(folder).resolve(), profile)
        for name in arguments.only or FIGURES:
            print(f"{name} …", file=sys.stderr, flush=True)
            figures.extend(take(name, bench))
    print_table(figures)
    write_json(arguments.build / "bench.json", machine, profile, figures)
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
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    missed = any(figure.verdict == "missed" for figure in figures)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
