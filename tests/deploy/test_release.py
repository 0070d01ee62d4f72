"""What a release is held to: one version, a changelog, workflows that their tools accept, and everybody's licence."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import CHART, ROOT, need, run

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]


def toml(path):
    return tomllib.loads((ROOT / path).read_text())


def crates():
    """Name and version of every crate in the binary, on the targets of the image."""
    found = set()
    for target in TARGETS:
        tree = run(
            "cargo", "tree", "--locked", "-p=fanline", "-e=normal", "--prefix=none", f"--target={target}", cwd=ROOT
        )
        found |= {tuple(line.split()[:2]) for line in tree.splitlines()}
    return {(name, version.removeprefix("v")) for name, version in found} - {("fanline", PACKAGE["version"])}


def test_actionlint_and_shellcheck_have_nothing_to_say():
    assert [file.name for file in WORKFLOWS] == ["ci.yml", "release.yml"]
    run(need("actionlint"), "-shellcheck", need("shellcheck"), "-pyflakes=", *WORKFLOWS)
    run(need("shellcheck"), *(ROOT / ".ci").iterdir())


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_no_more_than_it_needs(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    writers = (
        {"publish": {"packages", "id-token", "attestations"}, "page": {"contents"}}
        if file.name == "release.yml"
        else {}
    )
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, f"{name} may run for ever"
        may = {what for what, right in job.get("permissions", {}).items() if right == "write"}
        assert may == writers.get(name, set()), name
    for line in file.read_text().splitlines():
        if action := re.search(r"uses: (?!\./)(\S+)(.*)", line):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action[1]) and re.match(r" # v\d", action[2]), (
                f"{line}: not named by its commit"
            )
    if "checkout@" in file.read_text():
        assert file.read_text().count("checkout@") == file.read_text().count("persist-credentials: false")


def test_what_may_publish_builds_nothing():
    """The binaries of a release are those that passed the tests, and no code of a dependency runs beside the keys."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    for name in ["publish", "page"]:
        text = yaml.safe_dump(jobs[name])
        assert not re.search(r"\b(cargo|make|npm|pip|setup\.sh)\b", text), name
    assert set(jobs["publish"]["needs"]) == {"check", "test"}
    built = next(step["with"] for step in jobs["publish"]["steps"] if step.get("id") == "image")
    assert built["build-contexts"] == "binary=out"
    assert set(built["platforms"].split(",")) == {"linux/amd64", "linux/arm64"}
    tested = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["image"]
    assert {f"linux/{row['arch']}" for row in tested["strategy"]["matrix"]["include"]} == set(
        built["platforms"].split(",")
    )
    run_step = next(step for step in tested["steps"] if step.get("name") == "Test the binary")
    assert run_step["env"]["GATEWAY_BIN"].endswith("/out/fanline-${{ matrix.arch }}")


def packed(tmp_path, *arguments):
    path = f"{Path(need('helm')).parent}:{os.environ['PATH']}"
    command = [ROOT / ".ci/chart", *arguments, tmp_path]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)


def test_the_chart_of_a_release_starts_its_image(tmp_path):
    image, digest = "ghcr.io/owner/fanline", f"sha256:{'0a' * 32}"
    done = packed(tmp_path, image, digest)
    assert done.returncode == 0, done.stderr
    [chart] = tmp_path.glob("*.tgz")
    assert f"image: {image}@{digest}" in run(need("helm"), "template", "release", chart, "--kube-version=1.34.0")


@pytest.mark.parametrize("image, digest", [("ghcr.io/owner/fanline", "sha256:"), ("fanline", f"sha256:{'0a' * 32}")])
def test_a_chart_that_names_no_image_is_not_packed(image, digest, tmp_path):
    done = packed(tmp_path, image, digest)
    assert done.returncode == 1 and "expected" in done.stderr and not list(tmp_path.iterdir())


def test_the_chart_that_is_pushed_is_the_one_that_names_the_image():
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["publish"]["steps"]
    push = next(step for step in steps if step.get("id") == "chart")
    assert ".ci/chart" in push["run"] and push["shell"] == "bash", "a pipe's failure would be lost"
    assert push["env"]["DIGEST"] == "${{ steps.image.outputs.digest }}"


def test_workflows_compile_by_the_rust_of_the_image():
    built = re.search(r"rust:([\d.]+)-", (ROOT / "Dockerfile").read_text())[1]
    assert yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["env"]["RUSTUP_TOOLCHAIN"] == built


