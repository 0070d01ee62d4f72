"""The configuration that the chart makes is one that the gateway takes, and no secret lies in it."""

import re
import subprocess
from base64 import b64decode

import pytest
import yaml

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

from charts import FILES, VALUES, attempt, rendered, refused, with_values
from conftest import ROOT, run
from mounts import lay_out
from world import gateway_binary


@pytest.mark.parametrize("name", FILES)
def test_the_gateway_takes_the_configuration(name, tmp_path):
    said = run(gateway_binary(), "check-config", "--config", lay_out(rendered(name), tmp_path))
    assert "the configuration is good" in said and "warning" not in said, said


def test_the_gateway_is_the_judge_of_keys(tmp_path):
    toml = lay_out(with_values({"config": {"drain": {"dealy": "5s"}}}), tmp_path)
    done = subprocess.run([gateway_binary(), "check-config", "--config", toml], capture_output=True, text=True, check=False)
    assert done.returncode == 64 and "drain.delay" in done.stderr


def test_every_key_of_the_reference_gets_through(tmp_path):
    """examples/fanline.toml, which has every key, read as values and rendered again."""
    given = tomllib.loads((ROOT / "examples" / "fanline.toml").read_text())
    given["internal"] = {"listen": "0.0.0.0:8081"}
    manifests = with_values({"config": given, "replicaCount": 1})
    expected = {**given, "internal": {**given["internal"], "api_keys_file": "/run/secrets/fanline/internal_api_keys"}}
    # Empty is as good as absent, but for the chart's mistakes to be told by.
    expected["redis"] = {key: value for key, value in given["redis"].items() if key != "url"}
    assert tomllib.loads(manifests.toml()) == expected
    assert "is good" in run(gateway_binary(), "check-config", "--config", lay_out(manifests, tmp_path))


@pytest.mark.parametrize("name", FILES)
def test_what_the_values_say_the_configuration_says(name):
    toml = tomllib.loads(rendered(name).toml())
    for section, content in yaml.safe_load((VALUES / f"{name}.yaml").read_text()).get("config", {}).items():
        if isinstance(content, list):
            assert toml[section] == content
        else:
            assert content.items() <= toml[section].items(), section


@pytest.mark.parametrize("name", FILES)
def test_no_secret_lies_in_a_configmap_or_a_pod(name):
    manifests = rendered(name)
    texts = [b64decode(text).decode() for each in manifests.of("Secret") for text in each["data"].values()]
    secrets = {word for text in texts for word in re.findall("[A-Za-z0-9-]{16,}", text)}
    for manifest in manifests:
        if manifest["kind"] != "Secret":
            assert not [secret for secret in secrets if secret in str(manifest)], manifest["metadata"]["name"]


def test_the_secrets_of_the_values_are_in_a_secret():
    data = {key: b64decode(text).decode() for key, text in rendered("tls").one("Secret")["data"].items()}
    assert data == {
        "api-keys": "shop:not-in-a-configmap-either\nbackend:nor-this",
        "redis-url": "rediss://fanline:not-in-a-configmap@redis.example.com:6380",
    }


def test_an_api_key_is_always_there():
    made_up = b64decode(rendered("minimal").one("Secret")["data"]["api-keys"]).decode()
    assert re.fullmatch("helm:[A-Za-z0-9]{40}", made_up)
    for name in FILES:
        assert re.search(r'^api_keys_file = "/.+"$', rendered(name).toml(), re.MULTILINE), name
    assert not rendered("own-files").of("Secret") and not rendered("production").of("Secret")


