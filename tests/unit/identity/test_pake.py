"""The exchange by code: the same code, another one, another peer, octets of strangers."""

from __future__ import annotations

import random

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.pake import CONFIRM, ELEMENT, CodeExchange

ALICE, BOB, EVE = (SigningKey.from_seed(bytes([n]) * 32).peer_id for n in (1, 2, 3))
RANDOM = random.Random(1).randbytes


def pair(joiners: str, members: str, *, seen_by_member: object = ALICE) -> tuple[CodeExchange, CodeExchange]:
    """Both sides, once their elements have been exchanged."""
    joiner = CodeExchange("joiner", joiners, ALICE, BOB, RANDOM)
    member = CodeExchange("member", members, seen_by_member, BOB, RANDOM)  # type: ignore[arg-type]
    assert len(joiner.element) == len(member.element) == ELEMENT
    member.finish_untrusted(joiner.element)
    joiner.finish_untrusted(member.element)
    return joiner, member


def test_the_same_code_is_confirmed_both_ways() -> None:
    """By different octets, so neither side can send back what it heard."""
    joiner, member = pair("7-acorn-zebra", "7-acorn-zebra")
    member.check_untrusted(joiner.confirm())
    joiner.check_untrusted(member.confirm())
    assert joiner.confirm() != member.confirm()
    assert len(joiner.confirm()) == CONFIRM
    with pytest.raises(Rejected, match="code"):
        joiner.check_untrusted(joiner.confirm())


def test_another_code_or_another_peer_is_not_confirmed() -> None:
    """Somebody in the middle who passes elements on is another peer."""
    for joiner, member in (
        pair("7-acorn-zebra", "7-acorn-tiger"),
        pair("7-acorn-zebra", "7-acorn-zebra", seen_by_member=EVE),
    ):
        with pytest.raises(Rejected, match="code"):
            member.check_untrusted(joiner.confirm())
        with pytest.raises(Rejected, match="code"):
            joiner.check_untrusted(member.confirm())


def test_elements_of_strangers_are_refused_and_end_the_run() -> None:
    """Wrong length, off the curve, of small order, our own, of the same side, and any other octets."""
    rng = random.Random(2)
    small = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    mine = CodeExchange("member", "7-acorn-zebra", ALICE, BOB, RANDOM)
    bad = [b"", b"A", bytes(33), b"A" + bytes(32), b"A" + small, b"A\x01" + bytes(31), b"A" + b"\xff" * 32]
    bad += [mine.element, b"A" + mine.element[1:], b"S" + mine.element[1:]]
    bad += [b"A" + bytes([2]) + bytes(31), *(rng.randbytes(33) for _ in range(50))]
    for element in bad:
        exchange = CodeExchange("member", "7-acorn-zebra", ALICE, BOB, RANDOM)
        if element == b"A" + mine.element[1:]:
            exchange = mine
        with pytest.raises(Rejected, match="pake"):
            exchange.finish_untrusted(element)
        assert not exchange.done
        with pytest.raises(Rejected, match="pake"):
            exchange.confirm()


def test_a_second_element_is_refused_and_the_same_one_does_nothing() -> None:
    """Each run is one guess."""
    joiner, member = pair("7-acorn-zebra", "7-acorn-zebra")
    other = CodeExchange("joiner", "7-acorn-zebra", ALICE, BOB, RANDOM)
    member.finish_untrusted(joiner.element)
    with pytest.raises(Rejected, match="pake"):
        member.finish_untrusted(other.element)
    member.check_untrusted(joiner.confirm())


def test_randomness_comes_from_outside() -> None:
    """The same octets give the same element."""
    one, two = (
        CodeExchange("joiner", "7-acorn-zebra", ALICE, BOB, random.Random(5).randbytes) for _ in range(2)
    )
    assert one.element == two.element
