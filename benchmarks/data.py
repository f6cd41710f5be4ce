"""How long data take to be ready, how much memory they need, and an epoch of resident and of streamed ones.

python -m benchmarks data --originals FOLDER       some 10 minutes on 2 cores

FOLDER holds the original files of MNIST and Fashion-MNIST in mnist/ and fashion_mnist/. Each number is that of a fresh
process, without the imports; the second start is the median of five. A note has the seconds of processor time.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import commands, timing
from benchmarks.rows import Row, absent

IMAGES, SIDE = 5000, 64
REPEATS = 6  # of an epoch; single ones vary by a tenth
WEIGHTS = 2 * (784 * 256 + 256 * 128 + 128 * 32) + 128 * 32  # of the encoder with its two heads, and the decoder
STREAMED = 30_000_000  # bytes of the device for data, of the 42 million that the training images have
EPOCH = "one epoch of MNIST, 784-256-128-32, batch 128, validation included"
PRODUCT = "from benchmarks.rates import product_rate; print(product_rate('float32', 2048))"
START = """
import os, resource, time
os.environ["XDG_CACHE_HOME"] = {cache!r}
import jax, sys
jax.numpy.zeros(3).block_until_ready()
from aejax.data import Splits
from aejax.datasets.sources.tfds import Tfds
from aejax.datasets.sources.images import Images
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, used = time.perf_counter(), time.process_time()
given = dict(device_bytes=None, limit=None, classes=None, normal=None, binarize="none")
given |= dict(test_limit=None, standardize=False)
dataset = Splits(validation=0.1, test=0.1, split_seed=0, **given)({source}.load())
dataset.fingerprint
seconds, used = time.perf_counter() - started, time.process_time() - used
arrays = jax.block_until_ready(dataset.arrays())
above = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert "tensorflow" not in sys.modules
print(seconds, used, above * 1024 / sum(split.x.nbytes for split in dataset.splits.values()))
"""


def rows(quick=False, originals=None):
    """The standard sets, a folder of pictures, and an epoch; without the `originals` only the second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if originals is None:
            yield absent("mnist, fashion_mnist", "", "--originals names the folder of their files")
        else:
            for name in ("mnist",) if quick else ("mnist", "fashion_mnist"):
                yield from standard(folder, name, Path(originals).absolute())
        yield from pictures(folder, 50 if quick else IMAGES)
        if originals is not None:
            yield from epochs(folder, 1 if quick else REPEATS)


def standard(folder, name, originals):
    """A standard set, prepared from its files, and later starts."""
    common = f"'train', 'test', 'image', 'label', 'auto', {str(folder / 'sets')!r}"
    seconds, used, above = started(folder, f"Tfds({name!r}, {common}, {str(originals)!r}, False, None)")
    yield Row(f"{name}: prepared from its files", "", "s", seconds, note=told(used, above))
    again = [started(folder, f"Tfds({name!r}, {common}, None, False, None)") for _ in range(5)]
    seconds, used, above = (timing.Spread.of(column).median for column in zip(*again, strict=True))
    yield Row(f"{name}: second start to arrays", "", "s", seconds, note=told(used, above))


def told(used, above):
    """The note of a start."""
    return f"{used:.3f} s of processors, {above:.1f} times the memory of the arrays"


def pictures(folder, count):
    """Images a second from a folder of so many pictures."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / "images" / f"{index}.png")
    source = f"Images({str(folder / 'images')!r}, None, 'auto', None, 'crop', False)"
    for when in ("first read", "second"):
        seconds, used, _ = started(folder, source)
        case, note = f"a folder of {count:,} PNGs, {SIDE} x {SIDE}, {when}", f"{count / used:,.0f} a core"
        yield Row(case, "", "images/s", count / seconds, note=note)


def started(cache, source):
    """Seconds until the splits and the fingerprint are there, processor time, peak memory in parts of the arrays."""
    script = START.format(cache=str(cache), source=source)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def epochs(folder, rounds):
    """One epoch of a VAE on the prepared MNIST, resident and streamed, beside a matrix product on the same machine."""
    words = ["model=vae", "data=mnist", f"data.dir={folder / 'sets'}", "epochs=1"]
    words += ["batch_size=128", "net.widths=[256,128]", "latent_dim=32", "figures=false", "track=off"]
    words += ["evaluate.groups=[reconstruction]"]
    rates, products = {"resident": [], "streamed": []}, []
    for place in range(rounds):
        products.append(product() / 1e9)
        for name, more in (("resident", []), ("streamed", [f"data.device_bytes={STREAMED}"])):
            run = folder / f"{name}{place}"
            commands.aejax(folder, *words, *more, f"hydra.run.dir={run}")
            record = json.loads((run / "run.json").read_text())
            examples = record["data"]["examples"]["train"] // 128 * 128
            rates[name].append(6 * WEIGHTS * examples / record["seconds"]["train"] / 1e9)
    resident, streamed, best = (timing.Spread.of(each).median for each in (*rates.values(), products))
    ratio = timing.ratio(rates["resident"], products)
    yield Row(EPOCH, "the rate of a 2048² product", "GFLOP/s", resident, best, ratio)
    ratio = timing.ratio(rates["streamed"], rates["resident"])
    yield Row("the same with streamed batches", "with resident ones", "GFLOP/s", streamed, resident, ratio)


def product():
    """FLOP/s of a matrix product, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PRODUCT], check=True, capture_output=True, text=True)
    return float(done.stdout)
