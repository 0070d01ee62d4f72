"""Rules and dashboard before a Prometheus that scrapes real gateways, and their pages before promtool."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, need
from live import ask
from programs import Gateway, Prometheus, RedisServer
from promql import FORM, RULES, rules
from world import until


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
def fleet(where):
    """Two gateways on one Redis."""
    with RedisServer(where) as bus:
        url = f"--redis-url={bus.url}"
        with Gateway(where, "one", "", url) as one, Gateway(where, "two", "", url) as two:
            yield one.ready(), two.ready()


def live(url, deadline):
    command = [sys.executable, ROOT / "tests/deploy/live.py", "--prometheus", url, "--deadline", str(deadline)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_expression_has_a_series_and_no_alert_fires(where, fleet):
    with Prometheus(where, {"any": fleet}) as one:
        done = live(one.url, 60)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert ask(one.url, "alerts")["alerts"] == []


def test_a_rule_that_answers_nothing_is_named(tmp_path, fleet):
    broken = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in broken["groups"] for rule in group["rules"]):
        if rule.get("record") == "replica:fanline_up:bool":
            rule["expr"] = "fanline_nothing"
    broken["groups"] = [group for group in broken["groups"] if group["name"] != "fanline-loss"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(broken))
    with Prometheus(tmp_path, {"any": fleet}, rules=tmp_path / "rules.yaml") as one:
        done = live(one.url, 6)
    assert done.returncode == 1
    assert "no series: alert FanlineReplicaDown: replica:fanline_up:bool" in done.stdout
    assert "no series: alert FanlineLossAnnounced: it is not loaded" in done.stdout
    assert "no series: alert FanlineAbsent" not in done.stdout


def test_every_alert_can_be_told(tmp_path, fleet):
    """Without their comparisons all of them fire, so that Prometheus fills in their texts."""
    loud = yaml.safe_load(RULES.read_text())
    for alert in (rule for group in loud["groups"] for rule in group["rules"] if "alert" in rule):
        alert |= {"expr": FORM.fullmatch(alert["expr"])[1], "for": "0s"}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(loud))
    with Prometheus(tmp_path, {"any": fleet}, rules=tmp_path / "rules.yaml") as one:
        names = {alert["alert"] for alert in rules("alert")}
        until("all fire", lambda: {alert["labels"]["alertname"] for alert in ask(one.url, "alerts")["alerts"]} == names)
        for alert in ask(one.url, "alerts")["alerts"]:
            told = " ".join(alert["annotations"].values())
            assert not re.search(r"<error|<no value>|%!|\{\{| of :| of \.|\s\s|: \.", told), told


def test_a_prometheus_that_does_not_answer_is_said():
    done = live("http://127.0.0.1:1", 5)
    assert done.returncode == 1
    assert done.stderr.startswith("http://127.0.0.1:1 does not answer:"), done.stderr


def promtool_on(page):
    return subprocess.run([need("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False)


def test_promtool_finds_nothing_to_say_of_the_metrics(fleet):
    page = fleet[0].ask("/metrics")
    done = promtool_on(page)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert promtool_on(page.replace("fanline_gaps_total", "fanline_gaps")).returncode == 3
