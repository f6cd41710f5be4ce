"""The parameters of a run beside those that an experiment has."""

import jax

from aejax.base.errors import InputError
from aejax.base.nested import dotted
from aejax.models import autoencoder

MANY = 10  # layers that are looked at one by one in any case


def check_parameters(run, experiment):
    """The run's parameters; raises InputError or OSError where its file is damaged or holds those of another model."""
    params, path = run.params, run.path / "params.safetensors"
    _check_count(path, "net.widths", getattr(experiment.net, "widths", ()), params["encoder"])
    _check_count(path, "model.bottleneck", experiment.model.bottleneck.heads, params["to_code"])
    expected = dict(dotted(_expected(experiment)))
    check_shapes(path, shapes_of(params), expected_shapes(experiment))
    for name, array in dotted(params):
        if array.dtype != expected[name].dtype:
            raise InputError(f"{path}: {name} is {array.dtype}; must be {expected[name].dtype}")
    return params


def check_shapes(path, actual, expected):
    """Raises InputError where the arrays of a file have other shapes {name: [size, …]} than those expected."""
    difference = first_difference(actual, expected)
    if difference is not None:
        name, shape, wanted = difference
        raise InputError(f"{path}: {name} is {shape}; must be {wanted}, by the run's configuration and data")


def first_difference(actual, expected):
    """The first name by alphabet whose shapes differ, with both ("nothing" where there is none); None if none does."""
    for name in sorted(actual.keys() | expected.keys()):
        if actual.get(name) != expected.get(name):
            return name, actual.get(name, "nothing"), expected.get(name, "nothing")
    return None


def expected_shapes(experiment):
    """{name: [size, …]} of the parameters that a lane of the experiment alone has."""
    return shapes_of(_expected(experiment))


def shapes_of(params):
    """{name: [size, …]} of a tree of arrays."""
    return {name: list(array.shape) for name, array in dotted(params)}


def _expected(experiment):
    return jax.eval_shape(lambda: autoencoder.init(experiment, int(experiment.latent_dim)))


def _check_count(path, key, layers, modules):
    """Raises InputError where a configuration has many more layers than the file, before each takes its time."""
    if len(layers) > MANY and len(layers) > len(modules):
        raise InputError(f"{path}: holds {len(modules)} layers; must be {len(layers)}, by {key}")
