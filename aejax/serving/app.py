"""The ASGI application: paths to answers, limits on what is accepted, and an error in one line for all else."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np

from aejax.base.errors import InputError
from aejax.inference.trained import Trained
from aejax.serving import bodies, description
from aejax.serving.batching import Batcher
from aejax.serving.bodies import JSON, NPY, Refused
from aejax.serving.operations import OPERATIONS, Operation, Task, task

BODY = 2**23  # bytes of a request, or more where one example needs them
REQUESTS = 256  # in flight, and
IN_FLIGHT = 2**25  # bytes of their bodies and answers
LARGE = 2**18  # bytes of a body; one is read at a time, on a thread, while others are answered
DRAINED = 2**26  # bytes of a refused body that are still read, so that its client gets to read the answer,
DRAINING = 10  # seconds at most
PIECE = 2**16  # bytes of an answer that are written at a time, so that a slow reader is waited for
AGAIN = "1"  # seconds after which a refused client may try again
LOCAL = ("127.0.0.1", "localhost", "[::1]")
MESSAGE = 500  # characters of an error
PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    **{
        f"/assets/{name}": (name, "text/javascript; charset=utf-8")
        for name in ("page.js", "pad.js", "drawing.js", "charts.js", "server.js", "docs.js")
    },
    "/assets/page.css": ("page.css", "text/css; charset=utf-8"),
}
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}

Answer = tuple[int, dict[str, str], bytes]


class Disconnected(Exception):
    """The client has gone before its request was complete."""


class Incoming:
    """The body of a request, part by part as it arrives."""

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        self.receive, self.is_complete = receive, False

    async def part(self) -> bytes:
        """The next part; raises Disconnected."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self.is_complete = not message.get("more_body", False)
        return message.get("body", b"")

    async def drained(self) -> None:
        """Reads what is left of a refused body once it is answered: a connection that is closed while its client still
        sends is reset, and the answer lost.
        """
        size = 0
        with contextlib.suppress(TimeoutError, Disconnected):
            async with asyncio.timeout(DRAINING):
                while not self.is_complete and size < DRAINED:
                    size += len(await self.part())


class App:
    """Answers requests for one run; `is_local` accepts the host names of this machine alone."""

    def __init__(self, trained: Trained, batcher: Batcher, is_local: bool = True) -> None:
        self.trained, self.batcher, self.is_local = trained, batcher, is_local
        self.load = Load()
        self.most = max(BODY, 32 * trained.experiment.form.pixels)
        self._reader = ThreadPoolExecutor(1, "aejax bodies")
        self._known = description.pages(trained)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        incoming = Incoming(receive)
        with contextlib.ExitStack() as held:  # until the answer is sent
            try:
                status, more, content = await self._answer(scope, headers, incoming, held)
            except Refused as error:
                status, more, content = _error(error.status, str(error), error.headers)
            except InputError as error:
                status, more, content = _error(422, str(error), {})
            except Disconnected:
                return
            except Exception as error:  # a fault of ours
                print(f"aejax: {type(error).__name__}: {' '.join(str(error).split())[:MESSAGE]}", file=sys.stderr)
                status, more, content = _error(500, f"{type(error).__name__}; the server goes on", {})
            await _send(send, status, more, content, incoming)

    async def _answer(
        self, scope: Any, headers: dict[str, str], incoming: Incoming, held: contextlib.ExitStack
    ) -> Answer:
        path, method = scope["path"], scope["method"]
        self._check_host(headers)
        operation = OPERATIONS.get(path.removeprefix("/"))
        if operation is None:
            return self._page(path, method, scope["query_string"].decode("latin-1"))
        allowed = ("GET", "HEAD", "POST") if operation.takes is None else ("POST",)
        _check_method(method, allowed, path)
        as_npy = bodies.wants_npy(headers.get("accept", ""))
        length = self._length(headers)  # a claim, which holds no memory yet
        bodies.check_type(headers.get("content-type", ""), length != 0, headers.get("content-encoding", ""))
        add = held.enter_context(self.load.bytes_in_flight())
        body = await self._body(incoming, add)
        held.enter_context(self.load.request())
        words = operation, body, headers.get("content-type", JSON), scope["query_string"].decode("latin-1")
        if len(body) > LARGE:
            asked = await asyncio.get_running_loop().run_in_executor(self._reader, self._task, *words)
        else:
            asked = self._task(*words)
        add(asked.count * _values(self.trained, operation) * (4 if as_npy else 12))
        results = await self.batcher.result(asked)
        if as_npy:
            return 200, {"content-type": NPY}, bodies.npy_bytes(results[0] if asked.single else results)
        return 200, {"content-type": JSON}, bodies.json_bytes(self._fields(asked, results))

    def _task(self, operation: Operation, body: bytes, content_type: str, query: str) -> Task:
        return task(self.trained, operation, bodies.fields(body, content_type, query, operation.takes))

    def _fields(self, asked: Task, results: np.ndarray) -> dict[str, Any]:
        content = {asked.operation.gives: np.ascontiguousarray(results)[0 if asked.single else slice(None)]}
        return content | ({"threshold": self.trained.threshold} if asked.operation.gives == "score" else {})

    def _page(self, path: str, method: str, query: str) -> Answer:
        if path in self._known:
            _check_method(method, ("GET", "HEAD"), path)
            return 200, {"content-type": JSON}, self._known[path]
        if path == "/codes":
            _check_method(method, ("GET", "HEAD"), path)
            return 200, {"content-type": JSON}, bodies.json_bytes(description.codes(self.trained, query))
        if path in PAGES:
            _check_method(method, ("GET", "HEAD"), path)
            name, content_type = PAGES[path]
            content = (resources.files("aejax.serving") / "assets" / name).read_bytes()
            return 200, {"content-type": content_type, **PAGE_HEADERS}, content
        known = ", ".join(f"/{name}" for name in (*OPERATIONS, "info", "codes", "openapi.json", "docs"))
        raise Refused(404, f"{path[:80]}: no such endpoint; known: {known}")

    def _check_host(self, headers: dict[str, str]) -> None:
        """Refuses names of other hosts, which a page elsewhere can let resolve to this machine (DNS rebinding)."""
        name = headers.get("host", "")
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        if self.is_local and name and name not in LOCAL:
            raise Refused(403, f"host {name[:80]}: must be one of {', '.join(LOCAL)}")

    def _length(self, headers: dict[str, str]) -> int | None:
        """The bytes that the body will have, None where its headers do not say."""
        if "transfer-encoding" in headers:
            return None
        length = int(headers.get("content-length", "0"))
        self._check_length(length)
        return length

    async def _body(self, incoming: Incoming, add: Callable[[int], None]) -> bytes:
        parts, size = [], 0
        while not incoming.is_complete:
            parts.append(await incoming.part())
            size += len(parts[-1])
            self._check_length(size)
            add(len(parts[-1]))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_length(self, size: int) -> None:
        if size > self.most:
            raise Refused(413, f"the body has {size:,} bytes; must have at most {self.most:,}", connection="close")


