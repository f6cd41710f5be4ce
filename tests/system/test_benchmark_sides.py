"""The sides of the benchmarks do the same work: networks, batches, files. Nothing here asserts a speed."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONF

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import gpu, handwritten, programs, rows, train


@pytest.mark.parametrize("name", train.CASES)
def test_the_network_written_by_hand_has_the_weights_of_ours(name):
    case, sizes = train.CASES[name], train.SIZES[True]
    words = [*case.net.words, "steps=2"]
    is_mnist = case.shape == train.MNIST
    experiment = programs.composed(words, gpu.images(sizes.images) if is_mnist else None).experiment
    function, arguments = case.net.in_torch
    made = jax.eval_shape(lambda: getattr(handwritten, function)(jax.random.key(0), *arguments)[0])
    kernels = sum(kernel.size for kernel, _ in made)
    assert kernels == sum(shape.size for shape in own_kernels(experiment))
    if function == "dense":
        shapes = [shape.shape for shape in own_kernels(experiment)]
        assert sorted(kernel.shape for kernel, _ in made) == sorted(shapes)
        ours = programs.parameters_of(experiment) - experiment.form.pixels  # without the center of the data
        assert ours == sum(leaf.size for leaf in jax.tree.leaves(made))


def own_kernels(experiment):
    """The shapes of our kernels."""
    from aejax.models import autoencoder

    shapes = jax.eval_shape(lambda: autoencoder.init(experiment, int(experiment.latent_dim)))
    return [leaf for path, leaf in jax.tree.leaves_with_path(shapes) if path[-1].key == "kernel"]


def test_convolutions_as_products_are_those_of_xla():
    params, network = handwritten.conv(jax.random.key(0), 3, 5, 4)
    _, by_products = handwritten.conv(jax.random.key(0), 3, 5, 4, by_products=True)
    x_BxP = jax.random.uniform(jax.random.key(1), (6, 784))
    both = [jax.jit(each)(params, x_BxP) for each in (network, by_products)]
    np.testing.assert_allclose(*both, atol=1e-6)


@pytest.mark.parametrize("batch", [6, 2])
def test_the_loop_and_the_scan_train_alike_and_learn(batch):
    made = handwritten.dense(jax.random.key(0), [5, 4, 2])
    stored = np.random.default_rng(0).integers(0, 2, (6, 5), np.uint8)
    loop, scan = handwritten.trainers(made, stored, batch, binary=True, length=300)
    (looped, last), (scanned, losses) = loop(), scan()
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-3), looped, scanned)
    np.testing.assert_allclose(last, losses[-1], rtol=2e-2)
    assert jnp.mean(losses[-30:]) < 0.9 * jnp.mean(losses[:30])
    assert int(scan()[0][-1]) == 600  # goes on where it was


def test_a_quick_training_is_measured_beside_all_that_is_installed():
    """The first case alone; absent libraries have their rows."""
    found = list(rows.apart("benchmarks.train:measured", next(iter(train.CASES)), 1, True))
    by_side = {row.against: row for row in found}
    assert by_side.keys() >= {train.EAGER, train.LOOP, train.SCAN, train.LIMIT, train.SHARE}
    for side in (train.LOOP, train.SCAN, train.LIMIT, train.SHARE):
        assert by_side[side].ours > 0 and by_side[side].ratio.rounds == train.SIZES[True].rounds
    eager = by_side[train.EAGER]
    assert (eager.ours is None) == eager.note.startswith("not measured: torch is not installed")
    assert eager.target == (None if eager.ours is None else 10)


def test_a_process_that_fails_is_a_row():
    [row] = rows.apart("benchmarks.train:measured", "no such case", 1, True)
    assert row.has_failed and (row.case, row.note) == ("no such case, 1, True", "failed: exit status 1")


def test_the_script_in_pytorch_leaves_what_a_run_leaves(tmp_path):
    pytest.importorskip("torch")
    np.save(tmp_path / "x.npy", np.eye(35, dtype=np.uint8)[:6])
    script = CONF.parent / "benchmarks" / "torch_script.py"
    words = [sys.executable, script, tmp_path / "x.npy", tmp_path / "run", "--steps", "200", "--picture"]
    subprocess.run(words, check=True, capture_output=True)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    files = {"config.json", "history.csv", "metrics.json", "codes.npz", "params.pt", "reconstructions.png"}
    assert names >= files
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["recon/mse"] < 0.1
    losses = [float(line.split(",")[1]) for line in (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]]
    assert len(losses) == 100 and losses[-1] < losses[0]
    assert np.load(tmp_path / "run" / "codes.npz")["z"].shape == (6, 2)


@pytest.mark.slow
def test_a_benchmark_leaves_its_record_and_the_page(tmp_path):
    words = [sys.executable, "-m", "benchmarks", "compare", "write", "--quick", "--out", "out", "--page", "page.md"]
    environment = os.environ | {"PYTHONPATH": str(CONF.parent)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    left = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert left["quick"] and left["command"] == "python -m benchmarks compare write --quick"
    cases = ["20 runs, read for the first time", "20 runs, read again", "20 runs, the whole command again"]
    assert [row["case"] for row in left["rows"]] == cases and all(row["ours"] > 0 for row in left["rows"])
    text = (tmp_path / "page.md").read_text()
    assert all(f"| {case} |" in text and f"| {case} |" in done.stdout for case in cases)
    assert all(left["machine"]["rates"][when]["product"] > 0 for when in ("before", "after"))
