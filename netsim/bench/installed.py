"""As on a machine where meshcall is installed: its bytecode is there, so no start compiles it.

Where the environment forbids Python to write bytecode beside the sources, each start of a daemon would
compile all of them, for half a second of a core, which no user's daemon does.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def bytecode() -> dict[str, str]:
    """What a program's environment needs besides our own; nothing where bytecode is kept anyway."""
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    folder = Path(tempfile.gettempdir()) / f"meshcall-bytecode-{os.getuid()}"
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def environment() -> dict[str, str]:
    """All of a program's environment."""
    return {**os.environ, **bytecode()}
