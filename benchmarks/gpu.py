"""Training on a GPU, beside the CPU of its machine: lanes, vmap or map, convolutions, precision, streaming, GPUs.

    python -m benchmarks.gpu                       all tables, in Markdown; without a GPU those of the CPU
    python -m benchmarks.gpu --quick               whether it runs: few lanes and steps, some 4 minutes on 2 busy cores
    python -m benchmarks.gpu --only lanes conv     these tables only

A row is a program of aejax's own, trained for some segments of equal length; its time is the median over all but the
first. `*` is what lanes.how=auto chooses. The share is that of the product rate, which is measured on the same devices
in the same precision; it counts the matrix products of a step. Images are random, of MNIST's sizes. A program that was
compiled above takes 0 seconds to compile. What fails says why in its row.
"""

import argparse
import dataclasses
import functools
import importlib.util
import os
import statistics
import subprocess
import sys

COLUMNS = ("net", "lanes", "how", "devices", "precision", "seconds to compile")
COLUMNS += ("steps/s of a lane", "steps/s in all", "share of the product rate")
IMAGES, STREAMED = 60_000, 45_000_000  # and bytes of the device for data where they are streamed; they have 47 million


@dataclasses.dataclass(frozen=True)
class Net:
    """A training: its overrides, and its network in PyTorch (function, arguments)."""

    words: tuple[str, ...]
    in_torch: tuple[str, tuple]

    @property
    def is_letters(self):
        return "data=letters" in self.words


