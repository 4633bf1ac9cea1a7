#!/usr/bin/env python3
"""Bytes that a row copies from memory to memory, counted by valgrind: every call of memcpy, memmove and their like.

    cargo bench -p benches --bench gate --no-run
    benches/copies.py [ROW…]       all rows, or these
    benches/copies.py --self-test

What the compiler copies without a call, as it does with a few words, is not seen, nor what the kernel copies. The rows
are those of gate.rs, and what is counted is their work alone, as there: calls that lie below the row's function.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# The frame of what is counted, which the benches' macro makes; what prepares a row is not below it.
WORK = re.compile(r" gate::row::__gungraun_wrapper_mod::row\b")
CALLERS = 60


def rows():
    """By row its place in gate.rs, how many of its unit a run has, and the unit."""
    text = {name: open(os.path.join(HERE, name), encoding="utf-8").read() for name in ("gate.rs", "world/rows.rs")}
    numbers = dict(re.findall(r"const (\w+): u32 = (\d[\d_]*);", text["world/rows.rs"]))
    for path in glob.glob(os.path.join(HERE, "world", "*.rs")):
        with open(path, encoding="utf-8") as file:
            for name, value in re.findall(r"const (\w+): u32 = (\d[\d_]*);", file.read()):
                numbers.setdefault(name, value)
    found = {}
    places = re.findall(r"^#\[bench::(\w+)\(", text["gate.rs"], re.M)
    for name, unit, count in re.findall(r'row\("(\w+)", "([^"]+)", ([\w:* ]+), ', text["world/rows.rs"]):
        factors = [int(numbers[factor.split("::")[-1].strip()].replace("_", "")) for factor in count.split("*")]
        units = 1
        for factor in factors:
            units *= factor
        found[name] = (places.index(name), units, unit)
    return found


def program():
    """The rows as they were built last."""
    built = [path for path in glob.glob(os.path.join(HERE, "../target/release/deps/gate-*")) if os.access(path, os.X_OK)]
    if not built:
        sys.exit("there are no rows: cargo bench -p benches --bench gate --no-run")
    return max(built, key=os.path.getmtime)


def copied(profile, name):
    """Bytes and calls of a row's work."""
    if profile["mode"] != "copy":
        raise ValueError(f"mode {profile['mode']}: must be copy")
    frames = profile["ftbl"]
    if not any(f" gate::row::__run_{name} " in frame for frame in frames):
        raise ValueError(f"what ran is not the row {name}: are the rows built of this tree?")
    of_work = [point for point in profile["pps"] if any(WORK.search(frames[frame]) for frame in point["fs"])]
    return sum(point["tb"] for point in of_work), sum(point["tbk"] for point in of_work)


def count(gate, name, place):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "profile")
        tool = ["valgrind", "-q", "--tool=dhat", "--mode=copy", f"--num-callers={CALLERS}", f"--dhat-out-file={out}"]
        # As the benches' runner calls one row.
        row = ["--gungraun-run", "d:d:000000", "00000", "00000", f"{place:05}"]
        subprocess.run([*tool, gate, *row], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(out, encoding="utf-8") as file:
            return copied(json.load(file), name)


def self_test():
    below = "0x1: gate::row::__gungraun_wrapper_mod::row (gate.rs:54)"
    frames = ["[root]", "0x2: memmove (in …)", below, "0x3: gate::row::__run_visit (gate.rs:22)"]
    points = [{"tb": 300, "tbk": 3, "fs": [1, 2, 3]}, {"tb": 5000, "tbk": 9, "fs": [1, 3]}, {"tb": 40, "tbk": 1, "fs": [1, 2, 3]}]
    assert copied({"mode": "copy", "ftbl": frames, "pps": points}, "visit") == (340, 4)
    for mode, name in (("heap", "visit"), ("copy", "deliver")):
        try:
            copied({"mode": mode, "ftbl": frames, "pps": points}, name)
        except ValueError:
            continue
        raise AssertionError(f"{mode} {name}: something else was counted")
    known = rows()
    assert known["deliver"][1:] == (64, "message") and known["upgrade"][0] == 0, known


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    known = rows()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(f"{', '.join(unknown)}: must be of {', '.join(known)}", file=sys.stderr)
        return 2
    gate = program()
    print("| row | one | bytes copied | copies |\n|---|---|---:|---:|")
    for name in arguments or known:
        place, units, unit = known[name]
        copied_bytes, calls = count(gate, name, place)
        print(f"| `{name}` | {unit} | {copied_bytes / units:,.0f} | {calls / units:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
