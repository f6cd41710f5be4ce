"""Priors that are learned: Gaussians and mixtures of them, posteriors of pseudo-inputs, normalizing flows."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models import autoencoder, flows
from aejax.models.bottlenecks import Estimated, Gaussian
from aejax.models.layers import mask_of
from aejax.models.posteriors import LOG_2PI, Diagonal, Posterior
from aejax.models.priors import Prior, gaussian_kl
from aejax.settings.fields import static_int


@struct.dataclass
class Learned(Prior):
    """The base of priors with variables, which `start` returns.

    In a conditional model the codes of each label are those of one density, moved and scaled by unit.
    """

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        variables = self.start(experiment, key, width)
        if experiment.model.is_conditional:
            variables["label"] = jnp.zeros((2, experiment.form.classes, width))  # mean and log scale
        return variables

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        trimmed = self.cut({name: array for name, array in variables.items() if name != "label"}, latent_dim)
        return trimmed | ({"label": variables["label"][..., :latent_dim]} if "label" in variables else {})

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        mean_BxZ, log_scale_BxZ = self.moved(experiment, params, label)
        plain_BxZ = (z_BxZ - mean_BxZ) * jnp.exp(-log_scale_BxZ)
        return self.log_density(experiment, params, plain_BxZ) - jnp.sum(log_scale_BxZ, axis=1)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        mean_SxZ, log_scale_SxZ = self.moved(experiment, params, label)
        return self.draws(experiment, params, key, samples) * jnp.exp(log_scale_SxZ) + mean_SxZ

    def moved(self, experiment: Any, params: Any, label: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """By how much the codes of these labels are moved and the log of their scale, [B, Z]; 0 without labels."""
        mask_Z = mask_of(experiment, params)
        if not experiment.model.is_conditional:
            return jnp.zeros((1, mask_Z.shape[0])), jnp.zeros((1, mask_Z.shape[0]))
        mean_CxZ, log_scale_CxZ = params["prior"]["label"] * mask_Z[None, None, :]
        return mean_CxZ[label], log_scale_CxZ[label]

    def start(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        """The variables of the density before the first step."""
        raise NotImplementedError

    def cut(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        """These variables without masked units."""
        return variables

    def log_density(self, experiment: Any, params: Any, z_BxZ: jax.Array) -> jax.Array:
        """The log density in nats, [B]."""
        raise NotImplementedError

    def draws(self, experiment: Any, params: Any, key: jax.Array, samples: int) -> jax.Array:
        """Codes of the density, [samples, Z]."""
        raise NotImplementedError


@struct.dataclass
class LearnedDiagonal(Learned):
    """A Gaussian with independent units whose means and variances are learned."""

    choice: ClassVar[str] = "learned"

    def start(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return {"mean": jnp.zeros(width), "log_variance": jnp.zeros(width)}

    def cut(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return {name: array[:latent_dim] for name, array in variables.items()}

    def log_density(self, experiment: Any, params: Any, z_BxZ: jax.Array) -> jax.Array:
        mean_Z, log_variance_Z = params["prior"]["mean"], params["prior"]["log_variance"]
        nats_BxZ = (
            (z_BxZ - mean_Z[None, :]) ** 2 * jnp.exp(-log_variance_Z)[None, :] + log_variance_Z[None, :] + LOG_2PI
        )
        return -0.5 * jnp.sum(nats_BxZ * mask_of(experiment, params)[None, :], axis=1)

    def draws(self, experiment: Any, params: Any, key: jax.Array, samples: int) -> jax.Array:
        mask_Z, prior = mask_of(experiment, params), params["prior"]
        eps_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T
        z_SxZ = prior["mean"][None, :] + jnp.exp(0.5 * prior["log_variance"])[None, :] * eps_SxZ
        return z_SxZ * mask_Z[None, :]

    def kl(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        if not isinstance(posterior, Diagonal):
            return None
        prior, (moved_BxZ, log_scale_BxZ) = params["prior"], self.moved(experiment, params, label)
        mean_BxZ = moved_BxZ + prior["mean"][None, :] * jnp.exp(log_scale_BxZ)
        log_variance_BxZ = prior["log_variance"][None, :] + 2 * log_scale_BxZ
        standard_BxZ = (posterior.mean - mean_BxZ) * jnp.exp(-0.5 * log_variance_BxZ)
        return gaussian_kl(standard_BxZ, posterior.log_variance - log_variance_BxZ) * posterior.mask[None, :]


@struct.dataclass
class Mixture(Learned):
    """A mixture of `components` learned Gaussians with independent units."""

    choice: ClassVar[str] = "mixture"

    components: int = static_int(1, 10_000)

    def start(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        mean_KxZ = normal_by_unit(key, width, (self.components,)).T
        return {"logit": jnp.zeros(self.components), "mean": mean_KxZ, "log_variance": jnp.zeros_like(mean_KxZ)}

    def cut(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return {name: array if name == "logit" else array[:, :latent_dim] for name, array in variables.items()}

    def log_density(self, experiment: Any, params: Any, z_BxZ: jax.Array) -> jax.Array:
        logit_K, mean_KxZ, log_variance_KxZ = self.parts(experiment, params)
        mask_Z = mask_of(experiment, params)

        def log_density(mean_Z: jax.Array, log_variance_Z: jax.Array) -> jax.Array:
            return Diagonal(mean_Z[None, :], mask_Z, log_variance_Z[None, :]).log_prob(z_BxZ)

        log_KxB = jax.vmap(log_density)(mean_KxZ, log_variance_KxZ)
        return jax.scipy.special.logsumexp(log_KxB + jax.nn.log_softmax(logit_K)[:, None], axis=0)

    def draws(self, experiment: Any, params: Any, key: jax.Array, samples: int) -> jax.Array:
        mask_Z, (logit_K, mean_KxZ, log_variance_KxZ) = mask_of(experiment, params), self.parts(experiment, params)
        key_component, key_eps = jax.random.split(key)
        component_S = jax.random.categorical(key_component, logit_K, shape=(samples,))
        eps_SxZ = normal_by_unit(key_eps, mask_Z.shape[0], (samples,)).T
        return (mean_KxZ[component_S] + jnp.exp(0.5 * log_variance_KxZ[component_S]) * eps_SxZ) * mask_Z[None, :]

    def parts(self, experiment: Any, params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits [K], means [K, Z] and log variances [K, Z] of the components."""
        prior = params["prior"]
        return prior["logit"], prior["mean"], prior["log_variance"]


