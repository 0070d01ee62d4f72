#!/usr/bin/env python3
"""`make up`, `make scale`, `make down`: what docker-compose.yml describes, as plain processes, from the same files.

    python3 stack.py up               Redis, REPLICAS (3) replicas, HAProxy, Prometheus and a producer, until Ctrl-C
    REPLICAS=4 python3 stack.py scale starts or drains replicas while it runs, and starts again what has ended
    python3 stack.py down             ends it

Everything listens on 127.0.0.1; README.md beside this file lists the ports and their names. The state (pids, logs,
data) lies in STACK, target/stack if nothing is said.
"""

import fcntl
import shlex
import signal
import sys
import time

from asking import down, requests, scale
from house import House
from programs import answers
from settings import UNAVAILABLE, USAGE, Settings, refuse


class Ended(BaseException):
    """We were asked to end."""


def up():
    settings = Settings()
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
        for why in house.up():
            refuse(UNAVAILABLE, [why])
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
    """Ours as long as we live; whoever comes second is told so. What an earlier one was asked is none of our business."""
    try:
        for name in ("logs", "redis"):
            (state / name).mkdir(parents=True, exist_ok=True)
        lock = open(state / "lock", "w", encoding="utf-8")
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        refuse(USAGE, [f"STACK={state} cannot be used: {why}; expected a folder that can be made, and written to"])
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        refuse(UNAVAILABLE, [f"it runs already, in {state}: `make down` ends it, STACK=… names another folder"])
    for old in (state / "stack.json", *requests(state)):
        old.unlink(missing_ok=True)
    return lock


def serve(house):
    """Until we are asked to end: does what `scale` asks for."""
    while True:
        for request in requests(house.state):
            number = int(request.read_text())
            request.unlink()
            print(f"stack: scaling to {number} replicas", flush=True)
            for why in house.scale(number, request.name):
                print(f"stack: {why}", flush=True)
        house.look()
        time.sleep(0.1)


def directions(settings):
    gateway, redis = shlex.quote(settings.programs["fanline"]), settings.ports["REDIS_PORT"]
    api = settings.url("API_PORT") + "/api/publish?topic=hello"
    prometheus = watched(settings) if settings.with_prometheus else "off (PROMETHEUS=off)"
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


def watched(settings):
    """Where its pages are: Debian's 2.42 has but the old ones."""
    url = settings.url("PROMETHEUS_PORT")
    there = [folder for folder in ("", "/classic") if answers(f"{url}{folder}/alerts")]
    return f"{url}{there[0]}/alerts, {there[0]}/targets" if there else f"{url}/"


if __name__ == "__main__":
    commands = {"up": up, "scale": scale, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        refuse(USAGE, [f"expected one of {', '.join(commands)}, found {' '.join(sys.argv[1:]) or 'nothing'}"])
    try:
        commands[sys.argv[1]]()
    except KeyboardInterrupt:
        # Of `scale` or `down`, which only wait; `up` has its own way to end.
        sys.exit(130)
