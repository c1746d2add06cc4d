"""How large a member that has no page is shown the others' pictures, unless it was told how large. Pure.

Law 1: among a few, as large as the ways carry; in a crowd, as a page shows so many: each picture more is
received and decoded by everybody, and sent by one.
Law 2: who records each member by itself gets all that there is.
"""

from __future__ import annotations

from typing import Final

from meshcall import limits

Shown = tuple[int, int]
"""Pixels of height, and pictures a second."""

WHOLE: Final[Shown] = (720, limits.SOURCE_RATE_MAX)
"""As large as anything is sent."""
TILE: Final[Shown] = (360, 15)


def shown(people: int, *, whole: bool) -> Shown:
    """To ask each other for, of so many ``people`` in the room, us included; ``whole``: whatever they are."""
    return WHOLE if whole or people <= limits.ROOM_CROWD else TILE
