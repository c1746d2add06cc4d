"""By which way a message goes, and what is left of a delivery when its call is over.

The story: Alice writes to Bob.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from meshcall import limits
from meshcall.address import Address
from meshcall.errors import StateUnwritable
from meshcall.finder import Found
from meshcall.letters import SentOffer
from meshcall.signaling import messages as m
from meshcall.testing.clock import FakeClock
from tests.unit.post_world import FakeDht, Peer

LAN: Address = ("192.168.7.7", 7000)


class Sent:
    """A delivery: where it went, and whether its reply watch is still held."""

    def __init__(self, at: tuple[Address, ...], watchers: int, *, held: bool) -> None:
        self.at = at
        self.watchers = watchers
        self.stored = 0
        self.held = held

    def close(self) -> None:
        self.held = False


class Ways:
    """Deliveries of one peer: by the LAN to ``on_lan`` watchers, by the DHT to ``on_dht``."""

    def __init__(self, on_lan: int, on_dht: int = 1) -> None:
        self.on_lan = on_lan
        self.on_dht = on_dht
        self.sent: list[Sent] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(
        self,
        data: bytes,
        *,
        at: Sequence[Address] = (),
        only: bool = False,
        reply_watch: bytes | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> Sent:
        sent = Sent(tuple(at), self.on_lan if only else self.on_dht, held=reply_watch is not None)
        self.sent.append(sent)
        await self.gate.wait()
        return sent

    def taken(self) -> list[tuple[Address, ...]]:
        """Where messages went since the last look."""
        where, self.sent = [sent.at for sent in self.sent], []
        return where


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Peer]:
    async with AsyncExitStack() as stack:
        yield await started("alice", tmp_path, stack)


@pytest.fixture
async def found(alice: Peer, tmp_path: Path) -> AsyncIterator[Found]:
    """Bob, seen on the LAN."""
    async with AsyncExitStack() as stack:
        bob = await started("bob", tmp_path, stack)
        yield replace(bob.found_by(alice), addresses=(LAN,), route="lan")


async def started(name: str, folder: Path, stack: AsyncExitStack) -> Peer:
    peer = Peer(name, folder, [], FakeClock())
    await peer.start()
    stack.push_async_callback(peer.stop)
    await peer.post.refresh()
    await peer.settle()
    return peer


def through(peer: Peer, ways: Ways) -> Ways:
    """From now on ``peer`` sends by ``ways``."""
    cast("Any", peer.dht).deliver = ways.deliver
    return ways


async def offer(peer: Peer, found: Found) -> SentOffer:
    sent = await peer.post.offer(found, bytes(16), b"d", name="", wants=m.Wants.AUDIO, life=90)
    await peer.post.deliver_offer(sent, lambda report: None)
    return sent


async def test_who_takes_an_offer_on_the_lan_is_told_there(alice: Peer, found: Found) -> None:
    """Offer and hangup stay on the LAN."""
    ways = through(alice, Ways(on_lan=1))
    sent = await offer(alice, found)
    await alice.post.tell_callee(sent, m.Hangup(m.HangupReason.CANCELLED))
    assert ways.taken() == [(LAN,), (LAN,)]


async def test_a_hangup_follows_its_offer_through_the_dht(alice: Peer, found: Found) -> None:
    """The LAN did not take the offer: what rings behind the DHT has to stop ringing."""
    ways = through(alice, Ways(on_lan=0))
    sent = await offer(alice, found)
    assert ways.taken() == [(LAN,), ()]
    ways.on_lan = 1
    await alice.post.tell_callee(sent, m.Hangup(m.HangupReason.CANCELLED))
    assert ways.taken() == [(LAN,), ()]


async def test_a_contact_request_goes_on_through_the_dht(alice: Peer, found: Found) -> None:
    """The inviter left the LAN."""
    ways = through(alice, Ways(on_lan=0))
    assert (await alice.post.request_contact(found, m.ContactRequest("", b"s"))).watchers == 1
    assert ways.taken() == [(LAN,), ()]


async def test_who_poses_as_the_peer_on_the_lan_delays_a_call_only(alice: Peer, found: Found) -> None:
    """It took the offer and nothing came of it: the next copy goes through the DHT, too."""
    ways = through(alice, Ways(on_lan=1))
    sent = await offer(alice, found)
    assert ways.taken() == [(LAN,)]
    await alice.post.deliver_offer(sent, lambda report: None)
    assert ways.taken() == [(LAN,), ()]


async def test_no_reply_is_waited_for_after_the_end(alice: Peer, found: Found) -> None:
    """The call ended while its offer was on its way: nobody would ever give that watch back."""
    ways = through(alice, Ways(on_lan=0))
    told: list[object] = []
    sent = await alice.post.offer(found, bytes(16), b"d", name="", wants=m.Wants.AUDIO, life=90)
    ways.gate.clear()
    delivering = asyncio.ensure_future(alice.post.deliver_offer(sent, told.append))
    await asyncio.sleep(0)
    alice.post.close_box(sent)
    ways.gate.set()
    await delivering
    assert [one.held for one in ways.sent] == [False]
    assert told == []


async def test_a_callee_that_never_rings_does_not_make_us_watch_more_and_more(
    alice: Peer, found: Found
) -> None:
    """Each copy of an offer asks nodes for replies, and each of these watches is renewed for ever."""
    ways = through(alice, Ways(on_lan=0))
    sent = await offer(alice, found)
    for _ in range(40):
        await alice.post.deliver_offer(sent, lambda report: None)
    assert sum(one.held for one in ways.sent) <= limits.REPLY_WATCHES_MAX + 1
    assert ways.sent[-1].held
    alice.post.close_box(sent)
    assert not any(one.held for one in ways.sent)


async def test_a_new_name_does_not_cut_off_who_knows_the_old_one(tmp_path: Path) -> None:
    """Three presences within minutes: whoever asked for the first one can still call."""
    async with AsyncExitStack() as stack:
        clock, network = FakeClock(), list[FakeDht]()
        alice = Peer("alice", tmp_path, network, clock)
        bob = Peer("bob", tmp_path, network, clock)
        for peer in (alice, bob):
            await peer.start()
            stack.push_async_callback(peer.stop)
            await peer.post.refresh()
            await peer.settle()
        found = bob.found_by(alice)
        for name in ("Robert", "Rob", "Bob"):
            clock.advance(1)
            bob.post._where._name = partial(str, name)
            await bob.post.refresh()
            await bob.settle()
        await alice.call(bob, found=found)
        assert bob.kinds() == [m.MessageKind.OFFER]


async def test_a_presence_that_could_not_be_written_is_not_told(alice: Peer) -> None:
    """Otherwise an offer made from it would be refused after the next start."""
    before = alice.found_by(alice).presence
    alice.clock.advance(3700)

    def full(*_: object) -> None:
        raise StateUnwritable("no space left")

    cast("Any", alice.state).set_blob = full
    with pytest.raises(StateUnwritable):
        await alice.post.refresh()
    assert list(alice.post._where._presences) == [before]