LETTERS, MLP, CONV = "letters 35-20-10-2", "MNIST 784-256-128-32", "MNIST conv 32-64, 32"
CONV_WORDS = ("model=conv_ae", "net.widths=[32,64]", "latent_dim=32", "batch_size=128")
NETS = {
    LETTERS: Net(("data=letters", "net.widths=[20,10]", "latent_dim=2"), ("dense", ([35, 20, 10, 2],))),
    MLP: Net(("net.widths=[256,128]", "latent_dim=32", "batch_size=128"), ("dense", ([784, 256, 128, 32],))),
    CONV: Net(CONV_WORDS, ("conv", (32, 64, 32))),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured: lanes of letters and of MNIST, the most by map and by XLA's convolutions, steps of a segment of
    letters and of MNIST, segments."""

    letters: tuple[int, ...]
    mnist: tuple[int, ...]
    mapped: int
    by_xla: int
    steps: tuple[int, int]
    segments: int
    images: int = IMAGES

    def lanes(self, net):
        """The numbers of lanes of a net."""
        return self.letters if NETS[net].is_letters else self.mnist

    def of_segment(self, net):
        """The steps of a segment of a net."""
        return self.steps[0 if NETS[net].is_letters else 1]


SIZES = {
    "gpu": Sizes((1, 16, 256, 1024, 4096, 16384), (1, 4, 16, 64, 256), 64, 256, (200, 50), 6),
    "cpu": Sizes((1, 16, 256), (1, 4, 16), 16, 1, (200, 10), 4),
    "quick": Sizes((1, 4), (2,), 1, 2, (10, 2), 3, 2000),
}


def main():
    """Measures on the default device, then on the CPU, each in a process of its own."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu")
    parser.add_argument("--quick", action="store_true", help="few lanes and steps")
    parser.add_argument(
        "--only", nargs="+", choices=(*ROWS, "torch"), default=(*ROWS, "torch"), help="tables, by default all"
    )
    parser.add_argument("--here", choices=("jax", "torch"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        return here(asked.quick, asked.only) if asked.here == "jax" else in_torch(asked.quick)
    has_gpu = backend() != "cpu"
    if not has_gpu:
        print("No GPU is here: these are the CPU's numbers.\n", flush=True)
    for environment in ({}, {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""})[0 if has_gpu else 1 :]:
        run("jax", asked, environment)
        if "torch" in asked.only:
            run("torch", asked, environment)
    return 0


def backend():
    """The name of JAX's default backend in a new process, which gives the device back."""
    words = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]


def run(what, asked, environment):
    """Measures in a process of its own, which prints; ends this one if that fails."""
    words = [sys.executable, "-m", "benchmarks.gpu", "--here", what, *(["--quick"] if asked.quick else [])]
    if subprocess.run([*words, "--only", *asked.only], env=os.environ | environment, check=False).returncode:
        sys.exit(f"failed: {' '.join(words)} {environment}")


def here(quick, only):
    """Prints the tables of this process's devices."""
    import jax

    from aejax.base.devices import cores

    jax.config.update("jax_num_cpu_devices", cores())  # which JAX_PLATFORMS=cpu and machines without a GPU use
    sizes = SIZES["quick" if quick else "cpu" if jax.default_backend() == "cpu" else "gpu"]
    rates = machine(quick)
    precisions = [precision for precision, rate in rates.items() if rate is not None]
    for table, rows in ROWS.items():
        if table in only:
            header(table)
            for row in rows(sizes, precisions):
                show(row, sizes, rates)


def machine(quick):
    """Prints what the machine is and can do at most; returns {precision: FLOP/s of products on a device, or None}."""
    import jax

    from aejax.base.devices import cores
    from aejax.base.precision import PRECISIONS
    from benchmarks.rates import memory_rate, product_rate

    device, count = jax.devices()[0], len(jax.devices())
    rates = {precision: product_rate(precision, 512 if quick else None) for precision in PRECISIONS}
    shown = {name: "none" if rate is None else f"{rate / 1e9:,.0f} GFLOP/s" for name, rate in rates.items()}
    rows = {"device": f"{count} x {device.device_kind}, {device.platform}", "cores": str(cores())}
    rows |= {"JAX": jax.__version__} | {f"product in {name}": told for name, told in shown.items()}
    rows |= {"memory of a device": f"{memory_rate(2**20 if quick else None) / 1e9:,.0f} GB/s"}
    print(f"## {device.device_kind}\n\n| machine | |\n| --- | --- |")
    print(*(f"| {name} | {told} |" for name, told in rows.items()), sep="\n", flush=True)
    return rates


@dataclasses.dataclass(frozen=True)
class Row:
    """A case to measure; `told` is added to the name of the net, `words` to its overrides."""

    net: str
    lanes: int
    how: str
    precision: str = "float32"
    devices: int | None = None
    told: str = ""
    words: tuple[str, ...] = ()


def lanes_rows(sizes, precisions):
    """Lanes by vmap in each precision, and by map; one lane has one way."""
    for net in NETS:
        for lanes in sizes.lanes(net):
            for precision in precisions:
                yield Row(net, lanes, "map" if lanes == 1 else "vmap", precision)
            if 1 < lanes <= sizes.mapped:
                yield Row(net, lanes, "map")


def conv_rows(sizes, precisions):
    """XLA's convolutions; those of aejax are in the first table."""
    for lanes in (each for each in sizes.mnist if each <= sizes.by_xla):
        for precision in precisions:
            kind = "XlaConvBfloat16" if precision == "bfloat16" else "XlaConv"
            words = (f"net._target_=benchmarks.xla_conv.{kind}",)
            yield Row(
                CONV, lanes, "map" if lanes == 1 else "vmap", precision, told="by XLA's convolutions", words=words
            )
        if 1 < lanes <= min(sizes.mapped, sizes.by_xla):
            words = ("net._target_=benchmarks.xla_conv.XlaConv",)
            yield Row(CONV, lanes, "map", told="by XLA's convolutions", words=words)


def data_rows(sizes, _):
    """Data on the device, and batches that are sent to it."""
    device_bytes = STREAMED * sizes.images // IMAGES
    for lanes in sorted({sizes.mnist[0], sizes.mnist[len(sizes.mnist) // 2]}):
        how = "map" if lanes == 1 else "vmap"
        yield Row(MLP, lanes, how, told="resident")
        yield Row(MLP, lanes, how, told="streamed", words=(f"data.device_bytes={device_bytes}",))


def devices_rows(sizes, _):
    """The same lanes on one device, on two, on four, … and on all."""
    import jax

    count = len(jax.devices())
    for net in (LETTERS, MLP):
        for devices in sorted({count, *(2**power for power in range(count.bit_length()))}):
            if devices <= sizes.lanes(net)[-1]:
                yield Row(net, sizes.lanes(net)[-1], "vmap", devices=devices)


ROWS = {"lanes": lanes_rows, "conv": conv_rows, "data": data_rows, "devices": devices_rows}  # by name of the table


def header(title, columns=COLUMNS):
    """Prints the head of a table."""
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|", flush=True)


def show(row, sizes, rates):
    """Measures a row and prints it; an error takes the place of the numbers."""
    try:
        layout, cells = measured(row, sizes, rates)
    except Exception as error:  # the rows that follow may fit
        first = (str(error).splitlines() or [""])[0]
        layout, cells = row.devices or "", (f"{type(error).__name__}: {first}".replace("|", "/"), "", "", "")
    how = f"{row.how}*" if row.how == ruled(row, sizes) else row.how
    name = f"{row.net} {row.told}".rstrip()
    print(f"| {' | '.join([name, f'{row.lanes:,}', how, str(layout), row.precision, *cells])} |", flush=True)


def measured(row, sizes, rates):
    """The number of devices that a row takes, and the cells of its numbers."""
    import jax

    from aejax.training.lanes import Layout
    from benchmarks.programs import Program

    layout = Layout(row.lanes, row.how, row.devices)
    program = Program(prepared(row, sizes), layout)
    steps = sizes.of_segment(row.net) / statistics.median(program.seconds()[1:])
    # All cores of a CPU work on the product that is its rate.
    peak = rates[row.precision] * (1 if jax.default_backend() == "cpu" else layout.devices)
    share = steps * row.lanes * flops(row.net, sizes) / peak
    return layout.devices, (f"{program.compiling:.1f}", rounded(steps), rounded(steps * row.lanes), f"{share:.4f}")


def rounded(value):
    """A number with three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def prepared(row, sizes):
    """The Job of a row."""
    return job((*NETS[row.net].words, f"precision={row.precision}", *row.words), sizes, sizes.of_segment(row.net))


@functools.cache
def job(words, sizes, length):
    """The Job of these overrides with as many segments of this length as are timed, and one before."""
    from benchmarks.programs import composed

    words = [*words, f"steps={length * sizes.segments}", f"log_points={sizes.segments}", "data.validation=0"]
    return composed(words, None if "data=letters" in words else images(sizes.images))


@functools.cache
def images(count):
    """Random images of MNIST's size."""
    import numpy as np

    from aejax.datasets.dataset import Dataset

    x = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8)
    return Dataset("images", "gray", x, test=x[:256] ^ 1)


@functools.cache
def flops(net, sizes):
    """The floating-point operations of the products of a step of one lane."""
    from benchmarks.programs import step_flops

    return step_flops(prepared(Row(net, 1, "map"), sizes))


def ruled(row, sizes):
    """How lanes.how=auto trains the row."""
    from aejax.training.lanes import Lanes
    from benchmarks.programs import parameters_of

    experiment = prepared(dataclasses.replace(row, words=()), sizes).experiment
    return Lanes("auto", None).settle(row.lanes, parameters_of(experiment))


def in_torch(quick):
    """Prints the table of PyTorch, or that it is not installed."""
    if importlib.util.find_spec("torch") is None:
        print("\nPyTorch is not installed: it is not measured.", flush=True)
        return
    import torch

    from benchmarks import torch_steps

    on_gpu = torch.cuda.is_available()
    sizes = SIZES["quick" if quick else "gpu" if on_gpu else "cpu"]
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    header(f"PyTorch {torch.__version__}, eager, one network, {name}", ("net", "precision", "steps/s"))
    for label, net in NETS.items():
        function, arguments = net.in_torch
        shape, batch = ((27, 35), 27) if net.is_letters else ((sizes.images, 784), 128)
        for precision in ("float32", "tf32", "bfloat16") if on_gpu else ("float32",):
            network = getattr(torch_steps, function)(*arguments)
            given = shape, batch, net.is_letters, precision, sizes.of_segment(label), sizes.segments
            print(f"| {label} | {precision} | {rounded(torch_steps.steps_a_second(network, *given))} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
