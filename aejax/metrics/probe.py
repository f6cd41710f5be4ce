"""A linear probe: multinomial logistic regression on codes, to convergence."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

Codes = tuple[jax.Array, jax.Array]  # z_NxZ and the labels y_N
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5)  # L2, in nats an example for weights of length 1 on codes of deviation 1
GRADIENT = 1e-4  # the largest entry of the gradient at which the regression has converged
ITERATIONS = 300


@functools.partial(jax.jit, static_argnames="classes")
def linear_probe(fit: Codes, valid: Codes, score: Codes, classes: int) -> tuple[jax.Array, jax.Array]:
    """Share of `score` that the regression on `fit` labels right, and the L2 penalty that did best on `valid`.

    Each is (z_NxZ, y_N). Codes are standardized by those fitted on; the penalty, one of PENALTIES, has the smallest
    cross-entropy on `valid`, and the bias has none (Alain & Bengio 2016). Comparable across code sizes.
    """
    mean_Z, std_Z = jnp.mean(fit[0], axis=0), jnp.std(fit[0], axis=0)
    scale_Z = jnp.where(std_Z > 1e-6 * jnp.max(std_Z), 1 / jnp.where(std_Z > 0, std_Z, 1), 0)

    def ready(codes: Codes) -> Codes:  # classes and units first, which keeps sums over classes vectorized
        z_NxZ = (codes[0] - mean_Z[None, :]) * scale_Z[None, :]
        return jnp.concatenate([z_NxZ, jnp.ones((z_NxZ.shape[0], 1))], axis=1).T, codes[1]

    fit, valid, score = ready(fit), ready(valid), ready(score)

    def one(
        weights_CxQ: jax.Array, penalty: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:  # from the solution of the penalty before
        weights_CxQ = regression(*fit, weights_CxQ, penalty)
        loss = jnp.mean(_cross_entropy(weights_CxQ, *valid))
        right = jnp.mean(jnp.argmax(weights_CxQ @ score[0], axis=0) == score[1])
        return weights_CxQ, (loss, right)

    start_CxQ = jnp.zeros((classes, fit[0].shape[0]))
    loss_L, right_L = lax.scan(one, start_CxQ, jnp.array(PENALTIES))[1]
    best = jnp.argmin(loss_L)
    return right_L[best], jnp.array(PENALTIES)[best]


def regression(x_QxN: jax.Array, y_N: jax.Array, start_CxQ: jax.Array, penalty: jax.Array | float) -> jax.Array:
    """The weights [C, Q] that minimize mean cross-entropy + penalty / 2 |W|^2, the last column being the bias.

    L-BFGS (Nocedal 1980), until no entry of the gradient is above GRADIENT.
    """

    def loss(weights_CxQ: jax.Array) -> jax.Array:
        return jnp.mean(_cross_entropy(weights_CxQ, x_QxN, y_N)) + 0.5 * penalty * jnp.sum(weights_CxQ[:, :-1] ** 2)

    solver = optax.lbfgs(memory_size=10, linesearch=optax.scale_by_backtracking_linesearch(20, store_grad=True))
    value_and_grad = optax.value_and_grad_from_state(loss)

    def go_on(state: tuple[Any, ...]) -> jax.Array:
        _, optim, count = state
        gradient_CxQ = optax.tree.get(optim, "grad")
        return (count == 0) | ((count < ITERATIONS) & (jnp.max(jnp.abs(gradient_CxQ)) > GRADIENT))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        weights_CxQ, optim, count = state
        value, gradient_CxQ = value_and_grad(weights_CxQ, state=optim)
        updates, optim = solver.update(gradient_CxQ, optim, weights_CxQ, value=value, grad=gradient_CxQ, value_fn=loss)
        return optax.apply_updates(weights_CxQ, updates), optim, count + 1

    return lax.while_loop(go_on, step, (start_CxQ, solver.init(start_CxQ), 0))[0]


def _cross_entropy(weights_CxQ: jax.Array, x_QxN: jax.Array, y_N: jax.Array) -> jax.Array:
    logits_CxN = weights_CxQ @ x_QxN
    true_CxN = jnp.arange(weights_CxQ.shape[0])[:, None] == y_N[None, :]
    largest_N = lax.stop_gradient(jnp.max(logits_CxN, axis=0))
    total_N = jnp.log(jnp.sum(jnp.exp(logits_CxN - largest_N[None, :]), axis=0)) + largest_N
    return total_N - jnp.sum(jnp.where(true_CxN, logits_CxN, 0), axis=0)
