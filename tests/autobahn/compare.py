"""Compares an outcome of the Autobahn testsuite with the stored one.

    compare.py INDEX.json AGENT EXPECTED.json [--partial] [--store]
    compare.py --self-test

The stored result maps a case to its behaviour and its closing behaviour. Any difference counts, a better
outcome too: then it is to be stored. `--partial` compares only the cases that were run.
Exit code: 0 as expected, 1 not as expected, 2 nothing to compare.
"""

import json
import sys
from collections import Counter, defaultdict

GOOD = {"OK", "INFORMATIONAL"}
# An extension that was not negotiated has nothing to close wrongly either.
ABSENT = "UNIMPLEMENTED"


def order(case):
    return [int(number) for number in case.split(".")]


def verdict(behaviours):
    """One word for what a case did and how it closed: the worse of the two."""
    did, closed = behaviours
    if did == ABSENT:
        return ABSENT
    return did if did not in GOOD else closed if closed not in GOOD else did


def summary(outcome):
    """Lines of a table: groups down, verdicts across."""
    groups = defaultdict(Counter)
    for case, behaviours in outcome.items():
        groups[case.split(".")[0]][verdict(behaviours)] += 1
    words = sorted({word for counts in groups.values() for word in counts}, key=lambda word: (word not in GOOD, word))
    rows = [("group", *words, "all")]
    for group in sorted(groups, key=int):
        rows.append((group, *(str(groups[group][word]) for word in words), str(sum(groups[group].values()))))
    whole = sum(groups.values(), Counter())
    rows.append(("all", *(str(whole[word]) for word in words), str(sum(whole.values()))))
    return ["  ".join(cell.rjust(14) for cell in row) for row in rows]


def differences(outcome, expected, partial):
    """What came out otherwise than stored."""
    found = []
    for case in sorted(outcome.keys() | expected.keys(), key=order):
        now, before = outcome.get(case), expected.get(case)
        if now is None:
            found += [] if partial else [f"{case}: was not run"]
        elif before is None:
            found.append(f"{case}: is not stored, came out {' / '.join(now)}")
        elif now != before:
            found.append(f"{case}: {' / '.join(before)} is stored, came out {' / '.join(now)}")
    return found


def failures(outcome):
    """Cases that did not pass, stored or not."""
    cases = sorted(outcome, key=order)
    return [f"{case}: {' / '.join(outcome[case])}" for case in cases if verdict(outcome[case]) not in GOOD | {ABSENT}]


def main(arguments):
    options = {argument for argument in arguments if argument.startswith("--")}
    index, agent, stored = [argument for argument in arguments if argument not in options]
    with open(index) as file:
        cases = json.load(file).get(agent, {})
    outcome = {case: [result["behavior"], result["behaviorClose"]] for case, result in cases.items()}
    if not outcome:
        print(f"no results of {agent} in {index}", file=sys.stderr)
        return 2
    print("\n".join(summary(outcome)))
    bad = failures(outcome)
    if "--store" in options:
        if bad or "--partial" in options:
            print("\nnot stored: only a whole run without failures is\n" + "\n".join(bad))
            return 1
        with open(stored, "w") as file:
            lines = (f" {json.dumps(case)}: {json.dumps(outcome[case])}" for case in sorted(outcome, key=order))
            file.write("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"\nstored in {stored}")
        return 0
    try:
        with open(stored) as file:
            expected = json.load(file)
    except FileNotFoundError:
        print(f"\nnothing is stored in {stored} yet: run with --store", file=sys.stderr)
        return 1 if bad else 2
    found = differences(outcome, expected, "--partial" in options)
    print("\n" + ("\n".join(found) if found else "as expected"))
    return 1 if found else 0


def self_test():
    good, absent, late = ["OK", "OK"], ["UNIMPLEMENTED", "UNCLEAN"], ["OK", "WRONG CODE"]
    loose = ["NON-STRICT", "OK"]
    assert [verdict(x) for x in (good, absent, late, loose)] == ["OK", "UNIMPLEMENTED", "WRONG CODE", "NON-STRICT"]
    stored = {"1.1.1": good, "2.1": good, "10.1.1": good}
    assert differences(dict(stored), stored, False) == []
    assert len(differences({**stored, "2.1": loose}, stored, False)) == 1
    assert len(differences({"2.1": good}, stored, False)) == 2
    assert differences({"2.1": good}, stored, True) == []
    assert len(differences({**stored, "3.1": good}, stored, False)) == 1
    assert failures({"2.1": loose, "1.1.1": good, "12.1.1": absent, "7.1.1": late}) == [
        "2.1: NON-STRICT / OK",
        "7.1.1: OK / WRONG CODE",
    ]
    assert summary(stored)[-1].split() == ["all", "3", "3"]
    print("the comparer finds what it should")
    return 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else main(sys.argv[1:]))
