"""A run that is loaded again gives what it has recorded, whatever the batch; what does not fit is refused in a line."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from conftest import called, job
from flax import struct
from safetensors.numpy import load_file, save_file

import aejax
from aejax.base.errors import InputError
from aejax.cli.apply import main as apply
from aejax.cli.train import main
from aejax.datasets.dataset import Dataset
from aejax.datasets.form import Form
from aejax.evaluation.sampling import KDE
from aejax.inference import trained
from aejax.inference.examples import Examples
from aejax.models.objective import Term
from aejax.runs import contents

QUICK = ["steps=40", "log_points=1", "net.widths=[16]", "figures=false", "track=off", "latent_dim=3"]
QUICK += ["evaluate.groups=[reconstruction]"]
EVALUATED = ["evaluate.groups=[reconstruction,nll]", "evaluate.samples=20"]
RUNS = {
    "vae": ["model=vae", "data=emoji", *EVALUATED],
    "ae": ["model=ae", "data=letters"],
    "cvae": ["model=cvae", "data=digits", "data.test_limit=300", *EVALUATED],
    "vq_vae": ["model=vq_vae", "data=digits", "latent_dim=4", "data.test_limit=300"],
    "anomalies": ["model=vae", "data=digits", "data.normal=[0,1]", "evaluate.groups=[reconstruction,anomaly]"],
}
SLOW = {"flow": ["model=vae", "prior=flow", "data=digits", "data.binarize=static", "data.test_limit=300", *EVALUATED]}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folders of all RUNS, beside each other; one whose data came from a program and are standardized."""
    above = tmp_path_factory.mktemp("runs")
    for name, words in RUNS.items():
        assert called(main, *QUICK, *words, f"hydra.run.dir={above / name}") == 0
    dataset = Dataset(train=(RNG.normal(size=(200, 5)) * [1, 10, 100, 3, 0.1] + 7).astype(np.float32))
    words = [*QUICK, "model=vae", "data.standardize=true", f"hydra.run.dir={above / 'own'}"]
    aejax.train(dataset, *words)
    return above


@pytest.fixture(scope="module")
def loaded(folder):
    runs = {}

    def run(name):
        if name in SLOW and not (folder / name).exists():
            assert called(main, *QUICK, *SLOW[name], f"hydra.run.dir={folder / name}") == 0
        return runs.setdefault(name, aejax.load(folder / name))

    return run


def examples_of(name):
    """The test examples of a run, as stored, and their labels."""
    dataset = job(*QUICK, *(RUNS | SLOW)[name]).dataset
    return dataset.test.x, dataset.test.y


