"""How an error is shown: one line ``error: ...`` and, if there is advice, one line ``hint: ...``, on stderr.

Law: whatever a peer or a file put into the text can't write to the terminal's control channel.
"""

from __future__ import annotations

import os
import sys

from meshcall.errors import FileError, MeshcallError

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


def phrase(text: str) -> str:
    """A sentence as it stands behind ``error:`` or a name: without its full stop."""
    return text if text.endswith("..") else text.removesuffix(".")


def error_lines(error: MeshcallError) -> list[str]:
    """The one or two lines that say what went wrong and what to do."""
    text = str(error)
    if text == error.sentence():
        text = text[:1].lower() + text[1:]
    lines = [f"error: {printable(phrase(text))}"]
    if error.hint:
        lines.append(f"hint: {printable(error.hint)}")
    return lines


def write_result(line: str) -> None:
    """Write a line to stdout at once; :class:`FileError` if it can't be written (a full disk).

    A reader that went away is a :class:`BrokenPipeError`, of which nothing need be said.
    """
    if sys.stdout is None:  # closed by whoever started us
        return
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - or what is left is tried again at the end
        raise FileError(f"the output can't be written: {error.strerror}") from error


def print_error(error: MeshcallError) -> None:
    """Write :func:`error_lines` to stderr; a closed stderr is no reason to fail."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write("\n".join(error_lines(error)) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
