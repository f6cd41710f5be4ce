"""What one step of a training sees."""

import jax
from flax import struct


@struct.dataclass
class Batch:
    """Examples as the encoder gets them, `input` [B, P], as they are, `target` [B, P], and their labels [B] or None."""

    input: jax.Array
    target: jax.Array
    label: jax.Array | None = None
