"""Real SIGKILLs at random moments; benchmarks/kills.py does more."""

import subprocess
import sys

import pytest
from conftest import CONF


@pytest.mark.exhaustive
def test_a_sweep_that_is_killed_twice_leaves_the_bits_of_one_that_is_not():
    script = CONF.parent / "benchmarks" / "kills.py"
    done = subprocess.run([sys.executable, str(script), "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished runs that were changed or lost | 0 |" in done.stdout
