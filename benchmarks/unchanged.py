"""Whether another version of aejax computes the same: a matrix of trainings, recorded once and compared later.

python -m benchmarks.unchanged record FILE.json    trains the matrix, and records digests of what it leaves
python -m benchmarks.unchanged compare FILE.json   trains it again; prints what differs, exit status 1 if anything does

Both need the same machine and the same versions of jax and jaxlib. Parameters, codes and histories are compared bit for
bit, metrics as they are written, those of an older record by their present names.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from aejax.metrics.lookup import renamed

MODELS = (
    "ae,linear_ae,deep_ae,conv_ae,sparse_ae,l1_ae,topk_ae,contractive_ae,stacked_ae,rbm_ae,vae,beta_vae,conv_vae,pca"
)
NOISES = "gaussian,salt_pepper,flip,masking,speckle,shot,chain"
QUICK = ["steps=150", "log_points=3", "track=off", "figures=false"]
MATRIX = {  # sweeps by name
    "letters": [f"model={MODELS}", "data=letters", "evaluate=full"],
    "emoji": [f"model={MODELS}", "data=emoji"],
    "digits": [f"model={MODELS}", "data=digits", "data.limit=300"],
    "noises": ["model=ae", "data=letters", f"noise={NOISES}", "seed=0,1"],
    "images": ["model=vae", "data=emoji", "noise=occlusion,downsample,grayscale", "evaluate.noise=grid"],
    "pretrain": [
        "model=ae",
        "data=letters,digits",
        "pretrain=greedy,rbm",
        "net.activation=sigmoid",
        "net.center=false",
    ],
    "lanes": ["model=ae,vae,sparse_ae", "data=letters", "latent_dim=1,2,5", "seed=range(2)"],
    "resumed": ["model=vae", "data=letters", "steps=20000", "latent_dim=2,3", "checkpoint.seconds=0", "log_points=20"],
    "anomaly": ["model=ae,vae", "data=digits", "task=anomaly", "data.normal=[0],[1]"],
    "select": ["model=ae", "data=digits", "select=best", "likelihood=learned", "optim=adam,adamw,sgd"],
}


def main():
    """Records or compares."""
    parser = argparse.ArgumentParser("python -m benchmarks.unchanged", description=__doc__)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", choices=MATRIX, default=list(MATRIX))
    asked = parser.parse_args()
    recorded = json.loads(asked.file.read_text()) if asked.file.exists() else {}
    differences = []
    for name in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            _train(Path(folder) / name, [*QUICK, *MATRIX[name]], interrupt=name == "resumed")
            runs = {f"{name}/{path.parent.name}": _left(path.parent) for path in Path(folder, name).glob("*/run.json")}
        before = {run: left for run, left in recorded.items() if run.startswith(f"{name}/")}
        if asked.what == "record":
            recorded = {run: left for run, left in recorded.items() if run not in before} | runs
            asked.file.write_text(json.dumps(recorded, indent=1, sort_keys=True))
            print(f"{name}: {len(runs)} runs", flush=True)
            continue
        lines = [line for run in sorted(before.keys() | runs.keys()) for line in _differences(run, before, runs)]
        print(*lines, f"{name}: {len(runs)} runs, {len(lines)} differences", sep="\n", flush=True)
        differences += lines
    sys.exit(bool(differences))


def _train(folder, words, interrupt):
    """The sweep; one that is to be interrupted gets a signal in its training, and is resumed."""
    command = [sys.executable, "-m", "aejax", "-m", *words, f"hydra.sweep.dir={folder}"]
    if interrupt:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not list(folder.rglob("checkpoint-*")) and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        if process.wait() != 130:
            sys.exit(f"{folder.name}: was not interrupted, status {process.returncode}")
        command = [sys.executable, "-m", "aejax.resume", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _left(run):
    """Digests and metrics of what a run left."""
    record = json.loads((run / "run.json").read_text())
    codes = np.load(run / "codes.npz")
    return {
        "name": record["name"],
        "status": record["status"],
        "params": {name: _digest(value) for name, value in load_file(run / "params.safetensors").items()},
        "codes": {name: _digest(codes[name]) for name in codes.files if codes[name].dtype.kind != "U"},
        "history": hashlib.sha256((run / "history.csv").read_bytes()).hexdigest(),
        "metrics": json.loads((run / "metrics.json").read_text()),
    }


def _digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _differences(run, before, after):
    """A line for each thing in which a run differs."""
    if run not in before or run not in after:
        return [f"{run}: is only {'there now' if run in after else 'in the record'}"]
    old, new = before[run], after[run]
    metrics = {renamed(name) or name: value for name, value in old["metrics"].items()}
    lines = [
        f"{run}: {key} differs" for key in ("name", "status", "params", "codes", "history") if old[key] != new[key]
    ]
    known = {name: value for name, value in new["metrics"].items() if name in metrics or value is not None}
    for name in sorted(metrics.keys() | known.keys()):  # a metric that came later and does not apply changes nothing
        if metrics.get(name, "absent") != known.get(name, "absent"):
            lines.append(f"{run}: {name} {metrics.get(name, 'absent')} -> {known.get(name, 'absent')}")
    return lines


if __name__ == "__main__":
    main()
