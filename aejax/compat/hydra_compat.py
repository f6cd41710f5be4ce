"""Hydra 1.3: what its documentation and its example plugins do not show. Imports no jax."""

import contextlib
import copy
import functools
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from aejax.compat import omegaconf_compat


@contextlib.contextmanager
def initialized(folder: Path | str) -> Iterator[None]:
    """Inside, `hydra.compose` reads the configurations in `folder`, whatever Hydra was initialized with before.

    `hydra.initialize_config_dir` alone raises where Hydra is initialized already, and GlobalHydra.clear is documented
    only in that error.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        yield


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Afterwards Hydra's state of the process is as it was before: what is initialized, HydraConfig, the resolvers.

    Singleton.get_state and set_state, which Hydra's example launcher shows for another process.
    """
    state = Singleton.get_state()
    try:
        yield
    finally:
        Singleton.set_state(state)


def config_loader() -> Any:
    """The config loader of the command, or of `hydra.initialize…`, that is at work; only GlobalHydra knows it."""
    return GlobalHydra.instance().config_loader()


def is_group(loader: Any, name: str) -> bool:
    """Whether a config loader finds a group of this name; its `repository` is no part of the ConfigLoader interface."""
    return loader.repository.group_exists(name)


def parsed(words: Sequence[str], loader: Any | None = None) -> list[Override]:
    """The Override of each word, in order; raises OverrideParseException.

    With a config `loader`, glob() among the words finds the choices of its group. OverridesParser and Override are
    shown by Hydra's example sweeper alone.
    """
    return OverridesParser.create(config_loader=loader).parse_overrides(list(words))


def parsed_word(word: str) -> Override:
    """The Override of one word; raises HydraException without the lines that `parsed` adds to its message."""
    return OverridesParser.create().parse_override(word)


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Changes the composed `config` as these parsed overrides of values ask; raises what composing raises.

    ConfigLoaderImpl's last step of composing. A public way would be to compose again, which takes some 50 ms.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def override_dirname(overrides: Sequence[Override], config: DictConfig) -> str:
    """What ${hydra.job.override_dirname} is for these parsed overrides, with the separators that `config` asks for.

    get_overrides_dirname, which only composing calls.
    """
    form = config.hydra.job.config.override_dirname
    return get_overrides_dirname(
        list(overrides), kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
    )


def set_job(config: DictConfig) -> None:
    """Makes the composed `config` the one that ${hydra:…} and HydraConfig.get() read, as Hydra does for each job.

    HydraConfig.get is documented, set_config is not; in `on_run_start` Hydra has not called it yet.
    """
    HydraConfig.instance().set_config(config)


@contextlib.contextmanager
def job_state(composed: DictConfig) -> Iterator[None]:
    """Inside, ${hydra:…} and HydraConfig.get() read the configuration of one job; afterwards those of before.

    HydraConfig's field `cfg`, as Hydra's run_job sets and restores it; set_config would copy it, and make it read-only,
    for each job of a sweep.
    """
    instance: Any = HydraConfig.instance()
    before = instance.cfg
    instance.cfg = composed
    try:
        yield
    finally:
        instance.cfg = before


def hear_of_jobs(callbacks: Any) -> bool:
    """Whether any of Hydra's `callbacks` does something when a job starts or ends.

    Callbacks keeps them in a list that is not documented; the methods of Callback itself do nothing.
    """
    names = "on_job_start", "on_job_end"
    return any(
        getattr(type(one), name, None) is not getattr(Callback, name) for one in callbacks.callbacks for name in names
    )


def basic_launcher() -> Launcher:
    """Hydra's launcher that runs jobs one after another; there is no public import, only hydra/launcher=basic."""
    return BasicLauncher()


class QuietReturn(JobReturn):
    """A JobReturn; one of a failed job raises its exception without Hydra's line on stderr before it.

    JobReturn's `return_value` prints it, and keeps what was set in `_return_value`. The configurations take much memory
    and are rarely asked for, so `compose` makes them then: `hydra_cfg`, of which `cfg` is all but Hydra's own part.
    """

    compose: Callable[[], DictConfig] | None = None

    @property
    def hydra_cfg(self) -> Any:
        return None if self.compose is None else self.compose()

    @hydra_cfg.setter
    def hydra_cfg(self, config: Any) -> None:
        _check_unset("hydra_cfg", config)

    @property
    def cfg(self) -> Any:
        config = self.hydra_cfg
        return None if config is None else copy.deepcopy(omegaconf_compat.view_without(config, "hydra"))

    @cfg.setter
    def cfg(self, config: Any) -> None:
        _check_unset("cfg", config)

    def __getstate__(self) -> dict[str, Any]:
        pickled = self.compose and functools.partial(pickle.loads, pickle.dumps(self.compose()))
        return self.__dict__ | {"compose": pickled}

    @property
    def return_value(self) -> Any:
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> Any:
        self._return_value = value


def _check_unset(name: str, config: Any) -> None:
    if config is not None:
        raise AttributeError(f"{name}: is what `compose` returns")


def plugins(kind: type) -> list[str]:
    """The full names of the classes of plugins that Hydra finds of a kind: Launcher, Sweeper, …

    Plugins.discover; the documentation shows only how to register one.
    """
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in Plugins.instance().discover(kind)]


def unknown_key(error: Exception) -> str | None:
    """The key that an override was to change or to delete (`~key`) and that does not exist; None for another error.

    From the message, because ConfigCompositionException has no field for it.
    """
    changed = re.search(r"Could not override '([^']+)'", str(error))
    deleted = re.search(r"Could not delete from config. '([^']+)' does not exist", str(error))
    return changed[1] if changed else f"~{deleted[1]}" if deleted else None


def several_values(error: Exception) -> tuple[str, str] | None:
    """The key and the text of its values where a command without -m gives several, else None; from the message."""
    found = re.search(r"Ambiguous value for argument '([^'=]*)=([^']*)'", str(error))
    return (found[1], found[2]) if found else None


def wrong_type(error: Exception) -> tuple[str, Exception] | None:
    """The override whose value has not the type that a key has, and OmegaConf's exception, else None."""
    found = re.match("Error merging override (.*)", str(error))
    return (found[1], error.__cause__) if found and isinstance(error.__cause__, OmegaConfBaseException) else None


def is_of_group_value(error: Exception) -> bool:
    """Whether a group was given what is no name of a choice, as model=2; from the message of a ValueError."""
    return "Config group override" in str(error)
