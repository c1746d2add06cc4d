"""What all parts of one engine share: identity, tables, tokens, timers, output.

Law 1: a contact enters a table only through :meth:`Core.admit`, after its proof.
Law 2: what is written to ``out`` and ``events`` is never read here; the shell drains both after every input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from meshcall.address import Address, is_lan
from meshcall.dht.alarms import Alarms
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.compact import NodeInfo, family, is_impossible, is_martian, unpack_address_untrusted
from meshcall.dht.contact import Contact, node_id_of
from meshcall.dht.events import Event, Notified
from meshcall.dht.messages import (
    DIGEST_SIZE,
    EPHEMERAL,
    LENDS,
    Message,
    Nodes,
    Pong,
    Refused,
    RelayAsk,
    Response,
    Values,
    encode_frame,
)
from meshcall.dht.networks import NetworkCount
from meshcall.dht.table import Table
from meshcall.dht.tokens import TokenMint
from meshcall.dht.transactions import Call, Transactions
from meshcall.dht.watches import WatchBook
from meshcall.identity.keys import Random, SigningKey
from meshcall.limits import (
    DHT_ACK_LIFE,
    DHT_ACKS_KEPT,
    DHT_EVICTION_IDLE,
    DHT_FAILURES_MAX,
    DHT_HOLDERS_KEPT,
    DHT_K,
    DHT_NOTIFIED_KEPT,
    DHT_NOTIFIED_LIFE,
    DHT_OBSERVED_KEPT,
    DHT_RECENT_KEPT,
    DHT_TOKEN_ROTATION,
    DHT_TOKENS_KEPT,
    DHT_UNREACHABLE_KEPT,
    DHT_UNREACHABLE_TIME,
    DHT_WATCH_LEASE,
    DHT_WATCH_LOOKUP,
    DHT_WITNESSES_MIN,
    RELAY_LENDERS_HEARD,
    RELAY_LENDERS_LIFE,
)
from meshcall.record.codec import Record
from meshcall.record.store import RecordStore


class Consider(Protocol):
    """What is told of every node that is heard (``Verifier.consider``)."""

    def __call__(self, node_id: bytes, address: Address, flags: int, now: float, *, proven: bool) -> None:
        """``proven``: it answered a request of ours, so it is at ``address``."""


def _ignore(node_id: bytes, address: Address, flags: int, now: float, *, proven: bool) -> None:
    """Until there is a verifier."""


def _ignore_observed(node: Address, seen: Address, now: float) -> None:
    """Until somebody wants to be told."""


Lend = Callable[[RelayAsk, Address, float], tuple[int, bytes]]
"""(ask, asker, now) -> (reason, sealed grant): who lends a relay answers so (``meshcall.turn.lending``)."""


class CheckRecord(Protocol):
    """``meshcall.record.validation.check_record_untrusted``, or what a test puts in its place."""

    def __call__(self, data: bytes, at: bytes | None = None) -> Record:
        """The record in ``data``; raises Rejected."""


def digest(record: bytes) -> bytes:
    """Names a record among the few under one key: SHA-256, first 8 octets."""
    return sha256(record).digest()[:DIGEST_SIZE]


class Core:
    """Shared state of one engine."""

    __slots__ = (  # with thirty names a dictionary of its own would take 1.6 kB
        "_notified",
        "_observed",
        "acks",
        "alarms",
        "check_record",
        "consider",
        "counters",
        "events",
        "holders",
        "lan",
        "lend",
        "lenders",
        "lost",
        "mint",
        "node_id",
        "node_key",
        "on_observed",
        "out",
        "own_keys",
        "random",
        "recent",
        "recheck",
        "routes",
        "seeds",
        "store",
        "tables",
        "tokens",
        "transactions",
        "unreachable",
        "watches",
    )  # fmt: skip

    def __init__(
        self,
        node_key: SigningKey,
        *,
        random: Random,
        routes: bool,
        lan: bool,
        store: RecordStore,
        check_record: CheckRecord,
        now: float,
    ) -> None:
        self.node_key = node_key
        self.node_id = node_id_of(node_key.public)
        self.random = random
        self.routes = routes
        """Whether others may put us into their tables."""
        self.lan = lan
        """All nodes share a LAN: their addresses tell nothing about who they are."""
        self.store = store
        self.check_record = check_record
        self.out: list[tuple[bytes, Address]] = []
        self.events: list[Event] = []
        self.counters: Counter[str] = Counter()
        self.alarms = Alarms()
        self.transactions = Transactions(random, self.alarms, self.out, self.counters)
        self.transactions.on_unanswered = self._unanswered
        self.mint = TokenMint(random, now)
        self.watches = WatchBook()
        self.tables = {n: Table(self.node_id, one_network=lan, now=now) for n in (4, 6)}
        self.tokens: ExpiringCache[Address, bytes] = ExpiringCache(DHT_TOKENS_KEPT, DHT_TOKEN_ROTATION)
        """Tokens that others gave us."""
        self.unreachable: ExpiringCache[Address, bool] = ExpiringCache(
            DHT_UNREACHABLE_KEPT, DHT_UNREACHABLE_TIME
        )
        self.recent: ExpiringCache[bytes, tuple[NodeInfo, ...]] = ExpiringCache(
            DHT_RECENT_KEPT, DHT_WATCH_LOOKUP
        )
        """The closest nodes of keys looked up lately."""
        self.seeds: list[Address] = []
        """Where to start when the tables are empty: addresses of bootstrap and of the saved state."""
        self.lost: list[Address] = []
        """Contacts that left the tables last: after a long outage they may be back."""
        self.own_keys: Counter[bytes] = Counter()
        """Keys that we watch, with how many operations want them."""
        self.holders: ExpiringCache[tuple[bytes, Address], bool] = ExpiringCache(
            DHT_HOLDERS_KEPT, 2 * DHT_WATCH_LEASE
        )
        """(key, address) of the nodes that we asked to notify us."""
        self._notified: ExpiringCache[bytes, bool] = ExpiringCache(DHT_NOTIFIED_KEPT, DHT_NOTIFIED_LIFE)
        self._observed: dict[Address, Address] = {}
        self.on_observed: Callable[[Address, Address, float], None] = _ignore_observed
        """Told of each answer: who sees us where."""
        self.acks: ExpiringCache[tuple[bytes, Address], Callable[[int, float], None]] = ExpiringCache(
            DHT_ACKS_KEPT, DHT_ACK_LIFE
        )
        """(transaction id, address) of our delivers: who is told of watchers that have the record."""
        self.lend: Lend | None = None
        """None: this node lends no relay."""
        self.lenders: ExpiringCache[Address, bytes] = ExpiringCache(RELAY_LENDERS_HEARD, RELAY_LENDERS_LIFE)
        """Nodes that answered us and lend a relay, with their ids."""
        self.consider: Consider = _ignore
        self.recheck: Callable[[Contact, float], None] = lambda contact, now: None
        """Ping a contact for whose place somebody waits."""

    # --- who we are ---

    @property
    def flags(self) -> int:
        """Flags of our frames."""
        return (0 if self.routes else EPHEMERAL) | (0 if self.lend is None else LENDS)

    def send(self, message: Message, address: Address) -> None:
        """One frame out."""
        self.out.append((encode_frame(message), address))

    def observed(self, wanted: int = 4) -> Address | None:
        """Our address of family 4 or 6 as most nodes see it."""
        votes = Counter(seen for seen in self._observed.values() if family(seen) == wanted)
        return votes.most_common(1)[0][0] if votes else None

    def is_foreign(self, seen: Address, responder: Address) -> bool:
        """Whether ``seen`` is certainly not where our request to ``responder`` came from.

        It is not the responder's own address; and if it is public, others must see us at that IP too, once
        enough of them have said where they see us. A machine with several uplinks is seen at each by several.
        """
        if seen == responder:
            return True
        if is_lan(seen[0]):
            return False  # several interfaces are usual there, and each is seen by its own LAN alone
        votes = {
            witness[0]: ours[0]
            for witness, ours in self._observed.items()
            if witness[0] != responder[0] and family(ours) == family(seen) and not is_lan(ours[0])
        }
        agreeing = sum(ip == seen[0] for ip in votes.values())
        return len(votes) >= DHT_WITNESSES_MIN and agreeing < DHT_WITNESSES_MIN // 2

    def is_own(self, address: Address) -> bool:
        """Whether ``address`` is where others see us."""
        return address in (self.observed(4), self.observed(6))

    def is_martian(self, address: Address, told_by: Address) -> bool:
        """Whether nobody can be at ``address``, or ``told_by`` can't know of it.

        On a LAN all may know, but a neighbour that also has the internet does not lead us out there.
        """
        if self.lan:
            return is_impossible(address) or (is_lan(told_by[0]) and not is_lan(address[0]))
        return is_martian(address, told_by)

    # --- tables ---

    def contacts(self) -> list[Contact]:
        """All contacts."""
        return [*self.tables[4], *self.tables[6]]

    def closest(self, target: bytes, k: int = DHT_K) -> list[Contact]:
        """The ``k`` closest healthy contacts of both families; of a node with both the address heard last."""
        found = self.tables[4].closest(target, k, healthy=True)
        if len(self.tables[6]):
            goal = int.from_bytes(target, "big")
            found += self.tables[6].closest(target, k, healthy=True)
            found.sort(key=lambda contact: (contact.long_id ^ goal, -contact.last_seen, contact))
            found = list({contact.id: contact for contact in reversed(found)}.values())[::-1]
        return found[:k]

    def looked_up(self, target: bytes, now: float) -> None:
        """A lookup goes through the ranges of ``target``: they need no refresh for a while."""
        for table in self.tables.values():
            table.bucket(target).refreshed = now

    def networks(self) -> NetworkCount:
        """Counts the voices in a result."""
        return NetworkCount(lifted=self.lan)

    def wants(self, node_id: bytes, address: Address) -> bool:
        """Whether a proven node there would enter a table."""
        if node_id == self.node_id or "%" in address[0]:
            return False  # a link-local address means nothing to those we would tell of it
        table = self.tables[family(address)]
        known = table.get(node_id)
        if known is not None:
            return known.address != address and known.failures > 0
        return table.wants(node_id, address[0])

    def ready(self, address: Address, now: float) -> bool:
        """Whether we may write to ``address`` at once: it gave us a token, and did not fail since."""
        return bool(self.tokens.get(address, now)) and not self.unreachable.get(address, now)

    def admit(self, node_id: bytes, address: Address, now: float) -> Contact | None:
        """Put a node that proved its id into its table. A live contact keeps its place and its address."""
        if not self.wants(node_id, address):
            return None
        table = self.tables[family(address)]
        for other in [c for c in table.all_contacts() if c.address == address]:
            table.remove_contact(other)  # it has a new key now
        contact = Contact(node_id, address, last_seen=now)
        placed = table.add_contact(contact)
        self.counters["admitted" if placed else "queued"] += 1
        if not placed:
            oldest = min(table.bucket(node_id).contacts(), key=lambda c: c.last_seen, default=None)
            if oldest is not None and now - oldest.last_seen > DHT_EVICTION_IDLE:
                self.recheck(oldest, now)
        return contact

    def answered(self, call: Call, message: Response, now: float) -> None:
        """A request of ours was answered: what that says about the node, its token and our address."""
        address = call.address
        self.unreachable.discard(address)
        if message.flags & LENDS:
            self.lenders.put(address, message.sender, now)
        if isinstance(message, Pong | Nodes | Values | Refused) and message.token:
            self.tokens.put(address, message.token, now)
        self._note_observed(address, message.observed, now)
        table = self.tables[family(address)]
        if call.node_id is not None and call.node_id != message.sender:
            self.counters["id-changed"] += 1  # believed, and the old contact dropped, when it has proved it
        contact = table.get(message.sender)
        if contact is not None and contact.address == address:
            if message.flags & EPHEMERAL:
                table.remove_contact(contact)
            else:
                table.seen(contact, now)
        else:
            self.consider(message.sender, address, message.flags, now, proven=True)

    def _unanswered(self, call: Call, now: float) -> None:
        self.unreachable.put(call.address, True, now)
        if call.node_id is None:
            return
        table = self.tables[family(call.address)]
        contact = table.get(call.node_id)
        if contact is not None and contact.address == call.address:
            contact.failures += 1
            if contact.failures >= DHT_FAILURES_MAX:
                table.remove_contact(contact)
                self.counters["evicted"] += 1
                self.lost = [*self.lost, contact.address][-DHT_K:]

    def _note_observed(self, responder: Address, packed: bytes, now: float) -> None:
        seen = unpack_address_untrusted(packed)  # sizes were checked by the decoder
        self._observed.pop(responder, None)
        self._observed[responder] = seen
        if len(self._observed) > DHT_OBSERVED_KEPT:
            del self._observed[next(iter(self._observed))]
        self.on_observed(responder, seen, now)

    def forget_place(self) -> None:
        """Forget what holds only for the address we had: witnesses, tokens, who seemed dead from there."""
        self._observed.clear()
        self.tokens.clear()
        self.unreachable.clear()

    # --- our own watches ---

    def watch_key(self, key: bytes) -> None:
        """Records under ``key`` are for us."""
        self.own_keys[key] += 1

    def unwatch_key(self, key: bytes) -> None:
        """One of those who wanted ``key`` does no more."""
        self.own_keys[key] -= 1
        if self.own_keys[key] <= 0:
            del self.own_keys[key]

    def notify_us(self, record: bytes, key: bytes, via: Address, now: float, age: int = 0) -> None:
        """Hand a valid record to the application, once; ``age``: seconds that ``via`` has kept it."""
        name = key + digest(record)
        if self._notified.get(name, now):
            self.counters["notify-again"] += 1
            return
        self._notified.put(name, True, now)
        self.events.append(Notified(record, key, via, age))
