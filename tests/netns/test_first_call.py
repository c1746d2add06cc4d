"""Two daemons on two hosts call each other by ID: found, sealed, connected, seen, heard, recorded."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from netsim.lab import Lab
from netsim.peer import DHT_PORT, EventLog, Peer, address_text, start_testnet
from netsim.process import LabProcess

from .recordings import Recording, read_recording

FLOOD = Path(__file__).with_name("flood.py")
CALLER_TONE = 440
CALLEE_TONE = 880
SECONDS = 5
ANSWERS = ("--auto-answer", "anyone", "--source", f"testsrc:{CALLEE_TONE}")


def make_folder(peer: Peer) -> Path:
    """Where a daemon records."""
    folder = peer.host.directory / "records"
    folder.mkdir()
    return folder


async def start_call(caller: Peer, callee: Peer, record: Path, seconds: int = SECONDS) -> LabProcess:
    """``meshcall call`` by the bare 56-character ID."""
    return await caller.start_cli(
        *("call", callee.id, "--source", f"testsrc:{CALLER_TONE}", "--record", record),
        *("--duration", str(seconds), "--json"),
    )


async def call_and_check(caller: Peer, callee: Peer, callee_records: Path) -> dict[str, Any]:
    """A whole call with chat both ways and recordings at both ends; returns how the caller's ended."""
    record = caller.host.directory / "caller.mkv"
    async with EventLog(callee) as callee_events:
        call = await start_call(caller, callee, record)
        connected = await call.wait_for_event(event="connected", timeout=30)
        await callee_events.wait_for(event="connected")
        (await caller.cli("chat", callee.id, "hello from the caller")).check()
        (await callee.cli("chat", caller.id, "hello from the callee")).check()
        await callee_events.wait_for(event="chat", sender="peer", text="hello from the caller")
        await call.wait_for_event(event="chat", sender="peer", text="hello from the callee")
        done = await call.wait(30)
        callee_ended = await callee_events.wait_for(event="ended")
    assert done.returncode == 0, call.tail()
    caller_ended = call.json_lines()[-1]
    assert caller_ended["event"] == "ended"
    for ended in (caller_ended, callee_ended):
        assert ended["reason"] == "hangup"
        assert ended["path"] == "lan"
        assert {"confirmed", "first-audio", "first-video"} <= set(ended["timeline"])
    assert connected["path"] == "lan"
    assert 0 < caller_ended["setup_ms"] < 10_000

    await asyncio.to_thread(check_recordings, record, callee_records, caller_ended, callee_ended)
    return caller_ended


def check_recordings(
    record: Path, callee_records: Path, caller_ended: dict[str, Any], callee_ended: dict[str, Any]
) -> None:
    """Both recordings hold what the other end sent."""
    (callee_file,) = callee_records.glob("*.mkv")
    check_recording("caller", read_recording(record), CALLEE_TONE, caller_ended, callee_ended)
    check_recording("callee", read_recording(callee_file), CALLER_TONE, callee_ended, caller_ended)


def check_recording(
    who: str, recording: Recording, tone: int, receiver: dict[str, Any], sender: dict[str, Any]
) -> None:
    """The recording holds what the other side says it sent: 95 % of frames, motion, and the tone."""
    print(f"{who}: {recording}; sent {sender['sent']}, received {receiver['received']}")
    sent = sender["sent"]
    assert sent["video_frames"] >= 0.9 * SECONDS * 15, "hardly anything was sent"
    assert recording.video_frames >= 0.95 * sent["video_frames"]
    assert recording.moving_share >= 0.9
    assert recording.audio_seconds >= 0.95 * sent["audio_seconds"] >= 0.9 * 0.95 * SECONDS
    assert recording.tone_hz == pytest.approx(tone, rel=0.01)
    assert recording.purity >= 0.8


