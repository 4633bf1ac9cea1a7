#!/usr/bin/env python3
"""Holds loadgen against tsung where both can measure: the same echoes of the same server, in turn.

Servers: `late_echo`, which holds every message for a known time and says at its end for how long it did, and the
gateway's echo. Both tools have the same connections, each with one message on the way, at the same rate. The table has
the round trips of both, and of the server what it held, each the median over the repeats.

Exit codes: 0 they agree, 1 they do not, 2 something is missing or a tool failed.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

CONNECTIONS = 100
RATE_PER_S = 10
MESSAGES = 50
# As many as the long ones are apart, so that what the server held in all has the same share of them.
WARMUP_MESSAGES = 25
BODY_BYTES = 128
FIGURES = ("mean", "p50", "p90", "p99")
# tsung reads its clock in whole microseconds, but an answer passes the ports and schedulers of Erlang before that: what
# it measures of a server that answers at once is mostly this.
TOLERANCE_MS = 1.0
TOLERANCE_SHARE = 0.05
RATE_TOLERANCE_SHARE = 0.05
# A histogram of three digits may be off by so much.
DIGITS_SHARE = 0.002
# What loadgen ends with when a run is invalid, and how many such runs are made again before the machine is too busy.
LATE_CODE = 3
LATE_RUNS_MAX = 20
# Time until a server accepts.
START_S_MAX = 15
# The longest of all steps, a run of tsung with its start, takes 30 s.
STEP_S_MAX = 180

# Name, flags of late_echo or none for the gateway, and the mean delay in ms, by which tsung pauses less.
CASES = (
    ("held 20 ms", ["--delay-us", "20000"], 20.0),
    ("held 5 ms, each 25th 40 ms", ["--delay-us", "5000", "--every", "25", "--long-us", "40000"], 6.4),
    ("the gateway's echo", None, 0.0),
)


class Failed(Exception):
    """What the program ends with code 2 for."""


def figures_of(times_ms):
    """Mean and percentiles, each the smallest value that so many percent do not exceed."""
    times_ms = sorted(times_ms)
    at = lambda share: times_ms[max(0, -(-len(times_ms) * share // 100) - 1)]
    return {"mean": statistics.fmean(times_ms), "p50": at(50), "p90": at(90), "p99": at(99)}


def tsung_times(text):
    """The round trips in a log of the fullstats backend, in ms."""
    return [float(time_ms) for time_ms in re.findall(r"\{sample,tr_echo,([0-9.e+-]+)\}", text)]


def middle(runs):
    """Of each figure the median over the runs."""
    return {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}


def objections(case, held, tsung, loadgen):
    """Where the two disagree, and where loadgen says less than the server knows."""
    found = []
    for figure in FIGURES:
        allowed = max(TOLERANCE_MS, TOLERANCE_SHARE * tsung[figure])
        if abs(loadgen[figure] - tsung[figure]) > allowed:
            found.append(f"{case}: {figure} differs by more than {allowed:.2f} ms")
        if held and loadgen[figure] < held[figure] * (1 - DIGITS_SHARE):
            found.append(f"{case}: {figure} of loadgen is less than the server held")
    if abs(loadgen["rate"] / tsung["rate"] - 1) > RATE_TOLERANCE_SHARE:
        found.append(f"{case}: the rates differ by more than {RATE_TOLERANCE_SHARE:.0%}")
    return found


def rows(case, held, tsung, loadgen):
    """Rows of the table for one case."""
    text = f"| {case} | echoes a second | | {tsung['rate']:.0f} | {loadgen['rate']:.0f} | |\n"
    for figure in FIGURES:
        server = f"{held[figure]:.2f}" if held else ""
        difference = loadgen[figure] - tsung[figure]
        text += f"| | {figure}, ms | {server} | {tsung[figure]:.2f} | {loadgen[figure]:.2f} | {difference:+.2f} |\n"
    return text


class Late(Exception):
    """The generator says of itself that it was late: its run says nothing."""


class Bench:
    """The programs and places of one invocation."""

    def __init__(self, flags, place):
        self.flags = flags
        self.place = place
        self.port = flags.port
        self.late_runs = 0

    def on(self, cpu):
        return (lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None else None

    def start_server(self, late):
        if late is None:
            command = [self.flags.gateway, "serve", "--data", str(self.place / "gateway"), "--echo"]
        else:
            command = [self.flags.late_echo, *late]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        with open(self.place / "server.err", "w") as errors:
            server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=self.on(self.flags.server_cpu)
            )
        deadline = time.monotonic() + START_S_MAX
        accepted = 0
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                accepted = accepted + 1 if probe.connect_ex(("127.0.0.1", self.port)) == 0 else 0
            # More than once: a server may try its port before it serves it.
            if accepted == 5:
                return server
            time.sleep(0.1)
        server.kill()
        raise Failed(f"{command[0]} does not listen: {(self.place / 'server.err').read_text().strip()}")

    def end_server(self, server):
        """Ends it; what it held, if it is the one that says so."""
        server.send_signal(signal.SIGTERM)
        try:
            text, _ = server.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            raise Failed("the server does not end") from None
        lines = [line for line in text.splitlines() if line.startswith("{\"count\"")]
        if not lines:
            return None
        held = json.loads(lines[-1])
        return {figure: held[f"{figure}_us"] / 1000 for figure in FIGURES}

    def execute(self, command, environment=None):
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=STEP_S_MAX,
            preexec_fn=self.on(self.flags.cpu),
            check=False,
        )
        if done.returncode == LATE_CODE and command[0] == self.flags.loadgen:
            raise Late
        if done.returncode != 0:
            raise Failed(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def loadgen(self):
        out = self.place / "loadgen.json"
        command = [self.flags.loadgen, "run", "--quiet", "--adapter", "echo", "--scenario", str(HERE / "scenario.toml")]
        command += ["--url", f"ws://127.0.0.1:{self.port}", "--json", str(out)]
        self.execute(command)
        group = json.loads(out.read_text())["groups"][0]
        # From the actual send, as tsung counts.
        latency = group["latency_uncorrected"]
        expect(latency["count"], "loadgen")
        return {"rate": group["delivered_per_s"], **{figure: latency[f"{figure}_us"] / 1000 for figure in FIGURES}}

    def tsung(self, mean_ms):
        think_ms = round(1000 / RATE_PER_S - mean_ms)
        text = (HERE / "tsung.xml").read_text()
        for name, value in (
            ("CONNECTIONS", CONNECTIONS),
            ("PORT", self.port),
            ("WARMUP", WARMUP_MESSAGES),
            ("MESSAGES", MESSAGES),
            ("THINK_S", think_ms / 1000),
            ("BODY", "A" * BODY_BYTES),
        ):
            text = text.replace(f"@{name}@", str(value))
        (self.place / "tsung.xml").write_text(text)
        logs = self.place / "tsung"
        shutil.rmtree(logs, ignore_errors=True)
        # All of it on the loopback, and its name server one of its own, so that ending that harms nobody.
        name_server = str(self.port + 1)
        environment = {
            **os.environ,
            "HOME": str(self.place),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": name_server,
            "ERL_AFLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        try:
            self.execute(
                ["tsung", "-n", "-I", "127.0.0.1", "-f", str(self.place / "tsung.xml"), "-l", str(logs), "start"],
                environment,
            )
        finally:
            subprocess.run(["epmd", "-port", name_server, "-kill"], capture_output=True, check=False)
        times = [time_ms for log in logs.glob("*/tsung-fullstats.log") for time_ms in tsung_times(log.read_text())]
        expect(len(times), "tsung")
        found = figures_of(times)
        return {"rate": CONNECTIONS * 1000 / (think_ms + found["mean"]), **found}

    def measure(self, late, mean_ms, first):
        """What each tool found against a fresh server, and what that server held."""
        found = {}
        for tool in ("tsung", "loadgen") if first else ("loadgen", "tsung"):
            measure = (lambda: self.tsung(mean_ms)) if tool == "tsung" else self.loadgen
            found[tool], found[f"held by {tool}"] = self.in_time(late, measure)
        return found

    def in_time(self, late, measure):
        """One run, made again while it is late."""
        while True:
            server = self.start_server(late)
            found = None
            try:
                found = measure()
            except Late:
                self.late_runs += 1
            finally:
                held = self.end_server(server)
            if found:
                return found, held
            if self.late_runs > LATE_RUNS_MAX:
                raise Failed("the machine is too busy: loadgen was late in too many runs")


def expect(count, tool):
    """Both are to have made the same number of round trips."""
    wanted = CONNECTIONS * MESSAGES
    if abs(count - wanted) > wanted * RATE_TOLERANCE_SHARE:
        raise Failed(f"{tool} measured {count} round trips, not {wanted}")


def missing(flags):
    """What has to be there first, and how it is had."""
    found = []
    for program, how in (("tsung", "apt-get install tsung"), ("epmd", "apt-get install erlang-base")):
        if shutil.which(program) is None:
            found.append(f"{program} is missing: {how}")
    for program, how in (
        (flags.loadgen, "cargo build --release -p loadgen"),
        (flags.late_echo, "cargo build --release -p loadgen --example late_echo"),
        (flags.gateway, "cargo build --release"),
    ):
        if not os.access(program, os.X_OK):
            found.append(f"{program} is missing: {how}")
    return found


def compare(flags):
    print("| server | figure | held | tsung | loadgen | difference |")
    print("|---|---|--:|--:|--:|--:|", flush=True)
    found = []
    with tempfile.TemporaryDirectory(prefix="agreement-") as place:
        bench = Bench(flags, pathlib.Path(place))
        for case, late, mean_ms in CASES:
            runs = [bench.measure(late, mean_ms, number % 2 == 0) for number in range(flags.repeats)]
            tsung, loadgen = (middle([run[tool] for run in runs]) for tool in ("tsung", "loadgen"))
            held = [run[f"held by {tool}"] for run in runs for tool in ("tsung", "loadgen")]
            own = [run["held by loadgen"] for run in runs]
            known = middle(held) if late else None
            print(rows(case, known, tsung, loadgen), end="", flush=True)
            found += objections(case, middle(own) if late else None, tsung, loadgen)
    print(f"\nTolerance: {TOLERANCE_MS} ms or {TOLERANCE_SHARE:.0%}, whichever is more. Medians of {flags.repeats} runs.")
    if bench.late_runs:
        print(f"Made again because loadgen said that it was late: {bench.late_runs}.")
    for objection in found:
        print(f"✗ {objection}")
    if not found:
        print("✓ they agree")
    return 1 if found else 0


def self_test():
    text = "[{sample,tr_echo,0.5},\n {sample,request,9.0},\n {sample,tr_echo,1.0e-1},{sample,tr_echo,2}]\n"
    assert tsung_times(text) == [0.5, 0.1, 2.0]
    figures = figures_of([float(number) for number in range(1, 201)])
    assert figures == {"mean": 100.5, "p50": 100.0, "p90": 180.0, "p99": 198.0}, figures
    assert figures_of([7.0]) == {"mean": 7.0, "p50": 7.0, "p90": 7.0, "p99": 7.0}
    same = {"rate": 1000.0, "mean": 20.3, "p50": 20.2, "p90": 20.5, "p99": 21.0}
    held = {"mean": 20.1, "p50": 20.1, "p90": 20.2, "p99": 20.4}
    changed = lambda **changes: {**same, **changes}
    for other, known, count in (
        (same, held, 0),
        (same, None, 0),
        (changed(p50=21.2), held, 0),
        (changed(p50=21.3), held, 1),
        (changed(p99=22.1), held, 1),
        (changed(mean=20.0), held, 1),
        (changed(mean=20.0), None, 0),
        (changed(rate=1060.0), held, 1),
        (changed(p50=40.0, p90=41.0), held, 2),
    ):
        found = objections("case", known, same, other)
        assert len(found) == count, (other, found)
    assert middle([{"p50": 1.0}, {"p50": 9.0}, {"p50": 2.0}]) == {"p50": 2.0}
    print("all well")
    return 0


def main():
    target = ROOT / "target" / "release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loadgen", default=str(target / "loadgen"), help="the program")
    parser.add_argument("--late-echo", default=str(target / "examples" / "late_echo"), help="the late server")
    parser.add_argument("--gateway", default=str(target / "waystation"), help="the gateway")
    parser.add_argument("--port", type=int, default=8320, help="a free port with a free one behind it")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each tool against each server")
    parser.add_argument("--cpu", type=int, help="core of the tools")
    parser.add_argument("--server-cpu", type=int, help="core of the servers")
    parser.add_argument("--self-test", action="store_true", help="test this program and nothing else")
    flags = parser.parse_args()
    if flags.self_test:
        return self_test()
    if not 1 <= flags.repeats <= 100:
        parser.error(f"--repeats {flags.repeats}: must be 1 to 100")
    absent = missing(flags)
    if absent:
        print("\n".join(absent), file=sys.stderr)
        return 2
    try:
        return compare(flags)
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
