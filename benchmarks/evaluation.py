"""Seconds of an evaluation of letters runs, warm, the median of 5: one run, and 64 lanes together.

The seconds of all cores are what the processes took of them, whatever else the machine had to do.

Usage: python benchmarks/evaluation.py [default|full]. As the commands do it: one lane on one device, a sweep's lanes on
as many devices as there are cores. The parameters are those before training, which take as long.
"""

import functools
import statistics
import sys
import time

import hydra
import jax

from aejax.base.devices import cores
from aejax.config.explain import CONF
from aejax.evaluation.evaluate import evaluate
from aejax.runs.job import Job
from aejax.runs.programs import keep_compiled_programs
from aejax.settings.configuration import without_hydra
from aejax.training import step
from aejax.training.lanes import Layout


def main():
    jax.config.update("jax_num_cpu_devices", cores())
    keep_compiled_programs()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        words = [f"evaluate={sys.argv[1] if len(sys.argv) > 1 else 'default'}", "model=vae", "noise=flip"]
        config = hydra.compose("config", words, return_hydra_config=True)
    choices = dict(config.hydra.runtime.choices)
    job = Job.read(without_hydra(config), choices)
    for lanes in (1, 64):
        layout = Layout(lanes, "map")
        experiments = layout.stack([job.experiment] * lanes)
        data = layout.share(job.dataset.arrays())
        init = functools.partial(step.init, width=int(job.experiment.latent_dim))
        params = layout.compiled(init, 1, experiments, data)(experiments, data).params
        begin = time.perf_counter()
        program = layout.compiled(evaluate, 2, experiments, params, data)
        compiled = time.perf_counter() - begin
        jax.block_until_ready(program(experiments, params, data))
        spent, busy = [], []
        for _ in range(5):
            begin, used = time.perf_counter(), time.process_time()
            jax.device_get(program(experiments, params, data))
            spent.append(time.perf_counter() - begin)
            busy.append(time.process_time() - used)
        told = f"{statistics.median(spent):.2f} s, of all cores {statistics.median(busy):.2f} s"
        print(f"{lanes} lane{'s' if lanes > 1 else ''}: {told}; compiled in {compiled:.1f} s")


if __name__ == "__main__":
    main()
