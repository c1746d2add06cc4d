"""Logs tell what happened, not who and where: IDs, secrets and addresses are cut before they are written.

Law: redaction works on the finished line, tracebacks included, so no caller can forget it.
"""

from __future__ import annotations

import logging
import re

_SECRETS = (
    # meshcall:ID?n=Name#secret, in either case: the fragment is a secret
    (re.compile(r"(meshcall:[^\s#'\"]*)#[^\s'\"]+", re.IGNORECASE), r"\1#***"),
    # SDP and ICE credentials
    (re.compile(r"(ice-(?:pwd|ufrag)[:=]\s*)\S+"), r"\1***"),
    (
        re.compile(
            r"((?:passphrase|password|secret|token|pwd)\b['\"]?\s*[:=]\s*['\"]?)[^\s'\",;]+", re.IGNORECASE
        ),
        r"\1***",
    ),
)
_ID = re.compile(r"\b([a-z2-7]{7})[a-z2-7]{49}\b", re.IGNORECASE)
_GROUPED_ID = re.compile(r"\b([a-z2-7]{7})(?:-[a-z2-7]{7}){7}\b", re.IGNORECASE)
_HEX = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b", re.IGNORECASE)
_HEX_PAIRS = re.compile(r"\b([0-9a-f]{2}(?::[0-9a-f]{2}){3})(?::[0-9a-f]{2}){12,}\b", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(
    r"(?<![\w:])([0-9a-f]{1,4}):(?=(?:[0-9a-f]{0,4}:){1,})[0-9a-f:]*[0-9a-f:](?:%\w+)?(?![\w:])",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` without secrets; IDs and keys cut to their first characters, addresses to their network."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    text = _GROUPED_ID.sub(r"\1…", text)
    text = _ID.sub(r"\1…", text)
    text = _HEX_PAIRS.sub(r"\1…", text)
    text = _HEX.sub(r"\1…", text)
    text = _IPV4.sub(_shorten_ipv4, text)
    return _IPV6.sub(_shorten_ipv6, text)


def _shorten_ipv4(match: re.Match[str]) -> str:
    if match[1] in ("127", "0"):
        return match[0]
    return f"{match[1]}.{match[2]}.x.x"


def _shorten_ipv6(match: re.Match[str]) -> str:
    text = match[0]
    # 12:34:56 is a time of day; an address has a "::" or seven colons
    if "::" not in text and text.count(":") < 7:
        return text
    return f"{match[1]}:x"


class RedactingFormatter(logging.Formatter):
    """A formatter whose output went through :func:`redact`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line to write."""
        return redact(super().format(record))
