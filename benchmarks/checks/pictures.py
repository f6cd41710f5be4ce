"""What a run says of its data and shows of them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.preprocessing import StandardScaler

from aejax.runs.folder import Run

QUICK = ["steps=20", "log_points=2", "net.widths=[8]", "track=off"]
NORMAL = 1, 8, 9  # digits


@contextlib.contextmanager
def place():
    """An empty folder to be in, with decoded arrays of its own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def run(name, *words):
    """The Run of a command, None where it fails, its stdout and stderr."""
    words = [sys.executable, "-m", "aejax", *words, *QUICK, f"hydra.run.dir={name}"]
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    variables = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(Path.cwd() / "cache")}
    done = subprocess.run(words, env=variables, capture_output=True, text=True)
    return Run.read(name) if done.returncode == 0 else None, done.stdout, done.stderr


def check_standardized_arrays_are_scikit_learns():
    """Float arrays far from unit scale are told, and data.standardize=true makes of them what scikit-learn does."""
    rng = np.random.default_rng(0)
    x, test = (rng.normal(size=(count, 6)) * [300, 20, 5, 0.1, 7, 1] + [900, 0, 2, 8, 0, 0] for count in (300, 80))
    words = ["data=arrays", "data.path=x.npy", "data.test_path=t.npy", "data.validation=0", "figures=false"]
    with place():
        np.save("x.npy", x)
        np.save("t.npy", test)
        warned = "data.standardize=true" in run("far", *words)[2]
        left, out, _ = run("near", *words, "data.standardize=true")
        if left is None:
            return f"told: {warned}, data.standardize is refused", False
        floor = left.metrics["baseline/mean_mse"]
    expected = (StandardScaler().fit(x).transform(test) ** 2).mean()
    said = "kind real, standardized" in out.splitlines()[0]
    told = f"told: {warned}, said: {said}, mean squared test value {floor:.6f}, expected {expected:.6f}"
    return told, bool(warned and said and np.isclose(floor, expected, rtol=1e-4))


def check_a_limited_test_set_is_a_stratified_part():
    """data.test_limit=50 tests 50 of the 180 digits, five of each, and trains and validates on the same others."""
    with place():
        whole, _, _ = run("whole", "data=digits", "figures=false")
        few, _, _ = run("few", "data=digits", "data.test_limit=50", "figures=false")
        if few is None:
            return "data.test_limit is refused", False
        counts = np.bincount(few.codes["y"], minlength=10)
        codes = {code.round(4).tobytes() for code in whole.codes["z"]}
        inside = sum(code.round(4).tobytes() in codes for code in few.codes["z"])
        sizes = [each.record["data"]["examples"] for each in (whole, few)]
    same = all(sizes[0][name] == sizes[1][name] for name in ("train", "valid"))
    return f"{counts.tolist()}, {inside} of {sizes[1]['test']} among the whole's", (
        same and inside == 50 and counts.max() - counts.min() <= 1
    )


def check_pictures_show_every_class():
    """reconstructions.png of a sorted folder shows each of its three classes by its share of the examples."""
    grays = {"a": 60, "b": 140, "c": 220}
    rng = np.random.default_rng(0)
    with place():
        for name, gray in grays.items():
            Path("own", name).mkdir(parents=True)
            for index in range(400):
                image = np.full((8, 8), gray, np.uint8)
                image[:, 0] = rng.integers(0, 256, 8)
                Image.fromarray(image).save(f"own/{name}/{index:03d}.png")
        left, _, err = run("run", "data=images", "data.path=own", "data.test=0.5")
        if left is None:
            return err, False
        with Image.open("run/figures/reconstructions.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        exact = [int((np.abs(pixels - gray).max(axis=2) == 0).sum()) for gray in grays.values()]
    share = np.array(exact) / max(1, sum(exact))
    return f"shares of the pixels {np.round(share, 2).tolist()}", bool((np.abs(share - 1 / 3) < 0.1).all())


def check_pictures_come_in_the_formats_asked_for():
    """figures=[pdf,svg] leaves each picture in these formats and no other."""
    with place():
        left, _, _ = run("run", "figures=[pdf,svg]")
        if left is None:
            return "figures=[pdf,svg] is refused", False
        paths = sorted(Path("run/figures").iterdir())
        begins = {path.suffix: path.read_bytes()[:5] for path in paths}
        stems = {suffix: {path.stem for path in paths if path.suffix == suffix} for suffix in begins}
    passed = begins == {".pdf": b"%PDF-", ".svg": b"<?xml"} and stems[".pdf"] == stems[".svg"]
    return f"{len(paths)} files, {', '.join(sorted(begins))}", passed


def check_an_anomaly_run_names_its_mistakes():
    """An anomaly run records its threshold, the anomalies that score lowest, the normal examples that score highest."""
    with place():
        left, _, err = run("run", "data=digits", "task=anomaly", f"data.normal={list(NORMAL)}", "figures=true")
        if left is None:
            return err, False
        told = json.loads(Path("run/run.json").read_text())["evaluation"]["anomaly"]["error"]
        y, metrics, shown = left.codes["y"], left.metrics, Path("run/figures/misses.png").exists()
    if "threshold" not in told:
        return "no threshold", False
    misses, alarms = np.array(told["worst_misses"]), np.array(told["worst_false_alarms"])
    below = np.array(told["worst_misses_score"]) <= told["threshold"]
    normal = np.isin(y, NORMAL)
    missed = round((1 - metrics["anomaly/tpr"]) * (~normal).sum())
    passed = shown and not normal[misses].any() and normal[alarms].all() and below.sum() == min(missed, len(misses))
    return f"threshold {told['threshold']:.3g}, {missed} missed, {below.sum()} of {len(misses)} listed are", bool(
        passed
    )
