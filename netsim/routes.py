"""Which route a call between two kinds of network can take, by the words of RFC 4787. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.grid import ROUTES, Grid, Pair
from netsim.nat import NAT, Filtering, Mapping, Outbound, nat
from netsim.stacks.attempt import Route

LETTERS: dict[Route, str] = {"direct": "D", "relay": "R", "fail": "F"}
"""How tables write routes; ``DR``: either will do."""


def expected_routes(
    kinds: Sequence[str], *, relay: bool, relay_when_blocked: bool
) -> dict[Pair, tuple[Route, ...]]:
    """What plain ICE can do: the table that runs are compared with.

    With a relay, plain ICE takes whichever path answers first, so a pair with a direct path may be relayed,
    too. ``relay_when_blocked``: whether hosts without UDP can signal and reach a relay.
    """
    routes: dict[Pair, tuple[Route, ...]] = {}
    for row in kinds:
        for column in kinds:
            blocked = any(nat(kind).outbound is not Outbound.ALL for kind in (row, column))
            if not blocked and can_punch(nat(row), nat(column)):
                routes[row, column] = ("direct", "relay") if relay else ("direct",)
            elif relay and (relay_when_blocked or not blocked):
                routes[row, column] = ("relay",)
            else:
                routes[row, column] = ("fail",)
    return routes


def parse_table(text: str, kinds: Sequence[str]) -> dict[Pair, tuple[Route, ...]]:
    """Routes from lines ``KIND LETTERS ...``, one column for each of ``kinds``. Raises ValueError."""
    routes: dict[Pair, tuple[Route, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        row, *cells = line.split()
        if row not in kinds or len(cells) != len(kinds):
            raise ValueError(f"not a kind and {len(kinds)} cells: {line}")
        for column, cell in zip(kinds, cells, strict=True):
            found = tuple(route for route in ROUTES if LETTERS[route] in cell)
            if not found or len(found) != len(cell):
                raise ValueError(f"{cell!r} is no route; write {', '.join(LETTERS.values())}: {line}")
            routes[row, column] = found
    return routes


def needless_relays(grid: Grid) -> list[Pair]:
    """Pairs that were relayed although plain ICE has a direct path between them."""
    possible = expected_routes(grid.kinds, relay=False, relay_when_blocked=False)
    return [pair for pair in grid.attempts if grid.route(pair) == "relay" and possible[pair] == ("direct",)]


def can_punch(one: NAT, other: NAT) -> bool:
    """Whether plain ICE finds a path between two networks whose UDP passes (RFC 4787 words).

    A check from one side must come in at the reflexive address that the other side has told. Then the answer
    goes back the way it came, and the rest follows.
    """
    return _comes_in(one, other) or _comes_in(other, one)


def _comes_in(sender: NAT, receiver: NAT) -> bool:
    """Whether the sender's check reaches the receiver, which has sent a check to the sender before."""
    if receiver.carrier is not None and not _comes_in(sender, receiver.carrier):
        return False
    if receiver.filtering is Filtering.EIF:
        return True
    if _depends(receiver):
        return False  # its own check left by another port than the one that it has told
    return not _depends(sender) or receiver.filtering is Filtering.ADF


def _depends(kind: NAT) -> bool:
    """Whether a network's external port depends on the destination."""
    carried = kind.carrier is not None and _depends(kind.carrier)
    return carried or kind.mapping in (Mapping.ADM, Mapping.APDM)
