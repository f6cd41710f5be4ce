"""hydra/sweeper=optuna: a search with trials in batches. Imports no Optuna: Hydra imports this at every start."""

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class OptunaSweeper(Sweeper):
    """Asks Optuna for batches of trials and hands them to the launcher, until there are enough."""

    def __init__(self, params, **settings):
        self.params, self.settings = params or {}, settings

    def setup(self, *, hydra_context, task_function, config):
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        from aejax.sweeps.search import search

        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        return search(self.launcher, self.hydra_context.config_loader, self.config, self.settings, words)
