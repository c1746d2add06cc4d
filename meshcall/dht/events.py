"""What the engine tells its shell. All are frozen; ``op`` is the number that the start function returned."""

from __future__ import annotations

from dataclasses import dataclass

from meshcall.address import Address


@dataclass(frozen=True, slots=True)
class ValueFound:
    """A find has a record that it did not have before."""

    op: int
    record: bytes
    """Valid in itself and stored under the key asked for."""
    source: Address | None
    """Who had it; None: this node itself."""
    age: int = 0
    """Seconds of its life that have passed, as who had it says."""


@dataclass(frozen=True, slots=True)
class AskedNode:
    """One node that a lookup asked."""

    node_id: bytes | None
    """None: nobody said, and it did not answer."""
    address: Address
    answered: bool
    rtt: float | None
    """Seconds."""
    hop: int
    """1: known before; n + 1: named by one of hop n."""
    closest: bool
    """One of the closest of all that answered."""
    silent: bool
    """Its time ran out; neither this nor ``answered``: it was not waited for."""
    values: int
    """Records of the key that it has, as it says."""


@dataclass(frozen=True, slots=True)
class FindDone:
    """The find has heard of everybody it needs to."""

    op: int
    values: int
    requests: int
    asked: tuple[AskedNode, ...] = ()
    """Closest first, if the find was traced."""


@dataclass(frozen=True, slots=True)
class LookupDone:
    """The closest nodes that answered."""

    op: int
    closest: tuple[tuple[bytes, Address], ...]
    requests: int


@dataclass(frozen=True, slots=True)
class StoreDone:
    """The record has been offered to the closest nodes."""

    op: int
    stored: int
    """Copies acknowledged so far."""
    asked: int


@dataclass(frozen=True, slots=True)
class DeliverProgress:
    """A node took the record, or a watcher has it."""

    op: int
    stored: int
    watchers: int
    asked: int
    acked: int = 0
    """Most watchers behind any one node that have acknowledged it: it has reached their machines."""


@dataclass(frozen=True, slots=True)
class DeliverDone:
    """The record has been offered to all nodes that are to get it."""

    op: int
    stored: int
    """Nodes that keep a copy."""
    watchers: int
    """Most watchers that any one node pushed it to."""
    asked: int
    acked: int = 0
    """Most of these that have acknowledged it so far."""


@dataclass(frozen=True, slots=True)
class WatchChanged:
    """How many nodes hold our watch now."""

    op: int
    holders: int


@dataclass(frozen=True, slots=True)
class PingDone:
    """The node answered (``rtt`` in seconds) or did not (None)."""

    op: int
    address: Address
    node_id: bytes | None
    rtt: float | None
    proof: str = ""
    """If it was asked to prove its id: "proven", or why that is not believed."""
    routes: bool = False
    """It says that it takes part in routing."""
    observed: Address | None = None
    """Our address as it sees it."""


@dataclass(frozen=True, slots=True)
class RelayAsked:
    """What a node said when it was asked to lend a relay."""

    op: int
    address: Address
    node_id: bytes | None
    """Who answered; None: nobody did."""
    reason: int | None
    """``RELAY_...`` of :mod:`meshcall.dht.messages`; None: there was no answer."""
    sealed: bytes
    """The grant, for :func:`meshcall.turn.grant.open_grant_untrusted`."""
    rtt: float | None
    """Seconds of the last exchange."""


@dataclass(frozen=True, slots=True)
class VouchDone:
    """Whether the node gave that token to that address; None: it did not say."""

    op: int
    vouched: bool | None


@dataclass(frozen=True, slots=True)
class BootstrapDone:
    """The network was joined through ``answered`` of the given addresses, or not at all (0)."""

    op: int
    answered: int


@dataclass(frozen=True, slots=True)
class Notified:
    """A record under a key that we watch, for the first time."""

    record: bytes
    storage_key: bytes
    via: Address
    """The node that pushed it, or the sender itself: answers go there."""
    age: int = 0
    """Seconds that ``via`` says it has kept the record; 0: it came just now."""


Event = (
    ValueFound
    | FindDone
    | LookupDone
    | StoreDone
    | DeliverProgress
    | DeliverDone
    | WatchChanged
    | PingDone
    | RelayAsked
    | VouchDone
    | BootstrapDone
    | Notified
)
