"""Verification words: the same for two honest ends, different for anybody between, with one blind try."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId
from meshcall.identity.sas import EMOJI, SasExchange, SasView, commitment, sas_words

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)
GOLDEN = VECTORS["sas"]
VIEW = SasView(
    PeerId.from_key(bytes.fromhex(GOLDEN["caller"])),
    PeerId.from_key(bytes.fromhex(GOLDEN["callee"])),
    bytes.fromhex(GOLDEN["caller_fp"]),
    bytes.fromhex(GOLDEN["callee_fp"]),
)
CALLER_NONCE, CALLEE_NONCE = bytes.fromhex(GOLDEN["caller_nonce"]), bytes.fromhex(GOLDEN["callee_nonce"])


def both() -> tuple[SasExchange, SasExchange]:
    """An honest caller and an honest callee, with the vectors' nonces."""
    return (
        SasExchange("caller", VIEW, lambda n: CALLER_NONCE),
        SasExchange("callee", VIEW, lambda n: CALLEE_NONCE),
    )


def test_golden_words() -> None:
    """Commitments, words and digits as in the vectors."""
    assert commitment("caller", CALLER_NONCE, VIEW).hex() == GOLDEN["caller_commitment"]
    assert commitment("callee", CALLEE_NONCE, VIEW).hex() == GOLDEN["callee_commitment"]
    words = sas_words(VIEW, CALLER_NONCE, CALLEE_NONCE)
    assert [word for _, word in words.emoji] == GOLDEN["words"]
    assert list(words.digits) == GOLDEN["digits"]
    assert words.words == ", ".join(GOLDEN["words"])
    assert all(word in str(words) for word in GOLDEN["words"])
    assert all(str(number) in str(words) for number in GOLDEN["digits"])


def test_two_honest_ends_see_the_same() -> None:
    """The exchange as people use it."""
    caller, callee = both()
    caller_nonce = caller.commit_untrusted(callee.commitment)
    callee_nonce = callee.commit_untrusted(caller.commitment)
    seen = caller.reveal_untrusted(callee_nonce)
    assert callee.reveal_untrusted(caller_nonce) == seen
    assert caller.words == callee.words == sas_words(VIEW, CALLER_NONCE, CALLEE_NONCE)
    assert len(seen.emoji) == 7
    assert all(1000 <= number <= 9191 for number in seen.digits)


def test_everything_changes_the_words() -> None:
    """Each identity, each fingerprint, each nonce, and who called."""
    other_id = SigningKey.from_seed(bytes([9]) * 32).peer_id
    views = [
        VIEW,
        replace(VIEW, caller=other_id),
        replace(VIEW, callee=other_id),
        replace(VIEW, caller_fp=bytes(32)),
        replace(VIEW, callee_fp=bytes(32)),
        SasView(VIEW.callee, VIEW.caller, VIEW.callee_fp, VIEW.caller_fp),
    ]
    words = {sas_words(view, CALLER_NONCE, CALLEE_NONCE) for view in views}
    words |= {sas_words(VIEW, CALLEE_NONCE, CALLER_NONCE), sas_words(VIEW, CALLER_NONCE, CALLER_NONCE)}
    assert len(words) == len(views) + 2


def test_a_nonce_that_was_not_committed_to_is_refused() -> None:
    """Who waits to see our nonce can't choose another one any more."""
    caller, callee = both()
    caller.commit_untrusted(callee.commitment)
    with pytest.raises(Rejected, match="sas"):
        caller.reveal_untrusted(b"x" * 16)
    with pytest.raises(Rejected, match="sas"):
        caller.reveal_untrusted(CALLEE_NONCE)
    assert caller.words is None


def test_a_swapped_fingerprint_shows_at_the_reveal() -> None:
    """An end that sees another fingerprint can't check the commitment: no words at all."""
    caller = SasExchange("caller", VIEW, lambda n: CALLER_NONCE)
    fooled = SasExchange("callee", replace(VIEW, caller_fp=bytes(32)), lambda n: CALLEE_NONCE)
    caller.commit_untrusted(fooled.commitment)
    with pytest.raises(Rejected, match="sas"):
        caller.reveal_untrusted(CALLEE_NONCE)


def test_our_own_commitment_sent_back_is_refused() -> None:
    """The role is part of the commitment, so a mirror fails at the reveal."""
    caller, _ = both()
    nonce = caller.commit_untrusted(caller.commitment)
    with pytest.raises(Rejected, match="sas"):
        caller.reveal_untrusted(nonce)


def test_out_of_order_or_twice_is_refused_for_good() -> None:
    """Reveal before commit, two commitments, two reveals, wrong lengths: no words, ever."""
    early, callee = both()
    with pytest.raises(Rejected, match="sas"):
        early.reveal_untrusted(CALLEE_NONCE)
    with pytest.raises(Rejected, match="sas"):
        early.commit_untrusted(callee.commitment)

    twice, callee = both()
    twice.commit_untrusted(callee.commitment)
    with pytest.raises(Rejected, match="sas"):
        twice.commit_untrusted(callee.commitment)

    done, callee = both()
    done.commit_untrusted(callee.commitment)
    done.reveal_untrusted(CALLEE_NONCE)
    with pytest.raises(Rejected, match="sas"):
        done.reveal_untrusted(CALLEE_NONCE)
    assert done.words is None

    for length in (0, 31, 33):
        short, _ = both()
        with pytest.raises(Rejected, match="sas"):
            short.commit_untrusted(bytes(length))
    for length in (0, 15, 17):
        short, callee = both()
        short.commit_untrusted(callee.commitment)
        with pytest.raises(Rejected, match="sas"):
            short.reveal_untrusted(bytes(length))


def test_the_list_has_64_different_pictures_with_different_words() -> None:
    """6 bits each, and nothing that could be taken for another."""
    assert len(EMOJI) == 64
    assert len({emoji for emoji, _ in EMOJI}) == len({word for _, word in EMOJI}) == 64
    assert (EMOJI[0][1], EMOJI[19][1], EMOJI[63][1]) == ("Dog", "Globe", "Pin")


def test_the_words_spread_over_the_whole_list() -> None:
    """Every emoji comes up at every place, and digits over their whole range, in 2,000 exchanges."""
    places: list[set[str]] = [set() for _ in range(7)]
    numbers: list[int] = []
    for turn in range(2000):
        words = sas_words(VIEW, turn.to_bytes(16, "big"), CALLEE_NONCE)
        numbers += words.digits
        for place, (_, word) in zip(places, words.emoji, strict=True):
            place.add(word)
    assert all(len(place) == 64 for place in places)
    assert min(numbers) < 1100
    assert max(numbers) > 9091


def test_fingerprints_have_32_octets() -> None:
    """Anything else could be shifted into its neighbour."""
    with pytest.raises(ValueError, match="32 octets"):
        SasView(VIEW.caller, VIEW.callee, bytes(31), bytes(33))


def test_repr_hides_the_nonce() -> None:
    """The nonce is a secret until it is sent."""
    caller, _ = both()
    assert repr(caller) == "SasExchange(caller, open)"
