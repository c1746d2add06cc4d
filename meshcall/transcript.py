"""The transcript of a call: the two messages and the two certificates that both confirms are about."""

from __future__ import annotations

from meshcall.identity.confirm import Role, sign_confirm, verify_confirm_untrusted
from meshcall.identity.keys import SigningKey
from meshcall.identity.peer_id import PeerId


class Transcript:
    """Filled in while the call is made; worth nothing before it is whole."""

    def __init__(self) -> None:
        self.messages: tuple[bytes, bytes] | None = None
        """Hashes of the inner parts of offer and answer."""
        self.fingerprints: tuple[bytes, bytes] | None = None
        """SHA-256 of our certificate and of the peer's, as DTLS used them."""

    @property
    def is_whole(self) -> bool:
        """Whether all four are known."""
        return self.messages is not None and self.fingerprints is not None

    def sign(self, identity: SigningKey, role: Role) -> bytes:
        """Our confirm; the transcript must be whole."""
        return sign_confirm(identity, role=role, **self._parts())

    def verify_untrusted(self, peer: PeerId, confirm: bytes, role: Role) -> None:
        """Return if ``confirm`` is the peer's, while our role is ``role``; raises ``Rejected("confirm")``.

        The transcript must be whole.
        """
        verify_confirm_untrusted(peer, confirm, role=role, **self._parts())

    def _parts(self) -> dict[str, bytes]:
        assert self.messages is not None, "asked for too early"
        assert self.fingerprints is not None, "asked for too early"
        (offer_hash, answer_hash), (own_fp, peer_fp) = self.messages, self.fingerprints
        return {"offer_hash": offer_hash, "answer_hash": answer_hash, "own_fp": own_fp, "peer_fp": peer_fp}
