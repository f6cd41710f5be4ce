"""A hierarchy of codes in one code vector: ladder posteriors and their top-down prior (Sønderby et al. 2016).

Unit j of Z belongs to level floor(j L / Z) of L, the lowest first. The decoder sees the lowest level alone, p(x | z_1),
and each level is a Gaussian given the one above. Weights belong to units, each of which is in one level, so that all
levels share the arrays. Unlike in the paper there is no batch norm, and networks give log variances, not a softplus.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models.bottlenecks import Code, Estimated, drawn
from aejax.models.layers import UnitLayer, latent_mask, mask_of
from aejax.models.posteriors import LOG_2PI, Diagonal, Draw, Posterior
from aejax.models.priors import Prior, gaussian_kl
from aejax.settings.fields import static_int

LEAK = 0.1  # slope of the rectifiers below 0 (section 3)
GAUSSIAN = ("mean", "log_variance")


def level_masks(mask_Z: jax.Array, levels: int) -> jax.Array:
    """1 for the units of each level, the lowest first, [L, Z]."""
    units = jnp.sum(mask_Z).astype(jnp.int32)
    level_Z = jnp.arange(mask_Z.shape[0]) * levels // units
    return (level_Z[None, :] == jnp.arange(levels)[:, None]) * mask_Z[None, :]


def merged(
    mean: jax.Array, log_variance: jax.Array, other_mean: jax.Array, other_log_variance: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean and log variance of the normalized product of two Gaussians: precisions add up (section 2.1)."""
    weight = jax.nn.sigmoid(other_log_variance - log_variance)
    return weight * mean + (1 - weight) * other_mean, -jnp.logaddexp(-log_variance, -other_log_variance)


