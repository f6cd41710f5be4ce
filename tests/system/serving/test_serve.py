"""python -m aejax.serve: endpoints have the bits of the run, and what does not fit is answered in one clear line."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import types
import urllib.error
import urllib.request

import numpy as np
import pytest
from conftest import called

import aejax
from aejax.base.errors import InputError
from aejax.cli.serve import main
from aejax.cli.train import main as train

MISSING = "the extra serve is not installed"
pytest.importorskip("uvicorn", reason=MISSING)
description = pytest.importorskip("aejax.serving.description", reason=MISSING)
operations = pytest.importorskip("aejax.serving.operations", reason=MISSING)
QUICK = ["steps=40", "log_points=1", "net.widths=[16]", "figures=false", "track=off", "latent_dim=3"]
QUICK += ["evaluate.groups=[reconstruction]"]
JSON, NPY = "application/json", "application/x-npy"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (700, 12, 12, 3), np.uint8)
CODES = RNG.normal(size=(40, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "vae"
    assert called(train, *QUICK, "model=vae", "data=emoji", f"hydra.run.dir={path}") == 0
    return path


@pytest.fixture(scope="module")
def run(folder):
    return aejax.load(folder)


@pytest.fixture(scope="module")
def port(folder):
    """The port of a server; at the end Ctrl-C ends it cleanly."""
    words = [sys.executable, "-m", "aejax.serve", str(folder), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            address = re.fullmatch(r"vae emoji .* on http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line)
            yield int(address[1])
        finally:
            server.send_signal(signal.SIGINT)
            said, errors = server.communicate(timeout=20)
    assert (server.returncode, said, errors) == (130, "stopped\n", "")


@pytest.fixture
def ask(port):
    """Sends a request; gives its status, its headers and its body."""

    def request(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return request


def npy(array, **settings):
    file = io.BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


CASES = [
    ("encode", "x", "z", IMAGES[0], {}),
    ("encode", "x", "z", IMAGES, {}),
    ("encode", "x", "z", IMAGES[:5], {"sample": True, "seed": 7}),
    ("decode", "z", "x", CODES, {}),
    ("reconstruct", "x", "x", IMAGES[:3], {}),
    ("restore", "x", "x", (IMAGES[:3] / 255 + 0.2).astype(np.float32), {}),
    ("score", "x", "score", IMAGES[:300], {}),
    ("score", "x", "score", IMAGES[1], {}),
]


@pytest.mark.parametrize(("name", "takes", "gives", "values", "more"), CASES)
def test_answers_have_the_bits_of_the_run(name, takes, gives, values, more, ask, run):
    expected = getattr(run, name)(values, **more)
    body = json.dumps({takes: values.tolist()} | more)
    status, headers, answer = ask("POST", f"/{name}", body, content_type=JSON)
    assert (status, headers["content-type"]) == (200, JSON), answer
    np.testing.assert_array_equal(np.array(json.loads(answer)[gives], np.float32), expected)
    query = "&".join(f"{key}={str(value).lower()}" for key, value in more.items())
    status, headers, answer = ask("POST", f"/{name}?{query}", npy(values), content_type=NPY, accept=NPY)
    assert (status, headers["content-type"]) == (200, NPY), answer
    results = np.load(io.BytesIO(answer))
    assert results.dtype == np.float32
    np.testing.assert_array_equal(results, expected)


def test_samples_are_those_of_their_seed(ask, run):
    expected = run.sample(3, seed=5)
    for method, query, body in (("GET", "?count=3&seed=5", None), ("POST", "", '{"count": 3, "seed": 5}')):
        _, _, answer = ask(method, f"/sample{query}", body, content_type=JSON, accept=NPY)
        np.testing.assert_array_equal(np.load(io.BytesIO(answer)), expected)


def test_npy_of_any_order_and_type_is_read(ask, run):
    for values in (np.asfortranarray(IMAGES[:2] / 255), (IMAGES[:2] / 255).astype(">f4"), IMAGES[:2].astype("<u2")):
        _, _, answer = ask("POST", "/encode", npy(values), content_type="application/octet-stream", accept=NPY)
        np.testing.assert_array_equal(np.load(io.BytesIO(answer)), run.encode(values))


def test_many_connections_each_get_their_own_answer(port, run):
    """Requests of all kinds at once, over connections that stay open."""
    cases = [(name, values) for name, _, _, values, more in CASES if not more]
    expected = {
        (number, at): getattr(run, name)(values if at is None else values[at : at + 2])
        for number, (name, values) in enumerate(cases)
        for at in ((None,) if values.ndim in (1, 3) else (None, 0, 1))
    }

    def client(seed):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        keys = list(expected)
        for draw in np.random.default_rng(seed).permutation(len(keys)):
            number, at = keys[draw]
            name, values = cases[number]
            part = values if at is None else values[at : at + 2]
            connection.request("POST", f"/{name}", npy(part), {"Content-Type": NPY, "Accept": NPY})
            answer = connection.getresponse()
            assert answer.status == 200
            np.testing.assert_array_equal(np.load(io.BytesIO(answer.read())), expected[number, at])
        connection.close()
        return len(keys)

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        assert set(threads.map(client, range(16))) == {len(expected)}


def header(text, version=b"\x01\x00"):
    """A .npy file of this header alone."""
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little") + text.encode()


def nested(depth):
    return '{"x": ' + "[" * depth + "]" * depth + "}"


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "told"),
    [
        ("/encode", '{"x": [[0, 1], [1, 0]]}', JSON, 422, r"x: shape \[2, 2\]; must be \[12, 12, 3\], one example, or"),
        ("/encode", '{"x": [[0, 1], [1]]}', JSON, 422, "x: rows of different lengths"),
        ("/encode", '{"x": [["a"]]}', JSON, 422, "x: must be nested lists of numbers"),
        ("/encode", '{"x": 3}', JSON, 422, "x: must be nested lists of numbers"),
        ("/encode", '{"x": [[], []]}', JSON, 422, "x: must be nested lists of numbers"),
        ("/encode", '{"x": NaN}', JSON, 400, "the body is not JSON"),
        ("/encode", nested(100_000), JSON, 400, "the body is not JSON"),
        ("/encode", nested(60), JSON, 422, "at most 4 deep"),
        ("/encode", "[1]", JSON, 400, "the body must be a JSON object"),
        ("/encode", "{}", JSON, 422, "x: is missing; known: x, label, sample, seed"),
        ("/encode", "", JSON, 422, "x: is missing"),
        ("/encode", '{"y": 1}', JSON, 422, "y: no such field; known: label, sample, seed, x"),
        ("/encode", '{"x": [0], "dtype": "O"}', JSON, 422, "dtype=O: must be uint8 or float32"),
        ("/encode", b"\xff\xfe{", JSON, 400, "the body is not JSON"),
        ("/encode?seed=-1", npy(IMAGES), NPY, 422, "seed=-1: must be a whole number from 0 to 4294967295"),
        ("/encode?sample=yes", npy(IMAGES[:1]), NPY, 422, "sample=yes: must be true or false"),
        ("/encode?x=1", npy(IMAGES[:1]), NPY, 400, "x: must be in the body"),
        ("/encode?&&&=", npy(IMAGES[:1]), NPY, 400, "the query must be"),
        ("/encode", npy(np.full((12, 12, 3), np.nan)), NPY, 422, "x: holds nan or inf"),
        ("/encode", npy(np.full((12, 12, 3), 300)), NPY, 422, "x: whole numbers from 300 to 300; must be"),
        ("/encode", npy(np.zeros((10_000, 12, 12, 3), "u1")), NPY, 422, r"x: 10,000 rows; must be from 1 to 4,854 in"),
        ("/encode", npy(np.array([{}], object), allow_pickle=True), NPY, 422, "npy of dtype object: must be numbers"),
        ("/encode", npy(np.array(["a"])), NPY, 422, "npy of dtype <U1"),
        ("/encode", npy(np.zeros((12, 12, 3)))[:-1], NPY, 400, "must hold 3,456 bytes, holds 3,455"),
        ("/encode", header(HUGE), NPY, 400, "must hold 8,000,000,000,000 bytes, holds 0"),
        ("/encode", header("(" * 4000), NPY, 400, "the header of the npy cannot be read"),
        ("/encode", header(" " * 60_000), NPY, 400, "with a header of at most 4,096 bytes"),
        ("/encode", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", NPY, 400, "with a header of at most 4,096 bytes"),
        ("/encode", b"PK\x03\x04" + bytes(99), NPY, 400, "the body is not npy of version 1 or 2"),
        ("/restore", npy(np.full((12, 12, 3), 1e300)), NPY, 422, "x: holds values beyond"),
        ("/encode", "x=1", "application/x-www-form-urlencoded", 415, "content-type .*: must be application/json or"),
        ("/decode", '{"z": [0, 1]}', JSON, 422, r"z: shape \[2\]; must be \[3\], one code"),
        ("/sample", '{"count": 0}', JSON, 422, "count: 0; must be from 1 to 4,854 in one request"),
        ("/sample", '{"count": 1e9}', JSON, 422, "count=1000000000.0: must be a whole number"),
        ("/sample", '{"count": 1000000000}', JSON, 422, "count: 1000000000; must be from 1"),
        ("/sample", npy(IMAGES[0]), NPY, 415, "application/x-npy: must be application/json"),
        ("/fit", "{}", JSON, 404, "/fit: no such endpoint; known: /encode"),
        ("/info", "{}", JSON, 405, "POST /info: must be GET or HEAD"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_is_refused_in_one_line(path, body, content_type, status, told, ask):
    actual, headers, answer = ask("POST", path, body, content_type=content_type)
    message = json.loads(answer)["error"]
    assert (actual, headers["content-type"]) == (status, JSON), message
    assert re.match(told, message) or told in message, message
    assert "\n" not in message and "Traceback" not in message and len(message) <= 500


def test_other_requests_are_refused(ask, port):
    status, headers, answer = ask("GET", "/encode")
    assert (status, headers["allow"]) == (405, "POST"), answer
    assert ask("POST", "/encode", "{}", content_type=JSON, accept="text/html")[0] == 406
    assert ask("POST", "/encode", b"\x1f\x8b", content_type=JSON, content_encoding="gzip")[0] == 415
    status, _, answer = ask("GET", "/info", host="example.com:80")
    assert status == 403 and b"host example.com: must be one of 127.0.0.1, localhost" in answer
    assert ask("GET", "/info", host=f"localhost:{port}")[0] == 200
    assert ask("GET", "/codes?units=0,9")[0] == 422
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"HELLO\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert ask("HEAD", "/")[::2] == (200, b"")


def promise(port, length):
    """A request that promises a body of this length and does not send it yet."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    raw.sendall(
        b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )
    return raw


