"""What the command line answers, and what aejax leaves of itself in a process."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 9  # of timings, interleaved

TRAINED = """
import json, logging, os, pathlib, shutil, sys
import numpy as np
import aejax
from aejax.data import Dataset
import jax
before = dict(os.environ), jax.config.jax_compilation_cache_dir, logging.getLogger("wandb").level
x = np.random.default_rng(0).random((60, 5))
words = ["steps=3", "log_points=1", "net.widths=[4]", "figures=false", "evaluate.groups=[reconstruction]"]
run = aejax.train(Dataset(train=x), *words, "track=offline", "hydra.run.dir=run")
after = dict(os.environ), jax.config.jax_compilation_cache_dir, logging.getLogger("wandb").level
left = sorted(name for name in after[0] if after[0][name] != before[0].get(name))
shutil.rmtree("run")
import wandb
own = wandb.init(mode="offline", project="mine", settings=wandb.Settings(silent=True))
own.log({"table": wandb.Table(columns=["a"], data=[[1]])})
own.finish()
files = len(list(pathlib.Path().glob("wandb/offline-run-*/*.wandb")))
print(json.dumps([left, before[1:] == after[1:], os.path.exists("run"), files]))
"""


def _called(*words, **options):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, **options)


def check_help_is_quick():
    """--help takes at most twice as long as importing Hydra."""
    commands = {"hydra": ["-c", "import hydra"], "help": ["-m", "aejax", "--help"]}
    seconds = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            begin = time.perf_counter()
            assert _called(*words).returncode == 0
            seconds[name].append(time.perf_counter() - begin)
    hydra, own = (statistics.median(seconds[name]) for name in commands)
    return f"{own:.2f} s, {own / hydra:.2f} times {hydra:.2f} s", own <= 2 * hydra


def check_a_process_is_as_it_was():
    """aejax.train leaves no variable, cache folder or log level, and a wandb.init of the user's works after it."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with tempfile.TemporaryDirectory() as folder:
        done = _called("-c", TRAINED, cwd=folder, env=variables)
    left, same, again, files = json.loads(done.stdout.splitlines()[-1])
    measured = f"left {left or 'no variable'}, JAX and log level as before: {same}, run folder made again: {again}"
    return measured, (left, same, again, files) == ([], True, False, 1)
