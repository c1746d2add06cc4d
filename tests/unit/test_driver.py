"""The driver of a call: nobody is connected, and no gate opens, without the peer's proof.

Two drivers with real machines, envelopes and signatures; only the network and the media are played.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from meshcall import limits
from meshcall.call import control
from meshcall.call import events as e
from meshcall.call.control import Layer, MediaState, Room
from meshcall.call.machine import CallMachine
from meshcall.call.state import State
from meshcall.driver import CallDriver, Outcome
from meshcall.finder import Found
from meshcall.identity.peer_id import PeerId
from meshcall.letters import Letter, SentOffer
from meshcall.media import endpoint as m
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.signaling import messages as s
from meshcall.signaling.rendezvous import RendezvousSecret, Series
from meshcall.testing.clock import FakeClock
from meshcall.views import LayerKind
from tests.unit.post_world import CALL, FakeDht, Peer

if TYPE_CHECKING:
    from meshcall.finder import Finder

PATH_END = m.SelectedCandidate("host", "192.168.1.2", 4000)

Change = Callable[[bytes], bytes]
CONFIRM = 0x01
WORDS = {0x09, 0x0A}
"""Messages of the verification words, which every connected call has."""


class PlayedEndpoint:
    """One end of a media path that works at once; ``alter`` is what somebody does to its messages."""

    def __init__(self, name: str) -> None:
        self.fingerprint = hashlib.sha256(name.encode()).digest()
        self.other: PlayedEndpoint
        self.shown: bytes | None = None
        """Fingerprint of the certificate that the other end is shown, if it is not ours."""
        self.alter: Change = lambda data: data
        self.gate_open = False
        self.layers: list[tuple[LayerKind, int, int]] = []
        self.shared: list[str] = []
        self.sent: list[bytes] = []
        self.added: list[bytes] = []
        self.changes_taken: list[bytes] = []
        self.got_candidates = asyncio.Event()
        self.got_change = asyncio.Event()
        self.found: list[bytes] = []
        """Candidates that it finds after its description."""
        self._events: asyncio.Queue[m.EndpointEvent | None] = asyncio.Queue()

    async def offer(self) -> bytes:
        self._find()
        return b"offer"

    async def answer(self, offer: bytes) -> bytes:
        self._find()
        return b"answer"

    def _find(self) -> None:
        for candidates in self.found:
            self._events.put_nowait(m.LocalCandidates(candidates))

    async def accept(self, answer: bytes) -> None:
        for end in (self, self.other):
            here = m.SelectedCandidate("host", "192.0.2.1", 5000)
            end._events.put_nowait(m.IceConnected(here, here, "direct"))
            seen = end.other.shown or end.other.fingerprint
            end._events.put_nowait(m.Secured(end.fingerprint, seen))
            end._events.put_nowait(m.ControlOpen())

    async def add_candidates(self, candidates: bytes) -> None:
        self.added.append(candidates)
        self.got_candidates.set()

    def change(self, data: bytes) -> None:
        self.changes_taken.append(data)
        self.got_change.set()

    async def open_gate(self) -> None:
        self.gate_open = True

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Nothing is sent."""

    def share(self, source: str) -> None:
        self.shared.append(source)

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        self.layers.append((kind, height, fps))

    def send_control(self, data: bytes) -> None:
        self.sent.append(data)
        self.other._events.put_nowait(m.ControlMessage(self.alter(data)))

    async def events(self) -> AsyncIterator[m.EndpointEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def statistics(self) -> m.EndpointStats:
        return m.EndpointStats()

    async def close(self) -> m.EndpointStats:
        self._events.put_nowait(None)
        return self.statistics()


class KnownFinder:
    """Finds one peer at once."""

    def __init__(self, found: Callable[[], Found]) -> None:
        self._found = found
        self.by_id = False

    async def find(self, peer: PeerId, *, by_id: bool = False) -> Found:
        self.by_id = by_id
        return self._found()

    def forget(self, peer: PeerId) -> None:
        """Nothing is kept."""


class PlayedSecrets:
    """What one side gives, and what it was given; ``knows``: whether the other is a contact."""

    def __init__(self) -> None:
        self.knows = False
        self.secret = RendezvousSecret(bytes(32), 7)
        self.kept: list[RendezvousSecret] = []
        self.holders: list[int] = []

    async def ours(self, peer: PeerId) -> RendezvousSecret | None:
        return self.secret if self.knows else None

    async def keep(self, peer: PeerId, theirs: RendezvousSecret) -> bool:
        if self.knows:
            self.kept.append(theirs)
        return self.knows

    async def held(self, peer: PeerId, generation: int) -> None:
        self.holders.append(generation)


class Side:
    """A peer in a call, with everything it was told."""

    def __init__(self, peer: Peer, other: Peer) -> None:
        self.endpoint = PlayedEndpoint(str(peer.path))
        self.states: list[State] = []
        self.outcome: Outcome | None = None
        self.changed = asyncio.Event()
        self.secrets = PlayedSecrets()
        self.room_said: list[bytes] = []
        self.share_failures: list[str] = []
        self.driver = CallDriver(
            CallMachine(peer.me, other.me, CALL),
            MediaPlan(),
            identity=peer.identity,
            name="",
            post=peer.post,
            finder=cast("Finder", KnownFinder(lambda: other.found_by(peer))),
            secrets=self.secrets,
            make_endpoint=self._make_endpoint,
            clock=peer.clock,
            spawn=asyncio.ensure_future,
            listener=self,
            random=os.urandom,
        )
        peer.on_letter = self._letter

    async def _make_endpoint(self, plan: MediaPlan) -> Any:
        return self.endpoint

    def _letter(self, letter: Letter) -> None:
        self.driver.letter(letter, auto_answer=True)

    def on_state(self, state: State, via: str, by: str) -> None:
        self.states.append(state)
        self.changed.set()

    def on_ring(self, ringing: bool) -> None:
        """Nobody rings."""

    def on_speaking(self, speaking: bool) -> None:
        """Both hear it."""

    def on_share_failed(self, message: str) -> None:
        self.share_failures.append(message)

    def on_room(self, body: bytes) -> None:
        self.room_said.append(body)

    def on_notify(self, kind: str, detail: str) -> None:
        """Nothing of interest."""

    def on_adopt(self, old_id: bytes, new_id: bytes) -> None:
        """There is one call."""

    def on_start_incoming(self, event: e.OfferReceived, letter: Letter) -> None:
        """There is one call."""

    def on_over(self) -> None:
        """The outcome says more."""

    def on_ended(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.changed.set()

    async def wait(self) -> e.EndReason | None:
        """Until it is connected (None) or over (why)."""
        async with asyncio.timeout(5):
            while self.outcome is None and State.CONNECTED not in self.states:
                self.changed.clear()
                await self.changed.wait()
        return None if self.outcome is None else self.outcome.command.reason


@pytest.fixture
async def sides(tmp_path: Path) -> AsyncIterator[tuple[Side, Side]]:
    """Alice, who is about to call, and Bob."""
    network: list[FakeDht] = []
    async with AsyncExitStack() as stack:
        peers = Peer("alice", tmp_path, network, FakeClock()), Peer("bob", tmp_path, network, FakeClock())
        for peer in peers:
            await peer.start()
            stack.push_async_callback(peer.stop)
            await peer.post.refresh()
            await peer.settle()
        alice, bob = Side(*peers), Side(*peers[::-1])
        alice.endpoint.other, bob.endpoint.other = bob.endpoint, alice.endpoint
        yield alice, bob
        for side in (alice, bob):
            side.driver.feed(e.Hangup())
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


async def call(sides: tuple[Side, Side]) -> list[e.EndReason | None]:
    """Alice calls Bob; how it went for each."""
    sides[0].driver.feed(e.Dial())
    return [await side.wait() for side in sides]


async def test_both_proofs_make_a_call(sides: tuple[Side, Side]) -> None:
    """Each end verifies the other's confirm, says so, and opens its gate."""
    assert await call(sides) == [None, None]
    assert [side.endpoint.gate_open for side in sides] == [True, True]
    assert [sorted({data[0] for data in side.endpoint.sent} - WORDS) for side in sides] == [[1, 2], [1, 2]]


async def test_both_ends_get_the_same_words(sides: tuple[Side, Side]) -> None:
    """A moment after the call is connected; what is muted is told then, too, and never before."""
    alice, bob = sides
    alice.driver.send_aside(MediaState(audio=False))
    assert alice.endpoint.sent == []
    assert await call(sides) == [None, None]
    await handed(sides)
    assert alice.driver.asides.words is not None
    assert alice.driver.asides.words == bob.driver.asides.words
    alice.driver.send_aside(MediaState(audio=False))
    await handed(sides)
    assert bob.driver.asides.peer_media == MediaState(audio=False)


async def test_candidates_found_late_reach_the_other_end(sides: tuple[Side, Side]) -> None:
    """Both ways, however early they are: they follow the offer, or the answer."""
    alice, bob = sides
    alice.endpoint.found, bob.endpoint.found = [b"alice 1", b"alice 2"], [b"bob"]
    assert await call(sides) == [None, None]
    async with asyncio.timeout(5):
        for end, count in ((alice.endpoint, 1), (bob.endpoint, 2)):
            while len(end.added) < count:
                end.got_candidates.clear()
                await end.got_candidates.wait()
    assert sorted(bob.endpoint.added) == [b"alice 1", b"alice 2"]
    assert alice.endpoint.added == [b"bob"]


async def test_what_a_room_says_travels_on_its_links_alone(sides: tuple[Side, Side]) -> None:
    """After the confirm, and only where both ends know of the room; a call counts it."""
    alice, bob = sides
    alice.driver.room = bob.driver.room = b"room tag"
    alice.driver.send_aside(Room(b"too early"))
    assert await call(sides) == [None, None]
    alice.driver.send_aside(Room(b"roster"))
    alice.driver.send_aside(Layer("screen", 360, 15))
    await handed(sides)
    assert bob.room_said == [b"roster"]
    assert bob.endpoint.layers == [("screen", 360, 15)]
    bob.driver.room = b""
    alice.driver.send_aside(Room(b"roster"))
    alice.driver.send_aside(Layer("camera", 0, 0))
    await handed(sides)
    assert bob.driver.counters["room message without a room"] == 2
    assert (len(bob.room_said), len(bob.endpoint.layers)) == (1, 1)


async def test_a_screen_is_shared_once_both_confirms_are_verified(sides: tuple[Side, Side]) -> None:
    """Not before, whenever it was wanted; what can't be opened is told, and the call goes on."""
    alice, bob = sides
    alice.driver.share("testsrc")
    assert alice.endpoint.shared == []
    assert await call(sides) == [None, None]
    assert (alice.endpoint.shared, bob.endpoint.shared) == (["testsrc"], [])
    bob.driver.share("screen")
    bob.driver.share("")
    assert bob.endpoint.shared == ["screen", ""]
    alice.endpoint._events.put_nowait(m.ShareFailed("no pictures"))
    bob.endpoint._events.put_nowait(m.ShareFailed("no display"))
    await handed(sides)
    assert (alice.share_failures, bob.share_failures) == (["no pictures"], ["no display"])
    assert {side.driver.machine.state for side in sides} == {State.CONNECTED}


async def test_what_a_room_says_before_the_confirm_is_dropped(sides: tuple[Side, Side]) -> None:
    """Whoever is in the middle of DTLS says nothing to the room."""
    alice, bob = sides
    alice.driver.room = bob.driver.room = b"room tag"
    bob.endpoint.alter = lambda data: b"\x0broster" if data[0] == CONFIRM else data
    alice.driver.feed(e.Dial())
    async with asyncio.timeout(5):
        while not bob.endpoint.sent:  # noqa: ASYNC110 - each turn of the loop moves the call on
            await asyncio.sleep(0)
    await handed(sides)
    assert alice.room_said == []
    assert alice.driver.counters["room message without a room"] == 1
    assert State.CONNECTED not in alice.states


async def test_an_offer_names_the_room_whose_link_it_begins(sides: tuple[Side, Side]) -> None:
    """So that it never rings."""
    alice, bob = sides
    offers: list[s.Offer] = []
    take = bob.driver.letter

    def look(letter: Letter, **how: bool) -> None:
        if isinstance(letter.opened.message, s.Offer):
            offers.append(letter.opened.message)
        take(letter, **how)

    bob.driver.letter = look  # type: ignore[method-assign]
    alice.driver.room = b"room tag"
    assert await call(sides) == [None, None]
    assert {offer.room for offer in offers} == {b"room tag"}


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data[0] == CONFIRM else data


async def refused(sides: tuple[Side, Side], victim: Side) -> None:
    """The victim ends the call because of the confirm, and lets nothing out."""
    reasons = await call(sides)
    assert reasons[sides.index(victim)] is e.EndReason.CONFIRM_FAILED
    assert victim.driver.counters["confirm"] == 1
    assert State.CONNECTED not in [*sides[0].states, *sides[1].states]
    assert not victim.endpoint.gate_open


@pytest.mark.parametrize("forger", [0, 1])
async def test_a_confirm_that_is_no_signature_ends_the_call(sides: tuple[Side, Side], forger: int) -> None:
    """One bit is enough, whoever sends it."""
    sides[forger].endpoint.alter = _flipped
    await refused(sides, sides[1 - forger])


async def test_our_own_confirm_sent_back_ends_the_call(sides: tuple[Side, Side]) -> None:
    """The role is in what is signed."""
    alice, bob = sides

    def mirror(data: bytes) -> bytes:
        own = [sent for sent in alice.endpoint.sent if sent[0] == CONFIRM]
        return own[0] if data[0] == CONFIRM and own else data

    bob.endpoint.alter = mirror
    await refused(sides, alice)


@pytest.mark.parametrize("forger", [0, 1])
async def test_another_certificate_ends_the_call(sides: tuple[Side, Side], forger: int) -> None:
    """Somebody ends DTLS in the middle and passes both confirms on: they are about other certificates."""
    sides[forger].endpoint.shown = hashlib.sha256(b"the middle").digest()
    await refused(sides, sides[1 - forger])


async def test_a_confirmed_without_a_confirm_connects_nobody(sides: tuple[Side, Side]) -> None:
    """Saying that ours verified is no proof of theirs: the gate stays shut."""
    alice, bob = sides
    bob.endpoint.alter = lambda data: b"\x02" if data[0] == CONFIRM else data
    alice.driver.feed(e.Dial())
    async with asyncio.timeout(5):
        while len(bob.endpoint.sent) < 2:  # noqa: ASYNC110 - each turn of the loop moves the call on
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert State.CONNECTED not in [*alice.states, *bob.states]
    assert not alice.endpoint.gate_open


async def test_a_malformed_control_message_ends_the_call(sides: tuple[Side, Side]) -> None:
    """What is not understood is not guessed."""
    alice, bob = sides
    bob.endpoint.alter = lambda data: data[:-1] if data[0] == CONFIRM else data
    assert (await call(sides))[0] is e.EndReason.FAILED
    assert alice.driver.counters["control"] == 1
    assert not alice.endpoint.gate_open


async def handed(sides: tuple[Side, Side]) -> None:
    """Until neither side has anything to do."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_contacts_hand_their_secrets_over_once_both_are_proved(sides: tuple[Side, Side]) -> None:
    """Each gives its own after the confirms, and says what it holds."""
    for side in sides:
        side.secrets.knows = True
    assert await call(sides) == [None, None]
    await handed(sides)
    for side, other in (sides, sides[::-1]):
        assert side.secrets.kept == [other.secrets.secret]
        assert side.secrets.holders == [7]
        assert [data[0] for data in side.endpoint.sent if data[0] not in WORDS] == [1, 2, 5, 6]


async def test_what_is_said_of_secrets_before_the_confirm_is_dropped(sides: tuple[Side, Side]) -> None:
    """Whoever is in the middle of DTLS can't leave a secret behind."""
    alice, bob = sides
    alice.secrets.knows = bob.secrets.knows = True
    bob.endpoint.alter = lambda data: (
        b"\x05" + RendezvousSecret(b"m" * 32, 9).encode() if data[0] == CONFIRM else data
    )
    alice.driver.feed(e.Dial())
    async with asyncio.timeout(5):
        while not bob.endpoint.sent:  # noqa: ASYNC110 - each turn of the loop moves the call on
            await asyncio.sleep(0)
    await handed(sides)
    assert alice.driver.machine.statistics()["RendezvousReceived in confirming"] == 1
    assert alice.secrets.kept == []
    assert State.CONNECTED not in alice.states


async def test_candidates_in_a_call_travel_by_the_control_channel_too(sides: tuple[Side, Side]) -> None:
    """One of the two ways may be dead: a path that still works, or the DHT."""
    alice, bob = sides
    assert await call(sides) == [None, None]
    alice.endpoint._events.put_nowait(m.LocalCandidates(b"elsewhere"))
    async with asyncio.timeout(5):
        while bob.endpoint.added.count(b"elsewhere") < 2:  # noqa: ASYNC110 - each turn moves the call on
            await asyncio.sleep(0)
    assert [data for data in alice.endpoint.sent if data[0] == 7] == [b"\x07elsewhere"]


async def test_candidates_on_the_control_channel_before_the_confirm_are_dropped(
    sides: tuple[Side, Side],
) -> None:
    """Whoever is in the middle of DTLS aims no checks."""
    alice, bob = sides
    bob.endpoint.alter = lambda data: b"\x07victims" if data[0] == CONFIRM else data
    alice.driver.feed(e.Dial())
    async with asyncio.timeout(5):
        while not bob.endpoint.sent:  # noqa: ASYNC110 - each turn of the loop moves the call on
            await asyncio.sleep(0)
    await handed(sides)
    assert alice.endpoint.added == []
    assert State.CONNECTED not in alice.states


async def test_who_is_a_contact_later_is_handed_it_later(sides: tuple[Side, Side]) -> None:
    """A change of the book, or a new secret, is told in the call; the same one is not told twice."""
    alice, bob = sides
    alice.secrets.knows = True
    assert await call(sides) == [None, None]
    await handed(sides)
    assert (bob.secrets.kept, alice.secrets.kept) == ([], [])
    bob.secrets.knows = True
    for _ in range(2):
        bob.driver.feed(e.ContactsChanged())
        await handed(sides)
    assert bob.secrets.kept == [alice.secrets.secret]
    assert alice.secrets.kept == [bob.secrets.secret]
    alice.secrets.secret = RendezvousSecret(b"n" * 32, 8)
    alice.driver.feed(e.ContactsChanged())
    await handed(sides)
    assert bob.secrets.kept[1:] == [alice.secrets.secret]
    assert [data[0] for data in bob.endpoint.sent].count(5) == 1


async def test_what_a_peer_says_of_secrets_in_a_call_is_bounded(sides: tuple[Side, Side]) -> None:
    """Each newer one costs a write to the disk, which what rings has to wait for: so many a call."""
    alice, bob = sides
    bob.secrets.knows = True
    assert await call(sides) == [None, None]
    for generation in range(8, 1000):
        alice.driver._send_control(control.Rendezvous(RendezvousSecret(bytes(32), generation)))
    await handed(sides)
    assert len(bob.secrets.kept) == limits.RENDEZVOUS_PER_CALL_MAX
    assert bob.driver.counters["rendezvous"] == 992 - limits.RENDEZVOUS_PER_CALL_MAX
    assert bob.outcome is None


async def told(side: Side, change: bytes) -> None:
    """Until its endpoint has been told that change."""
    async with asyncio.timeout(5):
        while change not in side.endpoint.changes_taken:
            side.endpoint.got_change.clear()
            await side.endpoint.got_change.wait()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_session_is_changed_by_sealed_messages_while_no_path_answers(
    sides: tuple[Side, Side], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever begins: so many times at most, until there is a path; the last change counts."""
    monkeypatch.setattr(limits, "CHANGE_RETELL", (0.0, 0.0, 0.0))
    assert await call(sides) == [None, None]
    one, other = sides[first], sides[1 - first]
    one.endpoint._events.put_nowait(m.Change(b"\x10offer"))
    await told(other, b"\x10offer")
    other.endpoint._events.put_nowait(m.Change(b"\x11answer"))
    await told(one, b"\x11answer")
    await handed(sides)
    assert 1 <= len(other.endpoint.changes_taken) <= 3
    assert one.outcome is other.outcome is None

    for end in (one, other):
        end.endpoint._events.put_nowait(m.IceConnected(PATH_END, PATH_END, "lan"))
    await handed(sides)
    assert one.driver._change is other.driver._change is None
    assert other.endpoint.added == [], "it is no candidate"


async def test_a_change_is_of_a_connected_call(sides: tuple[Side, Side]) -> None:
    """Of any other it is counted, and has no effect."""
    alice, bob = sides
    assert await call(sides) == [None, None]
    letter = bob.driver._letters[CALL]
    change = replace(letter.opened, message=s.Candidates(b"", change=b"\x10"), kind=s.MessageKind.CANDIDATES)
    change = replace(change, bind=letter.opened.inner_hash)
    stale = replace(letter, opened=change, age=1 + change.valid_s)
    bob.driver.letter(stale)
    bob.driver.letter(replace(letter, opened=replace(change, call_id=bytes(16))))
    bob.driver.feed(e.Hangup())
    bob.driver.letter(replace(letter, opened=change))
    assert bob.endpoint.changes_taken == []
    assert bob.driver.counters["change"] == 3
    assert alice.endpoint.changes_taken == []


async def test_who_takes_nothing_at_the_rendezvous_is_offered_at_its_inbox(sides: tuple[Side, Side]) -> None:
    """What was found by the secret is left over: the call goes by the ID, and only there it rings."""
    alice = sides[0]
    gone = Series("contact", b"o" * 32)
    finder = cast("KnownFinder", alice.driver._finder)
    there, asked = finder._found, []

    def found() -> Found:
        asked.append(finder.by_id)
        return there() if finder.by_id else replace(there(), series=gone, epoch=gone.epoch(1))

    finder._found = found
    assert await call(sides) == [None, None]
    assert asked == [False, True]
    assert [sent.found.by for sent in alice.driver._offers.values()] == ["contact", "inbox"]


async def test_an_offer_that_is_sent_again_goes_where_the_peer_is_by_then(sides: tuple[Side, Side]) -> None:
    """The same octets, so that it rings once, but to the addresses that were found last."""
    assert await call(sides) == [None, None]
    driver = sides[0].driver
    before, after = ("192.168.1.3", 4000), ("192.168.1.77", 4000)
    told: list[tuple[tuple[str, int], ...]] = []
    records: set[bytes] = set()

    async def deliver(sent: SentOffer, *_: object, **__: object) -> None:
        told.append(sent.found.addresses)
        records.add(sent.record)

    driver._post.deliver_offer = deliver  # type: ignore[method-assign]
    found = await driver._finder.find(driver.machine.peer)
    assert found is not None
    for address, fresh in ((before, True), (after, False)):
        driver._found = replace(found, addresses=(address,))
        await driver._send_offer(CALL, b"\x01" * 40, 60.0, fresh=fresh)
    assert told == [(before,), (after,)]
    assert len(records) == 1
