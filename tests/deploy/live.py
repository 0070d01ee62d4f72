"""Asks a Prometheus that scrapes a fleet every expression of the dashboard and every rule, and says which answers nothing.

    tests/.tools/venv/bin/python tests/deploy/live.py --prometheus http://127.0.0.1:9090

Ends with 0 once each has a series, of an alert its left side; with 1 at the deadline, naming those that have none. A value
may be NaN: of a fleet without a certificate, say, how long it holds.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from promql import DASHBOARD, FORM, filled, groups, panels

# Has a series only while something is wrong.
ONLY_AT_TIMES = ("mark Alerts",)


def ask(prometheus, path, **parameters):
    """One request to Prometheus' API: its data."""
    url = f"{prometheus.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error}: {error.read().decode(errors='replace')}") from error


def expressions():
    """Where each stands, and what it asks."""
    for group in groups():
        for rule in group["rules"]:
            if "alert" in rule:
                yield f"alert {rule['alert']}", FORM.fullmatch(rule["expr"])[1]
            else:
                yield f"record {rule['record']}", rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}, query {target['refId']}", filled(target["expr"])
    for mark in json.loads(DASHBOARD.read_text())["annotations"]["list"]:
        yield f"mark {mark['name']}", filled(mark["expr"])


def without_a_series(prometheus, asked=None):
    """Those of the expressions that answer nothing, and rules that Prometheus does not have or cannot evaluate."""
    loaded = {rule["name"]: rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]}
    missing = []
    for where, expression in asked or expressions():
        kind, _, name = where.partition(" ")
        if kind in ("alert", "record") and loaded.get(name, {}).get("health") != "ok":
            error = loaded.get(name, {"lastError": "it is not loaded"}).get("lastError") or "not evaluated yet"
            missing.append((where, error))
        elif where not in ONLY_AT_TIMES and not ask(prometheus, "query", query=expression)["result"]:
            missing.append((where, expression))
    return missing


def wait(prometheus, deadline):
    """Asks again and again until nothing is missing, or the time is over; answers what is."""
    end = time.monotonic() + deadline
    missing = list(expressions())
    while missing and time.monotonic() < end:
        again = dict(missing)
        missing = without_a_series(prometheus, [each for each in expressions() if each[0] in again])
        time.sleep(min(1, max(0, end - time.monotonic())) if missing else 0)
    return missing


def main():
    """The command line."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--prometheus", required=True, metavar="URL")
    reader.add_argument("--deadline", type=float, default=60, metavar="SECONDS")
    chosen = reader.parse_args()
    try:
        missing = wait(chosen.prometheus, chosen.deadline)
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"{chosen.prometheus} does not answer: {error}")
    for where, what in missing:
        print(f"no series: {where}: {what}")
    print(f"{len(list(expressions())) - len(missing)} expressions have a series, {len(missing)} have none")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
