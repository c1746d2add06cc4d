"""Pings between whole nodes on loopback: who is answered, what is told, what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from meshcall import errors, limits
from meshcall.identity.keys import SigningKey
from meshcall.node import Node
from meshcall.ping_views import PingEnded, PingEvent, PingReply, PingStep
from meshcall.pinger import Ping

from .test_node import StartNode, ended, incoming, start, testnet  # noqa: F401 - fixtures


async def told(ping: Ping) -> list[PingEvent]:
    """All events of a ping."""
    async with asyncio.timeout(20):
        return [event async for event in ping.events()]


def know(node: Node, *others: Node) -> None:
    """``node`` has the others in its contact book."""
    for number, other in enumerate(others):
        node.contacts.add(other.id_text(), f"friend{number}")


def summary_of(events: Iterable[PingEvent]) -> PingEnded:
    """The last one."""
    *_, last = events
    assert isinstance(last, PingEnded)
    return last


async def no_pings(node: Node) -> None:
    """Wait until ``node`` answers none any more."""
    async with asyncio.timeout(5):
        while len(node._pinger.answers):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_a_contact_answers_without_ringing(start: StartNode) -> None:  # noqa: F811
    """Every probe is answered with its path and round trip; nothing rings, nothing is in the history."""
    alice, bob = await start("alice"), await start("bob")
    know(bob, alice)
    events = await told(await alice.ping(bob.id_text(), count=3, interval=0.1))
    replies = [event for event in events if isinstance(event, PingReply)]
    assert [reply.seq for reply in replies] == [1, 2, 3]
    assert all(reply.path == "lan" and 0 < reply.rtt_ms < 1000 for reply in replies)
    assert all(reply.local.startswith("host 127.0.0.1:") for reply in replies)
    steps = [event.step for event in events if isinstance(event, PingStep)]
    assert [step for step in steps if step != "reached"] == ["looking-up", "calling", "answered"]
    end = summary_of(events)
    assert (end.reason, end.sent, end.received, end.path, end.error) == ("done", 3, 3, "lan", None)
    assert end.direct_ms is not None
    assert end.explanation == "direct over IPv4: both ends are in one local network"
    await no_pings(bob)
    assert not bob.calls()
    assert not await bob.history()


async def test_until_direct_ends_at_once_where_no_relay_is(start: StartNode) -> None:  # noqa: F811
    """One reply over a direct path is enough."""
    alice, bob = await start("alice"), await start("bob")
    know(bob, alice)
    end = summary_of(await told(await alice.ping(bob.id_text(), count=30, until_direct=True)))
    assert (end.reason, end.received, end.error) == ("direct", 1, None)


async def test_strangers_and_blocked_peers_are_not_answered(
    start: StartNode,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is no contact, or is blocked, gets no answer, and the callee opens no session for it."""
    monkeypatch.setattr(limits, "PING_ANSWER", 0.8)
    alice, bob = await start("alice"), await start("bob")
    for policy in ("stranger", "blocked"):
        if policy == "blocked":
            know(bob, alice)
            bob.contacts.block("friend0")
        before = bob.status().counters.get("letter-policy", 0)
        end = summary_of(await told(await alice.ping(bob.id_text(), count=1)))
        assert end.error is not None
        assert (end.reason, end.error.exit_code, end.sent) == ("no-answer", 5, 0)
        assert bob.status().counters["letter-policy"] > before
        assert not len(bob._pinger.answers)


