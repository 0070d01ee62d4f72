"""hosts.md and its sysctl file: every key is one of this kernel, no value is below its default, the table says the
same, and what is said to be a namespace's own is."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from guides_world import OPERATE

GUIDE = (OPERATE / "hosts.md").read_text(encoding="utf-8")
FILE = (OPERATE / "90-fanline.conf").read_text(encoding="utf-8")
SETTINGS = dict(re.findall(r"^([a-z0-9_.]+) = (.+)$", FILE, re.M))
LINES = re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]+) \|.*\| (yes|no) \|$", GUIDE, re.M)
TABLE = {key: (value, own) for key, value, own in LINES}

# Only where its module is loaded.
MAY_BE_ABSENT = {"net.netfilter.nf_conntrack_max"}


def place(key):
    return Path("/proc/sys", *key.split("."))


def test_every_line_is_a_comment_or_a_setting_and_the_table_has_the_same():
    lines = [line for line in FILE.splitlines() if line and not line.startswith("#")]
    assert lines == [f"{key} = {value}" for key, value in SETTINGS.items()]
    assert {key: value for key, (value, _) in TABLE.items()} == SETTINGS


@pytest.mark.parametrize("key", SETTINGS)
def test_the_kernel_knows_it(key):
    assert key in MAY_BE_ABSENT or place(key).exists(), f"{key} is none of this kernel's"


@pytest.mark.parametrize("key", SETTINGS)
def test_no_value_is_below_its_default(key):
    said = FILE.split(f"\n{key} = ")[0].rsplit("\n\n", 1)[1]
    default = re.search(r"Default: ([\d ]+)\.", said)
    if default and " " in default[1]:
        (least, most), (low, high) = (map(int, text.split()) for text in (SETTINGS[key], default[1]))
        assert most - least > high - low
    elif default:
        assert int(SETTINGS[key]) > int(default[1])
    else:
        assert key in {"net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_reserved_ports", *MAY_BE_ABSENT}


@pytest.mark.parametrize("key", [key for key, (_, own) in TABLE.items() if own == "yes"])
def test_what_is_a_namespaces_own_is_set_there_and_nowhere_else(key):
    value, before = TABLE[key][0], place(key).read_text()
    assert in_a_namespace(f"echo '{value}' > {place(key)} && cat {place(key)}").stdout.split() == value.split()
    assert place(key).read_text() == before, "the host's own is as it was"


@pytest.mark.parametrize("key", [key for key, (_, own) in TABLE.items() if own == "no"])
def test_what_is_not_is_none_of_the_network_or_cannot_be_set_there(key):
    assert key.startswith("fs.") or in_a_namespace(f"test -e {place(key)} && : 2>/dev/null >> {place(key)}").returncode


def in_a_namespace(command):
    unshare = ["unshare", "-n" if os.getuid() == 0 else "-rn"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a network namespace of their own")
    return subprocess.run([*unshare, "sh", "-c", command], capture_output=True, text=True, check=False)


def test_the_signs_that_are_named_are_counters_of_this_kernel():
    names = set(re.findall(r"`nstat -az TcpExt(\w+)`|`TcpExt(\w+)`", GUIDE))
    known = Path("/proc/net/netstat").read_text().split()
    assert names and all((one or other) in known for one, other in names), names


def test_what_memory_takes_is_what_was_measured_and_adds_up():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| ([\d.]+) KiB \| (\d+) MiB \|$", GUIDE, re.M)
    assert [each for each, _ in rows] == ["1.4", "2.4", "4.2"]
    for each, together in rows:
        assert f"{each} KiB" in readme and round(float(each) * 100_000 / 1024) == int(together)
    ports = SETTINGS["net.ipv4.ip_local_port_range"].split()
    assert f"{int(ports[1]) - int(ports[0]) + 1:,}" in GUIDE and f"{60999 - 32768 + 1:,}" in GUIDE
    choices = (ROOT / "load" / "CHOICES.md").read_text(encoding="utf-8")
    assert "after 3.3 s" in GUIDE and "with 128 after 3.3 s" in choices and "answered after 1.1 s" in choices
