"""What people read of the chart is what it is: README.md's table, the schema's descriptions, versions, notes.

UPDATE_VALUES=1 writes the table and the descriptions anew.
"""

import json
import os
import re
import shlex
import shutil

import pytest
import yaml

from charts import CHART, FILES, ROOT, VALUES, attempt, copy_of_chart, helm, parse
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


SHOWN = 'kind: Notes\ntext: {{ tpl (.Files.Get "notes.txt") . | toJson }}\n'


def notes(name, copy_of_chart, *arguments):
    """The notes, as a manifest of a copy: without a cluster Helm shows them to nobody."""
    shutil.copy(CHART / "templates" / "NOTES.txt", copy_of_chart / "notes.txt")
    (copy_of_chart / "templates" / "notes.yaml").write_text(SHOWN)
    return parse(helm("--values", VALUES / f"{name}.yaml", *arguments, chart=copy_of_chart)).of("Notes")[0]["text"]


@pytest.mark.parametrize("name", FILES)
def test_the_notes_say_how_to_go_on(name, copy_of_chart):
    said = notes(name, copy_of_chart)
    for word in ("Listen", "Publish", 'curl -H "X-API-Key: $KEY"', "/metrics"):
        assert word in said, said
    assert ("helm test rel -n apps" in said) is (name != "alone")
    assert "<no value>" not in said and "%!" not in said


@pytest.mark.parametrize("name", FILES)
def test_each_line_of_the_notes_can_be_run_as_it_stands(name, copy_of_chart):
    """What does not return goes into the background, and the gateway's own program is the pods'."""
    lines = [line.strip() for line in notes(name, copy_of_chart).splitlines() if line.startswith("    ")]
    assert any("port-forward" in line for line in lines) and any(" listen " in line for line in lines)
    for line in lines:
        assert line.startswith(("kubectl -n apps ", "KEY=", "curl ")), line
        assert line.endswith(" &") is ("port-forward" in line), line
        assert ("fanline listen" in line or "fanline which" in line) is ("-c fanline -- /usr/local/bin/" in line), line


def test_the_notes_listen_where_the_gateway_does(copy_of_chart):
    moved = notes("minimal", copy_of_chart, "--set=config.public.listen=0.0.0.0:9000,service.port=8000,test.path=/rooms")
    assert "listen 'ws://localhost:9000/rooms?topic=hello'" in moved
    assert "ws://rel-fanline.apps:8000/rooms?topic=hello" in moved


HOME = "at its home: fanline which hello"


@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        (["config.redis.url=redis://a"], "Redis, PUBLISH fanline:hello hi", HOME),
        (["config.redis.prefix=live/"], "Redis, PUBLISH live/hello hi", HOME),
        (
            ["config.redis.url=redis+cluster://a\\,b", "config.redis.sharded=true"],
            "Redis, SPUBLISH fanline:hello hi",
            HOME,
        ),
        (["config.redis.url={redis://a,redis://b}"], f"PUBLISH fanline:hello hi, {HOME}", "with several"),
        (["config.redis.url=redis://a\\,redis://b"], f"PUBLISH fanline:hello hi, {HOME}", "with several"),
        (["config.redis.url=", "secrets.redisUrl.value=redis://a"], "PUBLISH fanline:hello hi", HOME),
        (["config.redis.url=", "secrets.redisUrl.existingSecret=a"], f"hi (with several Redis, {HOME})", "SPUBLISH"),
    ],
)
def test_the_notes_publish_what_reaches_somebody(arguments, said, unsaid, copy_of_chart):
    shown = notes("minimal", copy_of_chart, *[f"--set={each}" for each in arguments])
    assert said in shown and unsaid not in shown, shown


def test_the_notes_of_no_replica(copy_of_chart):
    none = notes("minimal", copy_of_chart, "--set=replicaCount=0")
    assert "There is no replica: nobody can connect" in none and "There is one replica" not in none


def test_the_notes_warn(copy_of_chart):
    trial = notes("trial", copy_of_chart)
    for warning in (
        "trialRedis is for trials",
        "Every web page may connect",
        "made up at install",
        "tells /metrics to everybody",
        "No ServiceMonitor",
        'No registry has an image called just "fanline"',
    ):
        assert warning in trial
    assert "There is one replica" not in trial
    alone = notes(
        "minimal",
        copy_of_chart,
        "--set=config.redis.url=,podDisruptionBudget.enabled=false,resources.limits.memory=null",
    )
    for warning in (
        "There is no Redis",
        "There is one replica",
        "Without a PodDisruptionBudget",
        "a quarter of the node's memory",
    ):
        assert warning in alone


def test_the_notes_warn_of_ports_that_nobody_named(copy_of_chart):
    hidden = ("--set=config.redis.url=,secrets.redisUrl.existingSecret=redis,networkPolicy.enabled=true",)
    assert "List its ports in networkPolicy.redisPorts" in notes("minimal", copy_of_chart, *hidden)
    named = notes("minimal", copy_of_chart, *hidden, "--set=networkPolicy.redisPorts={6380}")
    assert "networkPolicy.redisPorts" not in named
    seen = notes("minimal", copy_of_chart, "--set=networkPolicy.enabled=true")
    assert "networkPolicy.redisPorts" not in seen


def test_the_notes_have_nothing_to_say_against_production(copy_of_chart):
    assert "Before production" not in notes("production", copy_of_chart)


def test_no_line_of_values_yaml_is_unread():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in comments():
        at(values, path)
