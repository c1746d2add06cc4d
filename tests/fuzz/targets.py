"""Where inputs go: everything that reads octets or text of strangers.

Law: a target raises nothing. What its parser may raise by contract is caught here, and is an answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from meshcall.address import Address
from meshcall.call.control import decode_control_untrusted
from meshcall.dht import DhtEngine
from meshcall.dht.saved import decode_table_untrusted
from meshcall.discovery.lan import decode_txt_untrusted
from meshcall.discovery.rooms import decode_announcement_untrusted, name_key
from meshcall.errors import InvalidInvite, InvalidPeerId, InvalidRoom, InvalidUri, Rejected
from meshcall.ice.candidate import CandidatePolicy, decode_candidates_untrusted, filter_untrusted
from meshcall.identity.keys import AgreementKey, SigningKey, mac, open_untrusted, seal
from meshcall.identity.peer_id import PeerId
from meshcall.identity.uri import parse_peer
from meshcall.record.codec import RELAY_VALUE, RecordType, sign_record
from meshcall.record.validation import check_record_untrusted
from meshcall.room import events as room_events
from meshcall.room.codes import parse_code
from meshcall.room.descriptor import Room
from meshcall.room.joiner import ByCode, Joiner
from meshcall.room.machine import RoomMachine
from meshcall.room.memory import decode_memory_untrusted
from meshcall.room.uri import RoomInvite
from meshcall.signaling.description import decode_description_untrusted
from meshcall.signaling.envelope import open_message_untrusted
from meshcall.signaling.invite import Invite
from meshcall.signaling.messages import decode_body_untrusted
from meshcall.signaling.presence import read_presence_untrusted
from meshcall.signaling.rendezvous import inbox, reply_box
from meshcall.signaling.replay import ReplayCache
from meshcall.signaling.sdp import to_sdp
from meshcall.turn.announcement import read_announcement_untrusted
from meshcall.turn.grant import decode_grant_untrusted
from tests.fuzz.corpus import TID, TOKEN, vectors
from tests.unit.dht.test_attacks import token_of
from tests.unit.dht.universe import Universe

Target = Callable[[bytes], str]
"""Takes an input, tells in a word what became of it."""


class Dht:
    """An engine in the midst of its work: it has contacts, open requests, a watch and a store."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.universe = Universe(6, seed=1)
        self.address = self.universe.addresses()[0]
        self.contacts = [address for _, address in self.engine.contacts()]
        self._tids: list[tuple[bytes, Address]] = [(TID, self.contacts[0])]
        self._tokens: list[tuple[bytes, Address]] = [(TOKEN, self.contacts[0])]
        self._count = 0
        key = bytes.fromhex(vectors("records")["records"][2]["storage_key"])
        self.engine.start_watch(key, self.universe.now)
        self.universe.do(self.address)

    @property
    def engine(self) -> DhtEngine:
        """The victim."""
        return self.universe.at(self.address)

    def refresh(self) -> None:
        """Time goes by, what was asked is answered, and new requests are opened: replies then match them."""
        universe, engine, rng = self.universe, self.engine, self._rng
        engine.transmits()
        universe.link.run(2.0)
        for _ in range(3):
            engine.start_find(rng.randbytes(20), universe.now)
        engine.start_ping(rng.choice(self.contacts), universe.now)
        self._tids = [(data[5:13], to) for data, to in engine.transmits() if len(data) > 13]
        friends: list[Address] = [(f"10.98.0.{index}", 9) for index in range(8)]
        self._tokens = [(token_of(engine, friend, universe.now), friend) for friend in friends]

    def take(self, data: bytes) -> str:
        """One datagram: of a stranger, of one with a token, or from where an answer is waited for."""
        rng = self._rng
        source: Address = (f"10.99.{rng.randrange(256)}.{rng.randrange(1, 255)}", rng.randrange(1, 65536))
        dice = rng.random()
        if dice < 0.4:
            tid, source = rng.choice(self._tids)
            data = data.replace(TID, tid)
        elif dice < 0.7:
            token, source = rng.choice(self._tokens)
            data = data.replace(TOKEN, token).replace(TID, rng.randbytes(8))
        self.engine.receive(data, source, self.universe.now)
        self._count += 1
        if self._count % 50 == 0:
            self.engine.transmits()
            self.engine.events()
        return "taken"


