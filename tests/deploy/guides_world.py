"""What the guides' tests start: Redis, replicas of the gateway, proxies. On free ports; each ended by its id."""

import asyncio
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from conftest import ROOT, need

OPERATE = ROOT / "examples" / "operate"
PATIENCE = 30


def eventually(what, probe, patience=PATIENCE):
    """Asks again until `probe` answers something true. What it throws counts as no answer."""
    deadline, thrown = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            if found := probe():
                return found
        except (OSError, AssertionError, EOFError) as error:
            thrown = error
        time.sleep(0.02)
    raise AssertionError(f"not within {patience} s: {what} ({thrown})")


async def presently(what, probe, patience=PATIENCE):
    """As eventually, of a probe that is awaited."""
    deadline, thrown = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            return await probe()
        except (OSError, AssertionError, EOFError) as error:
            thrown = error
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {patience} s: {what} ({thrown})")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rewrite(text, substitutions):
    """The text with what a test has to replace. What is not in it is a mistake of the test."""
    for old, new in substitutions.items():
        assert old in text, f"{old!r} is not in\n{text}"
        text = text.replace(old, str(new))
    return text


class Program:
    """A program that runs; its output is kept in a file."""

    def __init__(self, home, name, *command, **environment):
        self.log_file = Path(home) / f"{name}.log"
        with self.log_file.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, cwd=home, env={**os.environ, **environment}
            )

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, what, probe):
        """As eventually, but over at once where the program has ended."""

        def alive():
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode} before: {what}\n{self.log()}")
            return probe()

        return eventually(what, alive)

    def takes(self, port):
        def knock():
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        self.wait_until(f"port {port} is open", knock)
        return self

    def stop(self):
        """Asks first: nginx ends its workers only then."""
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Gateway(Program):
    """`fanline serve` with a configuration, on an address of loopback; on free ports, where none are named."""

    def __init__(self, home, name, config, *flags, host="127.0.0.1", ports=(0, 0)):
        file = Path(home) / f"{name}.toml"
        file.write_text(config, encoding="utf-8")
        listen = [f"--set={side}.listen={host}:{port}" for side, port in zip(("public", "internal"), ports)]
        super().__init__(home, name, *self.command(gateway_binary(), "--config", file, "serve", *listen, *flags))
        line = r"listening.* public=[\d.]+:(\d+) internal=([\d.]+:\d+)"
        said = self.wait_until("it listens", lambda: re.search(line, self.log()))
        self.public, self.internal = int(said[1]), f"http://{said[2]}"

    def command(self, *command):
        """What is really started."""
        return command

    def log(self):
        """Without its colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", super().log())

    def ready(self):
        self.wait_until("it is ready", lambda: self.ask("/readyz"))
        return self

    def publish(self, topic, text):
        return self.ask(f"/api/publish?topic={topic}", text.encode())

    def ask(self, path, body=None):
        try:
            with urllib.request.urlopen(f"{self.internal}{path}", data=body, timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{path}: {refused.code}, {refused.read().decode()}") from refused

    def stop(self):
        """At once: asked, it would drain."""
        self.process.kill()
        self.process.wait()


def gateway_binary():
    binary = Path(os.environ.get("GATEWAY_BIN", ROOT / "target" / "quick" / "fanline"))
    assert binary.is_file(), f"{binary} is not there: cargo build --profile quick, or name another in GATEWAY_BIN"
    return binary


def redis_server(home, *settings, port=None):
    """A Redis of its own, that keeps nothing."""
    port = port or free_port()
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", home, *settings]
    server = Program(home, f"redis-{port}", need("redis-server"), *options).takes(port)
    server.port = port
    return server


def certificate(home):
    """A certificate of localhost and 127.0.0.1 that signs itself: the paths of it and its key."""
    crt, key = Path(home) / "tls.crt", Path(home) / "tls.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = [need("openssl"), "req", "-x509", *curve, "-subj", "/CN=localhost", "-addext", names]
    subprocess.run([*command, "-keyout", key, "-out", crt], check=True, capture_output=True)
    return crt, key
