"""What every pod of the chart is and is not, whatever the values."""

import re

import pytest

from charts import FILES, containers, helm, parse, rendered, text_of, with_values

RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.parametrize("name", FILES)
def test_every_pod_keeps_to_the_restricted_profile(name):
    pods = list(rendered(name).pods())
    assert len(pods) >= (1 if name == "alone" else 2), "the gateway's and the test's"
    for pod, _, spec in pods:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), pod
        for container in containers(spec):
            assert RESTRICTED.items() <= container["securityContext"].items(), f"{pod}: {container['name']}"
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= {"configMap", "projected", "csi", "emptyDir"}, f"{pod}: {volume}"


@pytest.mark.parametrize("name", FILES)
def test_no_pod_has_a_token(name):
    for pod, _, spec in rendered(name).pods():
        assert spec["automountServiceAccountToken"] is False, pod
    for account in rendered(name).of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", FILES)
def test_only_the_test_pod_is_told_of_services(name):
    for pod, _, spec in rendered(name).pods():
        assert spec["enableServiceLinks"] is pod.endswith("-test"), pod


@pytest.mark.parametrize("name", FILES)
def test_nobody_sleeps_before_the_end(name):
    assert "sleep" not in text_of(name)
    for _, _, spec in rendered(name).pods():
        assert not [each for each in containers(spec) if "lifecycle" in each]


@pytest.mark.parametrize("name", FILES)
def test_each_selector_finds_the_pods_it_means_and_no_others(name):
    manifests = rendered(name)
    means = {"Deployment": {"gateway": "gateway", "redis": "redis"}, "PodDisruptionBudget": {"gateway": "gateway"}}
    means["Service"] = {"public": "gateway", "internal": "gateway", "headless": "gateway", "redis": "redis"}
    means["NetworkPolicy"] = means["Deployment"]
    means["PodMonitor"] = means["PodDisruptionBudget"]
    for manifest in manifests.of(*means):
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        found = {meta["labels"]["app.kubernetes.io/component"] for meta in selected(manifests, selector(manifest))}
        assert found == {means[manifest["kind"]][component]}, manifest["metadata"]["name"]


def selector(manifest):
    selector = manifest["spec"].get("podSelector", manifest["spec"].get("selector"))
    return selector.get("matchLabels", selector)


def selected(manifests, wanted):
    return [meta for _, meta, _ in manifests.pods() if wanted.items() <= meta["labels"].items()]


def test_a_service_monitor_finds_one_service():
    manifests = rendered("everything")
    wanted = selector(manifests.one("ServiceMonitor"))
    found = [each for each in manifests.of("Service") if wanted.items() <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"][-9:] for each in found] == ["-internal"]
    assert {port["name"] for port in found[0]["spec"]["ports"]} == {"internal"}


@pytest.mark.parametrize("name", FILES)
def test_names_and_labels_are_short_enough(name):
    for manifest in rendered(name):
        meta = manifest["metadata"]
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", meta["name"]), meta["name"]
        for label in [*meta.get("labels", {}).values()]:
            assert re.fullmatch(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?", label), label


def test_a_long_release_name_is_cut():
    # As long as Helm allows.
    for manifest in parse(
        helm(
            "--set=trialRedis.enabled=true,internalService.headless=true,monitoring.dashboard.enabled=true",
            release="a" * 53,
        )
    ):
        assert len(manifest["metadata"]["name"]) <= 63, manifest["metadata"]["name"]


def test_the_gateway_is_watched_on_its_internal_port():
    container = rendered("minimal").gateway()["spec"]["containers"][0]
    asks = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asks == {
        "startupProbe": {"path": "/livez", "port": "internal"},
        "livenessProbe": {"path": "/livez", "port": "internal"},
        # Not ?strict: an outage of Redis for all ejects nobody.
        "readinessProbe": {"path": "/readyz", "port": "internal"},
    }
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"public": 8080, "internal": 8081}


def test_a_replica_names_itself():
    # By its host's name, which is the pod's, and six characters more: a container that restarts in its pod gives out
    # other connection ids than before.
    container = rendered("minimal").gateway()["spec"]["containers"][0]
    assert "env" not in container and "replica" not in rendered("minimal").toml()


def test_what_is_the_operators_own_comes_through():
    pod = rendered("everything").gateway()
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert pod["metadata"]["labels"]["tier"] == "edge" and pod["metadata"]["labels"]["team"] == "realtime"
    assert pod["metadata"]["annotations"]["example.com/note"] == "here"
    assert {"name": "FANLINE_LOG__LEVEL", "value": "debug"} in container["env"]
    assert container["envFrom"] == [{"configMapRef": {"name": "more", "optional": True}}]
    assert "/etc/ssl/own" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert [each["name"] for each in spec["initContainers"]] == ["first"]
    assert [each["name"] for each in spec["containers"]] == ["fanline", "beside"]
    assert {each["name"] for each in spec["securityContext"]["sysctls"]} == {
        "net.core.somaxconn",
        "net.ipv4.ip_local_port_range",
    }
    assert spec["priorityClassName"] == "high" and spec["nodeSelector"] and spec["tolerations"] and spec["dnsConfig"]
    assert container["image"].startswith("registry.example.com/fanline@sha256:")


def test_openshift_chooses_the_user_where_none_is_named():
    assert rendered("gateway").gateway()["spec"]["securityContext"].keys() == {
        "runAsNonRoot",
        "fsGroupChangePolicy",
        "seccompProfile",
    }


def test_replicas_keep_off_each_other():
    def affinity(values):
        return with_values(values).gateway()["spec"].get("affinity", {}).get("podAntiAffinity")

    assert "preferredDuringSchedulingIgnoredDuringExecution" in affinity({})
    assert "requiredDuringSchedulingIgnoredDuringExecution" in affinity({"antiAffinity": "required"})
    assert affinity({"antiAffinity": "off"}) is None
    own = {"preferredDuringSchedulingIgnoredDuringExecution": []}
    assert affinity({"affinity": {"podAntiAffinity": own}}) == own


def test_replicas_spread_over_zones_and_nodes():
    spread = rendered("minimal").gateway()["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    labels = rendered("minimal").gateway()["metadata"]["labels"]
    assert all(each["labelSelector"]["matchLabels"].items() <= labels.items() for each in spread)
    assert "topologySpreadConstraints" not in with_values({"topologySpreadConstraints": []}).gateway()["spec"]


def test_the_labels_of_pods_name_no_version_of_the_chart():
    for pod, meta, _ in rendered("trial").pods():
        assert pod.endswith("-test") or "helm.sh/chart" not in meta["labels"], pod
