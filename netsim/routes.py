"""Which route a call between two kinds of network can take, by the words of RFC 4787. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netsim.grid import ROUTES, Grid, Pair, differences
from netsim.nat import NAT, Filtering, Outbound, Ports, nat
from netsim.nat import Mapping as PortMapping
from netsim.stacks.attempt import Route

LETTERS: dict[Route, str] = {"direct": "D", "relay": "R", "fail": "F"}
"""How tables write routes."""


def expected_routes(kinds: Sequence[str], *, relay: bool, plain: bool) -> dict[Pair, tuple[Route, ...]]:
    """What can be done: the table that runs are compared with.

    ``plain``: as plain aiortc does. With a relay it takes whichever path answers first, so a pair with a
    direct path may be relayed, too; its descriptions travel outside of the network. meshcall never gives up
    a direct path for a relay, and predicts ports or probes for them where ICE alone finds none; hosts without
    UDP signal through those who lend relays.
    """
    routes: dict[Pair, tuple[Route, ...]] = {}
    for row in kinds:
        for column in kinds:
            blocked = any(nat(kind).outbound is not Outbound.ALL for kind in (row, column))
            possible = can_punch(nat(row), nat(column)) or (not plain and can_meet(nat(row), nat(column)))
            if not blocked and possible:
                routes[row, column] = ("direct", "relay") if relay and plain else ("direct",)
            elif relay:
                routes[row, column] = ("relay",)
            else:
                routes[row, column] = ("fail",)
    return routes


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a route is worse than it is meant to be."""

    promised: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What one pair is expected to do as things are."""

    routes: tuple[Route, ...]
    """Any of these will do."""
    gap: Gap | None = None


def parse_table(text: str, kinds: Sequence[str], gaps: Mapping[str, Gap]) -> dict[Pair, Cell]:
    """Cells from lines ``KIND CELL ...``, one column for each of ``kinds``. Raises ValueError.

    A cell is the letters of its routes (``D``, ``R``, ``F``; ``DR``: either will do); behind them there may
    be the letter of one of ``gaps``.
    """
    table: dict[Pair, Cell] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        row, *words = line.split()
        if row not in kinds or len(words) != len(kinds):
            raise ValueError(f"not a kind and {len(kinds)} cells: {line}")
        for column, word in zip(kinds, words, strict=True):
            gap = gaps.get(word[-1])
            letters = word[:-1] if gap else word
            routes = tuple(route for route in ROUTES if LETTERS[route] in letters)
            if not routes or len(routes) != len(letters) or (gap and gap.promised in routes):
                raise ValueError(f"{word!r} is no cell; it is made of {', '.join(LETTERS.values())}: {line}")
            table[row, column] = Cell(routes, gap)
    return table


def judge(grid: Grid, table: Mapping[Pair, Cell]) -> list[str]:
    """How a run differs from its table, a sentence each: both what is worse and gaps that are closed."""
    found = differences(grid, {pair: cell.routes for pair, cell in table.items()})
    closed = [
        f"{caller} calls {callee}: the gap is closed, and must leave the table: {cell.gap.reason}"
        for (caller, callee), cell in table.items()
        if cell.gap is not None and grid.route((caller, callee)) == cell.gap.promised
    ]
    return [*found, *closed]


def needless_relays(grid: Grid) -> list[Pair]:
    """Pairs that were relayed although plain ICE has a direct path between them."""
    possible = expected_routes(grid.kinds, relay=False, plain=True)
    return [pair for pair in grid.attempts if grid.route(pair) == "relay" and possible[pair] == ("direct",)]


def can_punch(one: NAT, other: NAT) -> bool:
    """Whether plain ICE finds a path between two networks whose UDP passes (RFC 4787 words).

    A check from one side must come in at the reflexive address that the other side has told. Then the answer
    goes back the way it came, and the rest follows.
    """
    return _comes_in(one, other) or _comes_in(other, one)


def can_meet(one: NAT, other: NAT) -> bool:
    """Whether prediction or probing finds a path: one port is the same for all, or both can be foretold."""
    both = _depends(one) and _depends(other)
    return not both or (_sequential(one) and _sequential(other))


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
    return carried or kind.mapping in (PortMapping.ADM, PortMapping.APDM)


def _sequential(kind: NAT) -> bool:
    """Whether the next external port is known from the last one."""
    return kind.ports is Ports.SEQUENTIAL and (kind.carrier is None or not _depends(kind.carrier))
