"""ICE candidates (RFC 8445): the value, its octets, its SDP line (RFC 8839 section 5.1), and the filter.

Law 1: an address is a numeric IP or a browser's ``<uuid>.local``; no other name exists here.
Law 2: a peer's candidates pass :func:`filter_untrusted` before one packet is sent to them.
Law 3: foundation and related address do not travel: the first is derived, the second is nobody's business.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from meshcall.address import METADATA, Address
from meshcall.errors import Rejected
from meshcall.ice.notes import NOTE_FAMILY, Note, encode_notes, read_note_untrusted
from meshcall.ice.octets import Octets
from meshcall.limits import (
    CANDIDATE_PORT_MIN,
    CANDIDATE_PRIORITY_MAX,
    CANDIDATES_MAX,
    CANDIDATES_PER_ADDRESS_MAX,
    DESCRIPTION_MAX,
    NOTES_MAX,
)

KINDS = ("host", "srflx", "prflx", "relay")
_TRANSPORTS = (("udp", ""), ("tcp", "active"), ("tcp", "passive"), ("tcp", "so"))
_IPV4, _IPV6, _MDNS = 0, 1, 2

_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]{1,32}")
_MDNS_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.local")
_SCOPED = re.compile(r"fe80:[0-9a-f:]+(%[A-Za-z0-9_.-]{1,15})?")

_SHARED = ipaddress.IPv4Network("100.64.0.0/10")  # RFC 6598: behind a carrier's NAT
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: where the IPv4 address is in it, who knows
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 section 2.5.5.1, deprecated


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transport address that a peer may be reached at."""

    kind: str
    """``host``, ``srflx``, ``prflx`` or ``relay``."""
    transport: str
    """``udp`` or ``tcp``."""
    address: str
    """Numeric IP, or ``<uuid>.local`` (see :attr:`is_mdns`)."""
    port: int
    priority: int
    """RFC 8445 section 5.1.2, 1 to 2**31 - 1; travels exactly."""
    foundation: str = field(default="", compare=False)
    """RFC 8445 section 5.1.1.3; empty means: derive it (:attr:`any_foundation`)."""
    component: int = 1
    """Always 1: RTP and RTCP share it (RFC 8834 section 4.5)."""
    related: Address | None = field(default=None, compare=False)
    """The base of a reflexive or relayed candidate, where its owner knows it."""
    tcptype: str = ""
    """RFC 6544: ``active``, ``passive`` or ``so``; empty with UDP."""

    @property
    def is_mdns(self) -> bool:
        """Whether the address is a browser's ``<uuid>.local`` that must be resolved by mDNS first."""
        return self.address.endswith(".local")

    @property
    def any_foundation(self) -> str:
        """The foundation, or one derived from kind, transport and address."""
        if self.foundation:
            return self.foundation
        key = f"{self.kind}|{self.transport}|{self.address}".encode()
        return str(int.from_bytes(hashlib.sha256(key).digest()[:4], "big"))


def is_mdns_name(text: str) -> bool:
    """Whether it is a name as browsers make them."""
    return _MDNS_NAME.fullmatch(text) is not None


def flaw(candidate: Candidate) -> str | None:
    """What is wrong with a candidate's fields, as a short word; None when nothing is."""
    if candidate.kind not in KINDS:
        return "kind"
    if (candidate.transport, candidate.tcptype) not in _TRANSPORTS:
        return "transport"
    if candidate.component != 1:
        return "component"
    if not 0 < candidate.port < 65536:
        return "port"
    if not 0 < candidate.priority <= CANDIDATE_PRIORITY_MAX:
        return "priority"
    if candidate.foundation and not _ICE_CHARS.fullmatch(candidate.foundation):
        return "foundation"
    if not _is_address(candidate.address):
        return "address"
    return None


