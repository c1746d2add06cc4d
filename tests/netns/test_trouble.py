"""What goes wrong around a call: a full disk, a replayed offer, a daemon that only listens."""

from __future__ import annotations

import asyncio

import pytest

from netsim.lab import Lab
from netsim.peer import EventLog, Peer

from .recordings import read_recording

IDLE_MAX_KIB = 60 * 1024
"""VmRSS of an idle daemon; /proc says kB and means KiB."""


@pytest.mark.timeout(120)
async def test_full_disk_while_recording(lab: Lab) -> None:
    """The call goes on; the user is told, with exit code 8; what was recorded before is kept and plays."""
    lan = await lab.lan(["alice", "bob"])
    alice, bob = (Peer(host) for host in lan)
    small = alice.host.directory / "small"
    small.mkdir()
    (await alice.host.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", small])).check()
    await asyncio.gather(alice.start(), bob.start("--auto-answer", "anyone"))
    record = small / "full.mkv"
    done = await alice.cli("call", bob.id, "--record", record, "--duration", "8", "--json")
    events = done.json_lines()
    assert [e for e in events if e["event"] == "record-failed"], done.stderr
    assert events[-1]["event"] == "ended"
    assert events[-1]["reason"] == "hangup"
    assert events[-1]["timeline"]["ended"] > 8000, "the call ended early"
    assert done.returncode == 8
    assert "recording broke off" in done.stderr
    assert "Traceback" not in done.stderr
    kept = alice.host.directory / "kept.mkv"
    (await alice.host.run(["cp", record, kept])).check()
    assert (await asyncio.to_thread(read_recording, kept)).video_frames > 0
    assert (await alice.get("status"))["calls"] == 0


@pytest.mark.timeout(60)
async def test_an_idle_daemon_is_small(lab: Lab) -> None:
    """With mDNS, the DHT and the API running, and no call yet, aiortc is not loaded."""
    lan = await lab.lan(["alice", "bob"])
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start(), bob.start())
    await alice.wait_for_status("bob on the LAN", lambda status: status["lan"]["peers"] > 0)
    # The lab has process ids of its own
    pids = (await alice.host.run(["pgrep", "-f", "meshcall.daemon"])).check().stdout.split()
    assert len(pids) == 2
    for pid in pids:
        shown = (await alice.host.run(["grep", "VmRSS", f"/proc/{pid}/status"])).check().stdout
        print(shown.strip())
        assert int(shown.split()[1]) <= IDLE_MAX_KIB


@pytest.mark.timeout(120)
async def test_visible_only_when_asked(lab: Lab) -> None:
    """Who is not known is listed only if it lets itself be seen; a contact is recognised in any case."""
    lan = await lab.lan(["alice", "bob", "carol"])
    alice, bob, carol = (Peer(host) for host in lan)
    await asyncio.gather(
        alice.start(), bob.start("--name", "Bob"), carol.start("--visible", "--name", "Carol")
    )
    async with EventLog(alice) as events:
        await alice.wait_for_status("two peers", lambda status: status["lan"]["peers"] == 2)
        listed = (await alice.cli("peers", "--json")).check().json()["peers"]
        assert [(p["peer_id"], p["self_name"]) for p in listed] == [(carol.id, "Carol")]
        (await alice.cli("contact", "add", bob.id, "--name", "bob")).check()
        listed = (await alice.cli("peers", "--json")).check().json()["peers"]
        assert {(p["peer_id"], p["presence"]) for p in listed} == {(bob.id, "lan"), (carol.id, "lan")}
        assert bob.daemon is not None
        await bob.daemon.stop()
        await alice.wait_for_status("bob gone", lambda status: status["lan"]["peers"] == 1)
        told = [event["peer"] for event in events.events if event["event"] == "presence"]
    assert [peer["addresses"] for peer in told if peer["peer_id"] == bob.id][-1] == []
