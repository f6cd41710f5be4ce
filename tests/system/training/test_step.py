"""Training, against what is known about its result."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job, trained

from aejax.runs.folder import flat
from aejax.training import step
from aejax.training.lanes import lane

FEW = ["net.widths=[12,7]", "steps=10", "log_points=2"]


def test_a_linear_autoencoder_reaches_pca():
    linear = ["net=linear", "likelihood=gaussian", "likelihood.output=identity", "latent_dim=4"]
    state, rows = trained(job(*linear, "steps=4000", "log_points=1", "optim.lr=0.01"))
    pca, best = trained(job("model=pca", "latent_dim=4"))
    assert rows[-1]["valid/mse"][0] == pytest.approx(best[-1]["valid/mse"][0], rel=1e-3)
    bases = [np.linalg.qr(lane(each.params, 0)["from_code"]["kernel"].T)[0] for each in (state, pca)]
    cosines = np.linalg.svd(bases[0].T @ bases[1])[1]
    assert np.arccos(np.clip(cosines.min(), 0, 1)) < 0.05  # the largest principal angle


@pytest.mark.slow
def test_a_vae_without_sampling_and_kl_is_the_plain_autoencoder():
    _, plain = trained(job(*FEW))
    state, vae = trained(job("model=vae", "model.beta=0", "model.bottleneck.sampling=false", *FEW))
    for expected, found in zip(plain, vae, strict=True):
        np.testing.assert_allclose(found["train/loss"], expected["train/loss"], rtol=1e-5)
        np.testing.assert_allclose(found["valid/mse"], expected["valid/mse"], rtol=1e-5)
    assert not np.any(state.params["to_code"]["log_variance"]["bias"])  # nothing asks for a variance


def test_the_loss_is_reconstruction_plus_beta_kl():
    _, rows = trained(job("model=vae", "model.beta=0.3", *FEW))
    for row in rows:
        np.testing.assert_allclose(row["train/loss"], row["train/reconstruction"] + 0.3 * row["train/kl"], rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "rounding"),
    [
        ([], 1e-4),
        pytest.param(["model=vae", "noise=flip", "likelihood=learned", "net.norm=layer"], 1e-4, marks=pytest.mark.slow),
        pytest.param(
            ["batch_size=5", "noise=salt_pepper", "net.norm=batch", "net.dropout=0.2", "net.residual=true"],
            2e-2,  # a norm over five examples amplifies it
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_lane_trains_as_it_would_alone(overrides, rounding):
    numbers = [["seed=1", "latent_dim=2"], ["seed=2", "latent_dim=5", "optim.lr=0.02"], ["seed=3", "latent_dim=3"]]
    jobs = [job(*overrides, *FEW, *each) for each in numbers]
    _, together = trained(*jobs)
    for index, each in enumerate(jobs):
        _, alone = trained(each, width=5)
        for expected, found in zip(alone, together, strict=True):
            for key, value in expected.items():
                np.testing.assert_allclose(found[key][index], value[0], rtol=rounding, err_msg=key)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, two, three = (flat(trained(job(*FEW, "noise=masking", f"seed={seed}"))[0].params) for seed in (1, 1, 2))
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert not any(np.array_equal(one[key], three[key]) for key in one if key.endswith("kernel"))


@pytest.mark.slow
def test_an_epoch_shows_every_example_once_in_an_order_of_its_own():
    each = job("batch_size=9", "epochs=2")
    experiment, data = each.experiment, each.dataset.arrays()
    data = data.replace(train=jnp.arange(27, dtype=jnp.uint8)[:, None])
    state, seen = step.init(experiment, each.dataset.arrays(), 2), []
    for at in range(6):
        state, (batch, _) = step.taken(experiment, state, data, jnp.int32(at))
        seen.append(np.asarray(batch)[:, 0])
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert sorted(first) == sorted(second) == list(range(27))
    assert list(first) != list(second)
    assert list(first) != list(range(27))


@pytest.mark.slow
def test_noise_is_fresh_at_each_step_and_the_target_clean():
    each = job("noise=masking", "noise.level=0.9", "net.widths=[7]", "optim.lr=1e-12", "steps=3", "log_points=3")
    _, rows = trained(each)
    losses = [float(row["train/loss"][0]) for row in rows]
    assert len(set(losses)) == 3  # the parameters stand still, the corruption does not
    _, masked = trained(job("noise=masking", "noise.level=1", "net.widths=[7]", "steps=3000", "log_points=1"))
    pixels = each.dataset.train.x.reshape(27, -1).mean(axis=0)
    entropy = -np.sum(pixels * np.log(pixels + 1e-12) + (1 - pixels) * np.log(1 - pixels + 1e-12))
    assert masked[-1]["train/loss"][0] == pytest.approx(entropy, rel=0.3)  # all it can learn is the mean letter


@pytest.mark.slow
def test_the_best_parameters_are_those_with_the_smallest_validation_error():
    rough = ["optim.lr=0.03", "optim.schedule=constant", "noise=flip", "noise.level=0.2", "steps=150", "log_points=50"]
    last, rows = trained(job(*rough))
    best, same = trained(job("select=best", *rough))
    errors = [float(row["valid/mse"][0]) for row in same]
    compared = [float(row["valid/mse"][0]) for row in rows[:25]]  # later, so rough a training amplifies rounding
    assert errors[:25] == pytest.approx(compared, rel=1e-2)
    assert min(errors) < errors[-1]
    assert float(best.best_mse[0]) == min(errors)
    each = job(*rough)
    chosen = step.validation_mse(each.experiment, lane(best.chosen, 0), each.dataset.arrays())
    assert float(chosen) == pytest.approx(min(errors), rel=1e-5)
    assert last.chosen is last.params


@pytest.mark.slow
@pytest.mark.parametrize(
    "wild", [["optim=sgd", "optim.lr=1e30", "optim.clip=null"], pytest.param(["optim.lr=1e38"], marks=pytest.mark.slow)]
)
def test_a_lane_that_diverges_keeps_finite_parameters_and_harms_no_other(wild):
    tame = [part if "lr" not in part else "optim.lr=1e-4" for part in wild]
    jobs = [job(*FEW, "net.norm=batch", *each) for each in (wild, tame)]
    state, rows = trained(*jobs)
    means = state.params["running"]["encoder"]["BatchNorm_0"]["mean"]
    assert np.any(means[1])
    assert "optim=sgd" in wild or not np.any(means[0])  # Adam's first step is too much already
    assert [bool(alive) for alive in rows[-1]["alive"]] == [False, True]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    _, alone = trained(jobs[1])
    np.testing.assert_allclose(rows[-1]["train/loss"][1], alone[-1]["train/loss"][0], rtol=1e-5)


def test_a_diverged_lane_has_the_parameters_of_the_log_point_before():
    wild = ["optim=sgd", "optim.lr=0.1", "optim.clip=null", "optim.schedule=constant", "optim.warmup=0"]
    wild += ["net.widths=[12,7]", "likelihood=gaussian", "likelihood.output=identity"]
    state, rows = trained(job(*wild, "steps=40", "log_points=20"))
    points = sum(bool(row["alive"][0]) for row in rows)
    assert 0 < points < 20 and np.isnan(rows[-1]["train/loss"][0])
    before, _ = trained(job(*wild, f"steps={2 * points}", f"log_points={points}"))
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)


@pytest.mark.parametrize(
    ("steps", "points", "expected"), [(10, 5, [2] * 5), (13, 5, [3, 3, 3, 2, 2]), (3, 100, [1] * 3)]
)
def test_segments_cover_the_steps(steps, points, expected):
    assert step.segments(job(f"steps={steps}", f"log_points={points}").experiment) == expected


def test_schedules():
    def rates(*overrides):
        transformation = job("optim=sgd", "optim.momentum=0", "optim.lr=1", *overrides).experiment.optim
        transformation = transformation.transformation(10)
        state, found = transformation.init(jnp.zeros(())), []
        for _ in range(10):
            update, state = transformation.update(jnp.ones(()), state)
            found.append(-float(update))
        return np.array(found)

    steps = np.arange(10)
    np.testing.assert_allclose(rates("optim.schedule=constant"), 1)
    np.testing.assert_allclose(rates("optim.schedule=cosine"), 0.5 * (1 + np.cos(np.pi * steps / 10)), atol=1e-6)
    warm = rates("optim.schedule=constant", "optim.warmup=0.5")
    np.testing.assert_allclose(warm, np.minimum(1, (steps + 1) / 5), rtol=1e-6)
    both = rates("optim.schedule=cosine", "optim.warmup=0.5")
    np.testing.assert_allclose(both[:5], (steps[:5] + 1) / 5, rtol=1e-6)
    assert [float(job(f"batch_size={size}").experiment.optim.warmup) for size in (26, 27)] == pytest.approx([0.1, 0])
    np.testing.assert_allclose(both[5:], 0.5 * (1 + np.cos(np.pi * steps[:5] / 5)), atol=1e-6)  # from the peak down


def test_clipping_bounds_the_global_norm():
    transformation = job("optim=sgd", "optim.lr=1", "optim.momentum=0", "optim.clip=0.5", "optim.schedule=constant")
    transformation = transformation.experiment.optim.transformation(10)
    gradient = {"a": jnp.full(3, 4.0), "b": jnp.full(1, -4.0)}
    update, _ = transformation.update(gradient, transformation.init(gradient))
    assert float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(update)))) == pytest.approx(0.5)


def test_log_points_are_fewer_where_validating_would_take_long():
    """A step on an example costs three evaluations of one; a quarter of it may be spent on validating."""
    form = job().dataset.form
    assert job().experiment.log_points == 100
    assert job("log_points=7").experiment.log_points == 7
    for valid, expected in ((6000, 6), (0, 100), (300, 100), (10**7, 1)):  # of 421 steps on 128 examples
        settled = job("batch_size=16", "steps=3368").experiment.replace(
            log_points=None, likelihood=job().experiment.likelihood
        )
        assert settled.settle(dataclasses.replace(form, valid=valid)).log_points == expected
