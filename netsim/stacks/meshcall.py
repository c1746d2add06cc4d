"""Calls by meshcall daemons, by ID: rendezvous, signaling and media all go through the lab's network."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import Any

from netsim.errors import LabError, NeverHappened
from netsim.lab import Host
from netsim.peer import EventLog, Peer
from netsim.process import LabProcess
from netsim.stacks.attempt import Attempt, IceServer, Route
from netsim.stacks.relays import LentRelay

LIMIT_S = 40.0
"""How long a call may take until it has media or has failed by itself."""
DIRECT = ("lan", "direct")
"""The paths without a relay."""
HANG_UP_S = 10.0
JOIN_S = 20.0
"""How long daemons may take until others find them in the DHT."""
SETTLE_S = 5.0
"""After which a call that is relayed stays so: probing may take as long."""


class MeshcallStack:
    """One daemon a host, each with its own identity; they join the DHT by ``flags``."""

    name = "meshcall"

    def __init__(
        self,
        flags: Sequence[str] = (),
        *,
        limit: float = LIMIT_S,
        source: str = "",
        relays: Sequence[LentRelay] = (),
    ) -> None:
        """``flags``: of every daemon, such as ``--bootstrap HOST:PORT``.

        ``source``: what all calls send; a test picture with a tone if it is left out. ``relays``: who lends.
        """
        self._flags = tuple(flags)
        self._limit = limit
        self.source = source
        self.relays = tuple(relays)
        self._peers: dict[str, Peer] = {}

    def peer(self, host: Host) -> Peer:
        """The daemon on ``host``."""
        return self._peers[host.name]

    def adopt(self, peer: Peer) -> None:
        """Make and take calls by a daemon that was started elsewhere, too."""
        self._peers[peer.host.name] = peer

    async def start(self, host: Host, servers: tuple[IceServer, ...]) -> None:
        """Start the daemon; it is not waited for that it has joined the DHT."""
        peer = self._peers.setdefault(host.name, Peer(host))
        known = [",".join(filter(None, (s.uri, s.username, s.credential))) for s in servers]
        await peer.start(
            *self._flags,
            *("--auto-answer", "anyone", "--source", self.source or "testsrc:880"),
            *(word for server in known for word in ("--ice-server", server)),
        )

    async def ready(self, host: Host) -> None:
        """Return when the daemon has leases in the DHT and relays to use, or when that takes too long."""
        relays = min(1, len(self.relays))
        with contextlib.suppress(NeverHappened):
            await self.peer(host).wait_for_status(
                "its leases and a relay",
                lambda status: (
                    status["dht"]["watches"] > 0 and status["dht"]["nodes"] > 0 and status["relays"] >= relays
                ),
                JOIN_S,
            )

    def program(self, host: Host) -> LabProcess:
        """The daemon's process."""
        daemon = self.peer(host).daemon
        assert daemon is not None, "it was started"
        return daemon

    async def begin(self, caller: Host, callee: Host) -> MeshcallCall:
        """Place a call by ID."""
        call = MeshcallCall(self.peer(caller), self.peer(callee), self.source or "testsrc:440")
        await call.place(self._limit)
        return call

    def close(self) -> None:
        """The daemons end with the lab."""


class MeshcallCall:
    """One call between two daemons."""

    def __init__(self, caller: Peer, callee: Peer, source: str) -> None:
        self._caller, self._callee = caller, callee
        self._source = source
        self._command: LabProcess | None = None
        self.attempt = Attempt("fail", None, "it was not placed")

    async def place(self, limit: float) -> None:
        """Dial, then wait for media at both ends."""
        async with EventLog(self._callee) as log:
            self._command = await self._caller.start_cli(
                "call", self._callee.id, "--source", self._source, "--json"
            )
            heard = asyncio.ensure_future(self._command.wait_for_event(limit, event="media", kind="audio"))
            ended = asyncio.ensure_future(self._command.wait(limit))
            try:
                await asyncio.wait((heard, ended), return_when=asyncio.FIRST_COMPLETED)
                self.attempt = await self._judge(log)
            finally:
                for waiter in (heard, ended):
                    waiter.cancel()
                await asyncio.gather(heard, ended, return_exceptions=True)

    async def _judge(self, log: EventLog) -> Attempt:
        assert self._command is not None, "it was dialled"
        lines = self._command.json_lines()
        near = _first(lines, "media", kind="audio")
        if near is None:
            why = _why(lines, self._command.stderr())
            return Attempt("fail", None, why.replace(self._callee.id[:7], "the callee"))
        try:
            far = await log.wait_for(5.0, event="media", kind="audio")
            answered = await log.wait_for(1.0, event="connecting")
            await self._command.wait_for_event(5.0, event="connected")
        except LabError:
            return Attempt("fail", None, "the callee heard nothing")
        begin = _first(lines, "looking-up")
        assert begin is not None, "a call begins with a look-up"
        # A relay carries the first packets until a direct path takes over
        with contextlib.suppress(LabError):
            await self._command.wait_for_json(
                lambda lines: selected_path(lines) in DIRECT or None, "a direct path", SETTLE_S
            )
        both = max(_seconds(near, self._caller), _seconds(far, self._callee))
        return Attempt(
            "direct" if selected_path(self._command.json_lines()) in DIRECT else "relay",
            both - _seconds(answered, self._callee),
            total=both - _seconds(begin, self._caller),
        )

    @property
    def route(self) -> Route:
        """See :class:`LiveCall`."""
        lines = [] if self._command is None else self._command.json_lines()
        path = selected_path(lines)
        if not path or lines[-1]["event"] == "ended":
            return "fail"
        return "direct" if path in DIRECT else "relay"

    async def end(self) -> None:
        """Hang up, as Ctrl-C does."""
        if self._command is not None and self._command.running:
            await self._command.signal(signal.SIGINT)
            try:
                await self._command.wait(HANG_UP_S)
            except LabError:
                await self._command.kill()


def selected_path(lines: list[dict[str, Any]]) -> str:
    """Which path a call has by its events so far, empty without one. It may change before it is connected."""
    return next((line["path"] for line in reversed(lines) if line["event"] in ("connected", "path")), "")


def _seconds(event: dict[str, Any], peer: Peer) -> float:
    """When it was, by the right clock."""
    return float(event["at_ms"]) / 1000 - peer.host.clock_offset


def _first(lines: list[dict[str, Any]], event: str, **fields: object) -> dict[str, Any] | None:
    wanted = {"event": event, **fields}
    return next((line for line in lines if all(line.get(k) == v for k, v in wanted.items())), None)


def _why(lines: list[dict[str, Any]], stderr: str) -> str:
    """Why there was no media, in the words of the command."""
    ended = _first(lines, "ended")
    for line in (*([ended] if ended else []), *lines):
        error = line.get("error")
        if error:
            return str(error["message"] if isinstance(error, dict) else error)
    if ended is not None:
        return f"ended: {ended['reason']}"
    return next(iter(stderr.strip().splitlines()), "no end within the time")
