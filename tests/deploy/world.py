"""What every test of the deployment may need: waiting, free ports, durations, and the programs that are built here."""

import importlib.util
import os
import re
import time

from conftest import ROOT

PATIENCE = 30
# What a probe may throw while there is no answer yet.
NO_ANSWER = (OSError, AssertionError, EOFError)


def until(what, probe, patience=PATIENCE, despite=()):
    """Asks again until `probe` answers something true. What it throws is thrown at once, but for what `despite` names."""
    deadline, thrown = time.monotonic() + patience, None
    while True:
        try:
            if found := probe():
                return found
        except despite as error:
            thrown = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}" + (f" ({thrown})" if thrown else "")) from thrown
        time.sleep(0.02)


def seconds(duration):
    """How long 500ms, 30s, 1m30s or 6h are."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    assert re.fullmatch(r"([\d.]+(ms|s|m|h))+", duration), f"{duration!r}: expected a duration such as 1m30s"
    return sum(float(count) * units[unit] for count, unit in re.findall(r"([\d.]+)(ms|s|m|h)", duration))


def gateway_binary():
    return built("GATEWAY_BIN", "target/quick/fanline", "make run")


def load_binary():
    return built("LOAD_BIN", "target/debug/fanline-load", "cargo build --bin fanline-load")


def built(variable, usual, builder):
    """The program that the environment names (nothing names the usual one), from where the project lies."""
    path = ROOT / (os.environ.get(variable) or usual)
    assert path.is_file(), f"{path} is not there: run {builder} once, or set {variable}"
    return path


def stack_settings():
    """examples/stack/settings.py, which is no package."""
    spec = importlib.util.spec_from_file_location("settings", ROOT / "examples" / "stack" / "settings.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


SETTINGS = stack_settings()
# One row for the whole run, also of threads: no port is given out twice, bound by now or not.
PORTS = SETTINGS.candidates()


def free_ports(count):
    """Different ones, that no connection takes by chance."""
    return SETTINGS.free_ports(count, PORTS)


def free_port():
    return free_ports(1)[0]
