"""Whole nodes on loopback: a small DHT, two or three identities, every way that a call can go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from meshcall import errors, limits
from meshcall.aio.clock import SystemClock
from meshcall.aio.network import NetworkWatcher
from meshcall.bootstrap_ladder import BootstrapLadder
from meshcall.config import Config
from meshcall.handover import Handover
from meshcall.missed import MissedNotes
from meshcall.node import Node
from meshcall.post import Post
from meshcall.session import Call
from meshcall.testing.testnet import Testnet
from meshcall.views import CallEvent, Chat, Connected, Ended, Incoming, Ringing

E = TypeVar("E", bound=CallEvent)

StartNode = Callable[..., Any]


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    """Eight routers."""
    async with Testnet(8) as net:
        yield net


@pytest.fixture
async def start(testnet: Testnet, tmp_path: Path) -> AsyncIterator[StartNode]:
    """Starts nodes by name; all are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def node(who: str, *, clock: SystemClock | None = None, **changes: Any) -> Node:
            config = Config(
                home=tmp_path / who,
                mdns=False,
                mainline=False,
                bootstrap=testnet.bootstrap,
                interfaces=("lo",),
                source="none",
            )
            made = Node(replace(config, **changes), clock=clock)
            await stack.enter_async_context(made)
            await reachable(made)
            return made

        yield node


async def reachable(node: Node) -> None:
    """The node is in the DHT; if it has an inbox, that is watched there and its presence is stored."""
    async with asyncio.timeout(10):
        while node.config.contacts_only and not node.status().dht.nodes:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)
        if node.config.contacts_only or node.config.lan_only:
            return
        while node.status().dht.watches < 8 or not node.status().counters.get("sent-store") or node._work:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.02)


