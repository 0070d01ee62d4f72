"""What the environment says about `make up`: where things listen, which programs there are, where the state lies."""

import os
import random
import shutil
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# As many as haproxy.cfg has slots.
SLOTS = range(1, 9)

# Its name in the environment, and its default: beside the ports that packages of Redis and Prometheus take.
PORTS = {
    "BALANCER_PORT": 8080,
    "API_PORT": 8081,
    "STATS_PORT": 8404,
    "REDIS_PORT": 6400,
    "PROMETHEUS_PORT": 9190,
}
# Replica n listens here + n for clients, and 10 above for operators.
REPLICA_PORTS = 8100

USAGE, UNAVAILABLE = 64, 69


def refuse(code, mistakes):
    """Ends with every mistake, a line each."""
    for mistake in mistakes:
        print(f"stack: {mistake}", file=sys.stderr)
    sys.exit(code)


def folder():
    return Path(os.environ.get("STACK") or ROOT / "target" / "stack").absolute()


def number(name, default, least, most):
    """A whole number from the environment, or the mistake in it."""
    text = os.environ.get(name) or str(default)
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    return f"{name}={text}: expected a whole number from {least} to {most}, such as {name}={default}"


def replicas(default=3):
    return number("REPLICAS", default, 1, len(SLOTS))


class Settings:
    def __init__(self):
        found = {
            "replicas": replicas(),
            "REPLICA_PORTS": number("REPLICA_PORTS", REPLICA_PORTS, 1, 65500),
            **{name: number(name, default, 1, 65535) for name, default in PORTS.items()},
        }
        mistakes = [value for value in found.values() if isinstance(value, str)]
        self.rules = Path(os.environ.get("RULES") or ROOT / "helm/fanline/rules/fanline.yaml").absolute()
        if not self.rules.is_file():
            mistakes.append(f"RULES={self.rules}: no such file; expected Prometheus' rules")
        if mistakes:
            refuse(USAGE, mistakes)
        self.state = folder()
        self.replicas = found.pop("replicas")
        first = found.pop("REPLICA_PORTS")
        self.ports = found
        for slot in SLOTS:
            self.ports |= {f"PUBLIC_{slot}": first + slot, f"INTERNAL_{slot}": first + 10 + slot}
        if os.environ.get("PORTS") == "free":
            self.ports = dict(zip(self.ports, free_ports(len(self.ports))))
        self.key = os.environ.get("API_KEY") or "for-trials-only"
        self.with_prometheus = os.environ.get("PROMETHEUS") != "off"
        self.programs = {}

    def check(self):
        """Refuses where a program is missing, or a port is taken; each by its name, and with the way out."""
        gateway = os.environ.get("GATEWAY_BIN") or ROOT / "target/quick/fanline"
        wanted = {"fanline": (str(gateway), "make up builds it; GATEWAY_BIN names another")}
        for name in ["redis-server", "haproxy"] + ["prometheus"] * self.with_prometheus:
            wanted[name] = (name, f"tests/setup.sh {name.removesuffix('-server')} installs it")
        if self.with_prometheus:
            wanted["prometheus"] = ("prometheus", wanted["prometheus"][1] + "; PROMETHEUS=off does without it")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        self.programs = {name: shutil.which(where, path=path) for name, (where, _) in wanted.items()}
        missing = [f"{where} is not on this machine: {mend}" for name, (where, mend) in wanted.items() if not self.programs[name]]
        refuse(UNAVAILABLE, missing + self.taken()) if missing or self.taken() else None

    def taken(self):
        reasons = []
        for name, port in self.ports.items():
            if not is_free(port):
                variable = name if name in PORTS else "REPLICA_PORTS"
                reasons.append(f"port {port} ({name}) is taken: {variable}=… names another, PORTS=free takes free ones for all")
        return reasons

    def url(self, port, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.ports[port]}"


def is_free(port):
    with socket.socket() as probe:
        # What waits in TIME_WAIT is no listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count):
    """Different ones, from below those that the kernel gives to who connects: it must not give away a slot's port."""
    return random.sample([port for port in range(10000, 32000) if is_free(port)], count)
