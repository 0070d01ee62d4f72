"""`make scale` and `make down`: what is asked of the stack that runs, and what it answers."""

import fcntl
import json
import os
import signal
import time

from house import DRAIN, replace
from settings import SLOTS, UNAVAILABLE, USAGE, folder, refuse, replicas


def requests(state):
    """In the order in which they came. Each has a file of its own, so that none is lost while another is done."""
    return sorted(state.glob("wanted.*[0-9]"))


def scale():
    before = serving()["replicas"]
    number = replicas(default=before)
    if isinstance(number, str):
        refuse(USAGE, [number])
    request = folder() / f"wanted.{time.time_ns()}.{os.getpid()}"
    replace(request, str(number))
    # As long as it takes: whatever is started has its deadline there.
    while (failed := serving()["answers"].get(request.name)) is None:
        time.sleep(0.1)
    if failed:
        refuse(UNAVAILABLE, failed)
    wanted = [f"r{slot}" for slot in SLOTS[:number]]
    until("the others have drained", lambda: set(still(number)) <= set(wanted), DRAIN + 10)
    here = still(number)
    if lost := [name for name in wanted if here.get(name, {}).get("state") != "ready"]:
        refuse(UNAVAILABLE, [f"{name} was ready, and is so no more; see {folder() / 'logs'}" for name in lost])
    print(f"stack: {number} replicas, there were {before}: {' '.join(wanted)}")


def still(number):
    """The replicas, as long as nobody asks for another number."""
    stack = serving()
    if stack["replicas"] != number:
        refuse(UNAVAILABLE, [f"overtaken by another make scale, which wants {stack['replicas']} replicas, not {number}"])
    return {name: one for name, one in stack["processes"].items() if name[1:].isdigit()}


def down():
    state, pid = folder(), running()["pid"]
    os.kill(pid, signal.SIGTERM)
    until("it ends", lambda: is_free(state), DRAIN + 30)
    print("stack: everything has ended")


def serving():
    """As running; refuses, too, where it is about to end."""
    stack = running()
    if stack["ending"]:
        refuse(UNAVAILABLE, ["the stack is ending; `make up` starts it again"])
    return stack


def running():
    """What runs in our folder; refuses where nothing does."""
    state = folder()
    try:
        if not is_free(state):
            return json.loads((state / "stack.json").read_text())
    except OSError:
        pass
    refuse(UNAVAILABLE, [f"nothing runs in {state}: `make up` starts it; STACK=… names another folder"])


def is_free(state):
    """Whether nobody holds the lock that is there."""
    with open(state / "lock", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def until(what, probe, seconds):
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            refuse(UNAVAILABLE, [f"not within {seconds} s: {what}; see {folder() / 'logs'}"])
        time.sleep(0.1)
