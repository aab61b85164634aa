"""What the benchmarks share: arguments, the table, the JSON, how they end."""
import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing

from load import BenchError
from servers import machine_cpu_s

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEMORY_FILESYSTEMS = {"tmpfs", "ramfs"}
FREE_BYTES_LEAST = 4 << 30
HEAD = ("figure", "measured", "ceiling", "ratio", "target", "", "others")
WIDTHS = (42, 16, 40, 5, 24, 6, 6)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    name: str
    help: str                # the first line is what --help says
    report: str              # the JSON's name
    figures: dict            # name: a function of the bench that gives figures
    full: typing.Any         # profiles
    quick: typing.Any
    opened: typing.Callable  # (build, folder, profile): a context manager that gives the bench


def parse_arguments(benchmark):
    parser = argparse.ArgumentParser(description=benchmark.help.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--data-dir", type=pathlib.Path, default=ROOT / "build/bench-data",
                        help="where the journals live: on the disk to be measured")
    parser.add_argument("--quick", action="store_true", help="shorter, with smaller journals")
    parser.add_argument("--only", action="append", choices=benchmark.figures, metavar="NAME",
                        help=", ".join(benchmark.figures))
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    return parser.parse_args()


def filesystem_type(folder):
    """The type of the mounted filesystem that holds the folder."""
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    holding = [(where, kind) for where, kind in mounts if folder.is_relative_to(where)]
    return max(holding, key=lambda mount: len(mount[0]))[1]


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


def print_row(cells):
    """At once: a run may take long, and be ended before its last figure."""
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip(), flush=True)


def figure_json(figure):
    names = {"ratio": figure.ratio, "verdict": figure.verdict}
    return {**dataclasses.asdict(figure), **names}


def write_json(path, machine, profile, figures):
    report = {"machine": machine, "profile": dataclasses.asdict(profile),
              "figures": [figure_json(figure) for figure in figures]}
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def take(figures_of, bench):
    """The figures, with what else the machine did meanwhile."""
    own_cpu_s = bench.own_cpu_clock()
    started_s, machine_s, own_s = time.monotonic(), machine_cpu_s(), own_cpu_s()
    figures = list(figures_of(bench))
    foreign_s = machine_cpu_s() - machine_s - (own_cpu_s() - own_s)
    cores = max(foreign_s / (time.monotonic() - started_s), 0)
    return [dataclasses.replace(figure, foreign_cores=cores) for figure in figures]


def measure(benchmark, arguments, machine):
    build, figures = arguments.build.resolve(), []
    profile = benchmark.quick if arguments.quick else benchmark.full
    with tempfile.TemporaryDirectory(prefix="run-", dir=arguments.data_dir) as folder, \
            benchmark.opened(build, pathlib.Path(folder).resolve(), profile) as bench:
        print_row(HEAD)
        for name in arguments.only or benchmark.figures:
            taken = take(benchmark.figures[name], bench)
            figures.extend(taken)
            for figure in taken:
                print_row(table_row(figure))
            write_json(build / benchmark.report, machine, profile, figures)
    return figures


def run(benchmark, arguments):
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    folder = arguments.data_dir.resolve()
    machine = describe_machine(folder)
    check_disk(machine, folder)
    print("{cores} cores, kernel {kernel}, journals on {filesystem}".format(**machine), flush=True)
    return measure(benchmark, arguments, machine)


def main(benchmark):
    """Returns the exit code."""
    arguments = parse_arguments(benchmark)
    # so that every server is stopped on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = run(benchmark, arguments)
    except (BenchError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{benchmark.name}: {error}", file=sys.stderr)
        return 1
    missed = any(figure.verdict == "missed" for figure in figures)
    return 1 if missed and arguments.strict else 0
