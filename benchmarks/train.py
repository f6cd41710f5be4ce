"""Steps a second of one training, beside PyTorch, pythae, hand-written JAX and what the machine can do.

python -m benchmarks train      some 10 minutes on 2 cores

All sides have the same network, batch, optimizer and threads, data on the device as bytes, and an order that is drawn
again for each epoch. aejax and the others take turns in one process, which may use as many cores as there are threads.
aejax also centers inputs, and watches for divergence. Images are random, of MNIST's size. The hand-written scan has
products of windows in place of XLA's convolutions, which are much slower in a loop; the jitted step has XLA's.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import logging
import os
import tempfile

from benchmarks import gpu, rates, timing
from benchmarks.rows import Row, absent, apart

EAGER, FUSED, COMPILED = "PyTorch eager", "PyTorch eager, fused Adam", "torch.compile, fused Adam"
PYTHAE, LOOP, SCAN = "pythae's trainer", "a jitted step, called from Python", "a hand-written lax.scan"
BY_HAND = {LOOP: "XLA's convolutions", SCAN: "products of windows, [B, H, W, C], quicker than XLA's convolutions"}
LIMIT, SHARE = "the limit: products, and Adam's memory traffic", "the rate of a 2048² product"
THREADS = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # it would leave processes behind that compile
ADAM_MOVES = 4 * 7  # bytes a parameter: gradient, parameter and two moments are read, the last three written
CACHED = 2**16  # floats that caches hold, so that an addition of fewer would measure the start of a program


@dataclasses.dataclass(frozen=True)
class Case:
    """A training: its net, the shape of its data, the batch, aejax's steps in a turn, targets by the other side."""

    net: gpu.Net
    shape: tuple[int, int]
    batch: int
    steps: int
    targets: dict[str, float]


