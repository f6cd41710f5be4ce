"""Exported files in a process without aejax."""

import json
import os
import subprocess
import sys

import numpy as np

BATCHES = (1, 3, 300)
SCRIPT = """
import json, sys
import numpy as np

folder, path = sys.argv[1:]
with open(f"{folder}/export.json") as file:
    about = json.load(file)

def load(path, names):
    if about["format"] == "onnx":
        import onnxruntime
        onnxruntime.set_default_logger_severity(4)
        session = onnxruntime.InferenceSession(path)
        return lambda *inputs: session.run(None, dict(zip(names, inputs)))[0]
    import jax
    with open(path, "rb") as file:
        return jax.jit(jax.export.deserialize(bytearray(file.read())).call)

inputs, results = np.load(path), {}
for name, part in about["parts"].items():
    names = [array["name"] for array in part["inputs"]]
    call = load(f"{folder}/{part['file']}", names)
    for count in map(int, inputs["batches"]):
        results[f"{name}_{count}"] = call(*[inputs[each][:count] for each in names])
assert "aejax" not in sys.modules
np.savez(path, **results)
"""


def same_outside(run, out, x, label=None):
    """Asserts that the export in `out`, called by a process without aejax, gives the numbers of the loaded `run`.

    The encoder takes the first of the examples `x`, as many as each of BATCHES, and the decoder their codes.
    """
    path, parts = out.parent / f"{out.name}.npz", json.loads((out / "export.json").read_text())["parts"]
    z = run.encode(x, label=label)
    expected = {"encoder": z, "decoder": run.decode(z, label=label)}
    np.savez(path, x=x, z=z, label=np.int32(0) if label is None else np.asarray(label, np.int32), batches=BATCHES)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", SCRIPT, out, path]
    done = subprocess.run(words, cwd=out.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = np.load(path)
    assert sorted(results) == sorted(f"{name}_{count}" for name in parts for count in BATCHES)
    for name in parts:
        for count in BATCHES:
            result, right = results[f"{name}_{count}"], expected[name][:count]
            assert result.dtype == np.float32
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-5 * scale, err_msg=f"{name} {count}")
