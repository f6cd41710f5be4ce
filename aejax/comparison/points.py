"""The codes of a run as points of a chart."""

import io
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np

from aejax.base.files import octets
from aejax.comparison.plain import plain
from aejax.comparison.reading import FAULTS
from aejax.runs import contents

MOST_BYTES = 2**30  # of codes.npz, and of each array in it
PARSING = threading.Lock()  # read_array parses a header by ast, which may fail in two threads at once (CPython 3.11)
UNREADABLE = (*FAULTS, EOFError, NotImplementedError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def points(path, most):
    """At most `most` codes of the run in `path`, spread evenly, in two dimensions; and the error in reading, or None.

    {"points": [[x, y, class name], …], "of": the number of all codes, "axes": two titles, "classes": class names}.
    More than two units are projected onto their principal plane. Absent codes are None, without a reason.
    """
    try:
        codes = _read(Path(path) / "codes.npz")
        return drawn(codes["z"], codes.get("y"), _names(path), most), None
    except FileNotFoundError:
        return None, None
    except UNREADABLE as error:
        text = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        return None, plain(text.splitlines()[0])[:200]


def _read(path):
    """The arrays of a codes.npz by name; raises one of UNREADABLE."""
    with zipfile.ZipFile(io.BytesIO(octets(path, MOST_BYTES))) as file:
        if any(member.file_size > MOST_BYTES for member in file.infolist()):
            raise ValueError("holds an array that is too large")
        names = [name for name in ("z", "y") if f"{name}.npy" in file.namelist()]
        files = {name: io.BytesIO(file.read(f"{name}.npy")) for name in names}
    with PARSING:
        return {name: np.lib.format.read_array(content, allow_pickle=False) for name, content in files.items()}


def _names(path):
    """The class names in order, from run.json; empty if it has none."""
    try:
        class_errors = contents.record(Path(path) / "run.json")["evaluation"]["class_sse"]
        return [plain(name) for name in class_errors] if isinstance(class_errors, dict) else []
    except FAULTS:
        return []


def drawn(z_NxZ, y_N, names, most):
    """The points of codes z [N, Z] and labels y [N] or None; None if no code is finite. Raises ValueError."""
    if z_NxZ.ndim != 2 or not z_NxZ.shape[1] or z_NxZ.dtype.kind not in "fiu":
        raise ValueError(f"z is {z_NxZ.dtype} of shape {list(z_NxZ.shape)}; must be numbers [N, units]")
    if y_N is not None and (y_N.shape != z_NxZ.shape[:1] or y_N.dtype.kind not in "iu"):
        raise ValueError(f"y is {y_N.dtype} of shape {list(y_N.shape)}; must be whole numbers [{len(z_NxZ)}]")
    z_NxZ = z_NxZ.astype(float)
    keep = np.flatnonzero((np.abs(z_NxZ) < 1e30).all(axis=1))
    keep = keep[np.linspace(0, len(keep) - 1, min(most, len(keep))).astype(int)] if len(keep) else keep
    if not len(keep):
        return None
    whole, (z_NxZ, y_N) = len(z_NxZ), (z_NxZ[keep], None if y_N is None else y_N[keep])
    axes = ["code unit 1", "code unit 2"]
    if z_NxZ.shape[1] > 2:
        centered = z_NxZ - z_NxZ.mean(axis=0)
        _, scale_K, directions = np.linalg.svd(centered, full_matrices=False)
        share_K = scale_K**2 / max(float(np.sum(scale_K**2)), 1e-300)
        z_NxZ = np.column_stack([centered @ directions[:2].T, np.zeros(len(centered))])[:, :2]
        axes = [f"principal component {k + 1} ({share_K[k]:.0%})" if k < len(share_K) else "" for k in range(2)]
    elif z_NxZ.shape[1] == 1:
        z_NxZ, axes = np.column_stack([z_NxZ, keep]), ["code unit 1", "test example"]
    labels = [""] * len(keep) if y_N is None else [_name(names, int(label)) for label in y_N]
    pairs = [[float(f"{x:.4g}"), float(f"{y:.4g}"), label] for (x, y), label in zip(z_NxZ, labels, strict=True)]
    classes = [] if y_N is None else [_name(names, label) for label in sorted(set(map(int, y_N)))]
    return {"points": pairs, "of": whole, "axes": axes, "classes": classes}


def _name(names, label):
    return names[label] if 0 <= label < len(names) else str(label)
