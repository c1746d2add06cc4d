"""Meetings in the call page: the rules by themselves; pages and headless machines in one room on a LAN."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
import wave
from pathlib import Path
from typing import Any

import pytest

from netsim.host import Host
from netsim.lab import Lab
from netsim.peer import Peer
from tests.page.browser import GRANTED, Browser, Tab, browser_on, open_page
from tests.page.screens import chromium, contacts, page_of

pytestmark = pytest.mark.timeout(240)

RULES = Path(__file__).with_name("room_rules.js")
MODULES = ("room/layout", "call/layers", "room/voice", "room/pace", "room/target", "room/quality")
ROOM = "Field camp"
SMALL = {"width": 780, "height": 640}
"""A window whose tiles want the smallest pictures: two cores bear all three browsers."""
TRIES = 3
"""Of 15 s each."""
GONE = 5.0
"""Seconds in which who died is gone from the roster."""


async def test_the_rules_of_meetings(tmp_path: Path) -> None:
    """Every case of room_rules.js holds, with the modules as the page has them."""
    script = """async ([rules, names]) => {
        const modules = {};
        for (const name of names) Object.assign(modules, await import(`/js/${name}.js`));
        const {setUp, cases} = rules;
        const found = {};
        for (const [name, check] of Object.entries(cases))
            try { await check(setUp(modules)); found[name] = ''; }
            catch (error) { found[name] = String(error.stack); }
        return found;
    }"""
    async with page_of(tmp_path / "home") as (page, node), chromium(page) as tab:
        await contacts(tab, page, node)
        found = await tab.evaluate(f"({script})([{RULES.read_text()}, {json.dumps(MODULES)}])")
    assert len(found) > 10
    assert {name: error for name, error in found.items() if error} == {}


# --- what a person does ---------------------------------------------------------------------------


async def rooms_view(tab: Tab) -> None:
    """The list of rooms."""
    await tab.eval("location.hash = 'rooms'")
    await tab.wait("#rooms-title")


async def create(tab: Tab, name: str) -> None:
    """Make a room and go in."""
    await rooms_view(tab)
    await tab.click("#room-create")
    await tab.fill("#room-name", name)
    await submit(tab)


async def join_by_name(tab: Tab, name: str) -> None:
    """Join what the LAN shows."""
    await rooms_view(tab)
    shown = f"li.card:has(bdi:text-is('{name}'))"
    await tab.click(f"{shown} .actions button")
    await tab.click("#join-video")
    await tab.wait(".room-screen[data-state=joined]")


async def join_by(tab: Tab, text: str) -> None:
    """Join by a code or a link that somebody gave."""
    await rooms_view(tab)
    await tab.click("#room-join")
    await tab.fill("#room-text", text)
    await submit(tab)


async def submit(tab: Tab) -> None:
    """Press it, and wait to be in the room. Raises AssertionError with what is said instead."""
    problem = "document.querySelector('dialog form > .problem:not(:empty)')"
    room = "document.querySelector('.room-screen[data-state=joined]')"
    await tab.click("dialog button[type=submit]")
    await tab.until(f"{room} || {problem}")
    assert (said := await tab.eval(f"{problem}?.textContent")) is None, said


async def invite(tab: Tab) -> tuple[str, str]:
    """A link and a code."""
    await tab.click("#tool-invite")
    await tab.until("document.querySelector('#room-link')?.textContent.includes('#')")
    await tab.until("document.querySelector('img.qr')?.naturalWidth > 0")
    await tab.click("#room-code-make")
    await tab.until("document.querySelector('#room-code')?.textContent !== ''")
    found = await tab.text("#room-link"), await tab.text("#room-code")
    await tab.click("dialog button.primary")
    await tab.wait("dialog", "detached")
    return found


async def patiently(tab: Tab, condition: str) -> None:
    """Return when it is true. Three browsers on two cores may take long: it is printed what is there."""
    for _ in range(TRIES - 1):
        try:
            return await tab.until(condition)
        except AssertionError:
            print(await tab.eval("JSON.stringify(meshcall.room()?.room.members)"))
            print(await tab.eval("JSON.stringify(meshcall.peers().map(p => [p.peer, p.gate, p.stats]))"))
            print(await tab.do("messages"))
    return await tab.until(condition)


async def members(tab: Tab, count: int) -> None:
    """Return when there are so many tiles, and none says that it is not connected."""
    await patiently(
        tab,
        f"document.querySelectorAll('.tile').length === {count} && "
        "[...document.querySelectorAll('.tile:not(.me) .tile-state')].every(one => !one.textContent)",
    )


async def decoded(tab: Tab) -> dict[str, int]:
    """Pictures decoded, by member."""
    found: dict[str, int] = await tab.eval(
        "Object.fromEntries(meshcall.peers().filter(p => p.gate).map(p => [p.peer, p.stats?.decoded ?? 0]))"
    )
    return found


async def sees_all(tab: Tab, others: int, pictures: int = 5) -> dict[str, int]:
    """Return when so many pictures more of each of the others were decoded."""
    before = await decoded(tab)
    text = json.dumps(before)
    await patiently(
        tab,
        f"(before => meshcall.peers().filter(one => one.gate && (one.stats?.decoded ?? 0) >= "
        f"(before[one.peer] ?? 0) + {pictures}).length >= {others})({text})",
    )
    return await decoded(tab)


async def fits(tab: Tab, height: int) -> None:
    """Return when the others' pictures have that height: no larger, and all of them."""
    await patiently(
        tab,
        f"meshcall.peers().filter(p => p.gate && p.stats?.height === {height}).length === "
        "document.querySelectorAll('.tile:not(.me)').length",
    )
    tall = await tab.eval("document.querySelector('.tile').clientHeight")
    print(f"tiles of {tall} px: {await tab.eval('meshcall.peers().map(p => p.stats?.height)')}")


