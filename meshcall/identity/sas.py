"""Verification words: what two people compare aloud to know that nobody sits between them.

Law 1: the words come from both identities and both DTLS fingerprints, so they differ if either was swapped.
Law 2: each side commits to its nonce before it learns the other's. Somebody in the middle gets one blind try
at 42 bits, and can't search for keys or nonces that give the same words.
Law 3: the same secret is shown in two ways, as emoji with their words and as digits, for screens, screen
readers and telephones. They are compared by people; equal words on one side prove nothing.

::

    view        = caller ID key (32) caller fp (32) callee ID key (32) callee fp (32)
    commitment  = SHA-256("meshcall/1/sas-commit" 0x00 role nonce(16) view)    ; role: 1 caller, 2 callee
    secret      = SHA-256("meshcall/1/sas" 0x00 caller nonce(16) callee nonce(16) view)
    emoji       = first 42 bits of the secret, 6 for each of 7 emoji
    digits      = next 39 bits from octet 6 on, 13 for each of 3 numbers, plus 1000 (so 1000 to 9191)

        caller                             callee
          | ---- commitment ----------------> |
          | <--------------- commitment ----- |      in either order
          | ---- nonce ---------------------> |      each only after the other's commitment is here
          | <-------------------- nonce ----- |
       words                               words
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from meshcall import limits
from meshcall.errors import Rejected
from meshcall.identity.confirm import Role
from meshcall.identity.keys import Random, sha256
from meshcall.identity.peer_id import PeerId

COMMITMENT_LENGTH: Final = 32

EMOJI: Final[tuple[tuple[str, str], ...]] = (
    ("🐶", "Dog"), ("🐱", "Cat"), ("🦁", "Lion"), ("🐎", "Horse"),
    ("🦄", "Unicorn"), ("🐷", "Pig"), ("🐘", "Elephant"), ("🐰", "Rabbit"),
    ("🐼", "Panda"), ("🐓", "Rooster"), ("🐧", "Penguin"), ("🐢", "Turtle"),
    ("🐟", "Fish"), ("🐙", "Octopus"), ("🦋", "Butterfly"), ("🌷", "Flower"),
    ("🌳", "Tree"), ("🌵", "Cactus"), ("🍄", "Mushroom"), ("🌏", "Globe"),
    ("🌙", "Moon"), ("☁️", "Cloud"), ("🔥", "Fire"), ("🍌", "Banana"),
    ("🍎", "Apple"), ("🍓", "Strawberry"), ("🌽", "Corn"), ("🍕", "Pizza"),
    ("🎂", "Cake"), ("❤️", "Heart"), ("😀", "Smiley"), ("🤖", "Robot"),
    ("🎩", "Hat"), ("👓", "Glasses"), ("🔧", "Spanner"), ("🎅", "Santa"),
    ("👍", "Thumbs Up"), ("☂️", "Umbrella"), ("⌛", "Hourglass"), ("⏰", "Clock"),
    ("🎁", "Gift"), ("💡", "Light Bulb"), ("📕", "Book"), ("✏️", "Pencil"),
    ("📎", "Paperclip"), ("✂️", "Scissors"), ("🔒", "Lock"), ("🔑", "Key"),
    ("🔨", "Hammer"), ("☎️", "Telephone"), ("🏁", "Flag"), ("🚂", "Train"),
    ("🚲", "Bicycle"), ("✈️", "Aeroplane"), ("🚀", "Rocket"), ("🏆", "Trophy"),
    ("⚽", "Ball"), ("🎸", "Guitar"), ("🎺", "Trumpet"), ("🔔", "Bell"),
    ("⚓", "Anchor"), ("🎧", "Headphones"), ("📁", "Folder"), ("📌", "Pin"),
)  # fmt: skip
"""The 64 emoji of the Matrix specification's "SAS method: emoji", in its order, with its English words.
They were chosen there to look and sound different, and are translated into many languages."""


@dataclass(frozen=True, slots=True)
class SasView:
    """What one side knows of both ends of a call."""

    caller: PeerId
    callee: PeerId
    caller_fp: bytes
    """SHA-256 fingerprint of the caller's DTLS certificate, 32 octets: own one or the one seen in DTLS."""
    callee_fp: bytes
    """Likewise of the callee's."""

    def __post_init__(self) -> None:
        if len(self.caller_fp) != 32 or len(self.callee_fp) != 32:
            raise ValueError("fingerprints have 32 octets")

    def encode(self) -> bytes:
        """128 octets."""
        return self.caller.key + self.caller_fp + self.callee.key + self.callee_fp


