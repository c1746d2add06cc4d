"""The confirm: each side's proof, over the encrypted channel, that it is who the other one called.

Law 1: a call is connected only after both sides verified the other's confirm.
Law 2: it signs both messages that set up the call and the DTLS fingerprints that each side really sees, so
somebody in the middle has to break a signature, not only the path.
Law 3: the role is signed, so one's own confirm sent back proves nothing.

::

     0      1               33              65           97            129
    +------+---------------+---------------+------------+-------------+
    | role | offer hash    | answer hash   | own fp     | peer fp     |
    +------+---------------+---------------+------------+-------------+
    role         1   1 caller, 2 callee: of the signer
    offer hash   32  SHA-256 of the offer's inner part
    answer hash  32  SHA-256 of the answer's inner part
    own fp       32  SHA-256 fingerprint of the signer's DTLS certificate
    peer fp      32  SHA-256 fingerprint of the certificate that the signer was shown in the handshake
"""

from __future__ import annotations

from typing import Final, Literal

from meshcall.errors import Rejected
from meshcall.identity.keys import CONFIRM, SigningKey, verify_untrusted
from meshcall.identity.peer_id import PeerId

Role = Literal["caller", "callee"]

_CODES: Final[dict[Role, bytes]] = {"caller": b"\x01", "callee": b"\x02"}
_OTHER: Final[dict[Role, Role]] = {"caller": "callee", "callee": "caller"}


def confirm_message(
    role: Role, offer_hash: bytes, answer_hash: bytes, own_fp: bytes, peer_fp: bytes
) -> bytes:
    """The 129 octets that the side with ``role`` signs; "own" and "peer" are seen from there.

    Raises ValueError if a hash or a fingerprint does not have 32 octets.
    """
    parts = (offer_hash, answer_hash, own_fp, peer_fp)
    if any(len(part) != 32 for part in parts):
        raise ValueError("hashes and fingerprints have 32 octets")
    return _CODES[role] + b"".join(parts)


def sign_confirm(
    identity: SigningKey, *, role: Role, offer_hash: bytes, answer_hash: bytes, own_fp: bytes, peer_fp: bytes
) -> bytes:
    """Our confirm, 64 octets. ``role`` and the fingerprints are ours as we see them."""
    return identity.sign(CONFIRM, confirm_message(role, offer_hash, answer_hash, own_fp, peer_fp))


def verify_confirm_untrusted(
    peer_id: PeerId,
    confirm: bytes,
    *,
    role: Role,
    offer_hash: bytes,
    answer_hash: bytes,
    own_fp: bytes,
    peer_fp: bytes,
) -> None:
    """Return if ``confirm`` is the peer's; raises ``Rejected("confirm")``.

    All values are **ours**, the same that went into :func:`sign_confirm`: the peer's view is mirrored here.
    """
    message = confirm_message(_OTHER[role], offer_hash, answer_hash, peer_fp, own_fp)
    try:
        verify_untrusted(peer_id.key, confirm, CONFIRM, message)
    except Rejected:
        raise Rejected("confirm") from None
