"""Seconds of an evaluation of letters runs, warm: one run, and lanes together (64 by default, 8 in full).

python -m benchmarks evaluate       some 5 minutes on 2 cores

As the commands do it: one lane on one device, a sweep's lanes on as many devices as there are cores. The parameters are
those before training, which take as long. A note has the seconds of all cores, whatever else the machine had to do, and
those to compile.
"""

import functools
import time

from benchmarks import timing
from benchmarks.rows import Row, apart


def rows(quick=False):
    """Each protocol in a process of its own."""
    for protocol, lanes, rounds in [("default", 2, 1)] if quick else [("default", 64, 5), ("full", 8, 3)]:
        yield from apart("benchmarks.evaluate:measured", protocol, [1, lanes], rounds)


def measured(protocol, numbers, rounds):
    """The rows of a protocol, for these numbers of lanes."""
    import jax

    from aejax.base.devices import cores
    from aejax.evaluation.evaluate import evaluate
    from aejax.training import step
    from aejax.training.lanes import Layout
    from benchmarks.programs import composed

    jax.config.update("jax_num_cpu_devices", cores())
    job = composed([f"evaluate={protocol}", "model=vae", "noise=flip"])
    for lanes in numbers:
        layout = Layout(lanes, "map")
        experiments = layout.stack([job.experiment] * lanes)
        data = layout.share(job.dataset.arrays())
        init = functools.partial(step.init, width=int(job.experiment.latent_dim))
        params = layout.compiled(init, 1, experiments, data)(experiments, data).params
        begin = time.perf_counter()
        program = layout.compiled(evaluate, 2, experiments, params, data)
        compiled, busy = time.perf_counter() - begin, []

        def call(program=program, given=(experiments, params, data), busy=busy):
            used = time.process_time()
            jax.device_get(program(*given))
            busy.append(time.process_time() - used)

        seconds = timing.median_seconds(call, rounds)
        used = timing.Spread.of(busy[1:]).median
        case = f"evaluate={protocol}, {lanes} lane{'s' if lanes > 1 else ''}"
        yield Row(case, "", "s", seconds, note=f"of all cores {used:.2f} s; compiled in {compiled:.1f} s")
