"""Calls through a relay: each has a TURN client that sends by a channel, and a peer on a plain socket.

A 720p call is 2 Mbit/s each way: every 20 ms four packets of video of 1,200 octets and one of audio of 160,
that is 250 packets a second; the relay takes and sends 500 for each call. The calls' ticks are spread over
the 20 ms.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meshcall.address import Address
from meshcall.aio.clock import system_random
from meshcall.turn.client import TurnClient
from meshcall.turn.credentials import issue
from meshcall.turn.events import Allocated, Received
from netsim.errors import LabError

TICK = 0.02
PHASES = 20
VIDEO = bytes(1200)
VIDEO_PER_TICK = 4
AUDIO = bytes(160)
PACKETS_PER_TICK = VIDEO_PER_TICK + 1
SETUP_WAIT = 5.0
GRACE = 0.3
"""Seconds in which the last packets may arrive."""
_BUFFER = 4 << 20


@dataclass(frozen=True)
class Load:
    """What a relay did under a number of calls."""

    calls: int
    seconds: float
    cpu: float
    """Seconds of processor time that the relay's process took."""
    sent: int
    received: int

    @property
    def lost(self) -> float:
        """Percent of the packets."""
        return 100 * (1 - self.received / self.sent)

    @property
    def calls_per_core(self) -> float:
        """Calls that would take all of one core; what was lost does not count."""
        return self.calls * self.received / self.sent * self.seconds / self.cpu


class Call:
    """One call."""

    def __init__(self, server: Address, secret: bytes) -> None:
        self.client = _socket()
        self.peer = _socket()
        self.client.connect(server)
        who = issue(secret, "bench", int(time.time()) + 3600)
        self._turn = TurnClient(server, who, "udp", random=system_random)
        self._turn.start(time.monotonic())
        self._await(lambda: self._told(Allocated))
        relayed = self._turn.relayed
        assert relayed is not None, "it was allocated"
        self.relayed = relayed
        self._turn.send_to(self.peer.getsockname(), AUDIO, time.monotonic())
        self.peer.setblocking(False)
        self._await(self._peer_has_it)
        self.peer.sendto(AUDIO, relayed)
        self._await(lambda: self._told(Received))
        # From here on the frames are the channel's
        self._turn.send_to(self.peer.getsockname(), VIDEO, time.monotonic())
        ((self.video, _),) = self._turn.transmits()
        self._turn.send_to(self.peer.getsockname(), AUDIO, time.monotonic())
        ((self.audio, _),) = self._turn.transmits()
        if self.video[0] < 0x40:
            raise LabError("the relay bound no channel")
        self.client.setblocking(False)

    def tick(self) -> int:
        """Send 20 ms of media both ways; how many packets."""
        for _ in range(VIDEO_PER_TICK):
            self.client.send(self.video)
            self.peer.sendto(VIDEO, self.relayed)
        self.client.send(self.audio)
        self.peer.sendto(AUDIO, self.relayed)
        return 2 * PACKETS_PER_TICK

    def close(self) -> None:
        """Give the allocation back."""
        self._turn.close(time.monotonic())
        for octets, _ in self._turn.transmits():
            self.client.send(octets)
        self.client.close()
        self.peer.close()

    def _exchange(self) -> None:
        for octets, _ in self._turn.transmits():
            self.client.send(octets)

    def _told(self, kind: type) -> bool:
        return any(isinstance(event, kind) for event in self._turn.events())

    def _peer_has_it(self) -> bool:
        try:
            return self.peer.recv(2048) == AUDIO
        except BlockingIOError:
            return False

    def _await(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + SETUP_WAIT
        self.client.settimeout(0.05)
        self._exchange()
        while not condition():
            if time.monotonic() > end:
                raise LabError("the relay does not relay")
            try:
                self._turn.receive(self.client.recv(2048), time.monotonic())
            except TimeoutError:
                self._turn.handle_timer(time.monotonic())
            self._exchange()


def run(server: Address, secret: bytes, pid: int, *, calls: int, seconds: float) -> Load:
    """So many calls for so long; blocks. ``pid``: of the relay's process."""
    made = [Call(server, secret) for _ in range(calls)]
    try:
        return _run(made, pid, seconds)
    finally:
        for call in made:
            call.close()


def _run(calls: list[Call], pid: int, seconds: float) -> Load:
    poll = select.epoll()
    sockets = {sock.fileno(): sock for call in calls for sock in (call.client, call.peer)}
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    sent = received = 0
    cpu = cpu_of(pid)
    start = time.monotonic()
    due, phase = start, 0
    while due < start + seconds:
        for call in calls[phase % PHASES :: PHASES]:
            sent += call.tick()
        phase += 1
        due += TICK / PHASES
        received += _drain(poll, sockets, due)
    elapsed = time.monotonic() - start
    cpu = cpu_of(pid) - cpu
    received += _drain(poll, sockets, time.monotonic() + GRACE)
    poll.close()
    return Load(len(calls), elapsed, cpu, sent, received)


def _drain(poll: select.epoll, sockets: dict[int, socket.socket], until: float) -> int:
    received = 0
    buffer = bytearray(2048)
    while True:
        wait = until - time.monotonic()
        for fd, _ in poll.poll(max(0.0, wait)):
            sock = sockets[fd]
            try:
                while True:
                    sock.recv_into(buffer)
                    received += 1
            except BlockingIOError:
                pass
        if wait <= 0:
            return received


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has taken, in all its threads, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    sock.bind(("127.0.0.1", 0))
    return sock
