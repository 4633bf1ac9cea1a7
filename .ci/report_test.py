"""The judge of the benchmark report: what turns it red, with which exit code and which words.

    python3 .ci/report_test.py

Each test lays counts into a folder as the benches' runner and the tests write them, beside a repository of two commits,
and runs report.py as CI does.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import report

MEMORY = "3 s after the last join: 940 bytes a connection\ntest result: ok. 1 passed\n"
# One copy more per delivery, as it was counted when it was tried: the bound is 3 %.
DELIVER, DELIVER_COPIED = 31_744, 33_328


def line(name, instructions):
    """A row as gungraun writes it, without what the report does not look at."""
    metrics = {"Ir": instructions, "D1mr": 128, "D1mw": 64, "I1mr": 0, "DLmr": 0, "DLmw": 0, "ILmr": 0}
    metrics |= {"Bc": 6336, "Bcm": 60, "Bi": 64, "Bim": 4}
    values = {kind: {"diffs": None, "values": {"new": value}} for kind, value in metrics.items()}
    return json.dumps({"id": name, "profiles": [{"data": {"total": {"metrics": values}}}], "version": "6"}) + "\n"


def lines(rows):
    return "".join(line(name, instructions) for name, instructions in rows.items())


def asked(rows):
    return "".join(f"allocations {name} 64 in 64 units of a message\n" for name in rows)


class Reports(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.repository, self.folder = os.path.join(place.name, "tree"), os.path.join(place.name, "report")
        os.mkdir(self.folder)
        self.git("init", "--quiet", self.repository, cwd=place.name)
        self.commit("the commit before")
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments, cwd=None):
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        outcome = subprocess.run(command, cwd=cwd or self.repository, check=True, capture_output=True, text=True)
        return outcome.stdout.strip()

    def commit(self, message):
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def counted(self, head, base):
        """Lays down what a run of .ci/report leaves."""
        self.write("head.jsonl", "Compiling\n" + lines(head))
        self.write("base.jsonl", lines(base))
        self.write("base.rows", "\n".join(base))
        self.write("base.commit", self.base + "\n")
        self.write("allocations.txt", asked(head))
        self.write("memory.txt", MEMORY)

    def run_report(self, **more):
        environment = {key: value for key, value in os.environ.items() if key != "GITHUB_STEP_SUMMARY"} | more
        command = [sys.executable, os.path.join(HERE, "report.py"), self.folder]
        return subprocess.run(
            command, cwd=self.repository, env=environment, capture_output=True, text=True, check=False
        )

    def check(self, code, *words):
        """Exit code and words of the page; the page is what is printed, and report.json agrees with it."""
        outcome = self.run_report()
        self.assertEqual(outcome.returncode, code, outcome.stdout + outcome.stderr)
        page = self.read("report.md")
        self.assertEqual(outcome.stdout, page + "\n")
        for word in words:
            self.assertIn(word, page)
        stored = json.loads(self.read("report.json"))
        self.assertEqual(bool(stored["failures"]), code == 1)
        widths = {row.count("|") for row in page.splitlines() if row.startswith("|")}
        self.assertEqual(len(widths), 1, "every row has every column")
        return stored

    def refuse(self, *words):
        """Nothing is reported: exit code 2, said on the error output, and no page."""
        outcome = self.run_report()
        self.assertEqual((outcome.returncode, outcome.stdout), (2, ""))
        for word in words:
            self.assertIn(word, outcome.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "report.md")))

    def test_the_same_counts_are_green(self):
        rows = {"visit": 64_000, "deliver_coalesced": DELIVER}
        self.counted(rows, rows)
        stored = self.check(0, "Nothing regressed.", "| 1,000 | 1,000 | +0.00 % | 3.0 | 0.00 | 100 | 1.0 | 1 | same |")
        self.assertEqual([row["row"] for row in stored["rows"]], ["visit", "deliver_coalesced"])
        self.assertEqual((stored["base"], stored["vanished"]), (self.base, []))

    def test_rows_that_were_counted_without_branches_have_none(self):
        row = report.compare({"visit": {"Ir": 640}}, {}, {"visit": (64, 64, "message")}, {})[0]
        self.assertEqual((row["instructions"], row["branches"], row["mispredicted"]), (10, None, None))

    def test_a_copy_more_for_each_delivery_is_red(self):
        rows = {"visit": 64_000, "deliver_coalesced": DELIVER}
        self.counted(rows | {"deliver_coalesced": DELIVER_COPIED}, rows)
        stored = self.check(
            1,
            "**Regressed:**\n\n- deliver_coalesced: +4.99 % instructions\n\n",
            "(`deliver_coalesced`) | message | 496 | 521 | +4.99 % |",
            "| **REGRESSED** |",
            "| +0.00 % | 3.0 | 0.00 | 100 | 1.0 | 1 | same |",
        )
        self.assertEqual(stored["failures"], ["deliver_coalesced: +4.99 % instructions"])

    def test_the_bound_is_three_percent(self):
        for instructions, code, word in ((103_000, 0, "| same |"), (103_001, 1, "| **REGRESSED** |")):
            self.counted({"visit": instructions}, {"visit": 100_000})
            self.check(code, word)

    def test_an_improvement_is_green_and_named(self):
        self.counted({"visit": 96_000}, {"visit": 100_000})
        self.check(0, "Nothing regressed.", "-4.00 %", "| better |")

    def test_a_cost_that_a_message_owns_up_to_is_green_up_to_what_it_says(self):
        self.counted({"visit": 105_000}, {"visit": 100_000})
        self.commit("visit: by age\n\nCost: visit +4 %, members are visited in the order of their age")
        self.check(1, "- visit: +5.00 % instructions")
        self.commit("visit: of age\n\nCost: visit +0.9 %, the age is looked at")
        self.check(1, "- visit: +5.00 % instructions")
        self.commit("visit: in order\n\nCost: visit +0.1%, the order is looked at\nCost: echo +9 %, another row")
        reasons = "in the order of their age; the age is looked at; the order is looked at"
        self.check(0, f"| accepted: members are visited {reasons} |")

    def test_a_row_that_is_gone_is_red_and_says_what_to_do(self):
        self.counted({"visit": 64_000}, {"visit": 64_000, "resume": 128_000})
        stored = self.check(
            1,
            "- resume: the row is gone: put it back, or say in the commit's message `Removed: resume, why`",
            "| `resume` | run | 128,000 | – |",
            "| **VANISHED** |",
        )
        self.assertEqual(stored["vanished"], [{"row": "resume", "before": 128_000, "verdict": "VANISHED"}])

    def test_a_row_that_is_gone_is_seen_by_its_name_alone(self):
        # The rows of today are run over the sources of then: of one that is gone nothing is counted.
        self.counted({"visit": 64_000}, {"visit": 64_000})
        self.write("base.rows", "visit\nresume\n")
        self.check(1, "- resume: the row is gone", "| `resume` | run | – |")
        self.write("base.jsonl", "")
        self.check(1, "- resume: the row is gone")

    def test_a_row_that_was_removed_on_purpose_is_green_with_the_reason(self):
        self.counted({"visit": 64_000}, {"visit": 64_000, "resume": 128_000})
        self.commit("benches: resume is counted by event\n\nRemoved: presence, not this one")
        self.check(1, "- resume: the row is gone")
        self.commit("benches: resume is counted by event\n\nRemoved: resume, resume_event takes its place")
        self.check(0, "Nothing regressed.", "| removed: resume_event takes its place |")

    def test_a_new_row_is_green_and_called_new(self):
        self.counted({"visit": 64_000, "resume": 128_000}, {"visit": 64_000})
        self.check(0, "Nothing regressed.", "| new |", "| same |")

    def test_without_a_commit_before_nothing_is_compared(self):
        self.counted({"visit": 64_000}, {})
        os.remove(os.path.join(self.folder, "base.commit"))
        self.write("base.why", "no commit to compare with: this is the first, or the checkout is shallow\n")
        stored = self.check(0, "against nothing", "Nothing was compared: no commit to compare with", "| counted |")
        self.assertIsNone(stored["base"])

    def test_more_requests_to_the_allocator_are_red(self):
        self.counted({"visit": 64_000}, {"visit": 64_000})
        self.write("allocations.txt", asked(["visit"]) + "visit: 65 in a run, recorded are 64\n")
        self.check(1, "- visit: 65 in a run, recorded are 64")

    def test_a_row_that_only_one_of_the_two_counts_has_is_red(self):
        self.counted({"visit": 64_000, "echo": 64_000}, {"visit": 64_000, "echo": 64_000})
        self.write("allocations.txt", asked(["visit"]))
        self.check(1, "- allocations were not counted for echo")
        self.write("allocations.txt", asked(["visit", "echo", "idle"]))
        self.check(1, "- instructions were not counted for idle")

    def test_memory_over_its_bound_or_not_measured_is_red(self):
        for text in ("", "3 s after the last join: 2000 bytes a connection\ntest result: FAILED.\n"):
            self.counted({"visit": 64_000}, {"visit": 64_000})
            self.write("memory.txt", text)
            self.check(1, "- an idle connection keeps more than its bound, or was not measured")

    def test_a_count_that_cannot_be_read_is_named_and_nothing_is_reported(self):
        whole = line("visit", 64_000)
        for name in ("head.jsonl", "base.jsonl"):
            for bad in (
                whole[: len(whole) // 2],
                '{"id": "visit"}',
                '{"id": "visit", "profiles": []}',
                '{"id": "visit", "profiles": [{"data": {"total": {"metrics": {"Ir": {"values": "many"}}}}}]}',
                line("visit", 0),
            ):
                self.counted({"visit": 64_000}, {"visit": 64_000})
                self.write(name, line("echo", 1) + bad)
                self.refuse(f"{name}, line 2: must be a row's whole count")

    def test_no_counts_at_all_are_no_report(self):
        self.refuse("no row was counted")
        self.folder += "-that-is-not-there"
        self.refuse("must be one folder with counts")

    def test_what_is_timed_stands_below_and_decides_nothing(self):
        self.counted({"visit": 64_000}, {"visit": 64_000})
        self.write("timed.txt", "CPU per delivery\necho 1.07\n")
        self.write("prove.txt", "starting\nno such run\n")
        self.check(0, "```text\nCPU per delivery\necho 1.07\n```", "It was not made: no such run")
        self.write("prove.md", "a table\n")
        self.check(0, "only reports\n\na table\n")

    def test_the_page_is_added_to_the_summary_of_a_job(self):
        self.counted({"visit": 64_000}, {"visit": 64_000})
        summary = os.path.join(self.folder, "summary.md")
        self.write("summary.md", "before\n")
        self.assertEqual(self.run_report(GITHUB_STEP_SUMMARY=summary).returncode, 0)
        self.assertEqual(self.read("summary.md"), "before\n" + self.read("report.md"))

    def test_every_row_of_the_gate_has_a_title(self):
        with open(os.path.join(HERE, "../benches/gate.rs"), encoding="utf-8") as file:
            rows = [text.split("::")[1].split("(")[0] for text in file if text.startswith("#[bench::")]
        self.assertGreater(len(rows), 20)
        self.assertEqual(rows, list(report.TITLES))


if __name__ == "__main__":
    unittest.main()
