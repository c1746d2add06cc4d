"""One allocation (RFC 8656 section 2.2): a relayed address lent to a client, its permissions and channels.

Law 1: nothing passes, in either direction, but between the client and hosts that it has permitted; and frames
of the DHT, so many a second, once the client has sent one: a node is asked by others, and answers.
Law 2: a channel belongs to one peer and a peer to one channel, as long as either lives.
Law 3: a permission or channel that has expired counts as gone, whether it was swept or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.dht.limiter import Bucket
from meshcall.limits import (
    TUNNEL_FRAMES_BURST,
    TUNNEL_FRAMES_PER_SECOND,
    TURN_CHANNEL_LIFE,
    TURN_CHANNELS_MAX,
    TURN_PERMISSION_LIFE,
    TURN_PERMISSIONS_MAX,
)
from meshcall.turn.bandwidth import Bandwidth
from meshcall.turn.commands import Client

CHANNELS = range(0x4000, 0x5000)
"""Channel numbers (RFC 8656 section 12)."""

CHANNELS_TAKEN = range(0x4000, 0x8000)
"""Those that a server takes: older clients (RFC 5766, ``turnutils_uclient``) use the higher ones, too."""


@dataclass(slots=True)
class Channel:
    """A number that stands for a peer."""

    number: int
    peer: Address
    expires: float
    head: bytes
    """The number's two octets."""


@dataclass(slots=True)
class Allocation:
    """What is lent to one client."""

    client: Client
    user: str
    relay: int
    """Names the socket at the shell."""
    family: int
    """4 or 6: of the relayed address and of all peers."""
    transaction_id: bytes
    """Of the request that made it, so that a retransmission is known."""
    born: float
    expires: float
    bandwidth: Bandwidth
    relayed: Address | None = None
    """None while the socket is being opened."""
    permissions: dict[str, float] = field(default_factory=dict)
    """When the permission of a host ends."""
    channels: dict[int, Channel] = field(default_factory=dict)
    by_peer: dict[Address, Channel] = field(default_factory=dict)
    _frames_out: Bucket | None = None
    _frames_in: Bucket | None = None
    """None: the client has sent no frame of the DHT."""

    def may_send_frame(self, now: float) -> bool:
        """Whether a frame of the DHT may leave, permitted or not; from the first one on others may come."""
        if self._frames_out is None:
            self._frames_out = Bucket(TUNNEL_FRAMES_PER_SECOND, TUNNEL_FRAMES_BURST, now)
            self._frames_in = Bucket(TUNNEL_FRAMES_PER_SECOND, TUNNEL_FRAMES_BURST, now)
        return self._frames_out.take(now)

    def may_take_frame(self, now: float) -> bool:
        """Whether a frame of the DHT may come from a host that is not permitted."""
        return self._frames_in is not None and self._frames_in.take(now)

    def permits(self, host: str, now: float) -> bool:
        """Whether data may pass to and from ``host``."""
        return self.permissions.get(host, 0.0) > now

    def permit(self, hosts: list[str], now: float) -> bool:
        """Permit or renew all of ``hosts``; False, and nothing is done: there would be too many."""
        if len(self.permissions.keys() | set(hosts)) > TURN_PERMISSIONS_MAX:
            self.sweep(now)
            if len(self.permissions.keys() | set(hosts)) > TURN_PERMISSIONS_MAX:
                return False
        for host in hosts:
            self.permissions[host] = now + TURN_PERMISSION_LIFE
        return True

    def fits(self, number: int, peer: Address, now: float) -> bool:
        """Whether ``number`` and ``peer`` are both free, or are each other's."""
        self.sweep(now)
        return self.channels.get(number) is self.by_peer.get(peer)

    def bind(self, number: int, peer: Address, now: float) -> bool:
        """Bind or renew a channel that :meth:`fits`; False, and nothing is done: there would be too many."""
        channel = self.channels.get(number)
        if channel is None and len(self.channels) >= TURN_CHANNELS_MAX:
            return False
        if not self.permit([peer[0]], now):
            return False
        if channel is None:
            channel = Channel(number, peer, 0.0, number.to_bytes(2, "big"))
            self.channels[number] = self.by_peer[peer] = channel
        channel.expires = now + TURN_CHANNEL_LIFE
        return True

    def sweep(self, now: float) -> None:
        """Forget what has expired."""
        for host in [host for host, expires in self.permissions.items() if expires <= now]:
            del self.permissions[host]
        for channel in [channel for channel in self.channels.values() if channel.expires <= now]:
            del self.channels[channel.number], self.by_peer[channel.peer]