def _is_address(text: str) -> bool:
    """A canonical numeric IP (a scope only on fe80::/10), or an mDNS name as browsers make them."""
    if "%" in text:
        return _SCOPED.fullmatch(text) is not None and _is_address(text.partition("%")[0])
    if text.endswith(".local"):
        return is_mdns_name(text)
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


# --- octets ---------------------------------------------------------------------------------------
#
#  0  u8   kind << 6 | transport << 4 | family << 2 | 0
#            kind       0 host, 1 srflx, 2 prflx, 3 relay
#            transport  0 udp, 1 tcp active, 2 tcp passive, 3 tcp so
#            family     0 IPv4, 1 IPv6, 2 mDNS name; 3: no candidate but a note (notes.py)
#  1  4    IPv4 address; or 16 octets of IPv6 address; or 16 octets of the UUID in <uuid>.local
#  5  u16  port, not 0
#  7  u32  priority, 1 to 2**31 - 1
# 11       (23 with IPv6 and mDNS)


def encode_candidate(candidate: Candidate) -> bytes:
    """11 or 23 octets; a scope is left out. Raises :class:`ValueError` on a candidate with a flaw."""
    if reason := flaw(candidate):
        raise ValueError(f"candidate has no valid {reason}: {candidate}")
    if candidate.is_mdns:
        family, host = _MDNS, uuid.UUID(candidate.address.removesuffix(".local")).bytes
    else:
        ip = ipaddress.ip_address(candidate.address.partition("%")[0])
        family, host = (_IPV4 if ip.version == 4 else _IPV6), ip.packed
    transport = _TRANSPORTS.index((candidate.transport, candidate.tcptype))
    head = KINDS.index(candidate.kind) << 6 | transport << 4 | family << 2
    return bytes([head]) + host + candidate.port.to_bytes(2, "big") + candidate.priority.to_bytes(4, "big")


def encode_candidates(candidates: Iterable[Candidate], notes: Iterable[Note] = ()) -> bytes:
    """One candidate after the other, nothing between, then the notes; raises :class:`ValueError`."""
    return b"".join(encode_candidate(candidate) for candidate in candidates) + encode_notes(notes)


def read_items_untrusted(octets: Octets) -> tuple[tuple[Candidate, ...], tuple[Note, ...]]:
    """Candidates and notes up to the end, all checked; raises Rejected.

    The first ``CANDIDATES_MAX`` and ``NOTES_MAX`` are kept; notes of unknown types are not.
    """
    candidates: list[Candidate] = []
    notes: list[Note] = []
    while octets.left:
        if octets.peek() >> 2 & 3 == NOTE_FAMILY:
            note = read_note_untrusted(octets)
            if note is not None and len(notes) < NOTES_MAX:
                notes.append(note)
            continue
        candidate = _read_candidate(octets)
        if len(candidates) < CANDIDATES_MAX:
            candidates.append(candidate)
    return tuple(candidates), tuple(notes)


def decode_items_untrusted(data: bytes) -> tuple[tuple[Candidate, ...], tuple[Note, ...]]:
    """What :func:`encode_candidates` made; raises :class:`Rejected` and nothing else."""
    if len(data) > DESCRIPTION_MAX:
        raise Rejected("size")
    return read_items_untrusted(Octets(data))


def decode_candidates_untrusted(data: bytes) -> tuple[Candidate, ...]:
    """The candidates of :func:`decode_items_untrusted`."""
    return decode_items_untrusted(data)[0]


def _read_candidate(octets: Octets) -> Candidate:
    head = octets.u8()
    family = head >> 2 & 3
    if head & 3:
        raise Rejected("candidate")
    if family == _IPV4:
        address = str(ipaddress.IPv4Address(octets.take(4)))
    elif family == _IPV6:
        address = str(ipaddress.IPv6Address(octets.take(16)))
    else:  # _MDNS: notes were told apart before
        address = f"{uuid.UUID(bytes=octets.take(16))}.local"
    transport, tcptype = _TRANSPORTS[head >> 4 & 3]
    port = octets.u16()
    priority = octets.u32()
    candidate = Candidate(KINDS[head >> 6], transport, address, port, priority, tcptype=tcptype)
    if flaw(candidate):
        raise Rejected("candidate")
    return candidate


