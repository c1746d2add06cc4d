"""A call between two daemons of which everything is kept: the events of both ends, each packet of sound.

Law 1: gaps and losses are read from the wire at both ends, not from what the program says.
Law 2: all hosts share one clock; times are Unix seconds.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from netsim.errors import LabError, NeverHappened
from netsim.host import Host
from netsim.media_trace import Sound, lost, rtp_packets, sounds
from netsim.peer import EventLog
from netsim.process import LabProcess
from netsim.recording import Recording, record
from netsim.stacks.meshcall import MeshcallStack

HANG_UP_S = 10.0
TAIL_S = 0.3
"""Packets of the last moment may be on their way."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a call in which something was done to its network."""

    begin: float
    healed: float
    """When what was done was over; with faults of a moment, when it was done."""
    end: float


@dataclass(frozen=True, slots=True)
class Harm:
    """What a stretch cost: the worse of the two directions."""

    gap_ms: float
    """The longest time without a new packet of sound."""
    back_ms: float
    """From ``healed`` to the first new packet; the stretch's length if there was none."""
    lost: int
    """Packets that were sent in the stretch and never arrived, both directions together."""
    stall_ms: float
    """The longest time in which a sender itself sent nothing: what is this machine's fault."""


class Recorder:
    """Captures at hosts, one each, for as many calls as there are."""

    def __init__(self) -> None:
        self._recordings: dict[str, Recording] = {}

    async def add(self, *hosts: Host) -> None:
        """Begin to record."""
        for host in hosts:
            self._recordings[host.name] = await record(host)

    def sounds(self, host: Host) -> tuple[dict[int, Sound], dict[int, Sound]]:
        """What the host sent and received so far, by SSRC."""
        addresses = {host.ipv4, host.ipv6} | {
            address for one in host.attachments for address in (one.ipv4, one.ipv6)
        }
        packets = rtp_packets(self._recordings[host.name].frames(), addresses)
        return sounds(packets, sent=True), sounds(packets, sent=False)


class WatchedCall:
    """Use :meth:`dial`, or the class as an asynchronous context."""

    def __init__(self, stack: MeshcallStack, caller: Host, callee: Host) -> None:
        self.caller, self.callee = caller, callee
        self._peers = stack.peer(caller), stack.peer(callee)
        self._source = stack.source or "testsrc:440"
        self._log = EventLog(self._peers[1])
        self._command: LabProcess | None = None

    async def __aenter__(self) -> WatchedCall:
        await self.dial()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def dial(self) -> None:
        """Call; returns at once. Raises LabError."""
        await self._log.__aenter__()
        caller, callee = self._peers
        self._command = await caller.start_cli("call", callee.id, "--source", self._source, "--json")

    async def hang_up(self) -> None:
        """End it. Idempotent."""
        if self._command is not None and self._command.running:
            await self._command.signal(signal.SIGINT)
            try:
                await self._command.wait(HANG_UP_S)
            except NeverHappened:
                await self._command.kill()
        await self._log.__aexit__(None, None, None)

    @property
    def near(self) -> list[dict[str, Any]]:
        """The caller's events."""
        return self._command.json_lines() if self._command is not None else []

    @property
    def far(self) -> list[dict[str, Any]]:
        """The callee's."""
        return self._log.events

    async def at_caller(self, timeout: float, **fields: object) -> dict[str, Any]:
        """The caller's first event with these fields. Raises LabError, also when the call ends before."""
        assert self._command is not None, "it was dialled"
        try:
            return await self._command.wait_for_event(timeout, **fields)
        except NeverHappened:
            raise LabError(f"no event with {fields}: {self.why()}") from None

    async def at_callee(self, timeout: float, **fields: object) -> dict[str, Any]:
        """The callee's first event with these fields. Raises NeverHappened."""
        return await self._log.wait_for(timeout, **fields)

    def why(self) -> str:
        """Why it ended, in the caller's words."""
        for event in reversed(self.near):
            error = event.get("error")
            if error:
                return str(error["message"] if isinstance(error, dict) else error)
            if event.get("event") == "ended":
                return str(event["reason"])
        return "no end is known"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._command is None or not self._command.running

    async def wait_for_media(self, timeout: float = 30.0) -> float:
        """Until both ends have heard something; seconds from the answer. Raises LabError."""
        near = await self.at_caller(timeout, event="media", kind="audio")
        far = await self.at_callee(5.0, event="media", kind="audio")
        answered = await self.at_callee(1.0, event="connecting")
        return float(max(near["at_ms"], far["at_ms"]) - answered["at_ms"]) / 1000


async def stretch(act: Callable[[], Awaitable[object]], seconds: float) -> Stretch:
    """Do something to the network, and let so many seconds pass after it is done."""
    begin = time.time()
    await act()
    healed = time.time()
    await asyncio.sleep(seconds)
    return Stretch(begin, healed, time.time())


def harm(recorder: Recorder, one: Host, other: Host, part: Stretch) -> Harm:
    """What both ends heard in a stretch. Raises LabError if there was no sound at all."""
    sent_one, got_one = recorder.sounds(one)
    sent_other, got_other = recorder.sounds(other)
    gaps, backs, stalls, losses = [], [], [], 0
    for sent, got in ((sent_one, got_other), (sent_other, got_one)):
        streams = [ssrc for ssrc in sent if sent[ssrc].between(part.begin - 1, part.begin)]
        if not streams:
            raise LabError("nothing was sent just before")
        for ssrc in streams:
            heard = got.get(ssrc)
            if heard is None:
                raise LabError("nothing was heard at one end")
            gaps.append(heard.gap(part.begin, part.end))
            after = heard.first_after(part.healed)
            backs.append(part.end - part.healed if after is None else after)
            stalls.append(sent[ssrc].gap(part.begin, part.end))
            losses += lost(sent[ssrc], heard, part.begin - TAIL_S, part.end - TAIL_S)
    return Harm(1000 * max(gaps), 1000 * max(backs), losses, 1000 * max(stalls))
