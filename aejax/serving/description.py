"""What a client must know of a run: its form and codes, and the endpoints as an OpenAPI document."""

from typing import Any
from urllib.parse import parse_qs

import numpy as np

from aejax.base.errors import InputError
from aejax.base.version import VERSION
from aejax.inference.trained import Trained
from aejax.serving.bodies import JSON, NPY, json_bytes
from aejax.serving.operations import OPERATIONS, Operation, most_rows, needs_label

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
POINTS = 2000  # codes of test examples that a picture of the code space shows
STANDARD = 2.3263479  # the 99 % quantile of the standard normal distribution


def pages(trained: Trained) -> dict[str, bytes]:
    """The answers of /info and /openapi.json, which stay as they are."""
    return {"/info": json_bytes(info(trained)), "/openapi.json": json_bytes(openapi(trained))}


def info(trained: Trained) -> dict[str, Any]:
    """What /info says: the run, the form of its data, its labels, and the distribution of each code unit."""
    form, model = trained.experiment.form, trained.experiment.model
    return {
        "name": trained.run.record.get("name", ""),
        "id": trained.run.record.get("id", ""),
        "data": form.name,
        "kind": form.kind,
        "shape": list(form.shape),
        "latent_dim": trained.latent_dim,
        "labels": list(trained.labels),
        "is_conditional": bool(model.is_conditional),
        "can_sample": bool(trained.experiment.sampler.is_prior),
        "threshold": trained.threshold,
        "most_rows": most_rows(trained),
        "quantiles": list(QUANTILES),
        "units": units(trained),
    }


def units(trained: Trained) -> list[dict[str, Any]]:
    """Mean, standard deviation and QUANTILES of each code unit over the test examples.

    Those of the standard normal distribution where the run has kept no finite codes.
    """
    z_NxZ = _codes(trained)[0]
    if not len(z_NxZ):
        normal = {"mean": 0.0, "std": 1.0, "quantiles": [-STANDARD, -0.6744898, 0.0, 0.6744898, STANDARD]}
        return [normal for _ in range(trained.latent_dim)]
    quantiles_ZxQ = np.quantile(z_NxZ, QUANTILES, axis=0).T
    mean_Z, std_Z = z_NxZ.mean(axis=0), z_NxZ.std(axis=0)
    return [
        {"mean": float(mean), "std": float(std), "quantiles": quantiles.tolist()}
        for mean, std, quantiles in zip(mean_Z, std_Z, quantiles_ZxQ, strict=True)
    ]


def codes(trained: Trained, query: str) -> dict[str, Any]:
    """Two units, "units=0,1", of the codes of at most POINTS test examples, and the number of each label."""
    asked = parse_qs(query)
    unknown = sorted(asked.keys() - {"units"})
    if unknown:
        raise InputError(f"{unknown[0][:40]}: no such setting; known: units")
    text = asked.get("units", ["0"])[0][:40]
    words = text.split(",")
    if len(words) > 2 or not set(words) <= set(map(str, range(trained.latent_dim))):
        raise InputError(f"units={text}: must be one or two numbers from 0 to {trained.latent_dim - 1}, such as 0,1")
    z_NxZ, y_N = _codes(trained)
    chosen = np.linspace(0, len(z_NxZ) - 1, min(POINTS, len(z_NxZ))).astype(int)
    columns = [int(word) for word in words]
    points = np.ascontiguousarray(z_NxZ[chosen][:, columns])
    return {"units": columns, "points": points, "y": None if y_N is None else y_N[chosen].astype(np.int64)}


def _codes(trained: Trained) -> tuple[np.ndarray, np.ndarray | None]:
    """The finite codes of the test examples, and their labels; none where the run has kept none of this size."""
    try:
        arrays = trained.run.codes
    except (InputError, OSError):
        return np.zeros((0, trained.latent_dim), np.float32), None
    z_NxZ, y_N = arrays["z"], arrays.get("y")
    if z_NxZ.shape[1] != trained.latent_dim:
        return np.zeros((0, trained.latent_dim), np.float32), None
    is_finite = np.isfinite(z_NxZ).all(axis=1)
    return z_NxZ[is_finite], None if y_N is None else y_N[is_finite]


