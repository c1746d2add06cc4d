"""How an error is shown: one line ``error: ...`` and, if there is advice, one line ``hint: ...``, on stderr.

Law: whatever a peer or a file put into the text can't write to the terminal's control channel.
"""

from __future__ import annotations

import sys

from meshcall.errors import MeshcallError

_JOINERS = "\u200c\u200d"
"""Format characters that names need (emoji, Persian, Indic scripts) and that can't steer anything."""


def printable(text: str) -> str:
    """``text`` with everything that could steer a terminal or forge a line replaced.

    Control and format characters (escape sequences, newlines, right-to-left overrides) and lone
    surrogates become U+FFFD. Never raises.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _JOINERS else "�" for char in text)


def error_lines(error: MeshcallError) -> list[str]:
    """The one or two lines that say what went wrong and what to do."""
    lines = [f"error: {printable(str(error))}"]
    if error.hint:
        lines.append(f"hint: {printable(error.hint)}")
    return lines


def print_error(error: MeshcallError) -> None:
    """Write :func:`error_lines` to stderr; a closed stderr is no reason to fail."""
    try:
        sys.stderr.write("\n".join(error_lines(error)) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