class Load:
    """What is in flight: requests that have arrived, and the bytes of bodies and answers."""

    def __init__(self) -> None:
        self.requests, self.bytes = 0, 0

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Counts a request; raises Refused with 503 where too many are in flight."""
        if self.requests >= REQUESTS:
            raise Refused(503, f"{self.requests} requests are in flight; try again", retry_after=AGAIN)
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextlib.contextmanager
    def bytes_in_flight(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that counts bytes of a request until it is answered.

        It raises Refused with 503 where too many are in flight; a single request always fits.
        """
        total = 0

        def add(more: int) -> None:
            nonlocal total
            if self.bytes + more > IN_FLIGHT and self.bytes > total:
                raise Refused(503, f"{self.bytes:,} bytes are in flight; try again", retry_after=AGAIN)
            total += more
            self.bytes += more

        try:
            yield add
        finally:
            self.bytes -= total


def _values(trained: Trained, operation: Operation) -> int:
    """The numbers of one result."""
    return {"x": trained.experiment.form.pixels, "z": trained.latent_dim, "score": 1}[operation.gives]


def _check_method(method: str, allowed: tuple[str, ...], path: str) -> None:
    if method not in allowed:
        raise Refused(405, f"{method} {path}: must be {' or '.join(allowed)}", allow=", ".join(allowed))


def _error(status: int, message: str, headers: dict[str, str]) -> Answer:
    line = " ".join(message.split())
    content = {"error": line if len(line) <= MESSAGE else line[: MESSAGE - 1] + "…"}
    return status, {"content-type": JSON} | headers, bodies.json_bytes(content)


async def _send(send: Any, status: int, headers: dict[str, str], content: bytes, incoming: Incoming) -> None:
    headers = {**headers, "content-length": str(len(content)), "x-content-type-options": "nosniff"}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    is_refused = status >= 400
    for at in range(0, max(1, len(content)), PIECE):
        is_last = at + PIECE >= len(content)
        part = {"type": "http.response.body", "body": content[at : at + PIECE]}
        await send(part | {"more_body": is_refused or not is_last})
    if is_refused:
        await incoming.drained()
        await send({"type": "http.response.body", "body": b""})
