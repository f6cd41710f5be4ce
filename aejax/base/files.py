"""Files that are written whole or not at all, safe opening of foreign files, and locks on folders."""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import stat
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

from aejax.base.errors import InputError, InUse, plain_line
from aejax.base.packed import Packed

LOCK = ".lock"
MOST_OWNER = 1024  # bytes


def write_whole(path, content, lasting=True):
    """Writes text or bytes to `path` by way of a temporary file, so that it holds either the new content or the old.

    That holds when the process is killed; with `lasting`, which costs a millisecond, also when the power fails.
    """
    with whole(path, lasting) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path, lasting=True):
    """A temporary file for bytes that takes the place of `path` when it is complete, as in `write_whole`."""
    path = Path(path)
    part = f"{path.parent}/.{path.name}.{os.getpid()}.part"
    try:
        with _opened(part) as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, part):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextlib.contextmanager
def whole_folder(path):
    """A temporary folder that takes the place of the folder `path` when it is complete; otherwise that stays."""
    path = Path(os.path.abspath(path))  # "." has no name
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{word}") for word in ("part", "old"))
    try:
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def regular(path):
    """Opens a regular file for reading bytes; raises InputError for any other, which might block or never end.

    A Packed file is one too.
    """
    if isinstance(path, Packed):
        return path.opened()
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InputError(f"{path}: cannot be read (is no regular file)")
    return os.fdopen(file, "rb")


def octets(path, most):
    """The bytes of a regular file; raises InputError if there are more than `most`."""
    with regular(path) as file:
        size = file.seek(0, os.SEEK_END)  # to read `most` bytes would allocate them, whatever there is to read
        file.seek(0)
        data = file.read(min(size, most) + 1)
    if len(data) > most:
        raise InputError(f"{path}: cannot be read (has more than {most:,} bytes)")
    return data


def _opened(path):
    """Opens a new file and creates its folder if that is missing; a single system call if it is not."""
    try:
        return open(path, "xb")
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # left by a killed process, or a link
        Path(path).unlink()
    return open(path, "xb")


def remove_parts(folder):
    """Removes the temporary files that a killed process left in `folder`."""
    for part in Path(folder).glob(".*.part"):
        part.unlink(missing_ok=True)


def set_aside(path):
    """Renames a broken file within its folder; returns the new path."""
    path = Path(path)
    names = (path.with_name(f"{path.name}.broken{number or ''}") for number in itertools.count())
    free = next(name for name in names if not name.exists())
    path.rename(free)
    return free


def seen_afresh(folder):
    """Lists a folder: then a client of NFS asks its server what other hosts have changed in it."""
    with contextlib.suppress(FileNotFoundError):
        os.listdir(folder)


def check_free(folder):
    """Raises InputError if another process is using the `folder` of a run or a sweep."""
    # Without filelock, which would create a missing file and needs write permission.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), regular(Path(folder) / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(folder) from None
        except OSError as error:
            if error.errno != errno.ENOSYS:  # without flock `locked` decides
                raise


@contextlib.contextmanager
def locked(folder):
    """Locks the `folder` of a run or a sweep; raises InUse if another process is using it.

    The lock is released when its owner exits, however it does. On NFS it holds for all hosts. Where a file system has
    no flock, as Lustre mounted without it, the file itself is the lock: if its owner was killed, a process on the same
    host takes it over; on another host somebody must remove it.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hold = acquired(path, timeout=0.1)  # long enough for an owner that is finishing to remove its file
    except Timeout:
        raise _taken(folder) from None
    with hold:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while held: filelock does not acquire a file that has been removed


def acquired(path, timeout=-1):
    """A lock file, held until its `with` or its process ends; raises Timeout, or InputError if it is a link."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flock not supported")
            return FileLock(path, timeout=timeout, fallback_to_soft=True).acquire()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path}: is a link; remove it if no process is using {Path(path).parent}") from None


def _taken(folder):
    owner = b""
    with contextlib.suppress(OSError, InputError), regular(Path(folder) / LOCK) as file:
        owner = file.read(MOST_OWNER)  # of a file that is itself the lock
    pid, _, rest = owner.decode(errors="replace").partition("\n")
    host = rest.partition("\n")[0]
    if pid.isdigit() and host:
        who = f"process {pid} on {plain_line(host)}"
        return InUse(f"{folder}: {who} is using it; choose another folder, or remove {LOCK} if it has ended")
    return InUse(f"{folder}: another process is using it; choose another folder")
