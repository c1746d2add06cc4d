"""A witness says whether it gave a token to an address: proof for a third node that somebody reads there."""

from __future__ import annotations

from meshcall.address import Address
from meshcall.dht import messages as m
from meshcall.dht.events import VouchDone
from meshcall.limits import DHT_AMPLIFICATION_MAX, DHT_TOKEN_ROTATION
from tests.unit.dht.test_attacks import ask, token_of
from tests.unit.dht.universe import Universe, public_address_of

CLAIMED: Address = ("198.18.0.7", 40000)


def vouched(universe: Universe, witness: Address, address: Address, token: bytes) -> bool | None:
    """What the witness tells the node at 1."""
    asker = public_address_of(1)
    universe.at(asker).start_vouch(witness, address, token, universe.now)
    universe.do(asker)
    universe.link.run(3.0)
    (done,) = [event for _, event in universe.events[asker] if isinstance(event, VouchDone)]
    universe.events[asker].clear()
    return done.vouched


def test_a_witness_vouches_for_its_own_tokens() -> None:
    """Of the address that the token was given to, and for as long as tokens are good."""
    universe = Universe(3, seed=5, public=True)
    witness, token = public_address_of(2), token_of(universe.at(public_address_of(2)), CLAIMED, universe.now)
    assert vouched(universe, witness, CLAIMED, token) is True
    universe.link.run(2 * DHT_TOKEN_ROTATION + 1)
    assert vouched(universe, witness, CLAIMED, token) is False


def test_forged_observations_are_not_vouched_for() -> None:
    """A token of another port, another host, another node, none, or made up."""
    universe = Universe(3, seed=6, public=True)
    witness = public_address_of(2)
    token = token_of(universe.at(witness), CLAIMED, universe.now)
    elsewhere = token_of(universe.at(public_address_of(0)), CLAIMED, universe.now)
    for address, shown in [
        ((CLAIMED[0], CLAIMED[1] + 1), token),
        (("198.18.0.8", CLAIMED[1]), token),
        (CLAIMED, elsewhere),
        (CLAIMED, b""),
        (CLAIMED, bytes(8)),
        (CLAIMED, bytes(16)),
    ]:
        assert vouched(universe, witness, address, shown) is False


def test_a_dead_witness_says_nothing() -> None:
    """None, which proves nothing."""
    universe = Universe(2, seed=7, public=True)
    assert vouched(universe, ("45.99.99.7", 4000), CLAIMED, bytes(8)) is None


def test_vouching_sends_nothing_to_the_address_and_amplifies_nothing() -> None:
    """One small answer to who asked."""
    universe = Universe(2, seed=8, public=True)
    engine = universe.at(public_address_of(0))
    request = m.Vouch(b"12345678", b"\x31" * 20, m.EPHEMERAL, bytes(8), bytes([198, 18, 0, 7, 1, 1]))
    frame = m.encode_frame(request)
    (reply,) = ask(engine, request, ("46.1.1.1", 9), universe.now)
    assert isinstance(reply, m.Vouched)
    assert len(m.encode_frame(reply)) <= DHT_AMPLIFICATION_MAX * len(frame)
    assert engine.transmits() == []
