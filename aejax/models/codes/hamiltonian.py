"""Posteriors made more flexible by Hamiltonian dynamics on the model's own log p(x, z) (Caterini et al. 2018)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from aejax.base.errors import InputError
from aejax.base.keys import normal_by_unit
from aejax.models import autoencoder
from aejax.models.bottlenecks import Code, Estimated, drawn
from aejax.models.bounds import DReG
from aejax.models.posteriors import LOG_2PI, Diagonal, Draw, Posterior
from aejax.settings.fields import Leaf, leaf_float, static_int


@struct.dataclass
class Hamiltonian(Posterior):
    """A Gaussian `base` moved by leapfrog steps with tempered random momenta (Caterini et al. 2018, algorithm 1).

    `step` [Z] is the step size of each unit, `tempering`, in (0, 1], the first inverse temperature, whose square root
    rises quadratically. The potential is -log p(input, z), of nets as in evaluation; `mean` is where the base's mean
    goes without momentum. `log_q` of a Draw counts the momenta on both ends, so that it bounds log p(x) as ever; the
    density of z alone is not known.
    """

    base: Diagonal
    step: jax.Array
    tempering: jax.Array
    experiment: Any
    params: Any
    input: jax.Array
    label: jax.Array | None
    leapfrogs: int = struct.field(pytree_node=False)

    def sample(self, key: jax.Array) -> Draw:
        key_base, key_momentum = jax.random.split(key)
        draw, (examples, units) = self.base.sample(key_base), self.base.mean.shape
        noise_BxZ = normal_by_unit(key_momentum, units, (examples,)).T * self.mask[None, :]
        start_BxZ = self.momentum(draw.z, noise_BxZ)
        z_BxZ, momentum_BxZ = self.moved(draw.z, start_BxZ)
        return Draw(z_BxZ, draw.log_q + self.log_momentum(draw.z, start_BxZ) - self.log_momentum(z_BxZ, momentum_BxZ))

    def moved(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Codes and momenta after the leapfrog steps from z_BxZ and the momenta / sqrt(tempering)."""
        share_K = jnp.arange(self.leapfrogs + 1) / self.leapfrogs
        cold_K = 1 / jnp.sqrt(self.tempering)
        root_K = 1 / ((1 - cold_K) * share_K**2 + cold_K)  # of the inverse temperatures (section 3.2)

        def leapfrog(state: tuple[jax.Array, ...], cooling: jax.Array) -> Any:
            z_BxZ, momentum_BxZ, force_BxZ = self.leapfrog(*state)
            return (z_BxZ, cooling * momentum_BxZ, force_BxZ), None

        start = z_BxZ, momentum_BxZ * cold_K, self.force(z_BxZ)
        z_BxZ, momentum_BxZ, _ = lax.scan(leapfrog, start, root_K[:-1] / root_K[1:])[0]
        return z_BxZ, momentum_BxZ

    def leapfrog(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array, force_BxZ: jax.Array) -> tuple[jax.Array, ...]:
        """Codes, momenta and the force at the codes after one step."""
        step_1xZ = self.step[None, :]
        half_BxZ = momentum_BxZ + 0.5 * step_1xZ * force_BxZ
        z_BxZ = z_BxZ + step_1xZ * half_BxZ
        force_BxZ = self.force(z_BxZ)
        return z_BxZ, half_BxZ + 0.5 * step_1xZ * force_BxZ, force_BxZ

    def momentum(self, z_BxZ: jax.Array, noise_BxZ: jax.Array) -> jax.Array:
        """The momenta at z_BxZ of standard normal noise."""
        return noise_BxZ

    def log_momentum(self, z_BxZ: jax.Array, momentum_BxZ: jax.Array) -> jax.Array:
        """The log density of momenta at z_BxZ, [B]."""
        return -0.5 * jnp.sum((momentum_BxZ**2 + LOG_2PI) * self.mask[None, :], axis=1)

    def force(self, z_BxZ: jax.Array) -> jax.Array:
        """The gradient of log p(input, z) in z, [B, Z]."""
        experiment, params = self.experiment, self.params

        def total(z_BxZ: jax.Array) -> jax.Array:
            logits_BxP = autoencoder.decode(experiment, params, z_BxZ, self.label)
            nats_B = experiment.likelihood.negative_log(self.input, logits_BxP, params["likelihood"])
            return jnp.sum(experiment.prior.log_prob(experiment, params, z_BxZ, self.label) - nats_B)

        return jax.grad(total)(z_BxZ) * self.mask[None, :]


@struct.dataclass
class HamiltonianFlow(Estimated):
    """Posteriors of so many `leapfrogs`; the step sizes, up to `largest_step`, and the tempering are learned."""

    leapfrogs: int = static_int(1, 100)
    largest_step: Leaf = leaf_float(above=0)

    def check(self, experiment: Any) -> None:
        super().check(experiment)
        if isinstance(experiment.bound, DReG):
            raise InputError(
                f"bound=dreg: needs the density of codes, which {experiment.model_title} does not know; use bound=iwae"
            )

    def init(self, experiment: Any, key: jax.Array, width: int) -> dict[str, Any]:
        return {"step": jnp.zeros(width), "tempering": jnp.zeros(())}

    def trim(self, variables: dict[str, Any], latent_dim: int) -> dict[str, Any]:
        return variables | {"step": variables["step"][:latent_dim]}

    def completed(
        self,
        code: Code,
        experiment: Any,
        params: Any,
        x_BxP: jax.Array,
        key: jax.Array | None = None,
        label: jax.Array | None = None,
    ) -> Code:
        base: Any = code.posterior
        variables = params["bottleneck"]
        step_Z = self.largest_step * jax.nn.sigmoid(variables["step"])
        tempering = jax.nn.sigmoid(variables["tempering"])
        euclidean = Hamiltonian(
            base.mean, base.mask, base, step_Z, tempering, experiment, params, x_BxP, label, self.leapfrogs
        )
        posterior = self.dynamics(euclidean, params["running"].get("bottleneck", {}) | (code.statistics or {}))
        mean_BxZ, _ = posterior.moved(base.mean, jnp.zeros_like(base.mean))
        return drawn(dataclasses.replace(posterior, mean=mean_BxZ), key, code.statistics)

    def dynamics(self, posterior: Hamiltonian, statistics: dict[str, jax.Array]) -> Hamiltonian:
        """The posterior with what else moves its codes, which may depend on the running statistics."""
        return posterior
