"""Each model against what is known of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import evaluated, job, stack, trained

from aejax.base.errors import InputError
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.bottlenecks import TopK, among_largest
from aejax.models.objective import objective
from aejax.runs.folder import flat
from aejax.training import step
from aejax.training.lanes import lane

KEY = jax.random.key(4)
FEW = ["steps=4", "log_points=2"]
CODE = ["log_points=1", "evaluate.groups=[code]"]


def narrow(name):
    """Widths and numbers that suit three to five code units."""
    widths = {"linear_ae": [], "conv_ae": ["net.widths=[3]"], "conv_vae": ["net.widths=[3]"]}.get(
        name, ["net.widths=[6]"]
    )
    return [f"model={name}", *widths, *FEW, *(["model.k=2"] if name == "topk_ae" else [])]


@functools.cache
def by_vmap(name, *numbers):
    """The metrics of jobs that train together by vmap, in one segment."""
    jobs = [job(*narrow(name), "log_points=1", *each) for each in numbers]
    experiments, data = stack([each.experiment for each in jobs]), jobs[0].dataset.arrays()

    def whole(experiment):
        state = step.init(experiment, data, 5)
        return step.segment(experiment, state, data, jnp.int32(0), length=4)

    return jobs, jax.jit(jax.vmap(whole))(experiments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "topk_ae",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("sparse_ae", "l1_ae", "conv_vae", "contractive_ae")),
    ],
)
def test_a_lane_of_every_kind_of_code_trains_as_it_would_alone(name):
    """Three units among five, beside another lane, train as three do alone."""
    numbers = (
        ("seed=1", "latent_dim=3", "noise=gaussian"),
        ("seed=2", "latent_dim=5", "noise=gaussian", "noise.level=0.1"),
    )
    jobs, (state, found) = by_vmap(name, *numbers)
    alone, rows = trained(jobs[0])
    for key, value in rows[-1].items():
        np.testing.assert_allclose(found[key][0], value[0], rtol=2e-4, err_msg=key)
    trimmed = flat(autoencoder.trim(jobs[0].experiment, lane(state.params, 0), 3))
    for key, value in flat(lane(alone.params, 0)).items():
        np.testing.assert_allclose(trimmed[key], value, atol=2e-3, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse_ae", "l1_ae", "topk_ae", "contractive_ae", "beta_vae"])
def test_masked_units_of_every_code_get_no_gradient(name):
    each = job(*narrow(name), "latent_dim=3")
    init = jax.jit(autoencoder.init, static_argnums=1)
    params = init(each.experiment, 8)
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    total = jax.jit(lambda p: objective(each.experiment, p, Batch(x_BxP, x_BxP), jnp.int32(0))[0])
    gradient = jax.jit(jax.grad(total))(params)
    for head in gradient["to_code"].values():
        assert np.any(head["kernel"][:, :3])
        assert not np.any(head["kernel"][:, 3:]) and not np.any(head["bias"][3:])
    assert not np.any(gradient["from_code"]["kernel"][3:])
    assert float(total(params)) == pytest.approx(float(total(init(each.experiment, 3))), rel=1e-5)


# --- the k largest ----------------------------------------------------------------------------------------------------


def test_exactly_k_pass_and_they_are_the_largest():
    rng = np.random.default_rng(0)
    score_BxZ = (rng.normal(size=(200, 33)) * 10.0 ** rng.integers(-30, 30, size=(200, 33))).astype(np.float32)
    score_BxZ[:50] = rng.integers(-2, 3, size=(50, 33)) * np.float32(0.5)  # many are equal
    score_BxZ[:20] *= -1  # 0 becomes -0
    score_BxZ[10:20, ::2] = 0
    score_BxZ[100:, 30:] = -np.inf
    for k in (1, 7, 30):
        expected = np.zeros(score_BxZ.shape, bool)
        np.put_along_axis(expected, np.argsort(-score_BxZ, axis=1, kind="stable")[:, :k], True, axis=1)
        np.testing.assert_array_equal(jax.jit(among_largest)(score_BxZ, k), expected)


def test_a_code_of_topk_has_k_units_however_many_are_masked():
    each = job("model=topk_ae", "model.k=3", "latent_dim=5", "net.widths=[6]")
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    z_BxZ = np.asarray(autoencoder.encode(each.experiment, autoencoder.init(each.experiment, 9), x_BxP).mean)
    assert (np.count_nonzero(z_BxZ, axis=1) == 3).all()
    assert not np.any(z_BxZ[:, 5:])


def test_k_and_the_code_size_are_numbers():
    some = [job("model=topk_ae", f"model.k={k}", f"latent_dim={d}", "model.boost=0.1") for k, d in ((1, 2), (9, 30))]
    assert len({jax.tree.structure(each.experiment) for each in some}) == 1


def test_idle_units_are_counted_and_come_back():
    bottleneck, mask = TopK(k=jnp.int32(1), boost=jnp.float32(1.0)), jnp.array([1.0, 1.0, 1.0, 0.0])
    heads = {"mean": jnp.array([[3.0, 1.0, -2.0, 0.0], [2.0, 1.0, -2.0, 0.0]])}
    statistics, chosen = bottleneck.start(4), []
    for _ in range(4):
        code = bottleneck(heads, mask, statistics=statistics)
        chosen.append(np.flatnonzero(np.asarray(code.z).any(axis=0)).tolist())
        statistics = code.statistics
    # The deviation is 2: a step's rest is worth 2, so that the second unit (1 + 2) overtakes in the second example
    # after one step, and the third (-2) after three.
    assert chosen == [[0], [0, 1], [0], [2]]
    np.testing.assert_array_equal(statistics["idle"], [1, 2, 0, 0])
    assert np.flatnonzero(np.asarray(bottleneck(heads, mask).z).any(axis=0)).tolist() == [0]  # evaluation: no boost


@pytest.mark.slow
def test_dead_units_are_counted_in_the_metrics():
    each = job("model=topk_ae", "model.k=1", "latent_dim=40", "net.widths=[6]", "steps=1", *CODE)
    metrics, z, _ = evaluated(trained(each)[0], each)
    assert metrics["code/dead_units"][0] == 40 - len(set(np.argmax(z[0], axis=1))) >= 13
    assert metrics["code/sparsity"][0] == pytest.approx(39 / 40)


# --- sparse and contractive codes -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_units_are_on_at_the_target_rate():
    each = job("model=sparse_ae", "model.rho=0.2", "latent_dim=30", "net.widths=[16]", "steps=600", *CODE)
    z = evaluated(trained(each)[0], each)[1][0]
    assert z.mean() == pytest.approx(0.2, rel=0.1)
    assert ((z > 0) & (z < 1)).all()


def test_the_rates_divergence_is_that_of_bernoullis():
    each = job("model=sparse_ae", "model.rho=0.2", "latent_dim=3", "net.widths=[6]")
    params = autoencoder.init(each.experiment, 5)
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)
    _, terms, _ = objective(each.experiment, params, Batch(x_BxP, x_BxP), jnp.int32(0))
    rates = np.asarray(autoencoder.encode(each.experiment, params, x_BxP).mean, np.float64).mean(axis=0)[:3]
    rho = np.array([0.2, 0.8])[:, None]
    expected = (rho * np.log(rho / np.stack([rates, 1 - rates]))).sum()
    assert float(terms["rate"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_l1_makes_codes_sparse():
    sparsity = []
    for weight in (0, 1):
        each = job("model=l1_ae", f"model.weight={weight}", "latent_dim=20", "net.widths=[16]", "steps=500", *CODE)
        sparsity.append(evaluated(trained(each)[0], each)[0]["code/sparsity"][0])
    assert sparsity[0] < 0.7 < 0.8 < sparsity[1]


@pytest.mark.parametrize("tied", [False, True])
def test_l1_is_not_escaped_by_smaller_codes_and_larger_weights(tied):
    words = ["net=linear", "net.tied=true"] if tied else ["net.widths=[6]"]
    each = job("model=l1_ae", "latent_dim=3", *words)
    params = autoencoder.init(each.experiment, 5)  # two units are masked
    x_BxP = each.experiment.form.scaled(each.dataset.arrays().train)

    @jax.jit
    def measured(params):
        compute = lambda params: objective(each.experiment, params, Batch(x_BxP, x_BxP), jnp.int32(0))[:2]  # noqa: E731
        (_, terms), gradient = jax.value_and_grad(compute, has_aux=True)(params)
        return autoencoder.encode(each.experiment, params, x_BxP).mean, terms, gradient

    z_BxZ, terms, gradient = measured(params)
    weights_ZxH = params["to_code"]["mean"]["kernel"].T if tied else params["from_code"]["kernel"]
    expected = (np.abs(np.asarray(z_BxZ)) * np.linalg.norm(np.asarray(weights_ZxH), axis=1)).sum(axis=1).mean()
    assert float(terms["l1"]) == pytest.approx(expected, rel=1e-5) and expected > 0.1
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    if tied:
        return
    small = jax.tree.map(lambda leaf: 0.1 * leaf, params["to_code"])
    large = params["from_code"] | {"kernel": 10 * params["from_code"]["kernel"]}
    scaled_BxZ, scaled, _ = measured(params | {"to_code": small, "from_code": large})
    np.testing.assert_allclose(scaled_BxZ, 0.1 * z_BxZ, rtol=1e-5)
    for name in ("l1", "reconstruction"):
        assert float(scaled[name]) == pytest.approx(float(terms[name]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_the_contraction_is_the_jacobian_of_autodiff(net):
    each = job("model=contractive_ae", f"net={net}", "net.widths=[4,5]", "net.norm=batch", "latent_dim=3", "noise=flip")
    experiment, params = each.experiment, jax.jit(autoencoder.init, static_argnums=1)(each.experiment, 4)
    x_BxP = experiment.form.scaled(each.dataset.arrays().train)
    shifted = jnp.roll(x_BxP, 1, axis=1)  # what the encoder sees, not the target
    jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda x: autoencoder.encode(experiment, params, x[None]).mean[0])))(shifted)
    expected = float(jnp.mean(jnp.sum(jacobian**2, axis=(1, 2))))
    _, terms, _ = jax.jit(objective)(experiment, params, Batch(shifted, x_BxP), jnp.int32(0))
    assert float(terms["contraction"]) == pytest.approx(expected, rel=1e-4)
    if net == "conv":
        return
    term = experiment.model.terms["contraction"].replace(probes=4000)
    estimated = experiment.replace(model=experiment.model.replace(terms={"contraction": term}))
    _, terms, _ = objective(estimated, params, Batch(shifted, x_BxP), jnp.int32(0))
    assert float(terms["contraction"]) == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
def test_the_penalty_contracts():
    norms = []
    for weight in (0, 3):
        each = job("model=contractive_ae", f"model.weight={weight}", "net.widths=[16]", "steps=300", "log_points=1")
        params = lane(trained(each)[0].params, 0)
        x_BxP = each.experiment.form.scaled(each.dataset.arrays().test)
        encode = lambda x: autoencoder.encode(each.experiment, params, x[None]).mean[0]  # noqa: B023, E731
        norms.append(float(jnp.mean(jax.vmap(jax.jacfwd(encode))(x_BxP) ** 2)))
    assert norms[1] < 0.5 * norms[0]


# --- compositions -----------------------------------------------------------------------------------------------------


def test_beta_1_is_the_vae_bit_for_bit():
    vae, beta = (
        trained(job(*each, "net.widths=[6]", *FEW)) for each in (["model=vae"], ["model=beta_vae", "model.beta=1"])
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, vae[0].params, beta[0].params))
    structures = {jax.tree.structure(job(f"model={name}").experiment) for name in ("vae", "beta_vae")}
    assert len(structures) == 1


@pytest.mark.slow
def test_the_rate_falls_and_the_distortion_rises_with_beta():
    jobs = [
        job("model=beta_vae", f"model.beta={b}", "net.widths=[16]", "steps=600", "log_points=1") for b in (0.1, 1, 10)
    ]
    metrics = evaluated(trained(*jobs)[0], *jobs)[0]
    assert list(metrics["code/kl"]) == sorted(metrics["code/kl"], reverse=True)
    assert list(metrics["recon/mse"]) == sorted(metrics["recon/mse"])


@pytest.mark.slow
def test_the_capacity_is_where_the_kl_settles():
    each = job(
        "model=beta_vae", "model.beta=30", "model.capacity=1.5", "model.capacity_warmup=0.5", "net.widths=[16]",
        "steps=600", *CODE,
    )  # fmt: skip
    assert evaluated(trained(each)[0], each)[0]["code/kl"][0] == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=topk_ae", "latent_dim=4"], r"model\.k=8: must be at most latent_dim, 4$"),
        (["model=topk_ae", "model.k=0"], r"model\.k=0: must be a whole number at least 1"),
        (["model=topk_ae", "model.boost=-1"], r"model\.boost=-1: must be a number at least 0"),
        (["model=sparse_ae", "model.rho=0"], r"model\.rho=0: must be a number above 0 and at most 0\.999999"),
        (["model=sparse_ae", "model.rho=1"], r"model\.rho=1: must be a number above 0 and at most 0\.999999"),
        (["model=sparse_ae", "model.weight=-1"], r"model\.weight=-1: must be a number at least 0"),
        (
            ["model=sparse_ae", "model.bottleneck.activation=relu"],
            r"model\.bottleneck\.activation=relu: must be sigmoid",
        ),
        (["model=l1_ae", "model.weight=-0.1"], r"model\.weight=-0\.1: must be a number at least 0"),
        (["model=contractive_ae", "model.weight=-1"], r"model\.weight=-1: must be a number at least 0"),
        (["model=contractive_ae", "model.probes=0"], r"model\.probes=0: must be a whole number at least 1 and"),
        (["model=conv_ae", "data._target_=blobs.Blobs"], r"net=conv: needs images"),
    ],
)
def test_models_that_cannot_be_are_refused(overrides, told):
    with pytest.raises(InputError, match=f"^{told}"):
        job(*overrides)
