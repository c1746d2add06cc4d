"""Logs hold no secret, no whole ID and no whole address."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcall.redaction import RedactingFormatter, redact

ID = "js22x5vnph57lk54zl6me2oyltjgkhwuxcc3lbu7eqno34ffxiuuzsib"
GROUPED = "-".join(ID[index : index + 7] for index in range(0, 56, 7))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"call from {ID} rings", "call from js22x5v… rings"),
        (f"call from {GROUPED}", "call from js22x5v…"),
        (ID.upper(), "JS22X5V…"),
        (f"meshcall:{ID}?n=Bob#qwertyuiop", "meshcall:js22x5v…?n=Bob#***"),
        ("a=ice-pwd:abcdef123456", "a=ice-pwd:***"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:***"),
        ('{"secret": "hunter2", "x": 1}', '{"secret": "***", "x": 1}'),
        ("passphrase=hunter2", "passphrase=***"),
        ("sent to 192.168.1.17:4242", "sent to 192.168.x.x:4242"),
        ("bound to 127.0.0.1:4242", "bound to 127.0.0.1:4242"),
        ("via [2001:db8:1::17]:4242", "via [2001:x]:4242"),
        ("via fe80::1%eth0", "via fe80:x"),
        ("fd00:1:2:3:4:5:6:7", "fd00:x"),
        ("at 12:34:56 o'clock", "at 12:34:56 o'clock"),
        (
            "2026-11-23 02:13:43,494 INFO meshcall.daemon: x",
            "2026-11-23 02:13:43,494 INFO meshcall.daemon: x",
        ),
        ("version 1.2.3 of mesh", "version 1.2.3 of mesh"),
        ("call 698b69b21c84906a7970408910b91c8d ended", "call 698b69b2… ended"),
        ("fingerprint " + ":".join(["ab"] * 32), "fingerprint ab:ab:ab:ab…"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    """What identifies is cut, what explains stays."""
    assert redact(text) == shown


@given(st.text())
def test_never_fails(text: str) -> None:
    """A log line is never lost to its redaction, and redacting twice changes nothing more."""
    assert redact(redact(text)) == redact(text)


def test_tracebacks_are_redacted_too() -> None:
    """An exception's text goes the same way."""
    try:
        raise ValueError(f"bad peer {ID}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "from %s", ("10.1.2.3",), sys.exc_info())
    line = RedactingFormatter("%(message)s").format(record)
    assert ID not in line
    assert "10.1.x.x" in line
    assert "ValueError: bad peer js22x5v…" in line
