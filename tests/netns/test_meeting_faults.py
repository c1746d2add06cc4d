"""What goes wrong in meetings: split networks, cables, lids, names, floods, missing multicast."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import unicodedata
from pathlib import Path

import pytest

from netsim.lab import ROOT, Lab
from netsim.meeting import View, agree, here, others
from netsim.peer import EventLog

from .meetings import (
    AGREED_S,
    FIVE,
    ROOM,
    assert_clean_logs,
    drop_multicast,
    gather,
    refusal,
    set_link,
    start,
)

FAKE_ROOMS = Path(__file__).with_name("fake_rooms.py")
SAID_S = 0.5
"""How far the shown time of a line may be from when it was said: what its ways took is not all known."""


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_room_that_is_split_goes_on_and_merges(lab: Lab) -> None:
    """Both halves go on; one of them gains a member; once the network is whole, all agree within 3 s.

    And each half hears what was said in the other, but who came meanwhile not what was said before.
    """
    lan = await lab.lan(FIVE)
    members = await start(list(lan))
    ann, bob, cleo, dan, eve = members
    await gather(members[:4])
    await lan.split(["cleo", "dan", "eve"])
    await agree([ann, bob])
    await agree([cleo, dan])
    said = {"before eve came": time.time()}
    await ann.do("chat", text="before eve came")
    await eve.join(ROOM)
    await agree([cleo, dan, eve])
    async with EventLog(dan.peer) as log:
        said["we are still here"] = time.time()
        await cleo.do("chat", text="we are still here")
        await log.wait_for(event="room-chat", text="we are still here")
    await asyncio.sleep(1)  # so that the time of the merge is none at which anything was said
    async with contextlib.AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(EventLog(one.peer)) for one in members]
        await lan.unite()
        began = time.monotonic()
        took = await agree(members) - began
        print(f"merged after {took:.2f} s")
        assert took <= AGREED_S
        wanted = [
            (logs[0], "we are still here"),
            (logs[1], "we are still here"),
            (logs[2], "before eve came"),
        ]
        for log, text in [*wanted, (logs[3], "before eve came")]:
            line = await log.wait_for(event="room-chat", text=text)
            off = line["at_ms"] / 1000 - said[text]
            print(f"{text!r} is shown as said {off * 1000:+.0f} ms from when it was")
            assert abs(off) <= SAID_S
        print(f"what was missed came after {time.monotonic() - began:.2f} s")
        chats = [[event["text"] for event in log.events if event["event"] == "room-chat"] for log in logs]
    assert chats == [["we are still here"]] * 2 + [["before eve came"]] * 2 + [[]]
    for one in members:  # and every pair has its link again
        await one.wait_for("links", lambda view: all(m["call"] and m["path"] for m in others(view)))
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_switch_that_is_unplugged_for_20_s(lab: Lab) -> None:
    """Everybody is alone, and nobody leaves; with the switch they are together again within 3 s."""
    lan = await lab.lan(FIVE[:4])
    members = await start(list(lan))
    await gather(members)
    await lan.power(on=False)
    await asyncio.sleep(20)
    for one in members:
        assert here(await one.view()) == {one.peer.id}
    await lan.power(on=True)
    began = time.monotonic()
    took = await agree(members) - began
    print(f"together again after {took:.2f} s")
    assert took <= AGREED_S
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_lid_that_is_closed_and_an_interface_that_is_down(lab: Lab) -> None:
    """A member whose machine sleeps, or whose cable is out, is missed, and is back within 3 s."""
    lan = await lab.lan(FIVE[:3])
    members = await start(list(lan))
    ann, bob, cleo = members
    await gather(members)
    assert cleo.peer.daemon is not None
    await cleo.peer.daemon.pause()
    await agree([ann, bob])
    await asyncio.sleep(60)
    await cleo.peer.daemon.resume()
    began = time.monotonic()
    took = await agree(members) - began
    print(f"a lid: back after {took:.2f} s")
    assert took <= AGREED_S

    await set_link(cleo.peer.host, "down")
    await agree([ann, bob])
    await asyncio.sleep(5)
    await set_link(cleo.peer.host, "up")
    began = time.monotonic()
    took = await agree(members) - began
    print(f"an interface: back after {took:.2f} s")
    assert took <= AGREED_S
    assert_clean_logs(members)


@pytest.mark.timeout(120)
async def test_names_of_any_kind(lab: Lab) -> None:
    """Whatever can be shown names a room, in any spelling of the same letters; too much is cut."""
    lan = await lab.lan(["ann", "bob"])
    ann, bob = await start(list(lan))
    names = [
        "x",
        "чай ☕",
        "家族会議",
        "اجتماع",
        "Zoë's 🏳️‍🌈",
        "é" * 33,
        "y" * 65,
        "a/b?c#d %20",
        "a\0b",
        "..",
    ]
    for name in names:
        made = await ann.create(name, source="none")
        spelled = unicodedata.normalize("NFD", name).upper()
        went = await bob.join(spelled, source="none")
        assert went["id"] == made["id"], name
        await agree([ann, bob])
        for one in (bob, ann):
            await one.do("leave")
            await one.peer.get(f"rooms/{one.room}")
    for name in ("", " ", "\x00", "\u202e", "\ud800", "z" * 3000, "\n"):
        assert " 400 " in await refusal(ann.peer.post("rooms", name=name)), name
        assert " 50" not in (await refusal(ann.peer.post("rooms/join", room=name))), name
    twins = [await one.create("twin", source="none") for one in (ann, bob)]
    assert twins[0]["id"] != twins[1]["id"]  # a name is not an identity
    assert_clean_logs([ann, bob])


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_hundred_rooms_that_are_not_there(lab: Lab) -> None:
    """Half of them have the name of the real one: that is found all the same, and lists stay bounded."""
    lan = await lab.lan(["ann", "bob", "mallory"])
    ann, bob = await start([lan["ann"], lan["bob"]])
    flood: list[str | Path] = [sys.executable, FAKE_ROOMS, "100", lan["mallory"].ipv4, ROOM]
    (await lan["mallory"].run(flood, env={"PYTHONPATH": str(ROOT)})).check()
    await ann.create(ROOM, source="none")
    await asyncio.sleep(1.0)
    shown = (await bob.peer.get("rooms"))["here"]
    print(f"{len(shown)} rooms are shown")
    assert len(shown) <= 128
    began = time.monotonic()
    await bob.join(ROOM, source="none")
    await agree([ann, bob])
    print(f"joined {time.monotonic() - began:.2f} s after asking, among fakes")
    assert_clean_logs([ann, bob])


@pytest.mark.timeout(120)
async def test_a_member_that_floods_the_chat(lab: Lab) -> None:
    """Most of it is dropped; the others go on to hear each other's lines, and the room stays whole."""
    lan = await lab.lan(["ann", "bob", "mallory"])
    members = await start(list(lan))
    ann, bob, mallory = members
    await gather(members)
    async with EventLog(bob.peer) as log:
        for number in range(500):
            try:
                await mallory.do("chat", text=f"{number} " + "x" * 900)
            except OSError:
                break  # its own daemon has had enough
        await ann.do("chat", text="can you hear me?")
        await log.wait_for(event="room-chat", text="can you hear me?")
        lines = sum(event["event"] == "room-chat" for event in log.events)
    print(f"{lines} lines came")
    assert lines <= 100
    await agree(members)
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_switch_that_carries_no_multicast(lab: Lab) -> None:
    """The room is not seen; it is joined by address or by link, and the doctor says what is wrong."""
    lan = await lab.lan(["ann", "bob", "cleo"])
    await drop_multicast(lan)
    members = await start(list(lan))
    ann, bob, cleo = members
    await ann.create(ROOM, source="none")
    await asyncio.sleep(1.0)
    assert (await bob.peer.get("rooms"))["here"] == []
    said = await refusal(bob.peer.post("rooms/join", room=ROOM, source="none"))
    assert '"room-not-found"' in said
    assert "--at" in said
    port = (await ann.peer.get("status"))["port"]
    await bob.join(ROOM, at=f"{ann.peer.host.ipv4}:{port}", source="none")
    await cleo.join((await ann.do("invite"))["uri"], source="none")
    await agree(members)
    doctor = json.loads((await bob.peer.cli("doctor", "--json")).stdout)
    findings = doctor if isinstance(doctor, list) else doctor["findings"]
    told = [finding for finding in findings if "multicast" in json.dumps(finding).lower()]
    print(told)
    assert any(finding["status"] != "OK" for finding in told)
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_machine_on_two_networks(lab: Lab) -> None:
    """It meets those of both; they, who can't reach each other, are in one room all the same."""
    left = await lab.lan(["ann", "bob"], name="left")
    right = await lab.lan(["cleo"], name="right")
    bob = left["bob"]
    await lab.sandbox.ip(
        [
            "link add name vsecond type veth peer name eth1 netns bob",
            "link set vsecond master br-right up",
        ]
    )
    for line in ("addr add 192.168.2.99/24 brd + dev eth1", "link set eth1 up"):
        (await bob.run(["ip", *line.split()])).check()
    ann, both, cleo = await start([left["ann"], bob, right["cleo"]])
    await ann.create(ROOM, source="none")
    await both.join(ROOM, source="none")
    await cleo.join(ROOM, source="none")
    ids = {one.peer.id for one in (ann, both, cleo)}
    await both.wait_for("both others", lambda view: here(view) == ids)
    for one in (ann, cleo):
        await one.wait_for(
            "all three in the roster", lambda view: {m["peer_id"] for m in view["members"]} == ids
        )
    assert_clean_logs([ann, both, cleo])


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_machine_that_is_too_slow_for_the_pictures(lab: Lab) -> None:
    """It asks for less and says so, the others don't; nobody is lost; fast again, it asks for all."""
    lan = await lab.lan(FIVE[:3])
    members = await start(list(lan))
    await gather(members)
    slow, *fast = members
    daemon = slow.peer.daemon
    assert daemon is not None

    async def hold_up() -> None:
        """It runs for a fifth of the time, as beside four others that want the processor."""
        while True:
            await daemon.pause()
            await asyncio.sleep(0.2)
            await daemon.resume()
            await asyncio.sleep(0.05)

    def asked(view: View) -> set[int]:
        return {member["layer"] for member in others(view)}

    for one in members:
        await one.wait_for("all that there is", lambda view: asked(view) == {720})
    began = time.monotonic()
    holding = asyncio.create_task(hold_up())
    try:
        await slow.wait_for("less", lambda view: view["strained"] and max(asked(view)) <= 360)
        print(f"asked for less after {time.monotonic() - began:.1f} s")
        for one in fast:
            view = await one.view()
            assert asked(view) == {720}
            assert here(view) == {member.peer.id for member in members}
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await daemon.resume()
    began = time.monotonic()
    await slow.wait_for("all again", lambda view: not view["strained"] and asked(view) == {720}, 60.0)
    print(f"asked for all again after {time.monotonic() - began:.1f} s")
    await agree(members)
    assert_clean_logs(members)
