"""A sweep that is killed at random moments and goes on leaves the bits of one that is not.

    python benchmarks/kills.py             50 kills, some 10 minutes on 2 cores
    python benchmarks/kills.py 5

64 letters jobs in four programs. After each SIGKILL the runs that were finished must be as they were; sweeps that
come to their end are compared, file by file, with an uninterrupted one, and the next one begins.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ["model=ae,vae", "noise=none,flip", "latent_dim=2,3", "seed=range(8)", "steps=6000", "log_points=60"]
WORDS += ["net.widths=[10]", "figures=false", "checkpoint.seconds=0.2"]
COMPARED = ("metrics.json", "history.csv", "params.safetensors", "codes.npz")


def main():
    """Prints the table; exit status 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int, nargs="?", default=50)
    kills = parser.parse_args().kills
    chance, wrong, killed, ended, resumed = random.Random(0), [], 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/cache"
        subprocess.run(begin(folder / "whole"), check=True, stdout=subprocess.DEVNULL)
        started = time.perf_counter()
        subprocess.run(begin(folder / "again"), check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started  # of a sweep that compiles nothing
        wrong += differences(folder / "whole", folder / "again")
        while killed < kills:
            place = folder / f"cut{ended}"
            command = begin(place)
            while True:
                before = finished(place)
                dead = run_for(command, chance.uniform(0, seconds) if killed < kills else None)
                killed += dead
                wrong += [
                    f"{place}/{name} has changed" for name, state in before.items() if finished(place)[name] != state
                ]
                if not dead:
                    break
                resumed += any(place.glob("checkpoint-*"))
                if (place / "multirun.yaml").exists():
                    command = [sys.executable, "-m", "aejax.resume", str(place)]
            wrong += differences(folder / "whole", place)
            ended += 1
    print("| case | number |\n| --- | --- |")
    print(f"| SIGKILLs of a 64-job sweep of {seconds:.0f} s | {killed} |")
    print(f"| of them with a checkpoint to go on from | {resumed} |")
    print(f"| sweeps that came to their end, each compared with an uninterrupted one | {ended} |")
    print(f"| files that differ, finished runs that were changed or lost | {len(wrong)} |")
    for each in wrong:
        print(each)
    sys.exit(bool(wrong))


def begin(place):
    """The command of the sweep in this folder."""
    return [sys.executable, "-m", "aejax", "-m", *WORDS, f"hydra.sweep.dir={place}"]


def run_for(command, seconds):
    """Whether the command had to be killed after so many seconds; one that ends by itself must end well."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        if process.wait(seconds):
            sys.exit(f"{command}: exit status {process.returncode}")
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def finished(place):
    """{name of a finished run: digest of all its files}."""
    runs = [path.parent for path in place.glob("*/run.json") if '"finished"' in path.read_text()]
    return {run.name: digest(path for path in run.rglob("*") if path.is_file()) for run in runs}


def digest(paths):
    """Of the contents and times of files."""
    told = [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(paths)]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def differences(one, other):
    """What differs in the results of two sweeps."""
    names = [f"{number}/{name}" for number in range(64) for name in COMPARED]
    return [
        f"{other}/{name} differs"
        for name in names
        if not (other / name).exists() or (one / name).read_bytes() != (other / name).read_bytes()
    ]


if __name__ == "__main__":
    main()
