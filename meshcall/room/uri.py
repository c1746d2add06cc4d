"""The link that lets somebody into a room: ``meshcall:ID?r=Name&m=ID&b=HOST:PORT#SECRET``.

Law 1: who has the link has the room's secret, so it lets in whoever it is passed on to. The secret stands
after ``#``, which no browser or proxy ever sends to a server.
Law 2: any member can make one. It names a few members, the one who made it first, for some may have left.
Law 3: a link of a room is never taken for an invite or a link to a peer: it has ``r=``.

::

    uri    = "meshcall:" id "?r=" name *( "&m=" id ) *( "&b=" host ":" port ) "#" secret
    id     = 56 characters: a member's ID, the first is who made the link
    r      = the room's name
    m      = further members, at most 3
    b      = bootstrap nodes, as in an invite, at most 3
    secret = 52( ALPHA / "2"-"7" )                              ; 32 octets in base32
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.address import Address, format_address, parse_host_port
from meshcall.errors import InvalidPeerId, InvalidRoom, InvalidUri, UsageError
from meshcall.identity import base32
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name, is_uri, join_uri, split_uri, upper_uri
from meshcall.room.descriptor import Room
from meshcall.signaling.invite import usable_node

_SECRET_LENGTH: Final = 52


@dataclass(frozen=True, slots=True)
class RoomInvite:
    """What a room's link says."""

    name: str
    """The room's, clean, 1 to 64 octets; as the link says, until a member shows the descriptor."""
    members: tuple[PeerId, ...]
    """1 to 4, who made the link first."""
    secret: bytes = field(repr=False)
    """32 octets."""
    nodes: tuple[Address, ...] = ()
    """Bootstrap nodes."""

    def __post_init__(self) -> None:
        if not self.name or self.name != clean_name(self.name):
            raise InvalidRoom("the name in a room's link is one short line of visible characters")
        if not 1 <= len(set(self.members)) == len(self.members) <= limits.ROOM_INVITE_MEMBERS:
            raise InvalidRoom(f"a room's link names 1 to {limits.ROOM_INVITE_MEMBERS} different members")
        if len(self.secret) != limits.ROOM_SECRET:
            raise InvalidRoom("the secret of a room has 32 octets")
        if len(self.nodes) > limits.INVITE_NODES_MAX or any(usable_node(n) != n for n in self.nodes):
            raise InvalidRoom("a bootstrap node in that link can't be used")

    @classmethod
    def of(
        cls, room: Room, me: PeerId, others: Iterable[PeerId] = (), nodes: Iterable[Address] = ()
    ) -> RoomInvite:
        """Our link to ``room``, with those of ``others`` that fit; addresses of no use are left out."""
        members = tuple(dict.fromkeys((me, *others)))[: limits.ROOM_INVITE_MEMBERS]
        usable = dict.fromkeys(node for node in map(usable_node, nodes) if node is not None)
        return cls(room.name, members, room.secret, tuple(usable)[: limits.INVITE_NODES_MAX])

    @classmethod
    def parse(cls, text: str) -> RoomInvite:
        """The link in ``text``; raises :class:`InvalidRoom`."""
        try:
            inviter, parameters, secret = split_uri(text)
            members = (inviter, *map(PeerId.parse, parameters.get("m", ())))
        except (InvalidUri, InvalidPeerId) as error:
            raise InvalidRoom(f"that is not a whole link to a room: {error}") from None
        names = parameters.get("r", [])
        if len(names) != 1:
            raise InvalidRoom("that link names no room")
        if len(secret) != _SECRET_LENGTH:
            raise InvalidRoom("the secret in that link is not whole: copy the link to its end")
        octets = base32.decode(secret)
        if base32.encode(octets) != secret:
            raise InvalidRoom("the secret in that link is damaged")
        nodes = tuple(dict.fromkeys(map(_parse_node, parameters.get("b", ()))))
        return cls(clean_name(names[0]), tuple(dict.fromkeys(members)), octets, nodes)

    def format(self) -> str:
        """The link, in its one spelling."""
        parameters = [("r", self.name)]
        parameters += [("m", peer.text) for peer in self.members[1:]]
        parameters += [("b", format_address(node)) for node in self.nodes]
        return join_uri(self.members[0], parameters, base32.encode(self.secret))

    def qr_text(self) -> str:
        """The link with ID and secret in upper case."""
        return upper_uri(self.format())

    def __str__(self) -> str:
        """Who invites, without the secret: safe to log."""
        return f"room link of {self.members[0].short}"


def is_room_uri(text: str) -> bool:
    """Whether ``text`` is meant as a link to a room."""
    if not is_uri(text):
        return False
    query = text.partition("#")[0].partition("?")[2]
    return any(item.partition("=")[0].lower() == "r" for item in query.split("&"))


def _parse_node(text: str) -> Address:
    try:
        node = usable_node(parse_host_port(text))
    except UsageError:
        node = None
    if node is None:
        raise InvalidRoom(f"the address {text!r} in that link can't be used")
    return node
