"""Makes the files in sweeps/ the group `sweep` of Hydra's: `-m +sweep=letters_noise`."""

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from aejax.config.explain import CONF

for path in sorted((CONF.parent / "sweeps").glob("*.yaml")):
    node = OmegaConf.load(path)
    ConfigStore.instance().store(group="sweep", name=path.stem, node=node, package="_global_", provider="aejax")
