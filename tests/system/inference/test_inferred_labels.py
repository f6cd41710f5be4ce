"""A model that infers labels takes examples without them, as if it were given those that its classifier finds."""

import numpy as np
import pytest
from conftest import called, job

import aejax
from aejax.base.errors import InputError
from aejax.cli.apply import main as apply
from aejax.cli.train import main
from aejax.evaluation.sampling import KDE

QUICK = ["data=digits", "net.widths=[32]", "figures=false", "track=off", "latent_dim=3", "log_points=1"]
QUICK += ["evaluate.samples=10"]
WORDS = [*QUICK, "model=m2_vae", "model.share=0.2", "steps=300", "evaluate.groups=[separation]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "m2_vae"
    assert called(main, *WORDS, f"hydra.run.dir={path}") == 0
    return aejax.load(path)


@pytest.fixture(scope="module")
def test():
    """The test examples and their labels."""
    split = job(*WORDS).dataset.test
    return split.x, split.y


@pytest.fixture(scope="module")
def inferred(run, test):
    """The name of the most probable label of each test example."""
    return [run.labels[number] for number in run.classify(test[0]).argmax(axis=1)]


def test_probabilities_have_the_recorded_accuracy(run, test):
    x, y = test
    p = run.classify(x)
    assert p.shape == (len(x), 10) and p.dtype == np.float32 and (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    right, accuracy = (p.argmax(axis=1) == y).sum(), run.run.metrics["classifier/accuracy"]
    assert right == pytest.approx(accuracy * len(x), abs=1e-3) and accuracy > 0.7
    np.testing.assert_array_equal(run.classify(x[7]), p[7])
    np.testing.assert_array_equal(run.classify(x[::-1]), p[::-1])


@pytest.mark.parametrize("method", ["encode", "reconstruct", "restore", "score", "nll"])
def test_labels_left_out_are_the_most_probable_ones(method, run, test, inferred):
    x, call = test[0], getattr(run, method)
    np.testing.assert_array_equal(call(x), call(x, label=inferred))
    np.testing.assert_array_equal(call(x[4]), call(x[4], label=inferred[4]))
    assert not np.allclose(call(x), call(x, label="3"))


def test_draws_and_densities_are_of_the_most_probable_labels(run, test, inferred):
    x = test[0]
    np.testing.assert_array_equal(run.encode(x, sample=True, seed=3), run.encode(x, inferred, sample=True, seed=3))
    without, given = (run.fit(x, label, sampler=KDE()).sample(20) for label in (None, inferred))
    np.testing.assert_array_equal(without, given)
    np.testing.assert_array_equal(run.sample(20), run.sample(20, label=np.arange(20) % 10))


def test_noisy_examples_are_restored_with_the_labels_found_in_them(run, test):
    noisy = test[0] / 255 + np.random.default_rng(0).normal(size=test[0].shape) * 0.1
    numbers = [run.restore(noisy, label=label) for label in run.labels]
    restored = run.restore(noisy)
    is_one = [[(restored[row] == each[row]).all() for each in numbers] for row in range(len(noisy))]
    assert np.any(is_one, axis=1).all()
    assert np.mean(np.argmax(is_one, axis=1) == test[1]) > 0.6


def test_an_interpolation_has_one_label(run, test, inferred):
    x, same = test[0], inferred.index(inferred[0], 1)
    expected = run.interpolate(x[0], x[same], 4, label=inferred[0])
    np.testing.assert_array_equal(run.interpolate(x[0], x[same], 4), expected)
    other = next(row for row, name in enumerate(inferred) if name != inferred[0])
    message = (
        f"label: {inferred[0]} of a and {inferred[other]} of b by the classifier; an interpolation has one, choose it"
    )
    with pytest.raises(InputError, match=message):
        run.interpolate(x[0], x[other])


@pytest.mark.parametrize("call", [lambda run, z: run.decode(z), lambda run, _: run.traverse()])
def test_codes_alone_need_a_label(call, run):
    with pytest.raises(InputError, match=r"label: is missing; m2_vae digits .* model\.condition=label"):
        call(run, np.zeros((2, 3)))


@pytest.mark.parametrize("model", ["vae", "cvae"])
def test_a_model_without_a_classifier_is_message(model, tmp_path):
    words = [*QUICK, f"model={model}", "steps=2", "evaluate.groups=[reconstruction]", f"hydra.run.dir={tmp_path}/run"]
    assert called(main, *words) == 0
    message = rf"^classify: {model} digits .* has no classifier; use a model such as m2_vae$"
    with pytest.raises(InputError, match=message):
        aejax.load(tmp_path / "run").classify(np.zeros((8, 8), np.uint8))


def test_files_need_no_labels(run, test, inferred, tmp_path):
    np.save(tmp_path / "x.npy", test[0])
    assert called(apply, str(run.run.path), "encode", str(tmp_path / "x.npy"), str(tmp_path / "z.npy")) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), run.encode(test[0], label=inferred))


def test_compressed_files_hold_the_labels_found(run, test, inferred):
    pytest.importorskip("constriction", reason="the extra compression is not installed")
    x = test[0][:40]
    data = aejax.compress(run, x)
    assert data == aejax.compress(run, x, label=inferred[:40])
    assert aejax.decompress(run, data).shape == x.shape


def test_requests_need_no_labels_of_examples(run, test, inferred):
    operations = pytest.importorskip("aejax.serving.operations", reason="the extra serve is not installed")
    description = pytest.importorskip("aejax.serving.description", reason="the extra serve is not installed")
    batching = pytest.importorskip("aejax.serving.batching", reason="the extra serve is not installed")
    x, encode = test[0][:3], operations.OPERATIONS["encode"]
    without, given = (operations.task(run, encode, {"x": x} | label) for label in ({}, {"label": inferred[:3]}))
    assert without.key != given.key  # else they would be computed together
    for task in (without, given):
        np.testing.assert_array_equal(*batching._results(run, [task]), run.encode(x, label=inferred[:3]))
    with pytest.raises(InputError, match="label: is missing"):
        operations.task(run, operations.OPERATIONS["decode"], {"z": [0.0] * 3})
    paths = description.openapi(run)["paths"]
    bodies = {name: paths[f"/{name}"]["post"]["requestBody"]["content"] for name in ("encode", "decode")}
    assert {name: body["application/json"]["schema"]["required"] for name, body in bodies.items()} == {
        "encode": ["x"],
        "decode": ["z", "label"],
    }
    for task in operations.warming(run):
        assert task.count == 1 and task.run(run, task.rows, task.label) is not None
