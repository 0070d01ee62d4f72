"""A release with a trial Redis, run as processes on loopback: what the chart's containers would do, done."""

import contextlib
import os
import re
import socket
import subprocess
import time

import pytest

from charts import GATEWAY, helm, parse
from conftest import need
from mounts import lay_out

# As Kubernetes tells a pod with enableServiceLinks of the Services of a release named fanline.
SERVICE_LINKS = {
    "FANLINE_SERVICE_HOST": "10.0.0.1",
    "FANLINE_PORT": "tcp://10.0.0.1:80",
    "FANLINE_PORT_80_TCP_ADDR": "10.0.0.1",
    "FANLINE_INTERNAL_SERVICE_HOST": "127.0.0.1",
    "FANLINE_INTERNAL_SERVICE_PORT_INTERNAL": "8081",
    "FANLINE_INTERNAL_PORT": "tcp://127.0.0.1:8081",
}


def free_ports(count):
    with contextlib.ExitStack() as open_until_all_are_known:
        sockets = [open_until_all_are_known.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def eventually(condition, seconds=20):
    """Polls until it holds; the last failure is told."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def process(*command, **options):
    running = subprocess.Popen([str(part) for part in command], text=True, **options)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def said(command, environment=None):
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, env=environment)


class House:
    """A release named fanline with a trial Redis, as processes on loopback."""

    def __init__(self, folder, drain):
        arguments = [f"--set=config.drain.{key}={value}" for key, value in drain.items()]
        self.manifests = parse(helm("--set=trialRedis.enabled=true", *arguments, release="fanline"))
        self.redis, self.public, self.internal = free_ports(3)
        self.toml = lay_out(self.manifests, folder)
        text = self.toml.read_text()
        for wanted, here in {
            "0.0.0.0:8080": f"127.0.0.1:{self.public}",
            "0.0.0.0:8081": f"127.0.0.1:{self.internal}",
            "redis://fanline-redis:6379": f"redis://127.0.0.1:{self.redis}",
        }.items():
            assert wanted in text
            text = text.replace(wanted, here)
        self.toml.write_text(text)

    def redis_command(self):
        container = self.manifests.one("Deployment", "redis")["spec"]["template"]["spec"]["containers"][0]
        password = self.manifests.secret("fanline-redis", "password")
        assert container["env"] == [
            {"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {"name": "fanline-redis", "key": "password"}}}
        ]
        arguments = [argument.replace("$(REDISCLI_AUTH)", password) for argument in container["args"]]
        return [need(container["command"][0]), *arguments, "--bind", "127.0.0.1", "--port", self.redis]

    def command(self, container):
        """A container's command, its Services' names and ports put in."""
        assert "command" not in container, "the image's entry point is the gateway"
        return [GATEWAY, *[self.here(argument) for argument in container["args"]]]

    def here(self, argument):
        argument = argument.replace("/etc/fanline/fanline.toml", str(self.toml))
        argument = argument.replace("/usr/local/bin/fanline", str(GATEWAY))
        return argument.replace("ws://fanline:80/", f"ws://127.0.0.1:{self.public}/")

    def environment(self, container):
        """A container's variables, as the kubelet expands them of those of the Services."""
        given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        given = {
            name: re.sub(r"\$\((\w+)\)", lambda link: SERVICE_LINKS[link[1]], text) for name, text in given.items()
        }
        assert given["FANLINE_INTERNAL__LISTEN"] == "127.0.0.1:8081"
        return {**os.environ, **SERVICE_LINKS, **given, "FANLINE_INTERNAL__LISTEN": f"127.0.0.1:{self.internal}"}

    def does(self, container):
        """Runs a container of the test pod to its end."""
        return said(self.command(container), self.environment(container))

    @contextlib.contextmanager
    def running(self, folder):
        gateway = self.command(self.manifests.gateway()["spec"]["containers"][0])
        with (folder / "redis.log").open("w") as log, process(*self.redis_command(), cwd=folder, stdout=log):
            with (folder / "gateway.log").open("w") as log, process(*gateway, stdout=log, stderr=log) as running:
                yield running


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, {"delay": "200ms", "window": "500ms"})
    with house.running(tmp_path) as house.gateway:
        yield house
