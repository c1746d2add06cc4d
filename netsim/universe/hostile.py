"""Nodes that prove their id, and so enter tables, and then lie: one function per kind of lie.

Law: a liar never raises and answers each datagram with at most one, whatever it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.dht.compact import NodeInfo, pack_address, pack_nodes
from meshcall.dht.contact import node_id_of, proof_message
from meshcall.errors import Rejected
from meshcall.identity.keys import NODE, SigningKey
from meshcall.limits import DHT_K, DHT_VALUES_PER_KEY
from meshcall.record.codec import VALUE_SIZES, RecordType, sign_record, storage_key
from netsim.universe.frames import frame

Random = Callable[[int], bytes]
Find = m.FindNode | m.FindValue

_REMEMBERED: Final = 64
"""Records that a liar remembers, to bring them back in worse shape."""
_SLOW: Final = 1.2
"""Seconds after which a slow node answers: later than any soft timeout, within the hard one."""
_HELD: Final = 64
"""Late answers that a slow node holds."""


TOKEN: Final = b"\1" * 8
"""What liars give as a write token."""


class HostileNode:
    """By the book where that keeps it in tables; its find replies, and for some kinds all else, are lies."""

    __slots__ = (
        "_late", "_out", "accomplices", "honest", "key", "kind", "node_id", "random", "records",
    )  # fmt: skip

    def __init__(
        self,
        key: SigningKey,
        kind: str,
        random: Random,
        accomplices: Sequence[NodeInfo] = (),
        honest: Sequence[NodeInfo] = (),
    ) -> None:
        """``kind``: one of :data:`KINDS`. ``accomplices``, ``honest``: nodes that it tells of."""
        self.key = key
        self.kind = kind
        self.node_id = node_id_of(key.public)
        self.random = random
        self.accomplices = accomplices
        self.honest = honest
        self.records: dict[bytes, bytes] = {}
        """The first record that it was ever given under each storage key."""
        self._out: list[tuple[bytes, Address]] = []
        self._late: list[tuple[float, bytes, Address]] = []

    # --- the machine ---

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Answer, in its way."""
        try:
            message = m.decode_frame_untrusted(data)
        except Rejected:
            return
        if not isinstance(message, m.Request) or self.kind == "silent":
            return
        if isinstance(message, m.Store | m.Deliver):
            self._remember(message.record)
        if isinstance(message, Find):
            reply = KINDS[self.kind](self, message, address)
        else:
            reply = self._by_the_book(message, address)
        if self.kind == "slow" and isinstance(message, Find):
            if len(self._late) < _HELD:
                self._late.append((now + _SLOW, reply, address))
        elif reply:
            self._out.append((reply, address))

    def handle_timer(self, now: float) -> None:
        """Send what has waited long enough."""
        while self._late and self._late[0][0] <= now:
            _, reply, address = self._late.pop(0)
            self._out.append((reply, address))

    def deadline(self) -> float | None:
        """When the next late answer goes out."""
        return self._late[0][0] if self._late else None

    def transmits(self) -> list[tuple[bytes, Address]]:
        """The datagrams to send now; they are taken out."""
        out, self._out = self._out, []
        return out

    # --- how it answers ---

    def _remember(self, record: bytes) -> None:
        if len(self.records) < _REMEMBERED:
            self.records.setdefault(storage_key(RecordType.INBOX, record[2:34]), record)

    def _head(self, request: m.Request, address: Address) -> tuple[bytes, bytes, int, bytes]:
        return request.tid, self.node_id, 0, pack_address(address)

    def _by_the_book(self, request: m.Request, address: Address) -> bytes:
        """What an honest node might say, though nothing is kept and nobody is told."""
        head = self._head(request, address)
        if isinstance(request, m.Ping):
            if not request.challenge:
                return frame(m.Pong, *head, token=TOKEN)
            proof = proof_message(request.challenge, self.node_id, request.sender, head[3])
            signature = self.key.sign(NODE, proof)
            return frame(m.Pong, *head, token=TOKEN, node_key=self.key.public, signature=signature)
        if self.kind == "refuses tokens":
            return frame(m.Refused, *head, reason=m.REFUSED_TOKEN, token=self.random(8))
        if isinstance(request, m.Store):
            return frame(m.Stored, *head, stored=int(self.kind != "stores nothing"))
        if isinstance(request, m.Deliver):
            pushed = int(self.kind == "claims to have pushed")
            return frame(m.Delivered, *head, stored=1, watchers=pushed, acked=pushed)
        if isinstance(request, m.Watch):
            return frame(m.Watching, *head, lease=request.lease)
        return b""

    def reply(
        self,
        request: Find,
        address: Address,
        nodes: Sequence[NodeInfo] = (),
        *,
        sender: bytes | None = None,
        values: Sequence[bytes] = (),
        held: bytes = b"",
    ) -> bytes:
        """A well-formed reply with these contents; values only to who asked for them."""
        four, six = pack_nodes(list(nodes))
        kind = m.Values if isinstance(request, m.FindValue) else m.Nodes
        head = (request.tid, sender or self.node_id, 0, pack_address(address))
        lists = {"held": held, "values": list(values), "ages": bytes(2 * len(values))}
        return frame(kind, *head, token=TOKEN, nodes4=four, nodes6=six, **lists)

    def near(self, target: bytes, octets: int = 5) -> bytes:
        """An invented id that differs from ``target`` in the last ``octets`` only."""
        return target[:-octets] + self.random(octets)

    def raw(self, request: Find, address: Address, four: object, *, tail: object = b"") -> bytes:
        """A reply whose node list is anything."""
        kind = 19 if isinstance(request, m.FindValue) else 18
        rest = [tail, []] if kind == 19 else []
        fields = [kind, *self._head(request, address), b"", four, b"", *rest]
        return b"\x04" + msgspec.msgpack.encode(fields)


