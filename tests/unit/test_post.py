"""The post between two peers, over a DHT that delivers at once: what must be on the disk, and when.

The story: Alice writes to Bob. Carol is another peer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from meshcall import limits
from meshcall.errors import StateUnwritable
from meshcall.identity.keys import SigningKey
from meshcall.letters import Letter
from meshcall.record.codec import Record, RecordType, decode_record_untrusted
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import REPLY_PREKEY_ID, seal_message
from meshcall.testing.clock import FakeClock, seeded_random
from tests.unit.post_world import CALL, FakeDht, Peer


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[tuple[Peer, Peer]]:
    """Alice and Bob, each with a presence."""
    network: list[FakeDht] = []
    async with AsyncExitStack() as stack:
        made = Peer("alice", tmp_path, network, FakeClock()), Peer("bob", tmp_path, network, FakeClock())
        for peer in made:
            await peer.start()
            stack.push_async_callback(peer.stop)
            await peer.post.refresh()
            await peer.settle()
        yield made


async def test_a_message_is_on_the_disk_before_it_is_handed_on(peers: tuple[Peer, Peer]) -> None:
    """Whoever is killed while it rings does not ring again."""
    alice, bob = peers
    on_disk: list[bool] = []

    def look(letter: Letter) -> None:
        digests = [row.digest for row in bob.state.replay_entries(0)]
        on_disk.append(letter.opened.inner_hash in digests)

    bob.on_letter = look
    await alice.call(bob)
    assert on_disk == [True]


async def test_what_was_taken_is_refused_after_a_restart(peers: tuple[Peer, Peer]) -> None:
    """The same octets, and a second offer with the id of a call that was taken."""
    alice, bob = peers
    await alice.call(bob)
    await bob.restart()
    bob.hears(alice.dht.delivered[-1])
    assert bob.counters["letter-replay"] == 1, "refused at once, without a look at the disk"
    await alice.call(bob)
    assert bob.counters["letter-replay"] == 2
    assert len(bob.letters) == 1


async def test_a_clock_set_back_over_a_restart_reopens_nothing(peers: tuple[Peer, Peer]) -> None:
    """The entry has expired and is gone; that it was there is still known."""
    alice, bob = peers
    await alice.call(bob)
    first = alice.dht.delivered[-1]
    for peer in peers:
        peer.clock.advance(400)
        await peer.post.refresh()
    await alice.call(bob, bytes(16))  # room is made on the disk
    assert len(bob.state.replay_entries(0)) == 1
    bob.clock.set_wall_clock(bob.clock.now_ms() - 400_000)
    await bob.restart()
    bob.hears(first)
    await bob.settle()
    assert bob.counters["letter-replay"] == 1
    assert len(bob.letters) == 2


async def test_numbers_are_on_the_disk_before_their_records_leave(peers: tuple[Peer, Peer]) -> None:
    """A number that is used twice would use a nonce twice."""
    alice, bob = peers
    seen: list[int] = []

    def look(record: Record) -> None:
        assert record.seq <= bob.state.last_sequence(b"post")
        seen.append(record.seq)

    bob.dht.before_leaving = look
    bob.post.hasten()
    await bob.post.refresh()
    await bob.call(alice)
    await bob.post.tell_caller(await answered(alice, bob), m.Ringing())
    await bob.settle()
    assert len(seen) == len(set(seen)) == 3
    last = seen[-1]
    await bob.restart()
    assert min(record.seq for record in bob.dht.local) > last


async def test_many_numbers_are_one_write(peers: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten seconds: who comes into a room writes to all in it at once, and a disk takes its time."""
    alice, bob = peers
    next_sequence = Mock(side_effect=alice.state.next_sequence)
    monkeypatch.setattr(alice.state, "next_sequence", next_sequence)
    numbers: list[int] = []
    alice.dht.before_leaving = lambda record: numbers.append(record.seq)
    for _ in range(2):
        for call in range(5):
            await alice.call(bob, bytes([call]) * 16)
        assert sorted(set(numbers)) == numbers
        alice.clock.advance(limits.SEQUENCES_SPARE / 1000 + 1)
    assert len(numbers) == 10
    assert next_sequence.call_count == 2


