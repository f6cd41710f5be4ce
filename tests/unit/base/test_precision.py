"""The precision of products, as it reaches the programs of a GPU; they are traced and lowered here, but not run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import job

from aejax.base.errors import InputError
from aejax.base.precision import PRECISIONS, check_precision, products
from aejax.compat import jax_compat
from aejax.inference.export import stablehlo_file
from aejax.inference.parts import Array, Part
from aejax.runs.preparation import Shared
from aejax.training import step
from aejax.training.lanes import Layout
from aejax.training.plan import groups

TYPES = {"float32": "precision = [HIGHEST, HIGHEST]", "tf32": "lhs_precision_type = tf32, rhs_precision_type = tf32"}
TYPES |= {"bfloat16": "lhs_precision_type = bf16, rhs_precision_type = bf16"}
NETS = [["model=ae"], ["model=vae"], ["model=conv_ae", "data=emoji"], ["model=ae", "net=vit", "data=emoji"]]


@pytest.fixture
def gpu(monkeypatch):
    """JAX says that it runs on a GPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def loss(x, w):
    return jnp.sum((x @ w) ** 2)


def lowered(precision, platform):
    """The StableHLO of the gradient of a product."""
    with products(precision):
        traced = jax.jit(jax.grad(loss, argnums=1)).trace(jnp.ones((4, 8)), jnp.ones((8, 2)))
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpu_is_asked_for_the_precision_in_both_passes(gpu, precision):
    lines = [line for line in lowered(precision, "cuda").splitlines() if "dot_general" in line]
    assert len(lines) == 2 and all(TYPES[precision] in line for line in lines)
    if precision != "float32":
        assert all("accumulation_type = f32" in line for line in lines)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_program_of_a_cpu_stays_as_it_is(precision):
    plain = jax.jit(jax.grad(loss, argnums=1)).lower(jnp.ones((4, 8)), jnp.ones((8, 2))).as_text()
    assert lowered(precision, "cpu") == plain


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_cpu_has_one_precision(precision):
    with pytest.raises(InputError) as caught:
        check_precision(precision)
    assert str(caught.value) == f"precision={precision}: must be float32; a CPU computes in float32"


def test_a_device_that_refuses_an_algorithm_is_told(gpu):
    """A CPU refuses TF32, as an old GPU does."""
    with pytest.raises(InputError, match=r"^precision=tf32: must be float32; cpu has no such products$"):
        check_precision("tf32")


def test_what_trains_elsewhere_is_decided_there():
    Shared(elsewhere=True).check_device(job("precision=tf32"))
    with pytest.raises(InputError, match=r"^precision=tf32: must be float32"):
        Shared().check_device(job("precision=tf32"))


def asked(function, *arguments):
    """The precisions of the products that a function computes, and the names of all that it computes."""
    equations = list(jax_compat.equations(jax.make_jaxpr(function)(*arguments).jaxpr))
    found = {equation.params["precision"] for equation in equations if equation.primitive.name == "dot_general"}
    return found, {equation.primitive.name for equation in equations}


@pytest.mark.parametrize("words", NETS)
def test_all_products_of_a_step_have_the_precision_and_there_are_no_convolutions(gpu, words):
    experiment, data = (each := job(*words, "precision=bfloat16", "net.center=false")).experiment, each.dataset.arrays()
    state = jax.eval_shape(lambda: step.init(experiment, data, 2))
    found, names = asked(lambda state: step.step(experiment, state, data, np.int32(0)), state)
    assert found == {jax.lax.DotAlgorithmPreset.BF16_BF16_F32}
    assert "conv_general_dilated" not in names


def test_the_validation_is_in_float32(gpu):
    experiment, data = (each := job("model=ae", "precision=bfloat16")).experiment, each.dataset.arrays()
    state = jax.eval_shape(lambda: step.init(experiment, data, 2))
    layout = Layout(1, "map", 1)
    validate = lambda own, state, data: step.validation_mse(own, state.params, data)  # noqa: E731
    stacked = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), (experiment, state))
    seen = []

    def traced(own, state, data):
        seen.extend(asked(validate, own, state, data)[0])
        return own.seed

    layout.compiled(traced, 2, *stacked, data)
    assert seen == [(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)]


def test_an_exported_file_computes_in_float32_on_a_gpu():
    array = Array("x", "float32", (8,), "fractions")
    part = Part("encoder", lambda x_BxP: x_BxP @ jnp.ones((8, 2)), (array,), array)
    program = jax.export.deserialize(bytearray(stablehlo_file(part))).mlir_module()
    assert TYPES["float32"] in next(line for line in program.splitlines() if "dot_general" in line)


def test_jobs_of_different_precision_are_different_programs():
    jobs = [job(f"precision={precision}", f"seed={seed}") for precision in ("float32", "tf32") for seed in range(2)]
    assert groups(jobs) == [[0, 1], [2, 3]]
    assert len({each.run_id for each in jobs}) == 4
