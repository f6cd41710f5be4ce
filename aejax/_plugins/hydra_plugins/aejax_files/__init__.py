"""Registers the files in sweeps/ as Hydra's group `sweep`: `-m +sweep=letters_noise`."""

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from aejax.config.menu import SWEEPS

for path in sorted(SWEEPS.glob("*.yaml")):
    node = OmegaConf.load(path)
    ConfigStore.instance().store(group="sweep", name=path.stem, node=node, package="_global_", provider="aejax")
