"""Several processes that compute one program: how they meet, what they tell each other, and how they part.

Everything here is called by all of them in the same order. A process alone tells itself.
"""

import contextlib
import socket
import threading
import time

import jax
import numpy as np

from aejax.base.errors import InputError
from aejax.compat import jax_compat

WAIT = 300  # seconds for the others to start
PIECE = 2**26  # bytes that are sent at a time


def join(count, number=None, address=None):
    """Meets the other processes, before JAX is initialized; raises InputError where they do not come.

    This is process `number` of `count`; process 0 listens at `address`, host:port. What is None, Slurm or MPI tells.
    """
    own, problems = f"mesh.processes={count}", []
    if number == 0 and address is not None:
        _check_listening(address)

    def meet():
        try:
            jax_compat.join(address, count, number, 2 * WAIT)
        except (ValueError, RuntimeError) as error:
            problems.append(str(error).splitlines()[0])

    # On a thread of its own: JAX aborts the process where it waits in vain, and does not heed a signal meanwhile.
    meeting, begun = threading.Thread(target=meet, daemon=True), time.monotonic()
    meeting.start()
    while meeting.is_alive() and time.monotonic() - begun < WAIT:
        meeting.join(0.1)
    if meeting.is_alive():
        raise InputError(f"{own}: not all have started within {WAIT} s; each must be told the same mesh.address")
    if problems and None in (number, address):
        raise InputError(
            f"{own}: mesh.process and mesh.address must be given where neither Slurm nor MPI tells them ({problems[0]})"
        )
    if problems:
        raise InputError(f"{own}: the processes cannot meet ({problems[0]})")


def _check_listening(address):
    """Raises InputError where no process here can listen at an address; JAX may crash instead."""
    host, _, port = address.rpartition(":")
    try:
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        told = str(error.strerror).partition(" (")[0]
        raise InputError(
            f"mesh.address={address}: process 0 cannot listen there ({told}); must be a free port of its host"
        ) from None


def count():
    """The number of processes that compute together."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first():
    """Whether this process is alone, or the first of those that have joined: it alone writes, prints and evaluates."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def gathered(*values):
    """The whole numbers (32 bits) of every process, [P, N]."""
    own = np.array(values, np.int32)
    return own[None] if count() == 1 else jax_compat.gathered(own)


def any_of(value):
    """Whether it holds in any process."""
    return bool(gathered(value).any())


def sent(content):
    """The bytes that the first process has."""
    if count() == 1:
        return content
    pieces, rest = map(int, gathered(*divmod(len(content), PIECE))[0])
    sizes, at, parts = [PIECE] * pieces + [rest] * bool(rest), 0, []
    for size in sizes:
        own = np.frombuffer(content[at : at + size], np.uint8) if is_first() else np.zeros(size, np.uint8)
        parts.append(jax_compat.broadcast(own).tobytes())
        at += size
    return b"".join(parts)


@contextlib.contextmanager
def together(what):
    """A step that all processes take; raises InputError where another one has failed in it."""
    try:
        yield
    except Exception:
        gathered(True)
        leave()
        raise
    if any_of(False):
        leave()
        raise InputError(f"{what}: failed in another process, which says why")


def leave():
    """Parts from the other processes, once all have come so far; nothing may be computed together afterwards."""
    jax.distributed.shutdown()  # does nothing in a process alone


def are_joined():
    """Whether others may wait for this process; it would wait for them at its end, unless it ends at once."""
    return jax.distributed.is_initialized()


def loss(error):
    """The message for an exception that came because another process has ended, None for any other."""
    message = jax_compat.lost_process(error) if count() > 1 else None
    again = "to go on, start all of them again with the same hydra.run.dir"
    return None if message is None else f"mesh.processes={count()}: another process has ended ({message}); {again}"
