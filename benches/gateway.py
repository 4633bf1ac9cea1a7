"""A gateway that a script of this folder starts with an empty store, measures, and ends; and the programs for it.

WAYSTATION and LOADGEN name built programs, else both are built here. WORK is where stores lie. The server, all its threads,
has the first core and the load the second; NICE (such as -20, which takes root) is for both, where other programs run.
"""

import os
import resource
import shutil
import subprocess
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(HERE)
SERVER_CPU, LOAD_CPU = 0, 1
START_S = 30


def built():
    """The two programs."""
    own = os.environ.get("WAYSTATION"), os.environ.get("LOADGEN")
    if not all(own):
        command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "waystation", "-p", "loadgen"]
        subprocess.run(command, cwd=TREE, check=True)
    folder = os.path.join(TREE, "target", "release")
    return own[0] or os.path.join(folder, "waystation"), own[1] or os.path.join(folder, "loadgen")


def pinned(cpu):
    """What a process does before it is the program: has a core, the priority asked for, and all descriptors it may have."""

    def begin():
        os.sched_setaffinity(0, {cpu})
        if wanted := os.environ.get("NICE"):
            os.setpriority(os.PRIO_PROCESS, 0, int(wanted))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return begin


class Work:
    """A directory of our own with a key and a token, gone afterwards."""

    def __init__(self, programs):
        self.programs = programs
        self.path = tempfile.mkdtemp(dir=os.environ.get("WORK", os.path.dirname(programs[0])))
        self.data, self.tokens = os.path.join(self.path, "data"), os.path.join(self.path, "tokens")

    def __enter__(self):
        command = [self.programs[0], "token", "--user", "bench-0001", "--ttl", "1h", "--data", self.data]
        try:
            with open(self.tokens, "w") as tokens:
                subprocess.run(command, stdout=tokens, check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def load(self, server, scenario, changes=(), more=()):
        """The generator's command against a server; its summary goes to standard output."""
        command = [self.programs[1], "run", "--scenario", scenario, "--quiet", "--json", "-", "--tokens", self.tokens]
        command += ["--url", f"ws://{server.address}", "--cpu", str(LOAD_CPU), *more]
        for change in changes:
            command += ["--set", change]
        return command


class Server:
    """A gateway of one shard with an empty store."""

    def __init__(self, work, port, settings):
        self.address = f"127.0.0.1:{port}"
        shutil.rmtree(os.path.join(work.data, "store"), ignore_errors=True)
        command = [work.programs[0], "serve", "--listen", self.address, "--data", work.data]
        command += ["--shards", "1", "--cpus", str(SERVER_CPU), "--limits", "unlimited", "--set", "admin.loopback=true"]
        for setting in settings:
            command += ["--set", setting]
        self.log = os.path.join(work.path, "server.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=pinned(SERVER_CPU))

    def __enter__(self):
        until = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < until:
            try:
                self.ask("/readyz")
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        with open(self.log) as log:
            raise RuntimeError("the server does not start: " + " ".join(log.read().split("\n")[-3:]))

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
            return answer.read().decode()

    def metrics(self):
        """Every number by its name and labels, shards added up."""
        found = {}
        for line in self.ask("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = without_shard(name)
                found[name] = found.get(name, 0.0) + float(value)
        return found


def without_shard(name):
    """A number's name without the label that says which shard it is of."""
    name, _, labels = name.partition("{")
    rest = [label for label in labels.rstrip("}").split(",") if label and not label.startswith("shard=")]
    return name + ("{" + ",".join(rest) + "}" if rest else "")
