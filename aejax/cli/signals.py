"""Signals to a command that trains: it writes a checkpoint first."""

import os
import signal
import threading

from aejax.base.interrupts import STOP
from aejax.compat import jax_compat

SCHEDULERS = signal.SIGUSR1, signal.SIGUSR2  # with which Slurm and submitit announce that the time is up


def heed_signals(others=()):
    """From here on Ctrl-C, SIGTERM and `others` set STOP, and raise KeyboardInterrupt where nothing checks that."""
    STOP.clear()
    for number in (signal.SIGINT, signal.SIGTERM, *others):
        signal.signal(number, _interrupt)


def heed_end_of_input():
    """From here on the end of standard input is a SIGTERM: it ends with the process at the other end of the pipe."""

    def wait():
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _interrupt(number, frame):
    is_impatient = STOP.is_set() and number == signal.SIGINT
    STOP.set()
    if is_impatient or not (STOP.is_awaited or jax_compat.is_in_garbage_callback(frame)):
        raise KeyboardInterrupt
