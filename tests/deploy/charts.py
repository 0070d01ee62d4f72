"""The chart as Helm renders it, for the tests: parsed, cached, and asked for by kind and name."""

import functools
import json
import shutil
import subprocess
from base64 import b64decode

import pytest
import yaml

from conftest import CHART, ROOT, need

VALUES = ROOT / "tests" / "deploy" / "values"
FILES = sorted(path.stem for path in VALUES.glob("*.yaml"))
# Oldest that Chart.yaml allows, and newer ones whose schemas are at hand.
VERSIONS = ("1.27", "1.31", "1.34", "1.37")
COMPONENT = "app.kubernetes.io/component"
# The one in C where PyYAML has it, ten times as quick.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KUBE = ("--kube-version", "1.34.0")


def helm(*arguments, **options):
    """Renders; what Helm said stands in the error."""
    done = attempt(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempt(*arguments, release="rel", chart=CHART, values=None):
    command = [need("helm"), "template", release, str(chart), "--namespace", "apps", *KUBE, *arguments]
    document = None if values is None else json.dumps(values)
    command += [] if values is None else ["--values", "-"]
    return subprocess.run(command, input=document, capture_output=True, text=True, check=False)


@functools.cache
def text_of(name):
    """What a values file of the tests comes to."""
    return helm("--values", VALUES / f"{name}.yaml")


def parse(text):
    return Manifests([each for each in yaml.load_all(text, LOADER) if each])


def rendered(name):
    return parse(text_of(name))


def with_values(values=None, *arguments):
    """What values in Python's words come to, on top of the least that makes a fleet."""
    done = attempt("--values", VALUES / "minimal.yaml", *arguments, values=values or {})
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def refused(values, *arguments):
    """Why Helm refuses these values; a test fails if it does not."""
    done = attempt(*arguments, values=values)
    assert done.returncode != 0, f"{values} was taken"
    return done.stderr


class Manifests(list):
    def of(self, *kinds):
        return [each for each in self if each["kind"] in kinds]

    def one(self, kind, component="gateway"):
        """The one object of a kind; where there are several, the one of that component."""
        found = self.of(kind)
        if len(found) > 1:
            found = [each for each in found if each["metadata"].get("labels", {}).get(COMPONENT) == component]
        assert len(found) == 1, f"{kind} of {component}: {[each['metadata']['name'] for each in self.of(kind)]}"
        return found[0]

    def pods(self):
        """Every pod that comes of it: (name, metadata, spec)."""
        for each in self.of("Deployment", "StatefulSet", "DaemonSet", "Job"):
            template = each["spec"]["template"]
            yield each["metadata"]["name"], template["metadata"], template["spec"]
        for each in self.of("Pod"):
            yield each["metadata"]["name"], each["metadata"], each["spec"]

    def gateway(self):
        """The gateway's pod."""
        return self.one("Deployment")["spec"]["template"]

    def toml(self):
        return next(
            each["data"]["fanline.toml"] for each in self.of("ConfigMap") if "fanline.toml" in each.get("data", ())
        )

    def secret(self, name, item):
        """What stands in a Secret that the chart makes; nothing where it is the operator's own."""
        found = [each["data"].get(item) for each in self.of("Secret") if each["metadata"]["name"] == name]
        return b64decode(found[0]).decode() if found and found[0] else None


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


@pytest.fixture
def copy_of_chart(tmp_path):
    """A chart to change."""
    return shutil.copytree(CHART, tmp_path / "fanline")


SHOWN = 'kind: Notes\ntext: {{ tpl (.Files.Get "notes.txt") . | toJson }}\n'


def notes(name, copy_of_chart, *arguments, **options):
    """The notes, as a manifest of a copy: without a cluster Helm shows them to nobody."""
    shutil.copy(CHART / "templates" / "NOTES.txt", copy_of_chart / "notes.txt")
    (copy_of_chart / "templates" / "notes.yaml").write_text(SHOWN)
    text = helm("--values", VALUES / f"{name}.yaml", *arguments, chart=copy_of_chart, **options)
    return parse(text).of("Notes")[0]["text"]
