"""For any input: parsers give a value or their one error, and values survive their text and octets."""

from __future__ import annotations

import string
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshcall.errors import InvalidInvite, InvalidPeerId, InvalidUri, KeyFileError, Rejected
from meshcall.identity import keys
from meshcall.identity.confirm import verify_confirm_untrusted
from meshcall.identity.keys import AgreementKey, SigningKey
from meshcall.identity.peer_id import PeerId, fault_of_key, weakness_of_key
from meshcall.identity.prekeys import PrekeyRing
from meshcall.identity.sas import SasExchange, SasView, sas_words
from meshcall.identity.uri import PeerUri, clean_name, parse_peer
from meshcall.identity.vault import decode_vault, encode_vault
from meshcall.signaling.invite import Invite

SEEDS = st.binary(min_size=32, max_size=32)
PEERS = SEEDS.map(lambda seed: SigningKey.from_seed(seed).peer_id)
SECRETS = st.text(alphabet=string.ascii_lowercase + "234567", max_size=64)
NAMES = st.text(max_size=80).map(clean_name)
ID_LIKE = st.text(alphabet=string.ascii_letters + string.digits + "-_ \n%#?&=:", max_size=90)
KEY = SigningKey.from_seed(bytes(32))
AGREEMENT = AgreementKey.from_private(bytes([1]) * 32)
ADDRESSES = st.tuples(
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)), st.integers(-1, 70000)
)


@given(SEEDS)
def test_every_real_key_has_an_id_that_reads_back(seed: bytes) -> None:
    """No honest key is refused; text, grouped, upper case and link all name it."""
    peer_id = SigningKey.from_seed(seed).peer_id
    for text in (peer_id.text, peer_id.grouped, peer_id.text.upper(), f"meshcall:{peer_id}"):
        assert parse_peer(text).peer_id == peer_id


@given(st.one_of(st.text(max_size=400), ID_LIKE))
def test_any_text_is_an_id_or_invalid(text: str) -> None:
    """One exception; and what is taken has the text's own letters."""
    with suppress(InvalidPeerId):
        assert len(PeerId.parse(text).text) == 56


@given(st.binary(max_size=64))
def test_any_octets_are_a_key_or_invalid(data: bytes) -> None:
    """from_key raises InvalidPeerId, from_key_untrusted Rejected, for the same octets."""
    if fault_of_key(data) is None:
        assert PeerId.from_key(data).key == PeerId.from_key_untrusted(data).key == data
        return
    with pytest.raises(InvalidPeerId):
        PeerId.from_key(data)
    with pytest.raises(Rejected, match=r"^peer-id$"):
        PeerId.from_key_untrusted(data)


