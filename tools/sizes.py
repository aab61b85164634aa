#!/usr/bin/env python3
"""Checks the sizes of functions and files. usage: tools/sizes.py [ROOT]

A function's size is the number of lines between its braces, which clang-format puts in column 0.
Prints what is over the bar as "file:line: message", then one line of figures; exit 1 if anything
is over."""
import pathlib
import sys

FOLDERS = ["core", "appliance", "bridge"]
MEDIAN_MAX = 12
NINE_IN_TEN_MAX = 45
FUNCTION_MAX = 70
FILE_MAX = {".c": 700, ".h": 150}


def functions(lines):
    """(number of the opening line, lines between the braces) of each function."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield start, number - start - 1
            start = None


def percentile(sizes, part):
    """The smallest size that at least `part` of all are not above."""
    return sorted(sizes)[max(0, -int(-len(sizes) * part // 1) - 1)] if sizes else 0


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.[ch]"))
    over, sizes = [], []
    for path in paths:
        name, lines = path.relative_to(root), path.read_text(encoding="utf-8").splitlines()
        if len(lines) > FILE_MAX[path.suffix]:
            over.append(f"{name}:1: {len(lines)} lines, at most {FILE_MAX[path.suffix]}")
        for start, size in functions(lines):
            sizes.append(size)
            if size > FUNCTION_MAX:
                over.append(f"{name}:{start}: a function of {size} lines, at most {FUNCTION_MAX}")
    median, nine_in_ten = percentile(sizes, 0.5), percentile(sizes, 0.9)
    if median > MEDIAN_MAX:
        over.append(f"the median function has {median} lines, at most {MEDIAN_MAX}")
    if nine_in_ten > NINE_IN_TEN_MAX:
        over.append(f"nine functions in ten have up to {nine_in_ten} lines,"
                    f" at most {NINE_IN_TEN_MAX}")
    if not sizes:
        over.append(f"no function under {root}")
    for message in over:
        print(message)
    print(f"{len(paths)} files, {len(sizes)} functions: median {median}, nine in ten {nine_in_ten},"
          f" longest {max(sizes, default=0)} lines")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
