"""The tools that the other tests ask are the ones they were written for."""

from conftest import need, run


def test_promtool_and_helm_answer():
    assert "promtool" in run(need("promtool"), "--version")
    assert run(need("helm"), "version", "--short").startswith("v3.")
