"""tensorflow-datasets 4.9: registered checksums, and the two JSON files beside a prepared set; no TensorFlow."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


def registered_files(builder_class: Any) -> dict[str, Any]:
    """{url: info} of the original files of a set, {} where none are registered; `info` has `filename` and `checksum`.

    The builder's `url_infos`. In public, checksums are only checked, by downloading.
    """
    return builder_class.url_infos or {}


def unregistered() -> AbstractContextManager[None]:
    """A context in which a subclass of a builder is not registered, which would take its name from the first.

    tfds.core.registered.skip_registration; the public way is a module of the set's own.
    """
    from tensorflow_datasets.core import registered

    return registered.skip_registration()


def license(info: Any) -> str:
    """The license of a DatasetInfo, or else its homepage, as a text; its redistribution_info is not documented."""
    return str(info.redistribution_info.license or info.homepage or "")


def file_format(folder: Path) -> str | None:
    """The format of a prepared set's files, as "array_record", None where it tells none; raises ValueError.

    From dataset_info.json, whose keys are those of a protocol buffer; tfds.builder_from_directory would read with
    TensorFlow what is in another format.
    """
    try:
        return json.loads((folder / "dataset_info.json").read_text()).get("fileFormat")
    except (AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def feature_classes(folder: Path) -> list[str]:
    """The names of the classes that features.json asks tensorflow-datasets to import; raises OSError, ValueError.

    Reading the features by `tfds.builder_from_directory` imports any module that is named there.
    """
    try:
        return list(_classes(json.loads((folder / "features.json").read_text())))
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _classes(value: Any) -> Iterator[str]:
    """The names of classes in a value of features.json, in the spellings that tensorflow-datasets takes."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON in JSON
        try:
            value = json.loads(value)
        except ValueError:
            return
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("pythonClassName", "python_class_name", "type") and isinstance(each, str):
                yield each
            else:
                yield from _classes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _classes(each)
