"""python -m aejax.data: lists the data sets, describes one, prepares it, and draws a preview."""

import argparse
import time
from pathlib import Path

import hydra
from hydra.core.utils import setup_globals

from aejax.base.errors import InputError
from aejax.cli.parsing import Parser, fail
from aejax.config.explain import CONF, KNOWN, explained

EXAMPLES = 12  # in a preview
LEVELS = (
    (0.5, 1, 2),
    (0.25, 0.5, 1),
)  # of each noise in a preview, times its default; the second triple where twice the default is too much
USE = """all data sets:           python -m aejax.data list
one data set:            python -m aejax.data info data=mnist data.limit=1000
prepare it:              python -m aejax.data prepare data=mnist data.manual_dir=FOLDER
preview with noises:     python -m aejax.data preview data=mnist --output mnist.png

Overrides are those of python -m aejax."""


def main(words=None):
    """The command; exit status 0, or 2 for a wrong input."""
    parser = Parser("python -m aejax.data", epilog=USE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["list", "info", "prepare", "preview"])
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--config-dir", help="a folder with your own data/*.yaml")
    parser.add_argument("--output", help="the picture of a preview; preview_DATA.png unless given")
    options = parser.parse_intermixed_args(words)
    setup_globals()
    overrides = options.overrides
    if options.config_dir is not None:
        overrides = [*overrides, f"hydra.searchpath=[file://{Path(options.config_dir).absolute()}]"]
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            {"list": show, "info": inform, "prepare": prepare, "preview": preview}[options.action](overrides, options)
    except KNOWN as error:
        fail(explained(error, overrides))


def show(overrides, options):
    """Prints a line for each choice of `data`, with the folder of each prepared standard set."""
    from aejax.datasets.sources.tfds import prepared_folder, root_of

    root = root_of(next((word.split("=", 1)[1] for word in overrides if word.startswith("data.dir=")), None))
    folders = [CONF / "data"] + ([Path(options.config_dir) / "data"] if options.config_dir else [])
    paths = [path for folder in folders for path in folder.glob("*.yaml")]
    for path in sorted(paths, key=lambda path: path.stem):
        first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        folder = prepared_folder(root, path.stem)
        print(f"{path.stem:14} {first}" + (f" Prepared in {folder}." if folder else ""))


def inform(overrides, options):
    """Prints the shape, the splits and the labels of the data that the overrides choose."""
    import numpy as np

    dataset = _job(overrides).dataset
    description = dataset.described
    print(f"{description['name']}: {description['kind']}, {' x '.join(str(size) for size in description['shape'])}")
    for name, split in dataset.splits.items():
        scale = 1 if dataset.kind == "real" or (dataset.kind == "binary" and not dataset.dynamic) else 255
        x = f"mean {split.x.mean(dtype=np.float64) / scale:.5f}, std {split.x.std(dtype=np.float64) / scale:.5f}"
        print(f"{name:12} {len(split.x):,} examples, {x}")
        if split.y is not None and len(dataset.label_names) <= 20:
            counts = np.bincount(split.y, minlength=len(dataset.label_names))
            print(
                " " * 13
                + ", ".join(f"{label}: {count}" for label, count in zip(dataset.label_names, counts, strict=True))
            )
    if dataset.label_names:
        print(f"labels       {len(dataset.label_names)}")
    if dataset.factor_names:
        print("factors      " + ", ".join(f"{name}: {size} values" for name, size in description["factors"].items()))
    for name in ("fingerprint", "license", "note"):
        if description[name]:
            print(f"{name:12} {description[name]}")


def prepare(overrides, options):
    """Prepares the data, so that later starts find them decoded."""
    started = time.perf_counter()
    dataset = _job(overrides).dataset
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in dataset.splits.items())
    print(f"{dataset.name}: {sizes} examples, ready in {time.perf_counter() - started:.1f} s")


def preview(overrides, options):
    """Writes a picture of test examples, clean and with each noise that fits the data, at three levels."""
    import numpy as np

    from aejax.base.keys import Purpose, key_for
    from aejax.evaluation.protocol import SEED
    from aejax.figures.drawing import preview as drawn
    from aejax.figures.examples import picked

    loaded = {}
    job = _job([*overrides, "noise=none"], loaded)
    form, test = job.experiment.form, job.dataset.test
    chosen = test.x[picked(len(test.x), EXAMPLES, test.y)]
    clean_NxP = np.asarray(form.scaled(chosen.reshape(-1, form.pixels)))
    rows, unfit = {"clean": clean_NxP}, []
    for kind in sorted(path.stem for path in (CONF / "noise").glob("*.yaml") if path.stem != "none"):
        try:
            noise = _job([*overrides, f"noise={kind}"], loaded).experiment.noise
        except InputError:
            unfit.append(kind)
            continue
        noises = [(kind, noise)] if not hasattr(noise, "level") else _at_levels(overrides, kind, noise.level, loaded)
        for name, noise in noises:
            rows[name] = np.asarray(noise(key_for(SEED, Purpose.RESTORE), clean_NxP, form.shape))
    path = Path(options.output or f"preview_{job.dataset.name.replace('/', '_')}.png")
    path.write_bytes(drawn(form, rows, f"{len(clean_NxP)} of {len(test.x):,} test examples of {job.dataset.name}"))
    print(f"{path}: {len(clean_NxP)} test examples" + (f"; not for these data: {', '.join(unfit)}" if unfit else ""))


def _at_levels(overrides, kind, default, loaded):
    """A noise at three levels, as (name with its level, noise)."""
    for factors in LEVELS:
        levels = [f"{float(default) * factor:.3g}" for factor in factors]
        try:
            jobs = [_job([*overrides, f"noise={kind}", f"noise.level={level}"], loaded) for level in levels]
            return [(f"{kind} {level}", job.experiment.noise) for level, job in zip(levels, jobs, strict=True)]
        except InputError:
            if factors is LEVELS[-1]:
                raise


def _job(overrides, loaded=None):
    from aejax.runs.job import compose  # imports jax, which the list does without

    return compose(overrides, loaded)
