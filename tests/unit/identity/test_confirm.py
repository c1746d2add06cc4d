"""The confirm: what it signs, and every way in which it must not verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

import pytest

from meshcall.errors import Rejected
from meshcall.identity import keys
from meshcall.identity.confirm import Role, confirm_message, sign_confirm, verify_confirm_untrusted
from meshcall.identity.keys import SigningKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)


class View(TypedDict):
    """What one side knows."""

    role: Role
    offer_hash: bytes
    answer_hash: bytes
    own_fp: bytes
    peer_fp: bytes


def view_of(vector: dict[str, str]) -> View:
    """The view of a vector's signer."""
    role: Role = "caller" if vector["role"] == "caller" else "callee"
    return View(
        role=role,
        offer_hash=bytes.fromhex(vector["offer_hash"]),
        answer_hash=bytes.fromhex(vector["answer_hash"]),
        own_fp=bytes.fromhex(vector["own_fp"]),
        peer_fp=bytes.fromhex(vector["peer_fp"]),
    )


CALLER_VIEW, CALLEE_VIEW = map(view_of, VECTORS["confirms"])
CALLER, CALLEE = (SigningKey.from_seed(bytes.fromhex(v["seed"])) for v in VECTORS["confirms"])


@pytest.mark.parametrize("vector", VECTORS["confirms"], ids=lambda vector: vector["role"])
def test_golden_confirms(vector: dict[str, str]) -> None:
    """Message and signature, octet for octet."""
    view = view_of(vector)
    assert confirm_message(**view).hex() == vector["message"]
    assert len(confirm_message(**view)) == 129
    key = SigningKey.from_seed(bytes.fromhex(vector["seed"]))
    assert sign_confirm(key, **view).hex() == vector["signature"]


def test_each_side_verifies_the_other_with_its_own_view() -> None:
    """The same values that a side signs with, it verifies with."""
    from_caller, from_callee = sign_confirm(CALLER, **CALLER_VIEW), sign_confirm(CALLEE, **CALLEE_VIEW)
    verify_confirm_untrusted(CALLEE.peer_id, from_callee, **CALLER_VIEW)
    verify_confirm_untrusted(CALLER.peer_id, from_caller, **CALLEE_VIEW)
    assert from_caller != from_callee


def test_a_reflected_confirm_proves_nothing() -> None:
    """One's own confirm does not verify as the peer's, not even with one's own ID."""
    own = sign_confirm(CALLER, **CALLER_VIEW)
    for peer in (CALLER.peer_id, CALLEE.peer_id):
        with pytest.raises(Rejected, match="confirm"):
            verify_confirm_untrusted(peer, own, **CALLER_VIEW)


@pytest.mark.parametrize("field", ["offer_hash", "answer_hash", "own_fp", "peer_fp"])
def test_any_difference_in_what_was_seen_fails(field: str) -> None:
    """A swapped offer, answer or fingerprint, on either side, is noticed."""
    confirm = sign_confirm(CALLEE, **CALLEE_VIEW)
    for other in (bytes(32), CALLER_VIEW["own_fp"], CALLER_VIEW["peer_fp"]):
        if CALLER_VIEW[field] == other:  # type: ignore[literal-required]
            continue
        changed = CALLER_VIEW.copy()
        changed[field] = other  # type: ignore[literal-required]
        with pytest.raises(Rejected, match="confirm"):
            verify_confirm_untrusted(CALLEE.peer_id, confirm, **changed)


def test_both_roles_wrong_and_exchanged_hashes_fail() -> None:
    """Roles and the order of the hashes are signed."""
    confirm = sign_confirm(CALLEE, **CALLEE_VIEW)
    wrong_role = CALLER_VIEW.copy()
    wrong_role["role"] = "callee"
    exchanged = CALLER_VIEW.copy()
    exchanged["offer_hash"], exchanged["answer_hash"] = CALLER_VIEW["answer_hash"], CALLER_VIEW["offer_hash"]
    for view in (wrong_role, exchanged):
        with pytest.raises(Rejected, match="confirm"):
            verify_confirm_untrusted(CALLEE.peer_id, confirm, **view)


def test_a_signature_from_another_domain_is_no_confirm() -> None:
    """The same octets signed as an inner message do not count."""
    forged = CALLEE.sign(keys.INNER, confirm_message(**CALLEE_VIEW))
    with pytest.raises(Rejected, match="confirm"):
        verify_confirm_untrusted(CALLEE.peer_id, forged, **CALLER_VIEW)


def test_every_flipped_bit_fails() -> None:
    """All 512 bits, and every other length."""
    confirm = sign_confirm(CALLEE, **CALLEE_VIEW)
    for bit in range(512):
        bad = bytearray(confirm)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected, match="confirm"):
            verify_confirm_untrusted(CALLEE.peer_id, bytes(bad), **CALLER_VIEW)
    for length in (0, 63, 65):
        with pytest.raises(Rejected, match="confirm"):
            verify_confirm_untrusted(CALLEE.peer_id, (confirm + b"\0")[:length], **CALLER_VIEW)


def test_lengths_of_our_own_values_are_checked() -> None:
    """Values of other lengths could be shifted into each other: a bug of ours."""
    with pytest.raises(ValueError, match="32 octets"):
        confirm_message("caller", bytes(31), bytes(33), bytes(32), bytes(32))
