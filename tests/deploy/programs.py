"""The programs that the tests start, on ports of their own: each keeps its log, and is ended where its block ends."""

import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from conftest import need
from promql import RULES
from world import NO_ANSWER, free_port, gateway_binary, until


def fetch(url, body=None):
    """A page. What refuses it stands in the error."""
    try:
        with urllib.request.urlopen(url, data=body, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as refused:
        raise AssertionError(f"{url}: {refused.code}, {refused.read().decode()}") from refused


class Program:
    """A program that runs; its output is kept in a file."""

    def __init__(self, home, name, *command, **environment):
        self.log_file = Path(home) / f"{name}.log"
        with self.log_file.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, cwd=home, env={**os.environ, **environment}
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self):
        """Without its colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log_file.read_text(encoding="utf-8", errors="replace"))

    def wait_until(self, what, probe):
        """As until, but over at once where the program has ended. One that is waited for in vain is ended, and its log told."""

        def alive():
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode} before: {what}")
            return probe()

        try:
            return until(what, alive, despite=NO_ANSWER)
        except BaseException as vain:
            self.stop()
            vain.add_note(self.log())
            raise

    def takes(self, port):
        def knock():
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        self.wait_until(f"port {port} is open", knock)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks first: nginx ends its workers only then."""
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()


class Gateway(Program):
    """`fanline serve` with a configuration, once it listens: on an address of loopback, on free ports where none are named."""

    def __init__(self, home, name, config="", *flags, host="127.0.0.1", ports=(0, 0)):
        self.config = Path(home) / f"{name}.toml"
        self.config.write_text(config, encoding="utf-8")
        listen = [f"--set={side}.listen={host}:{port}" for side, port in zip(("public", "internal"), ports)]
        super().__init__(home, name, *self.command(gateway_binary(), "--config", self.config, "serve", *listen, *flags))
        line = r"listening.* public=([\d.]+:\d+) internal=([\d.]+:\d+)"
        self.public, self.internal = self.wait_until("it listens", lambda: re.search(line, self.log())).groups()

    def command(self, *command):
        """What is really started."""
        return command

    def ready(self):
        self.wait_until("it is ready", lambda: '"ready"' in self.ask("/readyz"))
        return self

    def publish(self, topic, text):
        return self.ask(f"/api/publish?topic={topic}", text.encode())

    def ask(self, path, body=None):
        return fetch(f"http://{self.internal}{path}", body)

    def stop(self):
        """At once: asked, it would drain."""
        self.kill()


class RedisServer(Program):
    """A Redis of its own, that keeps nothing, once it answers."""

    def __init__(self, home, *settings):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        options = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", home, *settings]
        super().__init__(home, f"redis-{self.port}", need("redis-server"), *options)
        self.takes(self.port)


class Prometheus(Program):
    """One that scrapes these jobs, each with its gateways, once it is ready."""

    def __init__(self, home, jobs, rules=RULES):
        targets = {job: [{"targets": [one.internal for one in gateways]}] for job, gateways in jobs.items()}
        scrapes = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": job, "static_configs": configs} for job, configs in targets.items()],
        }
        (home / "prometheus.yml").write_text(json.dumps(scrapes))
        listen = f"127.0.0.1:{free_port()}"
        flags = (f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data", f"--web.listen-address={listen}")
        super().__init__(home, "prometheus", need("prometheus"), *flags)
        self.url = f"http://{listen}"
        self.wait_until("it is ready", lambda: fetch(f"{self.url}/-/ready"))
