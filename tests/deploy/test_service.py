"""examples/operate/fanline.service: systemd reads it without a complaint, it shuts in what it runs, it leaves a drain
the time that it takes, and what the gateway does is what the unit allows."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tomllib

import pytest
from conftest import ROOT, run
from guides_world import OPERATE, Gateway, Program, eventually, gateway_binary, redis_server

UNIT = (OPERATE / "fanline.service").read_text(encoding="utf-8")
DEFAULTS = tomllib.loads((ROOT / "examples" / "fanline.toml").read_text(encoding="utf-8"))
ALLOWED = "@system-service"
FORBIDDEN = ("@privileged", "@resources")


def value(key):
    found = re.findall(rf"^{key}=(.*)$", UNIT, re.M)
    assert found, key
    return found[-1]


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def where_present(tool):
    """What is no part of setup.sh: a machine without systemd has no use for the unit."""
    return shutil.which(tool) or pytest.skip(f"{tool} is not on this machine")


@pytest.fixture
def unit(tmp_path):
    """The unit, of the gateway that is here."""
    file = tmp_path / "fanline.service"
    file.write_text(UNIT.replace("/usr/local/bin/fanline", str(gateway_binary())), encoding="utf-8")
    return file


def test_systemd_reads_it_without_a_complaint(unit):
    done = subprocess.run([where_present("systemd-analyze"), "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_shuts_in_what_it_runs(unit):
    said = run(where_present("systemd-analyze"), "security", "--offline=true", unit)
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1]) <= 1.5, said


def test_it_leaves_a_drain_and_a_start_their_time():
    drain = DEFAULTS["drain"]
    assert seconds(value("TimeoutStopSec")) >= seconds(drain["delay"]) + seconds(drain["window"]) + 10
    assert int(value("LimitNOFILE")) <= 1048576, "fs.nr_open, where nobody has raised it"
    assert value("KillSignal") == "SIGTERM" and value("KillMode") == "mixed"


def test_a_mistake_in_the_configuration_ends_the_attempts(tmp_path):
    """RestartPreventExitStatus= is about ExecStart= alone: what fails before is started again for ever."""
    assert not re.findall(r"^ExecStartPre=", UNIT, re.M), "RestartPreventExitStatus= has no effect on it"
    file = tmp_path / "fanline.toml"
    file.write_text("[public]\nlissten = 1\n")
    command = value("ExecStart").replace("/etc/fanline/fanline.toml", str(file)).split()[1:]
    assert command[-1] == "serve" and str(file) in command
    bad = subprocess.run([gateway_binary(), *command], capture_output=True, text=True, timeout=20, check=False)
    assert str(bad.returncode) in value("RestartPreventExitStatus").split(), bad
    assert "lissten" in bad.stderr, bad.stderr


def test_it_refers_to_no_documentation_that_nothing_installs():
    assert not re.findall(r"^Documentation=file:", UNIT, re.M)


def names(group):
    """The system calls of one of systemd's groups."""
    said = run(where_present("systemd-analyze"), "syscall-filter", group).splitlines()
    calls = [line.strip() for line in said if line.startswith("    ") and "#" not in line]
    return {name for call in calls for name in (names(call) if call.startswith("@") else {call})}


def test_what_the_gateway_does_is_what_the_filter_allows(tmp_path):
    strace = where_present("strace")
    assert re.findall(r"^SystemCallFilter=(.*)$", UNIT, re.M) == [ALLOWED, "~" + " ".join(FORBIDDEN)]
    redis, trace = redis_server(tmp_path), tmp_path / "trace"
    gateway = Traced(tmp_path, [strace, "-f", "-qq", "-o", trace], f"--redis-url=redis://127.0.0.1:{redis.port}")
    try:
        gateway.ready()
        with socket.create_connection(("127.0.0.1", gateway.public)) as client:
            client.sendall(b"GET /sse?topic=news HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b"200" in client.recv(4096)
            gateway.publish("news", "hi")
            heard = b""
            while b"data: hi" not in heard:
                heard += client.recv(4096)
        gateway.signal(signal.SIGHUP)
        eventually("it has read its configuration again", lambda: "configuration reloaded" in gateway.log())
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
    finally:
        gateway.stop()
        redis.stop()
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))
    allowed = names(ALLOWED) - {name for group in FORBIDDEN for name in names(group)}
    # execve: by strace itself, to start it.
    assert "accept4" in made and made - allowed <= {"execve"}, made - allowed


class Traced(Gateway):
    """A gateway behind another program, which is told what the gateway is to be told."""

    def __init__(self, home, before, *flags):
        self.before = before
        super().__init__(home, "traced", "[drain]\ndelay = \"0s\"\nwindow = \"1s\"\n", *flags)

    def command(self, *command):
        return (*self.before, *command)

    def signal(self, number):
        child = run("ps", "-o", "pid=", "--ppid", self.process.pid).strip()
        os.kill(int(child), number)


def test_it_says_when_it_is_ready_when_it_reloads_and_when_it_stops(tmp_path):
    """What Type=notify and WatchdogSec wait for; without it the unit would never have started."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        watchdog = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        gateway = Program(
            tmp_path, "gateway", gateway_binary(), "--public-listen=127.0.0.1:0", "--internal-listen=127.0.0.1:0",
            "--set=drain.delay=0s", "serve", **watchdog,
        )
        try:
            hears(told, "READY=1")
            assert "listening" in gateway.log()
            hears(told, "WATCHDOG=1")
            gateway.process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hears(told, "RELOADING=1")
            hears(told, "READY=1")
            gateway.process.terminate()
            hears(told, "STOPPING=1")
            assert gateway.process.wait(30) == 0
        finally:
            gateway.stop()


def hears(told, word):
    """Waits for a word, past others."""
    while True:
        said = told.recv(4096).decode()
        if word in said.split("\n"):
            return said
