"""Files that are whole or not there, how those of anybody are opened, and folders that one process is at work in."""

import contextlib
import errno
import fcntl
import itertools
import os
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from aejax.base.errors import InputError

LOCK = ".lock"


def write_whole(path, content, lasting=True):
    """Writes text or bytes to `path`: under another name first, so that the file is whole or what it was.

    That holds when the process is killed; where it is `lasting`, which costs a millisecond, also when the power fails.
    """
    path = Path(path)
    part = f"{path.parent}/.{path.name}.{os.getpid()}.part"
    try:
        with _opened(part) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def regular(path):
    """An open file of bytes; raises InputError for what is no regular file, which may wait or never end."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InputError(f"{path}: cannot be read (is no regular file)")
    return os.fdopen(file, "rb")


def octets(path, most):
    """The bytes of a regular file; raises InputError where there are more than `most`."""
    with regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"{path}: cannot be read (has more than {most:,} bytes)")
    return data


def _opened(path):
    """A new file, in a folder that is made where it is missing: one call of the system where it is not."""
    try:
        return open(path, "xb")
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # of a killed process, or a link that somebody made
        Path(path).unlink()
    return open(path, "xb")


def remove_parts(folder):
    """Removes what a killed process was writing in `folder`."""
    for part in Path(folder).glob(".*.part"):
        part.unlink(missing_ok=True)


def set_aside(path):
    """Gives a broken file a new name beside its old one, and returns that."""
    path = Path(path)
    names = (path.with_name(f"{path.name}.broken{number or ''}") for number in itertools.count())
    free = next(name for name in names if not name.exists())
    path.rename(free)
    return free


def check_free(folder):
    """Raises InputError where another process is at work in the `folder` of a run or a sweep."""
    # Not by filelock, which would make the file where there is none, and needs one that it may write to.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), regular(Path(folder) / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(folder) from None


@contextlib.contextmanager
def locked(folder):
    """Keeps other processes out of the `folder` of a run or a sweep; raises InputError where one is at work in it.

    The lock dies with its owner.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hold = acquired(path, timeout=0.1)  # in which an owner that is about to leave removes its file
    except Timeout:
        raise _taken(folder) from None
    with hold:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: filelock does not take a file that is no longer there


def acquired(path, timeout=-1):
    """A lock file that is held until its `with` or its owner ends; raises Timeout, InputError where it is a link."""
    try:
        return FileLock(path, timeout=timeout, fallback_to_soft=False).acquire()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path}: is a link; remove it if no process is using {Path(path).parent}") from None


def _taken(folder):
    return InputError(f"{folder}: another process is using it; choose another folder")
