"""A node of the table: kademlia's Node with an exact id, an order and what we know of its health.

Law 1: a Contact is made only after the node proved that its id is its own (``verified_id``).
Law 2: a table has a hundred contacts and more, so one holds four references: no dictionary, no number that
follows from the id.
"""

from __future__ import annotations

import hashlib

from kademlia.node import Node

from meshcall.address import Address
from meshcall.dht.compact import pack_address
from meshcall.identity.keys import NODE
from meshcall.limits import NODE_ID_SIZE


def node_id_of(node_key: bytes) -> bytes:
    """The id that belongs to a node's public key: SHA-256("meshcall/1/node" 0x00 key), first 20 octets."""
    return hashlib.sha256(NODE + b"\0" + node_key).digest()[:NODE_ID_SIZE]


def proof_message(challenge: bytes, responder_id: bytes, requester_id: bytes, observed: bytes) -> bytes:
    """What a node signs to prove its id: the challenge, both ids, and where the challenge came from.

    ``observed`` is the asker's address as the responder saw it: a proof that a node in the middle had made
    by passing the challenge on names the middle, and the asker refuses it where it can tell.
    """
    return challenge + responder_id + requester_id + observed


class Contact(Node):  # type: ignore[misc] # kademlia has no types
    """A verified node."""

    __slots__ = ("address", "failures", "id", "last_seen")

    def __init__(self, node_id: bytes, address: Address, *, last_seen: float = 0.0) -> None:
        if not isinstance(node_id, bytes) or len(node_id) != NODE_ID_SIZE:
            raise ValueError("a node id has exactly 20 octets")
        self.id = node_id
        self.address = address
        """Where it answers."""
        self.last_seen = last_seen
        """When it last answered one of our requests."""
        self.failures = 0
        """Requests it left unanswered since."""

    @property
    def ip(self) -> str:
        """kademlia's name for one half of the address."""
        return self.address[0]

    @property
    def port(self) -> int:
        """kademlia's name for the other half."""
        return self.address[1]

    @property
    def long_id(self) -> int:
        """The id as a number, for distances."""
        return int.from_bytes(self.id, "big")

    def __lt__(self, other: Contact) -> bool:
        """Equal distances never compare by luck: order is by id, then by address."""
        return (self.id, pack_address(self.address)) < (other.id, pack_address(other.address))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contact) and self.id == other.id and self.address == other.address

    def __hash__(self) -> int:
        return hash((self.id, self.address))

    def __repr__(self) -> str:
        return f"<Contact {self.id[:4].hex()} {self.ip}:{self.port} failures={self.failures}>"
