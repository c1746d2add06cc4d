"""How results are printed.

Law 1: results go to stdout, everything else (progress, notes, errors) to stderr.
Law 2: tables for a terminal, tab-separated lines without a heading for a pipe, JSON with ``--json``.
Law 3: no text of a peer reaches the terminal before :func:`meshcall.reporting.printable`.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from meshcall.reporting import printable, write_result


def emit(text: str) -> None:
    """A line of result."""
    write_result(text)


def note(text: str) -> None:
    """A line for the person who looks on; never part of the result."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def emit_json(document: dict[str, Any], *, line: bool = False) -> None:
    """A document: indented on a terminal, one line in a pipe or when ``line`` asks for JSON lines.

    ASCII only, so that neither the locale nor a name can spoil it.
    """
    indent = 2 if sys.stdout.isatty() and not line else None
    separators = (",", ": ") if indent else (",", ":")
    emit(json.dumps(document, indent=indent, separators=separators))


def emit_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "") -> None:
    """Rows under headings on a terminal, fields between tabs in a pipe; ``empty``: said if there are none."""
    lines = [[printable(cell) for cell in row] for row in rows]
    if not lines and empty:
        note(empty)
        return
    if not sys.stdout.isatty():
        for line in lines:
            emit("\t".join(line))
        return
    from rich.console import Console  # late: rich costs 40 ms
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading.upper(), overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    Console().print(table)


def emit_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned on a terminal, between tabs in a pipe."""
    pairs = [(name, printable(value)) for name, value in fields]
    width = max((len(name) for name, _ in pairs), default=0)
    if not sys.stdout.isatty():
        for name, value in pairs:
            emit(f"{name}\t{value}")
        return
    room = max(20, shutil.get_terminal_size().columns - width - 2)
    for name, value in pairs:
        # wrapped between words only: an ID or a path that was cut could not be copied
        lines = textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            emit(f"{'' if number else name:<{width}}  {line}")


def gateway_text(gateway: str) -> str:
    """What carries in the place of UDP: ``tls:HOST:PORT``, for people."""
    scheme, _, place = gateway.partition(":")
    return f"through {place} by {scheme.upper()}"


def display_name(view: dict[str, Any]) -> str:
    """Our name for a peer; else its own name in quotes, as nobody has checked it; else the short ID."""
    if view.get("name"):
        return str(view["name"])
    if view.get("self_name"):
        return f'"{view["self_name"]}"'
    return str(view.get("short") or str(view.get("peer_id", ""))[:7])
