"""QR codes on a terminal."""

from __future__ import annotations

import io


def qr_lines(text: str) -> str:
    """``text`` as a QR code of half-block characters, error correction M, readable on dark and light."""
    import segno  # late: only --qr needs it

    drawing = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(drawing, compact=True)
    return drawing.getvalue().rstrip("\n")
