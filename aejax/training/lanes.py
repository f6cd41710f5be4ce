"""Lanes: experiments of equal structure, stacked, spread over the devices, and trained by one program."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from aejax.base.compilation import compiled
from aejax.compat import jax_compat
from aejax.settings.fields import static_choice, static_int
from aejax.training.mesh import DATA, LANES, collected, mesh_of, put

CACHED = 100_000  # parameters that a CPU's caches hold, with their moments, while lanes train (benchmarks/lanes.py)
PROGRAMS = 32  # that a process keeps


@struct.dataclass
class Lanes:
    """How the experiments of a sweep train together; `max` is the most lanes of a program."""

    how: str = static_choice("auto", "vmap", "map")
    max: int | None = static_int(1, optional=True)

    def settle(self, lanes, parameters):
        """vmap or map, by a rule instead of a timing, so that the same command gives the same bits.

        One lane trains by map, which compiles to the program of that lane alone. More lanes train by vmap on a GPU,
        whatever their size: each kernel then works on all lanes, where map starts it once for each, and a single lane
        fills a small part of a GPU. On a CPU vmap saves dispatch, where caches hold two lanes or more.
        """
        if self.how != "auto":
            return self.how
        if lanes == 1:
            return "map"
        return "vmap" if jax.default_backend() != "cpu" or parameters <= CACHED // 2 else "map"


@dataclasses.dataclass(frozen=True)
class Layout:
    """`count` lanes by `how` (vmap or map) on the first `devices`: by default all, but no more than lanes.

    Devices are the GPUs of this host, or where there is none the CPU as many times as JAX was told.
    Where `data` is above 1, so many devices take the place of each and split the batches of its lanes.
    """

    count: int
    how: str
    devices: int | None = None
    data: int = 1

    def __post_init__(self):
        if self.devices is None:
            object.__setattr__(self, "devices", min(self.count, len(jax.devices()) // self.data))

    @property
    def _mesh(self):
        if self.data > 1:
            return mesh_of(self.devices, self.data)
        return jax.make_mesh(
            (self.devices,), (LANES,), axis_types=(AxisType.Auto,), devices=jax.devices()[: self.devices]
        )

    @property
    def alone(self):
        """The same lanes, each on the first of its devices."""
        return dataclasses.replace(self, data=1)

    def stack(self, trees, examples=None):
        """One tree whose leaves [L, ...] hold those of `trees`, on the devices.

        The last lane is repeated until all devices hold equally many. The axis `examples` of those of a lane is split.
        """
        trees = list(trees) + [trees[-1]] * (-len(trees) % self.devices)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
        return self._put(stacked, self._spread(examples))

    def place(self, shapes, examples=None):
        """The shapes of one lane's arrays, stacked over lanes and spread over the devices, as `stack` does."""
        count, sharding = -(-self.count // self.devices) * self.devices, self._spread(examples)
        return jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct((count, *shape.shape), shape.dtype, sharding=sharding), shapes
        )

    def share(self, tree):
        """A tree that all lanes read, replicated on every device."""
        return self._put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def collected(self, tree):
        """What `stack`, `share` and the programs gave, as the layout `alone` has it; nothing is copied."""
        return tree if self.data == 1 else jax.tree.map(lambda leaf: collected(leaf, self.alone._mesh), tree)

    def _spread(self, examples=None):
        """The sharding of a stack, whose lanes have their examples along the axis `examples`."""
        split = (None,) * examples + (DATA,) if self.data > 1 and examples is not None else ()
        return NamedSharding(self._mesh, PartitionSpec(LANES, *split))

    def _put(self, tree, sharding):
        if self.data == 1:
            return jax.device_put(tree, sharding)
        return jax.tree.map(lambda leaf: put(leaf, sharding), tree)

    def compiled(self, function, stacked, *arguments, how=None, donate=(), parameters=1, **settings):
        """The program of one lane's `function` over all lanes, compiled for these arguments or their shapes.

        The first `stacked` arguments are stacks, the others shared; those in `donate` are donated; `settings` are
        static. The function works on the `parameters` of a lane again and again: vmap takes as many lanes at a time
        as a CPU's caches hold, two at the least. Products are in float32, unless the function names another precision.
        The latest PROGRAMS are kept, so that a process compiles the same one once.
        """
        leaves, tree = jax.tree.flatten(arguments)
        structure = tree, tuple((leaf.shape, leaf.dtype, getattr(leaf, "sharding", None)) for leaf in leaves)
        frozen = tuple(sorted(settings.items()))
        most = max(2, CACHED // parameters) if jax.default_backend() == "cpu" else self.count
        at_once = 1 if (how or self.how) == "map" else most
        program = _program(function, frozen, stacked, len(arguments), at_once, self._mesh, donate, structure)
        return compiled(program, *arguments)


@functools.lru_cache(PROGRAMS)
def _program(function, settings, stacked, count, at_once, mesh, donate, _structure):
    """The jitted program of `count` arguments; JAX keeps what it has compiled of it. One for each structure of theirs,
    so that the oldest can be given up."""

    def program(*arguments):
        return _over(lambda *own: function(*own, *arguments[stacked:], **dict(settings)), arguments[:stacked], at_once)

    per_lane, shared = PartitionSpec(LANES), PartitionSpec()
    specs = tuple(per_lane if place < stacked else shared for place in range(count))
    if DATA not in mesh.axis_names:
        spread = jax.shard_map(program, mesh=mesh, in_specs=specs, out_specs=per_lane, check_vma=False)
        return jax.jit(spread, donate_argnums=donate)
    # The compiler splits over the other axis what `divided` asks for; every device ends with the same State.
    spread = jax.shard_map(program, mesh=mesh, in_specs=specs, out_specs=per_lane, axis_names={LANES}, check_vma=False)
    return jax.jit(spread, donate_argnums=donate, out_shardings=NamedSharding(mesh, per_lane))


def _over(function, stacks, at_once):
    """`function` of every lane of the stacks: by vmap of about so many `at_once`, one such turn after another."""
    if at_once == 1:
        return lax.map(lambda one: function(*one), stacks)
    lanes = len(jax.tree.leaves(stacks)[0])
    turns, size = turns_of(lanes, at_once)
    if turns == 1:
        return jax.vmap(function)(*stacks)

    def cut(leaf):
        last = jnp.repeat(leaf[-1:], turns * size - lanes, axis=0)
        return jnp.concatenate([leaf, last]).reshape(turns, size, *leaf.shape[1:])

    results = lax.map(lambda part: jax.vmap(function)(*part), jax.tree.map(cut, stacks))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:lanes], results)


def turns_of(lanes, at_once):
    """(turns, lanes of a turn): no more than `at_once`, no fewer than about half of that, with the fewest copies."""
    least = -(-lanes // at_once)
    turns = min(range(least, min(2 * least, lanes) + 1), key=lambda turns: turns * -(-lanes // turns))
    return turns, -(-lanes // turns)


def lane(tree, index):
    """One lane of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def cut_evenly(items, cuts):
    """The items in so many parts of nearly equal size."""
    return [items[len(items) * part // cuts : len(items) * (part + 1) // cuts] for part in range(cuts)]


def tree_bytes(tree):
    """Bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def value_bytes(jaxpr):
    """Bytes of every value that a jaxpr computes, including those inside its calls."""
    return tree_bytes([out.aval for equation in jax_compat.equations(jaxpr) for out in equation.outvars])
