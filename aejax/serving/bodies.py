"""Bodies of requests and answers, in JSON and npy. What they claim is checked before anything is allocated."""

import functools
import gc
import io
import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import orjson
from numpy.lib import format as npy

from aejax.base.errors import InputError

JSON, NPY = "application/json", "application/x-npy"
NPY_TYPES = (NPY, "application/octet-stream")
ARRAYS = ("x", "z")
HEADER = 4096  # bytes that the header of an npy body may have
MOST_AXES = 4


class Refused(InputError):
    """A request that is refused with this HTTP status, in one line."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


def media_type(header: str) -> str:
    """The media type of a Content-Type header, without its parameters."""
    return header.partition(";")[0].strip().lower()


def fields(body: bytes, content_type: str, query: str, array: str | None) -> dict[str, Any]:
    """The fields of a request: those of its query and its JSON, or with an npy body the field `array`; raises Refused.

    A query has texts, of which those of seed and count become numbers and that of sample true or false.
    """
    found = _queried(query)
    if not body:
        return found
    if media_type(content_type) == JSON:
        return found | _json(body)
    if array is None:
        raise Refused(415, f"{media_type(content_type)}: must be {JSON}")
    return found | {array: _npy(body)}


def check_type(content_type: str, has_body: bool, encoding: str) -> None:
    """Raises Refused for a body that is neither JSON nor npy, or that is compressed."""
    if has_body and media_type(content_type) not in (JSON, *NPY_TYPES):
        raise Refused(415, f"content-type {content_type[:80] or 'is missing'}: must be {JSON} or {NPY}")
    if encoding not in ("", "identity"):
        raise Refused(415, f"content-encoding {encoding[:40]}: must be identity")


def wants_npy(accept: str) -> bool:
    """Whether an Accept header asks for npy, by name; raises Refused where it takes neither that nor JSON."""
    types = [media_type(part) for part in accept.split(",")]
    if any(name in NPY_TYPES for name in types):
        return True
    if types != [""] and not {JSON, "application/*", "*/*"}.intersection(types):
        raise Refused(406, f"accept {accept[:80]}: must name {JSON} or {NPY}")
    return False


def npy_bytes(array: np.ndarray) -> bytes:
    """The array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """JSON with numpy arrays as lists; each float32 has the digits that give it back."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _queried(query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8) if query else []
    except ValueError:
        raise Refused(400, "the query must be name=value&name=value, with at most 8 names") from None
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in ARRAYS:
            raise Refused(400, f"{name}: must be in the body, not in the query")
        if name in ("seed", "count") and text.isascii() and text.isdigit() and len(text) < 20:
            found[name] = int(text)
        elif name == "sample" and text in ("true", "false"):
            found[name] = text == "true"
        else:
            found[name] = text
    return found


def _json(body: bytes) -> dict[str, Any]:
    try:
        gc.disable()  # millions of new lists would be searched for circles, which JSON has not
        content = orjson.loads(body)
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {str(error)[:100]}") from None
    finally:
        gc.enable()
    if not isinstance(content, dict):
        raise Refused(400, 'the body must be a JSON object, such as {"x": […]}')
    dtype = content.pop("dtype", None)
    if dtype not in (None, "uint8", "float32"):
        raise Refused(422, f"dtype={str(dtype)[:40]}: must be uint8 or float32")
    for name in ARRAYS:
        if name in content:
            content[name] = _array(name, content[name], dtype)
    return content


def _array(name: str, values: Any, dtype: str | None) -> np.ndarray:
    if not isinstance(values, list) or not _are_numbers(values, MOST_AXES):
        raise Refused(422, f"{name}: must be nested lists of numbers, at most {MOST_AXES} deep")
    try:
        array = np.asarray(values)
    except ValueError:
        raise Refused(422, f"{name}: rows of different lengths; must be an array of numbers") from None
    if dtype == "uint8" and array.dtype.kind in "iu" and array.size and 0 <= array.min() <= array.max() <= 255:
        return array.astype(np.uint8)
    if dtype == "uint8" and array.size:
        raise Refused(422, f"{name}: must be whole numbers from 0 to 255 with dtype uint8")
    return array if dtype is None else array.astype(np.float64)


def _are_numbers(values: list[Any], axes: int) -> bool:
    """Whether the leaves of nested lists are numbers: numpy would make all texts as wide as the longest."""
    for _ in range(axes):
        types = set(map(type, values))
        if types <= {int, float}:
            return bool(values)
        if types != {list}:
            return False
        values = list(itertools.chain.from_iterable(values))
    return False


def _npy(body: bytes) -> np.ndarray:
    """The array of a .npy file, a view of its bytes."""
    start = {1: 10, 2: 12}.get(body[6] if len(body) > 12 else 0, 0)
    start += int.from_bytes(body[8:start], "little") if start else 0
    if not start or start > HEADER or not body.startswith(npy.MAGIC_PREFIX):
        raise Refused(400, f"the body is not npy of version 1 or 2 with a header of at most {HEADER:,} bytes")
    shape, is_fortran, dtype = _npy_header(body[:start])
    if dtype.hasobject or dtype.kind not in "biuf":
        raise Refused(422, f"npy of dtype {str(dtype)[:40]}: must be numbers")
    if len(shape) > MOST_AXES or not all(type(size) is int and 0 <= size < 2**32 for size in shape):
        raise Refused(422, f"npy of shape {str(list(shape))[:80]}: must have at most {MOST_AXES} axes")
    size, given = math.prod(shape) * dtype.itemsize, len(body) - start
    if size != given:
        raise Refused(400, f"npy of shape {list(shape)} and dtype {dtype}: must hold {size:,} bytes, holds {given:,}")
    flat = np.frombuffer(body, dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


@functools.lru_cache(256)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, the order and the type that the header of a .npy file claims."""
    file = io.BytesIO(header)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 has written, or with odd escapes
            return read(file, max_header_size=HEADER)
    except Exception:  # whatever a header does to numpy's parser
        raise Refused(400, "the header of the npy cannot be read") from None
