"""A small fleet for the tests: Redis, two gateways and a Prometheus that scrapes them, each on a port of its own choice."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT, need
from promql import RULES

GATEWAY = Path(os.environ.get("GATEWAY_BIN", ROOT / "target/quick/fanline"))

def until(what, wanted, deadline=20):
    """Waits for something, and says what never came."""
    end = time.monotonic() + deadline
    while not (found := wanted()):
        assert time.monotonic() < end, f"{what}: not within {deadline} s"
        time.sleep(0.05)
    return found


def fetch(url):
    """A page, or nothing where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(log, *command, **options):
    """A program, ended when the block is; what it says goes to `log`."""
    with log.open("w") as said:
        process = subprocess.Popen([str(part) for part in command], stdout=said, stderr=said, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass
class Gateway:
    """One that listens."""

    public: str
    internal: str
    process: subprocess.Popen


@contextmanager
def gateway(where, name, *settings):
    """A gateway, once it listens."""
    assert GATEWAY.exists(), f"{GATEWAY} is not built: run make build, or set GATEWAY_BIN"
    log, chosen = where / f"{name}.log", ("public.listen=127.0.0.1:0", "internal.listen=127.0.0.1:0", *settings)
    flags = [part for setting in chosen for part in ("--set", setting)]
    with running(log, GATEWAY, "serve", *flags, cwd=where) as process:
        said = until(f"{name} listens", lambda: re.search(r" public=(\S+) internal=(\S+:\d+)", log.read_text()))
        yield Gateway(*said.groups(), process)


@dataclass
class Redis:
    """One that answers."""

    url: str
    process: subprocess.Popen


@contextmanager
def redis(where):
    """A Redis, once it answers."""
    port = free_port()
    settings = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", where)
    log = where / f"redis-{port}.log"
    with running(log, need("redis-server"), *settings) as process:
        until("Redis listens", lambda: "Ready to accept" in log.read_text())
        yield Redis(f"redis://127.0.0.1:{port}", process)


def is_ready(one):
    """Whether /readyz of a gateway says so."""
    return '"ready"' in (fetch(f"http://{one.internal}/readyz") or "")


@contextmanager
def prometheus(where, jobs, rules=RULES):
    """A Prometheus of these jobs, each with its gateways; its URL, once it is ready."""
    targets = {job: [{"targets": [one.internal for one in gateways]}] for job, gateways in jobs.items()}
    scrapes = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": job, "static_configs": configs} for job, configs in targets.items()],
    }
    (where / "prometheus.yml").write_text(json.dumps(scrapes))
    port = free_port()
    flags = (f"--config.file={where}/prometheus.yml", f"--storage.tsdb.path={where}/data", f"--web.listen-address=127.0.0.1:{port}")
    with running(where / "prometheus.log", need("prometheus"), *flags):
        url = f"http://127.0.0.1:{port}"
        until("Prometheus is ready", lambda: fetch(f"{url}/-/ready"))
        yield url
