"""Serves a run until Ctrl-C."""

import asyncio
import gc
import ipaddress
import os
import socket
from collections.abc import Callable

import uvicorn
import uvloop

from aejax.base.errors import InputError
from aejax.compat.uvicorn_compat import LimitedProtocol
from aejax.inference.trained import Trained
from aejax.serving.app import App
from aejax.serving.batching import Batcher
from aejax.serving.operations import warming

GRACE = 5  # seconds for requests in flight after Ctrl-C
IDLE = 30  # seconds that a connection may wait for its next request


def serve(trained: Trained, host: str, port: int, say: Callable[[str], None]) -> None:
    """Listens on `host` and `port`, 0 for a free one, and says the address; raises InputError where it cannot.

    Ctrl-C and SIGTERM answer what is in flight, for at most GRACE seconds, and are raised again.
    """
    with _listening(host, port) as listener:
        say(address(listener))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_served(trained, listener))


def address(listener: socket.socket) -> str:
    """The address of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


async def _served(trained: Trained, listener: socket.socket) -> None:
    gc.freeze()  # what is there now stays, and need not be searched while requests wait
    batcher = Batcher(trained)
    for task in warming(trained):
        batcher.warm(task)
    config = uvicorn.Config(
        App(trained, batcher, is_local=_is_loopback(listener)),
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        batcher.close()


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise InputError(f"--port {port}: must be a whole number from 0 to {2**16 - 1}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno and error.errno > 0 else error
        raise InputError(
            f"--host {host} --port {port}: cannot be used ({reason}); name a free port, or 0 for any"
        ) from None


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
