"""hydra/launcher=local and slurm: each program of a sweep in a process of its own, started by submitit.

Imports neither jax nor submitit: Hydra imports this at every start.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional  # noqa: UP035, which OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from aejax.base.confinement import is_confined
from aejax.base.errors import InputError
from aejax.base.interrupts import STOP

SLURM = ("partition", "account", "qos", "constraint", "array_parallelism", "setup", "additional_parameters")


class _Launcher(Launcher):
    """Plans a sweep here, and has workers train it; `settings` are named as submitit names them."""

    trains_jointly = True

    def __init__(self, slots=None, retries=1, programs=1, detach=False, **settings):
        self.own = {"slots": slots, "retries": retries, "programs": programs, "detach": detach}
        self.settings = settings

    def setup(self, *, hydra_context, task_function, config):
        if getattr(task_function, "__module__", None) != "aejax.cli.train":
            raise InputError(f"hydra/launcher={self.cluster}: launches jobs of aejax only")
        with STOP.held():  # an exception would break jaxlib's imports
            from aejax.sweeps.launch import Sweep
            from aejax.sweeps.workers import Workers, check_cluster
        given = {name: value for name, value in self.settings.items() if value not in (None, [], {})}
        parameters = {f"slurm_{name}" if name in SLURM else name: value for name, value in given.items()}
        check_cluster(self.cluster)
        workers = Workers(self.cluster, parameters, **self.own, confined=is_confined())
        self.sweep = Sweep(hydra_context, task_function, config, workers)

    def launch(self, job_overrides, initial_job_idx):
        return self.sweep.launch(job_overrides, initial_job_idx)


class LocalLauncher(_Launcher):
    """Workers on this machine, `slots` at a time, each with a share of the cores."""

    cluster = "local"


class SlurmLauncher(_Launcher):
    """Workers as tasks of a Slurm array."""

    cluster = "slurm"


@dataclass
class LocalLauncherConf:
    _target_: str = "hydra_plugins.aejax_workers.LocalLauncher"
    slots: int = 2
    retries: int = 1
    programs: int = 1
    timeout_min: int = 10_000
    gpus_per_node: Optional[int] = None  # noqa: UP045


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


for name, node in (("local", LocalLauncherConf), ("slurm", SlurmLauncherConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="aejax")
