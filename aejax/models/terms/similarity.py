"""Terms that take the place of the likelihood of the pixels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.metrics.reconstruction import multiscale_ssim
from aejax.models.likelihoods import Optimal
from aejax.models.noise import Patches
from aejax.models.objective import Context, Term
from aejax.settings.fields import Leaf, leaf_float


@struct.dataclass
class Replacement(Term):
    """The base: of -log p(x | z) the share `pixels` stays in the objective."""

    pixels: Leaf = leaf_float(0)

    def check(self, experiment: Any) -> None:
        if experiment.bound.has_kl:
            name, title = experiment.bound.name, experiment.model_title
            raise InputError(f"bound={name}: has the likelihood inside, which {title} replaces; use bound=elbo")

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
                f"{experiment.model_title}: needs images with pixels in [0, 1], and data={form.name} has none; use "
                "model=vae"
            )

    def __call__(self, context: Context) -> jax.Array:
        experiment, target_BxP = context.experiment, context.batch.target
        decoded_BxP = experiment.likelihood.mean(context.outputs.logits)
        return 1 - multiscale_ssim(target_BxP, decoded_BxP, experiment.form.shape)


@struct.dataclass
class HiddenPixels(Replacement):
    """-log p of the pixels that noise=patches hides, at the scale of all pixels, [B] (He et al. 2022, section 3).

    That is their mean times the number of all pixels: what is visible has no gradient. He et al. let the encoder see
    the visible patches alone, and the decoder mask tokens in place of the others; here the shapes of all lanes are the
    same, so that the encoder sees hidden patches as patches of one value, as Xie et al. 2022 do.
    """

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        noise, form = experiment.noise, experiment.form
        if not isinstance(noise, Patches):
            raise InputError(f"noise: {experiment.model_title} learns what noise=patches hides; use that, or model=ae")
        if form.kind != "real" and 0 <= noise.fill <= 1:
            raise InputError(
                f"noise.fill={noise.fill:g}: tells hidden pixels from visible ones, so that it must be no pixel's "
                "value; use -1"
            )
        rows, columns = noise.places(form.shape)
        hidden = round(float(noise.level) * rows * columns)
        if hidden in (0, rows * columns):
            share, level = ("all", "smaller") if hidden else ("none", "larger")
            raise InputError(
                f"noise.level={noise.level:g}: hides {share} of {rows} x {columns} patches, and "
                f"{experiment.model_title} learns hidden ones from visible ones; use a {level} level or a smaller "
                "noise.patch"
            )
        if isinstance(experiment.likelihood, Optimal):
            raise InputError(
                f"likelihood=optimal: its variance is that of all pixels, and {experiment.model_title} learns of "
                "hidden ones; use likelihood=learned"
            )

    def __call__(self, context: Context) -> jax.Array:
        experiment, batch = context.experiment, context.batch
        nats_BxP = experiment.likelihood.by_pixel(batch.target, context.outputs.logits, context.params["likelihood"])
        hidden_BxP = experiment.noise.hidden(batch.input)
        hidden_B = jnp.maximum(jnp.sum(hidden_BxP, axis=1), 1)
        return jnp.sum(jnp.where(hidden_BxP, nats_BxP, 0), axis=1) * (batch.target.shape[1] / hidden_B)
