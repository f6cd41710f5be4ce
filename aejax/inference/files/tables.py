"""Examples and codes as tables, .csv and .parquet: a row for each, numbered columns x0, x1, … or z0, z1, …"""

import io
import re
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import pyarrow as pa

from aejax.base.errors import InputError

BESIDE = ("name", "label")  # columns that are no numbers of an example


def read(source: str, data: bytes, is_csv: bool, letter: str) -> dict[str, np.ndarray]:
    """The values [N, columns] of a table by `letter`, x or z, with its columns name and label where it has them.

    Values are the columns that are numbered after the letter, otherwise all but name and label. The first line of a
    .csv may be missing if all of its values are numbers. Raises InputError, which begins with the `source`.
    """
    try:
        table = _csv(data) if is_csv else _parquet(data)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{source}: cannot be read as a table ({_first_line(error)})") from None
    names = table.column_names
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{source}: two columns {twice[0]}; names must differ")
    numbered = sorted((int(name[1:]), name) for name in names if re.fullmatch(rf"{letter}[0-9]+", name))
    columns = [name for _, name in numbered] or [name for name in names if name not in BESIDE]
    if not columns or not table.num_rows:
        raise InputError(f"{source}: {table.num_rows} rows of {len(columns)} columns; must hold at least one number")
    arrays = {letter: _stacked([_numbers(source, name, table.column(name)) for name in columns])}
    for name in BESIDE:
        if name in names:
            column = table.column(name)
            if column.null_count:
                raise InputError(f"{source}: {column.null_count} rows without a {name}")
            arrays[name] = np.array([str(value) for value in column.to_pylist()])
    return arrays


def write(file: IO[bytes], is_csv: bool, columns: Mapping[str, np.ndarray]) -> None:
    """Writes columns [N] by name, in shortest decimals that read back as the same float32 if `is_csv`."""
    table = pa.table(dict(columns))
    if is_csv:
        import pyarrow.csv

        file.write((",".join(table.column_names) + "\n").encode())
        pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, file)


def columns_of(letter: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """An array [N, …] as columns [N]: `letter`0, `letter`1, …; [N] is the column `letter`."""
    if values.ndim == 1:
        return {letter: values}
    flat_PxN = np.ascontiguousarray(values.reshape(len(values), -1).T)
    return {f"{letter}{number}": column for number, column in enumerate(flat_PxN)}


def _parquet(data: bytes) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(data))


def _csv(data: bytes) -> Any:
    import pyarrow.csv

    first = data[: 2**20].lstrip().split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(",")
    counted = [str(number) for number in range(len(first))]  # as pandas names columns
    headless = first != counted and all(_is_number(word) for word in first)
    reading: dict[str, Any] = {"autogenerate_column_names": headless}
    try:
        return pyarrow.csv.read_csv(io.BytesIO(data), pyarrow.csv.ReadOptions(**reading))
    except pa.ArrowInvalid:  # perhaps a column of whole numbers, later of fractions: look at all of it for the types
        reading |= {"block_size": min(len(data) + 1, 2**31 - 1)}
        return pyarrow.csv.read_csv(io.BytesIO(data), pyarrow.csv.ReadOptions(**reading))


def _numbers(source: str, name: str, column: Any) -> np.ndarray:
    """A column as numbers [N]; raises InputError for others, and for missing ones."""
    types = pa.types
    if not any(is_it(column.type) for is_it in (types.is_integer, types.is_floating, types.is_boolean)):
        raise InputError(f"{source}: column {name} is of {column.type}; must be numbers")
    if column.null_count:
        row = 1 + int(np.argmax(column.is_null().to_numpy()))
        raise InputError(f"{source}: row {row}, column {name}: is missing, as {column.null_count} are")
    return column.to_numpy()


def _stacked(columns: list[np.ndarray]) -> np.ndarray:
    """Columns as [N, columns]; bytes where all are whole numbers from 0 to 255."""
    dtype = np.result_type(*columns)
    if dtype.kind in "biu" and all(column.min() >= 0 and column.max() <= 255 for column in columns):
        dtype = np.dtype(np.uint8)
    values = np.empty((len(columns[0]), len(columns)), dtype)
    for number, column in enumerate(columns):
        values[:, number] = column
    return values


def _is_number(word: str) -> bool:
    try:
        float(word.strip().strip('"'))
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
