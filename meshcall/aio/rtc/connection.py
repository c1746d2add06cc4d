"""Our ICE session in the place of aioice's Connection, under aiortc's gatherer and transport.

Law 1: it has the members of aioice.Connection that aiortc uses, and no decision of its own.
Law 2: DTLS and SRTP above never see which path a datagram takes.
tests/aio/test_rtc_connection.py holds the contract with aiortc.
"""

from __future__ import annotations

import aioice

from meshcall.aio.ice.call_ice import CallIce
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Credentials


class Connection:
    """One call's ICE, as aiortc sees it."""

    def __init__(self, session: CallIce) -> None:
        self.session = session
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self.remote_is_lite = False

    @property
    def ice_controlling(self) -> bool:
        """Our role; who offers begins as the controlling one."""
        return self.session.controlling

    @ice_controlling.setter
    def ice_controlling(self, value: bool) -> None:
        self.session.controlling = value

    @property
    def local_username(self) -> str:
        """Our fragment."""
        return self.session.local.ufrag

    @property
    def local_password(self) -> str:
        """Our password."""
        return self.session.local.pwd

    @property
    def local_candidates(self) -> list[aioice.Candidate]:
        """Ours, once they are gathered."""
        return [to_aioice(candidate) for candidate in self.session.candidates]

    @property
    def remote_candidates(self) -> list[aioice.Candidate]:
        """The peer's, learned ones included."""
        return [to_aioice(candidate) for candidate in self.session.remote_candidates]

    def get_default_candidate(self, component: int) -> aioice.Candidate | None:
        """What SDP's c= line shows."""
        return next(iter(self.local_candidates), None)

    async def gather_candidates(self) -> None:
        """Open ports, ask servers."""
        await self.session.gather()

    async def add_remote_candidate(self, candidate: aioice.Candidate | None) -> None:
        """One of the peer's; None, the end of them, is not needed here."""
        if candidate is not None:
            self.session.add_remote([from_aioice(candidate)])

    async def connect(self) -> None:
        """Return when there is a path; raises ConnectionError."""
        if self.remote_username is None or self.remote_password is None:
            raise ConnectionError("the peer's credentials are missing")
        self.session.start(Credentials(self.remote_username, self.remote_password))
        await self.session.connected()

    async def send(self, data: bytes) -> None:
        """Send a datagram; raises ConnectionError."""
        self.session.send(data)

    async def recv(self) -> bytes:
        """The next datagram; raises ConnectionError."""
        return await self.session.recv()

    async def get_event(self) -> aioice.ConnectionClosed:
        """Return when it is closed."""
        await self.session.wait_closed()
        return aioice.ConnectionClosed()

    async def close(self) -> None:
        """End it. Idempotent."""
        await self.session.close()


def to_aioice(candidate: Candidate) -> aioice.Candidate:
    """The candidate as aiortc reads it."""
    related = candidate.related if candidate.kind != "host" else None
    return aioice.Candidate(
        foundation=candidate.any_foundation,
        component=candidate.component,
        transport=candidate.transport,
        priority=candidate.priority,
        host=candidate.address,
        port=candidate.port,
        type=candidate.kind,
        related_address=related[0] if related else None,
        related_port=related[1] if related else None,
    )


def from_aioice(candidate: aioice.Candidate) -> Candidate:
    """A candidate that aiortc hands down: it has passed our filter."""
    return Candidate(
        kind=candidate.type,
        transport=candidate.transport.lower(),
        address=candidate.host,
        port=candidate.port,
        priority=candidate.priority,
        foundation=candidate.foundation,
    )