def test_dependabot_looks_where_dependencies_are():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    places = {
        (update["package-ecosystem"], place)
        for update in updates
        for place in update.get("directories", [update.get("directory")])
    }
    files = {
        "cargo": "Cargo.lock",
        "docker": "Dockerfile",
        "docker-compose": "docker-compose.yml",
        "github-actions": ".github/workflows/ci.yml",
        "npm": "package-lock.json",
        "pip": "requirements.txt",
    }
    assert {kind for kind, _ in places} == set(files)
    for kind, place in places:
        assert (ROOT / place.lstrip("/") / files[kind]).is_file(), f"no {kind} in {place}"


def test_the_chart_is_of_the_same_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (PACKAGE["version"], PACKAGE["version"])


def test_the_changelog_keeps_its_form():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    heads = [line for line in lines if line.startswith("## ")]
    assert heads[0] == "## [Unreleased]"
    versions = [re.fullmatch(r"## \[(\d+\.\d+\.\d+)(?:-rc\.(\d+))?\]( - \d{4}-\d\d-\d\d)?", head) for head in heads[1:]]
    assert all(versions), f"expected ## [X.Y.Z] - YYYY-MM-DD: {heads}"
    # A candidate comes before its release.
    numbers = [(*map(int, version[1].split(".")), int(version[2] or 1_000)) for version in versions]
    assert numbers == sorted(set(numbers), reverse=True), "the newest first"
    kinds = {line for line in lines if line.startswith("### ")}
    assert kinds <= {f"### {kind}" for kind in ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]}


@pytest.fixture
def released(tmp_path):
    """What .ci/release reads, as it stands when version 1.2.3 is released."""
    for name in [".ci/release", "Cargo.toml", "CHANGELOG.md", "helm/fanline/Chart.yaml"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    version = PACKAGE["version"]
    change(tmp_path / "Cargo.toml", f'version = "{version}"', 'version = "1.2.3"')
    change(tmp_path / "helm/fanline/Chart.yaml", version, "1.2.3")
    change(tmp_path / "CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n## [1.2.3] - 2026-11-30\n")
    return tmp_path


def change(file, old, new):
    text = file.read_text()
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new))


def may_release(root, tag="v1.2.3"):
    done = subprocess.run([root / ".ci/release", tag], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_release_in_order_prints_what_changed(released):
    code, notes, mistakes = may_release(released)
    assert (code, mistakes) == (0, "")
    unreleased = re.search(
        r"## \[Unreleased\]\n(.*?)^## \[", (ROOT / "CHANGELOG.md").read_text(), re.DOTALL | re.MULTILINE
    )[1]
    assert notes.strip() == unreleased.strip()


@pytest.mark.parametrize(
    "file, old, new, mistake",
    [
        ("Cargo.toml", '"1.2.3"', '"1.2.4"', 'Cargo.toml says version = "1.2.4"'),
        ("helm/fanline/Chart.yaml", "\nversion: 1.2.3", "\nversion: 1.2.2", 'says version: "1.2.2", expected "1.2.3"'),
        (
            "helm/fanline/Chart.yaml",
            'appVersion: "1.2.3"',
            'appVersion: "1.2.2"',
            'says appVersion: "1.2.2", expected "1.2.3"',
        ),
        ("CHANGELOG.md", "## [1.2.3] - 2026-11-30", "## [1.2.3]", '"## [1.2.3] - YYYY-MM-DD"'),
        ("CHANGELOG.md", "## [1.2.3] - 2026-11-30", "## [1.2.3] - 2026-11-30\n\n## [1.2.2]", "says nothing of 1.2.3"),
    ],
)
def test_a_release_whose_parts_differ_is_refused(released, file, old, new, mistake):
    change(released / file, old, new)
    code, notes, mistakes = may_release(released)
    assert (code, notes) == (1, "") and mistake in mistakes


def test_a_tag_of_another_version_is_refused(released):
    code, _, mistakes = may_release(released, "v1.3.0")
    assert code == 1 and "the tag is v1.3.0" in mistakes and "tag v1.2.3" in mistakes


def test_the_notices_name_every_crate_of_the_binary_and_no_other():
    lines = (ROOT / ".licences/THIRD-PARTY.txt").read_text().splitlines()
    named = {tuple(line.split()) for line in lines if re.fullmatch(r"  [\w-]+ \d+\.\d+\.\d+\S*", line)}
    assert named == crates(), "run make licences"


def test_licences_are_allowed_once():
    assert set(toml(".licences/about.toml")["accepted"]) == set(toml("deny.toml")["licenses"]["allow"])
    assert toml(".licences/about.toml")["targets"] == TARGETS
