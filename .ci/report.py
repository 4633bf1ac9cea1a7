"""Makes the benchmark report from what .ci/report has counted.

    report.py FOLDER        reads the counts there, writes report.md and report.json beside them, prints the table

Exit code: 0 good, 1 a row has more instructions than the bound allows, asks the allocator more often or is gone, 2
there is nothing to report or a count cannot be read. `report_test.py` shows each of them.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time

# Percent of a row's instructions. Less is noise of what a compiler decides; more is to be explained.
INSTRUCTIONS_MORE_MAX = 3.0
TITLES = {
    "upgrade": "upgrade, from accept to the 101",
    "verify": "a token's signature and claims",
    "join": "join a room of 3",
    "join_crowd": "join a room of 1,000",
    "presence": "tell a room of 3 who came",
    "resume": "resume 50 events",
    "assemble": "2 assemble",
    "assemble_16k": "2 assemble, 16 KiB",
    "parse": "3 parse",
    "authorise": "5, 6 authorise and route",
    "room": "7 room: number, dedup, history",
    "encode": "8 encode",
    "publish": "2-8 publish, room of 3",
    "publish_acked": "the same with an acknowledgement",
    "publish_durable": "the same in a room that is kept",
    "publish_coalesced": "2-8 publish, four before a visit",
    "visit": "8 visit, room of 3",
    "visit_coalesced": "the same, four before a visit",
    "visit_big_room": "8 visit, room of 1,000",
    "deliver": "9, 10 deliver, room of 3",
    "deliver_acked": "the same with an acknowledgement",
    "deliver_coalesced": "the same, four before a visit",
    "deliver_big_room": "9, 10 deliver, room of 1,000",
    "deliver_big_room_coalesced": "the same, eight before a visit",
    "commit_durable": "it is on the disk: 9, 10 the acknowledgement",
    "turn": "2-10 a whole turn, room of 3",
    "turn_big_room": "the same, room of 1,000",
    "echo": "echo",
    "echo_coalesced": "the same, sixteen read at once",
    "close": "a connection that a drain closes",
    "idle": "be there: one ping and heartbeat",
}


class Unreadable(Exception):
    """What was counted is not as the benches' runner writes it."""


def counted(folder, name):
    """By row, the whole run's events as the benches' runner tells them."""
    rows = {}
    for number, line in enumerate(told(folder, name).splitlines(), 1):
        if line.startswith("{"):
            try:
                summary = json.loads(line)
                rows[summary["id"]] = events(summary["profiles"])
                if not rows[summary["id"]]["Ir"] > 0:
                    raise ValueError("no instructions")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Unreadable(f"{name}, line {number}: must be a row's whole count: {error!r}") from error
    return rows


def events(profiles):
    """Instructions and misses of one run."""
    found = {}
    for profile in profiles:
        for kind, value in profile["data"]["total"]["metrics"].items():
            found[kind] = value_of(value)
    return found


def value_of(value):
    """The number of this run: alone, or beside that of an earlier one."""
    while isinstance(value, dict):
        value = value.get("new", value.get("values"))
    return value


def allocations(text):
    """By row: requests of a run, units of a run, the unit. And what was over its bound."""
    rows = {}
    for name, requests, units, unit in re.findall(r"^allocations (\w+) (\d+) in (\d+) units of a (.+)$", text, re.M):
        rows[name] = (int(requests), int(units), unit)
    return rows, re.findall(r"^(\w+: \d+ in a run, recorded are \d+)$", text, re.M)


def accepted(messages):
    """Rows whose cost commit messages own up to, as `Cost: visit +5 %, why`; those of one row come upon each other."""
    found = {}
    for name, percent, reason in re.findall(r"^Cost: (\w+) \+(\d+(?:\.\d+)?) ?%,? (.+)$", messages, re.M):
        before, reasons = found.get(name, (0.0, []))
        found[name] = (before + float(percent) + before * float(percent) / 100, [reason, *reasons])
    return found


