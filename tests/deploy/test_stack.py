"""`make up`, `make scale`, `make down`: what they do where something is in the way, or wrong. What a stack does as a whole is
held by tests/stack."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest
from conftest import ROOT, need
from world import until

STACK = ROOT / "examples" / "stack" / "stack.py"
PATIENCE = 30


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Stack:
    """One in a folder of its own, on free ports; its replicas drain faster than usual."""

    def __init__(self, home):
        tools = [need(tool) for tool in ("redis-server", "haproxy", "prometheus")]
        path = os.pathsep.join([*map(os.path.dirname, tools), os.environ["PATH"]])
        self.home = home
        self.said_in = home.with_name(home.name + ".said")
        self.environment = os.environ | {"STACK": str(home), "PORTS": "free", "PATH": path, "FANLINE_DRAIN__DELAY": "1s"}
        for usual in ("REPLICAS", "API_KEY", "RULES", "PROMETHEUS"):
            self.environment.pop(usual, None)

    def up(self, **settings):
        with self.said_in.open("w") as said:
            self.keeper = self.start("up", stdout=said, stderr=said, **settings)
        return self

    def wait(self):
        until(f"it is up: {self.said()}", lambda: "make down" in self.said() or self.keeper.poll() is not None)
        assert self.keeper.poll() is None, self.said()
        return self

    def start(self, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings):
        command = [sys.executable, STACK, command]
        return subprocess.Popen(command, stdout=stdout, stderr=stderr, env=self.environment | settings, text=True)

    def ask(self, command, **settings):
        """Its code, and what it said."""
        return result(self.start(command, **settings))

    def said(self):
        return self.said_in.read_text()

    def state(self):
        try:
            return json.loads((self.home / "stack.json").read_text())
        except FileNotFoundError:
            return {"processes": {}}

    def replicas(self):
        """Their names and states."""
        processes = self.state()["processes"]
        return {name: one["state"] for name, one in sorted(processes.items()) if name[1:].isdigit()}

    def pid(self, name):
        return self.state()["processes"][name]["pid"]

    def query(self, expression):
        url = f"http://127.0.0.1:{self.state()['ports']['PROMETHEUS_PORT']}/api/v1/query?"
        return json.loads(fetch(url + urllib.parse.urlencode({"query": expression})))["data"]["result"]

    def kill(self):
        self.keeper.kill()
        self.keeper.wait()


def result(started):
    out, err = started.communicate(timeout=90)
    return started.returncode, out + err


def ready(count):
    return {f"r{slot}": "ready" for slot in range(1, count + 1)}


@pytest.fixture
def stack(tmp_path):
    """It dies with its keeper, whatever the test came to."""
    stack = Stack(tmp_path / "stack")
    yield stack
    if hasattr(stack, "keeper"):
        stack.kill()


def test_scale_counts_during_the_start_during_a_drain_and_after_a_replica_that_could_not_start(stack):
    stack.up(REPLICAS="1", PROMETHEUS="off")
    until("it has begun", lambda: stack.state()["processes"])
    assert "make down" not in stack.said(), "it is up before it was asked"
    assert stack.ask("scale", REPLICAS="3") == (0, "stack: 3 replicas, there were 1: r1 r2 r3\n")
    assert stack.replicas() == ready(3)
    redis = stack.pid("redis")

    first = stack.start("scale", REPLICAS="1")
    until("r3 drains", lambda: stack.replicas()["r3"] == "ending")
    assert stack.ask("scale", REPLICAS="3")[0] == 0, stack.said()
    assert result(first) == (69, "stack: overtaken by another make scale, which wants 3 replicas, not 1\n")
    assert stack.replicas() == ready(3)

    port = stack.state()["ports"]["INTERNAL_4"]
    with socket.create_server(("127.0.0.1", port)):
        assert stack.ask("scale", REPLICAS="5") == (69, f"stack: r4 cannot start: port {port} (INTERNAL_4) is taken\n")
        others = ready(5)
        del others["r4"]
        assert stack.replicas() == others
    assert stack.ask("scale", REPLICAS="5")[0] == 0
    assert (stack.replicas(), stack.pid("redis")) == (ready(5), redis)


def test_a_scale_that_waits_hears_of_the_end_and_nobody_is_told_to_scale_what_ends(stack):
    stack.up(REPLICAS="3", PROMETHEUS="off", FANLINE_DRAIN__DELAY="3s").wait()
    scales = [stack.start("scale", REPLICAS="2")]
    until("r3 drains", lambda: stack.replicas()["r3"] == "ending")
    scales.append(stack.start("scale", REPLICAS="1"))
    until("r2 drains", lambda: stack.replicas()["r2"] == "ending")
    # Between the death and the end it looks at nobody.
    stack.keeper.send_signal(signal.SIGSTOP)
    os.kill(stack.pid("r1"), signal.SIGKILL)
    stack.keeper.send_signal(signal.SIGTERM)
    stack.keeper.send_signal(signal.SIGCONT)
    assert [result(scale)[0] for scale in scales[:-1]] == [69]
    assert result(scales[-1]) == (69, "stack: the stack is ending; `make up` starts it again\n")
    assert stack.keeper.wait(PATIENCE) == 0
    assert "r1 killed by SIGKILL, and nobody asked for it\n" in stack.said()
    assert all(f"{name} ended with 0\n" in stack.said() for name in ("r2", "r3")), "they were not left to drain"


def test_a_run_knows_nothing_of_an_earlier_one(stack):
    stack.up(REPLICAS="1").wait()
    site, *pages = re.search(r"Prometheus +(http://[\d.:]+)(\S+), (\S+)", stack.said()).groups()
    assert all("Prometheus" in fetch(site + page) for page in pages), pages
    until("Prometheus has looked", lambda: stack.query("up"))
    assert stack.ask("down") == (0, "stack: everything has ended\n")
    (stack.home / "logs" / "r1.log").open("a").write("of an earlier run\n")
    (stack.home / f"wanted.{time.time_ns()}.1").write_text("2")

    code, said = stack.ask("up", FANLINE_LOG__LEVEL="any", PROMETHEUS="off")
    assert code == 69 and "FANLINE_LOG__LEVEL" in said and "earlier run" not in said, said

    begin = time.time()
    stack.up(REPLICAS="1").wait()
    until("Prometheus has looked", lambda: stack.query("up"))
    times = [float(when) for series in stack.query("up[1d]") for when, _ in series["values"]]
    assert min(times) >= begin
    assert stack.replicas() == ready(1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"STACK": "/proc/x"}, "STACK=/proc/x cannot be used: /proc/x: No such file or directory; expected a folder that"),
        ({"STACK": "/tmp/a[1]"}, "STACK=/tmp/a[1]: Prometheus takes * ? [ and \\ for a pattern"),
        ({"RULES": "/tmp"}, "RULES=/tmp: is a folder; expected the file of Prometheus' rules"),
        ({"API_KEY": "one,two"}, "API_KEY has ','; expected visible ASCII"),
        ({"API_KEY": "o'n\"e\n"}, "API_KEY has '\\n' '\"' \"'\"; expected visible ASCII"),
    ],
)
def test_up_refuses_what_it_cannot_use(stack, settings, told):
    code, said = stack.ask("up", **settings)
    assert code == 64 and said.startswith(f"stack: {told}") and said.count("\n") == 1, said


def test_make_hands_over_whatever_signs_are_in_a_path(stack):
    odd = stack.home.with_name("a b 'c' \"d\" $(e) ;f")
    said = subprocess.run(
        ["make", "--no-print-directory", "-s", "scale", "REPLICAS=2; echo no"],
        cwd=ROOT, env=stack.environment | {"STACK": str(odd)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stderr.startswith(f"stack: nothing runs in {odd}: ") and said.stdout == "", said
