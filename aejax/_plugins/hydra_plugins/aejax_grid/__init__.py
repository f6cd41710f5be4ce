"""hydra/sweeper=grid: all combinations, each composed once, by the launcher. Hydra imports this at every start."""

from dataclasses import dataclass
from typing import Dict, Optional  # noqa: UP035, which OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class GridSweeper(Sweeper):
    """Hands a grid of jobs to the launcher, `max_batch_size` at a time; `params` are the axes of the sweep's file."""

    def __init__(self, max_batch_size=None, params=None):
        self.max_batch_size, self.params = max_batch_size, params or {}

    def setup(self, *, hydra_context, task_function, config):
        self.loader, self.config = hydra_context.config_loader, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        from aejax.sweeps.grid import sweep

        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        validate = not getattr(self.launcher, "trains_jointly", False)
        return sweep(self.launcher, self.loader, self.config, words, self.max_batch_size, validate)


@dataclass
class GridSweeperConf:
    _target_: str = "hydra_plugins.aejax_grid.GridSweeper"
    max_batch_size: int | None = None
    params: Optional[Dict[str, str]] = None  # noqa: UP006, UP045


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="aejax")
