"""A whole node against strangers, recorded messages, a full disk and a bad moment."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall import limits
from meshcall.aio.clock import system_random
from meshcall.aio.dht import Notify
from meshcall.aio.lan import Lan
from meshcall.config import Config
from meshcall.errors import StateUnwritable
from meshcall.identity.keys import AgreementKey, SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.node import Node
from meshcall.record.codec import RecordType
from meshcall.session import Call
from meshcall.signaling import messages as m
from meshcall.signaling.envelope import seal_message
from meshcall.signaling.presence import presence_hash
from meshcall.signaling.rendezvous import epoch_of, inbox
from meshcall.views import Ended

VIA = ("127.0.0.1", 9)


class Attacker:
    """An identity that writes what it likes, as a storage node would push it."""

    def __init__(self) -> None:
        self.identity = SigningKey.generate(system_random)
        self._seq = 0

    def message(
        self, node: Node, message: m.Message, *, call_id: bytes = b"", shift_ms: int = 0, bind: bytes = b""
    ) -> Notify:
        """``message`` to ``node``, made ``shift_ms`` from now."""
        presence = node._post._where._presences[-1]
        now_ms = int(time.time() * 1000)
        rendezvous = inbox(node.peer_id, epoch_of(node.peer_id, now_ms))
        self._seq += 1
        record, _ = seal_message(
            identity=self.identity,
            to=node.peer_id,
            prekey_id=presence.prekey_id,
            prekey=presence.prekey,
            rendezvous=rendezvous,
            type=RecordType.INBOX,
            call_id=call_id or os.urandom(16),
            message=message,
            bind=bind or presence_hash(presence),
            now_ms=now_ms + shift_ms,
            seq=self._seq,
            ttl=60,
        )
        return Notify(record.encode(), rendezvous.storage_key(RecordType.INBOX), VIA)

    def offer(self, node: Node, *, call_id: bytes = b"", shift_ms: int = 0) -> Notify:
        """A valid offer."""
        reply_key = AgreementKey.generate(system_random)
        body = m.Offer(b"d", reply_key.public, "", m.Wants.AUDIO)
        return self.message(node, body, call_id=call_id, shift_ms=shift_ms)


@pytest.fixture
async def bob(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that takes calls from anybody."""
    async with Node(config(tmp_path)) as node:
        yield node


def config(tmp_path: Path, **changes: Any) -> Config:
    return replace(
        Config(home=tmp_path / "bob", mdns=False, lan_only=True, interfaces=("lo",), source="none"), **changes
    )


async def until(condition: Callable[[], object], timeout: float = 5) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def settle(node: Node) -> None:
    """Until what a node began is done."""
    await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        while node._work:
            await asyncio.wait(set(node._work))


def live(node: Node) -> list[Call]:
    return [call for call in node._calls if not call.ended]


# --- what must not ring ---------------------------------------------------------------------------


async def test_captured_offer_does_not_ring_after_a_restart(tmp_path: Path) -> None:
    """A storage node keeps an offer and delivers it again to a callee that was restarted."""
    async with Node(config(tmp_path)) as node:
        captured = Attacker().offer(node)
        node._post.on_notify(captured)
        await until(lambda: live(node))
        await node.get_call(None).decline()
    async with Node(config(tmp_path)) as node:
        assert node._post.on_notify(captured), "the inbox is still the same"
        await settle(node)
        assert node.calls() == []
        assert node.status().counters["letter-replay"] == 1


async def test_strangers_leave_no_trace_where_they_may_not_ring(tmp_path: Path) -> None:
    """Contacts only: neither an offer nor a hangup of a stranger makes a call or a line of history."""
    async with Node(config(tmp_path, accept_strangers=False)) as node:
        stranger = Attacker()
        node._post.on_notify(stranger.offer(node))
        node._post.on_notify(stranger.message(node, m.Hangup(m.HangupReason.CANCELLED)))
        await settle(node)
        assert node.calls() == []
        assert node._state.history() == []
        assert node.status().counters["letter-policy"] == 2


async def test_a_call_id_names_one_call(bob: Node) -> None:
    """Who knows the id of a call with us can't begin another one under it, from another identity."""
    friend, other, call_id = Attacker(), Attacker(), os.urandom(16)
    bob._post.on_notify(friend.offer(bob, call_id=call_id))
    await until(lambda: live(bob))
    bob._post.on_notify(other.offer(bob, call_id=call_id))
    await settle(bob)
    assert [call.peer_id.key for call in bob._calls] == [friend.identity.public]
    assert bob.status().counters["letter-foreign-call"] == 1


async def test_who_is_blocked_while_it_rings_can_still_stop_ringing(bob: Node) -> None:
    """Its cancel is taken, its next offer is not."""
    friend, call_id = Attacker(), os.urandom(16)
    offer = friend.offer(bob, call_id=call_id)
    bob._post.on_notify(offer)
    await until(lambda: live(bob))
    bob.contacts.block(_id(friend))
    bind = live(bob)[0].driver._letters[call_id].opened.inner_hash
    hangup = m.Hangup(m.HangupReason.CANCELLED)
    bob._post.on_notify(friend.message(bob, hangup, call_id=call_id, bind=bind))
    await until(lambda: not live(bob))
    bob._post.on_notify(friend.offer(bob))
    await settle(bob)
    assert not live(bob)


# --- floods ---------------------------------------------------------------------------------------


