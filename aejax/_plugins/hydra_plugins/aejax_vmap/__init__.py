"""hydra/launcher=vmap: trains the jobs of a sweep together. Imports no jax, because Hydra imports it at every start."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from aejax.base.interrupts import STOP

OWN = "aejax.cli.train"  # the module of the task whose jobs can train together; others run one by one


class VmapLauncher(Launcher):
    """Hands all jobs of a batch to aejax at once."""

    def setup(self, *, hydra_context, task_function, config):
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        if getattr(task_function, "__module__", None) == OWN:
            with STOP.held():  # jaxlib's imports do not survive an exception
                from aejax.sweeps.launch import prepare

            prepare(hydra_context, config)

    def launch(self, job_overrides, initial_job_idx):
        from aejax.sweeps.launch import launch

        return launch(self.hydra_context, self.task_function, self.config, job_overrides, initial_job_idx)


@dataclass
class VmapLauncherConf:
    _target_: str = "hydra_plugins.aejax_vmap.VmapLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="vmap", node=VmapLauncherConf, provider="aejax")
