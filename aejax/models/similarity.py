"""Terms that take the place of the likelihood of the pixels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.metrics.reconstruction import multiscale_ssim
from aejax.models.objective import Context, Term
from aejax.settings.fields import Leaf, leaf_float


@struct.dataclass
class Replacement(Term):
    """The base: of -log p(x | z) the share `pixels` stays in the objective."""

    pixels: Leaf = leaf_float(0)

    def check(self, experiment: Any) -> None:
        if experiment.bound.has_kl:
            raise InputError("bound: has the likelihood inside, which a term of this model replaces; use bound=elbo")

    def contribution(self, context: Context, mean: jax.Array) -> jax.Array:
        return self.weight * mean + (self.pixels - 1) * jnp.mean(context.distortion)


@struct.dataclass
class Dissimilarity(Replacement):
    """1 - the multi-scale structural similarity of example and reconstruction, [B] (Snell et al. 2017)."""

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        form = experiment.form
        if len(form.shape) != 3 or form.kind == "real":
            raise InputError(
                f"model=msssim_vae: needs images with pixels in [0, 1], and data={form.name} has none; use model=vae"
            )

    def __call__(self, context: Context) -> jax.Array:
        experiment, target_BxP = context.experiment, context.batch.target
        decoded_BxP = experiment.likelihood.mean(context.outputs.logits)
        return 1 - multiscale_ssim(target_BxP, decoded_BxP, experiment.form.shape)
