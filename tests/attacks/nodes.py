"""Whole nodes with played media, on a small DHT, with clocks that a test can set."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall import node as node_module
from meshcall.aio.clock import SystemClock
from meshcall.config import Config
from meshcall.ice.candidate import Candidate
from meshcall.media import endpoint as m
from meshcall.media.plan import MediaKind, MediaPlan
from meshcall.node import Node
from meshcall.session import Call
from meshcall.signaling.codecs import OPUS, Codec
from meshcall.signaling.description import Description, Section, decode_description_untrusted
from meshcall.testing.testnet import Testnet
from meshcall.views import Ended, LayerKind

AUDIO = Section("audio", "0", codecs=(Codec(OPUS, 111, None, 1),), ssrcs=(0x01020304,))
DATA = Section("application", "1")


class SetClock(SystemClock):
    """The system's timers, and a calendar that a test sets."""

    def __init__(self, shift_s: float = 0.0) -> None:
        self.shift_s = shift_s

    def now_ms(self) -> int:
        """Unix milliseconds, shifted."""
        return super().now_ms() + int(self.shift_s * 1000)


class Stage:
    """Makes the endpoints of all calls, and knows what is secret about each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.descriptions: list[Description] = []
        self.endpoints: list[PlayedEndpoint] = []
        """That are not closed."""
        self._offered: dict[bytes, PlayedEndpoint] = {}

    async def make_endpoint(self, plan: MediaPlan, *parts: object) -> m.MediaEndpoint:
        """In place of ``meshcall.media_loader.make_endpoint``."""
        return PlayedEndpoint(self, plan)

    def description(self, setup: str) -> Description:
        """One that was never seen before; its addresses are from the documentation ranges."""
        chance = self.random
        candidates = []
        large = chance.random() < 0.5  # for either size of records
        for _ in range(4 if large else 1):
            priority = chance.randrange(1000, 1 << 30)
            ip4, ip6, relay = f"203.0.113.{chance.randrange(1, 255)}", _ip6(chance), _ip6(chance)
            candidates += [
                Candidate("host", "udp", ip6, _port(chance), priority),
                Candidate("srflx", "udp", ip4, _port(chance), priority - 1),
                Candidate("relay", "udp", relay, _port(chance), priority - 2),
            ]
        made = Description(
            ufrag=chance.randbytes(16 if large else 4).hex(),
            pwd=chance.randbytes(32 if large else 16).hex(),
            fingerprint=chance.randbytes(32),
            setup=setup,
            sections=(AUDIO, DATA),
            candidates=tuple(candidates),
            end_of_candidates=True,
        )
        self.descriptions.append(made)
        return made


class PlayedEndpoint:
    """One end of a media path that works at once, with the one whose offer it answered."""

    def __init__(self, stage: Stage, plan: MediaPlan) -> None:
        self.plan = plan
        self._stage = stage
        self._description: Description | None = None
        self._other: PlayedEndpoint | None = None
        self.shown: tuple[int, int] | None = None
        """Height and pictures a second that the other asked for last."""
        stage.endpoints.append(self)
        self._events: asyncio.Queue[m.EndpointEvent | None] = asyncio.Queue()

    async def offer(self) -> bytes:
        self._description = self._stage.description("actpass")
        self._stage._offered[self._description.fingerprint] = self
        return self._description.encode()

    async def answer(self, offer: bytes) -> bytes:
        self._other = self._stage._offered[decode_description_untrusted(offer).fingerprint]
        self._other._other = self
        self._description = self._stage.description("active")
        return self._description.encode()

    async def accept(self, answer: bytes) -> None:
        assert self._other is not None
        for end in (self, self._other):
            assert end._description is not None
            assert end._other is not None
            assert end._other._description is not None
            here = m.SelectedCandidate("host", "192.0.2.1", 5000)
            end._events.put_nowait(m.IceConnected(here, here, "direct"))
            theirs = end._other._description.fingerprint
            end._events.put_nowait(m.Secured(end._description.fingerprint, theirs))
            end._events.put_nowait(m.ControlOpen())

    async def add_candidates(self, candidates: bytes) -> None:
        """There are none."""

    def change(self, data: bytes) -> None:
        """Nothing changes."""

    async def open_gate(self) -> None:
        """Nothing is behind it."""

    def set_muted(self, kind: MediaKind, *, muted: bool) -> None:
        """Nothing is sent."""

    def share(self, source: str) -> None:
        """Nothing is sent."""

    def set_layer(self, kind: LayerKind, height: int, fps: int) -> None:
        self.shown = height, fps

    def send_control(self, data: bytes) -> None:
        if self._other is not None:
            self._other._events.put_nowait(m.ControlMessage(data))

    async def events(self) -> AsyncIterator[m.EndpointEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def statistics(self) -> m.EndpointStats:
        return m.EndpointStats()

    async def close(self) -> m.EndpointStats:
        self._events.put_nowait(None)
        if self in self._stage.endpoints:
            self._stage.endpoints.remove(self)
        return self.statistics()


def _ip6(chance: random.Random) -> str:
    return str(ipaddress.IPv6Address(b"\x20\x01\x0d\xb8" + chance.randbytes(12)))


def _port(chance: random.Random) -> int:
    return chance.randrange(0x4142, 0xFFFF)


def play_media(monkeypatch: pytest.MonkeyPatch, seed: int) -> Stage:
    """From now on nodes of this test play their media."""
    stage = Stage(seed)
    monkeypatch.setattr(node_module, "make_endpoint", stage.make_endpoint)
    monkeypatch.setattr("meshcall.node.prepare_media", lambda: None)
    return stage


def config_of(home: Path, testnet: Testnet, **changes: Any) -> Config:
    """A node on loopback that finds others through ``testnet``."""
    made = Config(home=home, mdns=False, bootstrap=testnet.bootstrap, interfaces=("lo",), source="none")
    return replace(made, **changes)


async def until(condition: Callable[[], object], timeout: float = 15) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


async def reachable(node: Node) -> None:
    """Its inboxes are watched at the DHT's nodes, and its presence is stored there."""
    await until(
        lambda: (
            all(watch.holders >= 2 for watch in node._post._where._watches.values())
            and node.status().counters.get("sent-store")
            and not node._work
        )
    )


async def answered(node: Node, last: set[str]) -> Call:
    """The next call that rings at ``node`` and is not in ``last``."""
    ringing: list[str] = []

    def rings() -> bool:
        ringing[:] = [c.id for c in node.calls() if c.state == "incoming" and c.id not in last]
        return bool(ringing)

    await until(rings)
    last.add(ringing[0])
    return node.get_call(ringing[0])


async def ended(call: Call) -> Ended:
    """The call's summary."""
    async with asyncio.timeout(15):
        return await call.wait_ended()
