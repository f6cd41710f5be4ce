"""The encoder and the decoder of a trained model as functions that need nothing else, to be exported."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from aejax.base.errors import InputError
from aejax.inference.examples import Examples
from aejax.inference.trained import Trained
from aejax.models import autoencoder

PARTS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class Array:
    """An array that a part takes or returns: `shape` is that of one example, `meaning` what its values are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    meaning: str


@dataclasses.dataclass(frozen=True)
class Part:
    """A pure function of arrays of B examples, the parameters of its run included, and what goes in and comes out."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Array, ...]
    output: Array


def parts(run: Trained, which: str = "both", pixels: str = "bytes") -> list[Part]:
    """The parts `which`, one of PARTS or "both", of a model; their numbers are those of `encode` and `decode`.

    The encoder takes images as `pixels`, "bytes" or "fractions", and other data in their own unit; the decoder returns
    images as fractions. Both take labels too if the model is conditional. Raises InputError for fractions of data that
    are no images.
    """
    examples, form = run.examples, run.experiment.form
    if pixels != "bytes" and form.kind == "real":
        raise InputError(f"--pixels {pixels}: data={form.name} are real numbers, not images")
    x, z = _examples_in(examples, pixels), Array("z", "float32", (run.latent_dim,), "codes")
    x_out = dataclasses.replace(x, dtype="float32", meaning="in their own unit" if form.kind == "real" else "fractions")
    label: tuple[Array, ...] = ()
    if run.experiment.model.is_conditional:
        label = (Array("label", "int32", (), f"numbers of labels, from 0 to {form.classes - 1}"),)

    def encode(x_B: Any, label_B: Any = None) -> Any:
        x_BxP = (
            _standardized(examples, x_B) if form.kind == "real" else examples.pixels(x_B, noisy=pixels == "fractions")
        )
        x_BxP = x_BxP.reshape(x_B.shape[0], form.pixels)
        return autoencoder.encode(run.experiment, run.params, x_BxP, label=label_B).mean

    def decode(z_BxZ: Any, label_B: Any = None) -> Any:
        x_BxP = autoencoder.decoded(run.experiment, run.params, z_BxZ, label_B)
        x_B = x_BxP.reshape(z_BxZ.shape[0], *form.shape)
        if examples.standardization is None:
            return x_B
        std, mean = (_by_feature(x_B, each) for each in (examples.standardization.std, examples.standardization.mean))
        return x_B * std + mean

    made = {"encoder": Part("encoder", encode, (x, *label), z), "decoder": Part("decoder", decode, (z, *label), x_out)}
    return [part for name, part in made.items() if which in (name, "both")]


def _examples_in(examples: Examples, pixels: str) -> Array:
    form = examples.form
    if form.kind == "real":
        return Array("x", "float32", form.shape, "in their own unit")
    if pixels == "fractions":
        return Array("x", "float32", form.shape, "fractions from 0 to 1")
    return Array("x", "uint8", form.shape, f"whole numbers from 0 to {examples.most}")


def _standardized(examples: Examples, x_B: Any) -> Any:
    """As in training, where it is done in float64: less the mean in float32, and less what that has rounded off."""
    if examples.standardization is None:
        return x_B
    mean, std = examples.standardization.mean, examples.standardization.std
    rest = (mean - mean.astype(np.float32)) / std  # taken off last: XLA would add it to the mean, and round
    return (x_B - _by_feature(x_B, mean)) / _by_feature(x_B, std) - _by_feature(x_B, rest)


def _by_feature(x_B: Any, values: np.ndarray) -> Any:
    """Values of the last axis of x_B, with as many axes."""
    return jnp.asarray(values, jnp.float32).reshape((1,) * (x_B.ndim - 1) + values.shape)
