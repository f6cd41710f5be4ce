"""Training as pure functions of one experiment; the caller adds the lanes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from aejax.base.chunks import summed
from aejax.base.keys import Purpose, key_for
from aejax.base.precision import products
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective, term_names
from aejax.models.principal_components import mean_example
from aejax.training.mesh import divided
from aejax.training.optim import transformation
from aejax.training.pretrain import is_trained

DIRECTIONS = 64  # along which second derivatives are taken at a time


@struct.dataclass
class State:
    """What the next step needs.

    `params` are what autoencoder.init makes, with the running statistics. `order` [N] is the order of the examples in
    the current epoch, None for full batches and streamed ones. A lane whose loss or parameters became non-finite
    is no longer `alive`: it keeps the parameters from before that segment. `best` holds the parameters with the
    smallest validation error so far, `best_mse`, where the experiment selects by it.
    """

    params: Any
    optim: Any
    order: jax.Array | None
    alive: jax.Array
    best: Any
    best_mse: jax.Array

    @property
    def chosen(self):
        """The parameters by which the experiment is evaluated."""
        return self.params if self.best is None else self.best

    @property
    def parameters(self):
        """How many parameters a lane has, in a State or a stack of them."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params)) // self.alive.size


def segments(experiment):
    """The numbers of steps between log points, at most two distinct ones so that few programs are compiled."""
    if experiment.model.solver.closed_form:
        return [0]
    points = min(experiment.log_points, experiment.steps)
    length, longer = divmod(experiment.steps, points)
    return [length + 1] * longer + [length] * (points - longer)


def init(experiment, data, width, initial=None):
    """The State before the first step; `width` is the number of code units, masked ones included.

    Where there are `initial` parameters, those of a training before, it begins with them.
    """
    params = _random(experiment, data, width) if initial is None else initial
    unshuffled = experiment.batch_size == experiment.form.examples or experiment.form.streamed
    return State(
        params=params,
        optim=transformation(experiment, experiment.steps).init(autoencoder.trained(params)),
        order=None if unshuffled else jnp.arange(experiment.form.examples),
        alive=jnp.array(True),
        best=params if experiment.select == "best" else None,
        best_mse=jnp.array(jnp.inf),
    )


def _random(experiment, data, width):
    """The parameters of a training from the beginning."""
    params = autoencoder.init(experiment, width)
    if experiment.net.center:
        form = experiment.form
        center_P = mean_example(data.train, form) if data.mean is None else form.scaled(data.mean)
        params = params | {"running": params["running"] | {"center": center_P}}
    return experiment.model.solver.start(params, data.train, experiment.form)


def segment(experiment, state, data, start, length, batches=None, ends=True):
    """`length` steps from step `start` on: the State after them and metrics for the user, scalars.

    `batches` are those of streamed data, [length, B, P] and labels [length, B] or None; None if `data` holds all.
    The loss and its terms are means over the steps; the validation error, where there are validation examples, is that
    after the last, nan if this piece does not end its segment.
    """

    def one(state, step_inputs):
        return step(experiment, state, data, *step_inputs)

    if length:
        before = state.params
        state, rows = lax.scan(one, state, (start + jnp.arange(length), batches))
        metrics = jax.tree.map(lambda row: jnp.mean(row, axis=0), rows)
        alive = state.alive & _all_finite(state.params)  # here: at each step it would cost a tenth of a small one
        state = state.replace(params=_where(alive, state.params, before), alive=alive)
    else:
        metrics = _training_metrics(*_objective(experiment, state.params, data.train))
    if phases := experiment.pretrain.phases(experiment):  # of the last step, from 1 on; 0 when all learn
        at = start + length - 1
        metrics["layer"] = jnp.where(at < sum(phases), 1 + jnp.sum(at >= jnp.cumsum(jnp.array(phases))), 0)
    metrics["alive"] = state.alive
    if data.valid is None:
        return state, metrics

    def validated(state):
        mse = validation_mse(experiment, state.params, data)
        if state.best is None:
            return state, mse
        better = mse < state.best_mse
        best = _where(better, state.params, state.best)
        return state.replace(best=best, best_mse=jnp.where(better, mse, state.best_mse)), mse

    # `ends` is the same for all lanes, so that this stays a branch when lanes are put around it.
    state, mse = lax.cond(ends, validated, lambda state: (state, jnp.float32(jnp.nan)), state)
    return state, metrics | {"valid/mse": mse}