def removed(messages):
    """Rows that a commit message says it takes away, as `Removed: visit, why`."""
    return dict(re.findall(r"^Removed: (\w+),? (.+)$", messages, re.M))


def vanished(head, base, base_names, reasons):
    """Rows of the commit before that are not counted any more, each with its verdict."""
    found = []
    for name in dict.fromkeys([*base_names, *base]):
        if name not in head:
            verdict = "removed: " + reasons[name] if name in reasons else "VANISHED"
            found.append({"row": name, "before": base[name]["Ir"] if name in base else None, "verdict": verdict})
    return found


def compare(head, base, asked, costs):
    """The rows of the table, and which of them are over the bound."""
    rows = []
    for name, counts in head.items():
        requests, units, unit = asked.get(name, (None, 1, "run"))
        row = {"row": name, "unit": unit, "units": units, "instructions": counts["Ir"] / units}
        row["misses"] = sum(counts.get(kind, 0) for kind in ("DLmr", "DLmw", "ILmr")) / units
        row["misses_l1"] = sum(counts.get(kind, 0) for kind in ("D1mr", "D1mw", "I1mr")) / units
        # A merge base of before branches were counted has none; those of here are told all the same.
        row["branches"] = sum(counts.get(kind, 0) for kind in ("Bc", "Bi")) / units if "Bc" in counts else None
        row["mispredicted"] = sum(counts.get(kind, 0) for kind in ("Bcm", "Bim")) / units if "Bc" in counts else None
        row["allocations"] = None if requests is None else requests / units
        row["verdict"] = "new"
        if name in base:
            row["before"] = base[name]["Ir"] / units
            row["change_percent"] = 100 * (counts["Ir"] - base[name]["Ir"]) / base[name]["Ir"]
            row["verdict"] = judge(name, row["change_percent"], costs)
        elif not base:
            row["verdict"] = "counted"
        rows.append(row)
    return rows


def judge(name, change, costs):
    if change <= INSTRUCTIONS_MORE_MAX:
        return "better" if change < -INSTRUCTIONS_MORE_MAX else "same"
    if name in costs and change <= costs[name][0]:
        return "accepted: " + "; ".join(costs[name][1])
    return "REGRESSED"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 2) + "---|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def rows_table(rows, gone):
    header = ["row", "one", "before", "now", "change", "L1 misses", "last-level misses", "branches", "mispredicted"]
    header += ["allocations", "verdict"]
    lines = []
    for row in rows:
        change = row.get("change_percent")
        allocations = row["allocations"]
        lines.append([
            TITLES.get(row["row"], row["row"]) + f" (`{row['row']}`)",
            row["unit"],
            number(row.get("before")),
            number(row["instructions"]),
            "–" if change is None else f"{change:+.2f} %",
            number(row["misses_l1"], 1),
            number(row["misses"], 2),
            number(row["branches"]),
            number(row["mispredicted"], 1),
            number(allocations, 0 if allocations is None or allocations == int(allocations) else 2),
            emphasised(row["verdict"]),
        ])
    for row in gone:
        lines.append([f"`{row['row']}`", "run", number(row["before"]), *["–"] * 7, emphasised(row["verdict"])])
    return table(header, lines)


def emphasised(verdict):
    return f"**{verdict}**" if verdict.isupper() else verdict


def memory(text):
    """Bytes of an idle connection, and whether the test held them to their bounds."""
    found = re.findall(r"^(\d+) s after the last join: (\d+) bytes a connection$", text, re.M)
    return [(int(seconds), int(count)) for seconds, count in found], "test result: ok" in text


def proof(table, output):
    """The table of the short proof, or why there is none."""
    if table.strip() or not output.strip():
        return table.strip()
    return "It was not made: " + output.strip().splitlines()[-1]


def told(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def git(*arguments):
    outcome = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return outcome.stdout.strip()


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*: (.+)$", file.read(), re.M)
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "rust": rust,
        "valgrind": valgrind,
    }


