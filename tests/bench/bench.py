#!/usr/bin/env python3
"""Measures the appliance, each figure beside its ceiling in the same run.

    bench.py                    everything, with a journal of 1,000,000 orders
    bench.py --quick            about a minute, with a smaller journal
    bench.py --only load_64     that one; may be given more than once

Prints a table as it goes and writes BUILD/bench.json. Exits with 1 if something broke or, with --strict, a
target was missed. The last column says how many cores were kept busy by others meanwhile: with more
than a tenth, repeat the run on a quiet machine."""
import contextlib
import sys

import benchmark
from figures import FIGURES, FULL, QUICK, Bench


@contextlib.contextmanager
def opened(build, folder, profile):
    yield Bench(build, folder, profile)


if __name__ == "__main__":
    sys.exit(benchmark.main(benchmark.Benchmark("bench", __doc__, "bench.json", FIGURES, FULL, QUICK,
                                                opened)))