@struct.dataclass
class Vamp(Mixture):
    """The mixture of the posteriors of `components` learned pseudo-inputs (Tomczak & Welling 2018, eq. 9)."""

    choice: ClassVar[str] = "vamp"

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if experiment.model.is_conditional:
            raise InputError(
                f"prior=vamp: pseudo-inputs have no labels, and {experiment.model_title} looks at them; set "
                "model.condition=none, or prior=normal"
            )
        bottleneck = experiment.model.bottleneck
        if bottleneck.heads != Gaussian.heads or isinstance(bottleneck, Estimated):
            raise InputError(
                f"prior=vamp: mixes Gaussian posteriors, and those of {experiment.model_title} are not; use model=vae, "
                "or prior=flow"
            )

    def start(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return {"inputs": jax.random.normal(key, (self.components, experiment.form.pixels))}

    def cut(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return variables

    def parts(self, experiment: Any, params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        inputs_KxP = params["prior"]["inputs"]
        if experiment.form.kind != "real":
            inputs_KxP = jax.nn.sigmoid(inputs_KxP)
        posterior = autoencoder.encode(experiment, params, inputs_KxP).posterior
        return jnp.zeros(self.components), posterior.mean, posterior.log_variance


@struct.dataclass
class Flow(Learned):
    """The base of normalizing flows from N(0, I): `layers` whose networks have `hidden` units."""

    layers: int = static_int(1, 100)
    hidden: int = static_int(1, 10_000)

    def start(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return flows.init(key, width, self.layers, self.hidden)

    def cut(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return flows.trim(variables, latent_dim)

    def log_density(self, experiment: Any, params: Any, z_BxZ: jax.Array) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        noise_BxZ, log_determinant_B = self.noise(params["prior"], z_BxZ, mask_Z)
        return log_determinant_B - 0.5 * jnp.sum((noise_BxZ**2 + LOG_2PI) * mask_Z[None, :], axis=1)

    def draws(self, experiment: Any, params: Any, key: jax.Array, samples: int) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        noise_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T * mask_Z[None, :]
        return self.codes(params["prior"], noise_SxZ, mask_Z)

    def noise(self, variables: Any, z_BxZ: jax.Array, mask_Z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The noise of codes and the log determinant, [B]."""
        raise NotImplementedError

    def codes(self, variables: Any, noise_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
        """The codes of noise, [B, Z]."""
        raise NotImplementedError


@struct.dataclass
class Coupling(Flow):
    """A flow of affine couplings (RealNVP, Dinh et al. 2017)."""

    choice: ClassVar[str] = "flow"

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if experiment.latent_dim < 2:
            raise InputError("latent_dim=1: prior=flow couples units, and there is one; use prior=maf or latent_dim=2")

    def noise(self, variables: Any, z_BxZ: jax.Array, mask_Z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return flows.coupled(variables, z_BxZ, mask_Z)

    def codes(self, variables: Any, noise_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
        return flows.uncoupled(variables, noise_BxZ, mask_Z)


@struct.dataclass
class Autoregressive(Flow):
    """A masked autoregressive flow (Papamakarios et al. 2017); sampling takes a unit at a time."""

    choice: ClassVar[str] = "maf"

    def noise(self, variables: Any, z_BxZ: jax.Array, mask_Z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return flows.autoregressed(variables, z_BxZ, mask_Z)

    def codes(self, variables: Any, noise_BxZ: jax.Array, mask_Z: jax.Array) -> jax.Array:
        return flows.unautoregressed(variables, noise_BxZ, mask_Z)
