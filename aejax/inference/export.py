"""A trained model as files for programs without aejax: its encoder and decoder, and how to call them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aejax.base.errors import InputError
from aejax.base.version import VERSION
from aejax.inference.onnx import BATCHES, onnx_file
from aejax.inference.parts import PARTS, Array, Part, parts
from aejax.inference.trained import Trained

FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "tpu")  # that a StableHLO file runs on
FILES = ("export.json", "README.md", *(f"{part}.{form}" for part in PARTS for form in FORMATS))


def check_out(out: Path, overwrite: bool) -> None:
    """Raises InputError where an export cannot be written to the folder `out`, or may not."""
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist")
    if not (out.exists() or out.is_symlink()):
        return
    if not overwrite:
        raise InputError(f"{out}: exists; choose another folder, or add --overwrite")
    if not out.is_dir() or out.is_symlink():
        raise InputError(f"{out}: is no folder; choose another name")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in FILES)
    if foreign:
        raise InputError(f"{out}: holds {foreign[0]}, which is of no export; choose another folder")


def check_format(form: str) -> None:
    """Raises InputError where the packages of a format are missing."""
    missing = any(importlib.util.find_spec(module) is None for module in ("jax2onnx", "onnxruntime"))
    if form == "onnx" and missing:
        raise InputError("--to onnx: requires more packages: pip install 'aejax[onnx]'")


def export(run: Trained, form: str = "stablehlo", which: str = "both", pixels: str = "bytes") -> dict[str, bytes | str]:
    """The files of an export, {name: content}.

    These are the parts `which` in a format, one of FORMATS, with what they take and return in `export.json` and
    `README.md`. Raises InputError where a part cannot be exported.
    """
    chosen = parts(run, which, pixels)
    if form == "onnx":
        inputs = _tried(run, pixels)
        contents = {part.name: onnx_file(part, inputs[part.name]) for part in chosen}
    else:
        contents = {part.name: stablehlo_file(part) for part in chosen}
    files: dict[str, bytes | str] = {f"{name}.{form}": content for name, content in contents.items()}
    description = _description(run, form, chosen, contents)
    return files | {"export.json": json.dumps(description, indent=1) + "\n", "README.md": _readme(description)}


def stablehlo_file(part: Part) -> bytes:
    """A part as `jax.export` serializes it, for all PLATFORMS, with a free batch size and its parameters as constants.

    jax.export promises that JAX reads it for six months: docs.jax.dev/en/latest/export/export.html.
    """
    (batch,) = jax.export.symbolic_shape("B")
    inputs = [jax.ShapeDtypeStruct((batch, *array.shape), array.dtype) for array in part.inputs]
    with jax.default_matmul_precision("highest"):  # float32 on a GPU, too, where JAX's default is TF32
        exported = jax.export.export(jax.jit(part.function), platforms=PLATFORMS)(*inputs)
    return bytes(exported.serialize())


def _tried(run: Trained, pixels: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Inputs of each part to try a file with: random examples, their labels, and their codes."""
    count, rng = max(BATCHES), np.random.default_rng(0)
    (encoder,) = parts(run, "encoder", pixels)
    x, *label = encoder.inputs
    shape = (count, *x.shape)
    examples = rng.integers(0, run.examples.most, shape, np.uint8, endpoint=True)
    if x.dtype == "float32":
        unit = run.examples.standardization
        examples = rng.random(shape) if unit is None else unit.undone(rng.normal(size=shape))
    examples = examples.astype(x.dtype)
    labels = [np.arange(count, dtype=np.int32) % len(run.labels) for _ in label]
    return {"encoder": (examples, *labels), "decoder": (np.asarray(encoder.function(examples, *labels)), *labels)}


def _description(run: Trained, form: str, chosen: list[Part], contents: dict[str, bytes]) -> dict[str, Any]:
    """What export.json says."""
    record, data = run.run.record, run.experiment.form
    described: dict[str, Any] = {
        "run": {"id": record.get("id"), "name": " ".join(str(record.get("name")).split())},
        "versions": {"aejax": VERSION, "jax": jax.__version__},
        "format": form,
        "data": {"name": data.name, "kind": data.kind, "shape": list(data.shape), "labels": list(run.labels)},
        "latent_dim": run.latent_dim,
    }
    if form == "stablehlo":
        version = jax.export.deserialize(bytearray(contents[chosen[0].name])).calling_convention_version
        described |= {"platforms": list(PLATFORMS), "calling_convention_version": version}
    parts_by_name = {
        part.name: {
            "file": f"{part.name}.{form}",
            "inputs": [_array(array) for array in part.inputs],
            "output": _array(part.output),
        }
        for part in chosen
    }
    return described | {"parts": parts_by_name}


def _array(array: Array) -> dict[str, Any]:
    shape = ["B", *array.shape]
    return {"name": array.name, "dtype": array.dtype, "shape": shape, "values": array.meaning}


def _readme(description: dict[str, Any]) -> str:
    """The README.md of an export: what the parts take and return, and the lines that call them."""
    form, named = description["format"], description["parts"]
    lines = [f"# {description['run']['name']}", "", "| part | takes | returns |", "| --- | --- | --- |"]
    for name, part in named.items():
        taken = "<br>".join(map(_described, part["inputs"]))
        lines.append(f"| {name} | {taken} | {_described(part['output'])} |")
    notes = ["B is any number of examples."]
    if any(array["name"] == "label" for part in named.values() for array in part["inputs"]):
        notes.append("The number of a label is its place in `data.labels` of export.json, from 0.")
    if form == "stablehlo":
        notes.append(
            f"Written with JAX {description['versions']['jax']} for {', '.join(description['platforms'])}. It can be "
            "read by releases of JAX up to six months newer, and up to three weeks older."
        )
    return "\n".join([*lines, "", *notes, "", "```python", *_calls(form, named), "```", ""])


def _described(array: dict[str, Any]) -> str:
    return f"`{array['name']}`: {array['dtype']} [{', '.join(map(str, array['shape']))}], {array['values']}"


def _calls(form: str, named: dict[str, Any]) -> list[str]:
    """The lines of Python that load the parts of an export and call them."""
    lines = ["import numpy as np"]
    if form == "onnx":
        lines += ["import onnxruntime  # pip install onnxruntime", ""]
    else:
        lines += ["import jax  # pip install jax flatbuffers", "from jax import export", "", ""]
        lines += ["def load(path):", '    with open(path, "rb") as file:']
        lines += ["        return jax.jit(export.deserialize(bytearray(file.read())).call)", "", ""]
    known: set[str] = set()
    for name, part in named.items():
        inputs, output = part["inputs"], part["output"]["name"]
        for array in inputs:
            if array["name"] not in known:
                shape = ", ".join(map(str, (5, *array["shape"][1:])))
                comma = "," if len(array["shape"]) == 1 else ""
                lines.append(f"{array['name']} = np.zeros(({shape}{comma}), np.{array['dtype']})")
        names = [array["name"] for array in inputs]
        if form == "onnx":
            given = ", ".join(f'"{each}": {each}' for each in names)
            lines.append(f'{name} = onnxruntime.InferenceSession("{part["file"]}")')
            lines.append(f"({output},) = {name}.run(None, {{{given}}})")
        else:
            lines.append(f'{output} = np.asarray(load("{part["file"]}")({", ".join(names)}))')
        known |= {output, *names}
    return lines
