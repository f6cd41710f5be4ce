"""Priors: densities of codes, what posteriors are compared with and what samples are drawn from.

The variables of a prior stand in `params["prior"]`, a dict that is absent where it has none.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models.layers import mask_of
from aejax.models.posteriors import LOG_2PI, Correlated, Diagonal, Draw, Posterior


@struct.dataclass
class Prior:
    """The base: a density of codes, with variables of its own where `init` returns some.

    `label` [B] are the labels of the examples, None unless the model is conditional.
    """

    choice: ClassVar[str] = "of its own"  # its name in conf/prior

    def check(self, experiment: Any) -> None:
        """Raises InputError if the prior does not fit the rest of the experiment."""
        if not experiment.model.bottleneck.has_posterior:
            raise InputError(
                f"prior={self.choice}: {experiment.model_title} has no posterior; use prior=normal, or model=vae"
            )

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
