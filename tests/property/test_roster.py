"""The roster is a CRDT: who has seen the same has the same, in whatever order and however often it came."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.room.descriptor import Room
from meshcall.room.entry import MediaFlags, sign_entry
from meshcall.room.roster import Roster
from meshcall.room.statements import sign_removal, sign_setting

SIGNERS = [SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 7)]
ROOM = Room.create(SIGNERS[0].peer_id, SIGNERS[0].sign, "deck 7", now_ms=0, random=lambda size: bytes(size))
ME = SigningKey.from_seed(bytes([99]) * 32).peer_id
NUMBERS = st.integers(0, 3)


def _line(number: int, incarnation: int, seq: int, *, left: bool) -> tuple[str, bytes]:
    key = SIGNERS[number]
    entry = sign_entry(
        key.peer_id, key.sign, ROOM.roster_key,
        incarnation=incarnation, seq=seq, left=left, flags=MediaFlags(), name="",
    )  # fmt: skip
    return "entry", entry.octets


def _setting(number: int, count: int, *, locked: bool) -> tuple[str, bytes]:
    key = SIGNERS[number]
    return "setting", sign_setting(key.peer_id, key.sign, ROOM, count + 1, locked=locked).octets


def _removal(number: int) -> tuple[str, bytes]:
    return "removal", sign_removal(SIGNERS[0].sign, ROOM, SIGNERS[number].peer_id)


members = st.integers(0, len(SIGNERS) - 1)
said = st.one_of(
    st.builds(lambda n, i, s, left: _line(n, i, s, left=left), members, NUMBERS, NUMBERS, st.booleans()),
    st.builds(lambda n, count, locked: _setting(n, count, locked=locked), members, NUMBERS, st.booleans()),
    st.builds(_removal, st.integers(1, len(SIGNERS) - 1)),
)  # fmt: skip


def _merge(things: list[tuple[str, bytes]]) -> tuple[object, ...]:
    roster = Roster(ROOM, ME)
    for kind, octets in things:
        with contextlib.suppress(Rejected):
            if kind == "entry":
                roster.merge_entry_untrusted(octets, 0.0, 1.0)
            elif kind == "setting":
                roster.merge_setting_untrusted(octets)
            else:
                roster.merge_removal_untrusted(octets)
    lines = sorted(known.entry.octets for known in roster.all())
    return lines, roster.digest(), roster.locked, [entry.peer for entry in roster.here(1.0)]


@given(st.lists(said, max_size=12), st.integers(0, 2**32 - 1))
def test_order_and_copies_make_no_difference(things: list[tuple[str, bytes]], seed: int) -> None:
    """Lines of one number with different contents, settings of members that are removed later, included."""
    rng = random.Random(seed)
    others = [*things, *rng.choices(things, k=len(things))] if things else []
    rng.shuffle(others)
    assert _merge(things) == _merge(others)


@given(st.lists(said, max_size=8), st.lists(said, max_size=8))
def test_two_halves_that_tell_each_other_all_agree(
    left: list[tuple[str, bytes]], right: list[tuple[str, bytes]]
) -> None:
    """Whoever tells first."""
    assert _merge(left + right) == _merge(right + left)
