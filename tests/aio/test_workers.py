"""Media workers: real processes, stopped, killed, frozen and taken over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google_crc32c import value as crc32c

from meshcall import limits
from meshcall.aio.ice.call_ice import ice_on
from meshcall.aio.rtc import hooks
from meshcall.aio.rtc.endpoint import RtcEndpoint, make_endpoint
from meshcall.aio.worker import messages as w
from meshcall.aio.worker import pool as pool_module
from meshcall.aio.worker.channel import Channel, make_pair
from meshcall.aio.worker.pool import Workers
from meshcall.aio.worker.proxy import WorkerEndpoint
from meshcall.errors import MeshcallError, RecordTargetExists, Rejected, SourceUnusable
from meshcall.ice.candidate import Candidate
from meshcall.media import endpoint as m
from meshcall.media.mixing import tiles
from meshcall.media.plan import MediaPlan
from tests.aio.mixes import loud, luma, pictures_in, sound_in

LOCAL = MediaPlan(allow_loopback=True, interfaces=("lo",), source="testsrc")


class End:
    """An endpoint and what it told."""

    def __init__(self, endpoint: m.MediaEndpoint) -> None:
        self.endpoint = endpoint
        self.seen: list[m.EndpointEvent] = []
        self._changed = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.endpoint.events():
            self.seen.append(event)
            self._changed.set()

    def of(self, kind: type[m.EndpointEvent]) -> list[m.EndpointEvent]:
        return [event for event in self.seen if isinstance(event, kind)]

    async def wait_for(self, kind: type[m.EndpointEvent], timeout: float = 10) -> m.EndpointEvent:
        async with asyncio.timeout(timeout):
            while not self.of(kind):
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[0]

    @property
    def pid(self) -> int:
        assert isinstance(self.endpoint, WorkerEndpoint)
        return self.endpoint.pid

    async def finish(self) -> m.EndpointStats:
        final = await self.endpoint.close()
        await asyncio.wait_for(self.reader, 2)
        return final


@contextlib.asynccontextmanager
async def workers() -> AsyncIterator[Workers]:
    """All of one node's; nothing of them is left afterwards."""
    pool = Workers()
    pool.prepare()
    try:
        yield pool
    finally:
        pids = pool.pids
        await pool.close()
        assert [pid for pid in pids if is_running(pid)] == []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def connect(left: End, right: End) -> None:
    offer = await left.endpoint.offer()
    await left.endpoint.accept(await right.endpoint.answer(offer))
    await asyncio.gather(left.wait_for(m.ControlOpen), right.wait_for(m.ControlOpen))
    await asyncio.gather(left.endpoint.open_gate(), right.endpoint.open_gate())
    await asyncio.gather(left.wait_for(m.FirstMedia), right.wait_for(m.FirstMedia))


async def call(pool: Workers, **changes: Any) -> tuple[End, End]:
    """A call between two workers."""
    plan = replace(LOCAL, **changes)
    pair = End(await pool.make(plan)), End(await pool.make(LOCAL))
    await connect(*pair)
    return pair


def audio(end: End) -> int:
    return end.endpoint.statistics().audio.frames_received


def sent(end: End) -> int:
    return end.endpoint.statistics().audio.frames_sent


async def test_a_call_of_two_workers(tmp_path: Path) -> None:
    """Sound, pictures and messages go both ways, it is recorded, and closing gives all processes back."""
    record = tmp_path / "call.mkv"
    async with workers() as pool:
        left, right = await call(pool, record=record)
        assert left.pid != right.pid
        left.endpoint.send_control(b"hello")
        right.endpoint.send_control(bytes(limits.CONTROL_MESSAGE_MAX))
        assert await right.wait_for(m.ControlMessage) == m.ControlMessage(b"hello")
        assert await left.wait_for(m.ControlMessage) == m.ControlMessage(bytes(limits.CONTROL_MESSAGE_MAX))
        with pytest.raises(ValueError, match="octets"):
            left.endpoint.send_control(bytes(limits.CONTROL_MESSAGE_MAX + 1))
        first = list(dict.fromkeys(type(one) for one in left.seen))
        order = [one for one in first if one in (m.IceConnected, m.Secured, m.ControlOpen, m.FirstMedia)]
        assert order == [m.IceConnected, m.Secured, m.ControlOpen, m.FirstMedia]
        (ours,), (theirs,) = left.of(m.Secured), right.of(m.Secured)
        assert isinstance(ours, m.Secured)
        assert isinstance(theirs, m.Secured)
        assert (ours.local_fp, ours.remote_fp) == (theirs.remote_fp, theirs.local_fp)
        await asyncio.sleep(2)
        pids = [left.pid, right.pid]
        final = await left.finish()
        assert await right.wait_for(m.TransportLost) == m.TransportLost("closed")
        await right.finish()
        assert final.recorded == str(record)
        assert record.stat().st_size > 10_000
        assert final.audio.frames_received >= 30
        assert final.video.frames_received >= 10
        assert final.path == "lan"
        for _ in range(100):
            if not any(map(is_running, pids)):
                break
            await asyncio.sleep(0.02)
        assert not any(map(is_running, pids))


