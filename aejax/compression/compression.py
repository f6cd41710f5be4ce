"""Examples to the bytes of a file and back, by the codes of a trained model."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from aejax.base.archive import digest
from aejax.base.errors import InputError
from aejax.base.nested import dotted
from aejax.compression import codes, rates, residuals
from aejax.compression.codes import FARTHEST, Predictor, Quantizer
from aejax.compression.coding import Coder, Meter, Reader, Writer, constriction, digits
from aejax.compression.container import MOST_VALUES, File
from aejax.compression.contents import Content, as_images, lossy, typed
from aejax.compression.rates import Source
from aejax.inference.trained import Trained

VALUES = 2**22  # of examples that are decoded at a time
OTHER_MACHINE = (
    "file: its examples do not come back bit by bit; it was written on another kind of machine, or by other versions "
    "of libraries, whose reconstructions differ"
)
WEIGHTS = len(residuals.NEIGHBORS)


def compress(run: Trained, x: Any, lossless: bool = False, bits: float | None = None, label: Any = None) -> bytes:
    """The bytes of a file that holds examples as the quantized, entropy-coded codes of a model.

    The steps of the quantizer follow from `x`: they are the coarsest with which the squared error of the
    reconstructions rises by no more than 5 %; with `bits`, the finest with which the file has no more than so many bits
    a pixel. If `lossless`, they make the file smallest, and it also holds what the reconstructions lack. Discrete codes
    are stored as they are. Conditional models need the `label` of each example, which is stored too; one with a
    classifier infers those that are not given.

    Raises InputError where examples or settings do not fit.
    """
    constriction()
    rows = run.examples.rows(x)
    content = Content.of(x, run.examples, lossless)
    form, bottleneck = run.experiment.form, run.experiment.model.bottleneck
    units = run.positions if bottleneck.is_discrete else run.latent_dim
    if len(rows) * (form.pixels + units) > MOST_VALUES:
        most = MOST_VALUES // (form.pixels + units)
        raise InputError(f"x: {len(rows):,} examples; a file holds at most {most:,} of these")
    if bits is not None and not 0 < bits < np.inf:
        raise InputError(f"bits={bits}: must be above 0 and finite")
    if bits is not None and (lossless or bottleneck.is_discrete):
        raise InputError(f"bits={bits}: {'lossless' if lossless else 'a discrete code'} leaves no choice of the rate")
    labels = run.labels_of(rows, label)
    fields = {
        "run": _id(run), "model": fingerprint(run), "name": str(run.run.record.get("name", "")), "kind": form.kind,
        "shape": form.shape, "count": len(rows), "units": units, "content": content.form, "type": content.type,
    }  # fmt: skip
    flags = {"lossless"} if lossless else set()
    flags |= ({"single"} if rows.single else set()) | (set() if labels is None else {"labels"})

    def bare(tables: int) -> File:
        return File(**fields, flags=frozenset(), reach=0, base=1.0, checksum=0, tables=bytes(tables), payload=b"")

    tables, base = b"", 1.0
    if bottleneck.is_discrete:
        numbers = run.indices(x, labels).reshape(len(rows), -1)
        z, reach, flags = run.vectors(numbers), int(numbers.max()), flags | {"discrete"}
    else:
        z = run.encode(x, labels).reshape(len(rows), -1)
        source = Source(content, z, lambda z, chosen: decoded(run, z, None if labels is None else labels[chosen]))
        predictor = Predictor.of(run.run.codes["z"])
        if lossless:
            quantizer = rates.smallest(source, predictor)
        elif bits is None:
            quantizer = rates.nearly_as_good(source, predictor)
        else:
            budget = bits * len(rows) * form.pixels / form.channels
            header = 8 * len(bare(2 * units).data) + _label_bits(run, labels)
            quantizer = rates.within(source, predictor, budget - header)
        numbers = quantizer.numbers(z)
        z, reach, base = quantizer.codes(numbers), codes.reach_of(numbers), quantizer.base
        flags |= {"predicts"} if quantizer.predicts else set()
        tables = quantizer.quarter_Z.tobytes() + codes.scales(numbers).tobytes()
    if lossless:
        expected = _images(run, lambda part: z[part], labels, content, True)
        if content.form == "bytes":
            tables += residuals.settings_of(content.values, expected)
    file = dataclasses.replace(bare(0), flags=frozenset(flags), reach=reach, base=base, tables=tables)
    checksum = file.checked(content.values) if lossless else file.checked(labels, numbers)
    writer = Writer()
    _code(writer, file, run, numbers, labels)
    if lossless:
        _code_rest(writer, file, content.values, expected)
    return dataclasses.replace(file, checksum=checksum, payload=writer.payload).data


def decompress(run: Trained, data: bytes) -> np.ndarray:
    """The examples of a compressed file, in the type in which they went in; floats come back as float32.

    Raises InputError where the file is damaged, is of another run or version, or, of one that is lossless, where this
    machine computes other reconstructions than the one that wrote it, so that the examples would not be the same.
    """
    file = File.read(data)
    _check(file, run)
    shape = as_images(np.empty((1, *file.shape))).shape[1:]
    none = Content(_unknown((file.count, *shape), "f4" if file.content == "floats" else "u1"), file.content, file.type)
    reader, label = Reader(file.payload), _unknown((file.count,), "i4") if "labels" in file.flags else None
    numbers, labels = _code(reader, file, run, _unknown((file.count, file.units), "i4"), label)
    if "lossless" not in file.flags and file.checked(labels, numbers) != file.checksum:
        raise InputError("file: damaged; its codes are not those that were written")
    predictor = Predictor.of(run.run.codes["z"])
    values = _images(
        run, lambda part: _codes(file, run, predictor, numbers[part]), labels, none, "lossless" in file.flags
    )
    if "lossless" in file.flags:
        try:
            values = _code_rest(reader, file, none.values, values)
        except InputError:  # other reconstructions may also leave nothing to read
            raise InputError(OTHER_MACHINE) from None
        if file.checked(values) != file.checksum:
            raise InputError(OTHER_MACHINE)
    examples = typed(values, file.content, file.type).reshape(file.count, *file.shape)
    return examples[0] if "single" in file.flags else examples


def decoded(run: Trained, z_NxZ: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The mean images of codes, [N, H, W, C] float32, the same bits in every batch."""
    return as_images(run.decode(z_NxZ, labels))


