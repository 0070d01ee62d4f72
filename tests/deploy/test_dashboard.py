"""The dashboard is what its source says, Grafana's own types can read it, and everything it asks for exists."""

import json
import os
import re

import pytest
import yaml
from conftest import need, run
from dashboard.page import MARKS, text
from dashboard.panels_work import OURS
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from promql import DASHBOARD, filled, metrics, panels, rules, unknown

if os.environ.get("UPDATE_DASHBOARD"):
    DASHBOARD.write_text(text())
BOARD = json.loads(DASHBOARD.read_text())
ASKED = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel.get("targets", [])]
ASKED += [(mark["name"], mark["expr"]) for mark in BOARD["annotations"]["list"]]


def test_the_file_is_what_its_source_says():
    assert DASHBOARD.read_text() == text(), (
        "helm/fanline/dashboards/fanline.json is written from tests/deploy/dashboard: change it there, then run"
        " UPDATE_DASHBOARD=1 tests/.tools/venv/bin/python -m pytest tests/deploy/test_dashboard.py"
    )


def test_grafanas_types_know_every_field():
    register_default_plugins()
    board = json.loads(DASHBOARD.read_text())
    for mark in board["annotations"]["list"]:
        for key in MARKS[mark["name"]]:
            del mark[key]
    read = Dashboard.from_json(json.loads(json.dumps(board)))
    assert json.loads(JSONEncoder().encode(read)) == board


def test_panels_have_their_own_number_and_place():
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = {}
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for place in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert place not in taken, f"{panel['title']} lies on {taken[place]}"
            taken[place] = panel["title"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_explains_itself(panel):
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["description"].endswith("."), "no description"
    assert defaults["unit"], "no unit"
    assert panel["type"] == "heatmap" or defaults["thresholds"]["steps"][0]["value"] is None
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"], "asks nothing"
    for target in panel["targets"]:
        assert target["legendFormat"], "no legend"
        assert target["datasource"]["uid"] == "${datasource}"


def test_titles_are_told_apart():
    titles = [panel["title"] for panel in BOARD["panels"]]
    assert sorted(set(titles)) == sorted(titles)


def test_promtool_reads_every_expression(tmp_path):
    asked = [{"record": f"dashboard:query:{n}", "expr": filled(expression)} for n, (_, expression) in enumerate(ASKED)]
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    run(need("promtool"), "check", "rules", tmp_path / "asked.yaml")


@pytest.mark.parametrize(("title", "expression"), ASKED, ids=[f"{n}-{title}" for n, (title, _) in enumerate(ASKED)])
def test_an_expression_names_what_exists_and_what_was_chosen(title, expression):
    assert not unknown(expression)
    if "process_" in expression:
        assert OURS in expression, f"{title}: of other programs, too"
    for name, matchers in re.findall(r"\b((?:fanline|process)_\w+)(\{[^}]*\})?", expression.replace(OURS, "")):
        chosen = all(f'{label}=~"${label}"' in matchers for label in ("namespace", "job", "instance"))
        assert chosen, f"{title}: {name}{matchers} shows what was not chosen"


def test_counters_are_asked_for_their_rate():
    for title, expression in ASKED:
        for before, name in re.findall(r"(\w*\(?)\b(\w+_(?:total|bucket|count))\{", expression):
            assert before in ("rate(", "increase("), f"{title}: {name} grows for ever"
        assert set(re.findall(r"\[(.*?)\]", expression)) <= {"$__rate_interval"}, title


def test_variables_do_without_labels_that_nobody_has():
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job", "instance"]
    for name in ("namespace", "job", "instance"):
        assert variables[name]["includeAll"] and variables[name]["allValue"] == ".*", name


def test_every_metric_is_shown():
    shown = " ".join(expression for _, expression in ASKED)
    base = {re.sub("_(bucket|sum|count)$", "", name) for name in metrics() if name.startswith("fanline_")}
    assert not [name for name in sorted(base) if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)]


def test_thresholds_are_those_of_the_alerts():
    """A dashed line that no alert has would be a second opinion."""
    numbers = {float(rule["expr"].split()[-1]) for rule in rules("alert")}
    also = {1.0, 1.3, 0.5, 1209600.0, 259200.0, 0.1}  # full; 30 % above the mean; half; 14 and 3 days; one gap in ten seconds
    for panel in panels():
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        assert {step["value"] for step in steps[1:]} <= numbers | also, panel["title"]