@pytest.mark.parametrize("how", ["stop", "kill", "freeze"])
async def test_a_worker_that_fails_ends_its_call_alone(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 3 s, whatever it was; another call loses nothing, and the process and its memory are gone.

    ``freeze``: a packet of the peer's makes it spin at 100 %, and take 160 MB a second: the parser is
    aiortc's own there.
    """
    if how == "freeze":
        monkeypatch.setattr(pool_module, "ZYGOTE", "tests.aio.unguarded_zygote")
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    async with workers() as pool:
        other = await call(pool)
        victim = End(await pool.make(LOCAL))
        plan = replace(LOCAL, source="none")
        peer = End(make_endpoint(plan) if how == "freeze" else await pool.make(plan))
        await connect_silently(victim, peer)
        before, spoken = audio(other[0]), sent(other[1])
        at = asyncio.get_running_loop().time()
        match how:
            case "stop":
                os.kill(victim.pid, signal.SIGSTOP)
            case "kill":
                os.kill(victim.pid, signal.SIGKILL)
            case "freeze":
                await freeze(peer)
        failed = await victim.wait_for(m.Failed, timeout=3)
        took = asyncio.get_running_loop().time() - at
        assert isinstance(failed, m.Failed)
        assert failed.reason == "media-failed"
        print(f"{how}: told after {took:.2f} s: {failed.detail}")
        await asyncio.sleep(0.5)
        assert not is_running(victim.pid)
        await asyncio.sleep(max(0.0, 3 - (asyncio.get_running_loop().time() - at)))
        heard, said = audio(other[0]) - before, sent(other[1]) - spoken
        print(f"meanwhile the other call said {said} and heard {heard} frames")
        assert said > 100
        assert heard >= 0.9 * said - 50 * limits.WORKER_COUNT
        assert other[0].of(m.Failed) == other[0].of(m.TransportLost) == []
        # the next call is like the first
        again = await call(pool)
        for end in (*other, *again, victim, peer):
            await end.finish()


async def connect_silently(left: End, right: End) -> None:
    await left.endpoint.accept(await right.endpoint.answer(await left.endpoint.offer()))
    await asyncio.gather(left.wait_for(m.ControlOpen), right.wait_for(m.ControlOpen))
    await asyncio.gather(left.endpoint.open_gate(), right.endpoint.open_gate())


async def freeze(peer: End) -> None:
    """Send the packet whose parameter has length 0 (tests/hostile: aiortc before our guard)."""
    assert isinstance(peer.endpoint, RtcEndpoint)
    pc = peer.endpoint._pc
    assert pc is not None
    sctp = pc.sctp
    assert sctp is not None
    body = struct.pack("!BBH", 4, 0, 8) + struct.pack("!HH", 1, 0)  # HEARTBEAT
    packet = struct.pack("!HHII", 5000, 5000, sctp._remote_verification_tag, 0) + body
    checksum = crc32c(packet)
    await hooks.dtls_transport(pc)._send_data(packet[:8] + struct.pack("<I", checksum) + packet[12:])


async def test_the_endpoints_of_a_room_share_a_worker() -> None:
    """So that they can share encoders; a call has its own."""
    async with workers() as pool:
        room = replace(LOCAL, room="00" * 16)
        first, second = await asyncio.gather(pool.make(room), pool.make(room))
        other = await pool.make(replace(LOCAL, room="11" * 16))
        assert isinstance(first, WorkerEndpoint)
        assert isinstance(second, WorkerEndpoint)
        assert isinstance(other, WorkerEndpoint)
        assert first.pid == second.pid != other.pid
        ends = [End(one) for one in (first, second, other)]
        await ends[0].finish()
        third = End(await pool.make(room))
        assert third.pid == first.pid
        for end in (*ends[1:], third):
            await end.finish()


async def test_a_worker_records_its_room(tmp_path: Path) -> None:
    """All members in one file, in a folder that it may write to, finished when the last link is closed."""
    path = tmp_path / "mixed.mkv"
    async with workers() as pool:
        room = replace(LOCAL, room="00" * 16, source="testsrc:500", mixed=path)
        ours = [End(await pool.make(room)) for _ in range(2)]
        members = [End(await pool.make(replace(LOCAL, source=f"testsrc:{tone}"))) for tone in (900, 1400)]
        await asyncio.gather(*(connect(*pair) for pair in zip(ours, members, strict=True)))
        await asyncio.sleep(3)
        for end in (*ours, *members):
            await end.finish()
        assert not [end.of(m.RecordFailed) for end in ours if end.of(m.RecordFailed)]
    sound, shown = sound_in(path), pictures_in(path)
    assert all(loud(sound, tone, 1.5, 2.5) for tone in (500, 900, 1400))
    assert all(luma(shown[-1], place) > 30 for place in tiles(3, 1280, 720)[:2])


async def test_who_forks_may_die() -> None:
    """Calls go on, and the next one gets a fresh process."""
    async with workers() as pool:
        left, right = await call(pool)
        zygote = pool._zygote
        assert zygote is not None
        os.kill(zygote._process.pid, signal.SIGKILL)
        before = audio(left)
        more = await call(pool)
        await asyncio.sleep(0.5)
        assert audio(left) > before
        for end in (left, right, *more):
            await end.finish()


async def test_an_idle_node_is_small_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the last call nothing of the media engine runs."""
    monkeypatch.setattr(limits, "WORKER_WARM", 0.3)
    async with workers() as pool:
        end = End(await pool.make(LOCAL))
        await end.finish()
        assert pool._zygote is not None
        for _ in range(1000):
            if pool._zygote.ended and not pool.pids:
                break
            await asyncio.sleep(0.02)
        assert pool._zygote.ended
        assert pool.pids == []


async def test_errors_are_those_of_an_endpoint(tmp_path: Path) -> None:
    """What an endpoint raises is raised here, by a worker's word."""
    taken = tmp_path / "taken.mkv"
    taken.write_bytes(b"precious")
    async with workers() as pool:
        with pytest.raises(SourceUnusable):
            await pool.probe(str(taken))
        await pool.probe("testsrc")
        left = End(await pool.make(LOCAL))
        offer = await left.endpoint.offer()
        for plan, error in (
            (replace(LOCAL, record=taken), RecordTargetExists),
            (replace(LOCAL, source=str(taken)), SourceUnusable),
        ):
            other = End(await pool.make(plan))
            with pytest.raises(error):
                await other.endpoint.answer(offer)
            await other.finish()
        with pytest.raises(Rejected):
            await left.endpoint.accept(b"garbage")
        with pytest.raises(Rejected):
            await left.endpoint.add_candidates(b"\x01")
        await left.finish()
        with pytest.raises(Rejected):
            await left.endpoint.accept(b"garbage")
    assert taken.read_bytes() == b"precious"


# --- workers that were taken over ------------------------------------------------------------------


class Taken:
    """In the place of a worker process: what the test sends is what it says."""

    def __init__(self) -> None:
        self.pid = 0
        self.ended = ""
        self.tenant: Any = None
        self.ends: list[socket.socket] = []

    def open(self, tenant: Any, _: w.Open, ends: list[socket.socket]) -> None:
        self.tenant = tenant
        self.ends = [end.dup() for end in ends]

    def end(self, why: str) -> None:
        self.ended = why
        self.tenant.worker_ended(why)

    def leave(self, _: object) -> None:
        for end in self.ends:
            end.close()

    def say(self, *messages: Any) -> None:
        for one in messages:
            with contextlib.suppress(OSError):
                self.ends[0].send(one if isinstance(one, bytes) else w.encode(one))


async def taken_over() -> tuple[Taken, End]:
    worker = Taken()
    endpoint = WorkerEndpoint(LOCAL, worker, ice_on(None), None)  # type: ignore[arg-type]
    return worker, End(endpoint)


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b"garbage" * 20,
        bytes(limits.WORKER_MESSAGE_MAX + 1),
        w.Happened("Secured", w.encode(m.Secured(b"short", bytes(32)))),
        w.Happened("Failed", w.encode(m.Failed("no-path", "\x1b[2Jhello"))),
        w.Happened("Failed", w.encode(m.Failed("no-path", "x" * 5000))),
        w.Happened("ControlMessage", w.encode(m.ControlMessage(bytes(limits.CONTROL_MESSAGE_MAX + 1)))),
        w.Happened("LocalCandidates", w.encode(m.LocalCandidates(b"\x01garbage"))),
        w.Happened("Nothing", b"\x90"),
        w.Counted(w.encode(m.EndpointStats(counters={f"c{n}": 1 for n in range(1000)}))),
        w.Remote([Candidate("host", "udp", "example.org", 80, 1)], b""),
        w.Remote([Candidate("host", "udp", "127.0.0.1", 5000, 1)] * 100, b""),
        w.Start("", "", anew=False),
        w.Resolve(1, "example.org"),
    ],
    ids=lambda one: one.name if isinstance(one, w.Happened) else type(one).__name__,
)
async def test_what_makes_no_sense_ends_the_worker(message: Any) -> None:
    """Garbage, texts for terminals, oversized things: its call ends, nothing else happens."""
    worker, end = await taken_over()
    worker.say(message)
    failed = await end.wait_for(m.Failed, 3)
    assert isinstance(failed, m.Failed)
    assert failed.reason == "media-failed"
    assert "no sense" in worker.ended
    await end.finish()


