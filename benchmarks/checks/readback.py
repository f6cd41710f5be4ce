"""What a run saves is what it reported: its files read by numpy alone, beside what the run says."""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from aejax.base.errors import InputError
from aejax.datasets.sources.letters import glyphs
from aejax.runs.folder import Run

SHORT = ["steps=300", "track=off", "figures=false", "net.widths=[16]"]


@functools.cache
def place():
    """A folder that lasts as long as this process."""
    kept = tempfile.TemporaryDirectory()
    place.kept = kept
    return Path(kept.name)


def command(*words):
    """Exit status, stdout and stderr of a command of aejax's."""
    done = subprocess.run([sys.executable, "-m", *map(str, words)], cwd=place(), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@functools.cache
def sweep():
    """The folders of a sweep whose programs hold lanes of 2 and of 4 code units."""
    status, _, err = command("aejax", "-m", "model=ae,vae", "latent_dim=2,4", *SHORT, "hydra.sweep.dir=sweep")
    assert status == 0, err
    return [place() / "sweep" / str(number) for number in range(4)]


def copied(run, name):
    return Path(shutil.copytree(run, place() / name))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def by_numpy(run, x_NxP):
    """Codes and reconstructions of examples, by the saved parameters of a net of one hidden layer, in float64."""
    leaf = {name: array.astype(np.float64) for name, array in load_file(run / "params.safetensors").items()}

    def dense(name, x):
        return x @ leaf[f"{name}.kernel"] + leaf[f"{name}.bias"]

    center_P = leaf["running.center"]
    z_NxZ = dense("to_code.mean", gelu(dense("encoder.Dense_0", x_NxP - center_P)))
    share_P = np.clip(center_P, 1 / 256, 1 - 1 / 256)
    logits_NxP = dense("decoder.Dense_0", gelu(dense("from_code", z_NxZ))) + np.log(share_P / (1 - share_P))
    return z_NxZ, 1 / (1 + np.exp(-logits_NxP))


def check_saved_parameters_give_the_reported_numbers():
    """Parameters on disk, through a net in numpy, give codes.npz and recon/mse for lanes of 2 and of 4 units (1e-4)."""
    x_NxP, apart, errors = glyphs()[1].reshape(27, 35).astype(np.float64), [], []
    for run in sweep():
        z_NxZ, predicted_NxP = by_numpy(run, x_NxP)
        with np.load(run / "codes.npz", allow_pickle=False) as file:
            apart.append(np.abs(z_NxZ - file["z"]).max() / file["z"].std())
        reported = json.loads((run / "metrics.json").read_text())["recon/mse"]
        errors.append(abs(((predicted_NxP - x_NxP) ** 2).mean() / reported - 1))
    told = f"4 runs: codes differ by {max(apart):.1e} of their deviation, the error by {max(errors):.1e}"
    return told, bool(max(apart) < 1e-4 and max(errors) < 1e-4)


def check_evaluation_adds_nothing_to_a_run_that_does_not_reproduce():
    """aejax.evaluate leaves a run whose parameters were changed as it is, names what differs, and exits with 1."""
    run = copied(sweep()[0], "spoilt")
    path = run / "params.safetensors"
    content = bytearray(path.read_bytes())
    content[-4000:-2000] = content[-2000:]  # what is read is whole, and other numbers
    path.write_bytes(bytes(content))
    before = (run / "metrics.json").read_bytes(), (run / "run.json").read_bytes()
    status, _, err = command("aejax.evaluate", run, "groups=[nll]", "noise=own")
    same = before == ((run / "metrics.json").read_bytes(), (run / "run.json").read_bytes())
    return (
        f"status {status}, {'nothing' if same else 'something'} added",
        status == 1 and same and "recon/mse is" in err,
    )


def check_evaluation_of_a_lane_gives_what_the_run_reported():
    """aejax.evaluate of the narrow lanes of a sweep gives every number of metrics.json again (1e-4)."""
    runs = [copied(run, f"again{run.name}") for run in (sweep()[0], sweep()[2])]
    status, out, _ = command("aejax.evaluate", *runs, "groups=[reconstruction,code,separation]", "noise=own")
    differing = out.count("recorded value is kept")
    return f"status {status}, {differing} numbers differ", status == 0 and differing == 0


def check_a_code_is_traced_to_its_picture():
    """codes.npz names the file of each code: its pixels, through the saved encoder, give that code."""
    folder, rng = place() / "pictures", np.random.default_rng(0)
    for number in range(60):
        path = folder / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).save(path)
    words = ["data=images", f"data.path={folder}", "data.test=0.3", "likelihood=bernoulli", *SHORT]
    status, _, err = command("aejax", *words, "evaluate.groups=[reconstruction]", "hydra.run.dir=pictured")
    assert status == 0, err
    with np.load(place() / "pictured" / "codes.npz", allow_pickle=False) as file:
        codes = dict(file)
    if "name" not in codes:
        return f"no names; index {codes['index'][:4].tolist()}…", False
    x_NxP = np.stack([np.asarray(Image.open(folder / name)).ravel() / 255 for name in codes["name"]])
    z_NxZ, *_ = by_numpy(place() / "pictured", x_NxP)
    apart = np.abs(z_NxZ - codes["z"]).max()
    told = f"{len(x_NxP)} pictures, codes at most {apart:.1e} apart"
    return told, bool(apart < 1e-4 * codes["z"].std() + 1e-6)


def check_errors_across_data_have_a_key_for_each_data_set():
    """--across keeps an error for each of two sets of letters with other classes, and the own one is recon/mse."""
    runs = []
    for name, classes in (("few", "[a,b,c,d]"), ("others", "[w,x,y,z]")):
        status, _, err = command("aejax", *SHORT, f"data.classes={classes}", f"hydra.run.dir={name}")
        assert status == 0, err
        runs.append(place() / name)
    status, *_ = command("aejax.evaluate", *runs, "groups=[reconstruction]", "noise=own", "--across")
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    keys = [sorted(name for name in each if name.startswith("cross_data/")) for each in metrics]
    own = [any(np.isclose(each[name], each["recon/mse"], rtol=1e-4) for name in keys[0]) for each in metrics if keys[0]]
    return f"keys {', '.join(keys[0])}", status == 0 and keys[0] == keys[1] and len(keys[0]) == 2 and all(own)


def check_what_is_announced_takes_no_memory():
    """A codes.npz of 300 bytes that announces 12 GiB is refused before more than 16 MiB are taken for it."""
    run = copied(sweep()[0], "announced")
    with zipfile.ZipFile(run / "codes.npz", "w") as file, file.open("z.npy", "w") as member:
        head = {"descr": "<f4", "fortran_order": False, "shape": (3 * 2**30, 1)}
        np.lib.format.write_array_header_1_0(member, head)
    tracemalloc.start()
    try:
        _ = Run(run).codes
        told = None
    except InputError as error:
        told = error
    except (ValueError, MemoryError):
        told = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{peak / 2**20:.1f} MiB, {'refused' if told else 'no clear line'}", told is not None and peak < 2**24


def check_a_damaged_record_gets_one_line():
    """aejax.evaluate on a run.json whose evaluation is a list ends in one line and exit status 2."""
    run = copied(sweep()[1], "damaged")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"evaluation": [1, 2]}))
    status, _, err = command("aejax.evaluate", run, "groups=[reconstruction]", "noise=own")
    return f"status {status}, {err.count(chr(10))} lines", status == 2 and err.count("\n") == 1
