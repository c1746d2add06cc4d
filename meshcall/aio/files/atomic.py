"""Files that are there whole or not at all.

Law 1: a file is written beside its place, forced to the disk, and only then given its name; the folder is
forced to the disk after that. A reader sees the old octets or the new ones.
Law 2: what a killed writer left behind has a name that :func:`sweep` knows, and nothing else has.
Law 3: files are 0600 from birth, and a link in place of a file is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from meshcall import limits
from meshcall.aio.clock import SystemClock, system_random
from meshcall.errors import FileError

T = TypeVar("T")

_LEFTOVER: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


def write_atomic(path: Path, data: bytes) -> None:
    """Replace or make ``path`` (mode 0600); on return it survives a power cut.

    Raises OSError; then ``path`` is as it was and nothing is left beside it.
    """
    temporary = _write_beside(path, data)
    try:
        temporary.replace(path)
    except OSError:
        _unlink_quietly(temporary)
        raise
    sync_folder(path.parent)


def create_exclusive(path: Path, data: bytes) -> None:
    """Make ``path`` (mode 0600) if nothing has that name, not even a dangling link. Raises FileExistsError or
    another OSError; ``path`` is never there in part.
    """
    temporary = _write_beside(path, data)
    try:
        try:
            # link() refuses an existing name, replace() does not
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here (FAT, some network folders): the home's lock keeps other writers away
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            temporary.replace(path)
    finally:
        _unlink_quietly(temporary)
    sync_folder(path.parent)


def read_limited(path: Path, maximum: int = limits.STATE_FILE_MAX) -> bytes:
    """The octets of a regular file; raises :class:`FileError` for a link, a folder, a device or more than
    ``maximum`` octets, FileNotFoundError and other OSErrors.
    """
    with open_regular(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(maximum + 1)
    if len(data) > maximum:
        raise FileError(f"{path} has more than {maximum} octets")
    return data


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """The descriptor of a regular file opened for reading: no link is followed, a fifo is not waited for.

    Raises :class:`FileError` for anything else than a regular file, and OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileError(f"{path} is a symbolic link") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> list[Path]:
    """Remove what killed writers left in ``folder``; returns what was removed.

    Call it while nothing else writes there, that is under the home's lock.
    """
    removed = []
    for entry in sorted(folder.iterdir()):
        if _LEFTOVER.fullmatch(entry.name) and entry.is_file() and not entry.is_symlink():
            _unlink_quietly(entry)
            removed.append(entry)
    return removed


def set_aside(path: Path, *, now_ms: int | None = None, also: tuple[str, ...] = ()) -> Path:
    """Rename a damaged file to ``NAME.corrupt-<UTC time>``, so that somebody can look at it; the new path.

    ``also``: suffixes of files that belong to it (``-wal``), which keep them after the new name.
    """
    moment = datetime.fromtimestamp((SystemClock().now_ms() if now_ms is None else now_ms) / 1000, UTC)
    base = path.with_name(f"{path.name}.corrupt-{moment:%Y%m%dT%H%M%SZ}")
    target, count = base, 1
    while os.path.lexists(target):
        count += 1
        target = base.with_name(f"{base.name}-{count}")
    path.rename(target)
    for suffix in also:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    sync_folder(path.parent)
    return target


def load_or_set_aside(
    path: Path,
    decode: Callable[[bytes], T],
    default: T,
    *,
    maximum: int = limits.STATE_FILE_MAX,
    now_ms: int | None = None,
) -> tuple[T, str | None]:
    """(what ``decode`` makes of the file, None), or (``default``, a warning for the user).

    No file: (default, None). A file that ``decode`` raises for, whatever it raises, is set aside. A file that
    the system can't read is left alone.
    """
    try:
        data = read_limited(path, maximum)
    except FileNotFoundError:
        return default, None
    except OSError as error:
        return default, f"{path} can't be read: {error.strerror or error}"
    except FileError as error:
        reason = str(error)
    else:
        try:
            return decode(data), None
        except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the file is what is wrong
            reason = str(error) or type(error).__name__
    try:
        target = set_aside(path, now_ms=now_ms)
    except OSError as error:
        return default, f"{path} is damaged ({reason}) and can't be renamed: {error.strerror}"
    return default, f"{path.name} was damaged ({reason}); it is kept as {target.name}, a new one is used"


def sync_folder(folder: Path) -> None:
    """Force the names in ``folder`` to the disk. File systems that can't do that are forgiven."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(descriptor)


def probe(folder: Path) -> None:
    """Write a file in ``folder`` and remove it; raises OSError if that can't be done."""
    _unlink_quietly(_write_beside(folder / "probe", b"meshcall\n"))


def _write_beside(path: Path, data: bytes) -> Path:
    """A new file with ``data`` in the folder of ``path``, on the disk; nothing is left if that fails."""
    temporary = path.with_name(f".{path.name}.{system_random(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        _unlink_quietly(temporary)
        raise
    return temporary


def _unlink_quietly(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