async def tile_of(tab: Tab, peer: Peer, condition: str) -> None:
    """Return when that member's tile is so: an expression about ``tile``."""
    await tab.until(
        f"(tile => tile && ({condition}))(document.querySelector(\".tile[data-peer='{peer.id}']\"))"
    )


def tone(path: Path) -> Path:
    """Four seconds of somebody who speaks, and four of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        loud = [int(20_000 * math.sin(at / 16_000 * 2 * math.pi * 300)) for at in range(4 * 16_000)]
        file.writeframes(struct.pack(f"<{8 * 16_000}h", *loud, *([0] * (4 * 16_000))))
    return path


async def start(hosts: list[Host]) -> list[Peer]:
    """Daemons, each called as its host."""
    peers = [Peer(host) for host in hosts]
    await asyncio.gather(*(peer.start("--name", peer.host.name) for peer in peers))
    return peers


async def room_of(peer: Peer) -> dict[str, Any]:
    """The room that it is in."""
    rooms = (await peer.get("rooms"))["rooms"]
    found: dict[str, Any] = next(room for room in rooms if room["state"] == "joined")
    return found


async def until_members(peer: Peer, count: int, *, within: float = 15.0) -> None:
    """Return when a headless machine sees so many members."""
    end = time.monotonic() + within
    while len((await room_of(peer))["members"]) != count:
        assert time.monotonic() < end, await room_of(peer)
        await asyncio.sleep(0.1)


async def no_errors(*tabs: Browser) -> None:
    """Nothing went wrong in a page, nor against its Content-Security-Policy."""
    for tab in tabs:
        assert [text for text in await tab.do("messages") if text.startswith("error")] == []


BROWSERS_HERE = """
here=$(readlink /proc/self/ns/net)
for process in /proc/[0-9]*; do
  [ "$(readlink $process/ns/net)" = "$here" ] || continue
  [ "$(cat $process/comm)" = chromium ] && kill -KILL ${process#/proc/}
done
true
"""


async def kill_browser(host: Host) -> None:
    """All of a host's Chromium, at once."""
    (await host.run(["sh", "-c", BROWSERS_HERE])).check()


@pytest.mark.timeout(400)
async def test_three_pages_and_two_machines_meet_on_a_lan_without_a_way_out(lab: Lab, tmp_path: Path) -> None:
    """By name, by code, by link: everybody sees everybody, what each says is shown, and who dies is gone."""
    hosts = await lab.lan(["ann", "bob", "cem", "robot", "probe"], ipv6=False)
    ann, bob, cem, robot, probe = peers = await start(list(hosts))
    for host in hosts:
        assert "default" not in (await host.run(["ip", "route"])).stdout
    speech = f"--use-file-for-fake-audio-capture={tone(tmp_path / 'tone.wav')}"
    async with browser_on(ann.host, *GRANTED) as a, browser_on(bob.host, *GRANTED, speech) as b:
        await asyncio.gather(open_page(ann, a), open_page(bob, b))
        for tab in (a, b):
            await tab.do("size", **SMALL)
        await create(a, ROOM)
        for machine in (robot, probe):
            (await machine.cli("room", "join", ROOM, "--source", "testsrc")).check()
        await members(a, 3)
        link, code = await invite(a)
        await join_by(b, code)
        async with browser_on(cem.host, *GRANTED) as c:
            await open_page(cem, c)
            await c.do("size", **SMALL)
            await c.click(".title button.primary")  # a link to a room, where contacts are added
            await c.fill("#add-text", link)
            await c.click("dialog button[type=submit]")
            await c.wait("#room-text")
            await submit(c)
            pages = (a, b, c)
            for tab in pages:
                await members(tab, 5)
            for tab in pages:
                seen = await sees_all(tab, 4)
                print(f"pictures decoded: {sorted(seen.values())}")
            for machine in (robot, probe):
                await until_members(machine, 5)
                received = [one["received"] for one in (await room_of(machine))["members"] if not one["me"]]
                print(f"at a machine: {received}")
                assert all(one["video_frames"] > 0 and one["audio_seconds"] > 0 for one in received)

            # What is asked for fits the tiles, and follows them
            for tab in pages:
                await fits(tab, 180)
            await a.do("size", width=1440, height=900)
            await fits(a, 360)
            await a.do("size", **SMALL)
            await fits(a, 180)

            await c.click("#tool-mic")
            await c.click("#tool-hand")
            for tab in (a, b):
                await tile_of(tab, cem, "tile.textContent.includes('microphone off')")
                await tile_of(tab, cem, "tile.textContent.includes('hand raised')")
            await tile_of(a, bob, "tile.classList.contains('speaker')")
            await tile_of(c, bob, "tile.textContent.includes('LAN · good')")

            await a.click("#tool-chat")
            await a.fill(".chat-form input", "<b>hello</b> & welcome")
            await a.do("press", key="Enter")
            for tab in (b, c):
                await tab.until(
                    "document.querySelector('.lines').textContent.includes('<b>hello</b> & welcome')"
                )
                assert await tab.do("count", selector=".lines b") == 0, "a peer's text is never HTML"

            await a.click("#tool-screen")
            for tab in (b, c):
                await tab.wait(".front")
                await tab.until("document.querySelector('.front').videoWidth > 0")
            await a.click("#tool-screen")
            for tab in (b, c):
                await tab.wait(".front", "hidden")

            await b.click("#tool-leave")
            await b.wait("#rooms-title")
            await members(a, 4)
            await members(c, 4)
            await no_errors(a, b, c)
            await join_by_name(b, ROOM)
            await members(a, 5)
            await sees_all(b, 4)
            began = time.monotonic()
            await kill_browser(cem.host)
            await members(a, 4)
            after = time.monotonic() - began
            print(f"gone after {after:.2f} s")
            assert after < GONE
            for machine in (robot, probe):
                await until_members(machine, 4)
            assert len(peers) == 5
