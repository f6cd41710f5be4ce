"""A table of numbers, from .csv or .parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from flax import struct

from aejax.base.devices import check_memory
from aejax.base.errors import InputError, near
from aejax.datasets.dataset import Dataset, Split
from aejax.settings.fields import static_choice, static_list, static_str


@struct.dataclass
class Table:
    """Rows are examples, columns are features; conf/data/table.yaml explains the settings."""

    path: str = static_str()
    test_path: str | None = static_str(optional=True)
    columns: tuple | None = static_list(optional=True)
    label: str | None = static_str(optional=True)
    missing: str = static_choice("refuse", "mean", "zero")

    def load(self):
        """The Dataset, real, [N, columns]."""
        tables = {"train": ("data.path", self.path)}
        if self.test_path is not None:
            tables["test"] = ("data.test_path", self.test_path)
        read = {name: _read(*setting) for name, setting in tables.items()}
        splits, columns = {}, None
        for name, (key, path) in tables.items():
            columns = columns or self._columns(f"{key}={path}", read[name])
            splits[name] = self._split(f"{key}={path}", read[name], columns)
        preprocess = None if self.missing == "refuse" else self._filler
        return Dataset(
            Path(self.path).name, "real", note=f"columns {', '.join(columns)}", preprocess=preprocess, **splits
        )

    def _columns(self, setting, table):
        if self.label is not None and self.label not in table.column_names:
            raise InputError(f"data.label={self.label}: no such column; {near(self.label, table.column_names)}")
        columns = [str(name) for name in self.columns or [name for name in table.column_names if name != self.label]]
        for name in columns:
            if name not in table.column_names:
                raise InputError(f"data.columns={columns}: no column {name}; {near(name, table.column_names)}")
        if not columns:
            raise InputError(f"{setting}: has no columns besides the label")
        return columns

    def _split(self, setting, table, columns):
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise InputError(f"{setting}: no column {missing[0]}, which data.path has")
        x_NxP = np.stack([self._numbers(setting, name, table.column(name)) for name in columns], axis=1)
        if self.label is None:
            return Split(x_NxP)
        if self.label not in table.column_names:
            raise InputError(f"{setting}: no column {self.label}, the label in data.path")
        labels = table.column(self.label)
        if labels.null_count or not (
            pa.types.is_string(labels.type) or pa.types.is_integer(labels.type) or pa.types.is_boolean(labels.type)
        ):
            problem = f"{labels.null_count} missing labels" if labels.null_count else f"labels of {labels.type}"
            raise InputError(f"{setting}: {problem} in column {self.label}; must be texts or whole numbers in all rows")
        return Split(x_NxP, np.array(labels.to_pylist()))

    def _numbers(self, setting, name, column):
        """A column as float32, nan for a missing value; raises InputError for what is not a finite number."""
        if not (
            pa.types.is_integer(column.type)
            or pa.types.is_floating(column.type)
            or pa.types.is_boolean(column.type)
            or pa.types.is_null(column.type)
        ):
            for row, value in enumerate(column.to_pylist(), 1):
                if value is not None and not _is_number(value):
                    raise InputError(
                        f"{setting}: row {row}, column {name}: {value!r} is not a number; "
                        f"name a column of labels by data.label={name}, or choose columns by data.columns=[…]"
                    )
            raise InputError(f"{setting}: column {name} is of {column.type}; must be numbers")
        values_N = column.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
        absent_N = np.isnan(values_N)
        if absent_N.any() and self.missing == "refuse":
            row = 1 + int(absent_N.argmax())
            raise InputError(
                f"{setting}: row {row}, column {name}: is missing, as {absent_N.sum()} are; "
                "fill them with data.missing=mean or zero"
            )
        with np.errstate(over="ignore"):
            values_N = values_N.astype(np.float32)
        infinite_N = np.isinf(values_N)
        if infinite_N.any():
            raise InputError(f"{setting}: row {1 + int(infinite_N.argmax())}, column {name}: is infinite")
        return values_N

    def _filler(self, train_NxP):
        """A function of examples that fills missing values with zero or the mean of the training examples."""
        present_NxP = ~np.isnan(train_NxP)
        sum_P = np.where(present_NxP, train_NxP, 0).sum(axis=0, dtype=np.float64)
        fill_P = sum_P / np.maximum(present_NxP.sum(axis=0), 1) if self.missing == "mean" else np.zeros_like(sum_P)
        return lambda x_NxP: np.where(np.isnan(x_NxP), fill_P, x_NxP).astype(np.float32)


def _read(key, path):
    path = Path(path).expanduser()
    setting = f"{key}={path}"
    readers = {".csv": pyarrow.csv.read_csv, ".parquet": pyarrow.parquet.read_table}
    if not path.is_file() or path.suffix.lower() not in readers:
        raise InputError(f"{setting}: must be an existing .csv or .parquet file")
    try:
        check_memory(_float32_bytes(path), f"{setting}: as float32", "of fewer rows or columns")
        table = readers[path.suffix.lower()](path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{setting}: cannot be read as a table with a first line of names ({error})") from None
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise InputError(f"{setting}: two columns {twice[0]}; names must differ")
    return table


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _float32_bytes(path):
    """Of all values of a table; of a .csv as many as there would be if all of it were like its first mebibyte."""
    if path.suffix.lower() == ".parquet":
        metadata = pyarrow.parquet.read_metadata(path)
        return 4 * metadata.num_rows * metadata.num_columns
    with path.open("rb") as file:
        first = file.read(2**20)
    return 4 * (first.count(b",") + first.count(b"\n")) * path.stat().st_size // max(len(first), 1)
