"""A zip archive of one folder, read into memory: nothing is extracted, and no size is believed."""

import dataclasses
import errno
import io
import os
import re
import stat
import zipfile
from collections.abc import Mapping

from aejax.base.archive import DAMAGE, check_members
from aejax.base.errors import InputError

SMALL = 2**26  # bytes that an archive of any size may unpack to;
GROWTH = 20  # beyond, how many times its own size
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # names of devices on Windows
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Packed:
    """A folder in an archive, or a file of it; stands where a Path does for what only reads. It can be pickled."""

    archive: str
    files: Mapping[str, bytes]
    inside: str = ""

    def __truediv__(self, name: str) -> "Packed":
        return dataclasses.replace(self, inside=f"{self.inside}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{self.archive}/{self.inside}" if self.inside else self.archive

    def __repr__(self) -> str:
        return f"<Packed {self}>"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(str(self))

    def exists(self) -> bool:
        """Whether it is a file of the archive."""
        return self.inside in self.files

    def opened(self) -> io.BytesIO:
        """The file, opened for reading bytes; raises FileNotFoundError."""
        if not self.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return io.BytesIO(self.files[self.inside])


def unpacked(file: io.BufferedIOBase, path: object, marker: str, limits: Mapping[str, int]) -> Packed:
    """The folder in a zip archive that holds the file `marker`, alone or in one folder above; `path` names the archive.

    Only the files in `limits` {name: most bytes} are read. Raises InputError for an archive that is damaged, that takes
    more memory than it may, or any of whose names could lead out of a folder.
    """
    try:
        size = file.seek(0, io.SEEK_END)
        check_members(file, size)
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _check_names(archive.infolist())
            top = _top(members, marker)
            wanted = {name: members[top + name] for name in limits if top + name in members}
            _check_sizes(wanted, limits, size)
            return Packed(str(path), {name: _content(archive, member) for name, member in wanted.items()})
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason})") from None


def is_zip(file: io.BufferedIOBase) -> bool:
    """Whether an open file begins as a zip archive does."""
    file.seek(0)
    return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _check_names(members: list[zipfile.ZipInfo]) -> None:
    """Raises ValueError for a name that could lead out of a folder, stand for something else, or come twice."""
    known: set[str] = set()
    for member in members:
        name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
        parts = name.removesuffix("/").split("/")
        is_plain = all(part and part == part.rstrip(". ") and not RESERVED.fullmatch(part) for part in parts)
        if len(name) > 1000 or FORBIDDEN.search(name) or not is_plain:
            raise ValueError(f"has the name {_shown(name)}, which is not allowed")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{_shown(name)} is a link or a device, which is not allowed")
        if name.casefold() in known:
            raise ValueError(f"has the name {_shown(name)} twice")
        known.add(name.casefold())


def _top(members: Mapping[str, object], marker: str) -> str:
    """What the names in the folder begin with: nothing, or the name of the only folder that holds the `marker`."""
    tops = [name.removesuffix(marker) for name in members if name == marker or name.endswith(f"/{marker}")]
    if len(tops) != 1:
        raise ValueError(f"holds {len(tops)} files {marker}; must be one")
    if tops[0].count("/") > 1:
        raise ValueError(f"holds {marker} in {_shown(tops[0])}; must be at the top or in one folder")
    return tops[0]


def _check_sizes(members: Mapping[str, zipfile.ZipInfo], limits: Mapping[str, int], size: int) -> None:
    for name, member in members.items():
        if member.flag_bits & 1 or member.compress_type not in KINDS:
            raise ValueError(f"{name} is encrypted, or compressed otherwise than by deflate")
        if member.file_size > limits[name]:
            raise ValueError(f"{name} has {member.file_size:,} bytes; the most are {limits[name]:,}")
    total, most = sum(member.file_size for member in members.values()), max(SMALL, GROWTH * size)
    if total > most:
        raise ValueError(f"unpacks to {total:,} bytes, from {size:,}; the most are {most:,}")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise ValueError(f"{_shown(member.filename)} announces {member.file_size:,} bytes and holds {len(content):,}")
    return content


def _shown(name: str) -> str:
    return ascii(name if len(name) < 80 else f"{name[:77]}...")
