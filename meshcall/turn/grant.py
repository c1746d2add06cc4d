"""What is said when a relay is asked for: who asks, and the credentials, sealed.

The ask carries an X25519 key made for it alone, and ``RELAY_PROOFS`` places of 8 octets::

    proof = HMAC-SHA256(HKDF(secret, "meshcall/1/relay-contact"), key | node id of the relay)[:8]

``secret`` is the rendezvous secret that the relay's owner has given to each contact. Who asks does not know
whose relay it is, so it puts in a proof for each secret that it has, and random octets into the other places.

The grant is sealed to the key (HPKE, info "meshcall/1/relay-grant" 0x00 key | node id of the relay)::

     0      1        3      4
    +------+--------+------+==========+------+==========+-------+=================+
    | u8   | u16    | u8   | n        | u8   | m        | u8    | count transports|
    | flags| life s | n    | username | m    | password | count |                 |
    +------+--------+------+==========+------+==========+-------+=================+

    flags      bit 0: the asker is a contact of the relay's owner
    transport  u8 kind (0 UDP, 1 TCP, 2 TLS) | u16 port | u8 h (0, 4, 16) | IP address of h octets
               h = 0: the address that was asked

Law 1: to who lacks the secret a proof is like random octets, and each is good for one key at one relay.
Law 2: a grant names no other network than the one that was asked: nobody is sent to a third party.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meshcall.address import Address
from meshcall.dht.messages import RELAY_PROOF_SIZE, RELAY_PROOFS_SIZE
from meshcall.dht.networks import network_of
from meshcall.errors import Rejected
from meshcall.identity.keys import AgreementKey, Random, hkdf, mac, open_untrusted, seal
from meshcall.limits import (
    RELAY_PROOFS,
    RELAY_TRANSPORTS_MAX,
    TURN_PEER_PORT_MIN,
    TURN_USERNAME_MAX,
    TURN_WEB_PORT,
)
from meshcall.turn.client import Transport
from meshcall.turn.credentials import Credentials

_CONTACT_INFO: Final = b"meshcall/1/relay-contact"
_GRANT_INFO: Final = b"meshcall/1/relay-grant\0"
_TRANSPORTS: Final[tuple[Transport, ...]] = ("udp", "tcp", "tls")
_OF_CONTACT: Final = 0x01


class Place(NamedTuple):
    """Where a relay listens."""

    transport: Transport
    port: int
    host: str = ""
    """Its IP address; empty: the one that was asked."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody was lent."""

    credentials: Credentials
    life: int
    """Seconds from now in which an allocation can be made."""
    places: tuple[Place, ...]
    of_contact: bool
    """The relay is a contact's."""

    def servers(self, asked: Address) -> list[tuple[Transport, Address]]:
        """Where to go, in the order given; ``asked``: where the grant came from."""
        found: list[tuple[Transport, Address]] = []
        for place in self.places:
            host = place.host or asked[0]
            if host == asked[0] or (
                network_of(host) is not None and network_of(host) == network_of(asked[0])
            ):
                found.append((place.transport, (host, place.port)))
        return found


def contact_key(secret: bytes) -> bytes:
    """The key of the proofs of those who have the rendezvous secret ``secret``."""
    return hkdf(secret, _CONTACT_INFO)


def _proof(contact: bytes, key: bytes, node_id: bytes) -> bytes:
    return mac(contact, key, node_id)[:RELAY_PROOF_SIZE]


def proves(contact: bytes, proofs: bytes, key: bytes, node_id: bytes) -> bool:
    """Whether one of the ``proofs`` was made with our contact key."""
    ours = _proof(contact, key, node_id)
    places = (proofs[at : at + RELAY_PROOF_SIZE] for at in range(0, len(proofs), RELAY_PROOF_SIZE))
    return sum(hmac.compare_digest(ours, place) for place in places) > 0


@dataclass(slots=True)
class Ask:
    """One ask of ours: its key and its proofs."""

    key: AgreementKey
    contacts: tuple[bytes, ...] = field(repr=False)
    """Contact keys of those whose relay it may be."""
    random: Random

    @classmethod
    def new(cls, contacts: Iterable[bytes], random: Random) -> Ask:
        """An ask by who has these contact keys; the first ``RELAY_PROOFS`` count."""
        return cls(AgreementKey.generate(random), tuple(contacts)[:RELAY_PROOFS], random)

    def prove(self, node_id: bytes) -> bytes:
        """The proofs for the relay ``node_id``, in an order that tells nothing."""
        made = [_proof(contact, self.key.public, node_id) for contact in self.contacts]
        made += [self.random(RELAY_PROOF_SIZE) for _ in range(RELAY_PROOFS - len(made))]
        octets = b"".join(sorted(made))
        assert len(octets) == RELAY_PROOFS_SIZE, "the frame has room for exactly so many"
        return octets

    def open_untrusted(self, sealed: bytes, node_id: bytes) -> Grant:
        """The grant of the relay ``node_id``; raises :class:`Rejected` (``sealed``, ``grant``)."""
        return decode_grant_untrusted(
            open_untrusted(self.key, _GRANT_INFO + self.key.public + node_id, sealed)
        )


def seal_grant(grant: Grant, key: bytes, node_id: bytes) -> bytes:
    """``grant`` for who asked with ``key``; raises ``Rejected("agreement")`` for a key of small order."""
    return seal(key, _GRANT_INFO + key + node_id, _encode(grant))


def _encode(grant: Grant) -> bytes:
    username, password = grant.credentials.username.encode(), grant.credentials.password.encode()
    head = struct.pack("!BH", _OF_CONTACT if grant.of_contact else 0, grant.life)
    octets = head + bytes([len(username)]) + username + bytes([len(password)]) + password
    octets += bytes([len(grant.places)])
    for place in grant.places:
        host = ipaddress.ip_address(place.host).packed if place.host else b""
        octets += struct.pack("!BHB", _TRANSPORTS.index(place.transport), place.port, len(host)) + host
    return octets


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise Rejected("grant")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def text(self) -> str:
        octets = self.take(self.take(1)[0])
        if not 0 < len(octets) <= TURN_USERNAME_MAX or not octets.isascii():
            raise Rejected("grant")
        return octets.decode("ascii")

    def end(self) -> None:
        if self._data:
            raise Rejected("grant")


def decode_grant_untrusted(data: bytes) -> Grant:
    """The grant in opened octets; raises :class:`Rejected` (``grant``)."""
    reader = _Reader(data)
    flags, life = struct.unpack("!BH", reader.take(3))
    credentials = Credentials(reader.text(), reader.text())
    count = reader.take(1)[0]
    if not 0 < count <= RELAY_TRANSPORTS_MAX or not life:
        raise Rejected("grant")
    places: list[Place] = []
    for _ in range(count):
        transport, port, size = struct.unpack("!BHB", reader.take(4))
        if transport >= len(_TRANSPORTS) or size not in (0, 4, 16):
            raise Rejected("grant")
        if port < TURN_PEER_PORT_MIN and port != TURN_WEB_PORT:
            raise Rejected("grant")  # a relay has no place there, and others' services have
        host = str(ipaddress.ip_address(reader.take(size))) if size else ""
        places.append(Place(_TRANSPORTS[transport], port, host))
    reader.end()
    return Grant(credentials, life, tuple(places), bool(flags & _OF_CONTACT))
