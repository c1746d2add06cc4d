"""Machines without a page share screens in a meeting, on a bridge that leads nowhere."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest

from netsim.lab import Lab
from netsim.meeting import Attendee, View, agree, all_media, others

from .meetings import ROOM, assert_clean_logs, gather, refusal, start


def shown(view: View) -> dict[str, int]:
    """Pictures of a screen that came from each other member, by name."""
    return {member["name"]: member["received"]["screen_frames"] for member in others(view)}


async def sees(one: Attendee, name: str, more: int = 10) -> None:
    """Return when so many more pictures of that member's screen have come."""
    wanted = shown(await one.view())[name] + more
    await one.wait_for(f"{name}'s screen", lambda view: shown(view)[name] >= wanted)


async def is_said(attendees: Sequence[Attendee], sharers: set[str]) -> None:
    """Return when all show these as who shares."""
    for one in attendees:
        await one.wait_for(
            f"that {sharers} share",
            lambda view: {member["name"] for member in view["members"] if member["screen"]} == sharers,
        )


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_two_machines_share_screens(lab: Lab) -> None:
    """By the command line, one and then both; each ends by itself, and the status says who shares."""
    members = await start(list(await lab.lan(["ann", "bob"])))
    ann, bob = members
    await gather(members, source="testsrc")
    await all_media(members)
    began = time.monotonic()
    await ann.do("share", source="testsrc:880")
    await sees(bob, "ann", 1)
    print(f"first picture of a shared screen after {time.monotonic() - began:.2f} s")
    await ann.do("unshare")
    await is_said(members, set())
    (await ann.peer.cli("room", "share", ROOM, "testsrc:880")).check()
    await is_said(members, {"ann"})
    await sees(bob, "ann")
    status = (await ann.peer.cli("room", "status")).check().stdout
    assert re.search(r"sharing\s+testsrc:880", status), status
    (await bob.peer.cli("room", "share", "-", "testsrc")).check()
    await is_said(members, {"ann", "bob"})
    await sees(ann, "bob")
    await sees(bob, "ann")
    (await ann.peer.cli("room", "unshare")).check()
    await is_said(members, {"bob"})
    await sees(ann, "bob")
    (await ann.peer.cli("room", "share", ROOM, "testsrc")).check()
    await sees(bob, "ann")
    refused = await ann.peer.cli("room", "share", ROOM, "none")
    assert (refused.returncode, "no pictures" in refused.stderr) == (8, True), refused.stderr
    assert "source-unusable" in await refusal(
        bob.do("share", source=str(bob.peer.host.directory / "no film.mkv"))
    )
    await is_said(members, {"ann", "bob"})
    assert_clean_logs(members)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_who_comes_later_sees_the_screen(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As all do; whoever leaves and comes again, too. Two share at the same moment."""
    members = await start(list(await lab.lan(["ann", "bob", "cleo", "dan"])))
    ann, bob, cleo, dan = members
    await gather(members[:2], source="testsrc")
    await ann.do("share", source="testsrc")
    await cleo.join(ROOM, source="none")
    await agree(members[:3])
    for one in (bob, cleo):
        await sees(one, "ann")
    await dan.join(ROOM, source="testsrc")
    await agree(members)
    await sees(dan, "ann")
    await cleo.do("share", source="testsrc")  # who has no camera shares a screen all the same
    for one in (ann, bob, dan):
        await sees(one, "cleo")
    await bob.do("leave")
    await bob.join(ROOM, source="testsrc")
    await agree(members)
    for name in ("ann", "cleo"):
        await sees(bob, name)
    assert_clean_logs(members)