async def test_a_flood_of_events_costs_little_and_ends() -> None:
    """The loop goes on meanwhile: it is late by no more than some milliseconds."""
    worker, end = await taken_over()
    end.reader.cancel()  # the call does not read
    loop = asyncio.get_running_loop()
    late, until = 0.0, loop.time() + 1.5
    while loop.time() < until:
        worker.say(*[w.event_message(m.ControlOpen())] * 50)
        at = loop.time()
        await asyncio.sleep(0.001)
        late = max(late, loop.time() - at)
    assert "no sense" in worker.ended
    assert late < 0.1, late
    await end.endpoint.close()


async def test_it_can_name_no_address_that_a_peer_may_not() -> None:
    """Loopback, metadata and low ports get no packet, whoever names them, and few addresses do."""
    worker = Taken()
    plan = replace(LOCAL, allow_loopback=False)
    endpoint = WorkerEndpoint(plan, worker, ice_on(None), None)  # type: ignore[arg-type]
    end = End(endpoint)
    endpoint._session.candidates = [Candidate("host", "udp", "192.0.2.1", 5000, 1)]
    bad = [
        Candidate("host", "udp", "169.254.169.254", 5000, 3),
        Candidate("host", "udp", "127.0.0.1", 5000, 3),
        Candidate("host", "udp", "192.0.2.7", 53, 2),
    ]
    worker.say(w.Remote(bad, b""))
    for block in range(20):
        many = [Candidate("host", "udp", f"10.9.{block}.{n}", 40_000, 1) for n in range(10)]
        worker.say(w.Remote(many, b""))
    await asyncio.sleep(0.2)
    known = {one.address for one in endpoint._session.remote_candidates}
    assert known.isdisjoint(one.address for one in bad)
    assert 0 < len(known) <= limits.ICE_REMOTE_CANDIDATES_MAX
    worker.end("")
    await end.endpoint.close()


