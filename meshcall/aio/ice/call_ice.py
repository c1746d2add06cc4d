"""What a media endpoint needs of its call's ICE, wherever that runs.

Law 1: :class:`meshcall.aio.ice.session.IceSession` is one; in a media worker, a stand-in for one in the node.
Law 2: an endpoint knows no port, relay or tunnel: where a datagram goes is decided below here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.port import IcePort
from meshcall.aio.ice.servers import read_servers
from meshcall.aio.ice.session import IceSession
from meshcall.ice.candidate import Candidate
from meshcall.ice.check import Credentials
from meshcall.ice.events import IceEvent
from meshcall.ice.notes import Note
from meshcall.media.plan import MediaPlan


class CallIce(Protocol):
    """See the laws."""

    controlling: bool
    """Whether this end decides; who offers begins so."""
    sink: Callable[[bytes], bool] | None
    """Is offered what the peer sends before it waits for :meth:`recv`, and tells whether it took it."""

    @property
    def local(self) -> Credentials:
        """Ours."""

    @property
    def candidates(self) -> list[Candidate]:
        """Ours, as the peer is to know them."""

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's, learned ones included."""

    @property
    def expects_more(self) -> bool:
        """Whether servers or relays may tell of more candidates."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the description tells the peer besides candidates."""

    async def gather(self) -> None:
        """Open ports, and ask the servers; raises OSError when no port can be opened."""

    def start(self, remote: Credentials) -> None:
        """The peer's description: begin to check."""

    def restart(self, remote: Credentials) -> None:
        """The peer has other credentials from now on."""

    def add_remote(self, candidates: Iterable[Candidate]) -> None:
        """More of the peer's candidates."""

    def add_notes(self, notes: Iterable[Note]) -> None:
        """What the peer tells besides candidates."""

    def silence(self) -> float:
        """Seconds for which the selected pair owes an answer; 0: it owes none."""

    async def connected(self) -> None:
        """Return when a pair is selected; raises ConnectionError, with the reason."""

    def send(self, data: bytes) -> None:
        """Send to the peer; raises ConnectionError when there is no path."""

    def send_all(self, datagrams: Sequence[bytes]) -> None:
        """Send several, in order; raises ConnectionError when there is no path."""

    async def recv(self) -> bytes:
        """The next datagram of the peer's; raises ConnectionError when there will be none."""

    async def wait_closed(self) -> None:
        """Return when it is closed, by its owner or because the path is lost."""

    async def close(self) -> None:
        """End everything. Idempotent."""


MakeIce = Callable[[MediaPlan, Counter[str], Callable[[IceEvent], None]], CallIce]
"""Plan, what is refused is counted in, who is told what happens -> the ICE of one call."""


MakeSession = Callable[[MediaPlan, Counter[str], Callable[[IceEvent], None]], IceSession]
"""A :data:`MakeIce` whose ICE is in this process."""


def ice_on(port: IcePort | None) -> MakeSession:
    """Makes sessions on the node's port; None: each has a port of its own."""

    def make(plan: MediaPlan, counters: Counter[str], on_event: Callable[[IceEvent], None]) -> IceSession:
        return IceSession(
            policy=HostPolicy(plan.interfaces, plan.allow_loopback),
            shared=port,
            servers=read_servers(plan.ice_servers),
            counters=counters,
            on_event=on_event,
        )

    return make
