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
from guides_world import OPERATE
from programs import Gateway, RedisServer
from world import gateway_binary, seconds, until

UNIT = (OPERATE / "fanline.service").read_text(encoding="utf-8")
DEFAULTS = tomllib.loads((ROOT / "examples" / "fanline.toml").read_text(encoding="utf-8"))
ALLOWED = "@system-service"
FORBIDDEN = ("@privileged", "@resources")


def value(key):
    found = re.findall(rf"^{key}=(.*)$", UNIT, re.M)
    assert found, key
    return found[-1]


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
    assert value("Type") == "notify", "tests/it/notify.rs is the conversation"
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
    trace = tmp_path / "trace"
    before = [strace, "-f", "-qq", "-o", trace]
    with RedisServer(tmp_path) as redis, Traced(tmp_path, before, f"--redis-url={redis.url}") as gateway:
        gateway.ready()
        with socket.create_connection(gateway.public.split(":")) as client:
            client.sendall(b"GET /sse?topic=news HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b"200" in client.recv(4096)
            gateway.publish("news", "hi")
            heard = b""
            while b"data: hi" not in heard:
                heard += client.recv(4096)
        gateway.signal(signal.SIGHUP)
        until("it has read its configuration again", lambda: "configuration reloaded" in gateway.log())
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
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

    def kill(self):
        """What strace runs would outlive it."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        super().kill()
