"""JAX 0.10: what it documents as unstable or not at all. Imports jax where a function is called, not before."""

from collections.abc import Iterator
from types import FrameType
from typing import Any


def reset_compilation_cache() -> None:
    """Makes JAX forget the folder of compiled programs, so that the next program asks `jax_compilation_cache_dir`.

    jax.experimental.compilation_cache; jax.config.update alone has no effect once a program was looked up there.
    """
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()


def equations(jaxpr: Any) -> Iterator[Any]:
    """Every equation of a jaxpr, those of the jaxprs inside of its equations included.

    jax.extend.core.subjaxprs; jax.make_jaxpr is public, but no walk through what it gives.
    """
    from jax.extend.core import subjaxprs

    yield from jaxpr.eqns
    for inner in subjaxprs(jaxpr):
        yield from equations(inner)


def bytes_limit(device: Any) -> int:
    """Bytes of memory that a device other than a CPU has for this process.

    Device.memory_stats, whose keys are not documented; JAX has no other way to ask.
    """
    return device.memory_stats()["bytes_limit"]


def lack_of_memory(error: Exception) -> str | None:
    """The first line on a device's lack of memory where the exception tells of one, else None.

    From the message of a JaxRuntimeError, because XLA's codes have no classes of their own.
    """
    import jax

    if not isinstance(error, jax.errors.JaxRuntimeError) or "RESOURCE_EXHAUSTED" not in str(error):
        return None
    return str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")


def is_in_garbage_callback(frame: FrameType | None) -> bool:
    """Whether a signal came while JAX's callback of the garbage collector ran, where exceptions are only printed.

    By the callback's name; jax._src.lib registers it with `gc.callbacks`, without a way to switch it off.
    """
    return frame is not None and frame.f_code.co_name == "_xla_gc_callback"
