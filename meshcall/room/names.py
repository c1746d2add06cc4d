"""How members are called where people see them.

Law: all members call each other the same: it depends on nothing but who is here and what each calls itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshcall.identity.peer_id import PeerId


def shown_names(names: Mapping[PeerId, str]) -> dict[PeerId, str]:
    """A different name for each: of those that share one, the lowest ID keeps it, the next is "ann (2)".

    Case makes no difference between names. Who has no name goes by the short form of the ID.
    """
    shown: dict[PeerId, str] = {}
    taken: set[str] = set()
    for peer in sorted(names):
        name = names[peer] or peer.short
        text, number = name, 1
        while text.casefold() in taken:
            number += 1
            text = f"{name} ({number})"
        taken.add(text.casefold())
        shown[peer] = text
    return shown
