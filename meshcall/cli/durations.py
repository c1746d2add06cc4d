"""Times as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from meshcall.errors import UsageError

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]*)", re.ASCII)

LONGEST = 7 * 86400.0
"""Seconds: longer ones are typing errors."""


def parse_duration(text: str, option: str, *, zero: bool = False) -> float:
    """Seconds from ``30``, ``1.5s``, ``10m``, ``24h`` or ``7d``; :class:`UsageError` names the ``option``."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{option}: {text!r} is not a time", hint="write seconds, or 90s, 10m, 24h, 7d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds == 0 and not zero:
        raise UsageError(f"{option}: the time must be longer than 0")
    if seconds > LONGEST:
        raise UsageError(f"{option}: {text!r} is longer than 7 days")
    return seconds


def format_duration(seconds: float) -> str:
    """A length of time in its two largest units: ``42 s``, ``3 min 5 s``, ``2 d 4 h``."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def format_time(then_ms: int) -> str:
    """A unix time as ISO 8601 in this machine's zone, whole seconds."""
    return datetime.fromtimestamp(then_ms / 1000, UTC).astimezone().isoformat(timespec="seconds")


def format_age(then_ms: int | None, now_ms: int) -> str:
    """How long ago a unix time was; empty if there was none."""
    if then_ms is None:
        return ""
    seconds = (now_ms - then_ms) / 1000
    return "now" if seconds < 2 else f"{format_duration(seconds)} ago"