async def test_only_dtls_and_rtp_go_out() -> None:
    """A worker speaks no STUN in the node's name, and what finds no path is dropped."""
    worker, end = await taken_over()
    for first in (0, 1, 19, 64, 127, 192, 255):
        worker.ends[1].send(bytes([first]) * 20)
    worker.ends[1].send(b"\x16" * 20)
    await asyncio.sleep(0.05)
    assert end.endpoint.statistics().counters == {"worker-datagram": 7, "worker-no-path": 1}
    worker.end("")
    await end.endpoint.close()


async def test_a_worker_that_reads_nothing_holds_nothing_up() -> None:
    """Datagrams for it are dropped and counted; messages, and the call ends."""
    worker, end = await taken_over()
    endpoint = end.endpoint
    assert isinstance(endpoint, WorkerEndpoint)
    for _ in range(5000):
        endpoint._datagram_in(b"\x80" * 1200)
    assert endpoint.statistics().counters["worker-behind"] > 3000
    for _ in range(5000):
        endpoint.send_control(b"x" * 1000)
    assert worker.ended == "the media process of this call reads no more"
    await end.finish()


# --- the channel -----------------------------------------------------------------------------------


async def test_a_channel_keeps_boundaries_and_order_when_the_other_side_is_slow() -> None:
    """Whatever was accepted arrives once, whole, in order."""
    near, far = make_pair()
    got: list[bytes] = []
    sender = Channel(near, on_message=got.append, on_closed=lambda: None, waiting=300, size=4096)
    sent = [data for n in range(5000) if sender.send(data := n.to_bytes(4, "big") * 200)]
    assert 300 < len(sent) < 5000
    done = asyncio.Event()
    receiver = Channel(far, on_message=got.append, on_closed=done.set, waiting=1, size=4096)
    await asyncio.sleep(0.5)
    assert got == sent
    sender.close()
    assert not sender.send(b"x")
    await asyncio.wait_for(done.wait(), 1)
    receiver.close()


