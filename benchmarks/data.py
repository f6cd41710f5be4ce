"""How long data take to be ready, and how much memory: python -m benchmarks.data ORIGINALS

ORIGINALS holds the original files of MNIST and Fashion-MNIST in mnist/ and fashion_mnist/. Each number is that of a
fresh process, without the imports; the second start is the median of five. Prints a table in Markdown, with seconds of
processor time beside those on the clock.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES, SIDE = 5000, 64
REPEATS = 6  # of an epoch; single ones vary by a tenth
WEIGHTS = 2 * (784 * 256 + 256 * 128 + 128 * 32) + 128 * 32  # of the encoder with its two heads, and the decoder
STREAMED = 30_000_000  # bytes of the device for data, of the 42 million that the training images have
PRODUCT = "from benchmarks.rates import product_rate; print(product_rate('float32', 2048))"
START = """
import os, resource, time
os.environ["XDG_CACHE_HOME"] = {cache!r}
import jax, sys
jax.numpy.zeros(3).block_until_ready()
from aejax.data import Splits
from aejax.data.tfds import Tfds
from aejax.data.images import Images
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


def started(cache, source):
    """Seconds until the splits and the fingerprint are there, processor time, peak memory in parts of the arrays."""
    script = START.format(cache=str(cache), source=source)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def main(originals):
    print("| case | number |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name in ("mnist", "fashion_mnist"):
            common = f"'train', 'test', 'image', 'label', 'auto', {str(folder / 'sets')!r}"
            seconds, used, above = started(folder, f"Tfds({name!r}, {common}, {originals!r}, False, None)")
            print(f"| {name}: prepared from its files | {seconds:.1f} s ({used:.1f} s), {above:.1f} x the arrays |")
            again = [started(folder, f"Tfds({name!r}, {common}, None, False, None)") for _ in range(5)]
            seconds, used, above = (statistics.median(column) for column in zip(*again, strict=True))
            print(f"| {name}: second start to arrays | {seconds:.3f} s ({used:.3f} s), {above:.1f} x the arrays |")
        rng = np.random.default_rng(0)
        (folder / "images").mkdir()
        for index in range(IMAGES):
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / "images" / f"{index}.png")
        source = f"Images({str(folder / 'images')!r}, None, 'auto', None, 'crop', False)"
        for told in ("first read", "second"):
            seconds, used, _ = started(folder, source)
            rates = f"{IMAGES / seconds:,.0f} images a second ({IMAGES / used:,.0f} a core)"
            print(f"| a folder of {IMAGES:,} PNGs, {SIDE} x {SIDE}, {told} | {rates} |")
        train(folder)


def train(folder):
    """One epoch of a VAE on the prepared MNIST, resident and streamed, beside a matrix product on the same machine."""
    words = [sys.executable, "-m", "aejax", "model=vae", "data=mnist", f"data.dir={folder / 'sets'}", "epochs=1"]
    words += ["batch_size=128", "net.widths=[256,128]", "latent_dim=32", "figures=false", "track=off"]
    words += ["evaluate.groups=[reconstruction]"]
    rates, products = {"resident": [], "streamed": []}, []
    for place in range(REPEATS):
        products.append(product())
        for name, more in (("resident", []), ("streamed", [f"data.device_bytes={STREAMED}"])):
            run = folder / f"{name}{place}"
            subprocess.run([*words, *more, f"hydra.run.dir={run}"], check=True, capture_output=True)
            record = json.loads((run / "run.json").read_text())
            examples = record["data"]["examples"]["train"] // 128 * 128
            rates[name].append(6 * WEIGHTS * examples / record["seconds"]["train"])
    resident, streamed, best = (statistics.median(each) for each in (*rates.values(), products))
    print(f"| one epoch of MNIST, 784-256-128-32, batch 128, validation included | {resident / 1e9:.1f} GFLOP/s |")
    print(f"| of a 2048 x 2048 float32 matrix product ({best / 1e9:.1f} GFLOP/s) | {resident / best:.2f} |")
    print(f"| streamed, of resident | {streamed / resident:.2f} |")


def product():
    """FLOP/s of a matrix product, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PRODUCT], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
