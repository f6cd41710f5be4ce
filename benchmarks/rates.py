"""What a device can do at most: FLOP/s of a matrix product, by precision, and bytes a second of an addition.

python -m benchmarks.rates       a few seconds
"""

import statistics
import time

SIDES = {"cpu": 2048, "gpu": 8192}  # of a product
FLOATS = {"cpu": 2**25, "gpu": 2**29}  # that are read and written by an addition, several times what caches hold
REPEATS = 10


def main():
    """Prints the rates of the first device."""
    from aejax.base.precision import PRECISIONS

    for precision in PRECISIONS:
        rate = product_rate(precision)
        print(f"product, {precision}: {'–' if rate is None else f'{rate / 1e9:,.0f} GFLOP/s'}")
    print(f"memory: {memory_rate() / 1e9:,.0f} GB/s")


def product_rate(precision, side=None):
    """FLOP/s of a product of square matrices; None where the device has none of this `precision`."""
    import jax
    import jax.numpy as jnp

    from aejax.base.errors import InputError
    from aejax.base.precision import check_precision, products

    try:
        check_precision(precision)
    except InputError:
        return None
    side = side or SIDES.get(jax.default_backend(), SIDES["gpu"])
    x = jax.random.normal(jax.random.key(0), (side, side))
    with products(precision):
        multiply = jax.jit(jnp.matmul).lower(x, x).compile()
    return 2 * side**3 / median_seconds(lambda: jax.block_until_ready(multiply(x, x)))


def memory_rate(floats=None):
    """Bytes a second that an addition of 1 reads and writes."""
    import jax
    import jax.numpy as jnp

    floats = floats or FLOATS.get(jax.default_backend(), FLOATS["gpu"])
    x, add = jnp.zeros(floats), jax.jit(lambda x: x + 1)
    return 2 * 4 * floats / median_seconds(lambda: jax.block_until_ready(add(x)))


def median_seconds(call, repeats=REPEATS):
    """The median of the seconds that a call takes, after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
