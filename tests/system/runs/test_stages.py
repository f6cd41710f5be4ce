"""A run passes every stage once: nothing is read, checked or composed twice."""

import subprocess
import sys

import pytest
from conftest import CONF


@pytest.mark.slow
def test_a_single_run_passes_every_stage_once():
    done = subprocess.run([sys.executable, "-m", "benchmarks.trace"], cwd=CONF.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "runs/execution.py:execute" in done.stdout