@dataclass(frozen=True, slots=True)
class SasWords:
    """What people compare."""

    emoji: tuple[tuple[str, str], ...]
    """Seven (emoji, English word)."""

    digits: tuple[int, int, int]
    """Three numbers of four digits."""

    @property
    def words(self) -> str:
        """The seven words, for reading aloud."""
        return ", ".join(word for _, word in self.emoji)

    def __str__(self) -> str:
        pictures = "  ".join(f"{emoji} {word}" for emoji, word in self.emoji)
        return f"{pictures}  ({' '.join(map(str, self.digits))})"


def commitment(role: Role, nonce: bytes, view: SasView) -> bytes:
    """The 32 octets that bind the side with ``role`` to its nonce."""
    code = b"\x01" if role == "caller" else b"\x02"
    return sha256(b"meshcall/1/sas-commit\0", code, nonce, view.encode())


def sas_words(view: SasView, caller_nonce: bytes, callee_nonce: bytes) -> SasWords:
    """The words of both nonces. Only :class:`SasExchange` makes sure that they mean something."""
    secret = sha256(b"meshcall/1/sas\0", caller_nonce, callee_nonce, view.encode())
    picture_bits = int.from_bytes(secret[:6], "big") >> 6
    digit_bits = int.from_bytes(secret[6:11], "big") >> 1
    first, second, third = (1000 + (digit_bits >> shift & 0x1FFF) for shift in (26, 13, 0))
    return SasWords(
        tuple(EMOJI[picture_bits >> shift & 63] for shift in range(36, -1, -6)), (first, second, third)
    )


class SasExchange:
    """One side of the exchange, used once.

    Anything out of order or false raises ``Rejected("sas")``, and then nothing more comes of it.
    """

    def __init__(self, role: Role, view: SasView, random: Random) -> None:
        self._role: Final[Role] = role
        self._view: Final = view
        self._nonce: Final = random(limits.SAS_NONCE)
        self._peer_commitment: bytes | None = None
        self._failed = False
        self.words: SasWords | None = None
        """Set once both nonces are known."""

    @property
    def commitment(self) -> bytes:
        """Send this first."""
        return commitment(self._role, self._nonce, self._view)

    def commit_untrusted(self, peer_commitment: bytes) -> bytes:
        """Take the peer's commitment; returns our nonce, to be sent now. Raises ``Rejected("sas")``."""
        if self._failed or self._peer_commitment is not None or len(peer_commitment) != COMMITMENT_LENGTH:
            raise self._fail()
        self._peer_commitment = bytes(peer_commitment)
        return self._nonce

    def reveal_untrusted(self, peer_nonce: bytes) -> SasWords:
        """Take the peer's nonce; returns the words. Raises ``Rejected("sas")``."""
        expected = self._peer_commitment
        if self._failed or expected is None or self.words is not None or len(peer_nonce) != limits.SAS_NONCE:
            raise self._fail()
        other: Role = "callee" if self._role == "caller" else "caller"
        if not hmac.compare_digest(commitment(other, peer_nonce, self._view), expected):
            raise self._fail()
        nonces = (self._nonce, peer_nonce) if self._role == "caller" else (peer_nonce, self._nonce)
        self.words = sas_words(self._view, *nonces)
        return self.words

    def _fail(self) -> Rejected:
        self._failed = True
        self.words = None
        return Rejected("sas")

    def __repr__(self) -> str:
        state = "failed" if self._failed else "done" if self.words else "open"
        return f"SasExchange({self._role}, {state})"
