"""The daemon's program, which takes the command line's place.

Law: who starts a daemon waits for it, so this needs nothing that the daemon does not load itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

FLAGS: Final = {
    "--quiet": ("--quiet",),
    "-q": ("--quiet",),
    "--verbose": ("--verbose",),
    "-v": ("--verbose",),
    "-vv": ("--verbose", "--verbose"),
}
"""The flags of all commands -> what the daemon calls them."""


def daemon_arguments(words: Iterable[str]) -> list[str] | None:
    """What the daemon is given by a command line whose options for all commands come first.

    None: it is another command, or one that takes more to read.
    """
    ours: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--home":
            ours += [word, next(waiting)]
        elif word.startswith("--home="):
            ours.append(word)
        elif word in FLAGS:
            ours += FLAGS[word]
        else:
            rest = list(waiting)
            return [*ours, *rest] if word == "daemon" and "--" not in rest else None
    return None


def become_daemon(arguments: Sequence[str]) -> NoReturn:
    """Run the daemon in this process."""
    sys.stdout.flush()
    # -P: no modules of the folder that we are in, which others may write to
    command = [sys.executable, "-P", "-m", "meshcall.daemon", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
