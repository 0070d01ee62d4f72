"""What the tests of the deployment share: where things lie, and how a tool is run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "fanline"


def run(*command, **options):
    """Runs a command; what it printed stands in the error where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def need(tool):
    """The path of a tool that setup.sh brings. Missing, it fails the test; with OFFLINE=1 the test is skipped by name."""
    where = f"{ROOT}/tests/.tools/bin:{ROOT}/tests/.tools/venv/bin:{os.environ['PATH']}:/usr/sbin"
    found = shutil.which(tool, path=where)
    if found is None and os.environ.get("OFFLINE"):
        pytest.skip(f"OFFLINE=1, without {tool}")
    assert found, f"{tool} is not installed: run tests/setup.sh"
    return found
