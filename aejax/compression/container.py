"""The file: a header, tables of the quantizer, the payload of the range coder, and a checksum of it all.

    8 bytes     magic
    HEAD        version, flags, kind, content, type, run, model, count, units, reach, base, checksum, lengths
    4 bytes     for each axis of an example, its length
    name        of the run, UTF-8
    tables      2 bytes for each unit: quarters of its step and of its scale; 5 bytes: weights of neighbors
    payload     words of 4 bytes, then as many zeros as the limit on VALUES_A_BYTE asks for
    4 bytes     CRC-32 of all before

All numbers are little-endian.
"""

import dataclasses
import itertools
import math
import struct
import zlib
from typing import Self

import numpy as np

from aejax.base.errors import InputError

MAGIC = b"\x93AEJAX\r\n"
VERSION = 1
HEAD = struct.Struct("<BBBBB8s8sIIIfIBBII")
KINDS = ("binary", "gray", "rgb", "real")
CONTENTS = ("bits", "bytes", "floats")
TYPES = ("uint8", "float32", "float64")
FLAGS = ("lossless", "predicts", "single", "discrete", "labels")
VALUES_A_BYTE = 4096  # values of examples and codes that one byte of a file can stand for at most
MOST_VALUES = 2**26  # of the examples of a file and their codes
MOST_REACH = 2**20


@dataclasses.dataclass(frozen=True)
class File:
    """What a compressed file says; `shape` is that of one example, `tables` are those of the quantizer."""

    run: bytes  # 8 bytes each
    model: bytes
    name: str
    kind: str
    shape: tuple[int, ...]
    count: int
    units: int  # numbers of an example's code
    content: str
    type: str
    flags: frozenset[str]
    reach: int  # largest number of a step, or index of a position
    base: float
    checksum: int  # `checked` of the examples where they are lossless, of the labels and numbers otherwise
    tables: bytes
    payload: bytes

    @property
    def values(self) -> int:
        """How many values the examples and their codes have."""
        return self.count * (self.units + math.prod(self.shape))

    @property
    def head(self) -> bytes:
        """All before the payload."""
        name = self.name.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
        flags = sum(1 << place for place, flag in enumerate(FLAGS) if flag in self.flags)
        head = HEAD.pack(
            VERSION, flags, KINDS.index(self.kind), CONTENTS.index(self.content), TYPES.index(self.type), self.run,
            self.model, self.count, self.units, self.reach, self.base, self.checksum,
            len(self.shape), len(name), len(self.tables), len(self.payload),
        )  # fmt: skip
        return b"".join([MAGIC, head, struct.pack(f"<{len(self.shape)}I", *self.shape), name, self.tables])

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        whole = self.head + self.payload
        whole += bytes(max(0, -(-self.values // VALUES_A_BYTE) - len(whole) - 4))
        return whole + struct.pack("<I", zlib.crc32(whole))

    def checked(self, *arrays: np.ndarray | None) -> int:
        """The CRC-32 of all before the payload but the checksum, and of arrays in C order, little-endian."""
        value = zlib.crc32(dataclasses.replace(self, checksum=0, payload=b"").head)
        for array in arrays:
            if array is not None:
                value = zlib.crc32(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data, value)
        return value

    @classmethod
    def read(cls, data: bytes) -> Self:
        """What the bytes of a file say; raises InputError unless they are a whole and undamaged one.

        Sizes are checked against the length of the data; nothing is decoded.
        """
        data = bytes(data)
        if data[: len(MAGIC)] != MAGIC:
            raise InputError("file: is none that aejax has compressed")
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise InputError(f"file: of format {data[len(MAGIC)]}; this version of aejax reads format {VERSION}")
        if len(data) < len(MAGIC) + HEAD.size + 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise InputError("file: damaged or cut off; its checksum does not fit")
        fields = HEAD.unpack_from(data, len(MAGIC))
        _, bits, kind, content, type_, run, model, count, units, reach, base, checksum, axes, *lengths = fields
        start = len(MAGIC) + HEAD.size + 4 * axes
        ends = np.cumsum([start, *lengths]).tolist()
        known = kind < len(KINDS) and content < len(CONTENTS) and type_ < len(TYPES) and bits < 1 << len(FLAGS)
        if not known or axes not in (1, 3) or ends[-1] > len(data) - 4 or lengths[2] % 4 or any(data[ends[-1] : -4]):
            raise InputError("file: damaged; its parts do not fit its length")
        shape = struct.unpack_from(f"<{axes}I", data, start - 4 * axes)
        values = count * (units + math.prod(shape))
        if not (units and math.prod(shape) and 0 < values <= min(MOST_VALUES, VALUES_A_BYTE * len(data))):
            raise InputError(f"file: damaged; {len(data):,} bytes cannot hold {count:,} examples of {list(shape)}")
        if reach > MOST_REACH or not (math.isfinite(base) and base > 0):
            raise InputError("file: damaged; its quantizer is none")
        parts = [data[first:last] for first, last in itertools.pairwise(ends)]
        return cls(
            run=run, model=model, name=parts[0].decode("utf-8", "replace"), kind=KINDS[kind], shape=shape, count=count,
            units=units, content=CONTENTS[content], type=TYPES[type_], reach=reach, base=base, checksum=checksum,
            tables=parts[1], payload=parts[2],
            flags=frozenset(flag for place, flag in enumerate(FLAGS) if bits >> place & 1),
        )  # fmt: skip