def openapi(trained: Trained) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this run's endpoints, with the shapes of its data and codes."""
    paths: dict[str, Any] = {f"/{each.name}": _path(trained, each) for each in OPERATIONS.values()}
    answered = {"200": {"description": "JSON", "content": {JSON: {"schema": {"type": "object"}}}}}
    units_ = {"name": "units", "in": "query", "schema": {"type": "string"}, "example": "0"}
    paths["/info"] = {"get": {"summary": "The run, its data and its code units.", "responses": answered}}
    summary = "One or two units of the codes of test examples."
    paths["/codes"] = {"get": {"summary": summary, "parameters": [units_], "responses": answered}}
    title = f"{trained.run.record.get('name', 'a run')} (aejax)"
    about = "Examples in, codes out, and back. Arrays are JSON or .npy files (application/x-npy)."
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION, "description": about},
        "paths": paths,
        "components": {"schemas": {"Error": _object({"error": {"type": "string"}})}},
    }


def _path(trained: Trained, operation: Operation) -> dict[str, Any]:
    is_conditional = trained.experiment.model.is_conditional
    schemas = {name: _schema(trained, name) for name in operation.fields if is_conditional or name != "label"}
    required = [operation.takes] if operation.takes else []
    required += ["label"] if needs_label(trained, operation) else []
    if operation.takes:
        schemas["dtype"] = {"enum": ["uint8", "float32"], "description": "of the numbers in JSON"}
    content: dict[str, Any] = {JSON: {"schema": _object(schemas, required), "example": _example(trained, operation)}}
    if operation.takes:
        content[NPY] = {"schema": _npy(operation.takes)}
    answers = {operation.gives: _schema(trained, operation.gives)}
    if operation.gives == "score":
        answers["threshold"] = {"type": ["number", "null"], "description": "above it an example is an anomaly"}
    results = {JSON: {"schema": _object(answers)}, NPY: {"schema": _npy(operation.gives)}}
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema if name != "label" else {"type": "string"}}
        for name, schema in schemas.items()
        if name not in ("x", "z", "dtype")
    ]
    asked = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "requestBody": {"required": bool(operation.takes), "content": content},
        "responses": {"200": {"description": "The results", "content": results}, **_errors()},
    }
    if operation.takes:
        return {"post": asked}
    got = {name: value for name, value in asked.items() if name != "requestBody"} | {"operationId": "sample_by_get"}
    return {"get": got, "post": asked}


def _errors() -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    reasons = {
        "400": "The body cannot be read.", "413": "The body is too large.", "415": "The body is neither JSON nor npy.",
        "422": "A field does not fit the run.", "503": "Too much is in flight; Retry-After says when to try again.",
    }  # fmt: skip
    return {status: {"description": reason, "content": content} for status, reason in reasons.items()}


def _schema(trained: Trained, name: str) -> dict[str, Any]:
    form = trained.experiment.form
    if name in ("x", "z"):
        shape = form.shape if name == "x" else (trained.latent_dim,)
        one: dict[str, Any] = {"type": "number"}
        for size in reversed(shape):
            one = {"type": "array", "items": one, "minItems": size, "maxItems": size}
        unit = "in the unit of the data" if form.kind == "real" else "bytes, or fractions from 0 to 1"
        what = f"examples, {unit}" if name == "x" else "codes"
        many = {"type": "array", "items": one, "minItems": 1, "maxItems": most_rows(trained)}
        return {"anyOf": [one, many], "description": f"{what}; shape {list(shape)} or {['N', *shape]}".replace("'", "")}
    if name == "score":
        return {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
    if name == "label":
        one = {"type": ["integer", "string"]}
        several = {"type": "array", "items": one}
        return {"anyOf": [one, several], "description": "of all examples, or one for each: names or numbers"}
    if name == "sample":
        return {"type": "boolean", "default": False, "description": "draws from the posterior instead of its mean"}
    if name == "count":
        return {"type": "integer", "minimum": 1, "maximum": most_rows(trained), "default": 1}
    return {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 0}


def _npy(name: str) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": NPY, "description": f"the array {name}"}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return whole | ({"required": needed} if needed else {})


def _example(trained: Trained, operation: Operation) -> dict[str, Any]:
    """A small body that the endpoint takes; none of large data."""
    label = {"label": 0} if needs_label(trained, operation) else {}
    if operation.takes is None:
        return {"count": 2, "seed": 0}
    if operation.takes == "z":
        return {"z": [0.0] * trained.latent_dim} | label
    shape = trained.experiment.form.shape
    return {"x": np.zeros(shape).tolist() if np.prod(shape) <= 1024 else []} | label
