"""Parts of a model as ONNX files (extra `onnx`), each run by ONNX Runtime before it is handed over."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aejax.base.errors import InputError
from aejax.compat import jax_compat
from aejax.inference.parts import Part

BATCHES = (1, 3)  # examples that a file is tried with
RELATIVE, ABSOLUTE = 1e-3, 1e-4  # by how much results of the two may differ; the latter as a share of the largest value


def onnx_file(part: Part, examples: tuple[np.ndarray, ...]) -> bytes:
    """The ONNX file of a part with a free batch size, in which its parameters are constants.

    It is run on the first of these `examples`, and must give what the part gives. Raises InputError where a part cannot
    be converted.
    """
    import onnxruntime
    from jax2onnx import to_onnx

    (batch,) = jax.export.symbolic_shape("B")
    inputs = [jax.ShapeDtypeStruct((batch, *array.shape), array.dtype) for array in part.inputs]
    names = {"input_names": [array.name for array in part.inputs], "output_names": [part.output.name]}
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of every value whose type it infers later
    try:
        with warnings.catch_warnings(action="ignore"):
            # Traced here: jax2onnx traces with functions of its own in place of JAX's, which flax cannot work with.
            traced = jax.make_jaxpr(part.function)(*inputs)

            def converted(*arrays: Any) -> Any:
                return jax_compat.evaluated(traced, arrays, OTHERWISE)[0]

            model = to_onnx(converted, inputs, model_name=part.name, **names).SerializeToString()
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # fatal: what fails is said below
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            for count in BATCHES:
                _check(session, part, [array[:count] for array in examples])
    except Exception as error:  # of any kind: the converter has no exceptions of its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--to onnx: jax2onnx cannot convert this {part.name} ({reason}); use stablehlo") from error
    finally:
        logger.setLevel(level)
    return model


def _check(session: Any, part: Part, inputs: list[np.ndarray]) -> None:
    expected = np.asarray(part.function(*inputs))
    names = [array.name for array in part.inputs]
    (result,) = session.run(None, dict(zip(names, inputs, strict=True)))
    if not np.allclose(result, expected, rtol=RELATIVE, atol=ABSOLUTE * np.abs(expected).max()):
        raise ValueError(f"its numbers differ by up to {np.abs(result - expected).max():.2g} from those of the model")


def _padded(x: Any, value: Any, padding_config: Any) -> Any:
    """`lax.pad` as a concatenation: the converter's fails where a dimension is free."""
    for axis, (before, after, between) in enumerate(padding_config):
        if min(before, after) < 0 or between:
            return jax.lax.pad(x, value, padding_config)
        shapes = ((*x.shape[:axis], count, *x.shape[axis + 1 :]) for count in (before, after))
        low, high = (jnp.broadcast_to(value, shape) for shape in shapes)
        x = jnp.concatenate([low, x, high] if before or after else [x], axis=axis)
    return x


def _remainder(x: Any, y: Any) -> Any:
    """`lax.rem` by a division, for the same reason."""
    return x - jax.lax.div(x, y) * y


OTHERWISE: dict[str, Callable[..., Any]] = {"pad": _padded, "rem": _remainder}
