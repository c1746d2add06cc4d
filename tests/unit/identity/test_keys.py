"""Signing, sealing, agreeing, hashing: against published vectors, against our own, and against forgers."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from meshcall.errors import Rejected
from meshcall.identity import keys
from meshcall.identity.keys import AgreementKey, SigningKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "identity.json").read_text("utf-8")
)
KEY = SigningKey.from_seed(bytes(range(32)))
AGREEMENT = AgreementKey.from_private(bytes([2]) * 32)


def test_ed25519_is_that_of_the_rfc() -> None:
    """RFC 8032 section 7.1, test 1: seed to public key."""
    key = SigningKey.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.peer_id.key == key.public


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=lambda vector: vector["domain"])
def test_golden_signatures(vector: dict[str, str]) -> None:
    """Each domain's signature is as in the vectors, and verifies in that domain only."""
    key = SigningKey.from_seed(bytes.fromhex(vector["seed"]))
    message, domain = bytes.fromhex(vector["message"]), vector["domain"].encode()
    signature = key.sign(domain, message)
    assert signature.hex() == vector["signature"]
    keys.verify_untrusted(key.public, signature, domain, message)
    others = {v["domain"].encode() for v in VECTORS["signatures"]} - {domain}
    assert len(others) == 4
    for other in others:
        with pytest.raises(Rejected, match="signature"):
            keys.verify_untrusted(key.public, signature, other, message)


def test_every_flipped_bit_of_a_signature_is_noticed() -> None:
    """All 512 bits of the signature, all 256 of the key, all of the message."""
    signature = KEY.sign(keys.INNER, b"hello")
    good = (KEY.public, signature, b"hello")
    keys.verify_untrusted(KEY.public, signature, keys.INNER, b"hello")
    tried = 0
    for part in range(3):
        for bit in range(8 * len(good[part])):
            bad = list(good)
            octets = bytearray(good[part])
            octets[bit // 8] ^= 1 << bit % 8
            bad[part] = bytes(octets)
            with pytest.raises(Rejected, match="signature"):
                keys.verify_untrusted(bad[0], bad[1], keys.INNER, bad[2])
            tried += 1
    assert tried == 512 + 256 + 40


def test_a_malleable_signature_is_refused() -> None:
    """S + L, which verifies under a lax rule, does not verify."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign(keys.INNER, b"hello")
    s = int.from_bytes(signature[32:], "little") + order
    assert s < 2**256
    with pytest.raises(Rejected, match="signature"):
        keys.verify_untrusted(KEY.public, signature[:32] + s.to_bytes(32, "little"), keys.INNER, b"hello")


def test_a_domain_can_not_be_shifted_into_the_message() -> None:
    """A domain with a zero octet could sign another domain's bytes: a bug of ours, refused as one."""
    with pytest.raises(ValueError, match="zero octet"):
        KEY.sign(b"meshcall/1/inner\0x", b"")


def test_seal_and_open_golden() -> None:
    """What was sealed once opens for ever."""
    vector = VECTORS["sealed"]
    key = AgreementKey.from_private(bytes.fromhex(vector["private"]))
    assert key.public.hex() == vector["public"]
    sealed, info = bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["info"])
    assert keys.open_untrusted(key, info, sealed) == bytes.fromhex(vector["plaintext"])


def test_sealing_adds_48_octets_and_is_bound_to_key_and_context() -> None:
    """Only the right key with the right info opens; two seals of one text differ."""
    sealed = keys.seal(AGREEMENT.public, b"info", b"hello")
    assert len(sealed) == 5 + keys.SEAL_OVERHEAD
    assert keys.seal(AGREEMENT.public, b"info", b"hello") != sealed
    assert keys.open_untrusted(AGREEMENT, b"info", sealed) == b"hello"
    with pytest.raises(Rejected, match="sealed"):
        keys.open_untrusted(AGREEMENT, b"inf0", sealed)
    with pytest.raises(Rejected, match="sealed"):
        keys.open_untrusted(AgreementKey.from_private(bytes([3]) * 32), b"info", sealed)


def test_every_flipped_bit_of_a_sealed_text_is_noticed() -> None:
    """All bits but the top one of enc, which X25519 ignores; HPKE binds enc, so that one counts too."""
    sealed = keys.seal(AGREEMENT.public, b"info", b"hello")
    for bit in range(8 * len(sealed)):
        bad = bytearray(sealed)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected, match="sealed"):
            keys.open_untrusted(AGREEMENT, b"info", bytes(bad))


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 47, 48, 49, 1200])
def test_opening_junk_is_rejected(length: int) -> None:
    """Any length of zeros gives the one exception."""
    with pytest.raises(Rejected, match="sealed"):
        keys.open_untrusted(AGREEMENT, b"info", bytes(length))


