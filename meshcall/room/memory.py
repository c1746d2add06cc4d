"""What a member keeps of a room over a restart: removals, the lock, whom it blocked, who was here lately.

Law: nothing in it is needed to come back in, so what is damaged is left out, and the rest counts.

::

    memory = *part      part = kind(u8) length(u16) value
    2 setting   3 removal   4 ID key of somebody blocked(32)   5 ID key of a member(32); others are skipped
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.ice.octets import Octets
from meshcall.identity.peer_id import PeerId
from meshcall.room.statements import REMOVAL_LENGTH, SETTING_LENGTH

_SETTING, _REMOVAL, _BLOCKED, _MEMBER = 2, 3, 4, 5
_LENGTHS = {_SETTING: SETTING_LENGTH, _REMOVAL: REMOVAL_LENGTH, _BLOCKED: 32, _MEMBER: 32}


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept."""

    settings: tuple[bytes, ...] = ()
    removals: tuple[bytes, ...] = ()
    blocked: tuple[PeerId, ...] = ()
    members: tuple[PeerId, ...] = ()

    def encode(self) -> bytes:
        """Some hundred octets in an ordinary room."""
        parts = [_part(_SETTING, setting) for setting in self.settings]
        parts += [_part(_REMOVAL, removal) for removal in self.removals]
        parts += [_part(_BLOCKED, peer.key) for peer in self.blocked]
        parts += [_part(_MEMBER, peer.key) for peer in self.members]
        return b"".join(parts)


def decode_memory_untrusted(data: bytes) -> Memory:
    """What was kept. Cannot fail: from where it is damaged on nothing is read. Signatures are not checked."""
    values: dict[int, list[bytes]] = {kind: [] for kind in _LENGTHS}
    octets = Octets(data[: limits.ROOM_MEMORY_MAX])
    try:
        while octets.left:
            kind = octets.u8()
            value = octets.take(octets.u16())
            if len(value) == _LENGTHS.get(kind):
                values[kind].append(value)
    except Rejected:
        pass
    return Memory(
        tuple(values[_SETTING][: limits.ROOM_SETTINGS_MAX]),
        tuple(values[_REMOVAL][: limits.ROOM_REMOVALS_MAX]),
        _peers(values[_BLOCKED], limits.ROOM_BLOCKED_MAX),
        _peers(values[_MEMBER], limits.ROOM_ENTRIES_MAX),
    )


def _peers(keys: Iterable[bytes], most: int) -> tuple[PeerId, ...]:
    found: dict[PeerId, None] = {}
    for key in keys:
        try:
            found[PeerId.from_key_untrusted(key)] = None
        except Rejected:
            continue
    return tuple(found)[:most]


def _part(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value
