"""capacity.md: its table is what the model of SCALING.md comes to, its rules are what the measured costs come to."""

import json
import math
import re
import tomllib

import pytest
import yaml
from conftest import CHART, ROOT, run
from guides_world import OPERATE
from world import load_binary, seconds

GUIDE = (OPERATE / "capacity.md").read_text(encoding="utf-8")
SCALING = (ROOT / "load" / "SCALING.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "load" / "RESULTS.md").read_text(encoding="utf-8")

# The measured costs, by their symbols: µs, KiB or B.
COSTS = re.findall(r"^\| (\S+) \| [^|]+ \| ([\d.]+) (?:µs|KiB|B) \|", SCALING, re.M)
COST = {symbol: float(cost) for symbol, cost in COSTS}
BLOCK = re.search(r"```text model\n(.*?)```", GUIDE, re.S)[1]
WORKLOADS = dict(re.findall(r"^(\S[^-]*?) +(--connections .*)$", BLOCK, re.M))
CELLS = [line.split("|")[1:-1] for line in re.findall(r"^\| (?:chat|broadcast|market).*$", GUIDE, re.M)]
ROWS = {name.strip(): [cell.strip() for cell in cells] for name, *cells in CELLS}
MACHINE = ["--cores", "4", "--memory-gib", "8"]


def model(flags):
    """SCALING.md's formulas, for its means but for the machine."""
    given = {key: float(value) for key, value in re.findall(r"--(\S+) +(\S+)", flags)}
    n, topics, each = given["connections"], given["topics"], given["per-connection"]
    rate, payload, together = given["rate"], given["payload"], given.get("together", 1)
    means = dict(re.findall(r"^\| (\S+) \| [^|]+ \| ([\d.,]+)[^|]* \| `--", SCALING, re.M))
    cores, busy, memory = 4, float(means["u"]), 8 * 1024**2
    deliveries = rate * n * each / topics
    wait = min(max((COST["d₁"] - COST["d₈"]) / (1 - 1 / 8), 0), COST["d₁"])
    delivery = COST["d₁"] - wait + wait / together
    sent = payload + 4 + 66 / together
    held = COST["m"] * each + COST["k"] + float(means["f"]) * float(means["o"])

    def load(r):
        interested = r * (1 - (1 - 1 / r) ** (n * each / topics))
        return {
            "CPU": (deliveries / r * delivery + rate * interested / r * COST["i"]) / (cores * busy * 1e6),
            "memory": n / r * held / memory,
            "network out": deliveries / r * sent * 8 / (10e9 * busy),
            "reconnect storm": n / r * COST["h"] * each / (cores * 60e6),
            "balancers' ports": n / r / 112_000,
            "descriptors": n / r / 1_047_576,
        }

    least = next(r for r in range(1, 10_000) if max(load(r).values()) <= 1)
    first = max(load(least - 1), key=load(least - 1).get) if least > 1 else None
    interested = least * (1 - (1 - 1 / least) ** (n * each / topics))
    return {
        "deliveries": deliveries,
        "least": least,
        "first": first,
        "each": (
            n / least / 1000,
            load(least)["CPU"] * cores * busy,
            n / least * held / 1024**2,
            deliveries / least * sent * 8 / 1e9,
        ),
        "redis": (
            rate * (COST["p"] + interested * COST["q"]) / 1e6,
            rate * interested * (payload + 60) * 8 / 1e9,
            topics * interested * COST["c"] / 1024**3,
        ),
    }


def numbers(text):
    return [float(number.replace(",", "")) for number in re.findall(r"[\d.,]*\d", text)]


def like(written, real, digits):
    return all(round(value, places) == word for word, value, places in zip(written, real, digits, strict=True))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_row_is_what_the_model_comes_to(workload):
    said, row = model(WORKLOADS[workload]), ROWS[workload]
    assert numbers(row[0]) == [said["deliveries"]]
    assert row[1] == str(said["least"]) + (f", {said['first']}" if said["first"] else "")
    assert like(numbers(row[2]), said["each"], (0, 2, 1, 2)), (row[2], said["each"])
    assert like(numbers(row[3]), said["redis"], (2, 2, 2)), (row[3], said["redis"])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_is_run_leaves_room_for_one_that_is_away(workload):
    said, runs = model(WORKLOADS[workload]), ROWS[workload][4]
    replicas, cores, memory, unit = re.fullmatch(r"(\d+) of (\d+) cores?, (\d+) (GiB|MiB)", runs).groups()
    left = int(replicas) - 1
    assert left >= said["least"]
    share = said["least"] / left
    assert said["each"][1] * share <= int(cores) * 0.6, "the others' cores"
    # A quarter of the memory is the outboxes'.
    assert said["each"][2] * share <= int(memory) * (1 if unit == "GiB" else 1 / 1024) * 0.75


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_models_own_program_says_the_same(workload):
    printed = run(load_binary(), "model", *WORKLOADS[workload].split(), *MACHINE, cwd=ROOT)
    cells = [cell.strip() for cell in printed.splitlines()[-1].split("|")]
    said = model(WORKLOADS[workload])
    assert int(cells[4]) == said["least"]
    assert cells[5].split(";")[0] == (said["first"] or "none")


def rule(words):
    """The numbers of the rule that holds these words, and of where it says it is from."""
    line = next(line for line in GUIDE.splitlines() if words in line)
    claim, source = line.strip("| ").split(" | ")[:2]
    return numbers(claim), source


def test_every_figure_that_a_rule_is_from_is_a_measured_one():
    table = GUIDE.split("| rule | from |")[1].split("\n\n")[0]
    for source in re.findall(r"^\| .* \| (.*) \|$", table, re.M)[1:]:
        for symbol, cost in re.findall(r"`(\S+)` ([\d.]+)", source):
            assert COST[symbol] == float(cost), symbol
        for figure in re.findall(r"([\d.]+ (?:×|µs|s|% of a core))", re.sub(r"`\S+` [\d.]+ \S+", "", source)):
            assert figure in RESULTS, figure


def test_every_rule_is_what_its_figures_come_to():
    about = lambda value, digits=3: float(f"{value:.{digits}g}")
    lone, eight = rule("lone deliveries")[0][:2]
    assert about(lone, 2) == about(1e6 / COST["d₁"], 2) and about(eight) == about(1e6 / COST["d₈"])
    own, shared = (value for value in rule("connects a second")[0][:2])
    assert own <= 1e6 / COST["h"] < own * 1.05 and shared <= 1e6 / 19.4 < shared * 1.05
    one, share, ten = rule("Redis, one thread")[0][:3]
    busy = share / 100 * 1e6
    assert about(one) == about(busy / (COST["p"] + COST["q"]))
    assert about(ten, 2) == about(busy / (COST["p"] + 10 * COST["q"]), 2)
    assert rule("in heartbeats")[0][1] == math.ceil(0.843 / 18_000 * 100_000)
    fleet = json.loads((ROOT / "load" / "fleet.json").read_text())
    assert rule("for each topic and replica")[0][0] == round(fleet["costs"]["redis_subscription_bytes"])


def source(file, constant):
    """What a constant of the gateway is."""
    return re.search(rf"const {constant} = ([\d._]+);", (ROOT / file).read_text())[1]


def test_it_shrinks_as_the_chart_does():
    down = yaml.safe_load((CHART / "values.yaml").read_text())["autoscaling"]["behavior"]["scaleDown"]
    [policy] = down["policies"]
    assert policy["type"] == "Pods" and policy["value"] == 1
    assert f"one replica every {policy['periodSeconds']} s, once {down['stabilizationWindowSeconds']} s agree" in GUIDE


def test_the_grace_period_of_the_guides_is_the_charts():
    """drain.delay + drain.window + 10 s, with the gateway's defaults."""
    drain = tomllib.loads((ROOT / "examples" / "fanline.toml").read_text())["drain"]
    grace = int(sum(seconds(drain[key]) for key in ("delay", "window"))) + 10
    for file in (OPERATE / "upgrades.md", ROOT / "README.md"):
        said = re.findall(r"terminationGracePeriodSeconds: (\d+)", file.read_text())
        assert said == [str(grace)], file


def test_the_reconnects_add_up():
    text = GUIDE.split("## Reconnects")[1].split("## ")[0]
    # A drain closes over all of the window but for LAST_WORDS, and hints spread the way back over MAX_SPREAD.
    words = float(source("src/drain.rs", "LAST_WORDS: f64"))
    spread = int(source("src/drain/parting.rs", "MAX_SPREAD: u32").replace("_", "")) / 1000
    closed, back = (round(100_000 / length) for length in (25 * (1 - words), max(25 * (1 - words), spread)))
    assert f"{closed:,} a\nsecond" in text and f"{back:,} a second" in text and f"0.5 to {spread + 0.5} s" in text
    upgrades = (OPERATE / "upgrades.md").read_text()
    assert f"{closed:,} a second" in upgrades and f"{back:,} a second" in upgrades
    assert f"makes both {round(100_000 / (120 * (1 - words)))}" in upgrades
    for rate, cores in ((back, "0.11"), (25_000, "0.8"), (1e6 / 60, "0.54")):
        assert round(rate * COST["h"] / 1e6, len(cores) - 2) == float(cores) and f"{cores} " in text
    assert f"{100_000 // 4:,}" in text and str(round(100_000 / (0.875 * 3600))) in text
