"""The run folder, read and written here alone. A killed process leaves every file whole or absent."""

import csv
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from aejax.base import archive
from aejax.base.errors import InputError, near
from aejax.base.files import octets, regular, remove_parts, set_aside, write_whole
from aejax.base.nested import dotted
from aejax.base.packed import Packed, is_zip, unpacked
from aejax.runs import contents

FORMAT = 3  # of what a run leaves. 2: metrics and settings had other names. 1, without the number: scrambled encoders
FINISHED = ("completed", "diverged")
FILES = ("run.json", "metrics.json", "history.csv", "params.safetensors", "codes.npz")
PICTURES = ("png", "pdf", "svg")  # the formats of figures/
SETTINGS = ".hydra"  # the folder of what Hydra leaves of a job
LEDGER = "sweep.json"  # in the folder of a sweep, beside its runs
PACKED = {  # bytes that a file of a run in a zip archive may have
    "run.json": 2**22,
    "metrics.json": 2**22,
    "history.csv": 2**26,
    "params.safetensors": contents.MOST["safetensors"],
    "codes.npz": contents.MOST["safetensors"],
    **{f"{SETTINGS}/{name}.yaml": contents.MOST["yaml"] for name in ("config", "hydra", "overrides")},
}

Metrics = dict[str, float | None]


