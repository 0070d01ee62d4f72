"""Every values file comes to objects that Kubernetes, and the owners of the CRDs, would take."""

import functools
import os

import jsonschema
import kubernetes_validate
import pytest
import yaml

from charts import CHART, FILES, KUBE, LOADER, ROOT, VALUES, VERSIONS, parse, rendered, text_of
from conftest import need, run

CRDS = ROOT / "tests" / ".tools" / "crds"


def is_kubernetes_own(manifest):
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io") and not group.startswith("gateway.")


@functools.cache
def crd_schemas():
    """(group/version, kind) → schema, made to refuse fields that it does not know."""
    if not CRDS.is_dir() and os.environ.get("OFFLINE"):
        pytest.skip("OFFLINE=1, without the CRDs")
    assert CRDS.is_dir(), "the CRDs are not there: run tests/setup.sh crds"
    schemas = {}
    for path in CRDS.glob("*.yaml"):
        spec = yaml.load(path.read_text(), LOADER)["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            schemas[key] = strict(version["schema"]["openAPIV3Schema"])
    return schemas


def strict(schema):
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value if key in ("default", "enum") else strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    closed = "properties" in schema and schema.get("type") == "object" and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    return schema


def check(manifest, version):
    if is_kubernetes_own(manifest):
        return kubernetes_validate.validate(manifest, version, strict=True)
    key = (manifest["apiVersion"], manifest["kind"])
    schema = dict(crd_schemas()[key])
    # An API server knows these for every object; a CRD says no more of them than that there is a map.
    schema["properties"] = {**schema["properties"], "metadata": {"type": "object"}}
    return jsonschema.Draft7Validator(schema).validate(manifest)


@pytest.mark.parametrize("name", FILES)
def test_helm_lints_it(name):
    run(need("helm"), "lint", "--strict", CHART, "--values", VALUES / f"{name}.yaml", *KUBE)


def test_helm_lints_the_defaults():
    run(need("helm"), "lint", "--strict", CHART, *KUBE)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FILES)
def test_kubernetes_and_the_crds_take_it(name, version):
    text = run(need("helm"), "template", "rel", CHART, "--values", VALUES / f"{name}.yaml", "--kube-version", version)
    manifests = parse(text)
    assert manifests
    for manifest in manifests:
        try:
            check(manifest, version)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            pytest.fail(f"{manifest['kind']} {manifest['metadata']['name']}: {error}")


def test_what_a_schema_does_not_know_is_seen():
    for kind, name in [
        ("Deployment", "minimal"),
        ("ServiceMonitor", "everything"),
        ("HTTPRoute", "gateway"),
        ("ScaledObject", "keda"),
    ]:
        manifest = rendered(name).one(kind)
        check(manifest, VERSIONS[-1])
        manifest["spec"]["typo"] = 1
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match="typo"):
            check(manifest, VERSIONS[-1])


def test_every_kind_of_the_chart_is_made_by_some_values_file():
    kinds = {kind for path in (CHART / "templates").rglob("*.yaml") for kind in kinds_of(path.read_text())}
    made = {each["kind"] for name in FILES for each in rendered(name)}
    assert kinds == made


def kinds_of(template):
    return {line.split()[1] for line in template.splitlines() if line.startswith("kind: ")}


@pytest.mark.parametrize("name", FILES)
def test_two_renderings_differ_in_nothing_but_what_is_made_up(name):
    made_up = [each for each in (text_of(name), text_of.__wrapped__(name))]
    first, second = ([without_made_up(each) for each in parse(text)] for text in made_up)
    assert first == second


def without_made_up(manifest):
    if manifest["kind"] == "Secret":
        manifest["data"] = {key: None for key in manifest["data"]}
    return manifest


def test_two_renderings_with_keys_of_ones_own_are_the_same():
    assert text_of("production") == text_of.__wrapped__("production")
