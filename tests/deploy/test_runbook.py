"""The runbook has a section for each alert and none besides, and what it names exists."""

import re

import pytest
import yaml
from conftest import CHART, ROOT, need, run
from promql import rules, unknown

PAGE = (CHART / "RUNBOOK.md").read_text()
TITLE, *PARTS = re.split(r"^## (\w+)$", PAGE, flags=re.M)
SECTIONS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
QUERIES = re.findall(r"^```promql\n(.*?)^```", PAGE, re.M | re.S)
HEADS = ["Means", "Clients", "Look", "Do", "Later"]

# What the runbook quotes of the log, as src has it.
LOGGED = (
    "no link; trying again",
    "the connection was closed",
    "the canary is overdue",
    "Redis refuses SUBSCRIBE; its topics stay pending",
    "malformed publication",
    "publication above its topic rule's",
    "a plain PUBLISH on a topic with history",
    "the new configuration is not used, the old one stays in force",
    "the drain window is over, the rest is cut",
    "cannot accept: raise the descriptor limit",
    "connection closed",
)


def test_every_alert_has_its_section_and_every_section_its_alert():
    assert sorted(SECTIONS) == sorted(alert["alert"] for alert in rules("alert"))


@pytest.mark.parametrize("alert", rules("alert"), ids=lambda alert: alert["alert"])
def test_a_section_says_how_bad_it_is_and_answers_five_questions(alert):
    section = SECTIONS[alert["alert"]]
    assert section.split()[0] == alert["labels"]["severity"]
    assert re.findall(r"^- \*\*(\w+)", section, re.M) == HEADS
    assert "```promql" in section, "no query"


def test_links_lead_somewhere():
    anchors = {f"#{name.lower()}" for name in SECTIONS}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target in anchors if target.startswith("#") else (CHART / target.split("#")[0]).resolve().exists(), target


def test_promtool_reads_every_query_and_what_it_asks_for_exists(tmp_path):
    asked = [{"record": f"runbook:query:{n}", "expr": query} for n, query in enumerate(QUERIES)]
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    run(need("promtool"), "check", "rules", tmp_path / "asked.yaml")
    assert not [name for query in QUERIES for name in unknown(query)]


def test_settings_and_metrics_that_are_named_exist():
    readme = (ROOT / "README.md").read_text()
    settings = set(re.findall(r"^\| `([a-z_.]+)` \|", readme, re.M))
    houses = {setting.split(".")[0] for setting in settings if "." in setting}
    told = {word for word in re.findall(r"`([a-z_]+\.[a-z_.]+)`", PAGE) if word.split(".")[0] in houses}
    assert told, "the page names no settings any more?"
    assert not told - settings
    assert not [name for text in re.findall(r"`(fanline_\w+[^`]*)`", PAGE) for name in unknown(text)]


def test_what_is_quoted_of_the_log_is_logged():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    for text in LOGGED:
        assert f"`{text}" in PAGE, f"{text!r} is in the runbook no more"
        assert text in source, f"{text!r} is logged no more"