class Records:
    """A callee and a caller with all gates open that could hide a fault."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        golden = vectors("records")
        names = golden["identities"]
        self.bob, self.alice = (PeerId.parse(names[name]["id"]) for name in ("bob", "alice"))
        self.prekey, self.reply_key = (
            AgreementKey.from_private(bytes.fromhex(golden[name]["private"]))
            for name in ("prekey", "reply_key")
        )
        self.now_ms = golden["now_ms"]
        self.inbox = inbox(self.bob, golden["epoch"])
        self.box = reply_box(bytes.fromhex(golden["offer_hash"]))
        self.inners = [self._inner(vector) for vector in golden["records"] if "kind" in vector]

    def _inner(self, vector: dict[str, Any]) -> tuple[RecordType, int, bytes]:
        """(type, prekey id, opened inner) of a golden message."""
        record = check_record_untrusted(bytes.fromhex(vector["record"]))
        key, me, _ = self._reader(record.type)
        info = b"meshcall/1/seal\0\x01" + vector["prekey_id"].to_bytes(4, "big") + me.key
        return record.type, vector["prekey_id"], open_untrusted(key, info, record.value[5:])

    def _reader(self, record_type: RecordType) -> tuple[AgreementKey, PeerId, Any]:
        if record_type is RecordType.MAILBOX:
            return self.reply_key, self.alice, self.box
        return self.prekey, self.bob, self.inbox

    def take(self, data: bytes) -> str:
        """A record as it came, or with its value signed afresh, as somebody who knows the ID can do."""
        try:
            if len(data) > 112 and self._rng.random() < 0.5:
                data = self._signed(data)
            record = check_record_untrusted(data)
            if record.type is RecordType.PRESENCE:
                read_presence_untrusted(record, self.bob, self.inbox, self.now_ms)
            else:
                self._open(record)
        except Rejected as rejected:
            return rejected.reason
        return "accepted"

    def _signed(self, data: bytes) -> bytes:
        sizes = {196: RecordType.PRESENCE, 565: RecordType.INBOX, 821: RecordType.MAILBOX}
        size = min(sizes, key=lambda size: abs(size + 112 - len(data)))
        value = data[48:-64][:size].ljust(size, b"\0")
        _, _, place = self._reader(sizes[size])
        return sign_record(place.signer, sizes[size], 1, 60, value).encode()

    def _open(self, record: Any) -> None:
        key, me, place = self._reader(record.type)
        open_message_untrusted(
            record,
            me=me,
            find_prekey=lambda prekey_id: key,
            rendezvous=place,
            now_ms=self.now_ms,
            replay=ReplayCache(),
            admit=lambda sender, kind: True,
        )

    def take_inner(self, data: bytes, which: int) -> str:
        """What a sender seals: everything behind the seal is its own."""
        record_type, prekey_id, inner = self.inners[which % len(self.inners)]
        size = 512 if len(inner) <= 512 else 768
        key, me, place = self._reader(record_type)
        info = b"meshcall/1/seal\0\x01" + prekey_id.to_bytes(4, "big") + me.key
        sealed = seal(key.public, info, data[:size].ljust(size, b"\0"))
        masked = prekey_id ^ int.from_bytes(mac(place.mask_key, sealed[:32])[:4], "big")
        value = b"\x01" + masked.to_bytes(4, "big") + sealed
        try:
            self._open(sign_record(place.signer, record_type, 1, 60, value))
        except Rejected as rejected:
            return rejected.reason
        return "accepted"


POLICIES = (CandidatePolicy(), CandidatePolicy(allow_loopback=True, allow_mdns=True, link_local_scope="eth0"))


def _description(data: bytes) -> str:
    try:
        description = decode_description_untrusted(data)
    except Rejected as rejected:
        return rejected.reason
    for policy in POLICIES:
        filter_untrusted(description.candidates, policy, Counter())
    to_sdp(description)
    return "accepted"


def _candidates(data: bytes) -> str:
    try:
        candidates = decode_candidates_untrusted(data)
    except Rejected as rejected:
        return rejected.reason
    for policy in POLICIES:
        filter_untrusted(candidates, policy, Counter())
    return "accepted"


def _body(data: bytes) -> str:
    return _rejected(lambda octets: decode_body_untrusted(octets[0] if octets else -1, octets[1:]), data)


def _text(data: bytes) -> str:
    """As text of any kind: valid, with replacement characters, or one character per octet."""
    for text in (data.decode("utf-8", "replace"), data.decode("latin-1")):
        for parse in (PeerId.parse, parse_peer, Invite.parse, RoomInvite.parse, parse_code):
            try:
                parse(text)
            except (InvalidPeerId, InvalidUri, InvalidInvite, InvalidRoom) as error:
                str(error)
    return "parsed"


def _rejected(parse: Callable[[bytes], object], data: bytes) -> str:
    try:
        parse(data)
    except Rejected as rejected:
        return rejected.reason
    return "accepted"


def _announcement(value: bytes) -> object:
    """``value`` in a record whose outer signature holds: everybody can make it."""
    size = RELAY_VALUE
    signer = SigningKey.from_seed(bytes(32))
    return read_announcement_untrusted(
        sign_record(signer, RecordType.RELAY, 1, 600, value[:size] + bytes(max(0, size - len(value))))
    )


class Rooms:
    """A member in the midst of a meeting, with a knock and a code, and somebody who comes in by code."""

    def __init__(self) -> None:
        golden = vectors("rooms")
        ann, bob, eve = (SigningKey.from_seed(bytes.fromhex(seed)) for seed in golden["seeds"].values())
        self._bob, self._eve = bob.peer_id, eve.peer_id
        self._now, self._now_ms = 1.0, golden["now_ms"]
        room = Room.decode_untrusted(
            bytes.fromhex(golden["room"]["descriptor"]), bytes.fromhex(golden["secret"])
        )  # fmt: skip
        rng = random.Random(1)
        self._member = RoomMachine(ann.peer_id, room, ann.sign, "Ann", rng.randbytes)
        for event in (
            room_events.Enter(),
            room_events.Lock(True),
            room_events.NewCode("7-acorn-zebra"),
            room_events.LinkUp(self._bob),
        ):
            self._member.handle(event, self._now, self._now_ms)
        self._joiner = Joiner(eve.peer_id, ByCode("7-acorn-zebra"), "Eve", rng.randbytes)
        found = room_events.Found(self._bob, room.tag(self._now_ms))
        self._joiner.start(self._now, self._now_ms, [found])

    def message(self, data: bytes) -> str:
        """What a member says on its link."""
        self._step()
        self._member.handle(room_events.LinkMessage(self._bob, data), self._now, self._now_ms)
        return "taken"

    def letter(self, data: bytes) -> str:
        """A letter, to a member and to who comes in."""
        self._step()
        for sender in (self._bob, self._eve):
            self._member.handle(room_events.LetterReceived(sender, data), self._now, self._now_ms)
        self._joiner.handle(room_events.LetterReceived(self._bob, data), self._now, self._now_ms)
        return "taken"

    def _step(self) -> None:
        """Time goes by, so that no limit keeps all of it out."""
        self._now += 0.5
        self._member.handle_timer(self._now, self._now_ms)


def _room_announcement(data: bytes) -> str:
    try:
        decode_announcement_untrusted(data).announcer_untrusted(name_key("deck 7"))
    except Rejected as rejected:
        return rejected.reason
    return "accepted"


def parsers() -> dict[str, Target]:
    """The targets that take octets one by one, by the name of their corpus."""
    rooms = Rooms()
    return {
        "body": _body,
        "description": _description,
        "candidates": _candidates,
        "txt": lambda data: _rejected(decode_txt_untrusted, data),
        "control": lambda data: _rejected(decode_control_untrusted, data),
        "text": _text,
        "table": lambda data: _rejected(decode_table_untrusted, data),
        "grant": lambda data: _rejected(decode_grant_untrusted, data),
        "announcement": lambda data: _rejected(_announcement, data),
        "room-announcement": _room_announcement,
        "room-letter": rooms.letter,
        "room-memory": lambda data: _rejected(decode_memory_untrusted, data),
        "room-message": rooms.message,
    }
