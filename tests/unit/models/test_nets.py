"""Nets against other ways to compute them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, stack, trained
from flax import struct

from aejax.base.errors import InputError
from aejax.datasets.dataset import Dataset, Split
from aejax.models import autoencoder
from aejax.models.nets.conv import Convolution, Transposed
from aejax.settings.fields import static_int
from aejax.training import step

KEY = jax.random.key(3)
SIZES = [(28, 28, 1), (7, 5, 1), (11, 16, 3), (1, 9, 2)]
LAYOUT = ("CHWN", "HWIO", "CHWN")


@struct.dataclass
class Images:
    """A few images of any size."""

    height: int = static_int(1)
    width: int = static_int(1)
    channels: int = static_int(1)

    def load(self):
        rng = np.random.default_rng(0)
        draw = [Split(rng.integers(0, 256, (n, self.height, self.width, self.channels), np.uint8)) for n in (12, 6, 6)]
        return Dataset("images", "rgb" if self.channels == 3 else "gray", *draw)


def images(height, width, channels):
    size = {"height": height, "width": width, "channels": channels}
    return [f"data._target_={__name__}.Images", *(f"+data.{name}={value}" for name, value in size.items())]


def net(kernel, stride):
    return job("net=conv", f"net.kernel={kernel}", f"net.stride={stride}", "net.widths=[1]").experiment.net


# (kernel, stride): multiples of the stride, others, and kernels smaller than it.
KERNELS = [(4, 2), (3, 1), (3, 2), (3, 2), (5, 2), (2, 1), (5, 3), (7, 4), (1, 2), (2, 3)]
LAYERS = [(*kernel, SIZES[place % len(SIZES)]) for place, kernel in enumerate(KERNELS)]


def ordinary(kernel, side, stride, channels):
    """The weights [features, out] of a Convolution as a kernel [side, side, in, out]."""
    ordered, begin = np.zeros((side, side, channels, kernel.shape[1]), np.float32), 0
    for row in range(0, side, stride):
        for column in range(0, side, stride):
            part = ordered[row : row + stride, column : column + stride]
            end = begin + part[..., 0].size
            part[:] = np.asarray(kernel[begin:end]).reshape(part.shape)
            begin = end
    assert begin == len(kernel)  # no weight is left over
    return ordered


def maps_of(height, width, channels):
    """The shape of the maps of two examples."""
    return channels, height, width, 2


@pytest.mark.parametrize(("side", "stride", "shape"), LAYERS)
def test_a_convolution_is_laxs(side, stride, shape):
    maps, layer = jax.random.normal(KEY, maps_of(*shape)), Convolution(net(side, stride), 4, side)
    result, variables = layer.init_with_output(KEY, maps)
    kernel = ordinary(variables["params"]["Dense_0"]["kernel"], side, stride, shape[2])
    expected = jax.lax.conv_general_dilated(maps, kernel, (stride, stride), "SAME", dimension_numbers=LAYOUT)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(("side", "stride", "shape"), LAYERS)
def test_a_transposed_convolution_is_the_transpose_of_one(side, stride, shape):
    small = maps_of(-(-shape[0] // stride), -(-shape[1] // stride), 4)
    maps, layer = jax.random.normal(KEY, small), Transposed(net(side, stride), shape, side)
    result, variables = layer.init_with_output(KEY, maps)
    kernel, taps, channels = np.zeros((side, side, shape[2], 4), np.float32), -(-side // stride), shape[2]
    rest = side - (taps - 1) * stride  # pixels of a stride that the last tap reaches, and those that it does not
    parts = [(0, rest, taps), (rest, stride, taps - 1)] if rest < stride else [(0, stride, taps)]
    weights = (leaf["kernel"] for name, leaf in sorted(variables["params"].items()) if "Dense" in name)
    for top, bottom, down in parts:
        for left, right, across in parts:
            if not down * across:
                continue
            values = np.asarray(next(weights)).reshape(down, across, 4, bottom - top, right - left, channels)
            for row in range(down):
                for column in range(across):
                    # The window's first place is that of the last tap.
                    y, x = (down - 1 - row) * stride, (across - 1 - column) * stride
                    part = values[row, column].transpose(1, 2, 3, 0)
                    kernel[y + top : y + bottom, x + left : x + right] = part
    assert next(weights, None) is None and (kernel != 0).all()  # each weight of the kernel is one of the layer's
    strides = (stride, stride)
    convolve = lambda x: jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=LAYOUT)  # noqa: E731
    expected = jax.linear_transpose(convolve, jnp.zeros(maps_of(*shape)))(maps)[0]
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 9, 3), pytest.param((13, 6, 1), marks=pytest.mark.slow)])
def test_convolutions_take_images_of_any_size(size):
    layers = min(2, int(np.ceil(np.log2(max(size[:2])))) or 1)
    each = job(*images(*size), "net=conv", f"net.widths={[3, 4][:layers]}", *(["net.stride=1"] if size[0] == 1 else []))
    params = jax.jit(autoencoder.init, static_argnums=1)(each.experiment, 2)
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    outputs = jax.jit(autoencoder.forward)(each.experiment, params, x_BxP)
    assert outputs.code.mean.shape == (12, 2)
    assert outputs.logits.shape == x_BxP.shape
    influence = jax.jit(
        jax.jacobian(lambda p: autoencoder.decode(each.experiment, params | {"decoder": p}, outputs.code.z[:1]))
    )
    reached = sum(
        jnp.abs(leaf).sum(axis=tuple(range(2, leaf.ndim)))[0] for leaf in jax.tree.leaves(influence(params["decoder"]))
    )
    assert bool((reached > 0).all())  # every pixel is drawn by the decoder, those at the edge too


def test_a_shifted_image_has_shifted_maps():
    each = job(*images(16, 16, 1), "net=conv", "net.widths=[3]")
    encoder = each.experiment.net.encoder((16, 16, 1))
    x = jnp.pad(jax.random.normal(KEY, (1, 8, 8, 1)), ((0, 0), (4, 4), (4, 4), (0, 0)))
    variables = encoder.init(KEY, x.reshape(1, -1), training=False)
    here, there = (
        encoder.apply(variables, each.reshape(1, -1), training=False).reshape(8, 8, 3)
        for each in (x, jnp.roll(x, 2, axis=1))
    )
    np.testing.assert_allclose(jnp.roll(here, 1, axis=0), there, atol=1e-6)


@pytest.mark.slow
def test_convolutions_train_in_lanes_of_either_kind():
    jobs = [
        job(*images(7, 6, 3), "net=conv", "net.widths=[3,4]", "steps=6", f"latent_dim={d}", f"seed={d}") for d in (2, 3)
    ]
    experiments, data = stack([each.experiment for each in jobs]), jobs[0].dataset.arrays()
    state = jax.jit(jax.vmap(lambda one: step.init(one, data, 3)))(experiments)
    segment = functools.partial(step.segment, length=6)
    _, found = jax.jit(jax.vmap(lambda one, state: segment(one, state, data, jnp.int32(0))))(experiments, state)
    for index, each in enumerate(jobs):
        alone = trained(
            each.__class__(**{**each.__dict__, "experiment": each.experiment.replace(log_points=1)}), width=3
        )[1]
        for name, value in alone[-1].items():
            np.testing.assert_allclose(found[name][index], value[0], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data._target_=blobs.Blobs"], r"net=conv: needs images, and data=blobs has vectors of 6 values"),
        (
            ["net.widths=[4,4,4,4]"],
            r"net\.widths=\[4, 4, 4, 4\]: too many strides, 7 x 5 pixels are 1 x 1 after 3 layers",
        ),
        (["net.widths=[]"], r"net\.widths=\[\]: must name at least one layer"),
        (["net.kernel=0"], r"net\.kernel=0: must be a whole number at least 1"),
        (["model=pca"], r"net\.widths=\[32, 64\]: model=pca has no hidden layers; use net=linear"),
    ],
)
def test_convolutions_that_cannot_be_are_refused(overrides, told):
    with pytest.raises(InputError, match=f"^{told}"):
        job("net=conv", *overrides)
