"""Keys and what is done with them: sign, verify, agree, seal, open, hash.

Law 1: every signature names its purpose; what is signed in one domain never verifies in another.
Law 2: verify first, parse after; bytes are signed and verified as they are, never a re-encoding.
Law 3: a failure says nothing: one :class:`Rejected` word per operation, whatever the reason.
Law 4: a secret is never shown: no ``repr``, no ``str``, no ``pickle``.

Sealing is HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305::

     0         32             32 + n     48 + n
    +---------+--------------+----------+
    |  enc    |  ciphertext  |  tag     |   n = octets of the plaintext, no associated data, context in info
    +---------+--------------+----------+
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meshcall.errors import Rejected
from meshcall.identity.peer_id import PeerId, weakness_of_key

Random = Callable[[int], bytes]
"""Returns that many octets that nobody can predict."""

SIGNATURE_LENGTH: Final = 64
SEAL_OVERHEAD: Final = 48
"""Octets that :func:`seal` adds: enc (32) and tag (16)."""
TAG_LENGTH: Final = 16
"""Octets that :func:`aead_seal` adds."""

OUTER: Final = b"meshcall/1/outer"
"""Domain of a stored record, signed by the key that it is stored under."""
INNER: Final = b"meshcall/1/inner"
"""Domain of a sealed message, signed by its sender's identity."""
PRESENCE: Final = b"meshcall/1/presence"
"""Domain of a presence, signed by the identity."""
CONFIRM: Final = b"meshcall/1/confirm"
"""Domain of the proof that ends a call's set-up."""
NODE: Final = b"meshcall/1/node"
"""Domain of a DHT node's proof that it holds its node key."""

_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class SigningKey:
    """An Ed25519 key pair (RFC 8032): an identity, a DHT node's key, or the outer key of a rendezvous."""

    __slots__ = ("_private", "public", "seed")

    seed: bytes
    """32 octets. The secret."""
    public: bytes
    """32 octets."""

    def __init__(self, seed: bytes) -> None:
        """Use :meth:`from_seed` or :meth:`generate`; raises ValueError unless ``seed`` has 32 octets."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.seed = bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key pair of a seed of 32 octets; raises ValueError for another length."""
        return cls(seed)

    @classmethod
    def generate(cls, random: Random) -> SigningKey:
        """A new key pair."""
        return cls(random(32))

    @property
    def peer_id(self) -> PeerId:
        """The ID that this key is the private half of."""
        return PeerId(self.public)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """64 octets: the signature over ``domain``, a zero octet and ``message``. About 70 us."""
        return self._private.sign(_in_domain(domain, message))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is never pickled")


class AgreementKey:
    """An X25519 key pair (RFC 7748): a prekey, or the key that replies to one offer are sealed to."""

    __slots__ = ("_private", "private", "public")

    private: bytes
    """32 octets. The secret."""
    public: bytes
    """32 octets."""

    def __init__(self, private: bytes) -> None:
        """Use :meth:`from_private` or :meth:`generate`; raises ValueError unless it has 32 octets."""
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.private = bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def from_private(cls, private: bytes) -> AgreementKey:
        """The key pair of a private half of 32 octets; raises ValueError for another length."""
        return cls(private)

    @classmethod
    def generate(cls, random: Random) -> AgreementKey:
        """A new key pair."""
        return cls(random(32))

    def agree_untrusted(self, public: bytes) -> bytes:
        """The 32 octets shared with the holder of ``public``; raises ``Rejected("agreement")``.

        An all-zero result (RFC 7748 section 6.1) is refused: it would not depend on our key.
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise Rejected("agreement") from None

    def __repr__(self) -> str:
        return f"AgreementKey(public={self.public.hex()[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is never pickled")


@lru_cache(maxsize=1)
def _probe() -> AgreementKey:
    """Made when it is first needed: with it the library loads 2 MB that a router never needs."""
    return AgreementKey(bytes([0x40]) * 32)


def check_agreement_key_untrusted(public: bytes) -> None:
    """Raise ``Rejected("agreement")`` unless something can be sealed to this X25519 key. About 35 us."""
    _probe().agree_untrusted(public)


def verify_untrusted(public: bytes, signature: bytes, domain: bytes, message: bytes) -> None:
    """Return if ``public`` signed ``message`` in ``domain``; raises ``Rejected("signature")``. About 140 us.

    Weak and non-canonical keys are refused before the library sees them, because it takes them.
    """
    if weakness_of_key(public) is not None or len(signature) != SIGNATURE_LENGTH:
        raise Rejected("signature")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _in_domain(domain, message))
    except (InvalidSignature, ValueError):
        raise Rejected("signature") from None


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """``plaintext`` sealed to the X25519 key ``public``, 48 octets longer. About 85 us.

    ``info`` is the context, which the opener must know; it is not sent. The sender stays anonymous.
    Raises ``Rejected("agreement")`` for a key of small order or of a wrong length. Uses the library's own
    random numbers.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError:
        raise Rejected("agreement") from None


def open_untrusted(key: AgreementKey, info: bytes, sealed: bytes) -> bytes:
    """What :func:`seal` sealed; raises ``Rejected("sealed")``. About 90 us."""
    try:
        return _SUITE.decrypt(sealed, key._private, info)
    except (InvalidTag, ValueError):
        raise Rejected("sealed") from None


def hkdf(secret: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) of ``secret`` without salt, bound to ``info``; up to 8,160 octets."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(secret)


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts, one after the other. The caller sees to it that they can be told apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def mac(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) of the parts, one after the other."""
    code = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        code.update(part)
    return code.digest()


def aead_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """ChaCha20-Poly1305 (RFC 8439): ciphertext and tag. Key 32 octets, nonce 12, never twice with a key."""
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def aead_open_untrusted(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """What :func:`aead_seal` sealed; raises ``Rejected("sealed")``."""
    if len(nonce) != 12:
        raise Rejected("sealed")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Rejected("sealed") from None


def _in_domain(domain: bytes, message: bytes) -> bytes:
    # A zero octet inside a domain would let two (domain, message) pairs sign the same bytes
    if b"\0" in domain:
        raise ValueError("a signature domain has no zero octet")
    return domain + b"\0" + message
