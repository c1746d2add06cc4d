"""ICE, DTLS and RTP of any number of calls on one UDP port (RFC 7983).

Law 1: a datagram goes to the call that it is for, or is counted: checks by the username fragment, answers by
their transaction, the rest by an address that has proven to be the call's peer. Where several calls have a
peer at one address each gets it, and DTLS and SRTP drop what is another's: so nobody who claims another's
address takes a call's media away.
Law 2: what no call waits for costs one look; a flood of it does not delay what calls wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, Protocol

from meshcall import limits
from meshcall.address import Address
from meshcall.aio.ice.addresses import HostPolicy
from meshcall.aio.ice.relays import Lenders
from meshcall.aio.stun_sharing import StunTaker
from meshcall.aio.udp import ANY_HOSTS, DatagramPort
from meshcall.errors import Rejected
from meshcall.ice.network import Network
from meshcall.stun.classic import answer_classic_untrusted
from meshcall.stun.message import AttributeType, MessageClass, Method, StunMessage, decode_stun_untrusted
from meshcall.stun.responder import answer_binding

if TYPE_CHECKING:
    from meshcall.aio.nat import NatWatch

STUN: Final = range(4)
DTLS: Final = range(20, 64)
RTP: Final = range(128, 192)


class Session(Protocol):
    """One call's ICE session, as the port sees it."""

    @property
    def ufrag(self) -> bytes:
        """Our username fragment."""

    def awaits(self, transaction: bytes) -> bool:
        """Whether an answer with this transaction id is to a request of ours."""

    @property
    def peers(self) -> AbstractSet[Address]:
        """Addresses that are its peer's; the same set always, whatever is in it."""

    def receive_stun(self, data: bytes, source: Address, base: Address) -> None:
        """A STUN message for this session."""

    def network_changed(self) -> None:
        """Addresses or routes are other ones."""

    def receive_media(self, data: bytes) -> None:
        """DTLS or RTP from its peer."""


class RelayedWatcher(Protocol):
    """Who is told of relayed addresses of the node's (tunnels)."""

    def relayed_added(self, port: IcePort) -> None:
        """There is one more, with ``port`` on it."""

    def relayed_lost(self, port: IcePort) -> None:
        """One is gone, whether it was used or not."""


