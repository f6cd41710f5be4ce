"""hydra/launcher=local and slurm: each program of a sweep is trained by a process of its own.

Imports neither jax nor submitit: Hydra imports this at every start.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional  # noqa: UP035, which OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from aejax.base.confinement import is_confined
from aejax.base.errors import InputError, near
from aejax.base.interrupts import STOP


class _Launcher(Launcher):
    """Plans a sweep here, and has workers train it; other `settings` are those of the executor."""

    trains_jointly = True

    def __init__(self, retries=1, programs=1, detach=False, **settings):
        self.own = {"retries": retries, "programs": programs, "detach": detach}
        self.settings = settings

    def setup(self, *, hydra_context, task_function, config):
        if getattr(task_function, "__module__", None) != "aejax.cli.train":
            raise InputError(f"hydra/launcher={self.cluster}: launches jobs of aejax only")
        self.check(config.hydra.launcher)
        with STOP.held():  # an exception would break jaxlib's imports
            from aejax.sweeps.launch import Sweep
            from aejax.sweeps.workers import Workers
        workers = Workers(self.executor(is_confined()), **self.own)
        self.sweep = Sweep(hydra_context, task_function, config, workers)

    def check(self, given):
        """Raises InputError for a key that was added and that the launcher does not have."""
        known = [field.name for field in fields(OmegaConf.get_type(given))]
        for name in given:
            if name not in known:
                raise InputError(f"hydra.launcher.{name}: no such key; {near(name, known[1:])}")

    def launch(self, job_overrides, initial_job_idx):
        return self.sweep.launch(job_overrides, initial_job_idx)


class LocalLauncher(_Launcher):
    """Workers on this machine, `slots` at a time, each with a share of the cores or GPUs."""

    cluster = "local"

    def executor(self, confined):
        from aejax.sweeps.local import Local

        return Local(self.settings["slots"], confined)


class SlurmLauncher(_Launcher):
    """Workers as tasks of a Slurm array, with settings named as submitit names them."""

    cluster = "slurm"

    def executor(self, confined):
        from aejax.sweeps.slurm import Slurm

        return Slurm(confined, **self.settings)


@dataclass
class LocalLauncherConf:
    _target_: str = "hydra_plugins.aejax_workers.LocalLauncher"
    slots: int = 2
    retries: int = 1
    programs: int = 1


@dataclass
class SlurmLauncherConf:
    _target_: str = "hydra_plugins.aejax_workers.SlurmLauncher"
    retries: int = 1
    programs: int = 1
    detach: bool = False
    timeout_min: int = 240
    name: str = "aejax"
    partition: Optional[str] = None  # noqa: UP045
    account: Optional[str] = None  # noqa: UP045
    qos: Optional[str] = None  # noqa: UP045
    constraint: Optional[str] = None  # noqa: UP045
    gpus_per_node: Optional[int] = None  # noqa: UP045
    cpus_per_task: Optional[int] = None  # noqa: UP045
    mem_gb: Optional[float] = None  # noqa: UP045
    array_parallelism: int = 256
    setup: List[str] = field(default_factory=list)  # noqa: UP006
    additional_parameters: Dict[str, Any] = field(default_factory=dict)  # noqa: UP006


for launcher, node in ((LocalLauncher, LocalLauncherConf), (SlurmLauncher, SlurmLauncherConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=launcher.cluster, node=node, provider="aejax")
