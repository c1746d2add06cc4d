"""Meetings on a bridge that leads nowhere: five members, codes, the example, the demo."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from netsim.lab import ROOT, Lab
from netsim.meeting import agree, all_media
from netsim.peer import EventLog
from netsim.process import LabProcess

from .meetings import FIVE, ROOM, assert_clean_logs, gather, refusal, start

EXAMPLE = ROOT / "examples" / "lan_meeting.py"
DEMO = ROOT / "scripts" / "demo_meeting.py"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_five_meet_without_any_route_out(lab: Lab) -> None:
    """Sound and pictures between all, chat and raised hands to all; one leaves, one dies, one comes late."""
    lan = await lab.lan(FIVE)
    members = await start(list(lan))
    ann, bob, *_, dan, eve = members
    await gather(members[:4], source="testsrc")
    await all_media(members[:4])
    await eve.join(ROOM, source="testsrc")  # late: whoever is there tells the roster
    await agree(members)
    await all_media(members)
    async with EventLog(eve.peer) as log:
        await ann.do("chat", text="tea is ready")
        line = await log.wait_for(event="room-chat", sender="peer")
    assert (line["name"], line["text"]) == ("ann", "tea is ready")
    await bob.do("state", hand=True)
    for one in members:
        await one.wait_for(
            "bob's hand", lambda view: [m["hand"] for m in view["members"] if m["name"] == "bob"] == [True]
        )
    await dan.do("leave")
    began = time.monotonic()
    await agree([one for one in members if one is not dan])
    print(f"a leave is agreed on after {time.monotonic() - began:.2f} s")
    assert ann.peer.daemon is not None
    await ann.peer.daemon.kill()  # who made the room is nobody special
    began = time.monotonic()
    rest = [one for one in members if one not in (ann, dan)]
    await agree(rest)
    print(f"a death is agreed on after {time.monotonic() - began:.2f} s")
    await dan.join(ROOM, source="testsrc")
    await agree([*rest, dan])
    await all_media([*rest, dan])
    assert_clean_logs([*rest, dan])


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_codes(lab: Lab) -> None:
    """A code leads in; two members may have one each; five wrong tries burn one, and not the other."""
    lan = await lab.lan(FIVE[:4])
    members = await start(list(lan))
    ann, bob, cleo, dan = members
    await gather([ann, bob])
    of_ann, of_bob = (await ann.do("code"))["code"], (await bob.do("code"))["code"]
    assert of_ann != of_bob
    await cleo.join(of_ann, source="none")
    await agree([ann, bob, cleo])
    number, *words = of_bob.split("-")
    wrong = "-".join([number, *reversed(words)])
    for _ in range(5):
        await refusal(dan.peer.post("rooms/join", room=wrong, source="none"))
    # It is burned: nobody announces its number any more
    assert '"room-not-found"' in await refusal(dan.peer.post("rooms/join", room=of_bob, source="none"))
    await dan.join((await bob.do("code"))["code"], source="none")
    await agree(members)
    for nonsense in ("0-a-b", "100-tea-cup", "7-", f"{number}-nosuch-word", "7-🍵-cup"):
        assert " 50" not in await refusal(dan.peer.post("rooms/join", room=nonsense))
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_example(lab: Lab) -> None:
    """Two programs meet by the name of a room: the first makes it; each says who comes and who goes."""
    lan = await lab.lan(["ann", "bob"])
    programs: list[LabProcess] = []
    for host, more in zip(lan, ([], ["--duration", "5"]), strict=True):
        options: list[str | Path] = ["--name", host.name, "--home", host.directory / "home", *more]
        programs.append(await host.popen([sys.executable, EXAMPLE, *options]))
        await programs[-1].wait_for_line("^in meeting$", 40)  # who comes first makes it
    ann, bob = programs
    await bob.wait_for_line("^ann is here$", 40)
    await ann.wait_for_line("^bob is here$", 40)
    done = await bob.wait(40)
    assert done.returncode == 0, bob.tail()
    assert re.search(r"^from ann: [1-9]\d* pictures, [1-9]", done.stdout, re.M), bob.tail()
    await ann.wait_for_line("^bob is gone$", 20)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_demo(lab: Lab) -> None:
    """`make demo-meeting` ends well, and its report has a line for everybody."""
    host = (await lab.lan(["alone"]))["alone"]
    done = await host.run([sys.executable, DEMO], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well" in done.stdout
    for name in FIVE[:4]:
        assert done.stdout.count(f"\n{name} ") >= 3
