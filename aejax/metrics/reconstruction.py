"""How far reconstructions are from what they should be."""

import jax.numpy as jnp

PROBABILITY_FLOOR = 1e-6  # cross-entropy takes predictions at least this far from 0 and 1


def squared_error(clean_NxP, predicted_NxP):
    """Squared error summed over the pixels of an example, [N]."""
    return jnp.sum((predicted_NxP - clean_NxP) ** 2, axis=1)


def cross_entropy(clean_NxP, predicted_NxP):
    """Cross-entropy in nats summed over the pixels of an example, [N]; predictions are clipped into (0, 1)."""
    p_NxP = jnp.clip(predicted_NxP, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return -jnp.sum(clean_NxP * jnp.log(p_NxP) + (1 - clean_NxP) * jnp.log1p(-p_NxP), axis=1)


def wrong_pixels(clean_NxP, predicted_NxP):
    """The number of binary pixels on the wrong side of 0.5, [N]."""
    return jnp.sum((predicted_NxP > 0.5) != (clean_NxP > 0.5), axis=1)


def psnr(mse):
    """Peak signal-to-noise ratio in dB of a mean squared error, for a peak of 1."""
    return -10 * jnp.log10(mse)


def reconstruction(clean_NxP, predicted_NxP, binary):
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
