"""What the schema cannot say is told all the same: what was found, and what to write instead."""

import re

import pytest

from charts import attempt, refused
from conftest import ROOT

PASSWORD = "would lie readable in a ConfigMap"
ALONE = [
    (
        {"config": {"redis": {"password": "x"}}},
        f"config.redis.password {PASSWORD}: give it as secrets.redisPassword.value",
    ),
    ({"config": {"redis": {"sentinel_password": "x"}}}, f"config.redis.sentinel_password {PASSWORD}"),
    ({"config": {"internal": {"api_keys": ["a:b"]}}}, f"config.internal.api_keys {PASSWORD}"),
    (
        {"config": {"redis": {"url": "redis://a"}}, "secrets": {"redisUrl": {"value": "redis://b"}}},
        "config.redis.url and secrets.redisUrl are both set",
    ),
    (
        {"config": {"redis": {"url": "redis://a"}}, "trialRedis": {"enabled": True}},
        "trialRedis.enabled stands beside the URL of another Redis",
    ),
    (
        {"secrets": {"redisPassword": {"value": "x"}}, "trialRedis": {"enabled": True}},
        "the trial one's is trialRedis.password",
    ),
    (
        {"secrets": {"apiKeys": {"value": "a:b", "existingSecret": "c"}}},
        "secrets.apiKeys has both a value and an existingSecret",
    ),
    (
        {"config": {"internal": {"api_keys_file": "/a"}}, "secrets": {"apiKeys": {"value": "a:b"}}},
        "config.internal.api_keys_file and secrets.apiKeys are both set",
    ),
    ({"redisTls": {"existingSecret": "x", "cert": "tls.crt"}}, "redisTls.cert and redisTls.key go together"),
    (
        {"config": {"redis": {"ca": "/a"}}, "redisTls": {"existingSecret": "x"}},
        "config.redis.ca and redisTls.ca are both set",
    ),
    (
        {"env": [{"name": "FANLINE_DRAIN__WINDOW", "value": "5m"}]},
        "terminationGracePeriodSeconds is worked out of config.drain: take it away and set config.drain.window",
    ),
    (
        {"env": [{"name": "FANLINE_PUBLIC__LISTEN", "value": "0.0.0.0:80"}]},
        "env has FANLINE_PUBLIC__LISTEN, which would win over config.public.listen",
    ),
    (
        {"env": [{"name": "FANLINE_INTERNAL__LISTEN", "value": "0.0.0.0:81"}]},
        "worked out of that: take it away and set config.internal.listen",
    ),
    ({"env": [{"name": "PORT", "value": "80"}]}, "env has PORT, which would win over config.public.listen"),
    ({"replicaCount": 2}, "2 replicas without a Redis would not hear each other"),
    ({"autoscaling": {"enabled": True}}, "12 replicas without a Redis"),
]


@pytest.mark.parametrize(("values", "told"), ALONE)
def test_what_the_schema_cannot_say_is_told(values, told):
    assert told in refused(values)


def knows_off():
    """The keys of the reference in README.md that take "off" where YAML's is a truth value."""
    row = r'^\| `([a-z_.]+)` \|.*(?:or "off"|"trace", "off", .*)\*'
    rows = re.findall(row, (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) >= 6
    return [*rows, "routes.heartbeat"]


@pytest.mark.parametrize("key", knows_off())
@pytest.mark.parametrize("value", [False, True])
def test_an_off_without_quotes_is_told(key, value):
    values = value
    for part in reversed(key.split(".")):
        values = {part: [values] if part == "routes" else values}
    said = refused({"config": values})
    assert f"config.{key.replace('routes', 'routes[0]')} = {str(value).lower()}: without quotes" in said, said
    assert 'quote it: "off"' in said and said.count("\n- ") == 1


def test_all_mistakes_are_told_at_once():
    said = refused({"config": {"redis": {"password": "x"}, "drain": {"delay": "a", "window": "b"}}, "replicaCount": 5})
    assert said.count("\n- ") == 4, said


def merged(base, over):
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in base | over}


TOGETHER = [
    ({"ingress": {"enabled": True}}, "ingress.enabled without ingress.hosts: name one, such as"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.enabled without httpRoute.parentRefs"),
    (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "would scrape each replica twice",
    ),
    (
        {"autoscaling": {"enabled": True, "minReplicas": 13}},
        "autoscaling.minReplicas = 13 is more than autoscaling.maxReplicas = 12",
    ),
    ({"autoscaling": {"enabled": True, "connections": 1, "kind": "keda"}}, "set autoscaling.keda.prometheusUrl"),
    (
        {"autoscaling": {"enabled": True}, "resources": {"requests": None}},
        "autoscaling.cpu is a share of resources.requests.cpu",
    ),
    ({"podDisruptionBudget": {"minAvailable": 2}}, "podDisruptionBudget takes one of maxUnavailable and minAvailable"),
    ({"service": {"nodePort": 30000}}, "service.nodePort is for type NodePort or LoadBalancer"),
]


@pytest.mark.parametrize(("values", "told"), TOGETHER)
def test_what_does_not_go_together_is_told(values, told):
    assert told in refused(merged({"config": {"redis": {"url": "redis://a"}}}, values))


def test_autoscaling_by_nothing_is_told():
    assert "autoscaling has nothing to go by" in refused(
        {"autoscaling": {"enabled": True}}, "--set", "autoscaling.cpu=null,config.redis.url=redis://a"
    )


def test_a_name_that_no_service_can_have_is_told():
    done = attempt(release="1st")
    assert done.returncode != 0 and "1st-fanline cannot name a Service" in done.stderr
