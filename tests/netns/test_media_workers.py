"""Rooms whose members' media processes fail."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from netsim.lab import Lab
from netsim.peer import Peer

from .test_first_call import stop
from .test_rooms import View, agree, hears_all, join, room_of, start, wait_for


def workers(peer: Peer) -> list[int]:
    """The processes that its daemon's zygote has forked."""
    assert peer.daemon is not None
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    home = str(peer.home)
    daemons = {pid for pid, _, words in rows if home in words and "zygote" not in words}
    zygotes = {pid for pid, parent, words in rows if parent in daemons and "zygote" in words}
    return [int(pid) for pid, parent, _ in rows if parent in zygotes]


def is_there(pid: int) -> bool:
    """Whether the process is, be it a dead one that nobody has looked at."""
    return Path(f"/proc/{pid}").exists()


def heavy(pids: list[int]) -> int:
    """The one that used most processor time."""

    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return max(pids, key=ticks)


def frames(view: View, name: str) -> int:
    """Pictures that came of a member."""
    return sum(one["received"]["video_frames"] for one in view["members"] if one["name"] == name)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_member_whose_media_process_fails_is_back_soon(lab: Lab, how: signal.Signals) -> None:
    """Its links are made anew by the room; the link of the other two goes on."""
    peers = first, second, third = await start(lab, 3, "--media-workers")
    (await first.cli("room", "create", "work")).check()
    await join(second, "work")
    await join(third, "work")
    await agree(peers, "n0", "n1", "n2")
    for peer in peers:
        await wait_for(peer, "media from all", hears_all)
    await asyncio.sleep(2)
    victim = heavy(await asyncio.to_thread(workers, first))
    before, at = frames(await room_of(second), "n2"), time.monotonic()
    os.kill(victim, how)
    while is_there(victim):
        assert time.monotonic() - at < 3
        await asyncio.sleep(0.02)
    gone = time.monotonic() - at
    took = [await wait_for(peer, "media from all again", hears_all, 10) for peer in peers]
    passed = time.monotonic() - at
    went_on = frames(await room_of(second), "n2") - before
    print(f"ended after {gone:.2f} s; all hear all after {passed:.2f} s {took}; {went_on} pictures meanwhile")
    assert passed < 4.5
    assert went_on > 0
    await stop(*peers)
