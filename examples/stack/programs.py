"""The programs of the stack: each one's command line, what its environment says besides, and when it is ready."""

import secrets
import shutil
import socket
import sys
import urllib.request
from http.client import HTTPException

from settings import HERE, SLOTS


class Programs:
    def __init__(self, settings):
        self.settings, self.ports = settings, settings.ports
        # The folder that Prometheus' container has at /etc/prometheus.
        self.etc = settings.state / "prometheus"
        # What an earlier run ended with would raise alerts in this one.
        self.data = self.etc / "this-run"
        shutil.rmtree(self.data, ignore_errors=True)

    def redis(self):
        port = self.ports["REDIS_PORT"]
        where = ["--port", port, "--bind", "127.0.0.1", "--dir", self.settings.state / "redis"]
        command = [self.settings.programs["redis-server"], HERE / "redis.conf", *where]
        return command, {}, lambda: pongs(port)

    def replica(self, slot):
        settings = self.settings
        flags = {
            "public.listen": f"127.0.0.1:{self.ports[f'PUBLIC_{slot}']}",
            "internal.listen": f"127.0.0.1:{self.ports[f'INTERNAL_{slot}']}",
            "redis.url": settings.url("REDIS_PORT", "redis"),
            "replica.name": f"r{slot}-{secrets.token_hex(3)}",
        }
        command = [settings.programs["fanline"], "serve", "--config", HERE / "fanline.toml"]
        command += [part for key, value in flags.items() for part in ("--set", f"{key}={value}")]
        keys = {"FANLINE_INTERNAL__API_KEYS": f"producer:{settings.key}"}
        return command, keys, lambda: answers(settings.url(f"INTERNAL_{slot}") + "/readyz")

    def haproxy(self, replicas):
        """It is ready when it finds up who is there, and has found out that nobody is in the other slots."""
        environment = {name: f"127.0.0.1:{self.ports[name + '_PORT']}" for name in ("BALANCER", "API", "STATS")}
        slots = [f"{listener}_{slot}" for slot in SLOTS for listener in ("PUBLIC", "INTERNAL")]
        environment |= {name: str(self.ports[name]) for name in slots}
        environment |= {f"REPLICA_{slot}": "127.0.0.1" for slot in SLOTS} | {"PAGE": str(HERE / "page.html")}
        command = [self.settings.programs["haproxy"], "-db", "-f", HERE / "haproxy.cfg"]
        return command, environment, lambda: up(self.settings.url("STATS_PORT") + "/;csv") == set(replicas())

    def prometheus(self):
        """The same files as in its container, but for the targets."""
        for folder in (self.etc / "rules", self.etc / "targets", self.data):
            folder.mkdir(parents=True, exist_ok=True)
        links = {"prometheus.yml": HERE / "prometheus.yml", "rules/fanline.yaml": self.settings.rules}
        for name, target in links.items():
            (self.etc / name).unlink(missing_ok=True)
            (self.etc / name).symlink_to(target)
        where = f"--web.listen-address=127.0.0.1:{self.ports['PROMETHEUS_PORT']}"
        data = [f"--storage.tsdb.path={self.data}", "--storage.tsdb.retention.time=1d", "--log.level=warn"]
        command = [self.settings.programs["prometheus"], f"--config.file={self.etc / 'prometheus.yml'}", where, *data]
        return command, {}, lambda: answers(self.settings.url("PROMETHEUS_PORT") + "/-/ready")

    def producer(self):
        command = [sys.executable, HERE / "producer.py", self.settings.url("API_PORT")]
        return command, {"API_KEY": self.settings.key}, lambda: True


def answers(url):
    """Whether it answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, HTTPException):
        return False


def up(statistics):
    """The replicas that HAProxy finds up; none where it does not answer."""
    try:
        with urllib.request.urlopen(statistics, timeout=2) as page:
            rows = [line.split(",") for line in page.read().decode().splitlines()]
    except (OSError, HTTPException):
        return None
    status = rows[0].index("status")
    return {row[1] for row in rows if row[0] == "fanline" and row[status].startswith("UP")} - {"BACKEND"}


def pongs(port):
    """Whether a Redis answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as redis:
            redis.sendall(b"PING\r\n")
            return redis.recv(16).startswith(b"+PONG")
    except OSError:
        return False
