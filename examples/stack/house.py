"""The processes of the stack: who starts when, who ends first, and what is written down of them."""

import json
import os
import signal
import time

from process import Process
from programs import Programs
from settings import SLOTS, UNAVAILABLE, refuse

# For a process to be ready.
PATIENCE = 60
# Above drain.delay + drain.window.
DRAIN = 45


class House:
    def __init__(self, settings):
        self.settings, self.state, self.wanted = settings, settings.state, settings.replicas
        self.programs, self.processes = Programs(settings), {}
        for folder in ("logs", "redis"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)

    def replicas(self, state=None):
        """Their names; those in this state, if one is named."""
        names = [name for name in self.processes if name[1:].isdigit()]
        return [name for name in names if state in (None, self.processes[name].state)]

    def log(self, name):
        return self.state / "logs" / f"{name}.log"

    def up(self):
        """Starts what is not there, in the order in which one needs the other."""
        slots = {f"r{slot}": slot for slot in SLOTS[: self.wanted]}
        self.ensure("redis", self.programs.redis)
        self.until_ready("redis")
        for name, slot in slots.items():
            self.ensure(name, lambda slot=slot: self.programs.replica(slot))
        for name in slots:
            self.until_ready(name)
        others = {"haproxy": lambda: self.programs.haproxy(lambda: self.replicas("ready"))}
        if self.settings.with_prometheus:
            others["prometheus"] = self.programs.prometheus
        others["producer"] = self.programs.producer
        for name, program in others.items():
            self.ensure(name, program)
            self.until_ready(name)

    def ensure(self, name, program):
        if name not in self.processes or not self.processes[name].is_there():
            self.processes[name] = Process(name, *program(), self.log(name))
            self.write()

    def until_ready(self, name):
        process, deadline = self.processes[name], time.monotonic() + PATIENCE
        while process.state != "ready":
            if not process.is_there() or time.monotonic() > deadline:
                tail = self.log(name).read_text(errors="replace").splitlines()[-10:]
                refuse(UNAVAILABLE, [f"{name} is not ready ({process.state}); {self.log(name)} ends with:", *tail])
            self.look()
            time.sleep(0.05)

    def scale(self, wanted):
        """Starts replicas, and whatever else has ended; the last ones drain."""
        self.wanted = wanted
        for name in [f"r{slot}" for slot in SLOTS[wanted:] if f"r{slot}" in self.processes]:
            if self.processes[name].is_there():
                self.processes[name].end()
            else:
                del self.processes[name]
        self.write()
        self.up()

    def look(self):
        """Notes who came and went, and tells of whom nobody sent."""
        changed = [process for process in self.processes.values() if process.look()]
        for process in changed:
            if process.is_there():
                continue
            if process.was_asked:
                print(f"stack: {process.name} {process.state}", flush=True)
                del self.processes[process.name]
            else:
                again = f"make scale REPLICAS={self.wanted} starts it again"
                print(f"stack: {process.name} {process.state}, and nobody asked for it; {again}", flush=True)
        if changed:
            self.write()

    def down(self, hurry):
        """Ends everything: first who publishes, then the replicas, politely, and what they stand on at last."""
        for names in (["producer"], self.replicas(), ["haproxy"], ["prometheus"], ["redis"]):
            here = [self.processes[name] for name in names if name in self.processes]
            for process in here:
                process.end()
            deadline = time.monotonic() + DRAIN
            while any(process.is_there() for process in here):
                if hurry() or time.monotonic() > deadline:
                    for process in here:
                        process.end(signal.SIGKILL)
                time.sleep(0.05)
        self.look()

    def write(self):
        """The targets of Prometheus, and for `scale`, `down` and whoever asks: who runs here."""
        ports = self.settings.ports
        targets = {
            "fanline": [f"127.0.0.1:{ports[f'INTERNAL_{name[1:]}']}" for name in self.replicas()],
            "haproxy": [f"127.0.0.1:{ports['STATS_PORT']}"],
        }
        for job, addresses in targets.items():
            replace(self.programs.etc / "targets" / f"{job}.yml", json.dumps([{"targets": addresses}]))
        processes = {name: {"pid": one.pid, "state": one.state} for name, one in self.processes.items()}
        mine = {"pid": os.getpid(), "replicas": self.wanted, "processes": processes, "ports": ports}
        replace(self.state / "stack.json", json.dumps(mine, indent=2))


def replace(path, text):
    """Whoever reads it gets all of the old or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
