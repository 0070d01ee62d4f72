"""Each value does what it says: every switch, every key, and every way to be wrong."""

import copy

import pytest
import yaml

from charts import CHART, FILES, VALUES, attempt, parse, refused, rendered, with_values
from documented import documented


def switches(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from switches(value, (*path, key))
        elif isinstance(value, bool):
            yield ".".join((*path, key)), value


SWITCHES = [
    each for each in switches(yaml.safe_load((CHART / "values.yaml").read_text())) if "ecurityContext" not in each[0]
]
NEEDS = {
    "trialRedis.enabled": ["config.redis.url="],
    "ingress.enabled": ["ingress.hosts[0].host=a.example.com"],
    "httpRoute.enabled": ["httpRoute.parentRefs[0].name=public"],
}


@pytest.mark.parametrize(("switch", "default"), SWITCHES)
def test_each_switch_makes_or_takes_away_an_object(switch, default):
    arguments = [f"--set={need}" for need in NEEDS.get(switch, [])]
    off, on = (
        {(each["kind"], each["metadata"]["name"]) for each in with_values({}, *arguments, f"--set={switch}={value}")}
        for value in ("false", "true")
    )
    assert off < on, f"{switch} makes nothing"


@pytest.mark.parametrize("path", [".".join(path) for path, _ in documented()])
def test_each_value_is_given_somewhere_here_and_counts(path):
    """Of each key of values.yaml: some values file of the tests gives it, and without it something else comes out."""
    path = path.split(".")
    givers = [name for name in FILES if has(values_of(name), path)]
    assert givers, f"{'.'.join(path)} is in no values file of the tests"
    assert any(counts(name, path) for name in givers), f"{'.'.join(path)} changes nothing in {givers}"


def values_of(name):
    return yaml.safe_load((VALUES / f"{name}.yaml").read_text())


def has(values, path):
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def counts(name, path):
    values = values_of(name)
    section = values
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    without = attempt(values=values)
    return without.returncode != 0 or stable(parse(without.stdout)) != stable(rendered(name))


def stable(manifests):
    """Without what is made up anew each time."""
    manifests = copy.deepcopy(manifests)
    for each in manifests.of("Secret"):
        for item, text in each["data"].items():
            each["data"][item] = len(text)
    return manifests


TYPOS = [
    ({"replicas": 3}, "'replicas' not allowed"),
    ({"image": {"name": "x"}}, "'name' not allowed"),
    ({"trialRedis": {"enable": True}}, "'enable' not allowed"),
    ({"secrets": {"apiKey": {}}}, "'apiKey' not allowed"),
    ({"secrets": {"redisPassword": {"existingsecret": "a"}}}, "'existingsecret' not allowed"),
    ({"autoscaling": {"keda": {"prometheusURL": "http://a"}}}, "'prometheusURL' not allowed"),
    ({"autoscaling": {"kind": "HPA"}}, "/autoscaling/kind"),
    ({"ingress": {"hosts": [{"hostname": "a"}]}}, "'hostname' not allowed"),
    (
        {"ingress": {"hosts": [{"host": "a", "paths": [{"path": "/", "pathType": "prefix"}]}]}},
        "/ingress/hosts/0/paths/0/pathType",
    ),
    ({"networkPolicy": {"monitoringFrom": [{"namespaceselector": {}}]}}, "'namespaceselector' not allowed"),
    ({"monitoring": {"serviceMonitor": {"interval": "15"}}}, "/monitoring/serviceMonitor/interval"),
    ({"livenessProbe": {"httpGet": {}}}, "'httpGet' not allowed"),
    ({"resources": {"limit": {}}}, "'limit' not allowed"),
    ({"service": {"port": "http"}}, "/service/port"),
    ({"service": {"type": "Loadbalancer"}}, "/service/type"),
    ({"podAnnotations": {"a": 1}}, "/podAnnotations/a"),
    ({"env": {"A": "b"}}, "/env"),
    ({"replicaCount": "three"}, "/replicaCount"),
    ({"config": {"topics": {"match": "*"}}}, "/config/topics"),
    ({"config": {"drain": "5s"}}, "/config/drain"),
    ({"config": {"loglevel": "debug"}}, "/config/loglevel"),
    ({"secrets": {"apiKeys": {"value": "no-name"}}}, "/secrets/apiKeys/value"),
    ({"fullnameOverride": "Upper"}, "/fullnameOverride"),
    ({"test": {"topic": "@canary"}}, "/test/topic"),
    ({"ingress": None}, "missing property 'ingress'"),
    ({"monitoring": {"podMonitor": None}}, "missing property 'podMonitor'"),
]


@pytest.mark.parametrize(("values", "told"), TYPOS)
def test_a_typo_is_refused_by_the_schema(values, told):
    said = refused(values)
    assert "values don't meet the specifications of the schema" in said and told in said, said


NOTHINGS = [
    "podSecurityContext",
    "networkPolicy.monitoringFrom",
    "service.ipFamilies",
    "env",
    "resources.limits",
    "ingress.annotations",
    "strategy.rollingUpdate",
]


@pytest.mark.parametrize("path", NOTHINGS)
def test_null_is_nothing(path):
    with_values({"networkPolicy": {"enabled": True}}, f"--set={path}=null")
