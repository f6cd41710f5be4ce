"""hydra/launcher=vmap: trains the jobs of a sweep together. Imports no jax: Hydra imports this at every start."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from aejax.base.interrupts import STOP
from aejax.compat import hydra_compat

TRAIN = "aejax.cli.train"  # the module of the task whose jobs can train together; others run one by one


class VmapLauncher(Launcher):
    """Hands all jobs of a batch to aejax at once."""

    def setup(self, *, hydra_context, task_function, config):
        self.trains_jointly = getattr(task_function, "__module__", None) == TRAIN
        if not self.trains_jointly:
            self.launch_batch = hydra_compat.basic_launcher()
            self.launch_batch.setup(hydra_context=hydra_context, task_function=task_function, config=config)
            return
        with STOP.held():  # an exception would break jaxlib's imports
            from aejax.sweeps.launch import Sweep
        self.launch_batch = Sweep(hydra_context, task_function, config)

    def launch(self, job_overrides, initial_job_idx):
        return self.launch_batch.launch(job_overrides, initial_job_idx)


@dataclass
class VmapLauncherConf:
    _target_: str = "hydra_plugins.aejax_vmap.VmapLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="vmap", node=VmapLauncherConf, provider="aejax")
