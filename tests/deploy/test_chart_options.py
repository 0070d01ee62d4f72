"""What can be switched on and off, and that each switch does what it says."""

import copy
import re

import pytest
import yaml

from charts import CHART, FILES, VALUES, attempt, copy_of_chart, parse, refused, rendered, with_values
from documented import documented


def merged(base, over):
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in base | over}


def switches(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from switches(value, (*path, key))
        elif isinstance(value, bool):
            yield ".".join((*path, key)), value


SWITCHES = [each for each in switches(yaml.safe_load((CHART / "values.yaml").read_text())) if "ecurityContext" not in each[0]]
NEEDS = {
    "trialRedis.enabled": ["config.redis.url="],
    "ingress.enabled": ["ingress.hosts[0].host=a.example.com"],
    "httpRoute.enabled": ["httpRoute.parentRefs[0].name=public"],
}


@pytest.mark.parametrize(("switch", "default"), SWITCHES)
def test_each_switch_makes_or_takes_away_an_object(switch, default):
    arguments = [f"--set={need}" for need in NEEDS.get(switch, [])]
    off, on = ({(each["kind"], each["metadata"]["name"]) for each in with_values({}, *arguments, f"--set={switch}={value}")} for value in ("false", "true"))
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
    ({"ingress": {"hosts": [{"host": "a", "paths": [{"path": "/", "pathType": "prefix"}]}]}}, "/ingress/hosts/0/paths/0/pathType"),
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
]


@pytest.mark.parametrize(("values", "told"), TYPOS)
def test_a_typo_is_refused_by_the_schema(values, told):
    said = refused(values)
    assert "values don't meet the specifications of the schema" in said and told in said, said


MISTAKES = [
    ({"ingress": {"enabled": True}}, "ingress.enabled without ingress.hosts: name one, such as"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.enabled without httpRoute.parentRefs"),
    ({"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "would scrape each replica twice"),
    ({"autoscaling": {"enabled": True, "minReplicas": 13}}, "autoscaling.minReplicas = 13 is more than autoscaling.maxReplicas = 12"),
    ({"autoscaling": {"enabled": True, "connections": 1, "kind": "keda"}}, "set autoscaling.keda.prometheusUrl"),
    ({"autoscaling": {"enabled": True}, "resources": {"requests": None}}, "autoscaling.cpu is a share of resources.requests.cpu"),
    ({"podDisruptionBudget": {"minAvailable": 2}}, "podDisruptionBudget takes one of maxUnavailable and minAvailable"),
    ({"service": {"ipFamilies": ["IPv6"]}}, "hear IPv4 only: write \"[::]:8080\""),
    ({"service": {"nodePort": 30000}}, "service.nodePort is for type NodePort or LoadBalancer"),
]


@pytest.mark.parametrize(("values", "told"), MISTAKES)
def test_what_does_not_go_together_is_told(values, told):
    assert told in refused(merged({"config": {"redis": {"url": "redis://a"}}}, values))


def test_autoscaling_by_nothing_is_told():
    assert "autoscaling has nothing to go by" in refused({"autoscaling": {"enabled": True}}, "--set", "autoscaling.cpu=null,config.redis.url=redis://a")


def test_a_name_that_no_service_can_have_is_told():
    done = attempt(release="1st")
    assert done.returncode != 0 and "1st-fanline cannot name a Service" in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_replicas_are_said_in_one_place(name):
    manifests = rendered(name)
    scaled = manifests.of("HorizontalPodAutoscaler", "ScaledObject")
    assert len(scaled) <= 1
    assert ("replicas" in manifests.one("Deployment")["spec"]) is not bool(scaled)


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
        "pods": {"metric": {"name": "fanline_connections"}, "target": {"type": "AverageValue", "averageValue": "50000"}},
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
    assert re.fullmatch(pods, "rel-fanline-6d4b75cb6d-x2vq7") and not re.fullmatch(pods, "rel-fanline-two-6d4b75cb6d-x2vq7")
    assert metadata["threshold"] == "20000"


def test_the_policy_opens_the_internal_port_to_few():
    policy = with_values({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    public, internal = policy["ingress"]
    assert public["ports"] == [{"port": "public", "protocol": "TCP"}]
    assert internal["ports"] == [{"port": "internal", "protocol": "TCP"}]
    test, monitoring, producers = internal["from"]
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert monitoring == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert producers == {"podSelector": {"matchLabels": {"fanline/producer": "true"}}}


@pytest.mark.parametrize("name", FILES)
def test_no_policy_opens_the_internal_port_to_all(name):
    for policy in rendered(name).of("NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            ports = {port["port"] for port in rule.get("ports", [])}
            assert ports == {"public"} or rule["from"], policy["metadata"]["name"]


def test_the_policy_lets_out_to_dns_and_redis_only():
    def egress(name):
        return [({(port["port"], port["protocol"]) for port in rule["ports"]}, rule.get("to")) for rule in rendered(name).one("NetworkPolicy")["spec"]["egress"]]

    def tcp(*ports):
        return {(port, "TCP") for port in ports}

    dns = ({(53, "UDP"), (53, "TCP")}, None)
    assert egress("sentinel") == [dns, (tcp(6379, 26379, 26380), None)]
    assert egress("cluster") == [dns, (tcp(6379, 26379, 7000), None)]
    data = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}]
    assert egress("production") == [dns, (tcp(6379, 26379), data)]
    trial = with_values({"networkPolicy": {"enabled": True}, "trialRedis": {"enabled": True}}, "--set", "config.redis.url=")
    to = trial.one("NetworkPolicy")["spec"]["egress"][1]["to"]
    assert to[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "redis"


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_sticky(name):
    for service in rendered(name).of("Service"):
        assert "sessionAffinity" not in service["spec"]
    for door in rendered(name).of("Ingress", "HTTPRoute"):
        assert not re.search("affinity|sticky|sessionPersistence", str(door), re.IGNORECASE)


def test_the_ingress_leaves_a_websocket_alone():
    annotations = rendered("tls").one("Ingress")["metadata"]["annotations"]
    for key in ("proxy-read-timeout", "proxy-send-timeout"):
        assert int(annotations[f"nginx.ingress.kubernetes.io/{key}"]) > 4 * 25
    assert annotations["cert-manager.io/cluster-issuer"] == "letsencrypt"


def test_the_route_lets_a_websocket_last():
    route = with_values({"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}).one("HTTPRoute")
    rule = route["spec"]["rules"][0]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert rule["backendRefs"] == [{"name": "rel-fanline", "port": 80}]


def test_rules_and_dashboard_are_the_charts_files():
    manifests = rendered("production")
    rules = yaml.safe_load((CHART / "rules" / "fanline.yaml").read_text())
    assert manifests.one("PrometheusRule")["spec"] == rules
    dashboard = next(each for each in manifests.of("ConfigMap") if "fanline.json" in each["data"])
    assert dashboard["data"]["fanline.json"].strip() == (CHART / "dashboards" / "fanline.json").read_text().strip()
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize(("file", "switch"), [("rules/fanline.yaml", "prometheusRule"), ("dashboards/fanline.json", "dashboard")])
def test_a_file_that_lacks_is_named(file, switch, copy_of_chart):
    (copy_of_chart / file).unlink(missing_ok=True)
    done = attempt(f"--set=monitoring.{switch}.enabled=true", chart=copy_of_chart)
    assert done.returncode != 0 and f"{file} is not in this chart" in done.stderr, done.stderr
