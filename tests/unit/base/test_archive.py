"""Arrays become bytes as they are indexed, whatever lies beneath them; files are checked before they take memory."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from aejax.base import archive
from aejax.base.errors import InputError
from aejax.runs.folder import Run

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(6, 4)).astype(np.float32)
VIEWS = {
    "columns": BASE[:, :2],
    "a column": BASE[:, 1],
    "transposed": BASE.T,
    "every other": BASE[::2, ::3],
    "reversed": BASE[::-1],
    "broadcast": np.broadcast_to(BASE[0], (3, 4)),
    "a lane": np.stack([BASE, BASE + 1])[:, 1:, :3][1],
    "Fortran": np.asfortranarray(BASE),
    "a scalar": np.float32(2.5),
    "0 axes": np.array(2.5, np.float32),
    "empty": BASE[:0],
    "whole": BASE,
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_read_back_as_it_was(name):
    view = VIEWS[name]
    for read in (
        archive.from_tensors(archive.tensors({"a": view}))["a"],
        archive.from_npz(io.BytesIO(archive.npz({"a": view})))["a"],
    ):
        assert (read.shape, read.dtype) == (np.shape(view), np.float32)
        assert read.tolist() == np.asarray(view).tolist()


def test_what_differs_in_a_bit_is_named():
    one = {"a": BASE, "b": BASE[:, :2], "nan": np.array([np.nan])}
    assert archive.differing(one, {name: array.copy() for name, array in one.items()}) == []
    other = one | {"a": np.nextafter(BASE, 9), "b": BASE[:, :2].astype(np.float64), "more": BASE}
    assert archive.differing(one, other) == ["a", "b", "more"]


def test_objects_are_neither_written_nor_read():
    with pytest.raises(ValueError, match="a holds Python objects"):
        archive.npz({"a": np.array([{}])})
    data = io.BytesIO()
    np.savez(data, a=np.array([{}]))
    with pytest.raises(ValueError, match=r"a\.npy holds Python objects"):
        archive.from_npz(data)


def header(shape, dtype="<f4"):
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": dtype, "fortran_order": False, "shape": shape})
    return data.getvalue()


def zipped(member, packed=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", packed) as file:
        file.writestr("z.npy", member)
    return data


@pytest.mark.parametrize(
    "shape, dtype",
    [((3 * 2**30,), "<f4"), ((2**40, 2**40), "<f4"), ((1,), "|V12884901888"), ((-1, 4), "<f4"), ((3, 2**62), "|S0")],
)
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_announced_and_is_not_there_takes_no_memory(shape, dtype, packed):
    file = zipped(header(shape, dtype) + bytes(400), packed)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"announces|is not a valid dtype"):
            archive.from_npz(file, packed=True)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_deflated_file_may_be_no_longer_than_deflating_makes_it():
    data = zipped(header((10**6,)) + bytes(4 * 10**6), zipfile.ZIP_DEFLATED)
    assert archive.from_npz(data, packed=True)["z"].shape == (10**6,)
    with pytest.raises(ValueError, match=r"z\.npy is compressed"):  # 4 MB of 4 KB
        archive.from_npz(data)
    content = bytearray(data.getvalue())
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the size before deflating, in both headers
        at = content.index(mark) + place
        content[at : at + 4] = (2**31).to_bytes(4, "little")
    with pytest.raises(ValueError, match="announces"):
        archive.from_npz(io.BytesIO(bytes(content)), packed=True)


def test_a_damaged_file_is_a_value_error_wherever_it_is_damaged():
    whole = {"npz": archive.npz({"z": BASE, "name": np.array(["a", "b"])}), "tensors": archive.tensors({"z": BASE})}
    for kind, content in whole.items():
        refused = 0
        for _ in range(300):
            broken = bytearray(content)
            for at in RNG.integers(0, len(content), RNG.integers(1, 4)):
                broken[at] = RNG.integers(0, 256)
            broken = bytes(broken[: RNG.integers(1, len(content)) if RNG.random() < 0.3 else None])
            try:
                archive.from_npz(io.BytesIO(broken)) if kind == "npz" else archive.from_tensors(broken)
            except ValueError:
                refused += 1
        assert refused > 100


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path)
    made.note(status="completed", name="a", evaluation={"absent": {"elbo": "no prior"}})
    made.write_metrics({"recon/mse": 0.5, "elbo": float("nan")})
    made.write_history([{"step": 1, "train/loss": 2.0}])
    made.write_params({"encoder": {"Dense_0": {"kernel": BASE[:, :3]}}, "running": {"center": BASE[0]}})
    made.write_codes(BASE[:, :2], np.arange(6), np.arange(6)[::-1], np.array([f"{n}.png" for n in range(6)]))
    return made


def test_what_does_not_read_back_is_an_error(run, monkeypatch):
    monkeypatch.setattr(archive, "contiguous", lambda arrays: arrays)  # as it was, with safetensors 0.8
    monkeypatch.setattr(archive.safetensors, "save", lambda arrays: _raw(arrays))
    with pytest.raises(OSError, match=r"params\.safetensors: does not read back as it was written \(encoder"):
        run.write_params({"encoder": {"kernel": BASE[:, :3]}})


def _raw(arrays):
    """A .safetensors file of the buffers beneath the arrays."""
    kernel = np.asarray(arrays["encoder.kernel"])
    told = {"encoder.kernel": {"dtype": "F32", "shape": list(kernel.shape), "data_offsets": [0, kernel.nbytes]}}
    head = json.dumps(told).encode()
    return len(head).to_bytes(8, "little") + head + kernel.base.tobytes()[: kernel.nbytes]


def test_the_files_of_a_run_read_back(run):
    assert run.metrics == {"recon/mse": 0.5, "elbo": None}
    assert run.history == [{"step": 1.0, "train/loss": 2.0}]
    assert run.params["encoder"]["Dense_0"]["kernel"].tolist() == BASE[:, :3].tolist()
    codes = run.codes
    assert codes["index"].tolist() == [5, 4, 3, 2, 1, 0] and codes["name"][2] == "2.png"
    assert codes["z"].tolist() == BASE[:, :2].tolist() and codes["y"].tolist() == list(range(6))


def written(**arrays):
    return lambda path: path.write_bytes(archive.npz(arrays))


NO_PARAMS = [{"encoder": BASE}, {"encoder.a": BASE, "encoder.a.b": BASE}, {"x.y": BASE}, {"encoder.a": BASE > 0}]
DAMAGES = [  # file, what is in it, what is told
    *(
        ("run.json", text, told)
        for text, told in [
            ("[]", "holds [] instead of a mapping"),
            ("{}", "status is None; must be a string"),
            ('{"status": 3}', "status is 3; must be a string"),
            ('{"status": "completed", "evaluation": [1]}', "evaluation is [1]; must be a mapping"),
            ('{"status": "completed", "evaluation": {"absent": 3}}', "evaluation.absent is 3; must be a mapping"),
            (
                '{"status": "completed", "evaluation": {"absent": {"a": 3}}}',
                "evaluation.absent.a is 3; must be a string",
            ),
            ('{"status": "completed", "evaluated_again": [3]}', "evaluated_again is 3; must be a mapping"),
            ('{"status": "completed", "versions": "1"}', "versions is '1'; must be a mapping"),
            ('{"status": "completed", "data": {"fingerprint": 1}}', "data.fingerprint is 1; must be a string or null"),
            ('{"status": "completed", "format": true}', "format is True; must be a whole number"),
            ('{"status": "completed", "parameters": 1.5}', "parameters is 1.5; must be a whole number or null"),
            ("[" * 10**5, "recursion"),
            (b"\xff\xfe\xfd", "decode"),
        ]
    ),
    ("metrics.json", "[1]", "holds [1] instead of a mapping"),
    ("metrics.json", '{"a": "1"}', "a is '1'; only finite numbers and null are allowed"),
    ("metrics.json", '{"a": true}', "a is True; only finite numbers and null are allowed"),
    ("metrics.json", '{"a": NaN}', "a is nan; only finite numbers and null are allowed"),
    ("metrics.json", '{"a": 1' + "0" * 400 + "}", "only finite numbers and null are allowed"),
    ("history.csv", "", "its first line must name the columns, the step first, each once"),
    ("history.csv", "step,a\n1\n", "line 2 has 1 values instead of 2"),
    ("history.csv", "step,a\n1,2,3\n", "line 2 has 3 values instead of 2"),
    ("history.csv", "step,a\n1,x\n", "could not convert string to float"),
    ("history.csv", "step\nnan\n", "line 2 has the step nan, which is no number"),
    ("history.csv", 'step\n"1', "unexpected end of data"),
    ("codes.npz", b"PK", "not a zip file"),
    ("codes.npz", written(z=BASE), "holds no index"),
    ("codes.npz", written(z=BASE, index=np.arange(5)), "index is int64[5], beside z [6, 4]"),
    ("codes.npz", written(z=BASE[0], index=np.arange(4)), "z is float32[4]"),
    ("codes.npz", written(z=BASE.astype(int), index=np.arange(6)), "z is int64[6, 4]"),
    ("codes.npz", written(z=BASE, index=np.arange(6), y=BASE), "y is float32[6, 4]"),
    ("codes.npz", lambda path: path.write_bytes(zipped(header((3 * 2**30, 1))).getvalue()), "announces 12,884,901,888"),
    ("params.safetensors", b"x" * 40, "deserializing"),
    *(("params.safetensors", archive.tensors(arrays), "is not a parameter of a model") for arrays in NO_PARAMS),
]  # fmt: skip


@pytest.mark.parametrize("name, content, told", DAMAGES)
def test_a_damaged_file_gets_one_line_that_names_it(run, name, content, told):
    path = run.path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    readers = {
        "metrics.json": "metrics",
        "history.csv": "history",
        "codes.npz": "codes",
        "params.safetensors": "params",
    }
    with pytest.raises(InputError) as caught:
        Run.read(run.path) if name == "run.json" else getattr(run, readers[name])
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be read (") and told in message and "\n" not in message