MNIST = 60_000, 784
EMOJI = gpu.Net(("data=emoji", "data.color=gray", "net.widths=[64,32]", "latent_dim=2"), ("dense", ([144, 64, 32, 2],)))
CASES = {
    gpu.LETTERS: Case(gpu.NETS[gpu.LETTERS], (27, 35), 27, 4000, {EAGER: 10, SCAN: 0.95}),
    "emoji 144-64-32-2": Case(EMOJI, (96, 144), 96, 1000, {EAGER: 4, SCAN: 0.95}),
    gpu.MLP: Case(gpu.NETS[gpu.MLP], MNIST, 128, 100, {EAGER: 1.5, SCAN: 0.95, PYTHAE: 5, SHARE: 0.6}),
    gpu.CONV: Case(gpu.NETS[gpu.CONV], MNIST, 128, 10, {EAGER: 1.0, SCAN: 0.95}),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Rounds, seconds of a turn, the part of the steps of a case in a turn of aejax's, images, side of the product,
    floats that are added to."""

    rounds: int = timing.ROUNDS
    seconds: float = 0.4
    part: float = 1.0
    images: int = MNIST[0]
    product: int | None = None
    floats: int = rates.FLOATS["cpu"]
    compiles: bool = True


SIZES = {False: Sizes(), True: Sizes(2, 0.01, 0.02, 1280, 512, 2**20, False)}  # by quick


def rows(quick=False):
    """Each case with one thread and with all."""
    count = len(os.sched_getaffinity(0))
    for threads in sorted({1, min(2, count)}):
        for name in CASES:
            yield from apart("benchmarks.train:measured", name, threads, quick, **THREADS, OMP_NUM_THREADS=str(threads))


def measured(name, threads, quick=False):
    """The rows of a case; this process keeps so many cores, which every library takes as its number of threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    case, sizes = CASES[name], SIZES[quick]
    length = max(2, int(case.steps * sizes.part))
    label = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
    loop, scan = by_hand(case, sizes, length)
    multiply, operations = rates.product(side=sizes.product)
    sides, missing = {}, {}  # (call, its steps) of each other side, and why there is none
    for against, made in OTHERS.items():
        try:
            sides[against] = made(case, sizes, threads)
        except NotMeasured as error:
            missing[against] = str(error)
    sides |= {LOOP: (loop, length), SCAN: (scan, length), SHARE: (multiply, operations)}
    program, flops = own(case, sizes, length, 1 + sizes.rounds * (1 + len(sides)))
    parameters, segments = program.parameters, program.segments()
    floats = max(4 * parameters, CACHED)  # as many as Adam reads, where caches hold as much
    sides[LIMIT] = rates.addition(floats, max(1, sizes.floats // floats))
    took = timing.beside(lambda: next(segments), {side: call for side, (call, _) in sides.items()}, sizes.rounds)
    speeds = {
        side: (timing.rates(ours, length), timing.rates(other, sides[side][1])) for side, (ours, other) in took.items()
    }
    ours, products = speeds.pop(SHARE)
    done = [speed * flops / 1e9 for speed in ours], [rate / 1e9 for rate in products]
    seconds = [
        flops / product + ADAM_MOVES * parameters / memory
        for product, memory in zip(products, speeds[LIMIT][1], strict=True)
    ]
    speeds[LIMIT] = speeds[LIMIT][0], [1 / each for each in seconds]
    notes = BY_HAND if case.net.in_torch[0] == "conv" else {}
    for against in (*OTHERS, LOOP, SCAN, LIMIT):
        if against in speeds:
            target, note = case.targets.get(against), notes.get(against, "")
            yield compared(label, against, *speeds[against], "steps/s", target, note)
        elif missing[against]:
            yield absent(label, against, missing[against])
    yield compared(label, SHARE, *done, "GFLOP/s", case.targets.get(SHARE))


def compared(case, against, ours, other, unit, target, note=""):
    """The Row of two lists of numbers, round by round."""
    medians = (timing.Spread.of(numbers).median for numbers in (ours, other))
    return Row(case, against, unit, *medians, timing.ratio(ours, other), target, note=note)


def own(case, sizes, length, segments):
    """aejax's Program with so many segments of this length, and the FLOPs of the products of a step."""
    from aejax.training.lanes import Layout
    from benchmarks.programs import Program, composed, step_flops

    words = [*case.net.words, f"steps={length * segments}", f"log_points={segments}", "data.validation=0"]
    job = composed(words, None if case.shape[1] != MNIST[1] else gpu.images(sizes.images))
    return Program(job, Layout(1, "map")), step_flops(job)


def by_hand(case, sizes, length):
    """The two ways of benchmarks/handwritten.py, which wait."""
    import jax
    import numpy as np

    from benchmarks import handwritten

    function, arguments = case.net.in_torch
    examples, pixels = shape_of(case, sizes)
    stored = np.random.default_rng(0).integers(0, 2 if case.net.is_letters else 256, (examples, pixels), np.uint8)
    make = functools.partial(getattr(handwritten, function), jax.random.key(0), *arguments)
    usual, quicker = make(), make(by_products=True) if function == "conv" else make()
    given = stored, case.batch, case.net.is_letters, length
    ways = handwritten.trainers(usual, *given)[0], handwritten.trainers(quicker, *given)[1]
    return [lambda way=way: jax.block_until_ready(way()) for way in ways]


def shape_of(case, sizes):
    """The shape of the data; there are fewer images where the sizes are small."""
    return min(case.shape[0], sizes.images), case.shape[1]


class NotMeasured(Exception):
    """A side that is not measured: why, or nothing where nobody would ask."""


def check_installed(library):
    """Raises NotMeasured where a library is absent."""
    if importlib.util.find_spec(library) is None:
        raise NotMeasured(f"{library} is not installed; the extra bench has it")


def in_torch(compiled, fused):
    """A function that gives the side of PyTorch: (call, its steps)."""

    def side(case, sizes, threads):
        check_installed("torch")
        if compiled and not sizes.compiles:
            raise NotMeasured("takes a minute to compile, and this is a quick run")
        import torch

        from benchmarks import torch_steps

        torch.set_num_threads(threads)
        function, arguments = case.net.in_torch
        network = getattr(torch_steps, function)(*arguments)
        given = network, shape_of(case, sizes), case.batch, case.net.is_letters
        train = torch_steps.trainer(*given, compiled=compiled, fused=fused)
        try:
            train(1)
        except Exception as error:  # a compiler may be absent, or too old
            if not compiled:
                raise
            raise NotMeasured(f"torch.compile failed: {type(error).__name__}") from error
        steps = timing.amount_for(train, sizes.seconds)
        return lambda: train(steps), steps

    return side


def in_pythae(case, sizes, threads):
    """The side of pythae: an epoch of its trainer, without what it saves at the end."""
    if case.net.in_torch[0] != "dense" or case.shape != MNIST:
        raise NotMeasured("")
    check_installed("pythae")
    logging.disable(logging.INFO)  # which it prints
    import torch

    from benchmarks import pythae_steps

    torch.set_num_threads(threads)
    folder = tempfile.TemporaryDirectory(prefix="pythae-")
    epoch = pythae_steps.epoch(folder.name, *case.net.in_torch[1], shape_of(case, sizes), case.batch)

    def train(folder=folder):  # which is removed with the function
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            epoch()

    return train, -(-min(case.shape[0], sizes.images) // case.batch)


OTHERS = {
    EAGER: in_torch(compiled=False, fused=None),
    FUSED: in_torch(compiled=False, fused=True),
    COMPILED: in_torch(compiled=True, fused=True),
    PYTHAE: in_pythae,
}
