"""Who may use the page: one-time tokens that become sessions. Pure.

Law 1: a token is good once and for ``TOKEN_LIFE``; a session for ``SESSION_LIFE`` after it was used last.
Law 2: of both only hashes are kept, so that whoever reads the state can't log in with it.
Law 3: there are never more than ``TOKENS_MAX`` tokens and ``SESSIONS_MAX`` sessions; the oldest go first.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

import msgspec

from meshcall.errors import StateCorrupt

TOKEN_LIFE: Final = 120.0
"""Seconds from the making of a login link to its use (it may lie in a terminal's scrollback)."""

TOKENS_MAX: Final = 8
"""Login links that wait to be used (memory; a script that makes links)."""

SESSION_LIFE: Final = 30 * 86400.0
"""Seconds that a browser stays logged in without being used."""

SESSIONS_MAX: Final = 16
"""Browsers that are logged in (memory, and what can be stolen)."""

TOUCH_INTERVAL: Final = 3600.0
"""Seconds between two writes of when a session was used last (the state's file)."""

_SIZE: Final = 24
"""Octets of a token or session: 192 bits, nothing to be guessed."""

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A browser that is logged in, as it is kept."""

    hash: Hash
    used_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """When it was used last, unix milliseconds."""


Sessions = Annotated[list[Session], msgspec.Meta(max_length=SESSIONS_MAX)]


@dataclass(frozen=True, slots=True)
class _Token:
    hash: bytes
    until_ms: int


class Logins:
    """Tokens and sessions of one daemon."""

    def __init__(
        self,
        *,
        random: Callable[[int], bytes],
        kept: list[Session],
        keep: Callable[[bytes], None],
    ) -> None:
        """``kept``: :func:`decode_sessions` of what ``keep`` was given last, by an earlier run."""
        self._random = random
        self._keep = keep
        self._tokens: list[_Token] = []
        self._sessions = list(kept)

    @property
    def sessions(self) -> int:
        """Browsers that are logged in, as far as is known."""
        return len(self._sessions)

    def make_token(self, now_ms: int) -> str:
        """A token for one login."""
        text = self._new()
        self._tokens = [*self._waiting(now_ms), _Token(_hash(text), now_ms + int(TOKEN_LIFE * 1000))]
        del self._tokens[:-TOKENS_MAX]
        return text

    def log_in(self, token: str, now_ms: int) -> str | None:
        """The new session's secret for a token that is good, which it is no more; None for any other."""
        wanted = _hash(token)
        self._tokens = self._waiting(now_ms)
        if not any(one.hash == wanted for one in self._tokens):
            return None
        self._tokens = [one for one in self._tokens if one.hash != wanted]
        text = self._new()
        self._sessions = [*self._live(now_ms), Session(_hash(text), now_ms)]
        self._sessions.sort(key=lambda one: one.used_ms)
        del self._sessions[:-SESSIONS_MAX]
        self._write()
        return text

    def is_good(self, secret: str, now_ms: int) -> bool:
        """Whether ``secret`` is of a session that lives; it lives on from now."""
        wanted = _hash(secret)
        for index, one in enumerate(self._sessions):
            if one.hash == wanted and now_ms - one.used_ms <= SESSION_LIFE * 1000:
                if now_ms - one.used_ms >= TOUCH_INTERVAL * 1000:
                    self._sessions[index] = Session(wanted, now_ms)
                    self._write()
                return True
        return False

    def log_out(self, secret: str) -> None:
        """End a session. Idempotent."""
        wanted = _hash(secret)
        self._sessions = [one for one in self._sessions if one.hash != wanted]
        self._write()

    def log_out_all(self) -> None:
        """End all sessions, and forget all tokens."""
        self._sessions, self._tokens = [], []
        self._write()

    def _live(self, now_ms: int) -> list[Session]:
        return [one for one in self._sessions if now_ms - one.used_ms <= SESSION_LIFE * 1000]

    def _waiting(self, now_ms: int) -> list[_Token]:
        return [one for one in self._tokens if now_ms < one.until_ms]

    def _write(self) -> None:
        self._keep(msgspec.msgpack.encode(self._sessions))

    def _new(self) -> str:
        return base64.urlsafe_b64encode(self._random(_SIZE)).decode()


def decode_sessions(octets: bytes) -> list[Session]:
    """What :class:`Logins` gave to ``keep``; raises :class:`StateCorrupt`."""
    try:
        found: list[Session] = msgspec.msgpack.decode(octets, type=Sessions)
    except msgspec.MsgspecError:
        raise StateCorrupt("it holds no sessions") from None
    return found


def _hash(text: str) -> bytes:
    """What is kept and compared; the secrets have 192 bits, so a plain hash and == tell nothing."""
    return sha256(text.encode("utf-8", "replace")).digest()