def gather(folder):
    """All of the report as one value."""
    head, base = counted(folder, "head.jsonl"), counted(folder, "base.jsonl")
    asked, over = allocations(told(folder, "allocations.txt"))
    base_commit = told(folder, "base.commit").strip()
    messages = git("log", "--format=%B", f"{base_commit}..HEAD") if base_commit else ""
    rows = compare(head, base, asked, accepted(messages))
    gone = vanished(head, base, told(folder, "base.rows").split(), removed(messages))
    idle, idle_held = memory(told(folder, "memory.txt"))
    regressed = [row for row in rows if row["verdict"] == "REGRESSED"]
    failures = [f"{row['row']}: {row['change_percent']:+.2f} % instructions" for row in regressed] + over
    failures += [
        f"{row['row']}: the row is gone: put it back, or say in the commit's message `Removed: {row['row']}, why`"
        for row in gone if row["verdict"] == "VANISHED"
    ]
    for what, names in (("allocations", head.keys() - asked.keys()), ("instructions", asked.keys() - head.keys())):
        if names:
            failures.append(f"{what} were not counted for " + ", ".join(sorted(names)))
    if not idle_held:
        failures.append("an idle connection keeps more than its bound, or was not measured")
    return {
        "schema": 1,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else ""),
        "base": base_commit or None,
        "skipped": told(folder, "base.why").strip() or None,
        "command": ".ci/report",
        "machine": machine(),
        "rows": rows,
        "vanished": gone,
        "idle_bytes": [{"seconds": seconds, "bytes": count} for seconds, count in idle],
        "timed": told(folder, "timed.txt").strip(),
        "proof": proof(told(folder, "prove.md"), told(folder, "prove.txt")),
        "failures": failures,
    }


def markdown(report):
    facts = report["machine"]
    against = f"against {report['base'][:12]}" if report["base"] else "against nothing"
    lines = [
        "## Benchmark report",
        "",
        f"Commit {report['commit'][:12]} {against}, {report['date']}, `{report['command']}` on {facts['cores']} cores "
        f"of {facts['processor']}, Linux {facts['kernel']}, {facts['rust']}, {facts['valgrind']}. "
        "docs/BENCHMARKS.md says how to read it.",
        "",
    ]
    if report["failures"]:
        lines += ["**Regressed:**", "", *(f"- {failure}" for failure in report["failures"]), ""]
    else:
        lines += ["Nothing regressed.", ""]
    lines += ["### What decides: counted, the same in every run", ""]
    if report["skipped"]:
        lines += [f"Nothing was compared: {report['skipped']}.", ""]
    lines += [f"Instructions and misses for one of each; over {INSTRUCTIONS_MORE_MAX:g} % more fail.", ""]
    lines += rows_table(report["rows"], report["vanished"]) + [""]
    for idle in report["idle_bytes"]:
        lines.append(f"- an idle joined connection, {idle['seconds']} s after the last join: {idle['bytes']:,} bytes")
    if report["timed"]:
        lines += ["", "### What only reports: timed on this machine", "", "```text", report["timed"], "```"]
    if report["proof"]:
        lines += ["", "### The short proof, which only reports", "", report["proof"]]
    return "\n".join(lines) + "\n"


def main(arguments):
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        print(f"{arguments}: must be one folder with counts", file=sys.stderr)
        return 2
    folder = arguments[0]
    try:
        report = gather(folder)
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    if not report["rows"]:
        print("no row was counted", file=sys.stderr)
        return 2
    text = markdown(report)
    with open(os.path.join(folder, "report.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    outputs = [os.path.join(folder, "report.md"), os.environ.get("GITHUB_STEP_SUMMARY")]
    for path in filter(None, outputs):
        with open(path, "w" if path == outputs[0] else "a", encoding="utf-8") as file:
            file.write(text)
    print(text)
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
