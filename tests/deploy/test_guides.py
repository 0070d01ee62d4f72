"""The guides of examples/operate: where they point is something, every key and metric they name exists, every
configuration in them loads, and the proxies' files agree with each other, the defaults and the README."""

import re
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT
from guides_world import OPERATE
from world import gateway_binary, seconds

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEFAULTS = tomllib.loads((ROOT / "examples" / "fanline.toml").read_text(encoding="utf-8"))
GUIDES = sorted(OPERATE.glob("*.md"))
# What proves a block: it is loaded, tried on Redis, compared with the model, read by its own tool's rules, or is for people.
KINDS = {"toml config", "sh shown", "sh redis", "text model", "sh aws", "yaml annotations", "hcl terraform", "yaml pod"}
KINDS |= {f"text acl {mode}" for mode in ("plain", "histories", "cluster", "sharded", "sentinel")}
# Metrics of the monitoring and of the kernel's, by their first words.
FOREIGN = ("fanline_publish",)

by_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)


def prose(text):
    """Without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def anchors(file):
    """What can stand behind a `#`, as public hosts make it of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(file.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


@by_guide
def test_every_link_leads_somewhere(guide):
    for target in re.findall(r"\]\(([^)\s]+)\)", guide.read_text(encoding="utf-8")):
        assert "://" not in target, f"{target}: what stands elsewhere may move"
        path, _, anchor = target.partition("#")
        file = (guide.parent / path).resolve() if path else guide
        assert file.exists() and ROOT in (file, *file.parents), f"{guide.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{guide.name}: {target} is none of {sorted(anchors(file))}"


@by_guide
def test_every_key_that_is_named_is_one(guide):
    known = set(re.findall(r"^\| `([a-z_.]+)` \| ", README, re.M))
    sections = {key.split(".")[0] for key in known if "." in key}
    text = guide.read_text(encoding="utf-8")
    named = {word for word in re.findall(r"`([a-z]+\.[a-z_]+(?:\.[a-z]+)?)", prose(text)) if word.split(".")[0] in sections}
    assert named <= known, f"{named - known}: none of README's table"


@by_guide
def test_every_metric_that_is_named_is_one_with_that_label(guide):
    rows = re.findall(r"^\| `((?:fanline|process)_\w+)` \| \w+ \| (.*?) \|", README, re.M)
    labels = {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows}
    text = guide.read_text(encoding="utf-8")
    for name, label, value in re.findall(r'\b((?:fanline|process)_\w+)(?:\{(\w+)="(\w+)"\})?', text):
        if name.startswith(FOREIGN):
            continue
        assert name in labels, f"{name}: none of README's table"
        assert not label or {label, value} <= labels[name], f"{name}{{{label}={value}}}"


@by_guide
def test_every_block_is_of_a_kind_and_its_configuration_loads(guide, tmp_path):
    for kind, block in re.findall(r"^```(.*?)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.S | re.M):
        assert kind in KINDS, f"{guide.name}: nothing proves a block of {kind!r}"
        if kind == "toml config":
            # The files that it names need not be here.
            (tmp_path / "fanline.toml").write_text(re.sub(r"^(ca|cert|key|password_file) .*$", "", block, flags=re.M))
            command = [gateway_binary(), "--config", tmp_path / "fanline.toml", "check-config"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0 and "warning" not in done.stdout, done.stdout + done.stderr
        elif kind.startswith("yaml"):
            assert yaml.safe_load(block)
        elif kind.startswith("sh"):
            subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def without_comments(text):
    return re.sub(r"#.*$", "", text, flags=re.M)


def numbers(file, *patterns):
    text = without_comments((OPERATE / "proxies" / file).read_text(encoding="utf-8"))
    found = [re.findall(pattern, text) for pattern in patterns]
    assert all(found), (file, patterns, found)
    return [value for values in found for value in values]


def test_what_a_heart_has_to_outlive_is_longer_than_it():
    timeouts = [
        *numbers("nginx.conf", r"proxy_read_timeout (\w+);", r"proxy_send_timeout (\w+);"),
        *numbers("haproxy.cfg", r"timeout (?:client|server|tunnel) +(\w+)"),
        *numbers("envoy.yaml", r"stream_idle_timeout: (\w+)"),
    ]
    assert len(timeouts) == 6
    assert all(seconds(timeout) > 2 * seconds(DEFAULTS["heartbeat"]["every"]) for timeout in timeouts)
    assert numbers("envoy.yaml", r" timeout: (0s) ") and numbers("traefik.yaml", r"writeTimeout: (0s)")


def test_a_proxy_notices_within_the_drains_delay():
    delay = seconds(DEFAULTS["drain"]["delay"])
    every, fall = numbers("haproxy.cfg", r"inter (\w+)", r"fall (\d+)")
    assert seconds(every) * int(fall) < delay
    every, fall = numbers("envoy.yaml", r"\binterval: (\w+)", r"unhealthy_threshold: (\d+)")
    assert seconds(every) * int(fall) < delay
    assert sum(map(seconds, numbers("traefik-dynamic.yaml", r"interval: (\w+)", r"timeout: (\w+)"))) < delay
    text = (OPERATE / "proxies.md").read_text(encoding="utf-8")
    every, patience, fall = (int(re.search(rf"{key}[ \"-]+(\d+)", text)[1]) for key in (
        "health-check-interval-seconds", "health-check-timeout-seconds", "unhealthy-threshold-count"))
    assert every * fall + patience < seconds(re.search(r"Set `drain.delay = \"(\w+)\"`", text)[1])


def test_the_readmes_short_forms_have_the_same_times():
    for kind, file in (("nginx config", "nginx.conf"), ("haproxy config", "haproxy.cfg")):
        block = without_comments(re.search(rf"```{kind}\n(.*?)```", README, re.S)[1])
        ours = without_comments((OPERATE / "proxies" / file).read_text(encoding="utf-8"))
        for name, time in re.findall(r"(timeout (?:client|server|tunnel)|proxy_read_timeout|inter|fall) +(\w+)", block):
            assert re.search(rf"{name} +{time}\b", ours), f"README: {name} {time}"
