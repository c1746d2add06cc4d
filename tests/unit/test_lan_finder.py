"""A room that is for the LAN alone asks nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.room_session import LanFinder
from meshcall.testing.clock import seeded_random

if TYPE_CHECKING:
    from meshcall.finder import Finder

ANN = PeerId.from_key(SigningKey.generate(seeded_random("lan")).public)


class PlayedFinder:
    """Finds everybody, somewhere."""

    def __init__(self, addresses: tuple[tuple[str, int], ...]) -> None:
        self.asked = 0
        self.forgotten: list[PeerId] = []
        self._found = SimpleNamespace(addresses=addresses)

    async def find(self, peer: PeerId, *, by_id: bool) -> object:
        self.asked += 1
        return self._found

    def forget(self, peer: PeerId) -> None:
        self.forgotten.append(peer)


@pytest.mark.parametrize(
    ("here", "addresses", "asked", "found"),
    [
        (False, (), 0, False),
        (True, (), 1, False),
        (True, (("192.168.1.7", 4000),), 1, True),
    ],
)
async def test_nobody_is_looked_for_elsewhere(
    here: bool, addresses: tuple[tuple[str, int], ...], asked: int, found: bool
) -> None:
    """Who is not shown by mDNS is not asked for; who was found by the DHT does not count."""
    played = PlayedFinder(addresses)
    finder = LanFinder(cast("Finder", played), lambda peer: here)
    assert (await finder.find(ANN) is not None) is found
    assert played.asked == asked
    finder.forget(ANN)
    assert played.forgotten == [ANN]
