"""Words of a command line: the known options, and one line for an error."""

import argparse
import atexit
import contextlib
import gc
import os
import sys

from aejax.base.errors import InputError, in_words, plain_line

OPTIONS = ("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info",
           "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")  # fmt: skip
LONGEST = 10_000  # characters of a message
atexit.register(gc.freeze)  # without a last search for garbage, which takes Python a second where JAX is loaded
LETTERS = ("-h", "-c", "-p", "-r", "-m", "-i", "-sc", "-cp", "-cn", "-cd")


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a wrong option in one line."""

    def error(self, message):
        fail(f"{self.prog.rpartition('.')[2]}: {message}; --help lists all options")


def check_options(words):
    """Raises InputError for an option that Hydra does not have; Hydra's own message takes eight lines."""
    for word in words:
        name = word.partition("=")[0]
        known = any(option.startswith(name) for option in OPTIONS) if name[:2] == "--" else name in LETTERS
        if name.startswith("-") and not known:
            raise InputError(f"{name}: no such option; settings are written as {name.lstrip('-') or 'seed'}=VALUE")


@contextlib.contextmanager
def reported(place):
    """A user's mistake becomes one line and exit status 2, Ctrl-C status 130; `place` names an error without a file."""
    try:
        yield
    except InputError as error:
        fail(error)
    except OSError as error:
        fail(in_words(error, place))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        flush_output()


def flush_output():
    """Flushes stdout at the end of a command; if that fails, Python's own flush at exit goes nowhere."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message, status=2):
    """Prints one line, a message or an exception, to stderr and exits with `status`."""
    print(f"aejax: {plain_line(in_words(message), LONGEST)}", file=sys.stderr)
    raise SystemExit(status)
