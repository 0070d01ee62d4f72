"""What values.yaml says of each key, by the comment above it. The README's table and the schema are made of it."""

import json
import re

import yaml

from conftest import CHART

KEY = re.compile(r"( *)([A-Za-z]+):( |$)")


def comments():
    """path → the comment right above the key, for every key that has one."""
    found, path, above = {}, [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        text = line.strip()
        key = KEY.match(line)
        if text.startswith("#"):
            above.append(text.lstrip("# "))
            continue
        if key and not line.startswith(" " * 2 * (len(path) + 1)):
            path = path[: len(key[1]) // 2]
        if key and len(key[1]) == 2 * len(path):
            path = [*path, key[2]]
            if above:
                found[tuple(path)] = " ".join(above)
        above = []
    return found


def leaves(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def at(values, path):
    for key in path:
        values = values[key]
    return values


def documented():
    """(path, comment) of the keys that a reader may set, in the file's order: those without a comment below them."""
    said = comments()
    return [
        (path, comment)
        for path, comment in said.items()
        if not any(other[: len(path)] == path for other in said if other != path)
    ]


def table():
    """README.md's table: headings for sections, a row for each key."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    keys = {path for path, _ in documented()}
    rows = ["| key | default | what it is for |", "| --- | --- | --- |"]
    for path, comment in comments().items():
        name = f"`{'.'.join(path)}`" if path in keys else f"**`{'.'.join(path)}`**"
        default = f"`{json.dumps(at(values, path))}`" if path in keys else ""
        rows.append(f"| {name} | {escaped(default)} | {escaped(comment)} |")
    return "\n".join(rows)


def escaped(text):
    return re.sub(r"(?<!\\)([|])", r"\\\1", text)