async def test_who_wants_no_pings_answers_none(
    start: StartNode,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even those of contacts; their calls ring all the same."""
    monkeypatch.setattr(limits, "PING_ANSWER", 0.8)
    alice, bob = await start("alice"), await start("bob", answer_pings=False)
    know(bob, alice)
    assert summary_of(await told(await alice.ping(bob.id_text(), count=1))).reason == "no-answer"
    call = await alice.call(bob.id_text())
    await incoming(bob)
    await call.hangup()


async def test_a_contact_is_pinged_by_its_secret(start: StartNode) -> None:  # noqa: F811
    """Who was handed the rendezvous secret needs no inbox: it leads to a node that has none."""
    alice, bob = await start("alice"), await start("bob")
    know(alice, bob)
    know(bob, alice)
    call = await alice.call(bob.id_text())
    await (await incoming(bob)).answer()
    await call.wait_connected()
    async with asyncio.timeout(5):
        while not alice.contacts.secret(bob.peer_id):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.02)
    await call.hangup()
    await ended(call)
    alice._finder.forget(bob.peer_id)
    before = alice.status().counters.get("found-by-contact", 0)
    assert summary_of(await told(await alice.ping(bob.id_text(), count=2, interval=0.1))).received == 2
    assert alice.status().counters["found-by-contact"] == before + 1


async def test_the_end_of_a_ping_that_nobody_knows_of_is_no_missed_call(start: StartNode) -> None:  # noqa: F811
    """A callee that was restarted, or has ended the ping by itself, lists nothing and rings for nobody."""
    alice, bob = await start("alice"), await start("bob")
    know(bob, alice)
    ping = await alice.ping(bob.id_text(), count=20, interval=1)
    async for event in ping.events():
        if isinstance(event, PingReply):
            break
    bob._pinger.answers.close()
    await no_pings(bob)
    await ping.stop()
    async with asyncio.timeout(5):
        while not bob.status().counters.get("taken-hangup"):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    assert not bob.calls()
    assert not await bob.history()


async def test_who_is_not_there_is_offline(start: StartNode) -> None:  # noqa: F811
    """The call's error and exit code."""
    alice, bob = await start("alice"), await start("bob")
    bob_id = bob.id_text()
    await bob.__aexit__(None, None, None)
    end = summary_of(await told(await alice.ping(bob_id, count=1)))
    assert end.error is not None
    assert (end.reason, end.error.code, end.error.exit_code) == ("offline", "offline", 4)


async def test_a_ping_takes_nothing_from_a_call(start: StartNode) -> None:  # noqa: F811
    """During a call with the same peer its media go on: they are not taken for the ping's."""
    alice, bob = await start("alice", source="testsrc"), await start("bob", source="testsrc")
    know(bob, alice)
    call = await alice.call(bob.id_text())
    theirs = await incoming(bob)
    await theirs.answer()
    await call.wait_connected()
    end = summary_of(await told(await alice.ping(bob.id_text(), count=5, interval=0.2)))
    assert end.received == 5
    frames = theirs.driver.statistics().video.frames_received
    await asyncio.sleep(1.0)
    assert theirs.driver.statistics().video.frames_received > frames
    await call.hangup()
    assert (await ended(theirs)).reason == "hangup"


async def test_pings_are_bounded(start: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A contact that pings again at once is told that it is too busy; at most so many run from one node."""
    monkeypatch.setattr(limits, "PINGS_BURST", 1)
    alice, bob = await start("alice"), await start("bob")
    know(bob, alice)
    first = await alice.ping(bob.id_text(), count=50, interval=1)
    async for event in first.events():
        if isinstance(event, PingReply):
            break
    end = summary_of(await told(await alice.ping(bob.id_text(), count=1)))
    assert end.error is not None
    assert (end.reason, end.error.exit_code) == ("busy", 5)
    assert bob.status().counters["ping-too-often"] == 1
    assert not bob.calls(), "what a ping ends is no missed call"
    monkeypatch.setattr(limits, "PINGS_SENT_MAX", 1)
    with pytest.raises(errors.UsageError, match="run already"):
        await alice.ping(bob.id_text())
    await first.stop()
    assert summary_of(await told(first)).reason == "stopped"
    await no_pings(bob)


@pytest.mark.parametrize(
    "changes",
    [{"count": 0}, {"count": 601}, {"interval": 0.01}, {"interval": 61.0}, {"count": 600, "interval": 1.0}],
)
async def test_endless_pings_are_refused(start: StartNode, changes: dict[str, Any]) -> None:  # noqa: F811
    """What would last too long, or flood, is a usage error before anything is sent."""
    alice = await start("alice")
    with pytest.raises(errors.UsageError):
        await alice.ping(SigningKey.from_seed(bytes(32)).peer_id, **changes)
    with pytest.raises(errors.OwnId):
        await alice.ping(alice.peer_id)


async def test_a_node_that_stops_ends_its_pings(start: StartNode) -> None:  # noqa: F811
    """Both ends are told, and the stop does not wait for the ping."""
    alice, bob = await start("alice"), await start("bob")
    know(bob, alice)
    ping = await alice.ping(bob.id_text(), count=60, interval=1)
    async for event in ping.events():
        if isinstance(event, PingReply):
            break
    begin = asyncio.get_running_loop().time()
    await alice.__aexit__(None, None, None)
    assert asyncio.get_running_loop().time() - begin < 2.5
    assert summary_of(await told(ping)).reason == "stopped"
