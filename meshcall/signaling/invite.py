"""An invite: a link that makes its holder a contact, and tells a fresh machine where to join.

Law 1: whoever holds the secret is taken for whom it was given to; so it expires, and may work only once.
Law 2: the secret stands after ``#``, as in every link (:mod:`meshcall.identity.uri`).
Law 3: addresses in an invite are IP literals: resolving a name would tell its DNS server who joins.

::

    meshcall:ID?n=Name&x=EXPIRY&o=1&b=HOST:PORT&b=[HOST]:PORT&t=HOST:PORT#SECRET

    n   name of the inviter, unverified; may be missing
    x   unix seconds, decimal; needed
    o   1: works once; 0 or missing: until it expires
    b   bootstrap node, at most 3 times
    t   gateway that takes TLS there, for who has no UDP, at most twice
    SECRET   26 characters of base32: 128 bits and 2 zero bits
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.address import Address, format_address, parse_host_port
from meshcall.errors import InvalidInvite, InvalidPeerId, InvalidUri, UsageError
from meshcall.identity import base32
from meshcall.identity.keys import Random
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name, join_uri, split_uri, upper_uri

_SECRET_LENGTH: Final = 26
_ONCE: Final = ("n", "x", "o")
_EXPIRY_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Invite:
    """What an invite says. Made by whoever invites, or read from a link."""

    peer_id: PeerId
    """Who invites."""

    secret: bytes = field(repr=False)
    """16 octets that only the two of them know."""

    expires_ms: int
    """Unix milliseconds, a whole second."""

    name: str = ""
    """What the inviter calls itself, unverified."""

    once: bool = False
    """Whether the first use uses it up."""

    nodes: tuple[Address, ...] = ()
    """Up to 3 DHT nodes to join through, IP literals."""

    gateways: tuple[Address, ...] = ()
    """Up to 2 places where a node takes TLS, IP literals."""

    def __post_init__(self) -> None:
        if len(self.secret) != limits.INVITE_SECRET:
            raise InvalidInvite("the secret of an invite has 16 octets")
        if self.expires_ms % 1000 or not 0 < self.expires_ms < 1000 * 10**_EXPIRY_DIGITS:
            raise InvalidInvite("an invite expires at a whole second")
        if self.name != clean_name(self.name):
            raise InvalidInvite("the name in an invite is one short line of visible characters")
        _check_places(self.nodes, limits.INVITE_NODES_MAX, "nodes")
        _check_places(self.gateways, limits.INVITE_GATEWAYS_MAX, "gateways")

    @classmethod
    def create(
        cls,
        peer_id: PeerId,
        *,
        expires_ms: int,
        random: Random,
        name: str = "",
        once: bool = False,
        nodes: Iterable[Address] = (),
        gateways: Iterable[Address] = (),
    ) -> Invite:
        """A new invite with a new secret. The expiry is rounded up to a second, the name is cleaned,
        addresses that help nobody are left out.
        """
        return cls(
            peer_id,
            random(limits.INVITE_SECRET),
            -(-expires_ms // 1000) * 1000,
            clean_name(name),
            once,
            _usable(nodes)[: limits.INVITE_NODES_MAX],
            _usable(gateways)[: limits.INVITE_GATEWAYS_MAX],
        )

    @classmethod
    def parse(cls, text: str) -> Invite:
        """The invite in a link; raises :class:`InvalidInvite`. Whether it has expired is not looked at."""
        try:
            peer_id, parameters, secret = split_uri(text)
        except (InvalidUri, InvalidPeerId) as error:
            raise InvalidInvite(f"that is not a whole invite: {error}") from None
        if "r" in parameters:
            raise InvalidInvite("that is a link into a room", hint="to come in: `meshcall room join LINK`")
        if not secret:
            raise InvalidInvite(
                "that link is no invite: it has no secret (the part after #)",
                hint="copy it whole; to add somebody by ID or link: `meshcall contact add`",
            )
        for key in _ONCE:
            if len(parameters.get(key, ())) > 1:
                raise InvalidInvite(f"that invite says {key}= twice")
        return cls(
            peer_id,
            _parse_secret(secret),
            _parse_expiry(parameters.get("x", [""])[0]),
            clean_name(parameters.get("n", [""])[0]),
            _parse_flag(parameters.get("o", ["0"])[0]),
            tuple(dict.fromkeys(map(_parse_node, parameters.get("b", ())))),
            tuple(dict.fromkeys(map(_parse_node, parameters.get("t", ())))),
        )

    def check(self, now_ms: int) -> None:
        """Return while the invite is valid; raises :class:`InvalidInvite` once it has expired."""
        if now_ms >= self.expires_ms:
            raise InvalidInvite("that invite has expired")

    def format(self) -> str:
        """The link, in its one spelling."""
        parameters = [("n", self.name)] if self.name else []
        parameters.append(("x", str(self.expires_ms // 1000)))
        if self.once:
            parameters.append(("o", "1"))
        parameters += [("b", format_address(node)) for node in self.nodes]
        parameters += [("t", format_address(gateway)) for gateway in self.gateways]
        return join_uri(self.peer_id, parameters, self.secret_text)

    def qr_text(self) -> str:
        """The link with ID and secret in upper case."""
        return upper_uri(self.format())

    @property
    def secret_text(self) -> str:
        """The secret as the link spells it."""
        return base32.encode(self.secret)

    def __str__(self) -> str:
        """Who invites until when, without the secret: safe to log."""
        return f"invite of {self.peer_id.short} until {self.expires_ms // 1000}"


def usable_node(node: Address) -> Address | None:
    """``node`` with its IP in the one spelling, or None if it names no single host that others can reach.

    Private and loopback addresses are kept: an invite also works on a LAN and on one machine.
    """
    host, port = node
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or address.is_link_local:
            return None  # a scope means nothing on another machine
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    broadcast = str(address) == "255.255.255.255"
    if address.is_multicast or address.is_unspecified or broadcast or not 0 < port < 65536:
        return None
    return str(address), port


def _usable(places: Iterable[Address]) -> tuple[Address, ...]:
    """Those that others can reach, each once."""
    return tuple(dict.fromkeys(place for place in map(usable_node, places) if place is not None))


def _check_places(places: tuple[Address, ...], most: int, what: str) -> None:
    if len(places) > most or len(set(places)) != len(places):
        raise InvalidInvite(f"an invite names {most} different {what} at most")
    for place in places:
        if usable_node(place) != place:
            raise InvalidInvite(f"the address {format_address(place)!r} in an invite can't be used")


def _parse_secret(text: str) -> bytes:
    if len(text) != _SECRET_LENGTH:
        raise InvalidInvite("the secret in that invite is not whole: copy the link to its end")
    secret = base32.decode(text)
    if base32.encode(secret) != text:
        raise InvalidInvite("the secret in that invite is damaged")
    return secret


def _parse_expiry(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _EXPIRY_DIGITS):
        raise InvalidInvite("that invite does not say when it expires")
    return int(text) * 1000


def _parse_flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise InvalidInvite("that invite does not say clearly whether it works once")
    return text == "1"


def _parse_node(text: str) -> Address:
    try:
        node = usable_node(parse_host_port(text))
    except UsageError:
        node = None
    if node is None:
        raise InvalidInvite(f"the address {text!r} in that invite can't be used")
    return node
