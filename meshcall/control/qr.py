"""A QR code as SVG, for the page."""

from __future__ import annotations

import io

import segno


def draw(text: str, *, as_it_is: bool = False) -> bytes:
    """The code of ``text``, with a margin, black on white.

    In upper case, which a link to a peer bears: QR's alphanumeric mode makes a smaller picture.
    ``as_it_is``: a link to a room does not bear it.
    """
    picture = io.BytesIO()
    code = segno.make(text if as_it_is else text.upper(), error="m", micro=False)
    code.save(picture, kind="svg", scale=6, border=2, dark="#000", light="#fff", xmldecl=False)
    return picture.getvalue()
