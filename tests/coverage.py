"""Reads lines reached from an lcov report and prints them by floor and module. Called by tests/coverage."""

import os
import re
import sys

FLOORS = range(2, 6)


def modules():
    """The modules of each floor, as src/lib.rs states them."""
    floor = None
    with open("src/lib.rs") as lines:
        for line in lines:
            if found := re.match(r"// Floor (\d+):", line):
                floor = int(found[1])
            elif floor in FLOORS and (found := re.match(r"pub mod (\w+);", line)):
                yield floor, found[1]


def tests_from(path):
    """The line where a file's tests begin: they stand last."""
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("#[cfg(test)]"):
                return number
    return sys.maxsize


def reached(report):
    """Whether each line of each source was reached, without the tests' own."""
    lines, path, limit = {}, None, 0
    for record in report:
        key, _, value = record.strip().partition(":")
        if key == "SF":
            path = os.path.relpath(value)
            ours = path.startswith("src/") and "/tests" not in path
            limit = tests_from(path) if ours else 0
        elif key == "DA":
            number, count = (int(part) for part in value.split(",")[:2])
            if number < limit:
                of_file = lines.setdefault(path, {})
                of_file[number] = of_file.get(number, False) or count > 0
    return lines


def main():
    with open(sys.argv[1]) as report:
        lines = reached(report)
    print(f"{'floor':<7}{'module':<12}{'reached':>9}{'of':>7}{'%':>9}")
    sums, unreached = [0, 0], []
    for floor, module in modules():
        counts = [0, 0]
        for path in sorted(lines):
            if path == f"src/{module}.rs" or path.startswith(f"src/{module}/"):
                counts[0] += sum(lines[path].values())
                counts[1] += len(lines[path])
                unreached += [(path, number) for number, was in sorted(lines[path].items()) if not was]
        if not counts[1]:
            sys.exit(f"coverage: no line of {module} is in the report")
        sums = [sums[0] + counts[0], sums[1] + counts[1]]
        print(f"{floor:<7}{module:<12}{counts[0]:>9}{counts[1]:>7}{100 * counts[0] / counts[1]:>9.2f}")
    print(f"{'':<7}{'all':<12}{sums[0]:>9}{sums[1]:>7}{100 * sums[0] / sums[1]:>9.2f}")
    if "--unreached" in sys.argv:
        for path, number in unreached:
            with open(path) as source:
                print(f"{path}:{number}: {source.readlines()[number - 1].strip()}")


main()