async def test_what_comes_while_the_disk_is_busy_is_one_write(
    peers: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is handed on in the order in which it came, each once."""
    alice, bob = peers
    add_replay = Mock(side_effect=bob.state.add_replay)
    monkeypatch.setattr(bob.state, "add_replay", add_replay)
    calls = [bytes([number]) * 16 for number in range(6)]
    found = bob.found_by(alice)
    for call in calls:
        sent = await alice.post.offer(found, call, b"d", name="", wants=m.Wants.AUDIO, life=90)
        bob.hears(decode_record_untrusted(sent.record))
    await bob.settle()
    assert [letter.opened.call_id for letter in bob.letters] == calls
    assert [len(call.args[0]) for call in add_replay.call_args_list] == [1, 5]


async def test_nothing_of_what_the_disk_does_not_take_is_handed_on(
    peers: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the first nor what came with it; the next is taken again."""
    alice, bob = peers
    full = Mock(side_effect=StateUnwritable("no space left"))
    found = bob.found_by(alice)
    with monkeypatch.context() as patch:
        patch.setattr(bob.state, "add_replay", full)
        for number in range(3):
            call = bytes([number]) * 16
            sent = await alice.post.offer(found, call, b"d", name="", wants=m.Wants.AUDIO, life=90)
            bob.hears(decode_record_untrusted(sent.record))
        await bob.settle()
    assert (bob.letters, bob.counters["letter-not-saved"]) == ([], 3)
    await alice.call(bob)
    assert bob.kinds() == [m.MessageKind.OFFER]


async def answered(alice: Peer, bob: Peer) -> Letter:
    """Alice's offer, as Bob has it."""
    await alice.call(bob, b"another call id.")
    return bob.letters[-1]


async def test_an_offer_to_the_presence_of_the_last_run_arrives(peers: tuple[Peer, Peer]) -> None:
    """Prekeys and presences are on the disk when they are told, so a restart costs nobody a call."""
    alice, bob = peers
    found = bob.found_by(alice)
    bob.clock.advance(1)
    await bob.restart()
    assert bob.found_by(alice).presence == found.presence
    await alice.call(bob, found=found)
    assert bob.kinds() == [m.MessageKind.OFFER]


async def test_an_offer_to_an_unknown_presence_is_refused(peers: tuple[Peer, Peer]) -> None:
    """It was made from something that we did not publish."""
    alice, bob = peers
    found = bob.found_by(alice)
    other = replace(found, presence=replace(found.presence, created_ms=found.presence.created_ms - 1))
    await alice.call(bob, found=other)
    assert bob.counters["letter-bind"] == 1
    assert bob.letters == []


async def test_who_is_not_admitted_is_not_answered(peers: tuple[Peer, Peer]) -> None:
    """Policy decides: nothing is handed on, nothing is sent."""
    alice, bob = peers
    bob.admits = lambda sender, kind: False
    await alice.call(bob)
    assert bob.counters["letter-policy"] == 1
    assert (bob.letters, bob.dht.delivered) == ([], [])


async def test_only_the_callee_answers(peers: tuple[Peer, Peer]) -> None:
    """Bob gives Carol everything that he knows of the offer: her answer is still not his."""
    alice, bob = peers
    sent = await alice.call(bob)
    offer = bob.letters[0].opened
    assert isinstance(offer.message, m.Offer)
    carol = SigningKey.generate(seeded_random("carol"))
    for identity, expected in ((carol, []), (bob.identity, [m.MessageKind.ANSWER])):
        record, _ = seal_message(
            identity=identity,
            to=alice.me,
            prekey_id=REPLY_PREKEY_ID,
            prekey=offer.message.reply_key,
            rendezvous=sent.box,
            type=RecordType.MAILBOX,
            call_id=CALL,
            message=m.Answer(b"d"),
            bind=offer.inner_hash,
            now_ms=alice.clock.now_ms(),
            seq=1,
            ttl=60,
        )
        alice.hears(record)
        await alice.settle()
        assert alice.kinds() == expected
    assert alice.counters["letter-policy"] == 1


async def test_after_a_lost_state_older_messages_are_refused(peers: tuple[Peer, Peer]) -> None:
    """The replay entries of that time are gone with it."""
    alice, bob = peers
    await bob.stop()
    for path in bob.path.parent.glob("bob.db*"):
        path.unlink()
    bob.path.write_bytes(b"no database" * 1000)
    bob.path.chmod(0o600)
    await bob.start()
    await bob.post.refresh()
    found = bob.found_by(alice)
    alice.clock.set_wall_clock(bob.clock.now_ms() - 1)
    await alice.call(bob, found=found)
    assert bob.counters["letter-before-reset"] == 1
    alice.clock.set_wall_clock(bob.clock.now_ms())
    await alice.call(bob, bytes(16), found=found)
    assert [letter.opened.call_id for letter in bob.letters] == [bytes(16)]


async def test_a_wrong_clock_is_told_once_for_each_call(peers: tuple[Peer, Peer]) -> None:
    """Nothing rings; the caller learns why, although its own clock refuses that answer, too."""
    alice, bob = peers
    found = bob.found_by(alice)
    alice.clock.set_wall_clock(alice.clock.now_ms() - 600_000)
    await alice.call(bob, found=found)
    bob.hears(alice.dht.delivered[-1])
    await bob.settle()
    await alice.settle()
    assert bob.letters == []
    assert bob.counters["letter-clock"] == 2
    assert len(bob.dht.delivered) == 1
    assert [letter.opened.message for letter in alice.letters] == [m.Reject(m.RejectReason.CLOCK)]


@pytest.mark.parametrize("shift_s", [-600, 600])
async def test_who_writes_of_a_room_with_a_wrong_clock_is_told(
    peers: tuple[Peer, Peer], shift_s: int
) -> None:
    """Whichever of the two clocks is ahead; else it would ask and ask, and hear nothing."""
    alice, bob = peers
    found = bob.found_by(alice)
    alice.clock.set_wall_clock(alice.clock.now_ms() + 1000 * shift_s)
    sent = await alice.post.room_letter(found, b"let me in", life=30)
    await alice.post.deliver_offer(sent, lambda report: None)
    await bob.settle()
    await alice.settle()
    assert bob.letters == []
    assert [letter.opened.message for letter in alice.letters] == [m.Reject(m.RejectReason.CLOCK)]
    assert alice.letters[0].opened.call_id == sent.call_id
