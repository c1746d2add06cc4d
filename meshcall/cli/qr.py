"""QR codes on a terminal."""

from __future__ import annotations

import io
import os
import sys

from meshcall.cli.output import emit

_WHITE_ON_BLACK = "\x1b[97;40m"
_RESET = "\x1b[0m"


def qr_lines(text: str, *, colour: bool = False) -> str:
    """``text`` as a QR code of half-block characters, error correction M.

    The blocks are the light parts, which suits a dark terminal; ``colour`` says so to every terminal.
    """
    import segno  # late: only --qr needs it

    drawing = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(drawing, compact=True)
    lines = drawing.getvalue().rstrip("\n").split("\n")
    return "\n".join(f"{_WHITE_ON_BLACK}{line}{_RESET}" if colour else line for line in lines)


def show_qr(text: str) -> None:
    """Draw ``text`` on stdout."""
    emit(qr_lines(text, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
