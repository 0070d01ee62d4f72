"""The tools that the other tests ask are the ones they were written for."""

from conftest import CHART, need, run


def test_promtool_and_helm_answer():
    assert "promtool" in run(need("promtool"), "--version")
    assert run(need("helm"), "version", "--short").startswith("v3.")


def test_helm_renders_for_a_kubernetes_of_its_own_age():
    """Built by `go install` and no more, it takes 1.20 for the newest, and refuses what the README tells to run."""
    said = run(need("helm"), "template", "fanline", CHART)
    assert "kind: Deployment" in said