# --- the line in SDP ------------------------------------------------------------------------------


def candidate_line(candidate: Candidate) -> str:
    """``candidate:...`` as RFC 8839 section 5.1 has it, without ``a=``; raises :class:`ValueError`.

    Nothing but checked characters gets into the line, so it is one line whatever a peer sent.
    """
    related = candidate.related
    if reason := flaw(candidate) or (related is not None and not _is_address(related[0]) and "related"):
        raise ValueError(f"candidate has no valid {reason}: {candidate}")
    line = (
        f"candidate:{candidate.any_foundation} {candidate.component} {candidate.transport} "
        f"{candidate.priority} {candidate.address} {candidate.port} typ {candidate.kind}"
    )
    if candidate.kind != "host":
        # The RFC wants raddr and rport here; browsers that hide the base write zeros, and so do we.
        host, port = related or ("::" if ":" in candidate.address else "0.0.0.0", 0)  # noqa: S104 - not a bind
        line += f" raddr {host} rport {int(port)}"
    if candidate.tcptype:
        line += f" tcptype {candidate.tcptype}"
    return line


def parse_candidate_line(line: str) -> Candidate:
    """A line of our own stack, with or without ``a=`` and ``candidate:``; raises :class:`ValueError`.

    Attributes that WebRTC stacks add (generation, network-id, ufrag) are left out.
    """
    words = line.strip().removeprefix("a=").removeprefix("candidate:").split()
    if len(words) < 8 or words[6] != "typ":
        raise ValueError(f"not a candidate line: {line!r}")
    extra = dict(zip(words[8::2], words[9::2], strict=False))
    related = None
    if "raddr" in extra and _is_address(extra["raddr"].lower()):
        related = (extra["raddr"].lower(), int(extra.get("rport", "0")))
    candidate = Candidate(
        kind=words[7],
        transport=words[2].lower(),
        address=_canonical(words[4].lower()),
        port=int(words[5]),
        priority=int(words[3]),
        foundation=words[0],
        component=int(words[1]),
        related=related,
        tcptype=extra.get("tcptype", ""),
    )
    if reason := flaw(candidate):
        raise ValueError(f"candidate has no valid {reason}: {line!r}")
    return candidate


def _canonical(address: str) -> str:
    return address if address.endswith(".local") else str(ipaddress.ip_address(address))


# --- choosing -------------------------------------------------------------------------------------


def select_candidates(candidates: Iterable[Candidate], limit: int = CANDIDATES_MAX) -> tuple[Candidate, ...]:
    """At most ``limit`` of our own candidates, without duplicates.

    The best of every kind and family comes before the second best of any, so that ten virtual
    interfaces do not push out the relay. The result is in order of priority.
    """
    groups: Counter[tuple[str, str, bool]] = Counter()
    ranked: list[tuple[int, int, Candidate]] = []
    for candidate in sorted(dict.fromkeys(candidates), key=lambda item: -item.priority):
        group = (candidate.kind, candidate.transport, ":" in candidate.address)
        ranked.append((groups[group], -candidate.priority, candidate))
        groups[group] += 1
    ranked.sort(key=lambda item: item[:2])
    return tuple(sorted((item[2] for item in ranked[:limit]), key=lambda item: -item.priority))


@dataclass(frozen=True, slots=True)
class CandidatePolicy:
    """Which of a peer's candidates may get packets from us."""

    allow_loopback: bool = False
    """127.0.0.0/8 and ::1: only for several nodes on one machine."""
    allow_lan: bool = True
    """Private, shared and link-local ranges: for contacts and peers on the LAN, not for strangers."""
    allow_mdns: bool = False
    """``<uuid>.local``: only where the next step resolves them."""
    link_local_scope: str = ""
    """Interface through which the peer was met; without it fe80::/10 is dropped."""
    min_port: int = CANDIDATE_PORT_MIN
    max: int = CANDIDATES_MAX
    max_per_address: int = CANDIDATES_PER_ADDRESS_MAX