def step(experiment, state, data, at, stored=None):
    """One gradient step, the `at`-th: the State after it, and the loss and its terms before it.

    `stored` are examples as stored, [B, P], and their labels; without it they are taken from `data`.
    """
    if stored is None:
        state, stored = taken(experiment, state, data, at)
    stored_BxP, label_B = divided(stored)
    clean_BxP = experiment.form.drawn(key_for(experiment.seed, Purpose.BINARIZE, at), stored_BxP)
    input_BxP = experiment.noise(key_for(experiment.seed, Purpose.NOISE, at), clean_BxP, experiment.form.shape)
    batch = Batch(input_BxP, clean_BxP, label_B)
    phases = experiment.pretrain.phases(experiment)

    def whole(state):
        def loss(params):
            total, *others = objective(experiment, params, batch, at)
            return total, others

        return _descend(experiment, state, loss, experiment.steps - sum(phases))

    def layer(place, state):
        def loss(params):
            total = experiment.pretrain.loss(experiment, params, place, batch, at)
            terms = {"reconstruction": total} | dict.fromkeys(term_names(experiment.model), jnp.float32(0))
            return total, (terms, params["running"])

        return _descend(experiment, state, loss, phases[place], is_trained(experiment, state.params, place))

    if not phases:
        return whole(state)
    # `at` is the same for all lanes, so that these stay branches when lanes are put around them.
    ends = jnp.cumsum(jnp.array(phases))
    unrolled = lambda params: experiment.pretrain.unrolled(experiment, params)  # noqa: E731
    state = state.replace(params=lax.cond(at == ends[-1], unrolled, lambda params: params, state.params))
    afresh = lambda _: transformation(experiment, experiment.steps).init(autoencoder.trained(state.params))  # noqa: E731
    state = state.replace(optim=lax.cond(jnp.any(at == ends), afresh, lambda optim: optim, state.optim))
    layers = [functools.partial(layer, place) for place in range(len(phases))]
    return lax.switch(jnp.sum(at >= ends), [*layers, whole], state)


def _descend(experiment, state, loss, steps, trained=None):
    """The State after one step of a descent of `steps` steps; the loss and its terms before it.

    `loss(params)` gives it with (its terms, running statistics); `trained` is a tree of what is updated, None for all.
    """
    before, statistics = autoencoder.trained(state.params), {"running": state.params["running"]}
    with_aux = jax.value_and_grad(lambda params: loss(params | statistics), has_aux=True)
    with products(experiment.precision):
        (total, (terms, updated)), gradient = with_aux(before)
    updates, optim = transformation(experiment, steps).update(gradient, state.optim, before)
    if trained is not None:  # weight decay would change what has no gradient
        moves = autoencoder.trained(trained)
        updates = jax.tree.map(lambda update, moves: update if moves else 0 * update, updates, moves)
    params = optax.apply_updates(before, updates) | {"running": updated}
    alive = state.alive & jnp.isfinite(total)
    return state.replace(params=params, optim=optim, alive=alive), _training_metrics(total, terms)


def taken(experiment, state, data, at):
    """The State with the order that step `at` needs, its examples as stored, [B, P], and their labels [B] or None.

    Whole batches only; labels where a part of the model looks at them.
    """
    labels = data.y_train if experiment.model.needs_labels else None
    if state.order is None:
        return state, (data.train, labels)
    examples, size = experiment.form.examples, experiment.batch_size
    epoch, position = jnp.divmod(at, examples // size)

    def shuffle(_):
        return jax.random.permutation(key_for(experiment.seed, Purpose.ORDER, epoch), examples)

    # `at` is the same for all lanes, so that this stays a branch when lanes are put around it.
    order = lax.cond(position == 0, shuffle, lambda order: order, state.order)
    chosen_B = lax.dynamic_slice(order, (position * size,), (size,))
    return state.replace(order=order), (data.train[chosen_B], None if labels is None else labels[chosen_B])


def validation_mse(experiment, params, data):
    """The mean squared error a pixel of reconstructed, uncorrupted validation examples."""

    def squared(part):
        stored_BxP, label_B = divided(part)
        x_BxP = experiment.form.scaled(stored_BxP)
        return jnp.sum((autoencoder.reconstruct(experiment, params, x_BxP, label_B) - x_BxP) ** 2)

    labels = data.y_valid if experiment.model.is_conditional else None
    return summed(squared, (data.valid, labels)) / data.valid.size


def _objective(experiment, params, stored_NxP):
    """The objective and its terms over all training examples, without noise, of a model in closed form.

    Where pixels are drawn it is the expectation over the draws: the objective is quadratic in the pixels, so that each
    adds half its second derivative times its variance m (1 - m).
    """

    def at(x_BxP):
        return objective(experiment, params, Batch(x_BxP, x_BxP))[:2]

    def mean(function):
        weighed = summed(lambda part: jax.tree.map(lambda value: value * len(part), function(part)), stored_NxP)
        return jax.tree.map(lambda total: total / stored_NxP.shape[0], weighed)

    expected = mean(lambda part: at(experiment.form.scaled(part)))
    if not experiment.form.dynamic:
        return expected
    x_1xP = mean(lambda part: jnp.mean(experiment.form.scaled(part), axis=0, keepdims=True))
    variance_P = mean(lambda part: jnp.mean(experiment.form.scaled(part) * (1 - experiment.form.scaled(part)), axis=0))

    def curvature(direction_P):
        return jax.jacfwd(jax.jacfwd(lambda step: at(x_1xP + step * direction_P[None, :])))(0.0)

    curvatures_P = lax.map(curvature, jnp.eye(variance_P.shape[0]), batch_size=DIRECTIONS)
    return jax.tree.map(lambda value, second_P: value + 0.5 * second_P @ variance_P, expected, curvatures_P)


def _training_metrics(total, terms):
    return {"train/loss": total} | {f"train/{name}": value for name, value in terms.items()}


def _where(condition, new, old):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _all_finite(tree):
    # The sum is finite only if every entry is; an overflow of the sum is divergence enough.
    return jnp.isfinite(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree)))
