"""What is heard of a call while something is done to its network.

Law 1: gaps and losses are read from the wire at both ends, not from what the program says.
Law 2: all hosts share one clock; times are Unix seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from netsim.errors import LabError
from netsim.host import Host
from netsim.media_trace import Sound, lost, rtp_packets, sounds
from netsim.recording import Recording, record

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


class Listener:
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


async def stretch(act: Callable[[], Awaitable[object]], seconds: float) -> Stretch:
    """Do something to the network, and let so many seconds pass after it is done."""
    begin = time.time()
    await act()
    healed = time.time()
    await asyncio.sleep(seconds)
    return Stretch(begin, healed, time.time())


def harm(listener: Listener, one: Host, other: Host, part: Stretch) -> Harm:
    """What both ends heard in a stretch. Raises LabError if there was no sound at all."""
    sent_one, got_one = listener.sounds(one)
    sent_other, got_other = listener.sounds(other)
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
