"""A peer that breaks parsers, against a daemon that is in another call: that goes on, whatever comes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from netsim.errors import NeverHappened
from netsim.lab import ROOT, Lab, Lan
from netsim.peer import EventLog, Peer
from netsim.process import LabProcess

from . import hostile_peer
from .test_first_call import assert_clean_log

WITHIN_S = 3.0
"""For the end of the call in which it happened."""
ALIVE_S = 2.0
"""For a line of chat of the other call, also where all media are in one thread with what a flood costs."""
UNDER_WAY_S = 0.15
"""Sound that was sent and not played yet when a call ended."""
HOSTILE = Path(hostile_peer.__file__)
UNGUARDED = Path(__file__).with_name("unguarded_daemon.py")
DATAGRAMS = Path(__file__).with_name("hostile_datagrams.py")


class Mallory:
    """The hostile peer, in whose calls one thing is done to the other end."""

    def __init__(self, process: LabProcess, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    @classmethod
    @asynccontextmanager
    async def on(cls, peer: Peer, callee: Peer) -> AsyncIterator[Mallory]:
        """With the home of ``peer``, a contact of ``callee``: no purse of strangers spares the callee."""
        await peer.init()
        await callee.post("contacts", peer=peer.id, name="mallory")
        reader, writer = os.pipe()
        command: list[str | Path] = [sys.executable, HOSTILE, peer.home, callee.id]
        process = await peer.host.popen(command, env={"PYTHONPATH": str(ROOT)}, stdin=reader)
        os.close(reader)
        try:
            await process.wait_for_event(event="ready")
            yield cls(process, writer)
        finally:
            os.close(writer)

    async def attack(self, name: str) -> dict[str, Any]:
        """Call, and do it; what it tells when all is sent."""
        os.write(self._pipe, name.encode() + b"\n")
        told = await self._process.wait_for_event(attack=name, timeout=40)
        assert told["event"] == "attacked", told
        return told

    async def wait_over(self, name: str, timeout: float = WITHIN_S) -> dict[str, Any]:
        """What it tells when it knows that the call has ended."""
        return await self._process.wait_for_event(timeout, event="over", attack=name)

    async def hang_up(self, name: str) -> None:
        """End the call, if it has not ended."""
        os.write(self._pipe, b"next\n")
        await self.wait_over(name, 20)


@asynccontextmanager
async def calling(caller: Peer, callee: Peer) -> AsyncIterator[LabProcess]:
    """A call that goes on all the time, and in the end has lost nothing."""
    call = await caller.start_cli("call", callee.id, "--json")
    async with EventLog(callee) as log:
        await call.wait_for_event(event="connected", timeout=30)
        began = time.monotonic()
        yield call
        lasted = time.monotonic() - began
        await caller.post("calls/-/hangup")
        ours = (await call.wait(20)).json_lines()[-1]
        theirs = await log.wait_for(event="ended", call=ours["call"])
    print(f"the other call: {ours['received']} of {theirs['sent']} in {lasted:.1f} s")
    for ended, other in ((ours, theirs), (theirs, ours)):
        assert ended["reason"] == "hangup"
        assert ended["sent"]["audio_seconds"] >= 0.95 * lasted
        assert ended["received"]["audio_seconds"] >= 0.98 * other["sent"]["audio_seconds"] - UNDER_WAY_S


async def start(lan: Lan, *flags: str) -> tuple[Peer, Peer, Peer]:
    """Ann, who answers anybody; bob, who calls her; mallory, of whom there is only a host."""
    ann, bob, mallory = (Peer(lan[name]) for name in ("ann", "bob", "mallory"))
    await asyncio.gather(ann.start("--lan-only", "--auto-answer", "anyone", *flags), bob.start("--lan-only"))
    return ann, bob, mallory


async def outcome(log: EventLog, attacked: dict[str, Any]) -> str:
    """What became of the call: it goes on, or has ended. Raises NeverHappened."""
    name, call = attacked["attack"], attacked["call"]
    chat = asyncio.create_task(log.wait_for(WITHIN_S, event="chat", sender="peer", text=name))
    end = asyncio.create_task(log.wait_for(WITHIN_S, event="ended", call=call))
    done, waiting = await asyncio.wait({chat, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    found = [task.result() for task in done if task.exception() is None]
    if not found:
        raise NeverHappened(f"{name}: its call neither goes on nor has ended after {WITHIN_S} s")
    return "goes on" if found[0]["event"] == "chat" else f"ended: {found[0]['reason']}"


async def ask(bob: Peer, log: EventLog, text: str) -> float:
    """Say ``text`` in the other call; seconds until it is told. Raises NeverHappened."""
    began = time.monotonic()
    await bob.post("calls/-/chat", text=text)
    await log.wait_for(ALIVE_S, event="chat", sender="peer", text=text)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("media", ["--media-workers", "--no-media-workers"])
async def test_what_breaks_parsers_disturbs_no_other_call(lab: Lab, media: str) -> None:
    """Of a caller who has proved who it is. Its call goes on or ends in 3 s; the other one loses nothing."""
    lan = await lab.lan(["ann", "bob", "mallory"])
    ann, bob, host = await start(lan, media)
    faults, slowest, unsent = [], 0.0, 0
    async with calling(bob, ann), Mallory.on(host, ann) as mallory, EventLog(ann) as log:
        for name in hostile_peer.ATTACKS:
            attacked = await mallory.attack(name)
            said, became = await asyncio.gather(
                ask(bob, log, f"after {name}"), outcome(log, attacked), return_exceptions=True
            )
            print(f"{name}: {became}; the other call answered after {said} s")
            faults += [f"{name}: {one}" for one in (said, became) if isinstance(one, BaseException)]
            unsent += attacked["unsent"]
            slowest = max(slowest, said if isinstance(said, float) else 0.0)
            await mallory.hang_up(name)
            await log.wait_for(
                event="ended", call=attacked["call"]
            )  # until then it takes the place of a call
        print(f"{len(hostile_peer.ATTACKS)} attacks, the slowest line of chat {slowest * 1000:.0f} ms")
        print(f"{unsent} packets that SRTP refused to send")
        print((await ann.get("status"))["counters"])
    assert not faults
    assert_clean_log(ann)


@pytest.mark.timeout(120)
async def test_a_packet_that_freezes_a_worker_ends_its_call_at_both_ends(lab: Lab) -> None:
    """The parameter of length 0, and no guard before aiortc's parser: the worker spins, and is ended."""
    lan = await lab.lan(["ann", "bob", "mallory"])
    ann, bob, host = (Peer(one) for one in lan)
    await asyncio.gather(ann.init(), bob.start("--lan-only"))
    command: list[str | Path] = [sys.executable, UNGUARDED, "--home", ann.home, "--lan-only"]
    env = {"PYTHONPATH": str(ROOT), "MESHCALL_NO_MAINLINE": "1"}
    ann.daemon = await ann.host.popen([*command, "--auto-answer", "anyone", "--media-workers"], env=env)
    await ann.wait_until_ready()
    name = "zero-parameter-heartbeat"
    async with calling(bob, ann), Mallory.on(host, ann) as mallory, EventLog(ann) as log:
        attacked = await mallory.attack(name)
        ended = await log.wait_for(WITHIN_S, event="ended", call=attacked["call"])
        took = time.monotonic() - attacked["at"]
        assert (ended["reason"], ended["error"]["code"]) == ("media-failed", "media-failed")
        over = await mallory.wait_over(name)
        print(f"told after {took:.2f} s, at the other end after {over['at'] - attacked['at']:.2f} s")
        assert over["reason"] == "failed"
        assert max(took, over["at"] - attacked["at"]) < WITHIN_S
        await mallory.hang_up(name)
        assert (await ann.get("id"))["peer_id"] == ann.id
        # the next call has a fresh worker
        assert await outcome(log, await mallory.attack("unknown-chunk")) == "goes on"
        await mallory.hang_up("unknown-chunk")
    assert_clean_log(ann)


@pytest.mark.timeout(120)
async def test_datagrams_of_strangers_disturb_no_call(lab: Lab) -> None:
    """Those that broke STUN, mDNS and DHT parsers of libraries, at the daemon's port and at mDNS's."""
    lan = await lab.lan(["ann", "bob", "mallory"])
    ann, bob, _ = await start(lan)
    port = (await ann.get("status"))["port"]
    async with calling(bob, ann), EventLog(ann) as log:
        sent = await lan["mallory"].run([sys.executable, DATAGRAMS, lan["ann"].ipv4, str(port)])
        print(sent.check().stdout)
        took = await ask(bob, log, "still here")
        print(f"the call answered after {took * 1000:.0f} ms")
        print((await ann.get("status"))["counters"])
    assert_clean_log(ann)