def _images(
    run: Trained, z: Callable[[slice], np.ndarray], labels: np.ndarray | None, content: Content, lossless: bool
) -> np.ndarray:
    """The mean images of codes, part by part, in the form of this content: bits if not `lossless`, otherwise bytes."""
    values = np.empty(content.values.shape, content.values.dtype)
    rows = max(1, VALUES // max(values[0].size, run.latent_dim))
    for start in range(0, len(values), rows):
        part = slice(start, start + rows)
        images = decoded(run, z(part), None if labels is None else labels[part])
        if not np.isfinite(images).all():
            raise InputError("file: damaged; its codes have no reconstruction")
        values[part] = lossy(images, "bytes" if lossless and content.form == "bits" else content.form)
    return values


def _unknown(shape: tuple[int, ...], type_: str) -> np.ndarray:
    """An array that says how much is to be read; takes no memory."""
    return np.broadcast_to(np.zeros((), type_), shape)


def fingerprint(run: Trained) -> bytes:
    """8 bytes that identify what decodes a file: the run, its parameters, and its test codes."""
    hashed = digest(dict(dotted(run.params)) | {"codes": run.run.codes["z"]})
    hashed.update(str(run.run.record.get("id")).encode())
    return hashed.digest()[:8]


def _id(run: Trained) -> bytes:
    return hashlib.sha256(str(run.run.record.get("id")).encode()).digest()[:8]


def _check(file: File, run: Trained) -> None:
    """Raises InputError unless the file was compressed with this run."""
    if file.run != _id(run):
        raise InputError(f"file: was compressed with another run, {file.name or 'without a name'}, not {run.run.title}")
    if file.model != fingerprint(run):
        raise InputError(f"file: was compressed with other parameters of {run.run.title}")
    form, bottleneck, flags = run.experiment.form, run.experiment.model.bottleneck, file.flags
    tables = len(file.tables) - (0 if bottleneck.is_discrete else 2 * run.latent_dim)
    fits = (
        (file.shape, file.kind) == (form.shape, form.kind),
        file.units == (run.positions if bottleneck.is_discrete else run.latent_dim),
        ("discrete" in flags, "labels" in flags) == (bottleneck.is_discrete, run.experiment.model.is_conditional),
        WEIGHTS <= tables <= WEIGHTS + 256 if "lossless" in flags and file.content == "bytes" else tables == 0,
        bottleneck.is_discrete or file.reach <= FARTHEST,
        not ("single" in flags and file.count > 1),
    )
    if not all(fits):
        raise InputError(f"file: damaged; it does not fit the data of {run.run.title}")


def _code(
    coder: Coder, file: File, run: Trained, numbers: np.ndarray, labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes labels, where there are some, and numbers [N, units]."""
    if labels is not None:
        labels = digits(coder, labels, run.experiment.form.classes - 1)
    if "discrete" in file.flags:
        return np.stack([digits(coder, position, file.reach) for position in numbers.T], axis=1), labels
    return codes.coded(
        coder, numbers, file.reach, np.frombuffer(file.tables, np.int8)[file.units : 2 * file.units]
    ), labels


def _code_rest(coder: Coder, file: File, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Codes stored values [N, H, W, C] given their reconstructions."""
    if file.content == "floats":
        return residuals.coded_floats(coder, values, expected)
    if file.content == "bits":
        return residuals.coded_bits(coder, values, expected)
    return residuals.coded_bytes(
        coder, values, expected, file.tables[2 * file.units * ("discrete" not in file.flags) :]
    )


def _codes(file: File, run: Trained, predictor: Predictor, numbers: np.ndarray) -> np.ndarray:
    """The codes of numbers; raises InputError where they are not finite."""
    if "discrete" in file.flags:
        return run.vectors(numbers)
    quarters = np.frombuffer(file.tables, np.int8)[: file.units]
    with np.errstate(over="ignore", invalid="ignore"):
        z = Quantizer(predictor, "predicts" in file.flags, file.base, quarters).codes(numbers)
    if not np.isfinite(z).all():
        raise InputError("file: damaged; its codes are not finite")
    return z


def _label_bits(run: Trained, labels: np.ndarray | None) -> float:
    meter = Meter()
    if labels is not None:
        digits(meter, labels, run.experiment.form.classes - 1)
    return meter.bits
