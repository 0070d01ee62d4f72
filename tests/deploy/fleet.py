"""A small fleet for the tests: Redis, two gateways and a Prometheus that scrapes them, each on a port of its own choice."""

import os
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT, need
from promql import RULES

GATEWAY = Path(os.environ.get("GATEWAY_BIN", ROOT / "target/quick/fanline"))
SCRAPES = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [{rules}]
scrape_configs:
  - job_name: {job}
    static_configs: [{{ targets: {targets} }}]
"""


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


@contextmanager
def gateway(where, name, *settings):
    """A gateway; its internal address, once it listens."""
    assert GATEWAY.exists(), f"{GATEWAY} is not built: run make build, or set GATEWAY_BIN"
    log, chosen = where / f"{name}.log", ("public.listen=127.0.0.1:0", "internal.listen=127.0.0.1:0", *settings)
    flags = [part for setting in chosen for part in ("--set", setting)]
    with running(log, GATEWAY, "serve", *flags, cwd=where):
        said = until(f"{name} listens", lambda: re.search(r" internal=(\S+:\d+)", log.read_text()))
        yield said[1]


@contextmanager
def redis(where):
    """A Redis; its URL."""
    port = free_port()
    settings = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", where)
    with running(where / "redis.log", need("redis-server"), *settings):
        until("Redis listens", lambda: "Ready to accept" in (where / "redis.log").read_text())
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def prometheus(where, targets, rules=RULES, job="any"):
    """A Prometheus of these targets; its URL, once it is ready."""
    (where / "prometheus.yml").write_text(SCRAPES.format(rules=rules, job=job, targets=list(targets)))
    port = free_port()
    flags = (f"--config.file={where}/prometheus.yml", f"--storage.tsdb.path={where}/data", f"--web.listen-address=127.0.0.1:{port}")
    with running(where / "prometheus.log", need("prometheus"), *flags):
        url = f"http://127.0.0.1:{port}"
        until("Prometheus is ready", lambda: fetch(f"{url}/-/ready"))
        yield url
