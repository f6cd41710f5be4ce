"""Thousands of mutated requests: the server stays, small, and goes on to give the right answers."""

import io
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import called

import aejax
from aejax.cli.train import main as train

pytestmark = pytest.mark.slow
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
COUNT = 10_000
QUICK = ["steps=20", "log_points=1", "figures=false", "track=off", "evaluate.groups=[reconstruction]"]
X = np.random.default_rng(0).integers(0, 2, (2, 7, 5, 1), np.uint8)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def request(path, body, content_type, method="POST"):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


BODIES = [
    ("/encode", npy(X), "application/x-npy"),
    ("/decode", npy(np.zeros((3, 2), np.float32)), "application/x-npy"),
    ("/encode?sample=true&seed=3", b'{"x": %s}' % str(X.tolist()).encode(), "application/json"),
    ("/restore", b'{"x": %s, "dtype": "float32"}' % str((X / 2).tolist()).encode(), "application/json"),
    ("/decode", b'{"z": [[0.5, -1e3], [1e-9, 2]]}', "application/json"),
    ("/sample?count=2", b'{"count": 3, "seed": 4}', "application/json"),
    ("/score", b'{"x": [[0,1,0,1,0,1,0]]}', "application/json"),
]
BITS = [b"[" * 3000, b"{", b'"', b"1e999", b"-", b"null", b"\x00", b"\xff", b"9" * 400, b"<f8", b"|O", b"(", b"\\u"]
BITS += [b"1e38", b"[]," * 300_000, b'"a",' * 100, b"True", b"'shape'", b"\r\n", b"2147483648", b"4294967296"]


def mutated(rng, data, most=4):
    """The bytes with some of them changed, cut, repeated, or replaced by what parsers stumble over."""
    data = bytearray(data)
    for _ in range(rng.integers(1, most)):
        at = int(rng.integers(0, len(data) + 1))
        how = rng.integers(0, 5)
        if how == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif how == 1:
            del data[at : at + int(rng.integers(1, 30))]
        elif how == 2:
            data[at:at] = data[max(0, at - 20) : at]
        elif how == 3:
            data[at:at] = BITS[rng.integers(0, len(BITS))]
        else:
            data[at:at] = rng.integers(0, 256, rng.integers(1, 9), np.uint8).tobytes()
    return bytes(data)


def answered(address, data, is_whole=True):
    """What the server says to these bytes; the client hangs up after those that may promise more than they hold."""
    with socket.create_connection(address, timeout=20) as raw:
        try:
            raw.sendall(data)
            if not is_whole:
                raw.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: raw.recv(65536), b""))
        except OSError:  # it has hung up
            return b""


def peak(pid):
    """The most MB of memory that a process has had."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_mutated_requests_leave_the_server_well(tmp_path):
    assert called(train, *QUICK, "model=vae", "data=letters", "latent_dim=2", f"hydra.run.dir={tmp_path / 'run'}") == 0
    expected = aejax.load(tmp_path / "run").encode(X)
    words = [sys.executable, "-m", "aejax.serve", "run", "--port", "0"]
    rng, statuses = np.random.default_rng(0), {}
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = "127.0.0.1", int(re.search(r":(\d+)/", server.stdout.readline())[1])
            for number in range(COUNT):
                path, body, content_type = BODIES[number % len(BODIES)]
                is_whole = number % 4 > 0  # three of four are whole requests of a wrong body
                if is_whole:
                    data = request(path, mutated(rng, body), content_type)
                else:
                    data = mutated(rng, request(path, body, content_type))
                answer = answered(address, data, is_whole)
                assert answer or not is_whole, data[:200]
                status = answer[9:12].decode("latin-1")
                statuses[status] = statuses.get(status, 0) + 1
                assert answer == b"" or answer.startswith(b"HTTP/1."), answer[:200]
                assert b"Traceback" not in answer
                if status[:1] in ("4", "5"):
                    assert b'{"error":' in answer or b"100 Continue" in answer, (data[:200], answer)
            answer = answered(address, request("/encode", npy(X), "application/x-npy\r\nAccept: application/x-npy"))
            np.testing.assert_array_equal(np.load(io.BytesIO(answer.partition(b"\r\n\r\n")[2])), expected)
            memory = peak(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
            said, errors = server.communicate(timeout=30)
    assert (server.returncode, said, errors) == (130, "stopped\n", "")
    print(statuses, f"{memory:.0f} MB")
    assert memory < 1000
    assert not {status for status in statuses if status.startswith("5")}, statuses
    assert all(statuses[status] > 30 for status in ("200", "400", "415", "422")), statuses