@given(st.binary(min_size=32, max_size=32))
@example(bytes(32))
@example(b"\x01" + bytes(31))
@example(b"\xff" * 32)
def test_what_the_curve_check_takes_is_a_point(data: bytes) -> None:
    """x, computed by the formula of RFC 8032 section 5.1.3, solves the curve equation, or there is none."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    y = int.from_bytes(data, "little") & (2**255 - 1)
    u, v = (y * y - 1) % p, (d * y * y + 1) % p
    x = u * pow(v, 3, p) * pow(u * pow(v, 7, p), (p - 5) // 8, p) % p
    on_curve = v * x * x % p in (u, p - u)
    if weakness_of_key(data) is None:
        assert (fault_of_key(data) is None) == on_curve
    else:
        assert fault_of_key(data) == weakness_of_key(data)


@given(PEERS, NAMES, SECRETS)
def test_links_read_back(peer_id: PeerId, name: str, secret: str) -> None:
    """From the link and from its QR form."""
    uri = PeerUri(peer_id, name, secret)
    assert PeerUri.parse(uri.format()) == uri
    assert PeerUri.parse(uri.qr_text()) == uri


@given(
    st.one_of(st.text(max_size=200), ID_LIKE), st.sampled_from(["", "meshcall:", f"meshcall:{KEY.peer_id}"])
)
def test_any_text_is_a_link_or_invalid(text: str, prefix: str) -> None:
    """Two exceptions, both usage errors; what is read can be written and read again."""
    with suppress(InvalidUri, InvalidPeerId):
        uri = parse_peer(prefix + text)
        assert PeerUri.parse(uri.format()) == uri


@given(st.text(max_size=300))
def test_a_clean_name_is_clean(text: str) -> None:
    """Cleaning twice is cleaning once; it fits, and it is one line that can be seen."""
    name = clean_name(text)
    assert clean_name(name) == name
    assert len(name.encode("utf-8")) <= 64
    assert name == "" or name.isprintable()


@given(PEERS, st.binary(min_size=16, max_size=16), st.integers(1, 10**15 - 1000), NAMES, st.booleans(),
       st.lists(ADDRESSES, max_size=6), st.lists(ADDRESSES, max_size=6))  # fmt: skip
def test_invites_read_back(
    peer_id: PeerId,
    secret: bytes,
    expires: int,
    name: str,
    once: bool,
    nodes: list[tuple[str, int]],
    gateways: list[tuple[str, int]],
) -> None:
    """Whatever an invite is made of, its link says the same."""
    invite = Invite.create(
        peer_id,
        expires_ms=expires,
        random=lambda n: secret,
        name=name,
        once=once,
        nodes=nodes,
        gateways=gateways,
    )
    assert Invite.parse(invite.format()) == invite
    assert Invite.parse(invite.qr_text()) == invite
    assert len(invite.nodes) <= 3
    assert len(invite.gateways) <= 2
    assert 0 <= invite.expires_ms - expires < 1000


@given(
    st.one_of(st.text(max_size=200), ID_LIKE), st.sampled_from(["", "meshcall:", f"meshcall:{KEY.peer_id}?"])
)
def test_any_text_is_an_invite_or_invalid(text: str, prefix: str) -> None:
    """One exception."""
    with suppress(InvalidInvite):
        invite = Invite.parse(prefix + text)
        assert Invite.parse(invite.format()) == invite


@given(SEEDS, st.binary(max_size=300), st.sampled_from([keys.OUTER, keys.INNER, keys.CONFIRM]))
def test_signatures_verify(seed: bytes, message: bytes, domain: bytes) -> None:
    """With the right key, message and domain."""
    key = SigningKey.from_seed(seed)
    signature = key.sign(domain, message)
    assert len(signature) == keys.SIGNATURE_LENGTH
    keys.verify_untrusted(key.public, signature, domain, message)


@given(st.binary(max_size=64), st.binary(max_size=80), st.binary(max_size=64))
def test_any_forgery_is_rejected(public: bytes, signature: bytes, message: bytes) -> None:
    """Octets from nowhere give Rejected("signature") and nothing else, as a confirm Rejected("confirm")."""
    with pytest.raises(Rejected, match=r"^signature$"):
        keys.verify_untrusted(public, signature, keys.INNER, message)
    h = bytes(32)
    with pytest.raises(Rejected, match=r"^confirm$"):
        verify_confirm_untrusted(
            KEY.peer_id, signature, role="caller", offer_hash=h, answer_hash=h, own_fp=h, peer_fp=h
        )


@given(SEEDS, st.binary(max_size=64), st.binary(max_size=800))
def test_sealing_round_trip(private: bytes, info: bytes, plaintext: bytes) -> None:
    """Any text, any context."""
    key = AgreementKey.from_private(private)
    sealed = keys.seal(key.public, info, plaintext)
    assert len(sealed) == len(plaintext) + keys.SEAL_OVERHEAD
    assert keys.open_untrusted(key, info, sealed) == plaintext


@given(st.binary(max_size=900), st.binary(max_size=40))
def test_any_junk_does_not_open(sealed: bytes, info: bytes) -> None:
    """Sealed, AEAD and agreement: Rejected with their one word."""
    with pytest.raises(Rejected, match=r"^sealed$"):
        keys.open_untrusted(AGREEMENT, info, sealed)
    with pytest.raises(Rejected, match=r"^sealed$"):
        keys.aead_open_untrusted(bytes(32), info[:12], sealed, info)
    with suppress(Rejected):
        assert len(AGREEMENT.agree_untrusted(sealed)) == 32


@given(st.binary(max_size=200))
@example(b"meshcall\x01\x01" + bytes(121))
def test_any_octets_are_no_key_file(data: bytes) -> None:
    """One exception, and nothing is computed for long."""
    with pytest.raises(KeyFileError):
        decode_vault(data, "passphrase")


@given(SEEDS)
def test_open_key_files_read_back(seed: bytes) -> None:
    """Seed to file to seed."""
    assert decode_vault(encode_vault(seed, None, bytes), None) == seed


@given(
    st.lists(st.integers(-10 * 86_400_000, 10 * 86_400_000), max_size=30), st.randoms(use_true_random=False)
)
def test_a_prekey_ring_keeps_its_laws_under_any_clock(times: list[int], dice: object) -> None:
    """What is published is young, nothing older than 48 h is held, and the state reads back."""
    random = dice.randbytes  # type: ignore[attr-defined]
    ring = PrekeyRing()
    for offset in times:
        now_ms = 1_800_000_000_000 + offset
        current = ring.current(now_ms, random)
        assert -120_000 <= now_ms - current.created_ms < 86_400_000
        assert all(abs(now_ms - entry["created_ms"]) < 2 * 86_400_000 for entry in ring.to_state())
        assert PrekeyRing.from_state(ring.to_state()).to_state() == ring.to_state()


@given(PEERS, PEERS, SEEDS, SEEDS, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_honest_ends_always_agree_on_words(
    caller: PeerId, callee: PeerId, fp_a: bytes, fp_b: bytes, nonce_a: bytes, nonce_b: bytes
) -> None:
    """Both sides of the exchange show the same."""
    view = SasView(caller, callee, fp_a, fp_b)
    left, right = (
        SasExchange("caller", view, lambda n: nonce_a),
        SasExchange("callee", view, lambda n: nonce_b),
    )
    to_right, to_left = left.commit_untrusted(right.commitment), right.commit_untrusted(left.commitment)
    assert left.reveal_untrusted(to_left) == right.reveal_untrusted(to_right)
    assert left.words == sas_words(view, nonce_a, nonce_b)
