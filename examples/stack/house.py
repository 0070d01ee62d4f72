"""The processes of the stack and the files that they share: who starts when, and who ends first."""

import json
import os
import secrets
import signal
import sys
import time
import urllib.request

from process import Process, answers, pongs
from settings import HERE, SLOTS

# For everything to be ready.
PATIENCE = 60
# Above drain.delay + drain.window.
DRAIN = 45


class House:
    def __init__(self, settings):
        self.settings, self.state = settings, settings.state
        self.wanted = settings.replicas
        self.processes = {}
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        (self.state / "redis").mkdir(exist_ok=True)
        self.lay_out_prometheus()

    def lay_out_prometheus(self):
        """The folder that its container has at /etc/prometheus: the same files, but for the targets."""
        etc = self.state / "prometheus"
        for folder in ("rules", "targets", "data"):
            (etc / folder).mkdir(parents=True, exist_ok=True)
        links = {"prometheus.yml": HERE / "prometheus.yml", "rules/fanline.yaml": self.settings.rules}
        for name, target in links.items():
            (etc / name).unlink(missing_ok=True)
            (etc / name).symlink_to(target)

    # Who is there.

    def start(self, name, command, is_ready, environment=None):
        log = self.state / "logs" / f"{name}.log"
        self.processes[name] = Process(name, command, log, is_ready, environment)
        self.write()

    def start_redis(self):
        port = self.settings.ports["REDIS_PORT"]
        where = ["--port", port, "--bind", "127.0.0.1", "--dir", self.state / "redis"]
        command = [self.settings.programs["redis-server"], HERE / "redis.conf", *where]
        self.start("redis", command, lambda: pongs(port))

    def start_replica(self, slot):
        settings = self.settings
        public, internal = settings.ports[f"PUBLIC_{slot}"], settings.ports[f"INTERNAL_{slot}"]
        flags = {
            "public.listen": f"127.0.0.1:{public}",
            "internal.listen": f"127.0.0.1:{internal}",
            "redis.url": settings.url("REDIS_PORT", "redis"),
            "replica.name": f"r{slot}-{secrets.token_hex(3)}",
        }
        command = [settings.programs["fanline"], "serve", "--config", HERE / "fanline.toml"]
        command += [part for key, value in flags.items() for part in ("--set", f"{key}={value}")]
        ready = settings.url(f"INTERNAL_{slot}") + "/readyz"
        environment = {"FANLINE_INTERNAL__API_KEYS": f"producer:{settings.key}"}
        self.start(f"r{slot}", command, lambda: answers(ready), environment)

    def start_haproxy(self):
        ports = self.settings.ports
        binds = {name: f"127.0.0.1:{ports[name + '_PORT']}" for name in ("BALANCER", "API", "STATS")}
        slots = {name: str(port) for name, port in ports.items() if name.startswith(("PUBLIC_", "INTERNAL_"))}
        hosts = {f"REPLICA_{slot}": "127.0.0.1" for slot in SLOTS}
        environment = binds | slots | hosts | {"PAGE": str(HERE / "page.html")}
        command = [self.settings.programs["haproxy"], "-db", "-f", HERE / "haproxy.cfg"]
        self.start("haproxy", command, self.is_balanced, environment)

    def is_balanced(self):
        """Whether it finds up who is there, and has found out that nobody is in the other slots."""
        try:
            with urllib.request.urlopen(self.settings.url("STATS_PORT") + "/;csv", timeout=2) as page:
                rows = [line.split(",") for line in page.read().decode().splitlines()]
        except OSError:
            return False
        up = {row[1] for row in rows if row[0] == "fanline" and row[17].startswith("UP")}
        return up - {"BACKEND"} == set(self.replicas("ready"))

    def start_prometheus(self):
        etc = self.state / "prometheus"
        where = f"--web.listen-address=127.0.0.1:{self.settings.ports['PROMETHEUS_PORT']}"
        command = [self.settings.programs["prometheus"], f"--config.file={etc / 'prometheus.yml'}", where]
        command += [f"--storage.tsdb.path={etc / 'data'}", "--storage.tsdb.retention.time=1d", "--log.level=warn"]
        self.start("prometheus", command, lambda: answers(self.settings.url("PROMETHEUS_PORT") + "/-/ready"))

    def start_producer(self):
        command = [sys.executable, HERE / "producer.py", self.settings.url("API_PORT")]
        self.start("producer", command, lambda: True, {"API_KEY": self.settings.key})

    def replicas(self, state=None):
        names = [name for name in self.processes if name[1:].isdigit()]
        return [name for name in names if state in (None, self.processes[name].state)]

    # How it changes.

    def up(self):
        """Starts what is not there, in the order in which one needs the other."""
        self.ensure("redis", self.start_redis)
        for slot in SLOTS[: self.wanted]:
            self.ensure(f"r{slot}", lambda slot=slot: self.start_replica(slot), waits=False)
        for slot in SLOTS[: self.wanted]:
            self.until_ready(f"r{slot}")
        self.ensure("haproxy", self.start_haproxy)
        if self.settings.with_prometheus:
            self.ensure("prometheus", self.start_prometheus)
        self.ensure("producer", self.start_producer)

    def ensure(self, name, start, waits=True):
        process = self.processes.get(name)
        if process is None or not process.is_there():
            start()
        if waits:
            self.until_ready(name)

    def until_ready(self, name):
        deadline = time.monotonic() + PATIENCE
        process = self.processes[name]
        while process.state != "ready":
            if not process.is_there() or time.monotonic() > deadline:
                log = self.state / "logs" / f"{name}.log"
                tail = log.read_text(errors="replace").splitlines()[-10:]
                raise SystemExit("\n".join([f"stack: {name} is not ready ({process.state}); {log} ends with:", *tail]))
            self.look()
            time.sleep(0.05)

    def scale(self, wanted):
        """Starts replicas and whatever else has ended; the last ones drain."""
        self.wanted = wanted
        for slot in SLOTS[wanted:]:
            if f"r{slot}" in self.processes:
                self.processes[f"r{slot}"].end()
        self.write()
        self.up()

    def look(self):
        """Notes who came and went, and tells of whom nobody sent."""
        changed = False
        for process in list(self.processes.values()):
            before = process.state
            if not process.look():
                continue
            changed = True
            if process.is_there():
                continue
            if before == "ending":
                print(f"stack: {process.name} {process.state}", flush=True)
                del self.processes[process.name]
            else:
                again = f"make scale REPLICAS={self.wanted} starts it again"
                print(f"stack: {process.name} {process.state}, and nobody asked for it; {again}", flush=True)
        if changed:
            self.write()

    def down(self, hurry):
        """Ends everything: first who publishes, then the replicas, politely, and what they stand on at last."""
        names = [["producer"], self.replicas(), ["haproxy"], ["prometheus"], ["redis"]]
        for some in names:
            here = [self.processes[name] for name in some if name in self.processes]
            for process in here:
                process.end()
            deadline = time.monotonic() + DRAIN
            while any(process.is_there() for process in here):
                if hurry() or time.monotonic() > deadline:
                    for process in here:
                        process.end(signal.SIGKILL)
                time.sleep(0.05)
        self.look()

    # What is written down.

    def write(self):
        """The targets of Prometheus, and for `scale`, `down` and whoever asks: who runs here."""
        internal = [f"127.0.0.1:{self.settings.ports['INTERNAL_' + name[1:]]}" for name in self.replicas()]
        targets = self.state / "prometheus" / "targets"
        replace(targets / "fanline.yml", json.dumps([{"targets": internal}]))
        replace(targets / "haproxy.yml", json.dumps([{"targets": [f"127.0.0.1:{self.settings.ports['STATS_PORT']}"]}]))
        processes = {name: {"pid": one.pid, "state": one.state} for name, one in self.processes.items()}
        mine = {"pid": os.getpid(), "replicas": self.wanted, "processes": processes, "ports": self.settings.ports}
        replace(self.state / "stack.json", json.dumps(mine, indent=2))


def replace(path, text):
    """Whoever reads it gets all of the old or all of the new."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
