"""One run, from command to record: the stages that it passes, in their order.

python -m benchmarks.trace [OVERRIDE ...]    traces `python -m aejax steps=20 track=off OVERRIDE ...`

A stage that is passed twice is marked AGAIN, one that is not passed is listed, and then the exit status is 1.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

import aejax

ROOT = Path(aejax.__file__).parent
STAGES = {  # file below aejax/, function: what happens once in a run
    ("config/explain.py", "check_lengths"): "the composed configuration",
    ("runs/job.py", "read"): "configuration -> experiment, data",
    ("datasets/splits.py", "__call__"): "data -> splits",
    ("training/experiment.py", "settle"): "experiment, form of the data -> settled experiment",
    ("training/plan.py", "check_memory"): "does it fit",
    ("runs/destination.py", "check_folder"): "may its folder be written",
    ("runs/execution.py", "execute"): "job, place -> run",
    ("runs/programs.py", "compiled"): "programs, first state",
    ("runs/record.py", "begin"): "run.json, W&B run",
    ("runs/segments.py", "train"): "state, data -> state, history",
    ("evaluation/evaluate.py", "evaluate"): "parameters, data -> metrics, codes",
    ("runs/record.py", "leave"): "metrics.json, params.safetensors, codes.npz",
    ("runs/pictures.py", "pictures"): "figures/",
    ("runs/record.py", "end"): "history.csv, run.json",
    ("runs/console.py", "result"): "the table at the end",
}


def traced(words):
    """[(file, function)] of the stages that the command with these words passes, on any thread, in order."""
    from aejax.cli import train

    passed, files = [], {str(ROOT / file): file for file, _ in STAGES}

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename in files:
            stage = files[frame.f_code.co_filename], frame.f_code.co_name
            if stage in STAGES:
                passed.append(stage)

    before, sys.argv = sys.argv, ["aejax", *words]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        train.main()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        sys.argv = before
    return passed


def main():
    """Prints the trace of a run in a folder that is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        passed = traced(["steps=20", "track=off", *sys.argv[1:]])
    width = max(len(f"{file}:{name}") for file, name in passed)
    for number, (file, name) in enumerate(passed):
        again = "   AGAIN" if (file, name) in passed[:number] else ""
        print(f"{file + ':' + name:<{width}}  {STAGES[file, name]}{again}")
    missing = [f"{file}:{name}" for file, name in STAGES if (file, name) not in passed]
    print(*(f"not passed: {stage}" for stage in missing), sep="\n", end="")
    sys.exit(bool(missing) or len(set(passed)) < len(passed))


if __name__ == "__main__":
    main()
