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
# Whose they are.
OWNED = {"haproxy": ["BALANCER_PORT", "API_PORT", "STATS_PORT"], "redis": ["REDIS_PORT"], "prometheus": ["PROMETHEUS_PORT"]}
OWNED |= {f"r{slot}": [f"PUBLIC_{slot}", f"INTERNAL_{slot}"] for slot in SLOTS}
# Replica n listens here + n for clients, and 10 above for operators.
REPLICA_PORTS = 8100

USAGE, UNAVAILABLE = 64, 69

# Debian's HAProxy lies in the last.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


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


def choice(name, word):
    """Whether the environment says just this word; the mistake where it says another."""
    text = os.environ.get(name, "")
    return text == word if text in ("", word) else f"{name}={text}: expected {word}, or nothing"


def replicas(default=3):
    return number("REPLICAS", default, 1, len(SLOTS))


class Settings:
    def __init__(self):
        numbers = {name: number(name, default, 1, 65535) for name, default in PORTS.items()}
        first, self.replicas = number("REPLICA_PORTS", REPLICA_PORTS, 1, 65500), replicas()
        self.rules = Path(os.environ.get("RULES") or ROOT / "helm/fanline/rules/fanline.yaml").absolute()
        free, off = choice("PORTS", "free"), choice("PROMETHEUS", "off")
        mistakes = [value for value in (self.replicas, first, free, off, *numbers.values()) if isinstance(value, str)]
        if not self.rules.is_file():
            found = "is a folder" if self.rules.is_dir() else "no such file"
            mistakes.append(f"RULES={self.rules}: {found}; expected the file of Prometheus' rules")
        self.key = os.environ.get("API_KEY") or "for-trials-only"
        # It goes into a list, a header and the command that we print. It is not repeated here: it may be a real one.
        if odd := sorted(sign for sign in set(self.key) if not "!" <= sign <= "~" or sign in ",'\"`\\"):
            told = " ".join(map(repr, odd))
            mistakes.append(f"API_KEY has {told}; expected visible ASCII signs, but for comma, quotes and backslash")
        self.state, self.with_prometheus = folder(), not off
        # It would find none, and say nothing.
        if self.with_prometheus and set("*?[\\") & set(str(self.state)):
            mistakes.append(f"STACK={self.state}: Prometheus takes * ? [ and \\ for a pattern; expected a path without")
        if mistakes:
            refuse(USAGE, mistakes)
        self.ports = numbers
        for slot in SLOTS:
            self.ports |= {f"PUBLIC_{slot}": first + slot, f"INTERNAL_{slot}": first + 10 + slot}
        if free:
            self.ports = dict(zip(self.ports, free_ports(len(self.ports))))
        self.programs = {name: shutil.which(where, path=PATH) for name, (where, _) in self.wanted().items()}

    def wanted(self):
        """The programs: each by its name or path, and how it comes here."""
        built = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target") / "quick/fanline"
        gateway = os.environ.get("GATEWAY_BIN") or str(built)
        wanted = {
            "fanline": (gateway, "make up builds it, GATEWAY_BIN names another"),
            "redis-server": ("redis-server", "tests/setup.sh redis installs it"),
            "haproxy": ("haproxy", "tests/setup.sh haproxy installs it"),
        }
        if self.with_prometheus:
            wanted["prometheus"] = ("prometheus", "tests/setup.sh prometheus installs it, PROMETHEUS=off does without")
        return wanted

    def check(self):
        """Refuses where a program is missing or a port is taken: each by its name, and with the way out."""
        missing = [told for name, told in self.wanted().items() if not self.programs[name]]
        mistakes = [f"{where}: no such program; {mend}" for where, mend in missing]
        for name, port in self.ports.items():
            if (same := next(other for other in self.ports if self.ports[other] == port)) != name:
                mistakes.append(f"port {port} ({name}) is that of {same}, too; {another(name)}")
            elif not is_free(port):
                mistakes.append(f"port {port} ({name}) is taken; {another(name)}")
        if mistakes:
            refuse(UNAVAILABLE, mistakes)

    def taken(self, process):
        """Those of its ports that somebody else has."""
        ports = {name: self.ports[name] for name in OWNED.get(process, [])}
        return [f"port {port} ({name}) is taken" for name, port in ports.items() if not is_free(port)]

    def url(self, port, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.ports[port]}"


def another(port):
    variable = port if port in PORTS else "REPLICA_PORTS"
    return f"{variable}=… names another, PORTS=free takes free ones"


def is_free(port):
    with socket.socket() as probe:
        # What waits in TIME_WAIT is no listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def candidates():
    """Ports in any order, from below those that the kernel gives to who connects: it must not give away a slot's port."""
    return iter(random.sample(range(10000, 32000), 22000))


def free_ports(count, among=None):
    """Different ones: the first free among the candidates."""
    free = filter(is_free, among or candidates())
    return [next(free) for _ in range(count)]
