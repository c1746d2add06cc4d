"""As on a machine where meshcall is installed: its bytecode is there, so no start compiles it.

Where the environment forbids Python to write bytecode beside the sources, each start of a daemon would
compile all of them, for half a second of a core, which no user's daemon does.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def bytecode() -> dict[str, str]:
    """What a program's environment needs besides our own; nothing where bytecode is kept anyway."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    folder = Path(tempfile.gettempdir()) / f"meshcall-bytecode-{os.getuid()}"
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)} if _is_ours(folder) else {}


def _is_ours(folder: Path) -> bool:
    """Made now if it is not there. Whoever else may write into it would run code as us."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022


def environment() -> dict[str, str]:
    """All of a program's environment."""
    return {**os.environ, **bytecode()}
