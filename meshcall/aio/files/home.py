"""The home: the one folder that holds a node's key, state and sockets.

Law 1: one daemon per home, held by a lock that dies with its process, however that dies.
Law 2: a home that others can read or write is refused, with the command that mends it; it is never mended
behind the user's back.

::

    HOME/              0700
      identity.key     0600  the key file (meshcall.identity.vault)
      identity.pub     0600  the ID as text
      state.db         0600  contacts, prekeys, counters, history (and -wal, -shm beside it)
      dht.state        0600  saved routing tables
      run/             0700
        lock           0600  held by the daemon, holds its process id
        control.sock   0600  the local API
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import stat
from pathlib import Path
from types import TracebackType

from meshcall.aio.files.atomic import probe, sweep
from meshcall.errors import AlreadyRunning, HomeNotUsable, LoosePermissions
from meshcall.paths import HomePaths

_LOOSE = 0o077


def open_home(path: Path) -> HomePaths:
    """The home at ``path``, made with its parents if there is none (all 0700).

    Raises :class:`HomeNotUsable` (not a folder, not ours, not writable, disk full) or its child
    :class:`LoosePermissions`, each with what to do.
    """
    absolute = os.path.abspath(path.expanduser())  # noqa: PTH100 - resolve() would hide a link in messages
    home = HomePaths(Path(absolute))
    try:
        _make_folder(home.path)
        _check_folder(home.path)
        _make_folder(home.run)
        _check_folder(home.run)
        # Permissions, read-only file systems and full disks show only when something is written
        probe(home.path)
        probe(home.run)
    except (OSError, ValueError) as error:
        raise HomeNotUsable(
            f"the home {home.path} can't be used: {getattr(error, 'strerror', None) or error}",
            hint="choose another with `--home DIR` or MESHCALL_HOME",
        ) from error
    return home


def check_private(path: Path, status: os.stat_result, command: str) -> None:
    """Raise unless only we can read ``path``; ``command`` is the start of the chmod that mends it."""
    if status.st_uid != os.geteuid():
        raise HomeNotUsable(
            f"{path} belongs to another user",
            hint="run meshcall as that user, or choose another home with `--home DIR`",
        )
    if stat.S_IMODE(status.st_mode) & _LOOSE:
        mode = stat.S_IMODE(status.st_mode)
        raise LoosePermissions(
            f"other users of this machine can use {path} (mode {mode:04o})",
            hint=f"{command} {shlex.quote(str(path))}",
        )


def _make_folder(path: Path) -> None:
    """Make ``path`` and its missing parents, all 0700."""
    if path.exists():
        return
    if path.is_symlink():
        raise HomeNotUsable(f"the home {path} is a symbolic link to nothing")
    _make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)


def _check_folder(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise HomeNotUsable(f"{path} is not a folder", hint="choose another home with `--home DIR`")
    check_private(path, status, "chmod 700")


class HomeLock:
    """The daemon's hold on its home. ``with HomeLock(home): ...``, or :meth:`acquire` and :meth:`release`."""

    def __init__(self, home: HomePaths) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and sweep the home; raises :class:`AlreadyRunning` (with the other's process id) or
        :class:`HomeNotUsable`.
        """
        path = self._home.lock
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise HomeNotUsable(f"the lock {path} can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_pid(descriptor)
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise HomeNotUsable(f"the lock {path} can't be taken: {error.strerror}") from error
            who = f" (process {holder})" if holder else ""
            raise AlreadyRunning(f"another meshcall daemon{who} uses the home {self._home.path}") from None
        # The file stays when the lock goes: removing it would let two daemons lock two files of one name
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        for folder in (self._home.path, self._home.run):
            sweep(folder)  # what killed writers left

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def __enter__(self) -> HomeLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