LOW_ORDER_X25519 = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
]


@pytest.mark.parametrize("public", LOW_ORDER_X25519)
def test_keys_that_agree_on_zero_are_rejected(public: str) -> None:
    """RFC 7748 section 6.1: an all-zero secret is refused in agreeing, sealing and checking."""
    key = bytes.fromhex(public)
    with pytest.raises(Rejected, match="agreement"):
        AGREEMENT.agree_untrusted(key)
    with pytest.raises(Rejected, match="agreement"):
        keys.seal(key, b"info", b"hello")
    with pytest.raises(Rejected, match="agreement"):
        keys.check_agreement_key_untrusted(key)
    with pytest.raises(Rejected, match="sealed"):
        keys.open_untrusted(AGREEMENT, b"info", key + bytes(40))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_agreement_keys_have_32_octets(length: int) -> None:
    """A wrong length from a stranger is a rejection, from us a ValueError."""
    with pytest.raises(Rejected, match="agreement"):
        AGREEMENT.agree_untrusted(bytes(length))
    with pytest.raises(Rejected, match="agreement"):
        keys.seal(bytes(length), b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        AgreementKey.from_private(bytes(length))
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_seed(bytes(length))


def test_x25519_is_that_of_the_rfc() -> None:
    """RFC 7748 section 6.1: Bob's private key, Alice's public key, their shared secret."""
    bob = AgreementKey.from_private(
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    )
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert bob.agree_untrusted(alice).hex() == shared
    keys.check_agreement_key_untrusted(alice)


def test_both_ends_agree() -> None:
    """Each end computes the same 32 octets."""
    other = AgreementKey.from_private(bytes([9]) * 32)
    assert AGREEMENT.agree_untrusted(other.public) == other.agree_untrusted(AGREEMENT.public)


def test_hkdf_is_that_of_the_rfc() -> None:
    """RFC 5869 appendix A.3 (no salt, no info), and our own vector with info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert keys.hkdf(b"\x0b" * 22, b"", 42).hex() == expected
    vector = VECTORS["hkdf"]
    out = keys.hkdf(bytes.fromhex(vector["secret"]), bytes.fromhex(vector["info"]), vector["length"])
    assert out.hex() == vector["output"]


def test_aead_round_trip_and_damage() -> None:
    """Text, associated data, nonce and key are all bound; junk of any length is rejected."""
    key, nonce = bytes(32), bytes(12)
    sealed = keys.aead_seal(key, nonce, b"hello", b"aad")
    assert len(sealed) == 5 + keys.TAG_LENGTH
    assert keys.aead_open_untrusted(key, nonce, sealed, b"aad") == b"hello"
    for bad in (
        (key, nonce, sealed, b"aae"),
        (key, b"\x01" + nonce[1:], sealed, b"aad"),
        (b"\x01" + key[1:], nonce, sealed, b"aad"),
        (key, nonce, sealed[:-1], b"aad"),
        (key, nonce, b"", b"aad"),
        (key, nonce[:-1], sealed, b"aad"),
    ):
        with pytest.raises(Rejected, match="sealed"):
            keys.aead_open_untrusted(*bad)


def test_hashes_join_their_parts() -> None:
    """SHA-256 (FIPS 180-4) and HMAC (RFC 4231 test case 2) of parts are those of the whole."""
    assert keys.sha256(b"a", b"bc").hex().startswith("ba7816bf8f01cfea")
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert keys.mac(b"Jefe", b"what do ya want ", b"for nothing?").hex() == expected


def test_generate_takes_its_octets_from_the_random_argument() -> None:
    """Nothing here has a random source of its own (but sealing, whose library has one)."""
    assert SigningKey.generate(lambda n: bytes([7]) * n).seed == bytes([7]) * 32
    assert AgreementKey.generate(lambda n: bytes([8]) * n).private == bytes([8]) * 32


@pytest.mark.parametrize("key", [KEY, AGREEMENT], ids=["signing", "agreement"])
def test_private_keys_hide(key: SigningKey | AgreementKey) -> None:
    """No repr, str, format, pickle or copy shows or spreads a secret."""
    secret = key.seed if isinstance(key, SigningKey) else key.private
    for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"k": key})):
        assert secret.hex()[:8] not in shown
        assert repr(secret)[2:10] not in shown
        assert key.public.hex()[:8] in shown
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)
    with pytest.raises(TypeError, match="never pickled"):
        copy.deepcopy(key)
