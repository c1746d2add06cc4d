"""Nodes that prove their id, enter tables, and then lie."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.compact import pack_address, pack_nodes
from meshcall.errors import Rejected
from tests.unit.dht.universe import inbox_record

Lie = Callable[["Hostile", "m.FindNode | m.FindValue", Address], bytes]


class Hostile:
    """A machine that behaves, except that its find replies are ``lie``."""

    def __init__(self, engine: DhtEngine, lie: Lie, seed: int = 1) -> None:
        self.engine = engine
        self.lie = lie
        self.random = random.Random(seed)
        self.asked = 0
        self._out: list[tuple[bytes, Address]] = []

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Lie to those who search; do the rest by the book."""
        try:
            message = m.decode_frame_untrusted(data)
        except Rejected:
            return
        if isinstance(message, m.FindNode | m.FindValue):
            self.asked += 1
            reply = self.lie(self, message, address)
            if reply:
                self._out.append((reply, address))
        else:
            self.engine.receive(data, address, now)

    def handle_timer(self, now: float) -> None:
        """By the book."""
        self.engine.handle_timer(now)

    def deadline(self) -> float | None:
        """By the book."""
        return self.engine.deadline()

    def transmits(self) -> list[tuple[bytes, Address]]:
        """Lies and the rest."""
        out, self._out = self._out, []
        self.engine.events()
        return out + self.engine.transmits()

    def reply(
        self,
        request: m.FindNode | m.FindValue,
        address: Address,
        nodes: list[tuple[bytes, Address]],
        *,
        sender: bytes | None = None,
        values: list[bytes] | None = None,
        held: bytes = b"",
    ) -> bytes:
        """A well-formed reply with these contents."""
        four, six = pack_nodes(nodes)
        head = (request.tid, sender or self.engine.node_id, 0, pack_address(address), b"\1" * 8)
        if isinstance(request, m.FindValue):
            return m.encode_frame(
                m.Values(*head, four, six, held, values or [], bytes(2 * len(values or [])))
            )
        return m.encode_frame(m.Nodes(*head, four, six))

    def near(self, target: bytes, bits: int = 40) -> bytes:
        """An invented id very close to ``target``."""
        return (int.from_bytes(target, "big") ^ self.random.getrandbits(bits)).to_bytes(20, "big")


def _nothing(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return b""


def _junk(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return b"\x04" + me.random.randbytes(200)


def _raw(*fields: object) -> bytes:
    return b"\x04" + msgspec.msgpack.encode(list(fields))


def _int_for_nodes(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    kind = 19 if isinstance(request, m.FindValue) else 18
    return _raw(kind, request.tid, me.engine.node_id, 0, pack_address(address), b"", 7, 7, 7, 7, 7)


def _map_for_reply(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return b"\x04" + msgspec.msgpack.encode({"tid": request.tid, "nodes": {}})


def _deep(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return b"\x04\x9a\x13\xc4\x08" + request.tid + b"\x91" * 1000


def _short_ids(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    kind = 19 if isinstance(request, m.FindValue) else 18
    tail = [b"", [], b""] if kind == 19 else []
    return _raw(kind, request.tid, me.engine.node_id, 0, pack_address(address), b"", b"x" * 25, b"", *tail)


def _too_many(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    kind = 19 if isinstance(request, m.FindValue) else 18
    tail = [b"", [], b""] if kind == 19 else []
    nodes = b"".join(me.near(request.target) + bytes([10, 9, 9, i]) + b"\1\1" for i in range(21))
    return _raw(kind, request.tid, me.engine.node_id, 0, pack_address(address), b"", nodes, b"", *tail)


def _wrong_kind(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return m.encode_frame(m.Stored(request.tid, me.engine.node_id, 0, pack_address(address), 1))


def _wrong_tid(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return me.reply(request, address, []).replace(request.tid, bytes(8))


def _martians(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    places = ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.9"]
    nodes: list[tuple[bytes, Address]] = [(me.near(request.target), (ip, 80)) for ip in places]
    return me.reply(request, address, [*nodes, (me.near(request.target), ("10.9.9.9", 0))])


def _invented(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    nodes = [(me.near(request.target), (f"10.200.{me.random.randrange(256)}.{i}", 99)) for i in range(20)]
    return me.reply(request, address, nodes)


def _one_victim(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return me.reply(request, address, [(me.near(request.target), ("10.66.6.6", 99)) for _ in range(20)])


def _askers_id(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return me.reply(request, address, [(request.sender, address)] * 20, sender=request.sender)


def _new_id_each_time(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return me.reply(request, address, [], sender=me.near(request.target, 8))


def _junk_values(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    values = [me.random.randbytes(308), me.random.randbytes(10), bytes(500)]
    return me.reply(request, address, [], values=values, held=me.random.randbytes(128))


def _forged_value(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    forged = bytearray(inbox_record(1).encode())
    forged[60] ^= 1
    return me.reply(request, address, [], values=[bytes(forged)])


def _other_keys_value(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return me.reply(request, address, [], values=[inbox_record(999).encode()])


def _refuse_for_ever(me: Hostile, request: m.FindNode | m.FindValue, address: Address) -> bytes:
    return m.encode_frame(m.Refused(request.tid, me.engine.node_id, 0, pack_address(address), 1, b"\2" * 8))


LIES: dict[str, Lie] = {
    "no reply": _nothing,
    "random octets": _junk,
    "an integer for the nodes": _int_for_nodes,
    "a map for the reply": _map_for_reply,
    "deep nesting": _deep,
    "ids one octet short": _short_ids,
    "more nodes than allowed": _too_many,
    "reply of another kind": _wrong_kind,
    "another transaction": _wrong_tid,
    "martian addresses": _martians,
    "invented nodes": _invented,
    "all nodes at one victim": _one_victim,
    "the asker itself": _askers_id,
    "a new id each time": _new_id_each_time,
    "junk for values": _junk_values,
    "a forged value": _forged_value,
    "another key's value": _other_keys_value,
    "refusals for ever": _refuse_for_ever,
}
