"""The rules as promtool reads them, their tests, and that every number in them is held by one."""

import functools
import re

import pytest
import yaml
from conftest import ROOT, need, run
from promql import FORM, RULES, groups, rules, unknown
from world import seconds

CASES = sorted((ROOT / "tests/deploy/rules").glob("*.yaml"))
ALERTS = {rule["alert"]: rule for rule in rules("alert")}
PAGE = "helm/fanline/RUNBOOK.md"
RECORD = re.compile(r"\w+:\w+:\w+")


def test_promtool_reads_the_rules():
    run(need("promtool"), "check", "rules", RULES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_fire_and_resolve(case):
    run(need("promtool"), "test", "rules", case)


def test_alerts_compare_one_record_with_one_number():
    records = {rule["record"] for rule in rules("record")}
    for name, alert in ALERTS.items():
        form = FORM.fullmatch(alert["expr"])
        assert form and form[1] in records, f"{name}: {alert['expr']!r} is not `record operator number`"


def test_alerts_say_what_an_operator_needs():
    assert len(ALERTS) == len(rules("alert")), "an alert's name twice"
    for name, alert in ALERTS.items():
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        said = alert["annotations"]
        assert said.keys() == {"summary", "description", "runbook_url"}, name
        assert said["summary"].endswith(".") and said["description"].endswith("."), name
        assert said["runbook_url"] == f"{PAGE}#{name.lower()}", name


def test_rules_name_what_exists():
    wrong = {rule.get("record", rule.get("alert")): unknown(rule["expr"]) for group in groups() for rule in group["rules"]}
    assert not any(wrong.values()), wrong


def test_no_rule_expects_a_job_or_a_namespace():
    text = RULES.read_text()
    assert not re.search(r"\{[^}]*\b(job|namespace|instance|pod)\b\s*[=!]", text)


# Mutants: what a test must notice.


def moved(alert):
    """The alert with its number a quarter (and a whole one at least 1) higher and lower, and its `for` doubled and halved."""
    record, operator, number = FORM.fullmatch(alert["expr"]).groups()
    if operator == "==":
        changed = [f"{record} != {number}", f"{record} == 77"]
    elif float(number) == 0:
        changed = [f"{record} >= 0", f"{record} > 1e15"]
    else:
        step = max(float(number) / 4, "." not in number)
        changed = [f"{record} {operator} {float(number) + step}" for step in (step, -step)]
    yield from ({"expr": expression} for expression in changed)
    if "for" in alert:
        yield from ({"for": f"{int(seconds(alert['for']) * factor)}s"} for factor in (0.5, 2))


@functools.cache
def cases():
    return [test for case in CASES for test in yaml.safe_load(case.read_text())["tests"]]


def cases_of(name):
    return [test for test in cases() if test["name"] == name]


def needed(expression):
    """The records that an expression looks at, and those that they do, in their order."""
    names, before = set(RECORD.findall(expression)), None
    while names != before:
        before = set(names)
        names.update(*(RECORD.findall(rule["expr"]) for rule in rules("record") if rule["record"] in names))
    return [rule for rule in rules("record") if rule["record"] in names]


def survives(change, name, where):
    """Whether the alert's tests pass though this was changed."""
    mutant = {**ALERTS[name], **change}
    group = {"name": "mutant", "rules": [*needed(mutant["expr"]), mutant]}
    (where / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    case = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": cases_of(name)}
    (where / "case.yaml").write_text(yaml.safe_dump(case))
    try:
        run(need("promtool"), "test", "rules", "case.yaml", cwd=where)
    except AssertionError as failed:
        assert "FAILED" in str(failed), failed
        return False
    return True


@pytest.mark.parametrize("name", ALERTS)
def test_every_number_is_held_by_a_test(name, tmp_path):
    assert cases_of(name), f"{name} has no test in tests/deploy/rules"
    assert survives({}, name, tmp_path)
    alive = [change for change in moved(ALERTS[name]) if survives(change, name, tmp_path)]
    assert not alive, f"the tests of {name} do not notice {alive}"
