#!/usr/bin/env python3
"""`make up`, `make scale`, `make down`: what docker-compose.yml describes, as plain processes, from the same files.

    python3 stack.py up               Redis, REPLICAS (3) replicas, HAProxy, Prometheus and a producer, until Ctrl-C
    REPLICAS=4 python3 stack.py scale starts or drains replicas while it runs, and starts again what has ended
    python3 stack.py down             ends it

Everything listens on 127.0.0.1; README.md beside this file lists the ports and their names. The state (pids, logs,
data) lies in STACK, target/stack if nothing is said.
"""

import fcntl
import json
import os
import signal
import sys
import time

from house import DRAIN, PATIENCE, House, replace
from settings import UNAVAILABLE, USAGE, Settings, folder, refuse, replicas


class Ended(BaseException):
    """We were asked to end."""


def up():
    settings = Settings()
    settings.state.mkdir(parents=True, exist_ok=True)
    lock = claim(settings.state)
    settings.check()
    house, asked = House(settings), []

    def end(*_):
        asked.append(True)
        if len(asked) == 1:
            raise Ended

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    try:
        house.up()
        print(directions(settings), flush=True)
        serve(house)
    except Ended:
        print("stack: ending; the replicas drain (again to end at once)", flush=True)
    finally:
        # From here on signals only count.
        asked.append(True)
        told = len(asked)
        house.down(lambda: len(asked) > told)
        (settings.state / "stack.json").unlink(missing_ok=True)
        lock.close()


def claim(state):
    """Ours as long as we live; whoever comes second is told so."""
    lock = open(state / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        refuse(UNAVAILABLE, [f"it runs already, in {state}: `make down` ends it, STACK=… names another folder"])
    return lock


def serve(house):
    """Until we are asked to end: does what `scale` asks for."""
    wanted, taken = requests(house.state)
    for old in (wanted, taken):
        old.unlink(missing_ok=True)
    while True:
        if wanted.exists():
            # Out of the way of the next one, which may come while this one is done.
            wanted.replace(taken)
            number = int(taken.read_text())
            print(f"stack: scaling to {number} replicas", flush=True)
            house.scale(number)
            taken.unlink()
        house.look()
        time.sleep(0.1)


def requests(state):
    """How many replicas are asked for, and what of it is being done."""
    return state / "wanted", state / "taken"


def scale():
    stack = running()
    number = replicas(default=stack["replicas"])
    if isinstance(number, str):
        refuse(USAGE, [number])
    wanted, taken = requests(folder())
    replace(wanted, str(number))
    # In this order: a request is in one of the two until it is done. Each replica may take its time, and what else has ended.
    until("it has done that", lambda: running() and not wanted.exists() and not taken.exists(), PATIENCE * (number + 4))
    until("the others have drained", lambda: len(names(running())) <= number, DRAIN + 10)
    print(f"stack: {number} replicas, there were {stack['replicas']}: {' '.join(names(running()))}")


def names(stack):
    return [name for name in stack["processes"] if name[1:].isdigit()]


def down():
    state, pid = folder(), running()["pid"]
    os.kill(pid, signal.SIGTERM)
    until("it ends", lambda: is_free(state), DRAIN + 30)
    print("stack: everything has ended")


def is_free(state):
    with open(state / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def running():
    """What runs in our folder; refuses where nothing does."""
    state = folder()
    if not (state / "lock").exists() or is_free(state) or not (state / "stack.json").exists():
        refuse(UNAVAILABLE, [f"nothing runs in {state}: `make up` starts it; STACK=… names another folder"])
    return json.loads((state / "stack.json").read_text())


def until(what, probe, seconds):
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            refuse(UNAVAILABLE, [f"not within {seconds} s: {what}; see {folder() / 'logs'}"])
        time.sleep(0.1)


def directions(settings):
    gateway, redis = settings.programs["fanline"], settings.ports["REDIS_PORT"]
    api = settings.url("API_PORT") + "/api/publish?topic=hello"
    prometheus = settings.url("PROMETHEUS_PORT") + "/alerts" if settings.with_prometheus else "off (PROMETHEUS=off)"
    return f"""stack: {settings.replicas} replicas behind HAProxy
  page        {settings.url("BALANCER_PORT")}/
  listen      {gateway} listen '{settings.url("BALANCER_PORT", "ws")}/ws?topic=hello'
  publish     redis-cli -p {redis} PUBLISH fanline:hello hi
              curl -s '{api}' -H 'X-API-Key: {settings.key}' --data-binary hi
  balancer    {settings.url("STATS_PORT")}/
  Prometheus  {prometheus}
  logs        {settings.state / "logs"}
  scale       make scale REPLICAS=4
  end         Ctrl-C, or make down"""


if __name__ == "__main__":
    commands = {"up": up, "scale": scale, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        refuse(USAGE, [f"expected one of {', '.join(commands)}, found {' '.join(sys.argv[1:]) or 'nothing'}"])
    commands[sys.argv[1]]()
