"""What a user writes for ``--source`` and ``--record``, checked before a call rings.

Law: what can be known without opening the media is said here, at once; whether a file really holds media
is found out where it is decoded.
"""

from __future__ import annotations

import os
from pathlib import Path

from meshcall import limits
from meshcall.errors import RecordFailed, RecordTargetExists, SourceUnusable
from meshcall.media.plan import parse_source


def absolute_source(text: str, directory: Path) -> str:
    """``text`` as the daemon needs it: a built-in source as it is, a file as an absolute path."""
    if parse_source(text).kind != "file":
        return text
    return str(_absolute(text, directory))


def check_source(source: str) -> None:
    """Raise :class:`SourceUnusable` if ``source`` can't be one."""
    if parse_source(source).kind != "file":
        return
    path = Path(source)
    try:
        is_file, exists = path.is_file(), path.exists()
    except (OSError, ValueError):
        is_file = exists = False
    if not exists:
        raise SourceUnusable(f"there is no media file {source!r}")
    if not is_file:
        raise SourceUnusable(f"{source!r} is not a file")
    if not os.access(path, os.R_OK):
        raise SourceUnusable(f"the media file {source!r} can't be read", hint="check its permissions")


def absolute_record(text: str, directory: Path) -> Path:
    """The file to record to as an absolute path."""
    return _absolute(text, directory)


def screen_record(path: Path) -> Path:
    """Where a shared screen is recorded to, beside the recording at ``path``."""
    return path.with_name(f"{path.stem}-screen{path.suffix}")


def free_record(folder: Path, name: str) -> Path | None:
    """A file in ``folder`` that is not there yet, called ``name`` with a number if it takes one.

    None if all are taken. Blocks.
    """
    numbers = ("", *(f"-{number}" for number in range(2, limits.ROOM_LINKS_ENDED_MAX)))
    paths = (folder / f"{name}{number}.mkv" for number in numbers)
    return next((path for path in paths if not os.path.lexists(path)), None)


def check_record(path: Path) -> None:
    """Raise :class:`RecordTargetExists` or :class:`RecordFailed` if nothing can be recorded to ``path``."""
    try:
        path.lstat()
    except FileNotFoundError:
        _check_writable(path.parent)
    except (OSError, ValueError) as error:  # not a folder, a name that is too long, a NUL
        raise RecordFailed(f"nothing can be recorded to {str(path)!r}") from error
    else:
        raise RecordTargetExists(f"{str(path)!r} exists already")


def check_record_dir(path: Path) -> None:
    """Raise :class:`RecordFailed` if recordings can't be put into the folder ``path``, nor it be made."""
    _check_writable(path if path.exists() else path.parent)


def make_record_dir(path: Path) -> None:
    """Make the folder ``path``, for its owner alone, if it is not there; raises :class:`RecordFailed`."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RecordFailed(f"the folder {str(path)!r} can't be made: {error.strerror}") from error


def _check_writable(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise RecordFailed(f"{str(directory)!r} is not a folder")
    if not directory.is_dir():
        raise RecordFailed(f"there is no folder {str(directory)!r} to record into", hint="make it first")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise RecordFailed(f"the folder {str(directory)!r} can't be written", hint="check its permissions")


def _absolute(text: str, directory: Path) -> Path:
    return directory / text
