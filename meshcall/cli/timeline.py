"""How a call came about and which ways its media took, for people."""

from __future__ import annotations

from typing import Any

_MARKS: dict[str, str] = {
    "dial": "called",
    "offer": "the peer calls",
    "presence": "peer found",
    "offer-ready": "offer ready",
    "delivered": "offer delivered",
    "reached": "peer's machine reached",
    "ringing": "ringing",
    "answered": "answered",
    "answer": "answer is there",
    "ice": "path found",
    "dtls": "encrypted",
    "control": "control channel open",
    "confirmed": "both ends proven",
    "first-audio": "first audio",
    "first-video": "first video",
    "ended": "ended",
}

_WHY: dict[str, str] = {
    "first": "the first that worked",
    "better": "a better one works",
    "nominated": "the peer wants it",
    "failover": "the other one died",
    "named": "the peer has told what its end is",
    "revived": "it answers again",
    "lost": "no path answers; reconnecting",
    "silent": "degraded: no answer for a second",
    "loss": "degraded: packets are lost",
    "slow": "degraded: the round trip is long",
    "narrow": "degraded: no room for full pictures",
    "cpu": "degraded: this machine is too slow",
    "well": "well again",
}


def why_text(why: str) -> str:
    """Why the path changed, or what is wrong with it; a word of a newer daemon as it is."""
    return _WHY.get(why, why)


def timeline_lines(view: dict[str, Any]) -> list[str]:
    """One line for each mark and each change of path, in order, of a call's view or summary."""
    rows = [(float(at), _MARKS.get(name, name)) for name, at in (view.get("timeline") or {}).items()]
    rows += [(float(step["at"]), _step_text(step)) for step in view.get("paths") or []]
    return [f"{_seconds(at):>12}  {text}" for at, text in sorted(rows, key=lambda row: row[0])]


def path_text(view: dict[str, Any]) -> str:
    """How the media travels, and why that way."""
    return str(view.get("explanation") or view.get("path") or "unknown")


def better_text(view: dict[str, Any]) -> str:
    """What would make the path a better one; empty: nothing is known."""
    return "; ".join(map(str, view.get("better") or []))


def _step_text(step: dict[str, Any]) -> str:
    why = why_text(str(step["why"]))
    if not step.get("local"):
        return why
    family = "IPv6" if step.get("ipv6") else "IPv4"
    return f"path: {step['path']} ({step['local']} to {step['remote']}, {family}): {why}"


def _seconds(milliseconds: float) -> str:
    """``212 ms``, or ``13.4 s`` for what was long after the beginning."""
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"
