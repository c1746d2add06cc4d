"""Calls of real daemons, whose media are in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshcall.testing.testnet import Testnet
from tests.daemon.conftest import Daemon, StartDaemon, environment, run_cli, wait_for

pytestmark = pytest.mark.timeout(150)

FLAGS = ("--no-mdns", "--interface", "lo", "--auto-answer", "anyone", "--media-workers")
WHOLE = 3.0
"""Seconds from whatever happens to a worker until its room is whole again."""
CONNECTED = 40.0
"""Seconds for a call on a machine that other tests share."""


def make_home(path: Path) -> tuple[Path, str]:
    """A home with an identity, and the ID."""
    assert run_cli(path, "init").code == 0
    return path, run_cli(path, "id").out.strip()


def children(pid: int) -> list[int]:
    """Processes below ``pid``."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    rows = [[int(word) for word in line.split()] for line in listed.stdout.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in rows if parent == one]
    return found[1:]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def loaded(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


def working(pids: list[int]) -> int:
    """The worker that has media: it has a thread for each codec, and who forks it and the spare have none."""

    def threads(pid: int) -> int:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))

    return max(pids, key=threads)


def state(daemon: Daemon, peer: str) -> str:
    """Of the newest call with ``peer``."""
    found: list[dict[str, Any]] = daemon.cli("calls", "--json").json["calls"]
    return next((str(one["state"]) for one in found if one["peer_id"] == peer), "")


