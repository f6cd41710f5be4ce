"""The training that somebody writes by hand in JAX and Optax: the nets, batches and optimizer of benchmarks/gpu.py.

Nothing of aejax is used. The data are on the device as bytes, and their order is drawn again for each epoch.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import optax
from jax import lax


def dense(key, widths):
    """Parameters and network of linear layers of these `widths`, to the code and back, GELU between them."""
    code, mirrored = len(widths) - 1, [*widths, *reversed(widths[:-1])]
    shapes = list(itertools.pairwise(mirrored))

    def network(params, h_BxH):
        for place, (kernel, bias) in enumerate(params, 1):
            h_BxH = h_BxH @ kernel + bias[None, :]
            if place not in (code, len(shapes)):
                h_BxH = jax.nn.gelu(h_BxH)
        return h_BxH

    return started(key, shapes), network


def conv(key, first, second, code, by_products=False):
    """Parameters and network of two strided convolutions for images of 28 x 28, a code, and back; vectors in and out.

    Convolutions are XLA's, or products of windows: in a loop on a CPU, XLA's are ten times slower than outside.
    """
    inner, (down, up) = second * 49, (DOWN_UP if by_products else XLA_DOWN_UP)
    shapes = [(4, 4, 1, first), (4, 4, first, second), (inner, code)]
    shapes += [(code, inner), (4, 4, second, first), (4, 4, first, 1)]

    def network(params, x_BxP):
        down1, down2, (to_code, code_bias), (from_code, bias), up2, up1 = params
        maps = x_BxP.reshape(-1, 28, 28, 1)
        for kernel, bias_C in (down1, down2):
            maps = jax.nn.gelu(down(maps, kernel) + bias_C[None, None, None, :])
        z_BxZ = maps.reshape(len(maps), -1) @ to_code + code_bias[None, :]
        maps = (z_BxZ @ from_code + bias[None, :]).reshape(-1, 7, 7, second)
        for kernel, bias_C in (up2, up1):
            maps = up(jax.nn.gelu(maps), kernel) + bias_C[None, None, None, :]
        return maps.reshape(len(maps), -1)

    return started(key, shapes), network


def windows(maps):
    """[B, H, W, C] -> [B, H / 2, W / 2, 16 C]: what kernels of 4 x 4 see, with a stride of 2 and padding of 1."""
    padded, (_, height, width, _) = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0))), maps.shape
    seen = [padded[:, row : row + height : 2, column : column + width : 2] for row in range(4) for column in range(4)]
    return jnp.concatenate(seen, axis=3)


def halved(maps, kernel):
    """A strided convolution as a product."""
    return windows(maps) @ kernel.reshape(-1, kernel.shape[3])


def doubled(maps, kernel):
    """A transposed convolution as a product, whose values are added up where windows overlap."""
    examples, height, width, channels = maps.shape
    larger = jax.ShapeDtypeStruct((examples, 2 * height, 2 * width, kernel.shape[3]), maps.dtype)
    values = maps @ kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1)
    return jax.linear_transpose(windows, larger)(values)[0]


def strided(function, maps, kernel):
    """XLA's convolution, or its transposed one, with a stride of 2."""
    return function(maps, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


DOWN_UP = halved, doubled
XLA_DOWN_UP = functools.partial(strided, lax.conv_general_dilated), functools.partial(strided, lax.conv_transpose)


def started(key, shapes):
    """[(kernel, bias)] of these shapes of kernels, as LeCun has them."""
    keys = jax.random.split(key, len(shapes))
    draw = lambda key, shape: jax.random.normal(key, shape) / math.sqrt(math.prod(shape[:-1]))  # noqa: E731
    return [(draw(key, shape), jnp.zeros(shape[-1])) for key, shape in zip(keys, shapes, strict=True)]


def trainers(made, stored_NxP, batch, binary, length):
    """Two functions that train `made`, (parameters, network), further: one step a call, and `length` steps by lax.scan.

    Each returns when it has asked for its steps, with something to wait for.
    """
    params, network = made
    optimizer, stored_NxP = optax.adam(1e-3), jnp.asarray(stored_NxP)
    examples, pixels = stored_NxP.shape

    def loss(params, x_BxP):
        logits_BxP = network(params, x_BxP)
        if binary:
            return jnp.sum(jax.nn.softplus(logits_BxP) - x_BxP * logits_BxP) / batch
        return 0.5 * (jnp.sum((jax.nn.sigmoid(logits_BxP) - x_BxP) ** 2) / batch + pixels * math.log(2 * math.pi))

    def step(state, stored_NxP):
        params, optim, order, at = state
        chosen = stored_NxP
        if batch < examples:
            epoch, position = jnp.divmod(at, examples // batch)
            shuffle = lambda _: jax.random.permutation(jax.random.key(epoch), examples)  # noqa: E731
            order = lax.cond(position == 0, shuffle, lambda order: order, order)
            chosen = stored_NxP[lax.dynamic_slice(order, (position * batch,), (batch,))]
        x_BxP = chosen.astype(jnp.float32) * (1.0 if binary else 1 / 255)
        value, gradient = jax.value_and_grad(loss)(params, x_BxP)
        updates, optim = optimizer.update(gradient, optim)
        return (optax.apply_updates(params, updates), optim, order, at + 1), value

    @functools.partial(jax.jit, donate_argnums=0)
    def scanned(state, stored_NxP):
        return lax.scan(lambda state, _: step(state, stored_NxP), state, length=length)

    def further(program, calls):
        """A function that calls the program so many times, from where it left its own copy of the state."""
        state = params, optimizer.init(params), jnp.arange(examples), jnp.int32(0)
        held = [jax.tree.map(jnp.copy, state)]

        def train():
            for _ in range(calls):
                held[0], value = program(held[0], stored_NxP)
            return held[0], value

        return train

    return further(jax.jit(step, donate_argnums=0), length), further(scanned, 1)