async def test_flood_of_strangers(bob: Node) -> None:
    """1,000 valid offers from 100 strangers: few become calls, little is kept, and a contact still rings."""
    strangers = [Attacker() for _ in range(100)]
    most = 0
    for number in range(1000):
        bob._post.on_notify(strangers[number % 100].offer(bob))
        most = max(most, len(live(bob)), len(bob._work) // 100)
        if number % 50 == 0:
            await asyncio.sleep(0)
    friend = Attacker()
    bob.contacts.add(_id(friend), "friend")
    bob._post.on_notify(friend.offer(bob))
    await until(lambda: any(_is_of(call, friend) for call in live(bob)))
    [call] = [call for call in bob._calls if _is_of(call, friend)]
    assert call.state == "incoming", "neither busy nor refused"
    await settle(bob)
    assert len(live(bob)) <= limits.CALLS_LIVE_MAX
    assert most <= limits.CALLS_LIVE_MAX
    assert len(bob._post._replay) < 2 * limits.STRANGERS_BURST
    assert len(bob._state.history(1000)) < 2 * limits.STRANGERS_BURST
    assert bob.status().counters["letter-policy"] > 800


async def test_flood_of_strangers_that_is_answered_by_itself(tmp_path: Path) -> None:
    """A machine that answers anybody keeps places for its contacts, too."""
    async with Node(config(tmp_path, auto_answer="anyone")) as node:
        for _ in range(30):
            node._post.on_notify(Attacker().offer(node))
            await asyncio.sleep(0.02)
            assert len(live(node)) <= limits.CALLS_STRANGERS_MAX
        friend = Attacker()
        node.contacts.add(_id(friend), "friend")
        node._post.on_notify(friend.offer(node))
        await until(lambda: any(_is_of(call, friend) for call in node._calls))


async def test_wrong_clocks_of_strangers_are_counted_not_told(bob: Node) -> None:
    """Each would be a warning, a line in the log, a disk write and a reply."""
    before = bob._state.last_sequence(b"post")
    for number in range(300):
        bob._post.on_notify(Attacker().offer(bob, shift_ms=-1_000_000 - number * 60_000))
    assert len(bob._work) <= limits.STRANGERS_BURST + 1
    await settle(bob)
    assert bob.status().warnings == []
    assert bob.status().counters["letter-clock"] <= limits.STRANGERS_BURST + 1
    assert bob._state.last_sequence(b"post") >= before


async def test_wrong_clock_of_a_contact_is_told_once(bob: Node) -> None:
    """Its old offers, delivered again minute by minute, say nothing new."""
    friend = Attacker()
    bob.contacts.add(_id(friend), "friend")
    for number in range(30):
        bob._post.on_notify(friend.offer(bob, shift_ms=-1_000_000 - number * 60_000))
    await settle(bob)
    assert len(bob.status().warnings) == 1


# --- the disk, the start and the end --------------------------------------------------------------


async def test_a_disk_that_is_full_for_a_while_does_not_end_the_node(
    bob: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The presence can't be published: the user is warned, and it is tried again."""
    monkeypatch.setattr(limits, "POST_RETRY", 0.05)
    refused = []

    def full(*_: object) -> None:
        refused.append(1)
        raise StateUnwritable("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(bob._state, "raise_sequence", full)
        bob._post.hasten()
        await until(lambda: refused)
        await asyncio.sleep(0.05)
    sequence = bob._state.last_sequence(b"post")
    bob._post.hasten()
    await until(lambda: bob._state.last_sequence(b"post") > sequence)
    assert bob.status().warnings == ["no space left"]


async def test_a_start_that_fails_late_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes out, nothing hangs, and the home can be used again."""

    async def broken(self: Lan) -> None:
        raise OSError("no sockets left")

    with monkeypatch.context() as patch:
        patch.setattr(Lan, "start", broken)
        async with asyncio.timeout(5):
            with pytest.raises(OSError, match="no sockets left"):
                await Node(config(tmp_path, mdns=True)).__aenter__()
    async with Node(config(tmp_path)):
        pass


async def test_an_offer_that_comes_while_the_node_stops_is_not_used_up(tmp_path: Path) -> None:
    """It was not taken, so the node that starts next can still ring."""
    async with Node(config(tmp_path)) as node:
        offer = Attacker().offer(node)
        node._open = False
        node._post.on_notify(offer)
        await settle(node)
    async with Node(config(tmp_path)) as node:
        node._post.on_notify(offer)
        await until(lambda: live(node))


async def test_a_node_that_stops_ends_its_calls_although_their_media_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of each call is told, and its endpoint is closed when the node is left."""
    monkeypatch.setattr(limits, "SHUTDOWN_PATIENCE", 0.2)
    async with Node(config(tmp_path)) as node:
        call = await node.call(_id(Attacker()), wait=60)
        await until(lambda: call.driver._endpoint is not None)
        endpoint: Any = call.driver._endpoint
        close, closed = endpoint.close, []

        async def slowly() -> Any:
            await asyncio.sleep(0.6)
            closed.append(1)
            return await close()

        endpoint.close = slowly
    assert closed == [1]
    async with asyncio.timeout(1):
        assert isinstance(await call.wait_ended(), Ended)


async def test_an_offer_waits_as_long_as_its_caller(bob: Node) -> None:
    """The sockets of an offer are not closed before the time that the caller lets it ring and waits."""
    call = await bob.call(_id(Attacker()), timeout=300, wait=900)
    assert call.driver.plan.offer_timeout >= 1200
    await call.hangup()


async def test_a_damaged_port_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """Another port is taken."""
    for noted in (b"no port", b"99999", b"-1"):
        async with Node(config(tmp_path)) as node:
            node._state.set_blob("port", noted)
        async with Node(config(tmp_path)) as node:
            assert 0 < node.port < 65536


def _id(attacker: Attacker) -> str:
    return PeerId.from_key(attacker.identity.public).text


def _is_of(call: Call, attacker: Attacker) -> bool:
    return call.peer_id.key == attacker.identity.public