def test_secrets_are_files_that_not_everybody_may_read():
    for pod, _, spec in rendered("tls").pods():
        volume = next(each for each in spec["volumes"] if each["name"] == "secrets")
        assert volume["projected"]["defaultMode"] == 0o440, pod
        files = {
            item["path"]: source["secret"]["name"]
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        assert files == {
            "internal_api_keys": "rel-fanline",
            "redis_url": "rel-fanline",
            "redis_ca.pem": "redis-tls",
            "redis_cert.pem": "redis-tls",
            "redis_key.pem": "redis-tls",
        }
        assert spec["securityContext"]["fsGroup"] == 65532


DURATIONS = [
    ("5s", "25s", 30),
    ("0s", "0s", 0),
    ("1m30s", "500ms", 91),
    ("500ms", "500ms", 1),
    ("1h1m1s1ms", "15m", 4562),
    ("2m", "10m", 720),
]


@pytest.mark.parametrize(("delay", "window", "seconds"), DURATIONS)
def test_the_grace_period_outlasts_the_drain(delay, window, seconds):
    manifests = with_values({"config": {"drain": {"delay": delay, "window": window}}})
    assert manifests.gateway()["spec"]["terminationGracePeriodSeconds"] == seconds + 10
    assert manifests.one("Deployment")["spec"]["minReadySeconds"] == seconds
    assert manifests.one("Deployment")["spec"]["progressDeadlineSeconds"] > seconds


@pytest.mark.parametrize(("ready", "deadline"), [(0, 630), (30, 630), (3600, 4200)])
def test_a_replica_may_take_as_long_as_it_must_be_ready(ready, deadline):
    """The API server refuses a deadline that is not above minReadySeconds."""
    spec = with_values({"minReadySeconds": ready}).one("Deployment")["spec"]
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (ready, deadline)


def test_the_grace_period_of_the_gateways_own_defaults():
    assert rendered("minimal").gateway()["spec"]["terminationGracePeriodSeconds"] == 40


BAD_DURATIONS = [
    "",
    "10",
    10,
    "s",
    "1.5s",
    "10S",
    "30s1m",
    "1s1s",
    "-1s",
    " 1s",
    "1d",
    "10 sec",
    "721h",
    None,
    "soon",
    ["5s"],
    "5s\n",
]


@pytest.mark.parametrize("given", BAD_DURATIONS)
def test_a_bad_duration_is_told(given):
    if given is None:
        said = refused(None, "--set", "config.drain.delay=null")
    else:
        said = refused({"config": {"drain": {"delay": given}}})
    assert re.search(r"config\.drain\.delay = .* is no duration: write whole numbers with units", said), said
    assert '"1m30s"' in said


def test_a_changed_configuration_rolls_the_pods():
    def sums(values, *arguments):
        return {
            key: text
            for key, text in with_values(values, *arguments).gateway()["metadata"]["annotations"].items()
            if "checksum" in key
        }

    assert sums({}) == sums({}), "a made-up key rolls nothing"
    assert sums({}) != sums({"config": {"limits": {"burst": 400}}})
    no_url = "--set=config.redis.url=,trialRedis.enabled=true,trialRedis.password="
    assert sums({}, f"{no_url}a") != sums({}, f"{no_url}b")
    assert sums({"secrets": {"redisPassword": {"value": "a"}}}) != sums({"secrets": {"redisPassword": {"value": "b"}}})


@pytest.mark.parametrize("name", ["REDIS_URL", "FANLINE_REDIS__URL", "FANLINE_REDIS__URL_FILE"])
def test_a_redis_may_come_by_a_variable(name):
    assert attempt(values={"replicaCount": 2, "env": [{"name": name, "value": "redis://a"}]}).returncode == 0


def test_without_a_redis_there_is_one_replica_and_with_one_there_are_three():
    assert with_values({}, "--set", "config.redis.url=").one("Deployment")["spec"]["replicas"] == 1
    assert with_values().one("Deployment")["spec"]["replicas"] == 3
    assert with_values({"replicaCount": 0}).one("Deployment")["spec"]["replicas"] == 0


def test_null_takes_a_key_away():
    assert "format" not in with_values({}, "--set", "config.log.format=null").toml()
