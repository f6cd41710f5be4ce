"""The benchmark of GPUs: what it counts, which rows it has, and that it runs where there is none."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONF, job

from aejax.base.precision import PRECISIONS
from aejax.compat import jax_compat
from aejax.models import autoencoder

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import gpu
from benchmarks.programs import step_flops

CONV = ["model=conv_ae", "data=emoji", "net.widths=[4,8]", "batch_size=16"]


def test_the_products_of_a_step_are_counted():
    """Three for each layer, but the first has no gradient of its input; the centered input is no product."""
    weights = [64 * 24, 24 * 3, 3 * 24, 24 * 64]
    each = job("model=ae", "data=digits", "net.widths=[24]", "latent_dim=3", "batch_size=32")
    assert step_flops(each) == 2 * 32 * (3 * sum(weights) - weights[0])


def test_the_rows_of_a_gpu():
    rows, sizes = gpu.ROWS, gpu.SIZES["gpu"]
    lanes = list(rows["lanes"](sizes, PRECISIONS))
    for net, most in ((gpu.LETTERS, 16_384), (gpu.MLP, 256), (gpu.CONV, 256)):
        own = [row for row in lanes if row.net == net]
        assert {row.lanes for row in own} >= {1, 16, 256} and max(row.lanes for row in own) == most
        assert {row.precision for row in own if row.how == "vmap"} == set(PRECISIONS)
        assert any(row.how == "map" and row.lanes > 1 for row in own)
    by_xla = list(rows["conv"](sizes, PRECISIONS))
    assert {row.lanes for row in by_xla} == {row.lanes for row in lanes if row.net == gpu.CONV}
    assert {row.told for row in rows["data"](sizes, PRECISIONS)} == {"resident", "streamed"}


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_devices_are_doubled_up_to_all(monkeypatch, count, expected):
    monkeypatch.setattr(jax, "devices", lambda: [None] * count)
    rows = [row for row in gpu.ROWS["devices"](gpu.SIZES["gpu"], PRECISIONS) if row.net == gpu.MLP]
    assert [row.devices for row in rows] == expected


def test_a_row_that_fails_says_why_and_the_next_is_measured(monkeypatch, capsys):
    def full(*_):
        raise MemoryError("16 | 32 GiB\nmore")

    monkeypatch.setattr(gpu, "measured", full)
    gpu.show(gpu.Row(gpu.LETTERS, 16_384, "vmap"), gpu.SIZES["quick"], {})
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"| {gpu.LETTERS} | 16,384 | vmap* |  | float32 | MemoryError: 16 / 32 GiB |")
    assert line.count("|") == len(gpu.COLUMNS) + 1


@pytest.mark.parametrize(("kind", "dtype"), [("XlaConv", jnp.float32), ("XlaConvBfloat16", jnp.bfloat16)])
def test_the_convolutions_of_xla_have_the_weights_and_shapes_of_ours(kind, dtype):
    own, others = (job(*CONV, *more).experiment for more in ([], [f"net._target_=benchmarks.xla_conv.{kind}"]))
    shapes = [jax.eval_shape(lambda each=each: autoencoder.init(each, 2)) for each in (own, others)]
    weights = [
        sum(leaf.size for path, leaf in jax.tree.leaves_with_path(tree) if path[-1].key == "kernel") for tree in shapes
    ]
    assert weights[0] == weights[1]
    x_BxP = np.zeros((5, own.form.pixels), np.float32)
    traced = jax.make_jaxpr(lambda params: autoencoder.reconstruct(others, params, x_BxP))(shapes[1])
    convolutions = [each for each in jax_compat.equations(traced.jaxpr) if "conv_general" in each.primitive.name]
    assert len(convolutions) == 4
    assert {variable.aval.dtype for each in convolutions for variable in each.invars} == {jnp.dtype(dtype)}
    assert [out.shape for out in traced.out_avals] == [x_BxP.shape]


@pytest.mark.slow
def test_it_runs_without_a_gpu():
    words = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--only", "lanes", "torch"]
    done = subprocess.run(words, cwd=CONF.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No GPU is here: these are the CPU's numbers.\n")
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith(("| letters", "| MNIST"))]
    lanes = [row for row in rows if len(row) == len(gpu.COLUMNS)]
    assert len(lanes) == 4 and all(float(row[-2].replace(",", "")) > 0 for row in lanes)
    assert all(0 < float(row[-1]) < 2 for row in lanes)  # of the product rate; the machine may be busy
