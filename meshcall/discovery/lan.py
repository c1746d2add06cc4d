"""What a node says about itself on a LAN, and what it reads from others.

Law 1: nothing here names anybody to those who do not know them: the hint is a hash of the ID and the day.
Only with ``--visible`` the ID and a name are added.
Law 2: instance and host name are random for each start: the machine's own name is never told.
Law 3: mDNS is not authenticated. What is read here is a hint where to send sealed records, never proof.

The service is ``_meshcall._udp.local.``; its TXT record (RFC 6763 section 6) is a row of strings::

    0        1
    +--------+-------------------+
    | length | key=value         |   any number of times, in any order; unknown keys are ignored
    +--------+-------------------+
    v=1                       version; must be there
    h=0123456789abcdef        hint: 8 octets as 16 hexadecimal digits; must be there
    i=<56 characters>         the ID, only if visible
    n=<name>                  what the peer calls itself, a clean name in UTF-8, only if visible
    r= r1= r2= r3=            rooms that it is in: :mod:`meshcall.discovery.rooms`

    hint = SHA-256("meshcall/1/lan" 0x00 | day, u32 big-endian | Ed25519 key)[0:8]
    day  = unix seconds div 86400
"""

from __future__ import annotations

import hashlib
import ipaddress
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from meshcall import limits
from meshcall.address import Address
from meshcall.discovery.rooms import RoomAnnouncement, read_pairs_untrusted, txt_pairs
from meshcall.errors import InvalidPeerId, Rejected
from meshcall.identity import base32
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import clean_name

SERVICE_TYPE: Final = "_meshcall._udp.local."
"""RFC 6763 section 7."""

VERSION: Final = 1
"""Of the TXT record."""

HINT: Final = 8
"""Octets of a hint: enough that two contacts never share one, too few to look an ID up."""

DAY_MS: Final = 86_400_000
"""Milliseconds of a day."""

_HINT_DOMAIN: Final = b"meshcall/1/lan\0"
_NAME_DOMAIN: Final = b"meshcall/1/lan-name\0"


def day_of(now_ms: int) -> int:
    """Days since 1970-01-01 UTC."""
    return now_ms // DAY_MS


def hint(peer_id: PeerId, day: int) -> bytes:
    """What ``peer_id`` shows on the LAN on ``day``: 8 octets."""
    stamp = (day % 2**32).to_bytes(4, "big")
    return hashlib.sha256(_HINT_DOMAIN + stamp + peer_id.key).digest()[:HINT]


def hints_near(peer_id: PeerId, now_ms: int) -> frozenset[bytes]:
    """The hints of yesterday, today and tomorrow: clocks differ, and midnight comes during a party."""
    today = day_of(now_ms)
    return frozenset(hint(peer_id, day) for day in (today - 1, today, today + 1))


def random_label(nonce: bytes, purpose: str) -> str:
    """A DNS label of 16 letters and digits that tells nothing, the same for the same nonce and purpose."""
    digest = hashlib.sha256(_NAME_DOMAIN + purpose.encode() + b"\0" + nonce).digest()
    return base32.encode(digest[:10])


def instance_name(nonce: bytes) -> str:
    """The service's instance name for this start; ``nonce``: 16 random octets, new for each start."""
    return f"{random_label(nonce, 'instance')}.{SERVICE_TYPE}"


def host_name(nonce: bytes) -> str:
    """The host name for this start, for the SRV record."""
    return f"{random_label(nonce, 'host')}.local."


@dataclass(frozen=True, slots=True)
class LanAnnouncement:
    """What the TXT record says."""

    hint: bytes
    """8 octets."""
    visible: PeerId | None = None
    """The ID, if its owner wants to be seen by all."""
    name: str = ""
    """What the owner calls itself; only with ``visible``."""
    rooms: tuple[RoomAnnouncement, ...] = ()
    """Rooms that the owner is in."""

    @classmethod
    def of(
        cls, peer_id: PeerId, now_ms: int, *,
        visible: bool = False, name: str = "", rooms: tuple[RoomAnnouncement, ...] = (),
    ) -> LanAnnouncement:  # fmt: skip
        """Our own for today. ``name`` is cleaned and cut to what fits, of ``rooms`` four are told."""
        shown = clean_name(name) if visible else ""
        told = rooms[: limits.ROOM_ANNOUNCED_MAX]
        return cls(hint(peer_id, day_of(now_ms)), peer_id if visible else None, shown, told)


