"""Meetings in the call page: the rules by themselves; pages and headless machines in one room on a LAN."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
import wave
from pathlib import Path

import pytest

from netsim.host import Host
from netsim.lab import Lab
from tests.page.browser import GRANTED, browser_on, no_errors, open_page
from tests.page.meeting import (
    ROOM,
    SMALL,
    create,
    fits,
    in_front,
    invite,
    join_by,
    join_by_name,
    members,
    room_of,
    sees_all,
    show_small,
    start,
    submit,
    tile_of,
    two_pages,
    until_members,
)
from tests.page.screens import chromium, contacts, page_of

pytestmark = pytest.mark.timeout(240)

RULES = Path(__file__).with_name("room_rules.js")
MODULES = (
    "room/layout",
    "call/layers",
    "room/voice",
    "room/pace",
    "room/target",
    "room/quality",
    "call/chat",
)
GONE = 5.0
"""Seconds in which who died is gone from the roster."""
SEEN = 3.0
"""Seconds in which the others see that somebody has left."""


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


def tone(path: Path) -> Path:
    """Four seconds of somebody who speaks, and four of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        loud = [int(20_000 * math.sin(at / 16_000 * 2 * math.pi * 300)) for at in range(4 * 16_000)]
        file.writeframes(struct.pack(f"<{8 * 16_000}h", *loud, *([0] * (4 * 16_000))))
    return path


async def test_a_screen_is_shared_again(lab: Lab) -> None:
    """By the same member, and by the other one between: each time its pictures move, and go when it stops."""
    async with two_pages(lab) as (a, b):
        await join_by_name(b, ROOM)
        await asyncio.gather(members(a, 2), members(b, 2))
        for name, sharer, other in (
            ("ann", a, b),
            ("ann", a, b),
            ("bob", b, a),
            ("ann", a, b),
            ("bob", b, a),
        ):
            await sharer.click("#tool-screen")
            await in_front(other, name)
            await other.shows(".front")
            await sharer.click("#tool-screen")
            await other.wait(".front", "hidden")
        await no_errors(a, b)


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
        for machine, other in ((robot, probe), (probe, robot)):
            await show_small(machine, ann, other)
        link, code = await invite(a)
        await join_by(b, code)
        await members(b, 4)
        for machine in (robot, probe):
            await show_small(machine, bob)
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
                await show_small(machine, cem)
                received = [one["received"] for one in (await room_of(machine))["members"] if not one["me"]]
                print(f"at a machine: {received}")
                assert all(one["video_frames"] > 0 and one["audio_seconds"] > 0 for one in received)

            # What is asked for fits the tiles, and follows them
            browsers = [ann, bob, cem]
            for tab in pages:
                await fits(tab, 180, browsers)
            await a.do("size", width=1440, height=900)
            await fits(a, 360, browsers)
            await a.do("size", **SMALL)
            await fits(a, 180, browsers)

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

            # Of two screens the last one is in front, until somebody chooses the other
            await a.click("#tool-screen")
            for tab in (b, c):
                await in_front(tab, "ann")
            await c.click("#tool-screen")
            await in_front(a, "cem")
            await in_front(b, "cem")
            await b.click(f".tile[data-peer='{ann.id}'] .tile-screen")
            await in_front(b, "ann")
            await a.click("#tool-screen")
            await in_front(b, "cem")
            await c.click("#tool-screen")
            for tab in (a, b):
                await tab.wait(".front", "hidden")

            began = time.monotonic()
            await b.click("#tool-leave")
            await b.wait("#rooms-title")
            await members(a, 4)
            after = time.monotonic() - began
            print(f"left after {after:.2f} s")
            assert after < SEEN
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
