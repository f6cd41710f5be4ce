"""The precision of matrix products: what each choice asks of JAX, and where it can be had."""

import contextlib
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp

from aejax.base.errors import InputError

# What a product asks for on an accelerator, where JAX's own default for float32 is TF32 on a GPU. An algorithm is
# computed or refused; the levels of the same names are not: "bfloat16" means TF32 on a GPU (jax-ml/jax#39869).
# A convolution takes levels alone, which costs nothing here: aejax's convolutions are products (decision 5).
ASKED = {"float32": "highest", "tf32": "TF32_TF32_F32", "bfloat16": "BF16_BF16_F32"}
PRECISIONS = tuple(ASKED)


def products(precision: str) -> AbstractContextManager[None]:
    """A context in which products of float32 that name no precision of their own are traced in this one.

    Their inputs are rounded to it, their sums are float32. A CPU computes in float32 whatever it is asked for, and its
    programs stay as they are.
    """
    if jax.default_backend() == "cpu":
        return contextlib.nullcontext()
    return jax.default_matmul_precision(ASKED[precision])


def check_precision(precision: str) -> None:
    """Raises InputError if the device has no products of this precision."""
    if precision == "float32":
        return
    if jax.default_backend() == "cpu":
        raise InputError(f"precision={precision}: must be float32; a CPU computes in float32")
    try:
        with products(precision):
            jax.jit(jnp.matmul).lower(*[jax.ShapeDtypeStruct((16, 16), jnp.float32)] * 2).compile()
    except (jax.errors.JaxRuntimeError, ValueError):  # an older GPU, or one of another maker
        kind = jax.devices()[0].device_kind
        raise InputError(f"precision={precision}: must be float32; {kind} has no such products") from None
