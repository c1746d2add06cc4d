"""Whom a TURN client talks to: hosts with their permissions, peers with their channels.

Law: there are never more hosts than a server permits; of those without a channel the one that was needed
longest ago makes way. So a peer that names new addresses for hours has us keep up no endless permissions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.limits import (
    TURN_CHANNELS_MAX,
    TURN_CLIENT_QUEUE,
    TURN_PERMISSIONS_MAX,
    TURN_REFRESH_AHEAD,
)
from meshcall.turn.allocation import CHANNELS


@dataclass(slots=True)
class Host:
    """An IP address that may send to us."""

    name: str
    until: float = 0.0
    """When its permission ends; 0: it has none yet."""
    asking: bool = False
    waiting: deque[tuple[Address, bytes]] = field(default_factory=lambda: deque(maxlen=TURN_CLIENT_QUEUE))
    """Datagrams for the time when it has one."""

    @property
    def renewal(self) -> float | None:
        """When the permission is to be asked for again; None: it is being asked for, or never was given."""
        return None if self.asking or not self.until else self.until - TURN_REFRESH_AHEAD


@dataclass(slots=True)
class Peer:
    """A peer with a channel."""

    address: Address
    channel: int
    until: float = 0.0
    """When the channel ends; 0: it is not bound yet."""
    asking: bool = False

    @property
    def renewal(self) -> float | None:
        """When it is to be bound again; None: it is being bound, or can't be."""
        return None if self.asking or not self.until else self.until - TURN_REFRESH_AHEAD


class Peers:
    """All of one client."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        self._peers: dict[Address, Peer] = {}
        self._by_channel: dict[int, Peer] = {}

    def host(self, name: str) -> Host:
        """The host of that name, made if need be."""
        host = self._hosts.pop(name, None) or Host(name)
        if len(self._hosts) >= TURN_PERMISSIONS_MAX:
            self._make_room()
        self._hosts[name] = host  # the last: it is needed now
        return host

    def _make_room(self) -> None:
        """Forget the host that was needed longest ago, of those without a channel if there are such."""
        in_use = {peer.address[0] for peer in self._peers.values()}
        idle = (name for name, host in self._hosts.items() if name not in in_use and not host.asking)
        name = next(idle, next(iter(self._hosts)))
        del self._hosts[name]

    def asked_for(self, name: str) -> bool:
        """Whether we ever permitted that host."""
        return name in self._hosts

    def hosts(self) -> list[Host]:
        """All of them."""
        return list(self._hosts.values())

    def forget(self, host: Host) -> None:
        """Nothing is relayed to it."""
        self._hosts.pop(host.name, None)

    def peer(self, address: Address) -> Peer | None:
        """The peer there, if it has a channel number."""
        return self._peers.get(address)

    def peers(self) -> list[Peer]:
        """All that have a number."""
        return list(self._peers.values())

    def number(self, address: Address) -> Peer | None:
        """Give a number to a new peer; None: there is none left."""
        if len(self._peers) >= TURN_CHANNELS_MAX:
            return None
        peer = self._peers[address] = Peer(address, CHANNELS[len(self._peers)])
        self._by_channel[peer.channel] = peer
        return peer

    def of_channel(self, channel: int) -> Peer | None:
        """Whose number that is."""
        return self._by_channel.get(channel)

    def renewals(self) -> Iterator[float]:
        """When something is to be renewed."""
        known_ones: list[Host | Peer] = [*self._hosts.values(), *self._peers.values()]
        for known in known_ones:
            if known.renewal is not None:
                yield known.renewal
