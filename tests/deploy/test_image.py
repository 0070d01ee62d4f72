"""The image, as far as it can be followed without an engine: what its builder gets, and its last stage at work."""

import json
import os
import re
import signal
import tempfile
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, need, run
from image import LIBRARIES, Image, context, last_stage, linked, passes, stages
from world import PATIENCE, free_ports, gateway_binary, seconds, until

# Where the README tells people to mount a configuration.
FILE = "/etc/fanline/fanline.toml"


@pytest.fixture
def binary():
    return gateway_binary()


@pytest.fixture
def image(binary):
    """Not below pytest's own directory, which only its user may enter."""
    with tempfile.TemporaryDirectory(prefix="fanline-image-") as root:
        Path(root).chmod(0o755)
        yield Image(Path(root), binary)


def test_hadolint_has_nothing_to_say():
    run(need("hadolint"), "--failure-threshold", "style", ROOT / "Dockerfile")


def test_the_last_stage_only_copies_and_says_how_to_run():
    stage = last_stage()
    assert not {"RUN", "ENV", "ADD", "VOLUME", "SHELL"} & set(stage), (
        "no shell there, and no setting that a file could not change"
    )
    user, group = stage["USER"][-1].split(":")
    assert int(user) > 0 and int(group) > 0
    for instruction in ["ENTRYPOINT", "CMD"]:
        assert json.loads(stage[instruction][-1]), f"{instruction} in exec form"
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    assert {"8080", "8081"} == set(stage["EXPOSE"][-1].split())
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', stage["LABEL"][-1]))
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert labels["description"] == package["package"]["description"]
    assert labels["licenses"] == package["workspace"]["package"]["license"]
    arguments = {argument.split("=")[0] for argument in stage["ARG"] if "=" in argument}
    assert (
        arguments
        == {label.upper() for label, value in labels.items() if value.startswith("$")}
        == {"VERSION", "REVISION", "CREATED"}
    )


def test_the_health_check_may_take_longer_than_its_own_patience():
    patience = re.search(
        r"const PATIENCE: Duration = Duration::from_secs\((\d+)\)", (ROOT / "src/client.rs").read_text()
    )
    timeout = re.search(r"--timeout=(\d+)s", last_stage()["HEALTHCHECK"][-1])
    assert int(timeout[1]) > int(patience[1])


def test_what_is_linked_against_is_no_newer_than_what_it_runs_on():
    """Debian 12's libc on both sides."""
    names = [stage[0][1] for stage in stages()]
    assert re.fullmatch(r"--platform=\$BUILDPLATFORM rust:[\d.]+-slim-bookworm AS toolchain", names[0])
    assert names[-1] == "gcr.io/distroless/cc-debian12:nonroot"
    crossed = [argument for stage in stages() for _, argument in stage if "apt-get install" in argument]
    assert len(crossed) == 2
    for argument in crossed:
        assert re.search(r"gcc-\S+='4:12\.\*' libc6-dev-\S+-cross='2\.36-\*'", argument), argument


def test_the_builder_has_the_rust_that_the_package_asks_for():
    built = re.search(r"rust:([\d.]+)-", (ROOT / "Dockerfile").read_text())[1]
    asked = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert [*map(int, built.split("."))] >= [*map(int, asked.split("."))]


def test_nothing_reaches_the_builder_but_what_the_build_reads():
    others = {name for name in context() if not name.startswith("src/")}
    assert others == {
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        ".licences/THIRD-PARTY.txt",
        "load/Cargo.toml",
        "load/src/main.rs",
        "tests/cost/Cargo.toml",
        "tests/cost/src/main.rs",
    }


@pytest.mark.parametrize(
    "pattern, name, through", [("*", "a/b", False), ("a", "a/b/c", False), ("b", "a/b", True), ("a/*", "a/b", False)]
)
def test_a_pattern_is_read_as_docker_reads_it(pattern, name, through):
    assert passes(name, [pattern]) == through
    assert passes(name, ["*", f"!{pattern}"]) != through


def test_what_reaches_the_builder_is_enough_for_cargo(tmp_path):
    for name in context():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    metadata = run(
        "cargo",
        "metadata",
        "--locked",
        "--format-version=1",
        "--filter-platform=x86_64-unknown-linux-gnu",
        cwd=tmp_path,
    )
    members = {package["name"] for package in json.loads(metadata)["packages"] if package["source"] is None}
    assert members == {"fanline", "fanline-load", "fanline-cost"}
    for source in tmp_path.glob("src/**/*.rs"):
        if "tests" in source.parts:
            continue
        for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
            assert (source.parent / included).exists(), f"{source} includes {included}, which .dockerignore holds back"


def test_the_binary_needs_only_libraries_that_the_base_has(binary):
    assert set(linked(binary)) <= LIBRARIES


def test_the_line_of_the_readme_runs_it_as_it_is_tested_here():
    readme = (ROOT / "README.md").read_text()
    flags = re.search(r"`docker run (.+) fanline`", readme)[1].split()
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(flags)
    assert FILE in readme
    limits = dict(flag.lstrip("-").split("=", 1) for flag in flags if "=" in flag)
    assert limits["publish"].split(":")[-1] in last_stage()["EXPOSE"][-1].split()
    drain = tomllib.loads((ROOT / "examples/fanline.toml").read_text())["drain"]
    assert int(limits["stop-timeout"]) >= seconds(drain["delay"]) + seconds(drain["window"]) + 10, "the drain and ten seconds"


@pytest.mark.parametrize("settings", ["variables", "file"])
def test_it_serves_and_drains_on_a_read_only_root_and_its_health_says_so(image, settings):
    public, internal = (f"127.0.0.1:{port}" for port in free_ports(2))
    if settings == "file":
        variables = {}
        (image.root / FILE.lstrip("/")).write_text(
            f'public.listen = "{public}"\ninternal.listen = "{internal}"\ndrain.delay = "2s"\n'
        )
    else:
        variables = {
            "FANLINE_PUBLIC__LISTEN": public,
            "FANLINE_INTERNAL__LISTEN": internal,
            "FANLINE_DRAIN__DELAY": "2s",
        }
    assert image.health(variables)[0] == 1, "nothing listens there yet"
    gateway = image.start(image.serve, variables)
    try:
        until("healthy", lambda: gateway.poll() is not None or image.health(variables)[0] == 0)
        assert gateway.poll() is None, "it ended by itself"
        is_confined(gateway.pid, image)
        gateway.send_signal(signal.SIGTERM)
        status, said = until("unhealthy", lambda: (asked := image.health(variables))[0] != 0 and asked)
        assert (status, '"status":"draining"' in said) == (1, True), said
        assert gateway.wait(PATIENCE) == 0
        status, said = image.health(variables)
        assert status == 1 and "no answer" in said, said
    finally:
        gateway.kill()
        print(gateway.communicate()[0])


def is_confined(pid, image):
    """It is the program of the image itself, of no rights, on a root that takes no writes."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Name"] == "fanline", "nothing in between that a signal would have to pass"
    assert int(status["CapEff"], 16) == 0
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {image.stage["USER"][-1].split(":")[0]}
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]
