"""Ctrl-C and SIGTERM, as an event that a training looks at."""

import contextlib
import threading


class Stop(threading.Event):
    """Set by Ctrl-C and SIGTERM, because a library's callback may swallow KeyboardInterrupt."""

    is_awaited = False  # a training looks at it at each log point, to leave a checkpoint first

    @contextlib.contextmanager
    def awaited(self):
        """What is inside looks at it often; then the signal waits for that, and raises nothing."""
        self.is_awaited = True
        try:
            yield
        finally:
            self.is_awaited = False

    @contextlib.contextmanager
    def held(self):
        """A signal waits for what is inside, which an exception would break, and interrupts after it."""
        with self.awaited():
            yield
        if self.is_set():
            raise KeyboardInterrupt


STOP = Stop()