class Run:
    """One run's folder; `record` is what run.json holds."""

    def __init__(self, path: Path | Packed | str) -> None:
        self.path = cast(Path, path) if isinstance(path, Packed) else Path(path)
        self.record: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The run that a folder or a zip archive holds; raises InputError without one, or where run.json is damaged.

        That of an archive is in memory and can only be read; its `path` names the archive.
        """
        run = cls(path)
        try:
            if run.path.is_file():
                run = cls(_packed(run.path))
            run.record = contents.record(run.path / "run.json")
        except OSError as error:
            if not isinstance(run.path, Packed) and not run.path.exists():
                raise InputError(f"{path}: does not exist") from None
            reason = "no run.json" if isinstance(error, FileNotFoundError) else error
            raise InputError(f"{path}: holds no run that can be read ({reason})") from None
        return run

    def in_memory(self, name: str) -> Self:
        """This run with its files in memory under another name, so that its folder need not stay; it is only read."""
        present = {file: most for file, most in PACKED.items() if (self.path / file).exists()}
        files = {file: octets(self.path / file, most) for file, most in present.items()}
        run = type(self)(cast(Any, Packed(name, files)))
        run.record = self.record
        return run

    @classmethod
    def finished(cls, path: Path | str, run_id: str) -> Self | None:
        """The whole and finished run with this id in `path`, None where there is none."""
        run = cls.find(path)
        if run is None or run.record.get("id") != run_id or run.record.get("status") not in FINISHED:
            return None
        return None if run.damaged else run

    @property
    def damaged(self) -> list[str]:
        """The names of the files of a finished run that are missing or cannot be read."""
        return [name for name in FILES[1:] if not self._is_whole(name)]

    def _is_whole(self, name: str) -> bool:
        try:
            regular(self.path / name).close()
            if name == "params.safetensors":
                with safe_open(self.path / name, "np"):  # reads the header, which gives the length of the file
                    return True
            if name == "codes.npz":  # whose directory is at its end
                return zipfile.is_zipfile(self.path / name)
            return bool(self.metrics if name == "metrics.json" else self.history)
        except (OSError, ValueError, SafetensorError):
            return False

    @classmethod
    def find(cls, path: Path | str) -> Self | None:
        """The run in the folder `path`, None where there is none that can be read."""
        try:
            run = cls.read(path)
        except InputError:
            return None
        return None if isinstance(run.path, Packed) else run

    def note(self, **fields: Any) -> None:
        """Adds fields to run.json."""
        self.record |= fields
        self._write("run.json", record_text(self.record), lasting=self.record["status"] != "running")

    @property
    def title(self) -> str:
        """The name of the run and its folder, in one line."""
        name = " ".join(self.record.get("name", "").split())
        return f"{name.encode('utf-8', 'backslashreplace').decode()} ({self.path})"

    @property
    def format(self) -> int:
        """The FORMAT that its files are written in."""
        return self.record.get("format", 1)

    @property
    def metrics(self) -> Metrics:
        """metrics.json: {name: a finite number or None}; raises InputError where it is damaged, as all files here."""
        return contents.metrics(self.path / "metrics.json")

    def score(self, name: str, select: str = "last") -> float | None:
        """The metric `name`, else that of the history where the parameters were kept; None if not finite or diverged.

        Raises InputError where neither has it.
        """
        kept = self.kept(select)
        known = self.metrics | {key: value for key, value in kept.items() if key != "step"}
        if name not in known and name.startswith("valid/") and not any(key.startswith("valid/") for key in known):
            return None  # there are no validation examples
        if name not in known:
            raise InputError(f"objective={name}: no such metric; {near(name, known)}")
        value = known[name]
        finite = value is not None and math.isfinite(value)
        return value if finite and self.record["status"] == "completed" else None

    def write_metrics(self, metrics: Mapping[str, float]) -> None:
        """Writes metrics.json; numbers that are not finite become null."""
        self._write("metrics.json", _metrics_text(metrics))

    def write_again(self, metrics: Mapping[str, float], **fields: Any) -> None:
        """Writes metrics.json and adds fields to run.json; writes neither where one of them cannot be serialized."""
        record = self.record | fields
        texts = {"metrics.json": _metrics_text(metrics), "run.json": record_text(record)}
        for name, text in texts.items():
            self._write(name, text)
        self.record = record

    @property
    def history(self) -> list[dict[str, float]]:
        """history.csv: one dict of floats a log point."""
        return contents.history(self.path / "history.csv")

    def kept(self, select: str) -> dict[str, float]:
        """The row of the history at which the parameters were kept, by the experiment's `select`."""
        rows = self.history
        if not rows or (select == "best" and "valid/mse" not in rows[0]):
            raise InputError(f"{self.path / 'history.csv'}: has no step whose parameters were kept")
        if select == "best":
            return min(rows, key=lambda row: (math.isnan(row["valid/mse"]), row["valid/mse"]))
        return rows[-1]

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes history.csv, one row a log point; nan and inf stay as they are."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["step"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write("history.csv", text.getvalue())

    @property
    def params(self) -> dict[str, Any]:
        """params.safetensors as a dict by module and layer."""
        return contents.params(self.path / "params.safetensors")

    def write_params(self, params: Any) -> None:
        """Writes params.safetensors; names are module.layer.leaf. Raises OSError where it reads back differently."""
        arrays = flat(params)
        self._write("params.safetensors", archive.tensors(arrays))
        self._compare("params.safetensors", arrays, flat(self.params))

    @property
    def codes(self) -> dict[str, np.ndarray]:
        """codes.npz: z [N, latent_dim], index [N] in the source, y [N] where there are labels, name [N] where files."""
        return contents.codes(self.path / "codes.npz")

    def write_codes(
        self,
        z_NxZ: np.ndarray,
        y_N: np.ndarray | None = None,
        index_N: np.ndarray | None = None,
        name_N: np.ndarray | None = None,
    ) -> None:
        """Writes codes.npz; without `index_N` rows are those of the source in order. Raises OSError as write_params."""
        index_N = np.arange(len(z_NxZ)) if index_N is None else index_N
        arrays = {"z": z_NxZ, "index": index_N, "y": y_N, "name": name_N}
        arrays = {name: array for name, array in arrays.items() if array is not None}
        self._write("codes.npz", archive.npz(arrays))
        self._compare("codes.npz", arrays, self.codes)

    def _compare(self, name: str, written: Any, read: Any) -> None:
        """Raises OSError where the arrays `read` back are not those `written`."""
        differing = archive.differing(written, read)
        if differing:
            rest = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            raise OSError(f"{self.path / name}: does not read back as it was written ({differing[0]}{rest})")

    def write_figure(self, name: str, picture: bytes) -> None:
        """Writes the bytes of a picture as figures/<name>, whose suffix is its format."""
        self._write(f"figures/{name}", picture)

    @property
    def figures(self) -> list[Path]:
        """The paths of all pictures, by name."""
        if isinstance(self.path, Packed):  # which leaves pictures out
            return []
        return sorted(path for path in (self.path / "figures").glob("*") if path.suffix[1:] in PICTURES)

    def _write(self, name: str, content: str | bytes, lasting: bool = True) -> None:
        write_whole(self.path / name, content, lasting)

    @property
    def settings(self) -> dict[str, Any]:
        """.hydra/config.yaml as plain containers, without its interpolations resolved."""
        return contents.mapping(self.path / SETTINGS / "config.yaml")

    @property
    def choices(self) -> dict[str, str]:
        """The choice of each group, from .hydra/hydra.yaml."""
        return contents.choices(self.path / SETTINGS / "hydra.yaml")

    @property
    def has_settings(self) -> bool:
        """Whether the files that Hydra leaves of a job can be read."""
        try:
            overrides = octets(self.path / SETTINGS / "overrides.yaml", contents.MOST["yaml"]).decode()
            return bool(self.settings and self.choices and overrides)
        except (OSError, ValueError):
            return False

    def copy(self, path: Path | str) -> Self:
        """A Run in `path` with the files of this finished one; its record names the original."""
        copied = type(self)(path)
        for name in (*FILES[1:], *(f"figures/{picture.name}" for picture in self.figures)):
            if (self.path / name).exists():
                copied._write(name, (self.path / name).read_bytes())
        copied.note(**self.record, same_as=str(self.path))
        return copied

    def clear(self) -> list[str]:
        """Removes what an unfinished run left here; returns lines to print.

        A run.json that cannot be read is renamed, and so are the damaged files of a finished run. Raises
        InputError, with nothing removed, where the run is finished and whole.
        """
        run, broken = Run.find(self.path), []
        if run is None:
            broken = ["run.json"]
        elif run.record.get("status") in FINISHED:
            broken = run.damaged
            if not broken:
                raise InputError(f"{self.path}: holds a finished run; choose another folder")
        paths = [self.path / name for name in broken if (self.path / name).exists()]
        lines = [f"{path}: is damaged; renamed to {set_aside(path).name}, the run is trained again" for path in paths]
        remove_parts(self.path)
        remove_parts(self.path / "figures")
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        for picture in self.figures:
            picture.unlink()
        return lines


def _packed(path: Path) -> Packed:
    """The files of a run in a zip archive; raises InputError where it is none or holds none."""
    with regular(path) as file:
        if not is_zip(file):
            raise InputError(f"{path}: is neither the folder of a run nor a zip archive of one")
        return unpacked(file, path, "run.json", PACKED)


def record_text(record: dict[str, Any]) -> bytes:
    """The bytes of run.json; a lone surrogate stays the escape that it was."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _metrics_text(metrics: Mapping[str, float]) -> bytes:
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return (json.dumps(finite, indent=2) + "\n").encode()


def flat(params: Any) -> dict[str, np.ndarray]:
    """A dict of dicts of arrays as {"module.layer.leaf": array}."""
    return {name: np.asarray(array) for name, array in dotted(params)}
