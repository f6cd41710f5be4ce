"""Priors: densities of codes, what posteriors are compared with and what samples are drawn from.

The variables of a prior stand in `params["prior"]`, a dict that is absent where it has none.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models import autoencoder, flows
from aejax.models.bottlenecks import Estimated, Gaussian, mask_of
from aejax.models.posteriors import LOG_2PI, Correlated, Diagonal, Draw, Posterior
from aejax.settings.fields import static_int


@struct.dataclass
class Prior:
    """The base: a density of codes, with variables of its own where `init` returns some.

    `label` [B] are the labels of the examples, None unless the model is conditional.
    """

    choice: ClassVar[str] = "of its own"  # its name in conf/prior

    def check(self, experiment: Any) -> None:
        """Raises InputError if the prior does not fit the rest of the experiment."""
        if not experiment.model.bottleneck.has_posterior:
            raise InputError(f"prior={self.choice}: the model has no posterior; use prior=normal, or model=vae")

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        """The variables before the first step; `width` is the number of code units, masked ones included."""
        return {}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        """The variables without masked units."""
        return variables

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """The log density of codes in nats, [B]."""
        raise NotImplementedError

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        """Codes, [samples, Z]."""
        raise NotImplementedError

    def kl(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        """KL(posterior || prior) of each unit in nats, [B, Z]; None without a closed form."""
        return None

    def kl_sum(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        """KL(posterior || prior) in nats, [B]; None without a closed form."""
        kl_BxZ = self.kl(experiment, params, posterior, label)
        return None if kl_BxZ is None else jnp.sum(kl_BxZ, axis=1)

    def log_ratio(
        self, experiment: Any, params: Any, posterior: Posterior, draw: Draw, label: jax.Array | None = None
    ) -> jax.Array:
        """log p(z) - log q(z | x) of a Draw of the posterior in nats, [B]."""
        return self.log_prob(experiment, params, draw.z, label) - draw.log_q


@struct.dataclass
class Normal(Prior):
    """N(0, I)."""

    choice: ClassVar[str] = "normal"

    def check(self, experiment: Any) -> None:
        """Fits every experiment; without a posterior it is not used."""

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        return -0.5 * jnp.sum((z_BxZ**2 + LOG_2PI) * mask_of(experiment, params)[None, :], axis=1)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        return normal_by_unit(key, mask_Z.shape[0], (samples,)).T * mask_Z[None, :]

    def kl(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        if isinstance(posterior, Correlated):  # of each unit given those before it: these are what sums to the KL
            kl_BxZ = gaussian_kl(posterior.mean, posterior.log_variance) + 0.5 * jnp.sum(posterior.lower**2, axis=2)
            return kl_BxZ * posterior.mask[None, :]
        if not isinstance(posterior, Diagonal):
            return None
        return gaussian_kl(posterior.mean, posterior.log_variance) * posterior.mask[None, :]

    def log_ratio(
        self, experiment: Any, params: Any, posterior: Posterior, draw: Draw, label: jax.Array | None = None
    ) -> jax.Array:
        if draw.eps is None or not isinstance(posterior, Diagonal):
            return super().log_ratio(experiment, params, posterior, draw, label)
        ratio_BxZ = 0.5 * (draw.eps**2 + posterior.log_variance - draw.z**2) * posterior.mask[None, :]
        return jnp.sum(ratio_BxZ, axis=1)


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mean, variance) || N(0, 1)) in nats, elementwise (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)


@struct.dataclass
class LearnedDiagonal(Prior):
    """A Gaussian with independent units whose means and variances are learned."""

    choice: ClassVar[str] = "learned"

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return {"mean": jnp.zeros(width), "log_variance": jnp.zeros(width)}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return {name: array[:latent_dim] for name, array in variables.items()}

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        mean_Z, log_variance_Z = params["prior"]["mean"], params["prior"]["log_variance"]
        nats_BxZ = (
            (z_BxZ - mean_Z[None, :]) ** 2 * jnp.exp(-log_variance_Z)[None, :] + log_variance_Z[None, :] + LOG_2PI
        )
        return -0.5 * jnp.sum(nats_BxZ * mask_of(experiment, params)[None, :], axis=1)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
        mask_Z, prior = mask_of(experiment, params), params["prior"]
        eps_SxZ = normal_by_unit(key, mask_Z.shape[0], (samples,)).T
        z_SxZ = prior["mean"][None, :] + jnp.exp(0.5 * prior["log_variance"])[None, :] * eps_SxZ
        return z_SxZ * mask_Z[None, :]

    def kl(
        self, experiment: Any, params: Any, posterior: Posterior, label: jax.Array | None = None
    ) -> jax.Array | None:
        if not isinstance(posterior, Diagonal):
            return None
        mean_Z, log_variance_Z = params["prior"]["mean"], params["prior"]["log_variance"]
        standard_BxZ = (posterior.mean - mean_Z[None, :]) * jnp.exp(-0.5 * log_variance_Z)[None, :]
        return gaussian_kl(standard_BxZ, posterior.log_variance - log_variance_Z[None, :]) * posterior.mask[None, :]


@struct.dataclass
class Mixture(Prior):
    """A mixture of `components` learned Gaussians with independent units."""

    choice: ClassVar[str] = "mixture"

    components: int = static_int(1, 10_000)

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        mean_KxZ = normal_by_unit(key, width, (self.components,)).T
        return {"logit": jnp.zeros(self.components), "mean": mean_KxZ, "log_variance": jnp.zeros_like(mean_KxZ)}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return {name: array if name == "logit" else array[:, :latent_dim] for name, array in variables.items()}

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        logit_K, mean_KxZ, log_variance_KxZ = self.parts(experiment, params)
        mask_Z = mask_of(experiment, params)

        def log_density(mean_Z: jax.Array, log_variance_Z: jax.Array) -> jax.Array:
            return Diagonal(mean_Z[None, :], mask_Z, log_variance_Z[None, :]).log_prob(z_BxZ)

        log_KxB = jax.vmap(log_density)(mean_KxZ, log_variance_KxZ)
        return jax.scipy.special.logsumexp(log_KxB + jax.nn.log_softmax(logit_K)[:, None], axis=0)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
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
            raise InputError("prior=vamp: pseudo-inputs have no labels; set model.condition=none, or prior=normal")
        bottleneck = experiment.model.bottleneck
        if bottleneck.heads != Gaussian.heads or isinstance(bottleneck, Estimated):
            name = type(bottleneck).__name__.lower()
            raise InputError(
                f"prior=vamp: mixes Gaussian posteriors, not those of {name}; use model=vae, or prior=flow"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return {"inputs": jax.random.normal(key, (self.components, experiment.form.pixels))}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return variables

    def parts(self, experiment: Any, params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        inputs_KxP = params["prior"]["inputs"]
        if experiment.form.kind != "real":
            inputs_KxP = jax.nn.sigmoid(inputs_KxP)
        posterior = autoencoder.encode(experiment, params, inputs_KxP).posterior
        return jnp.zeros(self.components), posterior.mean, posterior.log_variance


@struct.dataclass
class Flow(Prior):
    """The base of normalizing flows from N(0, I): `layers` whose networks have `hidden` units."""

    layers: int = static_int(1, 100)
    hidden: int = static_int(1, 10_000)

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return flows.init(key, width, self.layers, self.hidden)

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return flows.trim(variables, latent_dim)

    def log_prob(self, experiment: Any, params: Any, z_BxZ: jax.Array, label: jax.Array | None = None) -> jax.Array:
        mask_Z = mask_of(experiment, params)
        noise_BxZ, log_determinant_B = self.noise(params["prior"], z_BxZ, mask_Z)
        return log_determinant_B - 0.5 * jnp.sum((noise_BxZ**2 + LOG_2PI) * mask_Z[None, :], axis=1)

    def sample(
        self, experiment: Any, params: Any, key: jax.Array, samples: int, label: jax.Array | None = None
    ) -> jax.Array:
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
