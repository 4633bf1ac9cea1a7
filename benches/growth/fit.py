"""Fits straight lines to what the growth bench counted, and says how far off they are.

    cargo bench -p benches --bench growth -- --output-format=json | python3 benches/growth/fit.py

A series is a row's name without its number, which is the size. Instructions and misses of the first cache of a run are
fitted as `base + each * size` so that the relative error is small, not the absolute: 10,000 members must not outweigh
one.
"""

import json
import sys
from collections import defaultdict


def value_of(metric):
    return metric["values"]["new"]


def counted(lines):
    series = defaultdict(list)
    for line in lines:
        if not line.startswith("{"):
            continue
        summary = json.loads(line)
        name, _, size = summary["id"].rpartition("_")
        metrics = {kind: value_of(metric) for kind, metric in summary["profiles"][0]["data"]["total"]["metrics"].items()}
        misses = metrics["D1mr"] + metrics["D1mw"] + metrics["I1mr"]
        series[name].append((int(size), metrics["Ir"], misses, metrics["DLmr"] + metrics["DLmw"] + metrics["ILmr"]))
    return series


def fit(points):
    """Base and slope of least relative squares."""
    weights = [1 / max(y, 1) ** 2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points)) / spread
    return mean_y - slope * mean_x, slope


def main():
    for name, rows in counted(sys.stdin).items():
        rows.sort()
        print(f"\n| {name} | instructions | of the model | L1 misses | last-level misses |\n|---:|---:|---:|---:|---:|")
        base, slope = fit([(size, instructions) for size, instructions, _, _ in rows])
        errors = []
        for size, instructions, misses, last in rows:
            model = base + slope * size
            errors.append(abs(model / instructions - 1))
            print(f"| {size:,} | {instructions:,} | {model:,.0f} | {misses:,} | {last:,} |")
        print(f"\n{base:,.0f} + {slope:,.0f} for each; the model is off by at most {100 * max(errors):.0f} %")


if __name__ == "__main__":
    main()
