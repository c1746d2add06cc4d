"""The listening socket: where it is, who may open it, who has opened it."""

from __future__ import annotations

import os
import socket
import stat
import struct

from meshcall.control.socket_path import socket_address
from meshcall.errors import HomeNotUsable, LoosePermissions
from meshcall.paths import HomePaths

BACKLOG = 16


def listen(paths: HomePaths) -> socket.socket:
    """A listening socket at ``paths.socket``, mode 0600 in a folder of mode 0700.

    The caller holds the home's lock: a socket that lies there already is a dead daemon's and is replaced.
    Raises :class:`HomeNotUsable` or :class:`LoosePermissions`.
    """
    try:
        _prepare_folder(paths)
        _remove_stale(paths)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(paths.socket) as address:
                listening.bind(address)
            paths.socket.chmod(0o600)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HomeNotUsable(f"the socket {paths.socket} can't be made: {reason}") from error
    return listening


def _prepare_folder(paths: HomePaths) -> None:
    paths.run.mkdir(mode=0o700, exist_ok=True)
    info = paths.run.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise HomeNotUsable(f"{paths.run} is not a folder", hint="move it away")
    if info.st_uid != os.geteuid():
        raise HomeNotUsable(f"{paths.run} belongs to another user", hint="move it away")
    if info.st_mode & 0o077:
        raise LoosePermissions(
            f"other users of this machine can enter {paths.run}", hint=f"chmod 700 {paths.run}"
        )


def _remove_stale(paths: HomePaths) -> None:
    try:
        info = paths.socket.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise HomeNotUsable(f"{paths.socket} is not a socket", hint="move it away")
    paths.socket.unlink()


def peer_uid(connection: socket.socket) -> int | None:
    """The user id at the other end (SO_PEERCRED, unix(7)); None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
