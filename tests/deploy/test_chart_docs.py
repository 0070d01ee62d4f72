"""What people read of the chart is what it is: README.md's table and commands, the schema's descriptions, versions.

UPDATE_VALUES=1 writes the table and the descriptions anew.
"""

import json
import os
import re
import shlex

import yaml

from charts import CHART, ROOT, attempt, helm
from conftest import need, run
from documented import at, comments, documented, leaves, table

README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
TABLE = re.compile(r"(?<=<!-- generated: values -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
UPDATE = "run UPDATE_VALUES=1 tests/.tools/venv/bin/python -m pytest -q tests/deploy/test_chart_docs.py"


def compare(path, expected):
    if os.environ.get("UPDATE_VALUES"):
        path.write_text(expected)
    assert path.read_text() == expected, f"{path.name} is older than values.yaml: {UPDATE}"


def test_the_readmes_table_is_of_values_yaml():
    text = README.read_text()
    assert len(TABLE.findall(text)) == 1
    compare(README, TABLE.sub(lambda _: table(), text))


def test_the_schemas_descriptions_are_of_values_yaml():
    schema = json.loads(SCHEMA.read_text())
    for path, comment in comments().items():
        section = schema
        for key in path[:-1]:
            section = section["properties"][key]
        described = {
            "description": comment,
            **{key: value for key, value in section["properties"][path[-1]].items() if key != "description"},
        }
        section["properties"][path[-1]] = described
    compare(SCHEMA, json.dumps(schema, indent=2) + "\n")


def test_every_value_is_documented():
    keys = [path for path, _ in documented()]
    for leaf in leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        assert any(leaf[: len(key)] == key for key in keys), f"{'.'.join(leaf)} has no comment above it"


def test_the_schema_and_values_yaml_have_the_same_keys():
    values, schema = yaml.safe_load((CHART / "values.yaml").read_text()), json.loads(SCHEMA.read_text())

    def same(schema, values, path):
        if schema.get("additionalProperties") is False and "properties" in schema:
            assert schema["properties"].keys() - {"global"} - OPTIONAL.get(path, set()) == values.keys(), path
            for key in values:
                if isinstance(values[key], dict):
                    same(schema["properties"][key], values[key], (*path, key))

    same(schema, values, ())


PROBE = {"initialDelaySeconds", "successThreshold"}
OPTIONAL = {
    **{(probe,): PROBE for probe in ("startupProbe", "livenessProbe", "readinessProbe")},
    ("resources",): {"claims"},
    ("affinity",): {"nodeAffinity", "podAffinity", "podAntiAffinity"},
    ("dnsConfig",): {"nameservers", "searches", "options"},
}


def test_the_gateways_version_is_that_of_cargo_toml():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "Cargo.toml").read_text().split("[package]")[0]


def test_the_readmes_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert re.match("https?://", target) or (CHART / target).exists(), target


def test_what_the_readme_installs_can_be_rendered():
    text = README.read_text()
    values = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if block.startswith("config:")]
    flags = [re.findall(r"--set (\S+)", line) for line in text.splitlines() if line.startswith("helm install")]
    assert values and flags
    for block in values:
        done = attempt(values=yaml.safe_load(block))
        assert done.returncode == 0, done.stderr
    for each in flags:
        helm(*[f"--set={flag}" for flag in each])


def test_what_the_readme_looks_at_first_is_shown():
    (line,) = [line for line in README.read_text().splitlines() if line.startswith("helm template")]
    command, *arguments = shlex.split(line)
    assert "--kube-version" in arguments, "without it Helm renders for a Kubernetes of its own age"
    assert "kind: Deployment" in run(need(command), *arguments, cwd=ROOT)


def test_no_line_of_values_yaml_is_unread():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in comments():
        at(values, path)
