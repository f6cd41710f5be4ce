"""Errors that are reported in one line. Imports nothing heavy, so that the command line starts quickly."""

import difflib
import errno


class InputError(ValueError):
    """The user's input cannot be used; the message names the key, the value and what is allowed."""


class NotTrusted(InputError):
    """A configuration of somebody else's names what only a trusted one may name."""


class InUse(InputError):
    """Another process is using a folder."""


class NoSpace(InputError):
    """A disk is full; the message says what is kept and how to resume."""


def plain_line(text, most=1000):
    """A text of anybody as one line of printable characters: others are escaped, and a long text is cut."""
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(str(text).split()))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def in_words(error, place=None):
    """An exception as one line: an OSError names its file, or else `place`."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = error.filename or place
    return f"{file}: {error.strerror}" if file else error.strerror


def is_full(error):
    """Whether an exception, or one of its causes, reports a full disk or an exhausted quota."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, NoSpace) or (error.__cause__ is not None and is_full(error.__cause__))


def no_space(error, folder, progress=""):
    """The NoSpace for an exception of a full disk: what was not written, and how to resume `folder`."""
    while error.__cause__ is not None:
        error = error.__cause__
    where = (error.filename or folder) if isinstance(error, OSError) else error
    resume = f"to go on: python -m aejax.resume {folder}, once there is some"
    return NoSpace(f"no space left on the disk ({where}); {progress}{resume}")


def matches(word, known):
    """The clause that suggests known names close to `word`; empty if there are none."""
    close = difflib.get_close_matches(str(word), [str(name) for name in known], n=3)
    return f"did you mean {' or '.join(close)}? " if close else ""


def near(word, known):
    """The clause that suggests names close to `word` and lists all known ones, for the end of a message."""
    return f"{matches(word, known)}known: {', '.join(sorted(str(name) for name in known)) or 'none'}"


class JobFailed(Exception):
    """A job of a sweep failed; the sweep's summary has said why."""
