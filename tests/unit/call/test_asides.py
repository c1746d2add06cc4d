"""What two connected ends tell each other beside the call."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import pytest

from meshcall.call.asides import Aside, Asides
from meshcall.call.control import (
    MediaState,
    SasCommit,
    SasNonce,
    Sendable,
    decode_control_untrusted,
    encode_control,
)
from meshcall.identity.confirm import Role
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.sas import SasView
from meshcall.limits import ASIDES_EARLY_MAX

ALICE, BOB, EVE = (PeerId.from_key(SigningKey.from_seed(bytes([n]) * 32).public) for n in (1, 2, 3))
VIEW = SasView(ALICE, BOB, b"a" * 32, b"b" * 32)


@dataclass
class End:
    """One end, and what it has to send."""

    role: Role
    view: SasView = VIEW
    counters: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        seed = self.role.encode()
        self.asides = Asides(lambda size: hashlib.sha256(seed).digest()[:size], self.counters)
        self.out: list[Sendable] = []

    def connect(self) -> None:
        self.out += self.asides.connect(self.role, self.view)

    def take(self, message: Aside) -> None:
        self.out += self.asides.receive_untrusted(message)


def deliver(one: End, other: End) -> None:
    """Everything there is, both ways, through octets, until nothing is left."""
    for _ in range(10):
        for source, target in ((one, other), (other, one)):
            waiting, source.out = source.out, []
            for message in waiting:
                got = decode_control_untrusted(encode_control(message))
                assert isinstance(got, MediaState | SasCommit | SasNonce)
                target.take(got)


@pytest.mark.parametrize("late", [False, True])
def test_both_see_the_same_words(late: bool) -> None:
    """Also when one end is connected a moment before the other."""
    alice, bob = End("caller"), End("callee")
    alice.connect()
    if late:
        deliver(alice, bob)
        assert bob.asides.words is None
    bob.connect()
    deliver(alice, bob)
    assert alice.asides.words is not None
    assert alice.asides.words == bob.asides.words


def test_words_differ_if_somebody_is_between() -> None:
    """Another certificate, and the ends do not even get that far: the nonce does not fit the commitment."""
    alice, bob = End("caller"), End("callee", SasView(ALICE, BOB, b"a" * 32, b"e" * 32))
    alice.connect()
    bob.connect()
    deliver(alice, bob)
    assert alice.asides.words is None
    assert alice.counters["aside-sas"] == 1


def test_a_nonce_is_told_after_the_commitment_only() -> None:
    """Whoever wants ours first gets nothing, and has spoiled the words."""
    alice = End("caller")
    alice.connect()
    alice.out.clear()
    alice.take(SasNonce(b"n" * 16))
    assert alice.out == []
    alice.take(SasCommit(b"c" * 32))
    assert alice.out == []
    assert alice.counters["aside-sas"] == 2


def test_what_is_too_early_is_bounded() -> None:
    """A peer that floods before the call is connected fills nothing."""
    alice = End("caller")
    for _ in range(10 * ASIDES_EARLY_MAX):
        alice.take(MediaState(audio=False))
    assert alice.asides.peer_media == MediaState()
    assert alice.counters["aside-early"] == 9 * ASIDES_EARLY_MAX
    alice.connect()
    assert alice.asides.peer_media == MediaState(audio=False)


@pytest.mark.parametrize("audio", [False, True])
@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("screen", [False, True])
def test_media_states_travel(audio: bool, video: bool, screen: bool) -> None:
    """Each of the eight."""
    state = MediaState(audio, video, screen)
    assert decode_control_untrusted(encode_control(state)) == state
