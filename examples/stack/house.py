"""The processes of the stack: who starts when, who ends first, and what is written down of them."""

import json
import os
import signal
import time

from process import Process
from programs import Programs
from settings import SLOTS

# For a process to be ready.
PATIENCE = 60
# Above drain.delay + drain.window.
DRAIN = 45


class House:
    def __init__(self, settings):
        self.settings, self.state, self.wanted = settings, settings.state, settings.replicas
        self.programs, self.processes = Programs(settings), {}
        # What became of each request to scale: why some are not there. And whether it is over.
        self.answers, self.ending = {}, False
        self.write()

    def replicas(self, state=None):
        """Their names; those in this state, if one is named."""
        names = [name for name in self.processes if name[1:].isdigit()]
        return [name for name in names if state in (None, self.processes[name].state)]

    def log(self, name):
        return self.state / "logs" / f"{name}.log"

    def up(self):
        """Starts what is not there, in the order in which one needs the other; yields why somebody is not."""
        for why in self.start({"redis": self.programs.redis}):
            # All the others stand on it.
            yield why
            return
        yield from self.start({f"r{slot}": lambda slot=slot: self.programs.replica(slot) for slot in SLOTS[: self.wanted]})
        yield from self.start({"haproxy": lambda: self.programs.haproxy(lambda: self.replicas("ready"))})
        if self.settings.with_prometheus:
            yield from self.start({"prometheus": self.programs.prometheus})
        yield from self.start({"producer": self.programs.producer})

    def start(self, programs):
        """All at once. Who fails, fails alone."""
        there = []
        for name, program in programs.items():
            if why := self.ensure(name, program):
                yield why
            else:
                there.append(name)
        for name in there:
            if why := self.until_ready(name):
                yield why

    def ensure(self, name, program):
        """That it runs; or why not."""
        if why := self.until_ended(name):
            return why
        if name in self.processes and self.processes[name].is_there():
            return None
        if taken := self.settings.taken(name):
            return f"{name} cannot start: {'; '.join(taken)}"
        try:
            self.processes[name] = Process(name, *program(), self.log(name))
        except OSError as error:
            return f"{name} cannot start: {error}"
        self.write()
        return None

    def until_ended(self, name):
        """Where it drains, it is waited for: its ports are its own until then."""
        process, deadline = self.processes.get(name), time.monotonic() + DRAIN
        while process and process.state == "ending":
            if time.monotonic() > deadline:
                return f"{name} has not ended within {DRAIN} s"
            self.look()
            time.sleep(0.05)
        return None

    def until_ready(self, name):
        process, deadline = self.processes[name], time.monotonic() + PATIENCE
        while process.state != "ready":
            if not process.is_there() or time.monotonic() > deadline:
                process.look()
                told = "".join(f"\n    {line}" for line in process.said()) or " nothing"
                return f"{name} is not ready ({process.state}); to {self.log(name)} it wrote:{told}"
            self.look()
            time.sleep(0.05)
        return None

    def scale(self, wanted, request):
        """Starts replicas, and whatever else has ended; the last ones drain."""
        self.wanted = wanted
        for name in [f"r{slot}" for slot in SLOTS[wanted:] if f"r{slot}" in self.processes]:
            if self.processes[name].is_there():
                self.processes[name].end()
            else:
                del self.processes[name]
        self.write()
        self.answers[request] = list(self.up())
        self.look()
        self.write()
        return self.answers[request]

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
                again = "" if self.ending else f"; make scale REPLICAS={self.wanted} starts it again"
                print(f"stack: {process.name} {process.state}, and nobody asked for it{again}", flush=True)
        if changed:
            self.write()

    def down(self, hurry):
        """Ends everything: first who publishes, then the replicas, politely, and what they stand on at last."""
        self.ending = True
        self.write()
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
        mine |= {"answers": self.answers, "ending": self.ending}
        replace(self.state / "stack.json", json.dumps(mine, indent=2))


def replace(path, text):
    """Whoever reads it gets all of the old or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
