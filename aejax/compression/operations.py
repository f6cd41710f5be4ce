"""Compression as operations of `python -m aejax.apply`: from files of examples to compressed files, and back."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aejax.base.errors import InputError
from aejax.inference.files.reading import READABLE, STREAM
from aejax.inference.files.writing import Result
from aejax.inference.operations import IMAGES, Operation, given_in, labels_of, named

if TYPE_CHECKING:
    from aejax.inference.trained import Trained

ENDING = ".aec"  # of a compressed file
MOST_BYTES = 2**30


def compress(run: "Trained", paths: list[str], options: Any) -> bytes:
    """The bytes of a compressed file; says what it is worth."""
    from aejax.compression.compression import compress
    from aejax.compression.report import lines, report

    given = given_in(run, paths[0], options, "x")
    label = labels_of(run, options, given)
    data = named(given, lambda: compress(run, given.values, bool(options.lossless), options.bits, label))
    for line in lines(report(run, given.values, data)):
        options.say(line)
    return data


def decompress(run: "Trained", paths: list[str], options: Any) -> Result:
    """The examples of a compressed file."""
    from aejax.compression.compression import decompress

    source = paths[0]
    with contextlib.nullcontext(sys.stdin.buffer) if source == STREAM else Path(source).expanduser().open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InputError(f"{source}: has more than {MOST_BYTES:,} bytes")
    try:
        x = decompress(run, data)
    except InputError as error:
        raise InputError(f"{source}: {str(error).removeprefix('file: ')}") from None
    return Result({"x": x}, run.examples.is_single(x.shape))


OPERATIONS = {
    "compress": Operation(
        compress, endings=(ENDING,), readable=READABLE, options=("label", "rows", "resize", "lossless", "bits")
    ),
    "decompress": Operation(decompress, endings=IMAGES, readable=(ENDING,), options=("scale",)),
}
