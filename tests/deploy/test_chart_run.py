"""What the chart would run, run: the trial Redis, the gateway as it is configured, and the test pod's commands."""

import os
import shlex
import signal
import subprocess
import time

from charts import copy_of_chart, notes
from conftest import need
from house import house, said
from world import gateway_binary, until


def test_the_test_pod_finds_a_good_release_good(house):
    spec = house.manifests.one("Pod")["spec"]
    _, publish = spec["initContainers"]
    (listen,) = spec["containers"]
    house.ready()
    assert house.does(publish).returncode == 0

    probe = [house.here(argument) for argument in listen["readinessProbe"]["exec"]["command"]]
    listening = subprocess.Popen(
        house.command(listen), stdout=subprocess.PIPE, text=True, env=house.environment(listen)
    )

    def probed_to_its_end():
        probed = said(probe, house.environment(listen))
        assert probed.returncode == 0, probed
        return listening.poll() is not None

    until("it has heard it", probed_to_its_end)
    assert (listening.returncode, listening.communicate()[0]) == (0, "published by helm test\n")


def test_what_the_notes_say_brings_a_publication_to_a_listener(house, copy_of_chart):
    """All but kubectl, which is the operator's: here it only prints the Secret."""
    lines = [line.strip() for line in notes("trial", copy_of_chart, release="fanline").splitlines()]
    (listen,) = [line for line in lines if " listen " in line]
    (key,) = [line for line in lines if line.startswith("KEY=")]
    (publish,) = [line for line in lines if line.startswith("curl")]
    program = shlex.split(listen.split(" -- ")[1].replace("localhost:8080", f"127.0.0.1:{house.public}"))
    house.ready()
    command = [*map(house.here, program), "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:
        assert "listening" in listening.stderr.readline()
        script = f'kubectl() {{ echo "$KEYS"; }}\n{key}\n{publish}'
        keys = house.manifests.secret("fanline", "api-keys")
        script = script.replace("localhost:8081", f"127.0.0.1:{house.internal}")
        done = said([need("bash"), "-c", script], {**os.environ, "KEYS": keys})
        assert done.returncode == 0, done
        assert listening.communicate(timeout=20)[0] == "hi\n"


def test_the_test_pod_fails_where_nobody_is_ready(house):
    house.gateway.kill()
    for container in house.manifests.one("Pod")["spec"]["initContainers"]:
        assert house.does(container).returncode == 1, container["name"]


def test_without_the_key_nobody_publishes(house, tmp_path):
    publish = house.manifests.one("Pod")["spec"]["initContainers"][1]
    until("it publishes", lambda: house.does(publish).returncode == 0)
    (tmp_path / "wrong").write_text("helm:wrong")
    wrong = [*house.command(publish), "--set", f"internal.api_keys_file={tmp_path}/wrong"]
    refused = said(wrong, house.environment(publish))
    assert refused.returncode == 1 and "not published" in refused.stderr, refused


def test_it_is_gone_well_before_it_would_be_killed(house):
    spec = house.manifests.gateway()["spec"]
    house.ready()
    listeners = [
        subprocess.Popen(
            [gateway_binary(), "listen", f"ws://127.0.0.1:{house.public}/ws?topic=a"], stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for listener in listeners:
        assert "listening" in listener.stderr.readline()
    begin = time.monotonic()
    house.gateway.process.send_signal(signal.SIGTERM)
    assert house.gateway.process.wait(timeout=spec["terminationGracePeriodSeconds"]) == 0
    # What is left is the ten seconds' reserve, but for what a busy machine takes.
    assert time.monotonic() - begin < spec["terminationGracePeriodSeconds"] - 5
    for listener in listeners:
        assert "closed by the gateway" in listener.communicate(timeout=10)[1]


def test_the_trial_redis_wants_its_password(house):
    def ping(*arguments):
        return said([need("redis-cli"), "-p", house.redis, *arguments, "ping"]).stdout.strip()

    until("Redis answers", lambda: ping("-a", house.manifests.secret("fanline-redis", "password")) == "PONG")
    assert "NOAUTH" in ping()