class IcePort:
    """What calls share of a UDP port. The port is its owner's to close."""

    def __init__(
        self,
        udp: DatagramPort,
        *,
        hosts: Sequence[str] = ANY_HOSTS,
        counters: Counter[str] | None = None,
        answers: bool = False,
        mapped: Callable[[], Iterable[Address]] = tuple,
        lenders: Lenders | None = None,
        path_lost: Callable[[], None] = lambda: None,
        network: Callable[[], Network] = Network,
    ) -> None:
        """``hosts``: what ``udp`` is bound to. ``answers``: anybody learns from us how we see him.

        ``lenders``: who lends relays to the calls on this port.

        ``mapped``: what others have seen as this port's address: known before a call, so nobody is asked.
        ``path_lost``: a call has no path any more; our own address may be another one. ``network``: what is
        known of the network that we are in.
        """
        self._udp = udp
        self._counters: Counter[str] = Counter() if counters is None else counters
        self._answers = answers
        self.mapped = mapped
        self.relayed: list[IcePort] = []
        """Ports on relayed addresses of the node's, for all calls."""
        self._watching: list[RelayedWatcher] = []
        self.nat: NatWatch | None = None
        """What is known of the NAT before it; None: nobody looks, and nothing is punched."""
        self.lenders = lenders
        self.relay: StunTaker | None = None
        """A relay that is lent on this port."""
        self.path_lost = path_lost
        self.network = network
        self._sessions: list[Session] = []
        self._looked: tuple[float, HostPolicy, list[str]] | None = None
        """When a call looked at this machine's addresses last, at which, and what it saw."""
        self._bases = {6 if ":" in host else 4: (host, udp.port) for host in hosts}
        udp.register(STUN, self._receive_stun, self._is_awaited_stun)
        for octets in (DTLS, RTP):
            udp.register(octets, self._receive_media, self._is_awaited_media)

    @property
    def bases(self) -> list[Address]:
        """What is sent from: one for each family that this machine has."""
        return [base for family, base in self._bases.items() if family in self._udp.families]

    def look(
        self, policy: HostPolicy, host_addresses: Callable[[HostPolicy], list[str]], now: float
    ) -> list[str]:
        """This machine's addresses: calls that look in one moment get one look. Raises OSError."""
        if self._looked is not None:
            at, looked_at, found = self._looked
            if looked_at == policy and now - at < limits.ICE_ADDRESSES_SAME:
                return found
        found = host_addresses(policy)
        self._looked = now, policy, found
        return found

    def add(self, session: Session) -> None:
        """Give it what is for it."""
        self._sessions.append(session)

    def remove(self, session: Session) -> None:
        """Do so no more. Idempotent."""
        if session in self._sessions:
            self._sessions.remove(session)

    @property
    def idle(self) -> bool:
        """Whether no call uses it."""
        return not self._sessions

    def add_relayed(self, port: IcePort) -> None:
        """Have all calls use a relayed address, too."""
        self.relayed.append(port)
        for watcher in tuple(self._watching):
            watcher.relayed_added(port)

    def watch(self, watcher: RelayedWatcher) -> None:
        """Tell it of relayed addresses that come up or go."""
        self._watching.append(watcher)

    def unwatch(self, watcher: RelayedWatcher) -> None:
        """Do so no more. Idempotent."""
        if watcher in self._watching:
            self._watching.remove(watcher)

    def retire_relayed(self, port: IcePort) -> None:
        """New calls do not use it any more. Idempotent."""
        if port in self.relayed:
            self.relayed.remove(port)

    def lose_relayed(self, port: IcePort) -> None:
        """It is gone: calls are told. Idempotent."""
        self.retire_relayed(port)
        for watcher in tuple(self._watching):
            watcher.relayed_lost(port)

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram. Cannot fail: errors are counted."""
        self._udp.send(data, destination)

    def send_all(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Send several, in order, as :meth:`send` does."""
        self._udp.send_all(datagrams, destination)

    def network_changed(self) -> None:
        """Have every call look at its paths."""
        for session in tuple(self._sessions):
            session.network_changed()

    async def close(self) -> None:
        """Close the UDP port too: for its owner."""
        await self._udp.close()

    # --- what comes ---

    def _is_awaited_stun(self, data: bytes, source: Address) -> bool:
        if self.relay is not None and self.relay.awaits(data, source):
            return True
        return self._is_awaited_media(data, source) or any(one.awaits(data[8:20]) for one in self._sessions)

    def _is_awaited_media(self, data: bytes, source: Address) -> bool:
        for one in self._sessions:  # noqa: SIM110 - any() takes twice as long
            if source in one.peers:
                return True
        return False

    def _receive_media(self, data: bytes, source: Address) -> None:
        takers = [session for session in self._sessions if source in session.peers]
        for session in takers:
            session.receive_media(data)
        if not takers:
            self._counters["ice-stranger"] += 1

    def _receive_stun(self, data: bytes, source: Address) -> None:
        try:
            message = decode_stun_untrusted(data)
        except Rejected as error:
            if not (self._answers and self._answered_classic(data, source)):
                self._counters[f"stun-{error.reason}"] += 1
            return
        session = self._session(message)
        if session is not None:
            session.receive_stun(data, source, self._bases[6 if ":" in source[0] else 4])
        elif self.relay is not None and message.method is not Method.BINDING:
            self.relay.receive_stun(data, source)
        elif self._answers and message.get(AttributeType.USERNAME) is None:
            answer = answer_binding(message, source, size=len(data))
            if answer is not None:
                self._udp.send(answer, source)
        else:
            self._counters["stun-unwanted"] += 1

    def _answered_classic(self, data: bytes, source: Address) -> bool:
        try:
            self._udp.send(answer_classic_untrusted(data, source), source)
        except Rejected:
            return False
        return True

    def _session(self, message: StunMessage) -> Session | None:
        if message.kind is MessageClass.REQUEST:
            ufrag = (message.get(AttributeType.USERNAME) or b"").partition(b":")[0]
            return next((one for one in self._sessions if one.ufrag == ufrag), None)
        return next((one for one in self._sessions if one.awaits(message.transaction_id)), None)