def assert_clean_log(peer: Peer) -> None:
    """The daemon's log tells of no unhandled exception."""
    assert peer.daemon is not None
    for text in (peer.daemon.stderr(), peer.daemon.stdout()):
        for sign in ("Traceback", "never retrieved", "Unhandled", "was never awaited"):
            assert sign not in text, peer.daemon.tail(200)


async def stop(*peers: Peer) -> None:
    """SIGTERM: a daemon ends well, at once, and leaves no socket."""
    for peer in peers:
        assert peer.daemon is not None
        ended = await peer.daemon.stop()
        assert ended.returncode == 0, peer.daemon.tail()
        assert_clean_log(peer)
        assert not (peer.home / "run" / "control.sock").exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("families", ["both", "ipv6"])
async def test_call_through_mdns_alone(lab: Lab, families: str) -> None:
    """On a bridge without any route out, with nothing but mDNS; likewise where there is no IPv4."""
    lan = await lab.lan(["alice", "bob"], ipv4=families == "both")
    alice, bob = (Peer(host) for host in lan)
    records = make_folder(bob)
    await asyncio.gather(alice.start(), bob.start(*ANSWERS, "--record", records))
    await call_and_check(alice, bob, records)
    await stop(alice, bob)


@pytest.mark.timeout(120)
async def test_call_through_a_dht_of_20_nodes(lab: Lab) -> None:
    """Without mDNS, found and rung through a DHT that both know one node of."""
    lan = await lab.lan(["alice", "bob", "net"])
    alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
    records = make_folder(bob)
    join = ("--no-mdns", *await start_testnet(lan["net"], 20))
    await asyncio.gather(alice.start(*join), bob.start(*join, *ANSWERS, "--record", records))
    await bob.wait_for_status("a watch on its inbox", lambda status: status["dht"]["watches"] > 0)
    await call_and_check(alice, bob, records)
    await stop(alice, bob)


@pytest.mark.timeout(120)
async def test_a_peer_that_is_killed_mid_call_is_noticed(lab: Lab) -> None:
    """The other end says that the peer is gone, with the documented exit code, and keeps its recording."""
    lan = await lab.lan(["alice", "bob"])
    alice, bob = (Peer(host) for host in lan)
    await asyncio.gather(alice.start(), bob.start(*ANSWERS))
    record = alice.host.directory / "caller.mkv"
    call = await start_call(alice, bob, record, seconds=90)
    await call.wait_for_event(event="media", kind="video", timeout=30)
    assert bob.daemon is not None
    await bob.daemon.kill()
    done = await call.wait(60)
    ended = done.json_lines()[-1]
    assert (ended["event"], ended["reason"]) == ("ended", "peer-gone")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
    recording = await asyncio.to_thread(read_recording, record)
    assert recording.video_frames > 0
    assert (await alice.get("calls")) is not None
    await stop(alice)


@pytest.mark.timeout(180)
async def test_fifty_thousand_hostile_datagrams(lab: Lab) -> None:
    """Random and mutated datagrams are counted and nothing else: the daemon still answers and calls."""
    lan = await lab.lan(["alice", "bob", "carol"])
    alice, bob = Peer(lan["alice"]), Peer(lan["bob"])
    records = make_folder(bob)
    # Carol poses as a DHT node, so that she gets genuine datagrams to mutate.
    flood = await lan["carol"].popen([sys.executable, FLOOD, lan["carol"].ipv4, str(DHT_PORT), "50000"])
    await flood.wait_for_line("ready")
    await bob.start("--bootstrap", address_text(lan["carol"], DHT_PORT), *ANSWERS, "--record", records)
    await alice.start()
    before = await bob.get("status")
    result = (await flood.wait(120)).check().json()
    print(result)
    assert result["sent"] == 50_000
    assert result["genuine"] > 0
    after = await bob.get("status")
    counted = sum(after["counters"].values()) - sum(before["counters"].values())
    print(f"{counted} counted, by reason: {after['counters']}")
    assert counted >= 25_000
    assert_clean_log(bob)
    await call_and_check(alice, bob, records)
    await stop(alice, bob)
