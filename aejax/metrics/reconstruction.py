"""How far reconstructions are from their targets."""

import functools
import math

import jax
import jax.numpy as jnp

PROBABILITY_FLOOR = 1e-6  # cross-entropy takes predictions at least this far from 0 and 1
SSIM_WINDOW, SSIM_DEVIATION = 11, 1.5  # pixels, of the Gaussian that local means are taken with
SSIM_K1, SSIM_K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of multi-scale SSIM, the finest first
SCALE_SIDE, SCALE_FLOOR = 4, 0.01


def squared_error(clean_NxP: jax.Array, predicted_NxP: jax.Array) -> jax.Array:
    """Squared error summed over the pixels of an example, [N]."""
    return jnp.sum((predicted_NxP - clean_NxP) ** 2, axis=1)


def cross_entropy(clean_NxP: jax.Array, predicted_NxP: jax.Array) -> jax.Array:
    """Cross-entropy in nats summed over the pixels of an example, [N]; predictions are clipped into (0, 1)."""
    p_NxP = jnp.clip(predicted_NxP, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -jnp.sum(clean_NxP * jnp.log(p_NxP) + (1 - clean_NxP) * jnp.log1p(-p_NxP), axis=1)


def wrong_pixels(clean_NxP: jax.Array, predicted_NxP: jax.Array) -> jax.Array:
    """The number of binary pixels on the wrong side of 0.5, [N]."""
    return jnp.sum((predicted_NxP > 0.5) != (clean_NxP > 0.5), axis=1)


def psnr(mse: jax.Array) -> jax.Array:
    """Peak signal-to-noise ratio in dB of a mean squared error, for a peak of 1."""
    return -10 * jnp.log10(mse)


@jax.jit
def r2(clean_NxP: jax.Array, predicted_NxP: jax.Array) -> jax.Array:
    """Share of the variance of all pixels that is explained, 1 at best; nan if all examples are equal.

    1 less the squared error over that of the mean of these examples: R^2 with pixels weighted by their variance, as
    scikit-learn's r2_score(multioutput="variance_weighted").
    """
    around_N = squared_error(clean_NxP, jnp.broadcast_to(jnp.mean(clean_NxP, axis=0)[None, :], clean_NxP.shape))
    return 1 - jnp.sum(squared_error(clean_NxP, predicted_NxP)) / jnp.sum(around_N)


@functools.partial(jax.jit, static_argnames="shape")
def ssim(clean_NxP: jax.Array, predicted_NxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Structural similarity of images of `shape` (height, width, channels), [N], -1 to 1 (Wang et al. 2004, eq. 13).

    Local means by a Gaussian of 11 x 11 pixels, or as many as an image has (an odd number), where it lies wholly
    inside; a peak of 1; the mean over channels. Comparable between images of one shape only.
    """
    luminance, structure = _similarities(clean_NxP, predicted_NxP, shape)
    return jnp.mean(luminance[0] * structure[0] / (luminance[1] * structure[1]), axis=(1, 2, 3))


@functools.partial(jax.jit, static_argnames="shape")
def multiscale_ssim(clean_NxP: jax.Array, predicted_NxP: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Structural similarity over scales, each of half the size of the last, [N], 0 to 1 (Wang et al. 2003, eq. 7).

    Of the paper's five scales those whose images have at least SCALE_SIDE pixels a side, with weights that sum to 1. A
    scale that is less similar than SCALE_FLOOR counts as that.
    """
    height, width, _ = shape
    scales = max(1, sum(min(height, width) >> scale >= SCALE_SIDE for scale in range(len(SCALE_WEIGHTS))))
    images = [pixels_NxP.reshape(-1, *shape) for pixels_NxP in (clean_NxP, predicted_NxP)]
    log_N = jnp.zeros(clean_NxP.shape[0])
    for scale, weight in enumerate(SCALE_WEIGHTS[:scales]):
        clean, predicted = (image.reshape(image.shape[0], -1) for image in images)
        luminance, structure = _similarities(clean, predicted, images[0].shape[1:])
        similar = structure[0] / structure[1]
        similar = similar * luminance[0] / luminance[1] if scale == scales - 1 else similar
        similar_N = jnp.mean(similar, axis=(1, 2, 3))
        log_N += weight / sum(SCALE_WEIGHTS[:scales]) * jnp.log(jnp.maximum(similar_N, SCALE_FLOOR))
        images = [_halved(image) for image in images]
    return jnp.exp(log_N)


def _halved(image_NxHxWxC: jax.Array) -> jax.Array:
    """The means of 2 x 2 pixels; a last odd row or column is left out."""
    count, height, width, channels = image_NxHxWxC.shape
    even = image_NxHxWxC[:, : height // 2 * 2, : width // 2 * 2]
    return jnp.mean(even.reshape(count, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def _similarities(
    clean_NxP: jax.Array, predicted_NxP: jax.Array, shape: tuple[int, ...]
) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """Luminance, and contrast with structure, of each place and channel (Wang et al. 2004, eq. 6 to 13).

    Each as what stands above and below the line of the fraction, [N, H', W', C].
    """
    height, width, channels = shape
    window = min(SSIM_WINDOW, *(side - (side + 1) % 2 for side in (height, width)))
    offset_W = jnp.arange(window) - window // 2
    weight_W = jnp.exp(-0.5 * (offset_W / SSIM_DEVIATION) ** 2)
    weight_W /= jnp.sum(weight_W)

    def bands(side: int) -> jax.Array:  # local means along a side as a matrix, [side - window + 1, side]
        rows = jnp.arange(side - window + 1)[:, None]
        return jnp.zeros((side - window + 1, side)).at[rows, rows + jnp.arange(window)[None, :]].set(weight_W[None, :])

    down, across = bands(height), bands(width)

    def local(image_NxHxWxC: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return jnp.einsum("ih,nhwc,jw->nijc", down, image_NxHxWxC, across)

    a, b = (pixels_NxP.reshape(-1, height, width, channels) for pixels_NxP in (clean_NxP, predicted_NxP))
    mean_a, mean_b = local(a), local(b)
    variance_a, variance_b = local(a**2) - mean_a**2, local(b**2) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = 2 * mean_a * mean_b + c1, mean_a**2 + mean_b**2 + c1
    return luminance, (2 * covariance + c2, variance_a + variance_b + c2)


@functools.partial(jax.jit, static_argnames="classes")
def error_by_class(squared_N: jax.Array, y_N: jax.Array, classes: int) -> jax.Array:
    """The mean of a per-example error over the examples of each class, [C]; nan for a class without any."""
    member_NxC = jax.nn.one_hot(y_N, classes)
    return (squared_N @ member_NxC) / jnp.sum(member_NxC, axis=0)


@functools.partial(jax.jit, static_argnames="count")
def worst(error_N: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` examples with the largest error, worst first: their indices and errors; nan is worst of all."""
    error_K, index_K = jax.lax.top_k(jnp.where(jnp.isnan(error_N), jnp.inf, error_N), count)
    return index_K, error_K


def bits_per_dimension(nats: jax.Array, dimensions: int, levels: int = 1) -> jax.Array:
    """Nats an example as bits a dimension; `levels` of 256 for densities over [0, 1] of bytes, whose bins are 1/256."""
    return nats / (dimensions * math.log(2)) + math.log2(levels)


def reconstruction(clean_NxP: jax.Array, predicted_NxP: jax.Array, binary: bool) -> dict[str, jax.Array]:
    """All of these over a set of examples, {name: scalar}; cross-entropy and wrong pixels for binary data only."""
    squared_N = squared_error(clean_NxP, predicted_NxP)
    mse = jnp.mean(squared_N) / clean_NxP.shape[1]
    metrics = {"mse": mse, "sse": jnp.mean(squared_N), "psnr": psnr(mse)}
    if binary:
        wrong_N = wrong_pixels(clean_NxP, predicted_NxP)
        metrics |= {
            "bce": jnp.mean(cross_entropy(clean_NxP, predicted_NxP)),
            "pixel_errors_mean": jnp.mean(wrong_N.astype(jnp.float32)),
            "pixel_errors_max": jnp.max(wrong_N),
            "exact": jnp.mean(wrong_N == 0),
            "at_most_one_wrong": jnp.mean(wrong_N <= 1),
        }
    return metrics
