"""Credentials for a relay, asked for over the DHT: who gets them, who does not, and what a thief learns."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from meshcall.address import Address
from meshcall.dht import DhtEngine
from meshcall.dht import messages as m
from meshcall.dht.events import RelayAsked
from meshcall.errors import Rejected
from meshcall.limits import (
    DHT_AMPLIFICATION_MAX,
    RELAY_CREDENTIALS_LIFE,
    RELAY_GRANT_INTERVAL,
    RELAY_GRANT_SENDERS,
    RELAY_GRANTS_BURST,
    RELAY_GRANTS_PER_ADDRESS,
    RELAY_GRANTS_PER_SECOND,
)
from meshcall.stun.message import Method
from meshcall.turn.credentials import Credentials, issue, parse_username_untrusted
from meshcall.turn.grant import Ask, Grant, Place, contact_key, proves, seal_grant
from meshcall.turn.lending import Lending
from tests.unit.dht.universe import Universe
from tests.unit.turn.world import SECRET, UDP, UNIX, Asker, World, code

NODE = b"\x07" * 20
OWNERS = contact_key(b"o" * 32)
PLACES = (Place("udp", 3478), Place("tcp", 3478), Place("tls", 443))
TID = b"12345678"


@dataclass
class Lender:
    """A relay's owner, and how full the relay is."""

    taken: float = 0.0
    places: tuple[Place, ...] = PLACES
    contacts: list[bytes] = field(default_factory=lambda: [OWNERS])
    node_id: bytes = NODE
    now: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(3)
        self.lending = Lending(
            SECRET,
            self.node_id,
            places=lambda: self.places,
            taken=lambda: self.taken,
            contacts=lambda: self.contacts,
            now_ms=lambda: UNIX * 1000,
            random=self.random.randbytes,
            now=self.now,
        )

    def ask(self, *known: bytes) -> Ask:
        """By who has these contact keys."""
        return Ask.new(known, self.random.randbytes)

    def answer(self, ask: Ask, at: Address = ("46.1.1.1", 4000)) -> tuple[int, bytes]:
        """What it is answered."""
        message = m.RelayAsk(TID, bytes(20), 0, bytes(8), ask.key.public, ask.prove(self.node_id))
        return self.lending.answer(message, at, self.now)


def test_a_grant_is_read_by_who_asked_alone() -> None:
    """It opens with the ask's key, for the relay that was asked; for another key or relay it does not."""
    lender = Lender()
    ask = lender.ask()
    reason, sealed = lender.answer(ask)
    assert reason == m.RELAY_GRANTED
    grant = ask.open_untrusted(sealed, NODE)
    assert grant.places == PLACES
    assert grant.life == RELAY_CREDENTIALS_LIFE
    assert grant.credentials.password.encode() not in sealed
    for other, node_id in ((lender.ask(), NODE), (ask, bytes(20))):
        with pytest.raises(Rejected):
            other.open_untrusted(sealed, node_id)
    for at in range(0, len(sealed), 7):
        with pytest.raises(Rejected):
            ask.open_untrusted(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], NODE)


def test_granted_credentials_allocate_until_they_end() -> None:
    """The relay takes them, and not a second after their end; nobody's name is in them."""
    lender = Lender()
    users = set()
    for _ in range(3):
        ask = lender.ask()
        grant = ask.open_untrusted(lender.answer(ask)[1], NODE)
        ends, user = parse_username_untrusted(grant.credentials.username)
        assert ends == UNIX + RELAY_CREDENTIALS_LIFE
        users.add(user)
        world = World()
        assert code(Asker(world, who=grant.credentials).ask(Method.ALLOCATE, UDP)) == 0
        late = World()
        late.now += RELAY_CREDENTIALS_LIFE
        assert code(Asker(late, who=grant.credentials).ask(Method.ALLOCATE, UDP)) == 401
    assert len(users) == 3


def test_contacts_are_known_and_nobody_else_learns_of_it() -> None:
    """One proof among thirty shows a contact to the owner; for another key or relay it shows nothing."""
    lender = Lender()
    friend = lender.ask(contact_key(b"x" * 32), OWNERS)
    proofs = friend.prove(NODE)
    assert len(proofs) == m.RELAY_PROOFS_SIZE
    assert proves(OWNERS, proofs, friend.key.public, NODE)
    assert not proves(OWNERS, proofs, friend.key.public, b"\x08" * 20), "passed on to another relay"
    assert not proves(OWNERS, proofs, lender.ask().key.public, NODE), "seen and used for another key"
    assert friend.open_untrusted(lender.answer(friend)[1], NODE).of_contact
    stranger = lender.ask(contact_key(b"x" * 32))
    assert not stranger.open_untrusted(lender.answer(stranger)[1], NODE).of_contact


