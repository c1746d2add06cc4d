"""A candidate pair (RFC 8445 section 6.1.2) and what is known of it.

Law: a pair is valid only by an answer to a check of ours: right transaction, right password, right addresses.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum

from meshcall import limits
from meshcall.address import Address
from meshcall.ice.candidate import Candidate

_TYPE_PREFERENCE = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}


class PairState(Enum):
    """RFC 8445 section 6.1.2.6. There is no Frozen: with one stream and one component it would only delay."""

    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Pair:
    """One of our bases with one of the peer's candidates."""

    local: Candidate
    """Host or relayed; or peer-reflexive, once an answer showed that a NAT is between."""
    base: Address
    """Where we send from: the host's address, or the relayed one."""
    remote: Candidate
    priority: int = 0
    state: PairState = PairState.WAITING
    sent: int = 0
    """Checks sent since it was waiting."""
    copies: int = limits.ICE_CHECKS_PER_CANDIDATE
    """How many are sent before it has failed."""
    sent_at: float = field(default=float("-inf"))
    due: float = field(default=float("inf"))
    """When it wants its next check, or gives up."""
    unanswered: int = 0
    """Consent checks since the last answer."""
    asked_at: float = field(default=float("inf"))
    """When the first of them was sent."""
    rtt: float | None = None
    """Seconds of the last answered check."""
    nominated: bool = False
    """Controlling: a check with USE-CANDIDATE was answered."""
    nominated_at: float | None = None
    """Controlled: when the peer's last check with USE-CANDIDATE came."""

    @property
    def destination(self) -> Address:
        """Where we send to."""
        return self.remote.address, self.remote.port

    @property
    def valid(self) -> bool:
        """Whether it carries packets, as far as is known."""
        return self.state is PairState.SUCCEEDED

    @property
    def exhausted(self) -> bool:
        """Whether its last copy is sent and only an answer is waited for."""
        return self.state is PairState.IN_PROGRESS and self.sent >= self.copies

    @property
    def relayed(self) -> bool:
        """Whether our end is a relay's."""
        return self.local.kind == "relay"

    @property
    def indirect(self) -> bool:
        """Whether a relay is between, ours or the peer's: by the ranks, which a check tells, too."""
        return rank(self.local) >> 24 == 0 or rank(self.remote) >> 24 == 0

    def wait(self, copies: int) -> None:
        """Be checked anew, so often."""
        self.state, self.sent, self.unanswered, self.copies = PairState.WAITING, 0, 0, copies

    def suspect(self, now: float) -> None:
        """Something happened that may have killed it."""
        if not self.unanswered:
            self.unanswered, self.asked_at = 1, now

    def in_doubt(self, now: float) -> bool:
        """Whether an answer is overdue."""
        patience = max(limits.ICE_DOUBT, 2 * (self.rtt or 0.0))
        return self.unanswered > 0 and now - self.asked_at >= patience

    def __str__(self) -> str:
        return f"{self.local.kind} {self.base[0]} -> {self.remote.kind} {self.remote.address}"


def base_of(candidate: Candidate) -> Address:
    """The base of a candidate of ours (RFC 8445 section 4).

    A host candidate whose socket is bound to no single address names that socket as related.
    """
    if candidate.kind != "relay" and candidate.related is not None:
        return candidate.related
    return candidate.address, candidate.port


def candidate_priority(kind: str, address: str, index: int = 0) -> int:
    """RFC 8445 section 5.1.2.1; IPv6 before IPv4 (RFC 8421 section 4); ``index``: of our interfaces."""
    local = 65535 - 2 * index - (0 if ":" in address else 1)
    return _TYPE_PREFERENCE[kind] << 24 | local << 8 | 255


def as_peer_reflexive(priority: int, kind: str) -> int:
    """PRIORITY of a check from a candidate (RFC 8445 section 7.1.1).

    A relayed one keeps its rank: whoever learns it from the check must not take it for a direct path.
    """
    if kind == "relay":
        return priority
    return _TYPE_PREFERENCE["prflx"] << 24 | priority & 0xFFFFFF


def rank(candidate: Candidate) -> int:
    """Its priority; a relayed one never ranks as a direct one, whatever its owner says."""
    return candidate.priority & 0xFFFFFF if candidate.kind == "relay" else candidate.priority


def pair_priority(local: int, remote: int, *, controlling: bool) -> int:
    """RFC 8445 section 6.1.2.3."""
    controller, controlled = (local, remote) if controlling else (remote, local)
    return min(controller, controlled) << 32 | 2 * max(controller, controlled) + (controller > controlled)


def can_pair(local: Candidate, remote: Candidate) -> bool:
    """Whether packets from our candidate could reach the other (RFC 8445 section 6.1.2.2)."""
    if remote.transport != "udp" or remote.is_mdns:
        return False
    here, there = (ipaddress.ip_address(one.address.partition("%")[0]) for one in (local, remote))
    if here.version != there.version:
        return False
    if here.is_unspecified:
        return True  # the socket of all interfaces
    if local.kind == "relay":
        return not (there.is_loopback or there.is_link_local)
    if here.is_loopback != there.is_loopback:
        return False
    return here.version == 4 or here.is_link_local == there.is_link_local
