"""How programs are compiled."""

import os
from typing import Any

import jax

from aejax.base.precision import products

# Of LLVM on a CPU. Programs of level 1 are as fast as those of XLA's own 3, and compiled in three quarters of the time
# (decision 47).
LEVEL, CHOSEN = "xla_backend_optimization_level", 1


def compiled(jitted: Any, *arguments: Any) -> Any:
    """The program of a jitted function for these arguments or their shapes.

    Products are in float32, unless the function names another precision. XLA_FLAGS may choose another level.
    """
    is_ours = jax.default_backend() == "cpu" and LEVEL not in os.environ.get("XLA_FLAGS", "")
    with products("float32"):
        return jitted.lower(*arguments).compile({LEVEL: CHOSEN} if is_ours else None)
