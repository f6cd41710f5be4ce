"""What goes wrong and is told in one line. Imports nothing, so that the command line stays quick."""

import difflib
import errno


class InputError(ValueError):
    """Something the user gave cannot be used; the message names the key, the value and what is allowed."""


class NoSpace(InputError):
    """A disk is full; the message says what is kept, and how to go on."""


def is_full(error):
    """Whether an exception tells of a full disk or a used-up quota, itself or by what it was raised from."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, NoSpace) or (error.__cause__ is not None and is_full(error.__cause__))


def no_space(error, folder, progress=""):
    """The NoSpace for an exception that tells of a full disk: what was not written, and how `folder` goes on."""
    while error.__cause__ is not None:
        error = error.__cause__
    where = (error.filename or folder) if isinstance(error, OSError) else error
    resume = f"to go on: python -m aejax.resume {folder}, once there is some"
    return NoSpace(f"no space left on the disk ({where}); {progress}{resume}")


def matches(word, known):
    """The clause that names what `word` may have meant, empty where nothing known is near."""
    close = difflib.get_close_matches(str(word), [str(name) for name in known], n=3)
    return f"did you mean {' or '.join(close)}? " if close else ""


def near(word, known):
    """The clause that names what `word` may have meant and all that is known, for the end of a message."""
    return f"{matches(word, known)}known: {', '.join(sorted(str(name) for name in known)) or 'none'}"


class JobFailed(Exception):
    """A job of a sweep could not be run; the sweep's summary has told why."""