def can_be_relayed(address: Address) -> bool:
    """Whether a server can lend that address: it may say any.

    Loopback is one (a relay on this machine); whether anybody sends there is his own policy.
    """
    policy = CandidatePolicy(allow_loopback=True)
    return refusal(Candidate("relay", "udp", *address, 1), policy) is None


def filter_untrusted(
    candidates: Sequence[Candidate], policy: CandidatePolicy, counters: Counter[str] | None = None
) -> list[Candidate]:
    """Those of a peer's candidates that may be checked, in the peer's order, at most ``policy.max``.

    ``counters`` counts the others by reason. Never raises.
    """
    kept: list[Candidate] = []
    per_address: Counter[str] = Counter()
    seen: set[tuple[str, str, int]] = set()
    for candidate in candidates:
        key = (candidate.transport, candidate.address, candidate.port)
        if len(kept) >= policy.max:
            reason: str | None = "too-many"
        elif key in seen:
            reason = "duplicate"
        elif per_address[candidate.address] >= policy.max_per_address:
            reason = "port-scan"
        else:
            reason = refusal(candidate, policy)
        if reason is None:
            seen.add(key)
            per_address[candidate.address] += 1
            kept.append(_scoped(candidate, policy.link_local_scope))
        elif counters is not None:
            counters[reason] += 1
    return kept


def _scoped(candidate: Candidate, scope: str) -> Candidate:
    if scope and candidate.address.startswith("fe80:") and "%" not in candidate.address:
        return replace(candidate, address=f"{candidate.address}%{scope}")
    return candidate


def refusal(candidate: Candidate, policy: CandidatePolicy) -> str | None:
    """Why ``policy`` forbids packets to a candidate, as a short word; None when it allows them."""
    if reason := flaw(candidate):
        return reason
    if candidate.transport == "tcp" and candidate.tcptype == "active":
        return "transport"  # its port is a placeholder (RFC 6544 section 4.5): there is nothing to send to
    if candidate.is_mdns and not policy.allow_mdns:
        return "name"
    if candidate.port < policy.min_port:
        return "port"
    if candidate.is_mdns:
        return None
    ip = ipaddress.ip_address(candidate.address)
    return _refused_v4(ip, policy) if isinstance(ip, ipaddress.IPv4Address) else _refused_v6(ip, policy)


def _refused_v4(ip: ipaddress.IPv4Address, policy: CandidatePolicy) -> str | None:
    if ip.is_multicast or int(ip) >> 24 == 0 or int(ip) >> 28 == 15 or str(ip) in METADATA:
        return "address"  # 224/4, 0/8, 240/4 with the broadcast address
    if ip.is_loopback:
        return None if policy.allow_loopback else "loopback"
    if ip.is_private or ip.is_link_local or ip in _SHARED:
        return None if policy.allow_lan else "lan"
    return None


def _refused_v6(ip: ipaddress.IPv6Address, policy: CandidatePolicy) -> str | None:
    if ip.is_loopback:
        return None if policy.allow_loopback else "loopback"
    if ip.is_multicast or ip.is_site_local or ip.ipv4_mapped or str(ip) in METADATA:
        return "address"
    if ip in _COMPATIBLE or ip in _NAT64_LOCAL:
        return "address"
    embedded = ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
    if embedded is not None:
        return _refused_v4(embedded, CandidatePolicy(allow_lan=False))
    if ip.is_link_local:
        if not str(ip).startswith("fe80:"):
            return "address"  # RFC 4291 section 2.5.6: the other bits are zero
        if not (ip.scope_id or policy.link_local_scope):
            return "scope"
        return None if policy.allow_lan else "lan"
    return None if policy.allow_lan or not ip.is_private else "lan"