def below(variables: Any, place: int, z_BxZ: jax.Array, masks_LxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log variance [B, Z] of p(z_place | z_place+1), 0 for units of other levels; N(0, I) at the top."""
    if place == masks_LxZ.shape[0] - 1:
        return jnp.zeros_like(z_BxZ), jnp.zeros_like(z_BxZ)
    seen_BxZ = z_BxZ * masks_LxZ[place + 1][None, :]
    h_BxH = _rectified(seen_BxZ @ variables["above"] + variables["bias"][place][None, :])
    return _gaussian(variables, h_BxH, masks_LxZ[place])


def _gaussian(variables: Any, h_BxH: jax.Array, mask_Z: jax.Array) -> Any:
    return tuple(UnitLayer().apply({"params": variables[name]}, h_BxH, mask_Z) for name in GAUSSIAN)


def _rectified(x: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(x, LEAK)


def _log_normal(z_BxZ: jax.Array, mean_BxZ: jax.Array, log_variance_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
    """The log density of the units in mask_Z, [B]."""
    return Diagonal(mean_BxZ, mask_Z, log_variance_BxZ).log_prob(z_BxZ)


def _gaussian_layers(key: jax.Array, hidden: int, mask_Z: jax.Array) -> dict[str, Any]:
    keys = jax.random.split(key, len(GAUSSIAN))
    h_1xH = jnp.zeros((1, hidden))
    return {
        name: UnitLayer().init(key_name, h_1xH, mask_Z)["params"] for name, key_name in zip(GAUSSIAN, keys, strict=True)
    }


def _trimmed_layers(variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
    return {name: {part: array[..., :latent_dim] for part, array in variables[name].items()} for name in GAUSSIAN}


@struct.dataclass
class TopDown(Posterior):
    """Each level's Gaussian is `bottom_up`'s times that of the prior given the level above (section 2.1).

    `variables` are those of the prior. With the codes `path` [B, Z] of a draw the KL of each level has a closed form.
    """

    bottom_up: Diagonal
    variables: Any
    levels: int = struct.field(pytree_node=False)
    path: jax.Array | None = None

    def with_mean(self) -> "TopDown":
        """The posterior whose `mean` is what the levels make of each other's means."""
        zero_BxZ = jnp.zeros_like(self.bottom_up.mean)
        return dataclasses.replace(self, mean=self._descended(zero_BxZ)[0])

    def sample(self, key: jax.Array) -> Draw:
        examples, units = self.bottom_up.mean.shape
        eps_BxZ = normal_by_unit(key, units, (examples,)).T * self.mask[None, :]
        z_BxZ, log_variance_BxZ = self._descended(eps_BxZ)
        nats_BxZ = (eps_BxZ**2 + log_variance_BxZ + LOG_2PI) * self.mask[None, :]
        return Draw(z_BxZ, -0.5 * jnp.sum(nats_BxZ, axis=1), eps_BxZ)

    def log_prob(self, z_BxZ: jax.Array) -> jax.Array:
        masks_LxZ, total_B = level_masks(self.mask, self.levels), jnp.zeros(z_BxZ.shape[0])
        for place in range(self.levels):
            (mean_BxZ, log_variance_BxZ), _ = self.of_level(place, z_BxZ, masks_LxZ)
            total_B += _log_normal(z_BxZ, mean_BxZ, log_variance_BxZ, masks_LxZ[place])
        return total_B

    def kl_by_unit(self) -> jax.Array:
        """KL(q(z_l | z_l+1, x) || p(z_l | z_l+1)) of each unit in nats, [B, Z], at the codes of `path`."""
        masks_LxZ, kl_BxZ = level_masks(self.mask, self.levels), jnp.zeros_like(self.bottom_up.mean)
        path_BxZ = kl_BxZ if self.path is None else self.path  # which a single level does not look at
        for place in range(self.levels):
            (mean, log_variance), (prior_mean, prior_log_variance) = self.of_level(place, path_BxZ, masks_LxZ)
            standard_BxZ = (mean - prior_mean) * jnp.exp(-0.5 * prior_log_variance)
            kl_BxZ += gaussian_kl(standard_BxZ, log_variance - prior_log_variance)
        return kl_BxZ

    def of_level(self, place: int, z_BxZ: jax.Array, masks_LxZ: jax.Array) -> Any:
        """Mean and log variance of a level's posterior given the level above in z_BxZ, and those of its prior.

        [B, Z] each, 0 for units of other levels.
        """
        mask_1xZ = masks_LxZ[place][None, :]
        bottom_up = self.bottom_up.mean * mask_1xZ, self.bottom_up.log_variance * mask_1xZ
        prior = below(self.variables, place, z_BxZ, masks_LxZ)
        if place == self.levels - 1:
            return bottom_up, prior
        mean_BxZ, log_variance_BxZ = merged(*bottom_up, *prior)
        return (mean_BxZ * mask_1xZ, log_variance_BxZ * mask_1xZ), prior

    def _descended(self, eps_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Codes from the top down, of this noise, and the log variances of their levels."""
        masks_LxZ = level_masks(self.mask, self.levels)
        z_BxZ, total_BxZ = jnp.zeros_like(eps_BxZ), jnp.zeros_like(eps_BxZ)
        for place in reversed(range(self.levels)):
            (mean_BxZ, log_variance_BxZ), _ = self.of_level(place, z_BxZ, masks_LxZ)
            z_BxZ += mean_BxZ + jnp.exp(0.5 * log_variance_BxZ) * eps_BxZ * masks_LxZ[place][None, :]
            total_BxZ += log_variance_BxZ
        return z_BxZ, total_BxZ


@struct.dataclass
class Ladder(Estimated):
    """`levels` of codes: a deterministic pass up, with layers of `hidden` units, and a posterior from the top down.

    The lowest level's heads see the encoder's output, those above it one more layer each.
    """

    levels: int = static_int(1, 5)
    hidden: int = static_int(1, 10_000)

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if self.levels > experiment.latent_dim:
            raise InputError(
                f"model.levels={self.levels}: each level needs a unit; must be at most latent_dim, "
                f"{experiment.latent_dim}"
            )
        if self.levels > 1 and experiment.model.is_conditional:
            raise InputError(
                f"model.condition=label: the upper levels of {experiment.model_title} do not see labels; use "
                "model.condition=none, or model=cvae"
            )
        if not isinstance(experiment.prior, Hierarchy):
            raise InputError(
                f"prior={experiment.prior.choice}: the levels of {experiment.model_title} are each other's prior; use "
                "prior=ladder"
            )

    def by_level(self, mask_Z: jax.Array) -> jax.Array:
        return level_masks(mask_Z, self.levels)

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        if self.levels == 1:
            return {}
        module, form = experiment.net.encoder(experiment.form.shape), experiment.form
        out = jax.eval_shape(
            lambda: module.init_with_output(jax.random.key(0), jnp.zeros((1, form.pixels)), training=False)[0]
        )
        key_heads, *keys = jax.random.split(key, self.levels)
        layers = _gaussian_layers(key_heads, self.hidden, latent_mask(width, experiment.latent_dim))
        for place, key_layer in enumerate(keys):
            inputs = self.hidden if place else out.shape[1]
            kernel_IxH = jax.random.normal(key_layer, (inputs, self.hidden)) / jnp.sqrt(inputs)
            layers[f"up_{place}"] = {"kernel": kernel_IxH, "bias": jnp.zeros(self.hidden)}
        return layers

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return variables | _trimmed_layers(variables, latent_dim)

    def posterior(self, heads: dict[str, jax.Array], mask_Z: jax.Array, variables: dict[str, Any]) -> Posterior:
        """The bottom-up Gaussians alone; `completed` merges them with the prior."""
        masks_LxZ, h_BxH = level_masks(mask_Z, self.levels), heads["hidden"]
        mean_BxZ, log_variance_BxZ = (heads[name] * masks_LxZ[0][None, :] for name in GAUSSIAN)
        for place in range(self.levels - 1):
            layer = variables[f"up_{place}"]
            h_BxH = _rectified(h_BxH @ layer["kernel"] + layer["bias"][None, :])
            level_mean_BxZ, level_log_variance_BxZ = _gaussian(variables, h_BxH, masks_LxZ[place + 1])
            mean_BxZ, log_variance_BxZ = mean_BxZ + level_mean_BxZ, log_variance_BxZ + level_log_variance_BxZ
        return Diagonal(mean_BxZ, mask_Z, log_variance_BxZ)

    def completed(
        self,
        code: Code,
        experiment: Any,
        params: Any,
        x_BxP: jax.Array,
        key: jax.Array | None = None,
        label: jax.Array | None = None,
    ) -> Code:
        bottom_up: Any = code.posterior
        posterior = TopDown(bottom_up.mean, code.mask, bottom_up, params.get("prior", {}), self.levels).with_mean()
        code = drawn(posterior, key, code.statistics)
        return code if key is None else dataclasses.replace(code, posterior=dataclasses.replace(posterior, path=code.z))


@struct.dataclass
class Hierarchy(Prior):
    """The levels of model=ladder_vae from the top down: p(z_L) = N(0, I), and p(z_l | z_l+1) by a hidden layer each."""

    choice: ClassVar[str] = "ladder"

    def check(self, experiment: Any) -> None:
        if not isinstance(experiment.model.bottleneck, Ladder):
            raise InputError(
                f"prior=ladder: the code of {experiment.model_title} has no levels; use model=ladder_vae or "
                "prior=normal"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        bottleneck: Ladder = experiment.model.bottleneck
        if bottleneck.levels == 1:
            return {}
        key_above, key_layers = jax.random.split(key)
        mask_Z = latent_mask(width, experiment.latent_dim)
        masks_LxZ = bottleneck.by_level(mask_Z)
        units_Z = jnp.sum(masks_LxZ * jnp.sum(masks_LxZ, axis=1)[:, None], axis=0)  # in a unit's level
        above_ZxH = normal_by_unit(key_above, width, (bottleneck.hidden,)) * mask_Z[:, None]
        return _gaussian_layers(key_layers, bottleneck.hidden, mask_Z) | {
            "above": above_ZxH / jnp.sqrt(jnp.maximum(units_Z, 1))[:, None],
            "bias": jnp.zeros((bottleneck.levels - 1, bottleneck.hidden)),
        }

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return variables | _trimmed_layers(variables, latent_dim) | {"above": variables["above"][:latent_dim]}

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        masks_LxZ, total_B = self._masks(experiment, params), jnp.zeros(z_BxZ.shape[0])
        for place in range(masks_LxZ.shape[0]):
            mean_BxZ, log_variance_BxZ = below(params.get("prior", {}), place, z_BxZ, masks_LxZ)
            total_B += _log_normal(z_BxZ, mean_BxZ, log_variance_BxZ, masks_LxZ[place])
        return total_B

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        masks_LxZ = self._masks(experiment, params)
        eps_SxZ = normal_by_unit(key, masks_LxZ.shape[1], (samples,)).T
        z_SxZ = jnp.zeros_like(eps_SxZ)
        for place in reversed(range(masks_LxZ.shape[0])):
            mean_SxZ, log_variance_SxZ = below(params.get("prior", {}), place, z_SxZ, masks_LxZ)
            z_SxZ += mean_SxZ + jnp.exp(0.5 * log_variance_SxZ) * eps_SxZ * masks_LxZ[place][None, :]
        return z_SxZ

    def kl(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        """In closed form given the codes above, so that its mean over draws is the KL; None without a draw."""
        if not isinstance(posterior, TopDown) or (posterior.path is None and posterior.levels > 1):
            return None
        return posterior.kl_by_unit()

    def _masks(self, experiment: Any, params: Any) -> jax.Array:
        masks: jax.Array = experiment.model.bottleneck.by_level(mask_of(experiment, params))
        return masks