def test_a_relay_that_is_half_full_is_for_contacts() -> None:
    """Strangers are told so; contacts are granted the rest; nobody anything beyond that."""
    lender = Lender(taken=0.49)
    assert lender.answer(lender.ask())[0] == m.RELAY_GRANTED
    lender.taken = 0.5
    assert lender.answer(lender.ask()) == (m.RELAY_CONTACTS, b"")
    assert lender.answer(lender.ask(OWNERS))[0] == m.RELAY_GRANTED
    lender.taken = 1.0
    assert lender.answer(lender.ask(OWNERS)) == (m.RELAY_FULL, b"")
    lender.places = ()
    assert lender.answer(lender.ask(OWNERS)) == (m.RELAY_OFF, b"")


def test_floods_of_asks_are_bounded() -> None:
    """Of one address, of all together, and in memory; what is refused costs no key agreement."""
    lender = Lender()
    answers = [lender.answer(lender.ask())[0] for _ in range(40)]
    assert answers.count(m.RELAY_GRANTED) == RELAY_GRANTS_PER_ADDRESS
    assert lender.lending.counters["no-grant-busy"] == 40 - RELAY_GRANTS_PER_ADDRESS
    lender.now += RELAY_GRANT_INTERVAL + 0.01
    assert [lender.answer(lender.ask())[0] for _ in range(2)] == [m.RELAY_GRANTED, m.RELAY_BUSY]

    lender = Lender()
    ask = lender.ask()
    everywhere = [(f"46.{n >> 8}.{n & 255}.1", 4000) for n in range(3000)]
    granted = sum(lender.answer(ask, at)[0] == m.RELAY_GRANTED for at in everywhere)
    assert granted == RELAY_GRANTS_BURST
    assert len(lender.lending._senders) == RELAY_GRANT_SENDERS
    lender.now += 1.0
    granted = sum(lender.answer(ask, at)[0] == m.RELAY_GRANTED for at in everywhere)
    assert granted == RELAY_GRANTS_PER_SECOND


def test_strangers_use_up_no_grants_of_contacts() -> None:
    """A flood of asks from many networks; a contact is granted what it asks for all the same."""
    lender = Lender()
    stranger = lender.ask()
    granted = sum(
        lender.answer(stranger, (f"46.{number % 250}.{number // 250}.1", 4000))[0] == m.RELAY_GRANTED
        for number in range(1000)
    )
    assert granted == RELAY_GRANTS_BURST
    assert lender.answer(lender.ask(OWNERS), ("47.1.1.1", 4000))[0] == m.RELAY_GRANTED


def test_a_key_of_small_order_is_granted_nothing() -> None:
    """Nothing can be sealed to it; that raises nothing."""
    lender = Lender()
    message = m.RelayAsk(TID, bytes(20), 0, bytes(8), bytes(32), bytes(m.RELAY_PROOFS_SIZE))
    assert lender.lending.answer(message, ("46.1.1.1", 4000), 0.0) == (m.RELAY_OFF, b"")


def test_a_grant_leads_to_nobody_else() -> None:
    """Another address counts only if it is of the network of the relay that was asked."""
    places = (
        Place("udp", 1),
        Place("udp", 2, "46.1.1.9"),
        Place("udp", 3, "46.1.2.9"),
        Place("udp", 4, "127.0.0.1"),
        Place("udp", 5, "2a05:d000:1::1"),
    )
    grant = Grant(issue(SECRET, "u", 1), 900, places, False)
    assert grant.servers(("46.1.1.1", 4000)) == [("udp", ("46.1.1.1", 1)), ("udp", ("46.1.1.9", 2))]
    assert grant.servers(("192.168.0.9", 4000)) == [("udp", ("192.168.0.9", 1))]


@pytest.mark.parametrize(("port", "good"), [(22, False), (25, False), (53, False), (443, True), (1024, True)])
def test_a_grant_does_not_lead_to_services_of_others(port: int, good: bool) -> None:
    """Below 1024 there are no relays but on the port of the web."""
    ask = Lender().ask()
    grant = Grant(Credentials("1:u", "p"), 1, (Place("tls", port),), False)
    sealed = seal_grant(grant, ask.key.public, NODE)
    if good:
        assert ask.open_untrusted(sealed, NODE) == grant
    else:
        with pytest.raises(Rejected, match="grant"):
            ask.open_untrusted(sealed, NODE)


def test_what_is_no_grant_is_rejected() -> None:
    """Sealed octets of any kind end in one exception, never another."""
    ask = Lender().ask()
    source = random.Random(8)
    good = seal_grant(Grant(Credentials("1:u", "p"), 1, PLACES, True), ask.key.public, NODE)
    assert ask.open_untrusted(good, NODE).places == PLACES
    from meshcall.identity.keys import seal
    from meshcall.turn.grant import _GRANT_INFO, _encode

    plain = _encode(Grant(Credentials("1:u", "p"), 1, (*PLACES, Place("udp", 3479, "46.1.1.1")), True))
    info = _GRANT_INFO + ask.key.public + NODE
    for _ in range(300):
        octets = bytearray(plain)
        octets[source.randrange(len(octets))] = source.randrange(256)
        mutated = (
            bytes(octets[: source.randrange(len(octets) + 1)]) if source.random() < 0.3 else bytes(octets)
        )
        try:
            grant = ask.open_untrusted(seal(ask.key.public, info, mutated), NODE)
        except Rejected:
            continue
        assert 0 < len(grant.places) <= 6
        assert grant.life > 0


