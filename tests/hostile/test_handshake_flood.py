"""A flood of valid offers: few calls are open at a time, fewer of one peer, and no sockets for the rest."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshcall import limits
from meshcall.aio.clock import system_random
from meshcall.aio.dht import Notify
from meshcall.config import Config
from meshcall.identity.keys import AgreementKey
from meshcall.letters import Letter
from meshcall.media import endpoint as media
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.node import Node
from meshcall.post import Post
from meshcall.signaling import messages as m
from meshcall.views import LayerKind
from tests.aio.test_node_hostile import Attacker, _id, live, settle

VECTORS = Path(__file__).parents[1] / "vectors" / "description.json"
OFFER = next(
    bytes.fromhex(vector["hex"])
    for vector in json.loads(VECTORS.read_text(encoding="ascii"))["vectors"]
    if vector["name"] == "aiortc-offer"
)
CLOSING = 0.05
"""Seconds that it takes to close a media end."""


class CountedEndpoint:
    """Takes every offer and never gets connected: what a peer connection would be is counted."""

    open = 0
    most = 0
    made = 0

    def __init__(self) -> None:
        self._closed = asyncio.Event()
        CountedEndpoint.made += 1
        CountedEndpoint.open += 1
        CountedEndpoint.most = max(CountedEndpoint.most, CountedEndpoint.open)

    async def offer(self) -> bytes:
        return OFFER

    async def answer(self, offer: bytes) -> bytes:
        await asyncio.sleep(0)
        return OFFER

    async def accept(self, answer: bytes) -> None:
        """It is of no use."""

    async def add_candidates(self, candidates: bytes) -> None:
        """They are of no use."""

    def change(self, data: bytes) -> None:
        """Never comes."""

    async def open_gate(self) -> None:
        """Never asked for."""

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Nothing is sent."""

    def share(self, source: str) -> None:
        """Nothing is sent."""

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        """There is one layer."""

    def send_control(self, data: bytes) -> None:
        """There is no channel."""

    async def events(self) -> AsyncIterator[media.EndpointEvent]:
        await self._closed.wait()
        return
        yield media.ControlOpen()

    def statistics(self) -> media.EndpointStats:
        return media.EndpointStats()

    async def close(self) -> media.EndpointStats:
        if not self._closed.is_set():
            self._closed.set()
            await asyncio.sleep(CLOSING)
            CountedEndpoint.open -= 1
        return media.EndpointStats()


def offer(attacker: Attacker, node: Node, call_id: bytes) -> Notify:
    """A valid offer of a new call, with a real description."""
    reply_key = AgreementKey.generate(system_random)
    message = m.Offer(OFFER, reply_key.public, "", m.Wants.AUDIO)
    return attacker.message(node, message, call_id=call_id)


def files() -> int:
    """Open files of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(
    ("peers", "known", "hangs_up"),
    [(1, True, True), (20, True, True), (200, True, False), (20, False, True)],
    ids=["one contact", "20 contacts", "200 contacts without hang-ups", "20 strangers"],
)
@pytest.mark.timeout(120)
async def test_1000_valid_offers_open_at_most_eight_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peers: int, known: bool, hangs_up: bool
) -> None:
    """A node that answers everybody by itself: <= 8 media ends in all, <= 2 of one peer, no files left."""

    async def make(plan: MediaPlan, *parts: object) -> media.MediaEndpoint:
        return CountedEndpoint()

    CountedEndpoint.open = CountedEndpoint.most = CountedEndpoint.made = 0
    monkeypatch.setattr("meshcall.node.make_endpoint", make)
    monkeypatch.setattr("meshcall.node.prepare_media", lambda: None)
    config = replace(
        Config(home=tmp_path / "bob", mdns=False, lan_only=True, interfaces=("lo",), source="none"),
        auto_answer="anyone",
    )
    async with Node(config) as node:
        before = files()
        senders = [Attacker() for _ in range(peers)]
        for index, sender in enumerate(senders if known else []):
            node.contacts.add(_id(sender), f"friend {index}")
        most = of_one = most_files = 0
        for number in range(1000):
            sender, call_id = senders[number % peers], os.urandom(16)
            node._post.on_notify(offer(sender, node, call_id))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
            if hangs_up and (call := next((call for call in live(node) if call.owns(call_id)), None)):
                bind = call.driver._letters[call_id].opened.inner_hash
                hangup = m.Hangup(m.HangupReason.CANCELLED)
                node._post.on_notify(sender.message(node, hangup, call_id=call_id, bind=bind))
            there = [call for call in node._calls if call.ended_ms is None]
            most = max(most, len(there))
            of_one = max(of_one, *Counter(call.peer_id for call in there).values(), 0)
            if number % 20 == 0:
                most_files = max(most_files, files())
        ends = CountedEndpoint
        print(
            f"{most} calls at a time, {of_one} of one peer; {ends.most} media ends at a time, {ends.made} "
            f"in all; +{most_files - before} files"
        )
        assert ends.made, "calls were answered"
        assert 1 <= most <= limits.CALLS_LIVE_MAX
        assert of_one <= limits.CALLS_PER_PEER_MAX
        assert ends.most <= most
        assert most_files - before <= limits.CALLS_LIVE_MAX
        for call in live(node):
            await call.hangup()
        await settle(node)
    assert CountedEndpoint.open == 0


async def test_a_contact_for_whose_call_there_is_no_place_is_told_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the media of its calls before are being closed; a flood gets few answers, and a stranger none."""
    closed, refused = asyncio.Event(), list[bytes]()
    tell_caller = Post.tell_caller

    class SlowEndpoint(CountedEndpoint):
        async def close(self) -> media.EndpointStats:
            await closed.wait()
            return await super().close()

    async def make(plan: MediaPlan, *parts: object) -> media.MediaEndpoint:
        return SlowEndpoint()

    async def tell(post: Post, letter: Letter, message: m.Message) -> tuple[bytes, bytes]:
        if isinstance(message, m.Reject):
            assert message.reason is m.RejectReason.BUSY
            refused.append(letter.opened.call_id)
        return await tell_caller(post, letter, message)

    monkeypatch.setattr("meshcall.node.make_endpoint", make)
    monkeypatch.setattr("meshcall.node.prepare_media", lambda: None)
    monkeypatch.setattr(Post, "tell_caller", tell)
    config = Config(home=tmp_path / "bob", mdns=False, lan_only=True, interfaces=("lo",), source="none")
    async with Node(replace(config, auto_answer="anyone")) as node:
        friend, stranger = Attacker(), Attacker()
        node.contacts.add(_id(friend), "friend")
        try:
            for sender in (friend, stranger) * limits.CALLS_PER_PEER_MAX:
                made = CountedEndpoint.made
                node._post.on_notify(offer(sender, node, os.urandom(16)))
                async with asyncio.timeout(10):
                    while CountedEndpoint.made == made:  # noqa: ASYNC110 - there is no event for it
                        await asyncio.sleep(0.01)
                for call in live(node):
                    await call.hangup()
            third = os.urandom(16)
            for sender in (stranger, friend):
                node._post.on_notify(offer(sender, node, third))
            async with asyncio.timeout(10):
                while not refused:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            for _ in range(100):
                node._post.on_notify(offer(friend, node, os.urandom(16)))
            async with asyncio.timeout(10):
                while node._counters["offer-too-many-calls"] < 102:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
        finally:
            closed.set()
        await settle(node)
    assert refused[0] == third
    assert limits.CALLS_BUSY_BURST <= len(refused) <= limits.CALLS_BUSY_BURST + 10
