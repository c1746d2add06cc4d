"""Tokens and sessions of the page."""

from __future__ import annotations

import itertools

import pytest

from meshcall.control import logins as module
from meshcall.control.logins import Logins, Session, decode_sessions
from meshcall.errors import StateCorrupt


def make(kept: list[Session] | None = None) -> tuple[Logins, list[bytes]]:
    """Logins whose secrets can be foreseen, and what they kept."""
    numbers = itertools.count(1)
    written: list[bytes] = []
    return Logins(
        random=lambda size: next(numbers).to_bytes(size, "big"), kept=kept or [], keep=written.append
    ), written


def test_a_token_logs_in_once() -> None:
    """Whoever finds it in a terminal or a history later gets nothing."""
    logins, _ = make()
    token = logins.make_token(0)
    secret = logins.log_in(token, 1000)
    assert secret is not None
    assert logins.is_good(secret, 1000)
    assert logins.log_in(token, 1000) is None
    assert not logins.is_good(token, 1000)


def test_a_token_is_good_for_two_minutes() -> None:
    """And not a moment more."""
    logins, _ = make()
    token, life = logins.make_token(0), int(module.TOKEN_LIFE * 1000)
    assert logins.log_in(token, life) is None
    token = logins.make_token(0)
    assert logins.log_in(token, life - 1) is not None


def test_a_session_lives_while_it_is_used() -> None:
    """A month after its last use it is over; its last use is written, but not each one."""
    logins, written = make()
    secret = logins.log_in(logins.make_token(0), 0)
    assert secret is not None
    life = int(module.SESSION_LIFE * 1000)
    before = len(written)
    assert logins.is_good(secret, life)
    assert logins.is_good(secret, life + 1)
    assert len(written) == before + 1
    assert logins.is_good(secret, 2 * life)
    assert not logins.is_good(secret, 3 * life + 1)


def test_sessions_survive_a_restart_as_hashes() -> None:
    """What is kept lets in who has the secret, and holds no secret."""
    logins, written = make()
    secret = logins.log_in(logins.make_token(0), 0)
    assert secret is not None
    assert secret.encode() not in written[-1]
    again, _ = make(decode_sessions(written[-1]))
    assert again.is_good(secret, 5)


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\xc1", b"\x91\x92\xc4\x01a\x00"])
def test_damaged_sessions_are_told(octets: bytes) -> None:
    """So that the file is set aside."""
    with pytest.raises(StateCorrupt):
        decode_sessions(octets)


def test_there_are_never_too_many() -> None:
    """Of tokens and of sessions the oldest go first."""
    logins, _ = make()
    tokens = [logins.make_token(now) for now in range(module.TOKENS_MAX + 1)]
    assert logins.log_in(tokens[0], 10) is None
    assert logins.log_in(tokens[1], 10) is not None
    secrets = [logins.log_in(logins.make_token(now), now) for now in range(100, 101 + module.SESSIONS_MAX)]
    assert logins.sessions == module.SESSIONS_MAX
    assert not logins.is_good(secrets[0] or "", 200)
    assert logins.is_good(secrets[-1] or "", 200)


def test_logging_out() -> None:
    """Ends one session, or all."""
    logins, written = make()
    secrets = [logins.log_in(logins.make_token(0), 0) or "" for _ in range(3)]
    logins.log_out(secrets[0])
    assert [logins.is_good(secret, 0) for secret in secrets] == [False, True, True]
    logins.log_out_all()
    assert not any(logins.is_good(secret, 0) for secret in secrets)
    assert decode_sessions(written[-1]) == []
