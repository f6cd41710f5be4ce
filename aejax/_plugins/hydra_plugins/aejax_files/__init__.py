"""Registers the files in sweeps/ as Hydra's group `sweep`: `-m +sweep=letters_noise`, `+sweep=references/pca`."""

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from aejax.config.menu import sweeps

for choice, path in sweeps().items():
    folder, _, name = f"sweep/{choice}".rpartition("/")
    node = OmegaConf.load(path)
    ConfigStore.instance().store(group=folder, name=name, node=node, package="_global_", provider="aejax")
