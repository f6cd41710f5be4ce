"""Lanes: experiments of equal structure, stacked, and trained by one program."""

import jax
import numpy as np
from jax import lax


def stack(trees):
    """One tree whose leaves [L, ...] hold those of `trees`, which must be equal in structure."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def lane(tree, index):
    """One lane of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def over_lanes(function, stacked):
    """`function` of one lane as a function of all: its first `stacked` arguments are stacks, the others shared."""

    def program(*arguments):
        return lax.map(lambda one: function(*one, *arguments[stacked:]), arguments[:stacked])

    return program


def compiled(function, stacked, *arguments, donate=()):
    """The program of `function` over lanes, compiled for these arguments; those named in `donate` are given up."""
    return jax.jit(over_lanes(function, stacked), donate_argnums=donate).lower(*arguments).compile()