async def incoming(node: Node) -> Call:
    """The next call that rings at ``node``."""
    async with asyncio.timeout(10):
        while not (ringing := [call for call in node.calls() if call.state == "incoming"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return node.get_call(ringing[0].id)


async def event_of(call: Call, kind: type[E]) -> E:
    """The first event of ``kind`` in ``call``."""
    async with asyncio.timeout(10):
        async for event in call.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the call ended without {kind.__name__}")


async def ended(call: Call) -> Ended:
    """The call's summary."""
    async with asyncio.timeout(15):
        return await call.wait_ended()


async def test_call_rings_is_answered_chats_and_hangs_up(start: StartNode) -> None:
    """The whole way by ID through the DHT: ringing, answer, connected at both ends, chat, hang-up."""
    alice, bob = await start("alice", name="Alice"), await start("bob")
    call = await alice.call(bob.id_text())
    await event_of(call, Ringing)
    assert not [event for event in call._history if isinstance(event, Connected)]
    theirs = await incoming(bob)
    seen = await event_of(theirs, Incoming)
    assert (seen.peer_id, seen.self_name, seen.stranger) == (alice.id_text(), "Alice", True)
    await theirs.answer()
    await asyncio.gather(event_of(call, Connected), event_of(theirs, Connected))
    await call.chat("salut ✓")
    assert (await event_of(theirs, Chat)).text == "salut ✓"
    await theirs.hangup()
    summaries = await asyncio.gather(ended(call), ended(theirs))
    assert [summary.reason for summary in summaries] == ["hangup", "hangup"]
    assert all(summary.path == "lan" and summary.error is None for summary in summaries)
    steps = ["dial", "presence", "ringing", "answer", "ice", "dtls", "confirmed"]
    assert [mark for mark in summaries[0].timeline if mark in steps] == steps
    for summary, one in zip(summaries, (call, theirs), strict=True):
        first = summary.paths[0]
        assert (first.path, first.why, first.local) == ("lan", "first", "host")
        assert first.at == summary.timeline["ice"]
        assert summary.explanation.endswith("both ends are in one local network")
        assert summary.better == []
        view = one.view()
        assert (view.paths, view.explanation) == (summary.paths, summary.explanation)


async def test_call_declined(start: StartNode) -> None:
    """The caller learns that the callee declined, and raises it."""
    alice, bob = await start("alice"), await start("bob")
    call = await alice.call(bob.id_text())
    await (await incoming(bob)).decline()
    assert (await ended(call)).reason == "declined"
    with pytest.raises(errors.Declined):
        await call.wait_connected()


async def test_caller_cancels(start: StartNode) -> None:
    """What is cancelled stops ringing at once, as a missed call."""
    alice, bob = await start("alice"), await start("bob")
    call = await alice.call(bob.id_text())
    theirs = await incoming(bob)
    await call.hangup()
    assert (await ended(call)).reason == "cancelled"
    assert (await ended(theirs)).reason == "cancelled"


async def test_busy(start: StartNode) -> None:
    """Who talks is busy for a third, and the call goes on."""
    alice, bob, carol = await start("alice"), await start("bob"), await start("carol")
    call = await alice.call(bob.id_text())
    await (await incoming(bob)).answer()
    await event_of(call, Connected)
    assert (await ended(await carol.call(bob.id_text()))).reason == "busy"
    assert call.state in ("connected", "degraded")


async def test_nobody_answers(start: StartNode) -> None:
    """Ringing ends after the caller's timeout, at both ends."""
    alice, bob = await start("alice"), await start("bob")
    call = await alice.call(bob.id_text(), timeout=1)
    theirs = await incoming(bob)
    assert (await ended(call)).reason == "no-answer"
    assert (await ended(theirs)).reason == "cancelled"
    with pytest.raises(errors.NoAnswer):
        call.raise_for_end()


async def test_unknown_peer_is_offline(start: StartNode, tmp_path: Path) -> None:
    """An ID that nobody publishes is offline within a few seconds."""
    alice = await start("alice")
    async with Node(Config(home=tmp_path / "gone", mdns=False, lan_only=True)) as gone:
        nobody = gone.id_text()
    summary = await ended(await alice.call(nobody))
    assert summary.reason == "offline"
    assert summary.timeline["ended"] < 6000


async def test_callee_that_left_is_offline(start: StartNode, testnet: Testnet, tmp_path: Path) -> None:
    """A presence without a watcher is not enough: offline within a few seconds."""
    alice = await start("alice")
    async with Node(Config(home=tmp_path / "bob", mdns=False, bootstrap=testnet.bootstrap)) as bob:
        await reachable(bob)
        await asyncio.sleep(0.3)
        who = bob.id_text()
    summary = await ended(await alice.call(who))
    assert summary.reason == "offline"
    assert summary.timeline["ended"] < 6000


async def test_callee_comes_back_within_the_wait(start: StartNode, testnet: Testnet, tmp_path: Path) -> None:
    """With a wait, an offline callee that comes back is rung and can answer."""
    alice = await start("alice")
    config = Config(
        home=tmp_path / "bob", mdns=False, bootstrap=testnet.bootstrap, interfaces=("lo",), source="none"
    )
    async with Node(config) as bob:
        await reachable(bob)
        await asyncio.sleep(0.3)
        who = bob.id_text()
    call = await alice.call(who, wait=20)
    await asyncio.sleep(4)
    assert call.state == "calling"
    async with Node(config) as bob:
        await (await incoming(bob)).answer()
        await event_of(call, Connected)
        await call.hangup()
        await ended(call)


async def test_both_call_at_once(start: StartNode) -> None:
    """Glare: one call results, at both ends, and nobody has to answer it."""
    alice, bob = await start("alice"), await start("bob")
    ours, theirs = await asyncio.gather(alice.call(bob.id_text()), bob.call(alice.id_text()))
    await asyncio.gather(event_of(ours, Connected), event_of(theirs, Connected))
    assert ours.id == theirs.id
    live = [[view for view in node.calls() if view.state != "ended"] for node in (alice, bob)]
    assert [len(calls) for calls in live] == [1, 1]
    await ours.hangup()
    await asyncio.gather(ended(ours), ended(theirs))


async def test_calling_who_calls_answers(start: StartNode) -> None:
    """Dialling somebody who rings here is answering."""
    alice, bob = await start("alice"), await start("bob")
    call = await alice.call(bob.id_text())
    theirs = await incoming(bob)
    assert await bob.call(alice.id_text()) is theirs
    await event_of(call, Connected)


async def test_blocked_caller_does_not_ring(start: StartNode) -> None:
    """Who is blocked learns no more than that nobody answers, and nothing rings."""
    alice, bob = await start("alice"), await start("bob")
    bob.contacts.block(alice.id_text())
    summary = await ended(await alice.call(bob.id_text(), timeout=2))
    assert summary.reason in ("offline", "no-answer")
    assert bob.calls() == []
    assert bob.status().counters["letter-policy"] >= 1


async def test_strangers_can_be_kept_out(start: StartNode) -> None:
    """Contacts only: a stranger does not ring, a contact does."""
    alice, bob = await start("alice"), await start("bob", accept_strangers=False)
    assert (await ended(await alice.call(bob.id_text(), timeout=1))).reason in ("offline", "no-answer")
    bob.contacts.add(alice.id_text(), "alice")
    call = await alice.call(bob.id_text())
    await (await incoming(bob)).decline()
    await ended(call)


async def test_auto_answer_contacts_only(start: StartNode) -> None:
    """A machine that answers contacts answers them at once, and lets others ring."""
    alice, bob = await start("alice"), await start("bob", auto_answer="contacts")
    call = await alice.call(bob.id_text())
    assert (await incoming(bob)).state == "incoming"
    await call.hangup()
    await ended(call)
    bob.contacts.add(alice.id_text(), "alice")
    call = await alice.call("MESHCALL:" + bob.id_text().upper())
    await event_of(call, Connected)


async def test_invite_makes_contacts_of_both(start: StartNode) -> None:
    """One link: both have each other by the names they give themselves; a second use is refused."""
    alice, bob, carol = (
        await start("alice", name="Alice"),
        await start("bob", name="Bob"),
        await start("carol"),
    )
    link = alice.create_invite(once=True, expires=600)
    contact = await bob.accept_invite(link)
    assert contact.name == "Alice"
    assert [c.name for c in alice.contacts.list()] == ["Bob"]
    assert bob.status().warnings == []
    with pytest.raises(errors.OwnId):
        await alice.accept_invite(link)
    await carol.accept_invite(link)
    assert [c.name for c in alice.contacts.list()] == ["Bob"]
    assert alice.status().counters["contact-request-without-invite"] >= 1


async def test_bad_peers_are_refused_at_once(start: StartNode, tmp_path: Path) -> None:
    """Own ID, malformed ID, unknown name, short form, unusable source: raised before anything is sent."""
    alice, bob = await start("alice"), await start("bob")
    alice.contacts.add(bob.id_text(), "bob")
    for peer, error in [
        (alice.id_text(), errors.OwnId),
        (bob.id_text()[:-1] + ("a" if bob.id_text()[-1] != "a" else "b"), errors.InvalidPeerId),
        ("nobody", errors.UnknownContact),
        (bob.peer_id.short, errors.UnknownContact),
    ]:
        with pytest.raises(error):
            await alice.call(peer)
    text = tmp_path / "notes.txt"
    text.write_text("not media")
    for source in ("/no/such/file.mkv", str(text), str(tmp_path)):
        with pytest.raises(errors.SourceUnusable):
            await alice.call("bob", source=source)
    assert alice.calls() == []


class ShiftedClock(SystemClock):
    """The system's clock, wrong by so many seconds."""

    def __init__(self, shift_s: float) -> None:
        self._shift_ms = int(shift_s * 1000)

    def now_ms(self) -> int:
        """Wrong."""
        return super().now_ms() + self._shift_ms


@pytest.mark.parametrize("shift_s", [600, -600])
async def test_clock_wrong_by_ten_minutes(start: StartNode, shift_s: float) -> None:
    """The caller is told that the clocks differ, not that nobody is there."""
    alice, bob = await start("alice", clock=ShiftedClock(shift_s)), await start("bob")
    summary = await ended(await alice.call(bob.id_text()))
    assert summary.reason == "clock"
    assert summary.error is not None
    assert summary.error.exit_code == errors.ClockWrong.exit_code
    assert bob.calls() == []


@pytest.mark.parametrize("shift_s", [600, -600])
async def test_callee_whose_clock_is_wrong(start: StartNode, shift_s: float) -> None:
    """The same when it is the callee whose clock is wrong, whatever the age of its presence."""
    alice, bob = await start("alice"), await start("bob", clock=ShiftedClock(shift_s))
    summary = await ended(await alice.call(bob.id_text()))
    assert summary.reason == "clock"
    assert bob.calls() == []


async def test_second_node_on_one_home(start: StartNode) -> None:
    """The home is locked while a node runs."""
    alice = await start("alice")
    with pytest.raises(errors.AlreadyRunning):
        async with Node(alice.config):
            raise AssertionError("unreachable")


async def test_port_is_kept_over_restarts(tmp_path: Path) -> None:
    """A node that is free to choose takes the port that it had."""
    config = Config(home=tmp_path / "a", mdns=False, lan_only=True)
    async with Node(config) as node:
        port = node.port
    async with Node(config) as node:
        assert node.port == port


async def test_exception_of_the_user_passes_through(tmp_path: Path) -> None:
    """What a program raises inside ``async with`` comes out as it is."""
    with pytest.raises(KeyError):
        async with Node(Config(home=tmp_path / "a", mdns=False, lan_only=True)):
            raise KeyError("mine")


async def test_a_bug_in_lasting_work_does_not_end_the_node(
    start: StartNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and counted, and the work begins anew; the node is called all the while."""
    monkeypatch.setattr(limits, "WORK_RESTART", 0.01)
    runs: Counter[str] = Counter()

    def broken_once(cls: type[Any]) -> None:
        run = cls.run

        async def first_fails(self: Any) -> None:
            runs[cls.__name__] += 1
            if runs[cls.__name__] == 1:
                raise RuntimeError(f"a bug in {cls.__name__}")
            await run(self)

        monkeypatch.setattr(cls, "run", first_fails)

    for cls in (Post, MissedNotes, Handover, BootstrapLadder, NetworkWatcher):
        broken_once(cls)
    bob = await start("bob", auto_answer="anyone")
    assert runs == dict.fromkeys(runs, 2)
    assert len(runs) == 5
    assert bob.status().counters["bugs"] == 5
    assert "a bug in BootstrapLadder" in caplog.text
    alice = await start("alice")
    call = await alice.call(bob.id_text())
    await call.wait_connected()
    await call.hangup()