@pytest.mark.parametrize("name", ["vae", "ae", "cvae", "vq_vae", pytest.param("flow", marks=pytest.mark.slow)])
def test_a_loaded_run_gives_the_codes_and_metrics_that_it_has_recorded(name, loaded):
    run, (x, y) = loaded(name), examples_of(name)
    y = y if name == "cvae" else None
    metrics, codes = run.run.metrics, run.run.codes["z"]
    z = run.encode(x, label=y)
    np.testing.assert_allclose(z, codes, atol=1e-5 * np.abs(codes).max())
    fractions = x / (255 if x.max() > 1 else 1)
    reconstructed = run.reconstruct(x, label=y)
    assert reconstructed.shape == x.shape
    assert np.mean((reconstructed - fractions) ** 2) == pytest.approx(metrics["recon/mse"], rel=1e-5)
    np.testing.assert_allclose(run.decode(z, label=y), reconstructed, atol=1e-6)
    np.testing.assert_allclose(run.score(x, label=y), ((reconstructed - fractions) ** 2).sum(axis=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(run.encode(fractions, label=y), z, atol=1e-5)
    if metrics.get("nll") is not None:  # of other draws where there are more batches than one
        assert run.nll(x, label=y).mean() == pytest.approx(metrics["nll"], rel=0.01)


def test_bits_do_not_depend_on_the_batch(loaded):
    run, (x, _) = loaded("vae"), examples_of("vae")
    z = run.encode(x)
    many, many_z = np.tile(x, (6, 1, 1, 1)), np.tile(z, (6, 1))  # more than two batches
    for part in (slice(None), slice(7, None), slice(40, 41), slice(None, None, -1)):
        np.testing.assert_array_equal(run.encode(many[part]), many_z[part])
    np.testing.assert_array_equal(run.encode(x[3]), z[3])
    np.testing.assert_array_equal(aejax.load(run.run.path).encode(jax.numpy.asarray(x)), z)
    np.testing.assert_array_equal(run.nll(many[:300])[:96], run.nll(x))


@struct.dataclass
class Offset(Term):
    """A term of one's own."""

    def __call__(self, context):
        return jnp.sum((context.outputs.code.z - 1) ** 2, axis=1)


def test_a_model_of_ones_own_is_loaded_where_it_is_trusted(here):
    term = f"+model.terms.offset={{_target_: {__name__}.Offset, weight: 3}}"
    x = RNG.random((40, 6)).astype(np.float32)
    left = aejax.train(Dataset(train=x), *QUICK, "model=ae", term, "hydra.run.dir=run")
    with pytest.raises(InputError, match=r"Offset: only classes of aejax.* are trusted here; trust=True takes others$"):
        aejax.load("run")
    run = aejax.load("run", trust=True)
    assert float(run.experiment.model.terms["offset"].weight) == 3
    np.testing.assert_allclose(run.encode(x)[left.codes["index"]], left.codes["z"], rtol=1e-5, atol=1e-6)
    assert called(apply, "run", "sample", "x.npy", "--fit", "x.npy") == 2
    np.save("x.npy", x)
    assert called(apply, "run", "encode", "x.npy", "z.npy") == 2
    assert called(apply, "run", "encode", "x.npy", "z.npy", "--trust") == 0
    np.testing.assert_array_equal(np.load("z.npy"), run.encode(x))


def test_fractions_of_binarized_data_are_cut_as_bytes_are():
    form = Form("x", "binary", (1, 4, 1), 1, 0, 0, "")
    x = np.array([[[0], [127], [128], [255]]], np.uint8)
    taken = Examples(form, "threshold", (), None)
    for given in (x, x / 255):
        np.testing.assert_array_equal(taken.seen(taken.rows(given).values), [[0, 0, 1, 1]])
    noisy = taken.rows(x / 255 + 0.3, noisy=True).values
    np.testing.assert_allclose(taken.seen(noisy, noisy=True), (x / 255 + 0.3).reshape(1, 4), rtol=1e-6)


@pytest.mark.parametrize("dtype", [bool, jnp.bfloat16])
def test_true_is_white(dtype, loaded):
    run, (x, _) = loaded("vae"), examples_of("vae")
    np.testing.assert_array_equal(run.encode((x[:3] > 127).astype(dtype)), run.encode((x[:3] > 127).astype(np.float32)))


WRONG = [
    (lambda run, x: run.sample(2.5), "count=2.5: must be a whole number from 1 to 1,000,000,000"),
    (lambda run, x: run.sample(True), "count=True: must be a whole number"),
    (lambda run, x: run.sample(2, seed=1.5), "seed=1.5: must be a whole number from 0 to 4,294,967,295"),
    (lambda run, x: run.encode(x, sample=True, seed=None), "seed=None: must be a whole number"),
    (lambda run, x: run.interpolate(x[0], x[1], steps="3"), "steps=3: must be a whole number from 2 to 10,000"),
    (lambda run, x: run.traverse(3), "units=3: must be one or two different units from 0 to 2"),
    (lambda run, x: run.traverse((0.0, 1)), "units=(0.0, 1): must be one or two"),
    (lambda run, x: run.traverse((0, 1), steps=101), "steps=101: must be a whole number from 2 to 100"),
    (lambda run, x: run.traverse((0, 1), limits=3), "limits=3: must be two finite numbers, the lower one first"),
    (lambda run, x: run.traverse((0, 1), limits=(-1e300, 0)), "limits=(-1e+300, 0): must be two finite numbers"),
    (lambda run, x: run.arithmetic(None), "arithmetic=None: must be a text such as"),
    (lambda run, x: run.encode(x, label="grinning face"), "label: vae emoji"),
    (lambda run, x: aejax.load(3), "load: 3; must be the folder of a run, or a zip archive of it"),
    (lambda run, x: aejax.load(""), "load: ''; must be the folder of a run"),
]


@pytest.mark.parametrize(("call", "line"), WRONG, ids=[line[:20] for _, line in WRONG])
def test_values_of_other_types_are_refused(call, line, loaded):
    with pytest.raises(InputError) as caught:
        call(loaded("vae"), examples_of("vae")[0])
    assert str(caught.value).startswith(line)


def test_a_code_without_posterior_is_not_drawn(loaded):
    with pytest.raises(InputError, match=r"^sample: ae letters .* has no posterior to draw from; use a model such as"):
        loaded("ae").encode(examples_of("ae")[0], sample=True)


def test_damaged_parameters_are_refused(changed):
    path = changed("vae", lambda record, config: None)
    tensors = load_file(path / "params.safetensors")
    name = sorted(tensors)[0]
    tensors[name].ravel()[0] = np.nan
    save_file(tensors, path / "params.safetensors")
    with pytest.raises(InputError, match=f"params.safetensors: {name} holds nan or inf; the file is damaged"):
        aejax.load(path)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(loaded, seed):
    with pytest.raises(InputError, match=f"seed={seed}: must be a whole number from 0 to 4,294,967,295"):
        loaded("vae").sample(2, seed=seed)


def test_indices_and_codes_of_a_discrete_model_are_inverse(loaded):
    run, (x, _) = loaded("vq_vae"), examples_of("vq_vae")
    indices = run.indices(x[:9])
    assert indices.shape == (9, run.positions) and indices.dtype == np.int32
    np.testing.assert_array_equal(run.vectors(indices), run.encode(x[:9]))
    np.testing.assert_array_equal(run.vectors(indices[2]), run.encode(x[2]))
    most = run.experiment.model.bottleneck.codes - 1
    for wrong in (indices[:, :0], indices / 2, indices - 1000, [[1, 2, 3, 4, 5]], 2**31 + indices.astype(int), 3):
        with pytest.raises(InputError, match=r"^indices: "):
            run.vectors(wrong)
    run.vectors(np.full_like(indices, most))
    with pytest.raises(InputError, match=f"indices: {most + 1} at position 0; must be from 0 to {most} there"):
        run.vectors(np.full_like(indices, most + 1))
    with pytest.raises(InputError, match=r"^vectors: the codes of vae emoji"):
        loaded("vae").vectors(indices)


def test_draws_are_those_of_their_seed(loaded):
    run, (x, _) = loaded("vae"), examples_of("vae")
    drawn = [run.encode(x, sample=True, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).mean() > 1e-3
    np.testing.assert_array_equal(run.sample(300, seed=5)[:4], run.sample(4, seed=5))
    assert run.sample(4, seed=5).shape == (4, 12, 12, 3)


def test_a_model_without_a_prior_samples_from_a_fitted_density(loaded):
    run, (x, _) = loaded("ae"), examples_of("ae")
    with pytest.raises(InputError, match=r"ae letters .* has no prior; fit a density .*: run.fit\(x\).sample\(2\)"):
        run.sample(2)
    fitted = run.fit(x)
    images = fitted.sample(500)
    assert images.shape == (500, 7, 5, 1) and 0 <= images.min() < images.max() <= 1
    codes, z = run.encode(x), run.encode((images > 0.5).astype(np.uint8))
    assert np.abs(z.mean(axis=0) - codes.mean(axis=0)).max() < codes.std()
    near = run.fit(x, sampler=KDE()).sample(5)
    assert not np.allclose(near, fitted.sample(5))


def test_labels_are_names_or_numbers(loaded):
    run, (x, y) = loaded("cvae"), examples_of("cvae")
    names = [run.labels[number] for number in y]
    np.testing.assert_array_equal(run.encode(x, label=names), run.encode(x, label=y))
    np.testing.assert_array_equal(run.encode(x[:5], label="3"), run.encode(x[:5], label=[3] * 5))
    in_turn = run.sample(20)
    np.testing.assert_array_equal(run.sample(20, label=np.arange(20) % 10), in_turn)
    assert not np.allclose(run.sample(20, label=7), in_turn)
    with pytest.raises(InputError, match="no label digit; none"):
        loaded("own").arithmetic("digit")


def test_interpolations_end_at_the_reconstructions(loaded):
    run, (x, _) = loaded("vae"), examples_of("vae")
    ends = run.encode(x[[0, 9]])
    for how in ("linear", "spherical"):
        strip = run.interpolate(x[0], x[9], steps=5, how=how)
        np.testing.assert_allclose(strip[[0, -1]], run.decode(ends), atol=1e-5)
    np.testing.assert_allclose(run.interpolate(x[0], x[9], 3)[1], run.decode(ends.mean(axis=0)), atol=1e-5)


def test_an_arc_turns_and_grows_evenly():
    a, b = np.array([2.0, 0, 0], np.float32), np.array([0, 4.0, 0], np.float32)
    z = trained.between(a, b, 4, "spherical")
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), [2, 8 / 3, 10 / 3, 4], rtol=1e-5)
    np.testing.assert_allclose(np.degrees(np.arctan2(z[:, 1], z[:, 0])), [0, 30, 60, 90], atol=1e-3)
    np.testing.assert_allclose(trained.between(a, 3 * a, 3, "spherical"), [a, 2 * a, 3 * a])


def test_arithmetic_adds_mean_codes_of_labels(loaded):
    run = loaded("vae")
    z, y, names = run.run.codes["z"], run.run.codes["y"], run.labels
    sums = z[y == 3][0] - z[y == 10][0] + z[y == 20][0]
    np.testing.assert_allclose(run.arithmetic(f"{names[3]} - {names[10]} + {names[20]}"), run.decode(sums), atol=1e-6)
    np.testing.assert_allclose(run.arithmetic(f"- {names[3]}"), run.decode(-z[y == 3][0]), atol=1e-6)
    told = r"no label grinning fase; did you mean grinning face or .*\? there are 96, such as grinning face"
    with pytest.raises(InputError, match=told):
        run.arithmetic("grinning fase - robot face")
    with pytest.raises(InputError, match="must be names with"):
        run.arithmetic(" + ")


def test_the_threshold_is_that_of_the_run(loaded, folder):
    record = json.loads((folder / "anomalies" / "run.json").read_text())
    run, (x, y) = loaded("anomalies"), examples_of("anomalies")
    assert run.threshold == record["evaluation"]["anomaly"]["error"]["threshold"]
    flagged = run.score(x) > run.threshold
    assert flagged[y > 1].mean() == pytest.approx(run.run.metrics["anomaly/tpr"], abs=0.01)
    assert loaded("vae").threshold is None


def test_standardized_data_go_in_and_come_out_in_their_own_unit(loaded):
    run = loaded("own")
    x = (RNG.normal(size=(50, 5)) * [1, 10, 100, 3, 0.1] + 7).astype(np.float32)
    error = ((run.reconstruct(x) - x) ** 2).mean(axis=0)
    assert (error < 2 * x.var(axis=0)).all()
    plain = run.examples.standardization
    np.testing.assert_allclose(plain.undone(plain(x)), x, rtol=1e-4, atol=1e-4)
    assert run.encode(x[0]).shape == (3,)


def test_noisy_examples_may_leave_the_range(loaded):
    run, (x, _) = loaded("vae"), examples_of("vae")
    noisy = x / 255 + RNG.normal(size=x.shape) * 0.3
    with pytest.raises(InputError, match=r"x: values from -.* must be fractions from 0 to 1, or bytes"):
        run.reconstruct(noisy)
    assert run.restore(noisy).shape == x.shape


ONE = np.zeros((12, 12, 3), np.uint8)


@pytest.mark.parametrize(
    ("method", "inputs", "told"),
    [
        ("encode", [np.zeros((2, 5, 5, 3))], r"x: shape \[2, 5, 5, 3\]; must be \[12, 12, 3\], one example, or"),
        ("encode", [np.zeros((0, 12, 12, 3))], r"x: shape \[0, 12, 12, 3\]; must hold at least one example"),
        ("encode", [np.full((12, 12, 3), np.nan)], "x: holds nan or inf; must be finite"),
        ("encode", [np.full((12, 12, 3), 300)], "x: whole numbers from 300 to 300; must be from 0 to 255"),
        ("encode", [[["a"]]], "x: <U1; must be an array of numbers"),
        ("encode", [[[1], [1, 2]]], "x: rows of different lengths"),
        ("decode", [np.zeros((2, 4))], r"z: shape \[2, 4\]; must be \[3\], one code, or \[N, 3\]"),
        ("decode", [[np.inf, 0, 0]], "z: holds nan or inf"),
        ("sample", [0], "count=0: must be a whole number from 1"),
        ("interpolate", [ONE, np.stack([ONE, ONE])], "b: 2 examples; must be one"),
        ("interpolate", [ONE, ONE, 8, "round"], "how=round: must be one of"),
        ("interpolate", [ONE, ONE, 1], "steps=1: must be a whole number from 2 to 10,000"),
    ],
)
def test_input_that_does_not_fit_is_refused(method, inputs, told, loaded):
    with pytest.raises(InputError, match=told):
        getattr(loaded("vae"), method)(*inputs)


def test_labels_that_do_not_fit_are_refused(loaded):
    run, x = loaded("cvae"), np.zeros((2, 8, 8), np.uint8)
    for label, told in (
        (None, "label: is missing; cvae digits .* model.condition=label"),
        ("ten", "no label ten; there are 10, such as 0, 1, 2"),
        (10, "label=10: must be names of labels, or numbers from 0 to 9"),
        ([1, 2, 3], r"label: shape \[3\]; must be one label, or one for each of 2"),
    ):
        with pytest.raises(InputError, match=told):
            run.encode(x, label=label)


def test_what_a_model_cannot_do_is_told(loaded):
    with pytest.raises(InputError, match=r"nll: ae letters .* has no posterior and prior; use a model such as vae"):
        loaded("ae").nll(np.zeros((7, 5)))


@pytest.mark.slow
def test_a_likelihood_of_binary_pixels_takes_no_others(loaded):
    with pytest.raises(InputError, match="x: values other than 0 and 1; the likelihood is one of binary pixels"):
        loaded("flow").nll(np.full((8, 8), 0.5))


@pytest.fixture
def changed(folder, tmp_path):
    """A copy of a run's folder, elsewhere, after `change` of its record and configuration."""

    def copy(name, change):
        path = tmp_path / "copy"
        shutil.copytree(folder / name, path)
        record = json.loads((path / "run.json").read_text())
        config = yaml.safe_load((path / ".hydra" / "config.yaml").read_text())
        change(record, config)
        (path / "run.json").write_text(json.dumps(record))
        (path / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        return path

    return copy


def test_a_run_of_another_version_is_loaded(changed, loaded):
    """Also where settings have come since then."""

    def date_back(record, config):
        record["versions"].update(aejax="0.0.1")
        for key in contents.LATER:
            del config[key]

    path = changed("vae", date_back)
    x, _ = examples_of("vae")
    np.testing.assert_array_equal(aejax.load(path).encode(x), loaded("vae").encode(x))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record, config: record.update(status="interrupted"), "its status is interrupted; must be completed"),
        (lambda record, config: record.update(status="diverged"), "its status is diverged; must be completed; force"),
        (lambda record, config: record.update(format=99), "its files are of format 99, not 3; install a newer aejax"),
        (lambda record, config: record["data"].pop("labels"), "data has no labels; runs of older versions"),
        (lambda record, config: record["data"].update(shape=[12, -1, 3]), "data.shape must be"),
        (lambda record, config: record["data"].update(kind="sound"), "data.kind must be one of binary, gray"),
        (lambda record, config: record["data"].update(dynamic=1), "data.dynamic is 1; must be true or false"),
        (lambda record, config: config["net"].update(_target_="os.system"), "net._target_=os.system"),
        (lambda record, config: config["net"].update(widths=[17]), "is .16, 432.; must be .17, 432., by the run's"),
        (lambda record, config: config.pop("model"), "model: is missing"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(change, told, changed):
    with pytest.raises(InputError, match=told) as caught:
        aejax.load(changed("vae", change))
    assert "\n" not in str(caught.value)


def test_a_diverged_run_is_loaded_by_force(changed):
    path = changed("vae", lambda record, config: record.update(status="diverged"))
    assert aejax.load(path, force=True).encode(np.zeros((12, 12, 3))).shape == (3,)


def test_a_loaded_run_is_shown_by_its_name(loaded, folder):
    assert repr(loaded("ae")) == f"<Trained ae letters d=3 s=0 ({folder / 'ae'})>"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run that can be read"):
        aejax.load(tmp_path)


def test_loading_leaves_jax_as_it_was(folder):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        aejax.load(folder / "vae").encode(np.zeros((12, 12, 3)))
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(
    ("binarize", "expected"),
    [("threshold", [[0, 0, 1, 1], [0, 1, 0, 1]]), ("static", [[0, 1 / 255, 128 / 255, 1], [0, 1, 0, 1]])],
)
def test_bytes_of_binarized_data_do_not_depend_on_the_batch(binarize, expected):
    form = Form("own", "binary", (2, 2, 1), 9, 0, 0, "")
    examples = Examples(form, binarize, (), None)

    def seen(x):
        return examples.seen(examples.rows(x).values)

    x = np.array([[0, 1, 128, 255], [0, 1, 0, 1]], np.uint8).reshape(2, 2, 2)
    np.testing.assert_allclose(seen(x), expected, rtol=1e-6)
    np.testing.assert_array_equal(seen(x[1]), seen(x)[1:])
    np.testing.assert_array_equal(seen(np.array(expected).reshape(2, 2, 2)), np.float32(expected))
    with pytest.raises(InputError, match="x: whole numbers from 0 to 255; must be from 0 to 1"):
        Examples(form, "none", (), None).rows(x)
