"""Clocks that are wrong by a minute, and by ten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshcall.errors import ClockWrong
from meshcall.node import Node
from meshcall.testing.testnet import Testnet
from tests.attacks.nodes import SetClock, answered, config_of, ended, play_media, reachable, until

SEED = 20265


@pytest.mark.parametrize("shift_s", [60, -60])
async def test_a_minute_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float) -> None:
    """Calls in both directions are connected, whoever is ahead."""
    play_media(monkeypatch, SEED)
    ids: set[str] = set()
    async with (
        Testnet(5) as testnet,
        Node(config_of(tmp_path / "alice", testnet), clock=SetClock(shift_s)) as alice,
        Node(config_of(tmp_path / "bob", testnet)) as bob,
    ):
        await reachable(alice)
        await reachable(bob)
        for caller, callee in ((alice, bob), (bob, alice)):
            call = await caller.call(callee.peer_id)
            theirs = await answered(callee, ids)
            await theirs.answer()
            async with asyncio.timeout(10):
                await asyncio.gather(call.wait_connected(), theirs.wait_connected())
            await call.hangup()
            await asyncio.gather(ended(call), ended(theirs))
        assert alice.status().warnings == bob.status().warnings == []


@pytest.mark.parametrize("shift_s", [600, -600])
async def test_ten_minutes_are_told_to_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    """The call ends with that reason, nothing rings, and whoever could read a message of the other is warned.

    Who is called by somebody with a wrong clock is told if the caller's message reaches it: a caller that
    reads the callee's presence as one from the future sends none, and is told that.
    """
    play_media(monkeypatch, SEED)
    async with (
        Testnet(5) as testnet,
        Node(config_of(tmp_path / "alice", testnet), clock=SetClock(shift_s)) as alice,
        Node(config_of(tmp_path / "bob", testnet)) as bob,
    ):
        await reachable(alice)
        await reachable(bob)
        for one, other in ((alice, bob), (bob, alice)):
            one.contacts.add(other.id_text(), "friend")
        for caller, callee in ((alice, bob), (bob, alice)):
            summary = await ended(await caller.call(callee.peer_id))
            assert summary.reason == "clock"
            assert not [view for view in callee.calls() if view.direction == "in"]
        ahead, behind = (alice, bob) if shift_s > 0 else (bob, alice)
        # What the one that is ahead sent reached the other; who is behind sends nothing that would
        await until(lambda: any("clock" in warning for warning in behind.status().warnings))
        assert [call.direction for call in ahead.calls() + behind.calls()] == ["out", "out"]


@pytest.mark.parametrize("shift_s", [60, -60])
async def test_a_member_whose_clock_is_a_minute_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    """It comes in, lets others in, and is on everybody's list."""
    play_media(monkeypatch, SEED)
    async with (
        Testnet(5) as testnet,
        Node(config_of(tmp_path / "alice", testnet), clock=SetClock(shift_s)) as alice,
        Node(config_of(tmp_path / "bob", testnet)) as bob,
        Node(config_of(tmp_path / "carol", testnet)) as carol,
    ):
        nodes = (alice, bob, carol)
        for node in nodes:
            await reachable(node)
        await bob.rooms.create("Tea")
        await alice.rooms.join(bob.rooms.invite("-").uri)
        await carol.rooms.join(alice.rooms.invite("-").uri)
        ids = {node.id_text() for node in nodes}
        await until(lambda: all(_here(node) == ids for node in nodes))


@pytest.mark.parametrize("shift_s", [600, -600])
async def test_whose_clock_is_ten_minutes_wrong_comes_into_no_room_and_learns_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    """Nothing that it says is taken, nor what is said to it; the clock is named as what to look at."""
    play_media(monkeypatch, SEED)
    async with (
        Testnet(5) as testnet,
        Node(config_of(tmp_path / "alice", testnet), clock=SetClock(shift_s)) as alice,
        Node(config_of(tmp_path / "bob", testnet)) as bob,
    ):
        await reachable(alice)
        await reachable(bob)
        await bob.rooms.create("Tea")
        with pytest.raises(ClockWrong) as caught:
            await alice.rooms.join(bob.rooms.invite("-").uri)
        assert "set the clock" in (caught.value.hint or "")
        assert _here(bob) == {bob.id_text()}
        refused = {**alice.status().counters, **bob.status().counters}
        assert refused.get("presence-clock") or refused.get("letter-clock")


def _here(node: Node) -> set[str]:
    """Who is in its room, by what it shows."""
    return {member.peer_id for member in node.rooms.view("-").members if member.state == "here"}
