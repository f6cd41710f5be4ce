"""The configuration and parameters of a run -> its Experiment; a stranger's, so that nothing in it is believed."""

from typing import Any, cast

import jax
import numpy as np
from omegaconf import OmegaConf

from aejax.base.devices import memory, size
from aejax.base.errors import InputError, NotTrusted, plain_line
from aejax.base.nested import dotted
from aejax.compat import jax_compat
from aejax.datasets.form import Form
from aejax.inference.batches import rows_of_batch
from aejax.models import autoencoder
from aejax.models.nets.conv import Conv, taps_of
from aejax.runs import contents
from aejax.runs.folder import SETTINGS, Run
from aejax.runs.parameters import check_parameters
from aejax.settings.build import Build
from aejax.settings.configuration import plain
from aejax.settings.fields import declared
from aejax.settings.references import check_references
from aejax.training.experiment import Experiment
from aejax.training.lanes import tree_bytes

PARTS = ("aejax.models", "aejax.training", "aejax.evaluation")  # where the classes of an experiment are
LAYERS = 100  # entries of a list of settings, such as net.widths: each takes its time before shapes can be compared
TAPS = 2000  # shifts of all kernels
SHOWN = 300  # characters of a library's message


def model(run: Run, form: Form, trust: bool = False) -> tuple[Any, Any]:
    """The Experiment of a run on data of this form, and its parameters; raises InputError where they do not fit.

    Without `trust` only classes of PARTS and plain references are accepted. No array of the model is made before its
    shape has been compared with that in the file.
    """
    path = run.path / SETTINGS / "config.yaml"
    try:
        experiment = _experiment(contents.settings(path), form, trust)
        params = check_parameters(run, experiment)
        _check_finite(params)
        _check_memory(experiment, params)
        return experiment, params
    except InputError as error:
        text = f"{error}; trust=True takes others" if isinstance(error, NotTrusted) else str(error)
        raise InputError(text if text.startswith(str(run.path)) else f"{run.path}: {text}") from None
    except Exception as error:  # there is no end of what classes and libraries may say of wrong settings
        raise InputError(f"{path}: cannot be read ({plain_line(error, SHOWN) or type(error).__name__})") from None


def _experiment(config: Any, form: Form, trust: bool) -> Any:
    """The Experiment of a configuration, on data of this form."""
    build, names = Build(config, None if trust else PARTS), declared(Experiment)
    if not trust:
        check_references(cast(dict[str, Any], build.raw), names)
    settings = {name: _plain(config[name]) for name in names if name in config}
    for name, value in settings.items():
        _check_lists(value, name)
    experiment = build.instance(Experiment, settings).settle(form)
    _check_taps(experiment.net)
    return experiment


def _plain(node: Any) -> Any:
    return plain(node) if OmegaConf.is_config(node) else node


def _check_lists(node: Any, key: str) -> None:
    """Raises InputError for a list of more layers than can be traced in reasonable time."""
    if isinstance(node, list) and len(node) > LAYERS:
        raise InputError(f"{key}: {len(node):,} entries; the most that can be loaded are {LAYERS}")
    for name, inner in node.items() if isinstance(node, dict) else ():
        _check_lists(inner, f"{key}.{name}")


def _check_taps(net: Any) -> None:
    """Raises InputError for convolutions that take too long to trace: each shift of a kernel is an operation."""
    if isinstance(net, Conv) and len(net.widths) * taps_of(net.kernel, net.stride) ** 2 > TAPS:
        raise InputError(f"net.kernel={net.kernel}: with {len(net.widths)} layers of stride {net.stride}, too large")


def _check_finite(params: Any) -> None:
    """Raises InputError for parameters that no training has left: a diverged lane keeps finite ones."""
    for name, array in dotted(params):
        if not np.isfinite(array).all():
            raise InputError(f"params.safetensors: {name} holds nan or inf; the file is damaged")


def _check_memory(experiment: Any, params: Any) -> None:
    """Raises InputError where a value of a batch, such as a feature map, takes more memory than there is."""
    rows = rows_of_batch(experiment.form)
    x_BxP = jax.ShapeDtypeStruct((rows, experiment.form.pixels), np.float32)
    label_B = jax.ShapeDtypeStruct((rows,), np.int32) if experiment.model.is_conditional else None
    traced = jax.make_jaxpr(autoencoder.reconstruct)(experiment, params, x_BxP, label_B)
    values = (out.aval for equation in jax_compat.equations(traced.jaxpr) for out in equation.outvars)
    largest = max((tree_bytes([value]) for value in values), default=0)
    if largest > memory():
        sizes = f"{size(largest)} of memory, and there are {size(memory())}"
        raise InputError(f"a batch of {rows} examples takes {sizes}")
