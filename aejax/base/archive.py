"""Named arrays as the bytes of one file, .npz or .safetensors, and back.

The only place where a run's arrays become bytes. Nothing is unpickled, and the size that a file announces is checked
against what it can hold before memory is allocated.
"""

import hashlib
import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

DEFLATED = 1032  # bytes that one byte of a deflated file expands to at most
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
END = struct.Struct("<4s4H2IH")  # of a zip archive: signature, disks, members here, in all, bytes and place of the list
DIRECTORY = 2**20  # bytes that the list of members may have,
MEMBERS = 2000  # and how many it may list
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, RecursionError, MemoryError,
    RuntimeError, OSError, struct.error, tokenize.TokenError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    SafetensorError,
)  # fmt: skip


def contiguous(arrays):
    """The arrays in C order, because safetensors >= 0.8 writes the underlying buffer of a view.

    Raises ValueError for Python objects.
    """
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    objects = [name for name, array in plain.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"{objects[0]} holds Python objects instead of numbers or texts")
    return plain


def digest(arrays):
    """The SHA-256 of {name: array}, as a hash object: names, types, shapes and values, whatever their order."""
    hashed = hashlib.sha256()
    for name, array in sorted(contiguous(arrays).items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return hashed


def npz(arrays):
    """The bytes of an .npz file of {name: array}."""
    data = io.BytesIO()
    np.savez(data, **contiguous(arrays))
    return data.getvalue()


def from_npz(file, packed=False):
    """{name: array} of an open .npz file; raises ValueError if it is damaged or holds less than it announces.

    Only a file that may be `packed` (compressed; a run's files never are) can take more memory than its length.
    """
    try:
        size = file.seek(0, io.SEEK_END)
        if not packed:
            check_members(file, size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.compress_size for member in members) > size:
                raise ValueError(f"its parts are longer than its {size:,} bytes")
            return {member.filename.removesuffix(".npy"): _array(archive, member, packed) for member in members}
    except DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from None


def check_members(file, size):
    """Raises ValueError where a zip archive of `size` bytes lists more members than may be parsed."""
    start = size - END.size
    file.seek(max(0, start - 20))
    tail = file.read()
    if start < 0 or tail[-END.size :][:4] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise ValueError("is not a zip file, or its end is missing")
    if tail[: -END.size].startswith(b"PK\x06\x07") and size < 2**32:  # the list might be anywhere
        raise ValueError("has the form of an archive beyond 4 GiB")
    count, length = END.unpack(tail[-END.size :])[4:6]
    if count > MEMBERS or length > DIRECTORY:
        raise ValueError(f"lists {count:,} members in {length:,} bytes; the most are {MEMBERS:,} and {DIRECTORY:,}")


def _array(archive, member, packed):
    """The array of one member of a zip archive, after a check of its length."""
    growth = {zipfile.ZIP_STORED: 1} | ({zipfile.ZIP_DEFLATED: DEFLATED} if packed else {})
    if member.compress_type not in growth:
        raise ValueError(f"{member.filename} is compressed")
    most = member.compress_size * growth[member.compress_type]
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"{member.filename} is of version {version}")
        shape, _, dtype = HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects")
        announced, held = math.prod(shape) * dtype.itemsize, min(member.file_size, most) - file.tell()
        if announced != held or min(shape, default=0) < 0:
            raise ValueError(f"{member.filename} announces {announced:,} bytes and holds {held:,}")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def tensors(arrays):
    """The bytes of a .safetensors file of {name: array}."""
    return safetensors.save(contiguous(arrays))


def from_tensors(data):
    """{name: array} of a .safetensors file's bytes; raises ValueError if it is damaged."""
    try:
        return safetensors.load(data)
    except DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from None


def differing(arrays, others):
    """The names of arrays that are not bitwise equal in both, or are in only one of them."""
    names = sorted(arrays.keys() | others.keys())
    return [name for name in names if not _same(arrays.get(name), others.get(name))]


def _same(first, second):
    if first is None or second is None:
        return False
    first, second = np.asarray(first), np.asarray(second)
    return (first.shape, first.dtype) == (second.shape, second.dtype) and first.tobytes() == second.tobytes()
