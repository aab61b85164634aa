#!/usr/bin/env python3
"""Measures the bridge, each figure beside its ceiling in the same run.

    bridge_bench.py                       everything, with a backlog of 200,000 events: over ten minutes
    bridge_bench.py --quick               about a minute and a half, with a smaller backlog
    bridge_bench.py --only drain_rabbitmq  that one; may be given more than once

Starts a PostgreSQL and a RabbitMQ of its own and stops them at the end. Prints a table as it goes and writes
BUILD/bench-bridge.json. Exits with 1 if something broke or, with --strict, a target was missed. The
last column says how many cores were kept busy by others meanwhile: with more than a tenth, repeat
the run on a quiet machine."""
import contextlib
import sys

import benchmark
import bridge_figures
import inventory_figures
from bridge_figures import FULL, QUICK, BridgeBench
from bridge_servers import HeadOffice

FIGURES = {**bridge_figures.FIGURES, **inventory_figures.FIGURES}


@contextlib.contextmanager
def opened(build, folder, profile):
    with HeadOffice(build) as head_office:
        yield BridgeBench(build, folder, profile, head_office)


if __name__ == "__main__":
    sys.exit(benchmark.main(benchmark.Benchmark("bridge_bench", __doc__, "bench-bridge.json",
                                                FIGURES, FULL, QUICK, opened)))