async def test_a_channel_reads_no_faster_than_it_may() -> None:
    """A flood is read at the rate."""
    near, far = make_pair()
    got: list[bytes] = []
    receiver = Channel(far, on_message=got.append, on_closed=lambda: None, waiting=1, size=64, rate=200)
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                near.send(b"x")
        await asyncio.sleep(0.05)
    assert 100 <= len(got) <= 260
    receiver.close()
    near.close()


# --- what a worker has given up ---------------------------------------------------------------------

_PROBE = """
import os, signal, socket, sys
from pathlib import Path
from meshcall.aio.worker.confine import confine
source, folder, secret = map(Path, sys.argv[1:4])
confine([source], [folder], sockets=sys.argv[4] == "sockets")
import colorsys  # a module that is loaded late
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "ok"
print(tried(source.read_bytes), tried((folder / "new.mkv").touch), tried(secret.read_bytes),
      tried(lambda: (secret.parent / "new").touch()), tried(socket.socket),
      tried(lambda: os.kill(os.getppid(), 0)), tried(lambda: os.execv("/bin/true", ["true"])))
"""


def has_landlock() -> bool:
    import ctypes

    version: int = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return version >= 6


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock with scopes")
@pytest.mark.parametrize("sockets", [False, True])
async def test_a_worker_has_no_key_no_socket_and_no_program(sockets: bool, tmp_path: Path) -> None:
    """It reads its source and writes its recording; the node's home, signals and sockets are not for it.

    Sockets are, where the source is a screen.
    """
    home, folder = tmp_path / "home", tmp_path / "recordings"
    home.mkdir()
    folder.mkdir()
    secret, source = home / "key", tmp_path / "film.mkv"
    secret.write_bytes(b"secret")
    source.write_bytes(b"film")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROBE, str(source), str(folder), str(secret)),
        "sockets" if sockets else "none",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    denied = "PermissionError"
    socket_made = "ok" if sockets else denied
    assert output.decode().split() == ["ok", "ok", denied, denied, socket_made, denied, denied]


async def test_a_screen_is_read_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the X server, by a socket, though a worker with another source may open none."""
    asked = asyncio.Event()

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()  # as a server that is full

    display = f":{1000 + os.getpid() % 9000}"
    server = await asyncio.start_unix_server(answer, f"\0/tmp/.X11-unix/X{display[1:]}")
    monkeypatch.setenv("DISPLAY", display)
    async with server, workers() as pool:
        end = End(await pool.make(replace(LOCAL, source="screen")))
        with pytest.raises(SourceUnusable, match="screen"):
            await end.endpoint.offer()
        assert asked.is_set()
        await end.finish()
        with pytest.raises(SourceUnusable, match="screen"):
            await pool.probe("screen")


async def test_a_worker_shares_no_second_source() -> None:
    """It reads what it was confined to; that is told, and the call goes on."""
    async with workers() as pool:
        left, right = await call(pool)
        left.endpoint.share("testsrc")
        await left.wait_for(m.ShareFailed)
        left.endpoint.share("")
        assert len(left.of(m.ShareFailed)) == 1
        for end in (left, right):
            await end.finish()


async def test_a_node_that_stops_takes_its_workers_with_it() -> None:
    """Closing while calls live ends every process."""
    async with workers() as pool:
        left, right = await call(pool)
        pids = pool.pids
        closing = asyncio.create_task(pool.close())
        await asyncio.gather(left.wait_for(m.Failed), right.wait_for(m.Failed))
        await closing
        assert not any(map(is_running, pids))
        with pytest.raises(MeshcallError):
            await pool.make(LOCAL)
        for end in (left, right):
            await end.finish()