Lie = Callable[[HostileNode, Find, Address], bytes]


def _silent(me: HostileNode, request: Find, address: Address) -> bytes:
    return b""


def _garbage(me: HostileNode, request: Find, address: Address) -> bytes:
    return b"\x04" + me.random(200)


def _integer(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.raw(request, address, 7)


def _map(me: HostileNode, request: Find, address: Address) -> bytes:
    return b"\x04" + msgspec.msgpack.encode({"tid": request.tid, "nodes": {}})


def _deep(me: HostileNode, request: Find, address: Address) -> bytes:
    return b"\x04\x9a\x13\xc4\x08" + request.tid + b"\x91" * 1000


def _short_ids(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.raw(request, address, b"x" * 25)


def _too_many(me: HostileNode, request: Find, address: Address) -> bytes:
    nodes = b"".join(me.near(request.target) + bytes([5, 9, 9, i]) + b"\1\1" for i in range(DHT_K + 1))
    return me.raw(request, address, nodes)


def _other_kind(me: HostileNode, request: Find, address: Address) -> bytes:
    return frame(m.Stored, request.tid, me.node_id, 0, pack_address(address), stored=1)


def _other_transaction(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.reply(request, address).replace(request.tid, bytes(8), 1)


def _martians(me: HostileNode, request: Find, address: Address) -> bytes:
    places = ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.9", "10.0.0.1"]  # noqa: S104 - named to be refused
    nodes: list[NodeInfo] = [(me.near(request.target), (ip, 80)) for ip in places]
    return me.reply(request, address, [*nodes, (me.near(request.target), ("5.9.9.9", 0))])


def _endless(me: HostileNode, request: Find, address: Address) -> bytes:
    """Ever closer nodes that do not exist."""
    octets = me.random(2 * DHT_K)
    return me.reply(
        request,
        address,
        [(me.near(request.target), (f"5.200.{octets[2 * i]}.{octets[2 * i + 1]}", 99)) for i in range(DHT_K)],
    )


def _one_victim(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.reply(request, address, [(me.near(request.target), ("5.66.6.6", 99)) for _ in range(DHT_K)])


def _asker(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.reply(request, address, [(request.sender, address)] * DHT_K, sender=request.sender)


def _new_id(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.reply(request, address, sender=me.near(request.target, 1))


def _wrong_ids(me: HostileNode, request: Find, address: Address) -> bytes:
    """Real nodes under invented ids next to the target."""
    return me.reply(request, address, [(me.near(request.target), there) for _, there in me.honest[:DHT_K]])


def _junk_values(me: HostileNode, request: Find, address: Address) -> bytes:
    return me.reply(request, address, values=[me.random(308), me.random(10), bytes(500)], held=me.random(128))


def _flood_of_junk(me: HostileNode, request: Find, address: Address) -> bytes:
    """As many values as a reply may hold, and names of more: the asker comes back for them."""
    values = [me.random(4) for _ in range(DHT_VALUES_PER_KEY)]
    return me.reply(request, address, me.honest[:4], values=values, held=me.random(128))


def _stolen_id(me: HostileNode, request: Find, address: Address) -> bytes:
    """Under the id of an honest node that is close to the target, another one each time."""
    goal = int.from_bytes(request.target, "big")
    known = sorted(me.honest, key=lambda node: int.from_bytes(node[0], "big") ^ goal)[:8]
    thief = known[me.random(1)[0] % len(known)][0] if known else me.node_id
    return me.reply(request, address, sender=thief)


def _real_ids(me: HostileNode, request: Find, address: Address) -> bytes:
    """The ids of honest nodes near the target, at addresses of accomplices."""
    goal = int.from_bytes(request.target, "big")
    known = sorted(me.honest, key=lambda node: int.from_bytes(node[0], "big") ^ goal)[:DHT_K]
    places = [there for _, there in me.accomplices]
    return me.reply(request, address, [(who[0], there) for who, there in zip(known, places, strict=False)])


def _kept(me: HostileNode, request: Find) -> bytes:
    """The real record, if it was given one; else one of another key."""
    if me.records:
        return me.records.get(request.target) or me.records[min(me.records)]
    value = bytes(VALUE_SIZES[RecordType.INBOX][0])
    return sign_record(me.key, RecordType.INBOX, 1, 60, value).encode()


def _forged(me: HostileNode, request: Find, address: Address) -> bytes:
    """A real record with one bit changed."""
    record = bytearray(_kept(me, request))
    record[60] ^= 1
    return me.reply(request, address, me.honest[:4], values=[bytes(record)])


def _unsigned(me: HostileNode, request: Find, address: Address) -> bytes:
    """A real record without its signature."""
    return me.reply(request, address, me.honest[:4], values=[_kept(me, request)[:-64] + bytes(64)])


def _stale(me: HostileNode, request: Find, address: Address) -> bytes:
    """The first record that it was given under the key, whatever came later."""
    old = me.records.get(request.target)
    return me.reply(request, address, me.honest[:4], values=[old] if old else [])


def _other_keys(me: HostileNode, request: Find, address: Address) -> bytes:
    """A valid record, of another key."""
    value = bytes(VALUE_SIZES[RecordType.INBOX][0])
    record = sign_record(me.key, RecordType.INBOX, 1, 60, value).encode()
    return me.reply(request, address, me.honest[:4], values=[record])


def _refuses(me: HostileNode, request: Find, address: Address) -> bytes:
    head = (request.tid, me.node_id, 0, pack_address(address))
    return frame(m.Refused, *head, reason=m.REFUSED_TOKEN, token=b"\2" * 8)


def _colluding(me: HostileNode, request: Find, address: Address) -> bytes:
    """Only accomplices exist, and nobody has anything."""
    goal = int.from_bytes(request.target, "big")
    known = sorted(me.accomplices, key=lambda node: int.from_bytes(node[0], "big") ^ goal)
    return me.reply(request, address, known[:DHT_K])


def _plausible(me: HostileNode, request: Find, address: Address) -> bytes:
    """An honest answer about nodes; what was stored here is gone all the same."""
    goal = int.from_bytes(request.target, "big")
    known = sorted(me.honest, key=lambda node: int.from_bytes(node[0], "big") ^ goal)
    return me.reply(request, address, known[:DHT_K])


KINDS: Final[dict[str, Lie]] = {
    "silent": _silent,
    "garbage": _garbage,
    "an integer for the nodes": _integer,
    "a map for the reply": _map,
    "deep nesting": _deep,
    "ids one octet short": _short_ids,
    "more nodes than allowed": _too_many,
    "reply of another kind": _other_kind,
    "another transaction": _other_transaction,
    "martian addresses": _martians,
    "endless closer nodes": _endless,
    "all nodes at one victim": _one_victim,
    "the asker itself": _asker,
    "a new id each time": _new_id,
    "wrong ids": _wrong_ids,
    "real ids elsewhere": _real_ids,
    "another's id": _stolen_id,
    "junk for values": _junk_values,
    "a flood of junk values": _flood_of_junk,
    "forged values": _forged,
    "unsigned values": _unsigned,
    "stale values": _stale,
    "another key's value": _other_keys,
    "refuses everything": _refuses,
    "refuses tokens": _plausible,
    "stores nothing": _plausible,
    "claims to have pushed": _plausible,
    "colluding": _colluding,
    "slow": _plausible,
}
"""Each kind of lie, by name."""
