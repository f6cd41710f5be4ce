"""Lanes by vmap and map, on one device and on all: what the rule chooses, beside what is quickest.

python -m benchmarks lanes       some 15 minutes on 2 cores

The ways of a case take turns in one process, a segment each. They justify `CACHED` in aejax/training/lanes.py. The last
rows are many lanes beside as many trainings one after another, and the share of the rate of products.
"""

import dataclasses
import functools

from benchmarks import rates, timing
from benchmarks.rows import Row, apart

RULE, SOLO, SHARE = "the quickest way", "{} trainings, one after another", "the rate of a 2048² product"


@dataclasses.dataclass(frozen=True)
class Net:
    """A training: its overrides, the steps of a segment of one lane, the numbers of lanes."""

    words: tuple[str, ...]
    steps: int
    lanes: tuple[int, ...]


LETTERS, MNIST = "vae, letters 20-10", "vae, MNIST 256-128, 32"
NETS = {
    LETTERS: Net(("data=letters", "net.widths=[20,10]"), 2000, (1, 4, 16, 64, 256)),
    "vae, letters 128-64": Net(("data=letters", "net.widths=[128,64]"), 800, (1, 4, 16, 64, 256)),
    "vae, emoji gray 64-32": Net(("data=emoji", "data.color=gray", "net.widths=[64,32]"), 800, (1, 4, 16, 64, 256)),
    "vae, emoji rgb 128-64": Net(("data=emoji", "net.widths=[128,64]"), 200, (1, 4, 16, 64, 256)),
    MNIST: Net(("net.widths=[256,128]", "latent_dim=32", "batch_size=128"), 64, (1, 4, 16, 64, 256)),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Rounds, the part of the steps in a segment, the most lanes, images, side of the product."""

    rounds: int = 5
    part: float = 1.0
    most: int = 256
    images: int = 60_000
    product: int | None = None


SIZES = {False: Sizes(), True: Sizes(2, 0.01, 4, 1280, 512)}  # by quick


def rows(quick=False):
    """Each case in a process of its own."""
    for name, net in NETS.items():
        for lanes in net.lanes:
            if lanes <= SIZES[quick].most:
                yield from apart("benchmarks.lanes:ways", name, lanes, quick)
    yield from apart("benchmarks.lanes:solo", min(64, SIZES[quick].most), quick)
    yield from apart("benchmarks.lanes:share", min(16, SIZES[quick].most), quick)


def ways(name, lanes, quick=False):
    """The row of a case: what the rule chose beside the quickest way; the note has them all."""
    from aejax.training.lanes import Lanes, Layout
    from benchmarks.programs import parameters_of

    count, sizes = with_devices(), SIZES[quick]
    length = length_of(NETS[name], lanes, sizes)
    layouts = [Layout(lanes, how, devices) for devices in sorted({1, min(count, lanes)}) for how in ("map", "vmap")]
    layouts = [layout for layout in layouts if lanes > 1 or layout.how == "map"]
    programs = {layout: segments(name, layout, length, sizes.rounds + 1, sizes) for layout in layouts}
    parameters = parameters_of(job(name, length, sizes.rounds + 1, sizes).experiment)
    rule = Layout(lanes, Lanes("auto", None).settle(lanes, parameters))
    took = timing.interleaved({layout: turns(program) for layout, program in programs.items()}, sizes.rounds)
    speeds = {layout: timing.rates(seconds, length * lanes) for layout, seconds in took.items()}
    medians = {layout: timing.Spread.of(each).median for layout, each in speeds.items()}
    best = max(layouts, key=lambda layout: timing.ratio(speeds[layout], speeds[rule]).median)  # round by round
    note = "; ".join(f"{called(layout)}: {each:,.0f}" for layout, each in medians.items())
    case = f"{name}, {lanes} lane{'s' if lanes > 1 else ''}: {called(rule)}"
    ratio = timing.ratio(speeds[rule], speeds[best])
    yield Row(case, f"{RULE}: {called(best)}", "steps/s in all", medians[rule], medians[best], ratio, note=note)


def solo(lanes, quick=False):
    """The row of many letters lanes in one program beside as many programs of one lane, all of them compiled."""
    from aejax.training.lanes import Layout

    with_devices()
    sizes = SIZES[quick]
    length = max(2, int(NETS[LETTERS].steps * sizes.part / 4))
    together = ruled(LETTERS, lanes, length, sizes.rounds + 1, sizes)
    alone = segments(LETTERS, Layout(1, "map"), length, lanes * (sizes.rounds + 1), sizes)
    further = turns(alone)

    def one_by_one():
        for _ in range(lanes):
            further()

    took = timing.interleaved({"ours": turns(together), "other": one_by_one}, sizes.rounds)
    speeds = {side: timing.rates(seconds, length * lanes) for side, seconds in took.items()}
    medians = [timing.Spread.of(each).median for each in speeds.values()]
    against = SOLO.format(lanes)
    ratio = timing.ratio(*speeds.values())
    yield Row(
        f"{LETTERS}, {lanes} lanes in one program", against, "steps/s in all", *medians, ratio, 4, note="training alone"
    )


def share(lanes, quick=False):
    """The row of MNIST lanes beside the rate of products on all cores."""
    from benchmarks.programs import step_flops

    with_devices()
    sizes = SIZES[quick]
    length = length_of(NETS[MNIST], lanes, sizes)
    program = ruled(MNIST, lanes, length, sizes.rounds + 1, sizes)
    multiply, operations = rates.product(side=sizes.product)
    flops = step_flops(program.jobs[0]) * length * lanes
    took = timing.interleaved({"ours": turns(program), "product": multiply}, sizes.rounds)
    speeds = timing.rates(took["ours"], flops / 1e9), timing.rates(took["product"], operations / 1e9)
    medians = [timing.Spread.of(each).median for each in speeds]
    yield Row(f"{MNIST}, {lanes} lanes", SHARE, "GFLOP/s", *medians, timing.ratio(*speeds), 0.6)


def with_devices():
    """Gives JAX as many devices as there are cores, as a sweep has them; their number."""
    import jax

    from aejax.base.devices import cores

    jax.config.update("jax_num_cpu_devices", cores())
    return len(jax.devices())


def length_of(net, lanes, sizes):
    """The steps of a segment: fewer where there are more lanes."""
    return max(2, int(net.steps * sizes.part / lanes**0.75))


def ruled(name, lanes, length, count, sizes):
    """The Program of a net's lanes as a sweep trains them."""
    from aejax.training.lanes import Lanes, Layout
    from benchmarks.programs import parameters_of

    parameters = parameters_of(job(name, length, count, sizes).experiment)
    return segments(name, Layout(lanes, Lanes("auto", None).settle(lanes, parameters)), length, count, sizes)


def segments(name, layout, length, count, sizes):
    """The Program of a net's lanes with so many segments of this length."""
    from benchmarks.programs import Program

    return Program(job(name, length, count, sizes), layout)


@functools.cache
def job(name, length, count, sizes):
    """The Job of a net with so many segments of this length."""
    from benchmarks.gpu import images
    from benchmarks.programs import composed

    words = [*NETS[name].words, f"steps={length * count}", f"log_points={count}", "data.validation=0", "model=vae"]
    return composed(words, images(sizes.images) if name == MNIST else None)


def turns(program):
    """A call that trains the next segment."""
    ahead = program.segments()
    return lambda: next(ahead)


def called(layout):
    """A layout in words."""
    return f"{layout.how}, {layout.devices} device{'s' if layout.devices > 1 else ''}"