def test_bodies_that_are_too_large_are_refused_before_they_are_sent(port):
    with promise(port, 2**23 + 1) as raw:
        answer = raw.recv(4096)
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ") and b"must have at most 8,388,608" in answer
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        raw.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(9):
                raw.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("size", [2**23 + 1, 13 * 2**20])
def test_a_client_that_sends_all_the_same_can_read_why_not(size, port):
    headers = {"Content-Type": "application/x-npy"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/encode", bytes(size), headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 413
    assert json.loads(caught.value.read())["error"].startswith(f"the body has {size:,} bytes; must have at most")


def test_more_than_a_server_can_hold_is_refused_with_a_time_to_come_again(port, ask):
    waiting = [promise(port, 2**23) for _ in range(4)]
    try:
        status, _, _ = ask("POST", "/encode", npy(IMAGES[0]), content_type=NPY)
        assert status == 200  # a promise takes no memory
        for raw in waiting:  # all but a byte of as much as may be in flight
            raw.sendall(bytes(2**23 - 1))
        with promise(port, 2**23) as raw:
            raw.sendall(bytes(2**23))  # is read to its end, so that the answer can be
            answer = raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in answer.lower(), answer
    finally:
        for raw in waiting:
            raw.close()
    for _ in range(50):  # until the server has seen that they are gone
        status, _, _ = ask("POST", "/encode", npy(IMAGES[0]), content_type=NPY)
        if status == 200:
            break
    assert status == 200


def test_info_and_openapi_describe_the_run(ask, run):
    info = json.loads(ask("GET", "/info")[2])
    codes = run.run.codes["z"]
    assert (info["shape"], info["kind"], info["latent_dim"]) == ([12, 12, 3], "rgb", 3)
    assert info["labels"][:1] == ["grinning face"] and info["threshold"] is None
    quantiles = [unit["quantiles"] for unit in info["units"]]
    np.testing.assert_allclose(quantiles, np.quantile(codes, info["quantiles"], axis=0).T, rtol=1e-5)
    shown = json.loads(ask("GET", "/codes?units=0,2")[2])
    np.testing.assert_array_equal(np.float32(shown["points"]), codes[:, [0, 2]])
    assert shown["y"] == run.run.codes["y"].tolist()
    paths = json.loads(ask("GET", "/openapi.json")[2])["paths"]
    assert {"/encode", "/decode", "/reconstruct", "/restore", "/sample", "/score"} < set(paths)
    for path, methods in paths.items():
        if "post" in methods:  # the examples work
            content = methods["post"]["requestBody"]["content"][JSON]
            status, _, answer = ask("POST", path, json.dumps(content["example"]), content_type=JSON)
            assert status == 200, (path, answer)


def test_pages_load_nothing_from_elsewhere(ask):
    for path in ("/", "/docs"):
        status, headers, page = ask("GET", path)
        assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
        for asset in re.findall(rb'(?:src|href)="([^"]+)"', page):
            assert asset.startswith((b"/", b"data:,")) and not asset.startswith(b"//")
            if asset.startswith(b"/assets/"):
                assert ask("GET", asset.decode())[0] == 200
        assert not re.search(rb"https?://", page)


@pytest.mark.slow
def test_conditional_models_need_a_label(tmp_path):
    path, x = tmp_path / "cvae", RNG.integers(0, 2, (3, 7, 5, 1), np.uint8)
    words = [*QUICK, "steps=2", "model=cvae", "data=letters", f"hydra.run.dir={path}"]
    assert called(train, *words) == 0
    run, encode = aejax.load(path), operations.OPERATIONS["encode"]

    def answer(operation, **fields):
        asked = operations.task(run, operation, fields)
        return asked.run(run, asked.rows, asked.label)

    for label in ("c", 2, "2", [2, 2, 2], ["c", "c", "c"]):
        np.testing.assert_array_equal(answer(encode, x=x, label=label), run.encode(x, label="c"))
    np.testing.assert_array_equal(answer(operations.OPERATIONS["sample"], count=30), run.sample(30))
    for label, told in (
        (None, "label: is missing; cvae letters"),
        ({}, "label: must be a name or a number, or a list"),
        ([1, "c", 2], "label: must be a name or a number, or a list"),
        ([[1], [1, 2], 3], "label: must be a name or a number, or a list"),
        (99, "label=99: must be names of labels, or numbers from 0 to 26"),
        ("omega", "no label omega"),
    ):
        with pytest.raises(InputError, match=told):
            operations.task(run, encode, {"x": x, "label": label})
    schema = description.openapi(run)["paths"]["/encode"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert schema["required"] == ["x", "label"]


def test_results_that_are_not_finite_are_refused(run):
    asked = operations.task(run, operations.OPERATIONS["decode"], {"z": CODES})
    with pytest.raises(InputError, match="decode: gives nan or inf; these values are too large"):
        asked.run(types.SimpleNamespace(decode=lambda z, label: z * np.nan), asked.rows, asked.label)


def test_a_port_in_use_and_a_folder_that_is_no_run_are_one_line(command, port, folder):
    status, said, errors = command(str(folder), "--port", str(port), main=main)
    assert (status, said) == (2, "")
    told = rf"aejax: --host 127.0.0.1 --port {port}: cannot be used \(Address already in use\); name a free port.*\n"
    assert re.fullmatch(told, errors)
    assert command("no_run", main=main)[::2] == (2, "aejax: no_run: does not exist\n")
    assert command(str(folder), "--port", "99999", main=main)[0] == 2
