"""What this node does for others: answers requests, keeps records and watches, pushes.

Law 1: one dispatch table; a request never names code.
Law 2: a reply is at most three times its request until the sender has shown a token.
Law 3: nothing is stored, pushed or watched without a token, and no record without its signature checked.
Law 4: only so many requests per address and in all are looked at, before anything else is done for them.
Law 5: nobody is sent anything unasked, except the holder of a watch and who asked to be dialled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshcall.address import Address, is_lan
from meshcall.dht.caches import ExpiringCache
from meshcall.dht.compact import family, pack_address, pack_nodes, unpack_address_untrusted
from meshcall.dht.contact import proof_message
from meshcall.dht.core import Core, digest
from meshcall.dht.limiter import PUSHES, READS, WRITES, Limiter, LimiterStatistics
from meshcall.dht.messages import (
    AGE_SIZE,
    DIGEST_SIZE,
    REFUSED_RECORD,
    REFUSED_TOKEN,
    RELAY_OFF,
    Acked,
    Deliver,
    Delivered,
    Dial,
    DialBack,
    Dialling,
    FindNode,
    FindValue,
    Nodes,
    Noted,
    Notify,
    Ping,
    Pong,
    Refused,
    RelayAsk,
    RelayGrant,
    Request,
    Response,
    Store,
    Stored,
    Values,
    Vouch,
    Vouched,
    Watch,
    Watching,
    encode_frame,
)
from meshcall.dht.roles import Roles
from meshcall.dht.transactions import Call
from meshcall.errors import Rejected
from meshcall.identity.keys import NODE
from meshcall.limits import (
    DATAGRAM_MAX,
    DHT_ACK_LIFE,
    DHT_ACKS_KEPT,
    DHT_ACKS_PER_DELIVER,
    DHT_AMPLIFICATION_MAX,
    DHT_K,
    DHT_NOTIFY_RETRY,
    DHT_PING_REQUEST_MIN,
    DHT_PUSH_PAUSE,
    DHT_PUSH_STORED_MAX,
    DHT_PUSHED_KEPT,
    DHT_REPLIES_KEPT,
    DHT_REPLY_LIFE,
    DHT_SIGNATURES_PER_SECOND,
    DHT_VALUES_PER_KEY,
    DHT_WATCH_LEASE,
    PRESENCE_TTL_MAX,
)
from meshcall.record.codec import Record, RecordType
from meshcall.record.store import StoreResult

_PUSHED_TYPES = (RecordType.INBOX, RecordType.MAILBOX)
_WRITES = (Store, Deliver, Watch, DialBack, Dial, RelayAsk)
"""What needs a token."""

_NODES_OVERHEAD = 96
"""Octets of a Nodes or Values frame without nodes, digests and records."""


@dataclass(slots=True, eq=False)
class _Owed:
    """A sender who is told when watchers have its record."""

    address: Address
    tid: bytes
    acked: int = 0
    sent: int = 0


class Responder:
    """Carries out requests."""

    __slots__ = (
        "_core",
        "_limiter",
        "_noted",
        "_owed",
        "_pushed",
        "_replies",
        "_roles",
        "_signed",
        "_signing_since",
    )

    def __init__(self, core: Core, roles: Roles, now: float) -> None:
        self._core = core
        self._roles = roles
        self._limiter = Limiter(now)
        self._replies: ExpiringCache[tuple[Address, bytes], bytes] = ExpiringCache(
            DHT_REPLIES_KEPT, DHT_REPLY_LIFE
        )
        self._pushed: ExpiringCache[tuple[bytes, Address], bool] = ExpiringCache(
            DHT_PUSHED_KEPT, DHT_PUSH_PAUSE
        )
        self._owed: ExpiringCache[bytes, _Owed] = ExpiringCache(DHT_ACKS_KEPT, DHT_ACK_LIFE)
        """Transaction id of a notify to: who wants to know that it was noted."""
        self._noted: ExpiringCache[tuple[bytes, Address], bool] = ExpiringCache(DHT_PUSHED_KEPT, DHT_ACK_LIFE)
        """(record, watcher) of what was noted lately."""
        self._signing_since = float("-inf")
        self._signed = 0

    def load(self, now: float) -> LimiterStatistics:
        """How much more would be answered now."""
        return self._limiter.statistics(now)

    def _refused(self, request: Request, address: Address, now: float) -> str | None:
        """Why the request is dropped without an answer; None: it is not."""
        kind = READS
        if isinstance(request, Notify) and self._core.holders.get((request.key, address), now):
            kind = PUSHES
        elif isinstance(request, _WRITES) and self._core.mint.check(request.token, address, now):
            kind = WRITES
        return self._limiter.refuse(address, kind, now)

    def handle(self, request: Request, size: int, address: Address, now: float) -> None:
        """Answer one request whose frame had ``size`` octets."""
        core = self._core
        refusal = self._refused(request, address, now)
        if refusal is not None:
            core.counters["limited-" + refusal] += 1
            return
        kept = self._replies.get((address, request.tid), now)
        if kept is not None:
            core.out.append((kept, address))
            return
        if request.sender == core.node_id:
            core.counters["own-id"] += 1
            return
        response = _HANDLERS[type(request)](self, request, address, size, now)
        if response is None:
            return
        frame = encode_frame(response)
        if len(frame) > min(size * DHT_AMPLIFICATION_MAX, DATAGRAM_MAX):
            core.counters["amplification"] += 1
            return
        if isinstance(request, _WRITES) and not isinstance(response, Refused):
            self._replies.put((address, request.tid), frame, now)
        core.out.append((frame, address))
        if len(frame) + DHT_PING_REQUEST_MIN <= size * DHT_AMPLIFICATION_MAX:
            core.consider(request.sender, address, request.flags, now, proven=False)

    def _room(self, size: int) -> int:
        """Octets for nodes and records in the reply to ``size`` octets; a challenge has to fit besides."""
        return min(DATAGRAM_MAX, size * DHT_AMPLIFICATION_MAX - DHT_PING_REQUEST_MIN) - _NODES_OVERHEAD

    def _head(self, request: Request, address: Address) -> tuple[bytes, bytes, int, bytes]:
        core = self._core
        return request.tid, core.node_id, core.flags, pack_address(address)

    def _refuse(self, request: Request, address: Address, reason: int, now: float) -> Refused:
        return Refused(*self._head(request, address), reason, self._core.mint.token(address, now))

    # --- reading ---

    def _ping(self, request: Ping, address: Address, size: int, now: float) -> Response | None:
        core = self._core
        head = self._head(request, address)
        token = core.mint.token(address, now)
        if not request.challenge:
            return Pong(*head, token, b"", b"")
        if now - self._signing_since >= 1.0:
            self._signing_since, self._signed = now, 0
        if self._signed >= DHT_SIGNATURES_PER_SECOND:
            core.counters["signatures-full"] += 1
            return None
        self._signed += 1
        proof = proof_message(request.challenge, core.node_id, request.sender, head[3])
        return Pong(*head, token, core.node_key.public, core.node_key.sign(NODE, proof))

    def _nodes(self, target: bytes, asker: bytes, address: Address, room: int) -> tuple[bytes, bytes]:
        """The closest healthy contacts of the asker's family that fit into ``room`` octets.

        Nobody on the internet is told of nodes in our LAN.
        """
        size = 38 if family(address) == 6 else 26
        count = min(DHT_K, max(0, room // size))
        core = self._core
        closest = core.tables[family(address)].closest(target, DHT_K, healthy=True)
        lan = core.lan or is_lan(address[0])
        usable = [
            c
            for c in closest
            if c.id != asker and (not core.is_martian(c.address, address) if lan else not is_lan(c.ip))
        ]
        return pack_nodes([(c.id, c.address) for c in usable[:count]])

    def _find_node(self, request: FindNode, address: Address, size: int, now: float) -> Response:
        room = self._room(size)
        nodes4, nodes6 = self._nodes(request.target, request.sender, address, room)
        token = self._core.mint.token(address, now)
        return Nodes(*self._head(request, address), token, nodes4, nodes6)

    def _find_value(self, request: FindValue, address: Address, size: int, now: float) -> Response:
        core = self._core
        room = self._room(size)
        types = [t for t in RecordType if t in request.types] if request.types else None
        aged = core.store.get_aged(request.target, now, types)[:DHT_VALUES_PER_KEY]
        names = [digest(record) for record, _ in aged]
        room -= len(names) * DIGEST_SIZE
        have = request.have
        known = {have[i : i + DIGEST_SIZE] for i in range(0, len(have), DIGEST_SIZE)}
        values: list[bytes] = []
        ages = b""
        for name, (record, age) in zip(names, aged, strict=True):
            if name not in known and len(record) + 3 + AGE_SIZE <= room:
                values.append(record)
                ages += min(int(age), PRESENCE_TTL_MAX).to_bytes(AGE_SIZE, "big")
                room -= len(record) + 3 + AGE_SIZE
        nodes4, nodes6 = self._nodes(request.target, request.sender, address, room)
        token = core.mint.token(address, now)
        held = b"".join(names) if room >= 0 else b""
        return Values(*self._head(request, address), token, nodes4, nodes6, held, values, ages)

    # --- writing ---

    def _admit_record(self, request: Store | Deliver, address: Address, now: float) -> Record | Refused:
        core = self._core
        if not core.mint.check(request.token, address, now):
            core.counters["bad-token"] += 1
            return self._refuse(request, address, REFUSED_TOKEN, now)
        try:
            return core.check_record(request.record)
        except Rejected as rejected:
            core.counters["record-" + rejected.reason] += 1
            return self._refuse(request, address, REFUSED_RECORD, now)

    def _store(self, request: Store, address: Address, size: int, now: float) -> Response:
        if not self._core.routes and self._core.mint.check(request.token, address, now):
            return Stored(*self._head(request, address), 0)  # kept it would not be: no signature is checked
        record = self._admit_record(request, address, now)
        if isinstance(record, Refused):
            return record
        result = self._keep(record, address, now, request.age)
        return Stored(*self._head(request, address), int(result is not None and result.kept))

    def _keep(self, record: Record, address: Address, now: float, age: int = 0) -> StoreResult | None:
        """What became of it; None when this node keeps nothing for others."""
        if not self._core.routes:
            return None
        result = self._core.store.put(record, address[0], now, age=age)
        self._core.counters["store-" + result] += 1
        return result

    def _deliver(self, request: Deliver, address: Address, size: int, now: float) -> Response:
        core = self._core
        record = self._admit_record(request, address, now)
        if isinstance(record, Refused):
            return record
        key = record.storage_key
        result = self._keep(record, address, now)
        watchers = 0
        owed = _Owed(address, request.tid)
        if request.reply_token:
            core.tokens.put(address, request.reply_token, now)
        if key in core.own_keys:
            watchers = owed.acked = 1
            core.notify_us(request.record, key, address, now)
        # Whatever its place holds: letters of two neighbours, or two of one sender, may cross on their way
        for watcher in core.watches.watchers(key, now):
            if watcher != address:
                watchers += 1
                owed.acked += bool(self._noted.get((digest(request.record), watcher), now))
                self._push(watcher, key, request.record, now, owed)
        if request.reply_watch:
            self._add_watch(request.reply_watch, address, DHT_WATCH_LEASE, now, push_stored=True)
        kept = int(result is not None and result.kept)
        return Delivered(*self._head(request, address), kept, watchers, owed.acked)

    # --- dialling ---

    def _dial_back(self, request: DialBack, address: Address, size: int, now: float) -> Response:
        if not self._core.mint.check(request.token, address, now):
            return self._refuse(request, address, REFUSED_TOKEN, now)
        done = self._roles.dial_back(request, address, now)
        return Dialling(*self._head(request, address), int(done))

    def _dial(self, request: Dial, address: Address, size: int, now: float) -> Response:
        if not self._core.mint.check(request.token, address, now):
            return self._refuse(request, address, REFUSED_TOKEN, now)
        return Dialling(*self._head(request, address), int(self._roles.dial(request, address, now)))

    # --- vouching ---

    def _vouch(self, request: Vouch, address: Address, size: int, now: float) -> Response:
        """Whether a token is ours for an address: keeps nothing, and sends nothing there."""
        seen = unpack_address_untrusted(request.address)
        good = self._core.mint.check(request.given, seen, now)
        return Vouched(*self._head(request, address), int(good))

    # --- relays ---

    def _relay_ask(self, request: RelayAsk, address: Address, size: int, now: float) -> Response:
        core = self._core
        if not core.mint.check(request.token, address, now):
            core.counters["bad-token"] += 1
            return self._refuse(request, address, REFUSED_TOKEN, now)
        reason, sealed = (RELAY_OFF, b"") if core.lend is None else core.lend(request, address, now)
        return RelayGrant(*self._head(request, address), reason, sealed)

    # --- watches ---

    def _watch(self, request: Watch, address: Address, size: int, now: float) -> Response:
        core = self._core
        if not core.mint.check(request.token, address, now):
            core.counters["bad-token"] += 1
            return self._refuse(request, address, REFUSED_TOKEN, now)
        if request.lease == 0:
            core.watches.remove(request.key, address)
            return Watching(*self._head(request, address), 0)
        lease = min(request.lease, int(DHT_WATCH_LEASE))
        given = self._add_watch(request.key, address, lease, now, push_stored=request.fresh == 1)
        return Watching(*self._head(request, address), lease if given else 0)

    def _add_watch(
        self, key: bytes, address: Address, lease: float, now: float, *, push_stored: bool
    ) -> bool:
        core = self._core
        new = core.watches.add(key, address, lease, now)
        if new is None:
            core.counters["watches-full"] += 1
            return False
        if new or push_stored:
            for record, age in core.store.get_aged(key, now, _PUSHED_TYPES)[:DHT_PUSH_STORED_MAX]:
                self._push(address, key, record, now, age=int(age))
        return True

    def _push(
        self,
        watcher: Address,
        key: bytes,
        record: bytes,
        now: float,
        owed: _Owed | None = None,
        age: int = 0,
    ) -> None:
        core = self._core
        name = (digest(record), watcher)
        if self._pushed.get(name, now):
            return
        self._pushed.put(name, True, now)
        token = core.mint.token(watcher, now)
        call = core.transactions.request(
            watcher,
            lambda tid: Notify(tid, core.node_id, core.flags, key, record, token, age),
            self,
            now,
            soft=DHT_NOTIFY_RETRY,
        )
        if call is not None and owed is not None:
            self._owed.put(call.tid, owed, now)

    def on_reply(self, call: Call, message: Response, now: float) -> None:
        """A watcher acknowledged, or is no watcher any more (Listener)."""
        if not isinstance(call.request, Notify):
            return
        if not (isinstance(message, Noted) and message.watching):
            self._core.watches.remove(call.request.key, call.address)
            return
        self._noted.put((digest(call.request.record), call.address), True, now)
        owed = self._owed.get(call.tid, now)
        if owed is not None:
            owed.acked += 1
            if owed.sent < DHT_ACKS_PER_DELIVER:
                owed.sent += 1
                core = self._core
                core.send(Acked(owed.tid, core.node_id, core.flags, owed.acked), owed.address)

    def on_slow(self, call: Call, now: float) -> None:
        """It was sent again (Listener)."""

    def on_failed(self, call: Call, now: float) -> None:
        """The watcher has gone; should it live, its next renewal is a new watch (Listener)."""
        if isinstance(call.request, Notify):
            self._core.watches.remove(call.request.key, call.address)
            self._pushed.discard((digest(call.request.record), call.address))

    def _notify(self, request: Notify, address: Address, size: int, now: float) -> Response | None:
        core = self._core
        if not core.holders.get((request.key, address), now):
            core.counters["notify-stranger"] += 1
            return None
        if request.key not in core.own_keys:
            return Noted(*self._head(request, address), 0)
        try:
            core.check_record(request.record, request.key)
        except Rejected as rejected:
            core.counters["notify-" + rejected.reason] += 1
            return None
        if request.token:
            core.tokens.put(address, request.token, now)
        core.notify_us(request.record, request.key, address, now, request.age)
        return Noted(*self._head(request, address), 1)


_HANDLERS: Final[dict[type[Request], Callable[[Responder, Any, Address, int, float], Response | None]]] = {
    Ping: Responder._ping,
    FindNode: Responder._find_node,
    FindValue: Responder._find_value,
    Store: Responder._store,
    Deliver: Responder._deliver,
    Watch: Responder._watch,
    Notify: Responder._notify,
    DialBack: Responder._dial_back,
    Dial: Responder._dial,
    RelayAsk: Responder._relay_ask,
    Vouch: Responder._vouch,
}