@contextmanager
def calling(daemon: Daemon, peer: str) -> Iterator[subprocess.Popen[str]]:
    """`meshcall call`, connected."""
    with subprocess.Popen(
        [sys.executable, "-m", "meshcall", "call", peer, "--json"],
        env=environment(daemon.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: state(daemon, peer) == "connected", f"a call with {peer}", CONNECTED)
            yield process
        finally:
            process.kill()


def stop_one_worker(tmp_path: Path, start_daemon: StartDaemon, bootstrap: str) -> None:
    flags = (*FLAGS, "--bootstrap", bootstrap)
    homes = {name: make_home(tmp_path / name) for name in ("alice", "bob", "carol")}
    alice, bob, carol = (start_daemon(home, *flags) for home, _ in homes.values())
    ids = {name: one for name, (_, one) in homes.items()}
    before = fds(alice.process.pid)
    with calling(alice, ids["bob"]) as process:
        time.sleep(3)
        victim = working(children(alice.process.pid))
        with calling(alice, ids["carol"]):
            for daemon in (alice, bob, carol):
                text = loaded(daemon.process.pid)
                assert [word for word in ("libav", "libvpx", "pylibsrtp", "libopus") if word in text] == []
            assert "libav" in loaded(victim)
            at = time.monotonic()
            os.kill(victim, signal.SIGSTOP)
            wait_for(lambda: state(alice, ids["bob"]) == "ended", "the end", 3)
            wait_for(lambda: state(bob, ids["alice"]) == "ended", "the end", 3)
            took = time.monotonic() - at
            print(f"both ends knew after {took:.2f} s")
            assert took < 3.5
            out, err = process.communicate(timeout=10)
            assert '"reason":"media-failed"' in out.splitlines()[-1], (out, err)
            assert not is_there(victim)
            time.sleep(2)
            assert state(alice, ids["carol"]) == state(carol, ids["alice"]) == "connected"
            alice.cli("hangup")
    time.sleep(3)
    assert fds(alice.process.pid) <= before + 8  # the spare worker and who forks it stay for a while
    for daemon in (alice, bob, carol):
        left = children(daemon.process.pid)
        assert daemon.stop() == 0
        assert [pid for pid in left if is_there(pid)] == []
        assert "Traceback" not in daemon.log.read_text()


async def test_a_stopped_worker_ends_one_call_of_a_daemon(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """No node process has aiortc during calls. When a worker stops, its call ends on both sides in 3 s, the
    other goes on, and what the call held is given back.
    """
    async with Testnet(8) as testnet:
        await asyncio.to_thread(stop_one_worker, tmp_path, start_daemon, testnet.bootstrap[0])


def kill_the_node(tmp_path: Path, start_daemon: StartDaemon, bootstrap: str) -> None:
    flags = (*FLAGS, "--bootstrap", bootstrap)
    (left, _), (right, peer) = make_home(tmp_path / "alice"), make_home(tmp_path / "bob")
    alice, _ = start_daemon(left, *flags), start_daemon(right, *flags)
    with calling(alice, peer):
        forked = children(alice.process.pid)
        assert len(forked) >= 2
        alice.process.kill()
        wait_for(lambda: not any(is_there(pid) for pid in forked), "their end", 10)


async def test_a_killed_daemon_leaves_no_worker(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """kill -9 of the node ends what it forked."""
    async with Testnet(8) as testnet:
        await asyncio.to_thread(kill_the_node, tmp_path, start_daemon, testnet.bootstrap[0])


def members(daemon: Daemon) -> list[dict[str, Any]]:
    """The others in its room, by the local API: a command line starts no sooner than a link is made."""
    folder = os.open(daemon.home / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"/proc/self/fd/{folder}/control.sock")  # however long the path is
            connection.sendall(b"GET /api/v1/rooms HTTP/1.0\r\nHost: meshcall\r\n\r\n")
            answer = connection.makefile("rb").read()
    finally:
        os.close(folder)
    (room,) = json.loads(answer.partition(b"\r\n\r\n")[2])["rooms"]
    return [one for one in room["members"] if not one["me"]]


def hears_all(daemon: Daemon, others: int) -> bool:
    """Whether sound and pictures come of all other members of its room."""
    listed = members(daemon)
    return len(listed) == others and all(
        one["state"] == "here" and one["received"]["video_frames"] and one["received"]["audio_seconds"]
        for one in listed
    )


def links(daemons: list[Daemon]) -> set[str]:
    """Of all members."""
    return {one["call"] for daemon in daemons for one in members(daemon) if one["call"]}


def pictures(daemon: Daemon, name: str) -> int:
    """How many came of a member."""
    return sum(int(one["received"]["video_frames"]) for one in members(daemon) if one["name"] == name)


def fail_in_a_room(tmp_path: Path, start_daemon: StartDaemon, bootstrap: str) -> None:
    flags = (*FLAGS, "--bootstrap", bootstrap)
    daemons = [
        start_daemon(make_home(tmp_path / f"n{number}")[0], *flags, "--name", f"n{number}")
        for number in range(3)
    ]
    first, second, third = daemons
    assert first.cli("room", "create", "work").code == 0
    link = first.cli("room", "invite").out.strip()
    for daemon in (second, third):
        assert daemon.cli("room", "join", link).code == 0
    for daemon in daemons:
        wait_for(lambda one=daemon: hears_all(one, 2), "media from all", CONNECTED)  # type: ignore[misc]
    time.sleep(2)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        victim = working(children(first.process.pid))
        its_links = {one["call"] for one in members(first)}
        before, at = pictures(second, "n2"), time.monotonic()
        os.kill(victim, number)
        wait_for(lambda pid=victim: not is_there(pid), "the end of it", WHOLE)  # type: ignore[misc]
        gone = time.monotonic() - at
        wait_for(lambda old=its_links: not links(daemons) & old, "the end of its links", WHOLE)  # type: ignore[misc]
        for daemon in daemons:
            wait_for(lambda one=daemon: hears_all(one, 2), "media from all", WHOLE)  # type: ignore[misc]
        passed = time.monotonic() - at
        print(f"{number.name}: gone after {gone:.2f} s, all heard all after {passed:.2f} s")
        assert passed < WHOLE
        assert pictures(second, "n2") > before, "their link goes on"
        time.sleep(2)


async def test_a_room_is_whole_again_when_a_worker_fails(tmp_path: Path, start_daemon: StartDaemon) -> None:
    """The member's links are made anew by the room, within 3 s; the link of the others goes on."""
    async with Testnet(8) as testnet:
        await asyncio.to_thread(fail_in_a_room, tmp_path, start_daemon, testnet.bootstrap[0])
