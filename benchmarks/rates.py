"""What a device can do at most: FLOP/s of a matrix product, by precision, and bytes a second of an addition.

python -m benchmarks.rates       a few seconds
"""

import json
import subprocess
import sys

from benchmarks.timing import median_seconds

SIDES = {"cpu": 2048, "gpu": 8192}  # of a product
FLOATS = {"cpu": 2**25, "gpu": 2**29}  # that are read and written by an addition, several times what caches hold
REPEATS = 10
APART = """
import json, sys
from benchmarks import rates
small = json.loads(sys.argv[1])
product = rates.product_rate("float32", 512 if small else None)
print(json.dumps({"product": product, "memory": rates.memory_rate(2**20 if small else None)}))
"""


def main():
    """Prints the rates of the first device."""
    from aejax.base.precision import PRECISIONS

    for precision in PRECISIONS:
        rate = product_rate(precision)
        print(f"product, {precision}: {'–' if rate is None else f'{rate / 1e9:,.0f} GFLOP/s'}")
    print(f"memory: {memory_rate() / 1e9:,.0f} GB/s")


def measured_apart(small=False):
    """The rates of products in float32 and of memory, {"product": FLOP/s, "memory": bytes/s}, from a new process."""
    words = [sys.executable, "-c", APART, json.dumps(small)]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def product_rate(precision, side=None):
    """FLOP/s of a product of square matrices; None where the device has none of this `precision`."""
    from aejax.base.errors import InputError
    from aejax.base.precision import check_precision

    try:
        check_precision(precision)
    except InputError:
        return None
    multiply, operations = product(precision, side)
    return operations / median_seconds(multiply, REPEATS)


def product(precision="float32", side=None):
    """A call that multiplies two square matrices, and its floating-point operations."""
    import jax
    import jax.numpy as jnp

    from aejax.base.precision import products

    side = side or SIDES.get(jax.default_backend(), SIDES["gpu"])
    x = jax.random.normal(jax.random.key(0), (side, side))
    with products(precision):
        multiply = jax.jit(jnp.matmul).lower(x, x).compile()
    return lambda: jax.block_until_ready(multiply(x, x)), 2 * side**3


def memory_rate(floats=None):
    """Bytes a second that an addition of 1 reads and writes."""
    add, moved = addition(floats)
    return moved / median_seconds(add, REPEATS)


def addition(floats=None, times=1):
    """A call that adds 1 to an array so many times, one after another, and the bytes that it reads and writes.

    In place: an array that is new at each call would cost the pages that the system hands out.
    """
    import jax
    import jax.numpy as jnp

    floats = floats or FLOATS.get(jax.default_backend(), FLOATS["gpu"])
    held = [jnp.zeros(floats)]
    add = jax.jit(lambda x: jax.lax.fori_loop(0, times, lambda _, x: x + 1, x), donate_argnums=0)

    def call():
        held[0] = jax.block_until_ready(add(held[0]))

    return call, 2 * 4 * floats * times


if __name__ == "__main__":
    main()