# --- over the DHT ---


def lend(universe: Universe, at: Address) -> Lender:
    """Have the node at ``at`` lend a relay."""
    engine = universe.at(at)
    lender = Lender(node_id=engine.node_id, now=universe.now)
    engine.lend_by(lender.lending.answer)
    return lender


def asked(universe: Universe, me: Address, at: Address, ask: Ask, node_id: bytes | None = None) -> RelayAsked:
    """Ask, and wait for what comes of it."""
    operation = universe.at(me).start_relay_ask(
        at, ask.key.public, universe.now, prove=ask.prove, node_id=node_id
    )
    universe.do(me)
    universe.link.run(5.0)
    (event,) = [e for _, e in universe.events[me] if isinstance(e, RelayAsked) and e.op == operation]
    return event


def test_asking_over_the_dht() -> None:
    """A first ask fetches the token, the next takes one round trip; a node without a relay says so."""
    universe = Universe(3, public=True)
    lender_at, off = universe.place(0), universe.place(1)
    lender = lend(universe, lender_at)
    me = universe.add(universe.engine("me", router=False))
    ask = lender.ask(OWNERS)
    event = asked(universe, me, lender_at, ask)
    assert event.node_id == universe.at(lender_at).node_id
    assert event.reason == m.RELAY_GRANTED
    assert ask.open_untrusted(event.sealed, event.node_id).of_contact
    sent = universe.at(me).statistics().counters
    assert sent["sent-relayask"] == 1
    pings = sent["sent-ping"]
    again = lender.ask()
    event = asked(universe, me, lender_at, again, event.node_id)
    assert event.reason == m.RELAY_GRANTED
    sent = universe.at(me).statistics().counters
    assert (sent["sent-ping"], sent["sent-relayask"]) == (pings, 2)
    assert asked(universe, me, off, lender.ask()).reason == m.RELAY_OFF
    assert asked(universe, me, ("46.9.9.9", 9), lender.ask()).reason is None


def test_an_old_token_is_replaced() -> None:
    """An ask with a token that is good no more is refused with a fresh one, and made again with that."""
    universe = Universe(2, public=True)
    lender_at = universe.place(0)
    lender = lend(universe, lender_at)
    me = universe.add(universe.engine("me", router=False))
    engine: DhtEngine = universe.at(me)
    engine._core.tokens.put(lender_at, b"\x00" * 8, universe.now)
    event = asked(universe, me, lender_at, lender.ask(), universe.at(lender_at).node_id)
    assert event.reason == m.RELAY_GRANTED
    assert engine.statistics().counters["sent-relayask"] == 2


def test_no_grant_is_sent_to_an_address_that_is_not_proven() -> None:
    """Without a token nothing is granted, and the answer is no longer than three times the ask."""
    universe = Universe(1, public=True)
    lender_at = universe.place(0)
    lender = lend(universe, lender_at)
    engine = universe.at(lender_at)
    ask = lender.ask(OWNERS)
    for token in (b"", b"guessed!"):
        frame = m.encode_frame(
            m.RelayAsk(TID, b"\x31" * 20, 1, token, ask.key.public, ask.prove(engine.node_id))
        )
        engine.receive(frame, ("46.3.3.3", 3), universe.now)
        answers = [m.decode_frame_untrusted(data) for data, to in engine.transmits() if to[0] == "46.3.3.3"]
        assert [type(answer) for answer in answers] == [m.Refused]
        assert len(m.encode_frame(answers[0])) <= DHT_AMPLIFICATION_MAX * len(frame)
    assert not lender.lending.counters


def test_a_replayed_ask_is_worth_nothing() -> None:
    """The same octets from elsewhere are refused; from the same address they bring the same grant."""
    universe = Universe(1, public=True)
    lender_at = universe.place(0)
    lender = lend(universe, lender_at)
    engine = universe.at(lender_at)
    victim: Address = ("46.3.3.3", 3)
    ask = lender.ask(OWNERS)
    frame = m.encode_frame(
        m.RelayAsk(
            TID,
            b"\x31" * 20,
            1,
            engine._core.mint.token(victim, universe.now),
            ask.key.public,
            ask.prove(engine.node_id),
        )
    )
    answers = []
    for sender in (victim, victim, ("46.4.4.4", 4)):
        engine.receive(frame, sender, universe.now)
        answers += [data for data, to in engine.transmits() if to == sender]
    first, second, third = (m.decode_frame_untrusted(answer) for answer in answers[:3])
    assert isinstance(first, m.RelayGrant)
    assert first == second
    assert isinstance(third, m.Refused)
    assert lender.lending.counters == {"grant-contact": 1}
