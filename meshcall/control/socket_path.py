"""Unix socket addresses of any length.

A socket's address holds at most 107 octets (``sun_path``, unix(7)), a path may be far longer. Where Linux
offers ``/proc/self/fd``, a longer path is reached through an open descriptor of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshcall.errors import HomeNotUsable

SUN_PATH_MAX = 103
"""Octets that every system accepts: 104 with the final zero on the BSDs and macOS, 108 on Linux."""


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for ``bind`` or ``connect`` that means ``path``, valid inside the ``with`` block.

    Raises :class:`OSError` if the folder can't be opened, :class:`HomeNotUsable` if there is no way.
    """
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise HomeNotUsable("the path of the home directory is too long", hint="choose a shorter `--home`")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
