"""docker-compose.yml is read by the library that `docker compose` reads it with, and each file that it mounts by the
program that gets it there. What it says twice, and what `make up` says again, agrees."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, need, run
from world import SETTINGS as OF_MAKE_UP, gateway_binary, seconds

STACK = ROOT / "examples" / "stack"
SLOTS = range(1, 9)


def load(*flags, **environment):
    """The project as Compose understands it: schema, defaults of variables, paths, references between its parts."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return yaml.safe_load(run(need("compose-spec"), *flags, ROOT / "docker-compose.yml", env=clean | environment, cwd=ROOT))


SETTINGS = ["API_KEY", "GRAFANA_PASSWORD", "COMPOSE_PROJECT_NAME", "BALANCER_PORT", "API_PORT", "STATS_PORT"]
SETTINGS += ["REDIS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"]


@pytest.fixture(scope="module", name="services")
def services_():
    return load()["services"]


def config(key):
    """What holds in the replicas of the stack, by the gateway itself."""
    printed = run(gateway_binary(), "print-config", "--config", STACK / "fanline.toml")
    section, name = key.split(".")
    body = re.search(rf"^\[{section}\]\n(.*?)(?=^\[|\Z)", printed, re.M | re.S)[1]
    return re.search(rf"^{name} = \"?([^\"\n]*)", body, re.M)[1]


def root_of(services, name, folder):
    """What a container of this service finds mounted, below a folder of ours."""
    for volume in services[name].get("volumes", []):
        if volume["type"] == "bind":
            place = folder / volume["target"].lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(volume["source"])
    return folder


def test_every_mounted_file_is_there_and_cannot_be_changed_from_inside(services):
    binds = [volume for one in services.values() for volume in one.get("volumes", []) if volume["type"] == "bind"]
    assert len(binds) > 8
    for volume in binds:
        # A folder without files would be one that Docker had made itself.
        source = Path(volume["source"])
        assert source.is_file() or any(source.iterdir()), source
        assert volume["read_only"], source


def test_images_have_a_version_and_ours_is_built_from_here(services):
    assert services["fanline"]["build"]["context"] == str(ROOT)
    for name in services.keys() - {"fanline"}:
        one = services[name]
        assert re.search(r":v?\d+\.\d+\.\d+", one["image"]), f"{name}: {one['image']}: expected a full version"


def test_the_charts_redis_for_trials_is_the_same(services):
    chart = yaml.safe_load((ROOT / "helm/fanline/values.yaml").read_text())["trialRedis"]["image"]
    assert chart == f"docker.io/library/{services['redis']['image']}", "one of them is older"


def test_only_this_machine_reaches_it_and_containers_may_do_nothing(services):
    for name, one in services.items():
        assert all(port["host_ip"] == "127.0.0.1" for port in one.get("ports", [])), name
        assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name


def test_replicas_and_the_balancer_are_left_the_time_that_a_drain_takes(services):
    drain = seconds(config("drain.delay")) + seconds(config("drain.window"))
    for name in ("fanline", "haproxy"):
        assert seconds(services[name]["stop_grace_period"]) >= drain + 10, name
    # What a service depends on is stopped after it.
    assert "fanline" not in services["haproxy"].get("depends_on", {}), "HAProxy would be stopped before the drain"


def test_the_gateway_accepts_its_configuration(services):
    assert services["fanline"]["volumes"][0]["target"] == "/etc/fanline/fanline.toml", "the image's working directory"
    environment = os.environ | services["fanline"]["environment"]
    run(gateway_binary(), "check-config", "--config", STACK / "fanline.toml", env=environment)


def test_haproxy_accepts_its_configuration(services, tmp_path):
    inside = root_of(services, "haproxy", tmp_path) / "usr/local/etc/haproxy"
    environment = os.environ | services["haproxy"]["environment"] | {"PAGE": str(inside / "page.html")}
    run(need("haproxy"), "-c", "-f", inside / "haproxy.cfg", env=environment)


def test_haproxy_has_a_slot_for_each_replica_that_there_may_be(services):
    named = services["haproxy"]["environment"]
    assert named == {f"REPLICA_{slot}": f"fanline-fanline-{slot}" for slot in SLOTS}
    moved = load(COMPOSE_PROJECT_NAME="other")["services"]["haproxy"]["environment"]
    assert moved["REPLICA_1"] == "other-fanline-1"
    text = (STACK / "haproxy.cfg").read_text()
    for slot in SLOTS:
        assert f'server r{slot} "${{REPLICA_{slot}}}:${{PUBLIC_{slot}-8080}}" check port "${{INTERNAL_{slot}-8081}}"' in text
        assert f'server r{slot} "${{REPLICA_{slot}}}:${{INTERNAL_{slot}-8081}}" track fanline/r{slot}' in text
    assert services["fanline"]["deploy"]["replicas"] < len(SLOTS)


