"""Who gets in and out, and what watches."""

import re

import pytest
import yaml

from charts import CHART, FILES, attempt, copy_of_chart, rendered, with_values


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


def test_the_policy_lets_the_test_listen_where_not_everybody_may():
    public = rendered("production").one("NetworkPolicy")["spec"]["ingress"][0]
    test, ingress = public["from"]
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert ingress == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}


@pytest.mark.parametrize("name", FILES)
def test_no_policy_opens_the_internal_port_to_all(name):
    for policy in rendered(name).of("NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            ports = {port["port"] for port in rule.get("ports", [])}
            assert ports == {"public"} or rule["from"], policy["metadata"]["name"]


def test_the_policy_lets_out_to_dns_and_redis_only():
    def egress(name):
        return [
            ({(port["port"], port["protocol"]) for port in rule["ports"]}, rule.get("to"))
            for rule in rendered(name).one("NetworkPolicy")["spec"]["egress"]
        ]

    def tcp(*ports):
        return {(port, "TCP") for port in ports}

    dns = ({(53, "UDP"), (53, "TCP")}, None)
    assert egress("sentinel") == [dns, (tcp(6379, 26379, 26380), None)]
    assert egress("cluster") == [dns, (tcp(6379, 26379, 7000), None)]
    data = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}]
    assert egress("production") == [dns, (tcp(6379, 26379), data)]
    trial = with_values(
        {"networkPolicy": {"enabled": True}, "trialRedis": {"enabled": True}}, "--set", "config.redis.url="
    )
    to = trial.one("NetworkPolicy")["spec"]["egress"][1]["to"]
    assert to[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "redis"


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis://redis", {6379}),
        ("redis://redis:7777/3?x=:9", {7777}),
        ("rediss://fanline@redis:7777", {7777}),
        ("redis://[fd00::12]:6380", {6380}),
        ("redis://[fd00::12]", {6379}),
        (["redis://a:7001", "redis://[fd00::1:2]:7002/0"], {7001, 7002}),
        ("redis+sentinel://a:7001,b,[fd00::9]:7003/mymaster", {7001, 26379, 7003}),
        ("rediss+cluster://me@a:7001,b:7002", {7001, 7002}),
    ],
)
def test_the_policy_opens_the_ports_of_the_url_and_no_others(url, ports):
    values = {"networkPolicy": {"enabled": True, "redisPorts": []}, "config": {"redis": {"url": url}}}
    egress = with_values(values).one("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in egress[1]["ports"]} == ports


@pytest.mark.parametrize("name", FILES)
def test_no_door_leads_to_the_internal_port(name):
    manifests = rendered(name)
    fronts = {each["metadata"]["name"]: each["spec"] for each in manifests.of("Service") if opens(each, "internal")}
    assert {spec["type"] for spec in fronts.values()} == {"ClusterIP"}
    assert not [each for each in manifests.of("Service") if opens(each, "internal") and opens(each, "public")]
    for door in manifests.of("Ingress", "HTTPRoute"):
        assert not [front for front in fronts if f"'{front}'" in str(door["spec"])], door["kind"]


def opens(service, port):
    return port in [each["targetPort"] for each in service["spec"]["ports"]]


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


@pytest.mark.parametrize(
    ("file", "switch"), [("rules/fanline.yaml", "prometheusRule"), ("dashboards/fanline.json", "dashboard")]
)
def test_a_file_that_lacks_is_named(file, switch, copy_of_chart):
    (copy_of_chart / file).unlink(missing_ok=True)
    done = attempt(f"--set=monitoring.{switch}.enabled=true", chart=copy_of_chart)
    assert done.returncode != 0 and f"{file} is not in this chart" in done.stderr, done.stderr