@dataclass(frozen=True, slots=True)
class LanSeen:
    """A service on the LAN."""

    instance: str
    """Its instance name: tells services apart, nothing else."""
    announcement: LanAnnouncement
    """What it says."""
    addresses: tuple[Address, ...]
    """Where it says that it is; IPv6 link-local ones carry their scope."""


def encode_txt(announcement: LanAnnouncement) -> bytes:
    """The TXT record."""
    pairs = [("v", str(VERSION)), ("h", announcement.hint.hex())]
    if announcement.visible is not None:
        pairs.append(("i", announcement.visible.text))
        if announcement.name:
            pairs.append(("n", announcement.name))
    pairs += txt_pairs(announcement.rooms)
    strings = [f"{key}={value}".encode() for key, value in pairs]
    return b"".join(bytes([len(text)]) + text for text in strings)


def decode_txt_untrusted(data: bytes) -> LanAnnouncement:
    """What a stranger's TXT record says.

    Raises :class:`Rejected`: txt-size, txt (not a row of strings), version, hint, id, name.
    """
    values = _strings_untrusted(data)
    if values.get("v") != b"1":
        raise Rejected("version")
    shown = _hex_untrusted(values.get("h", b""))
    visible, name = None, ""
    if "i" in values:
        try:
            visible = PeerId.parse(values["i"].decode("ascii"))
        except (InvalidPeerId, UnicodeDecodeError):
            raise Rejected("id") from None
        name = _name_untrusted(values.get("n", b""))
    return LanAnnouncement(shown, visible, name, read_pairs_untrusted(values))


def addresses_untrusted(
    ips: Iterable[str], port: int, networks: Iterable[str], *, loopback: bool = False
) -> tuple[Address, ...]:
    """Those of a service's addresses that can be on this LAN, IPv4 and IPv6 taking turns.

    ``networks``: our own interfaces' ("192.0.2.7/24"). An address outside of them is taken only if it is
    private (RFC 1918, RFC 4193); else a spoofer could point our datagrams at anybody. Link-local ones
    need a scope. ``loopback``: this machine has no other network. Cannot fail.
    """
    own = [ipaddress.ip_interface(network).network for network in networks]
    found: dict[int, list[Address]] = {4: [], 6: []}
    if not 0 < port < 65536:
        return ()
    for text in ips:
        try:
            ip = ipaddress.ip_address(text)
        except ValueError:
            continue
        if _plausible(ip, own, loopback=loopback) and (str(ip), port) not in found[ip.version]:
            found[ip.version].append((str(ip), port))
    turns: list[Address] = []
    for place in range(max(len(found[4]), len(found[6]))):
        turns += [addresses[place] for addresses in found.values() if place < len(addresses)]
    return tuple(turns[: limits.LAN_ADDRESSES_MAX])


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _plausible(ip: _Ip, own: list[_Network], *, loopback: bool) -> bool:
    if ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_loopback:
        return loopback
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_link_local:
            return ip.scope_id is not None
        if ip.scope_id is not None or ip.ipv4_mapped is not None:
            return False
    return _private(ip) or any(ip in network for network in own if network.version == ip.version)


_PRIVATE: Final[tuple[_Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7")
)


def _private(ip: _Ip) -> bool:
    return any(ip in network for network in _PRIVATE if network.version == ip.version)


def _strings_untrusted(data: bytes) -> dict[str, bytes]:
    """RFC 6763 section 6.4: keys ignore case, the first of a key counts, an empty key is skipped."""
    if len(data) > limits.LAN_TXT_MAX:
        raise Rejected("txt-size")
    values: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        if end > len(data):
            raise Rejected("txt")
        key, _, value = data[at + 1 : end].partition(b"=")
        if key and key.isascii():
            values.setdefault(key.decode("ascii").lower(), value)
        at = end
    return values


_HEX: Final = frozenset(string.hexdigits.encode())


def _hex_untrusted(text: bytes) -> bytes:
    if len(text) != 2 * HINT or not _HEX.issuperset(text):
        raise Rejected("hint")
    return bytes.fromhex(text.decode("ascii"))


def _name_untrusted(data: bytes) -> str:
    if len(data) > limits.LAN_NAME_MAX:
        raise Rejected("name")
    try:
        name = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("name") from None
    if clean_name(name) != name:
        raise Rejected("name")
    return name