def test_haproxy_waits_longer_than_a_heartbeat_and_notices_a_drain_in_time():
    text = (STACK / "haproxy.cfg").read_text()
    heartbeat = seconds(config("heartbeat.every"))
    for timeout in ("client", "server", "tunnel"):
        found = re.search(rf"timeout {timeout} (\S+)", text)[1]
        assert seconds(found) > 2 * heartbeat, f"timeout {timeout} {found}"
    inter, fall = re.search(r"inter (\S+) fall (\d+)", text).groups()
    assert 2 * seconds(inter) * int(fall) < seconds(config("drain.delay"))
    assert "option httpchk GET /readyz\n" in text, "with ?strict, Redis' outage would eject everybody"
    # Its heartbeats are what keeps an idle connection; without, it would be cut.
    assert config("heartbeat.every") != "off"


def test_prometheus_accepts_its_configuration_and_scrapes_whom_compose_starts(services, tmp_path):
    inside = root_of(services, "prometheus", tmp_path) / "etc/prometheus"
    said = run(need("promtool"), "check", "config", inside / "prometheus.yml")
    assert "rules found" in said, "no rules are mounted"
    config = yaml.safe_load((inside / "prometheus.yml").read_text())
    fanline, balancer = config.pop("scrape_configs")
    # The service's name stands for all of its containers, so that whoever scales has nothing to write.
    [found] = fanline["dns_sd_configs"]
    assert found["names"] == ["fanline"] and "fanline" in services and found["type"] == "A"
    listen = (STACK / "fanline.toml").read_text().split("[internal]")[1]
    assert f'listen = "0.0.0.0:{found["port"]}"' in listen
    assert balancer["static_configs"] == [{"targets": ["haproxy:8404"]}]
    # The two files differ in whom they scrape, and in nothing else.
    other = yaml.safe_load((STACK / "prometheus.yml").read_text())
    assert [job["job_name"] for job in other.pop("scrape_configs")] == [fanline["job_name"], balancer["job_name"]]
    assert config == other


def test_grafana_finds_the_dashboard_and_prometheus(services, tmp_path):
    inside = root_of(services, "grafana", tmp_path)
    provisioning = inside / "etc/grafana/provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards/fanline.yml").read_text())["providers"]
    [source] = yaml.safe_load((provisioning / "datasources/fanline.yml").read_text())["datasources"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    dashboard = json.loads((inside / home.lstrip("/")).read_text())
    assert dashboard["panels"]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"]


def test_the_key_and_the_ports_come_from_the_environment():
    """compose-spec puts defaults in only, so this reads what stands before."""
    services = load("-no-interpolation")["services"]
    key = "${API_KEY:-for-trials-only}"
    assert services["fanline"]["environment"]["FANLINE_INTERNAL__API_KEYS"] == f"producer:{key}"
    assert services["producer"]["environment"]["API_KEY"] == key
    ports = [port for one in services.values() for port in one.get("ports", [])]
    names = [re.fullmatch(r"127\.0\.0\.1:\$\{([A-Z]+_PORT):-\d+\}:\d+", port)[1] for port in ports]
    assert sorted(names) == sorted(name for name in SETTINGS if name.endswith("_PORT"))


def test_make_up_takes_the_same_ports_key_and_number_of_replicas(services):
    published = {int(port["published"]) for one in services.values() for port in one.get("ports", [])}
    assert published == set(OF_MAKE_UP.PORTS.values()) | {3000}, "Grafana is in Compose alone"
    assert OF_MAKE_UP.SLOTS == SLOTS
    text = (STACK / "settings.py").read_text()
    assert services["producer"]["environment"]["API_KEY"] in text
    assert OF_MAKE_UP.replicas() == services["fanline"]["deploy"]["replicas"]


def test_the_page_comes_back_as_the_readme_says():
    block = re.search(r"```js json\n(.*?)\n```", (ROOT / "README.md").read_text(), re.S)[1]
    listen = block.split("\n\n")[0]
    assert listen.startswith("function listen(") and listen.endswith("}")
    indented = "\n".join(f"  {line}" if line else line for line in listen.split("\n"))
    assert indented in (STACK / "page.html").read_text()


def test_the_commands_of_the_file_are_those_of_its_ports(services):
    head = (ROOT / "docker-compose.yml").read_text().split("\nname:")[0]
    published = {port["published"] for one in services.values() for port in one.get("ports", [])}
    assert set(re.findall(r"127\.0\.0\.1:(\d+)|-p (\d+)", head)) <= {(port, "") for port in published} | {("", "6400")}
