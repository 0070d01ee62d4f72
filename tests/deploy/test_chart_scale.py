"""How many replicas there are, and how they come and go."""

import re

import pytest

from charts import FILES, rendered, with_values


@pytest.mark.parametrize("name", FILES)
def test_replicas_are_said_in_one_place(name):
    manifests = rendered(name)
    scaled = manifests.of("HorizontalPodAutoscaler", "ScaledObject")
    assert len(scaled) <= 1
    assert ("replicas" in manifests.one("Deployment")["spec"]) is not bool(scaled)


def test_a_node_that_empties_takes_one_replica_at_a_time():
    spec = rendered("minimal").one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    # One that is not ready may hold clients.
    assert spec["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"
    spec = rendered("everything").one("PodDisruptionBudget")["spec"]
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["minAvailable"] == "75%" and "maxUnavailable" not in spec


def test_recreating_rolls_nothing():
    assert rendered("alone").one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_roll_never_takes_a_replica_before_the_next_is_there():
    strategy = rendered("minimal").one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_the_autoscaler_goes_by_cpu_and_down_slowly():
    spec = with_values({"autoscaling": {"enabled": True}}).one("HorizontalPodAutoscaler")["spec"]
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    assert spec["metrics"] == [cpu]
    down = spec["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600 and down["selectPolicy"] == "Min"
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]


def test_the_autoscaler_goes_by_connections_where_asked():
    metrics = rendered("production").one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metrics[1] == {
        "type": "Pods",
        "pods": {
            "metric": {"name": "fanline_connections"},
            "target": {"type": "AverageValue", "averageValue": "50000"},
        },
    }


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_scaled_by_memory(name):
    for scaled in rendered(name).of("HorizontalPodAutoscaler", "ScaledObject"):
        assert "memory" not in str(scaled["spec"])


def test_keda_asks_prometheus_for_this_releases_replicas():
    manifests = rendered("keda")
    triggers = {each["type"]: each for each in manifests.one("ScaledObject")["spec"]["triggers"]}
    assert triggers.keys() == {"cpu", "prometheus", "cron"}
    metadata = triggers["prometheus"]["metadata"]
    pods = re.fullmatch(r'sum\(fanline_connections\{namespace="apps",pod=~"(.*)"\}\)', metadata["query"])[1]
    assert re.fullmatch(pods, "rel-fanline-6d4b75cb6d-x2vq7") and not re.fullmatch(
        pods, "rel-fanline-two-6d4b75cb6d-x2vq7"
    )
    assert metadata["threshold"] == "20000"
