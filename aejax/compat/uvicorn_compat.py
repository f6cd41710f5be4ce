"""uvicorn 0.5x: limits on slow, endless and too many connections, which it leaves to a proxy before it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 2**15  # bytes of a request's first line and headers
SLOW = 60.0  # seconds for a request to arrive, and for a client to read on
CONNECTIONS = 500  # at a time, below the usual limit of 1,024 open files


class LimitedProtocol(HttpToolsProtocol):
    """Drops a connection whose request does not arrive or whose answer is not read within SLOW, or of endless headers.

    Relies on uvicorn's class for httptools, which is not documented: on its callbacks of the parser and the transport,
    `connections`, `send_400_response`, and that `data_received` calls the former. Refuses further connections beyond
    CONNECTIONS, and what is not HTTP, with JSON.
    """

    slow = SLOW

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_bytes = 0  # since a request was complete, or a part of its body
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._refuse(b"503 Service Unavailable", b"too many connections", b"retry-after: 1\r\n")
        self._arriving = self.loop.call_later(self.slow, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._arriving, self._leaving)
        self._arriving = self._leaving = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._arriving is None and (self.cycle is None or self.cycle.response_complete):
            self._arriving = self.loop.call_later(self.slow, self.transport.abort)
        if self._head_bytes > HEAD:
            self.transport.abort()
            return
        self._head_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        _cancel(self._arriving)
        self._head_bytes, self._arriving = 0, None
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._leaving = self.loop.call_later(self.slow, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._leaving)
        self._leaving = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", b"the request is not HTTP/1.1")

    def _refuse(self, status: bytes, reason: bytes, headers: bytes = b"") -> None:
        body = b'{"error":"%s"}' % reason
        headers += b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, headers, body))
        self.transport.close()


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
