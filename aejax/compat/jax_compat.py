"""JAX 0.10: what it documents as unstable or not at all. Imports jax where a function is called, not before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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


def evaluated(closed: Any, inputs: Sequence[Any], otherwise: Mapping[str, Callable[..., Any]]) -> list[Any]:
    """What a closed jaxpr gives for these inputs, with the functions of `otherwise` in place of primitives by name.

    They take the operands and the parameters of an equation. jax.extend.core.Literal, Primitive.get_bind_params, and
    the name and parameters of the primitive jit; jax.extend.core.jaxpr_as_fun is public, but replaces nothing.
    """
    from jax.extend.core import Literal

    jaxpr = closed.jaxpr
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *inputs), strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands, primitive, params = (
            [read(variable) for variable in equation.invars],
            equation.primitive,
            equation.params,
        )
        if primitive.name in otherwise:
            outputs = otherwise[primitive.name](*operands, **params)
        elif primitive.name == "jit":
            outputs = evaluated(params["jaxpr"], operands, otherwise)
        else:
            outputs = primitive.bind(*operands, **primitive.get_bind_params(params))
        values.update(zip(equation.outvars, outputs if isinstance(outputs, list | tuple) else [outputs], strict=True))
    return [read(variable) for variable in jaxpr.outvars]


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


def join(address: str | None, count: int, number: int | None, seconds: int) -> None:
    """Meets the other processes at `address`, where only process 0 listens; those that do not come are waited for.

    The option jax_enable_preemption_service, which is not documented: the service takes SIGTERM for itself.
    """
    import jax

    jax.config.update("jax_enable_preemption_service", False)
    told = None if None in (address, number) else "deactivate"  # what detects a cluster may ask a network
    jax.distributed.initialize(
        address,
        count,
        number,
        cluster_detection_method=told,
        initialization_timeout=seconds,
        coordinator_bind_address=address,
    )


def gathered(values: Any) -> Any:
    """The array of every process, stacked on the host. jax.experimental.multihost_utils."""
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(values)


def broadcast(values: Any) -> Any:
    """The array of process 0, on the host. jax.experimental.multihost_utils."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return broadcast_one_to_all(values)


def lost_process(error: BaseException) -> str | None:
    """The first line on a lost connection where the exception tells of one, else None.

    From the message, by the library that connects processes; JAX makes a ValueError or a JaxRuntimeError of it.
    """
    import jax

    if type(error) not in (ValueError, jax.errors.JaxRuntimeError):
        return None
    line = (str(error).splitlines() or [""])[0]
    return line if any(word in line for word in ("Gloo", "NCCL", "onnection", "UNAVAILABLE")) else None
