"""What the post hands out and takes back: letters that came, offers that left, how far they got."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshcall.address import Address
from meshcall.aio.dht import Delivery
from meshcall.finder import Found
from meshcall.identity.keys import AgreementKey
from meshcall.record.codec import RecordType
from meshcall.signaling.envelope import Opened
from meshcall.signaling.messages import MessageKind
from meshcall.signaling.rendezvous import Rendezvous


@dataclass(slots=True)
class SentOffer:
    """An offer, or a letter about a room, of ours, and where its replies come to."""

    call_id: bytes
    found: Found
    record: bytes = field(repr=False)
    inner_hash: bytes
    reply_key: AgreementKey = field(repr=False)
    box: Rendezvous = field(repr=False)
    deliveries: list[Delivery] = field(default_factory=list)
    on_dht: bool = False
    """Whether it went through the DHT, too, when the peer was found on the LAN."""

    @property
    def box_key(self) -> bytes:
        """The storage key that replies are delivered to, 20 octets."""
        return self.box.storage_key(RecordType.MAILBOX)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that passed all gates, and how it came."""

    opened: Opened
    via: Address
    """The node that pushed it, or the peer itself: answers go there."""
    age: int = 0
    """Seconds for which ``via`` says that it has kept it, and its date allows: one liar ends no call."""
    late: bool = False
    """It is older than the gates allow, for it was kept while we were away: it tells, and begins nothing."""
    key: bytes = b""
    """The storage key that it came by."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more for what it asks."""
        return self.late or self.age > self.opened.valid_s

    @property
    def is_from_caller(self) -> bool:
        """Whether it follows an offer, to where the callee was found."""
        return self.opened.kind in (MessageKind.CANDIDATES, MessageKind.HANGUP)


@dataclass(slots=True)
class PostReport:
    """How far a delivery got."""

    watchers: int
    stored: int
