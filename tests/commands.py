"""Sweeps as commands of their own."""

import subprocess
import sys

QUICK = ["steps=20", "log_points=4", "net.widths=[5]", "figures=false", "track=off"]
QUICK += ["evaluate.groups=[reconstruction]"]


def sweep(folder, *words, status=0):
    done = subprocess.run([sys.executable, "-m", "aejax", "-m", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done
