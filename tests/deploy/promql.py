"""What an expression names, and whether it exists: the README's table of metrics and the rules' own records are the measure."""

import functools
import json
import re

import yaml
from conftest import CHART, ROOT

RULES = CHART / "rules" / "fanline.yaml"
DASHBOARD = CHART / "dashboards" / "fanline.json"
# An alert: a record, an operator, a number.
FORM = re.compile(r"(\w+:\w+:\w+) (==|<|>) ([0-9.]+)")

# What Prometheus itself makes: by scraping, and by the rules' alerts.
MADE = {"up": {}, "ALERTS": {"alertstate": {"firing", "pending"}}}
# What is published for one histogram.
PARTS = {"bucket", "sum", "count"}


@functools.cache
def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def rules(kind):
    """The rules that are an `alert`, or a `record`."""
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def panels():
    """The dashboard's panels, headings apart."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def filled(expression, window="5m"):
    """An expression of the dashboard, as Grafana sends it while everything is chosen."""
    for variable, value in (("$__rate_interval", window), ("$namespace", ".*"), ("$job", ".*"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression


@functools.cache
def metrics():
    """Every metric of the README's table, with its labels and what values they may have; None where any."""
    readme = (ROOT / "README.md").read_text()
    table = readme.split("<!-- generated: metrics -->")[1].split("<!-- end -->")[0]
    known = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", table, re.M):
        label, *values = re.findall(r"`(.*?)`", labels) or [None]
        closed = {label: None if values == ["…"] else set(values)} if label else {}
        known |= {f"{name}_{part}": closed for part in PARTS} if kind == "histogram" else {name: closed}
    return known


def unknown(expression):
    """What an expression names that is not there: metrics, records, labels' values."""
    known = metrics() | MADE | {rule["record"]: None for rule in rules("record")}
    wrong = []
    for name, matchers in re.findall(r"\b((?:fanline|process)_\w+|up|ALERTS|\w+:\w+:\w+)\b(?:\{([^}]*)\})?", expression):
        if name not in known:
            wrong.append(name)
            continue
        for label, operator, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
            closed = (known[name] or {}).get(label)
            values = text.split("|") if "~" in operator else [text]
            wrong += [f'{name}{{{label}="{value}"}}' for value in values if closed is not None and value not in closed]
    return wrong
