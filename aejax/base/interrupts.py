"""Ctrl-C and SIGTERM, as an event that training checks."""

import contextlib
import threading


class Stop(threading.Event):
    """Set by Ctrl-C and SIGTERM, because a library's callback may swallow KeyboardInterrupt."""

    is_awaited = False  # training checks the event at each log point, and writes a checkpoint first

    @contextlib.contextmanager
    def awaited(self):
        """Within this context, which checks the event often, a signal only sets it and raises nothing."""
        self.is_awaited = True
        try:
            yield
        finally:
            self.is_awaited = False

    @contextlib.contextmanager
    def held(self):
        """Delays a signal to the end of this context, which an exception would break."""
        with self.awaited():
            yield
        if self.is_set():
            raise KeyboardInterrupt


STOP = Stop()
