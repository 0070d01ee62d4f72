"""A release with a trial Redis, run as processes on loopback: what the chart's containers would do, done."""

import os
import re
import subprocess

import pytest

from charts import helm, parse
from conftest import need
from mounts import lay_out
from programs import Program
from world import free_ports, gateway_binary

# As Kubernetes tells a pod with enableServiceLinks of the Services of a release named fanline.
SERVICE_LINKS = {
    "FANLINE_SERVICE_HOST": "10.0.0.1",
    "FANLINE_PORT": "tcp://10.0.0.1:80",
    "FANLINE_PORT_80_TCP_ADDR": "10.0.0.1",
    "FANLINE_INTERNAL_SERVICE_HOST": "127.0.0.1",
    "FANLINE_INTERNAL_SERVICE_PORT_INTERNAL": "8081",
    "FANLINE_INTERNAL_PORT": "tcp://127.0.0.1:8081",
}


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
        return [gateway_binary(), *[self.here(argument) for argument in container["args"]]]

    def here(self, argument):
        argument = argument.replace("/etc/fanline/fanline.toml", str(self.toml))
        argument = argument.replace("/usr/local/bin/fanline", str(gateway_binary()))
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

    def ready(self):
        """Waits until its test pod's first container says so."""
        ready = self.manifests.one("Pod")["spec"]["initContainers"][0]
        self.gateway.wait_until("it is ready", lambda: self.does(ready).returncode == 0)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, {"delay": "200ms", "window": "500ms"})
    gateway = house.command(house.manifests.gateway()["spec"]["containers"][0])
    with Program(tmp_path, "redis", *house.redis_command()).takes(house.redis):
        with Program(tmp_path, "gateway", *gateway) as house.gateway:
            yield house
