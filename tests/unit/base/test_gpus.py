"""The GPUs that JAX would use, told without it."""

import pytest

from aejax.base import devices


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ["0", "1", "2", "10"]),
        ({"CUDA_VISIBLE_DEVICES": "1, 3"}, ["1", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f,GPU-9a"}, ["GPU-8f", "GPU-9a"]),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, ["2"]),  # CUDA stops at what is no GPU
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"JAX_PLATFORMS": "cpu"}, []),
        ({"JAX_PLATFORMS": "cuda,cpu"}, ["0", "1", "2", "10"]),
    ],
)
def test_gpus_are_those_of_the_environment_or_all(tmp_path, monkeypatch, variables, expected):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert devices.gpus(tmp_path, ["json"]) == expected
    assert devices.gpus(tmp_path, ["no_such_plugin"]) == []
