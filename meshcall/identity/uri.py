"""The link that people share: ``meshcall:ID?n=Name#secret``.

Law 1: the secret stands after ``#``, which no browser or proxy ever sends to a server.
Law 2: a parameter that is not known is ignored, so that newer links still work; a known one twice is refused.
Law 3: the name is what its owner says; it is cleaned of everything that could disguise it, never trusted.

::

    uri     = "meshcall:" id [ "?" param *( "&" param ) ] [ "#" secret ]   ; scheme in any case
    id      = 56( ALPHA / "2"-"7" )                                        ; forgiving as PeerId.parse
    param   = key "=" *( unreserved / ":" / pct-encoded )                  ; n = name
    secret  = 1*64( ALPHA / "2"-"7" )                                      ; base32, any case
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from meshcall import limits
from meshcall.errors import InvalidUri
from meshcall.identity import base32
from meshcall.identity.peer_id import PeerId

SCHEME: Final = "meshcall:"
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean_name(text: str) -> str:
    """``text`` as a name that is safe to show: one line, no invisible or direction-changing characters.

    NFC, white space runs become one space, cut to :data:`limits.NAME_MAX` octets of UTF-8 at a character.
    """
    return clean_line(text, limits.NAME_MAX)


def clean_line(text: str, most: int) -> str:
    """As :func:`clean_name`, of any length: ``most`` octets of UTF-8."""
    # Cut first, since no text needs more; normalise after dropping, which can bring combining marks together
    spaced = "".join(" " if c.isspace() else c for c in text[: 4 * most])
    visible = "".join(c for c in spaced if unicodedata.category(c) not in _HIDDEN)
    visible = unicodedata.normalize("NFC", visible)
    cut = " ".join(visible.split()).encode("utf-8")[:most]
    return cut.decode("utf-8", errors="ignore").rstrip()


@dataclass(frozen=True, slots=True)
class PeerUri:
    """A link to a peer."""

    peer_id: PeerId
    """Whom it names."""

    name: str = ""
    """What the peer calls itself, unverified; empty: nothing."""

    secret: str = field(default="", repr=False)
    """Lower-case base32 that proves that its holder was given this link; empty: none."""

    def __post_init__(self) -> None:
        if self.name != clean_name(self.name):
            raise InvalidUri("the name in a link is one short line of visible characters")
        _check_secret(self.secret)

    @classmethod
    def parse(cls, text: str) -> PeerUri:
        """The link in ``text``; raises :class:`InvalidUri` or :class:`InvalidPeerId`."""
        peer_id, parameters, secret = split_uri(text)
        if "r" in parameters:
            raise InvalidUri("that is a link into a room", hint="to come in: `meshcall room join LINK`")
        return cls(peer_id, clean_name(parameters.get("n", [""])[0]), secret)

    def format(self) -> str:
        """The link, in its one spelling."""
        return join_uri(self.peer_id, [("n", self.name)] if self.name else [], self.secret)

    def qr_text(self) -> str:
        """The link in upper case where case means nothing: a bare ID fits QR's alphanumeric mode."""
        return upper_uri(self.format())

    def __str__(self) -> str:
        """The link without its secret: safe to log."""
        return join_uri(self.peer_id, [("n", self.name)] if self.name else [], "")


def parse_peer(text: str) -> PeerUri:
    """What a user pastes: a link or an ID. Raises :class:`InvalidUri` or :class:`InvalidPeerId`."""
    if is_uri(text):
        return PeerUri.parse(text)
    return PeerUri(PeerId.parse(text))


def is_uri(text: str) -> bool:
    """Whether ``text`` is meant as a meshcall link."""
    return _strip(text)[: len(SCHEME)].lower() == SCHEME


def split_uri(text: str) -> tuple[PeerId, dict[str, list[str]], str]:
    """(ID, parameters with their decoded values in order, lower-case secret) of a link.

    Raises :class:`InvalidUri` or :class:`InvalidPeerId`. Which keys may come twice is the caller's rule,
    except for ``n``.
    """
    if len(text) > limits.URI_TEXT_MAX:
        raise InvalidUri(f"that is too long for a link: {len(text)} characters")
    text = _strip(text)
    if not is_uri(text):
        raise InvalidUri("a meshcall link begins with meshcall:")
    rest, _, secret = text[len(SCHEME) :].partition("#")
    id_text, _, query = rest.partition("?")
    parameters: dict[str, list[str]] = {}
    for item in query.split("&") if query else []:
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidUri(f"{item!r} in that link has no value")
        parameters.setdefault(key.lower(), []).append(_unquote(value))
    if len(parameters.get("n", [])) > 1:
        raise InvalidUri("that link has two names")
    secret = secret.lower()
    _check_secret(secret)
    return PeerId.parse(id_text), parameters, secret


def join_uri(peer_id: PeerId, parameters: list[tuple[str, str]], secret: str) -> str:
    """The link in its one spelling."""
    query = "&".join(f"{key}={quote(value, safe=':')}" for key, value in parameters)
    return SCHEME + peer_id.text + ("?" + query if query else "") + ("#" + secret if secret else "")


def upper_uri(uri: str) -> str:
    """A link of :func:`join_uri` with ID and secret in upper case; parameters keep their case."""
    head, hash_sign, secret = uri.partition("#")
    address, mark, query = head.partition("?")
    return address.upper() + mark + query + hash_sign + secret.upper()


def _strip(text: str) -> str:
    return text.strip().removeprefix("<").removesuffix(">").strip()


def _check_secret(secret: str) -> None:
    if len(secret) > limits.SECRET_TEXT_MAX or not base32.ALPHABET.issuperset(secret):
        raise InvalidUri("the secret in that link (the part after #) is damaged")


def _unquote(value: str) -> str:
    """Percent-decoded UTF-8; raises :class:`InvalidUri`."""
    if any(len(part) < 2 or not _is_hex(part[:2]) for part in value.split("%")[1:]):
        raise InvalidUri("that link has a % without two hexadecimal digits")
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeError:
        raise InvalidUri("that link is not UTF-8") from None


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdefABCDEF" for c in text)
