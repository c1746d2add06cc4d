"""What may stand in a report that strangers read: how things are, not who and where. Pure.

Stricter than :mod:`meshcall.redaction`, which leaves an operator enough to tell two peers or networks apart.

Law 1: of a document, numbers and the words of a fixed vocabulary are kept; any other text is cut.
Law 2: of the log, lines that name people keep their fixed words alone; so do messages of exceptions, which
may quote anything.
Law 3: IDs, keys, addresses and host names are cut by their form, names by the list of those that are known.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshcall.redaction import redact

CUT: Final = "[cut]"

LINE_MAX: Final = 1000
"""Characters: longer lines are cut whole (the expressions below take a time that grows with its square)."""

_WORDS: Final = frozenset(
    {"filtering", "hairpin", "mapping", "ports", "protocol", "role", "rung", "state", "transports", "udp"}
    | {"version"}
)
"""Fields whose text is a word that the daemon chose, never a peer or a person."""

_SENTENCES: Final = frozenset({"fault", "reason", "warnings"})
"""Fields with a sentence of the daemon's."""

_HEADER: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +([\w.]+): )(.*)", re.ASCII)
_CALL: Final = re.compile(r"(call [0-9a-f]{8}) (?:(is connected \([a-z ]+\))|(from|to|with) .*)", re.ASCII)
_CALL_END: Final = re.compile(
    r".*?( ended: [a-z-]+| was missed|(?:, not a contact)?(?:: `meshcall answer` takes it)?)", re.ASCII
)
_EXCEPTION: Final = re.compile(r"([ |+]*(?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: .*)?", re.ASCII)
_FRAME: Final = re.compile(r'[ |+]*File "(?:.*/)?(\w+\.py)", (line \d+), (in [\w<>]+)', re.ASCII)
_TRACE: Final = re.compile(
    r"[ |+]*(?:\+-[+-]*[- \d]*|\+[-+ ]+|Traceback \(most recent call last\):|)", re.ASCII
)
_MANAGER: Final = re.compile(
    r"(?:Start|Stopp?)(?:ed|ing) meshcall\.service - meshcall daemon\.+|meshcall\.service: [\w ,=/'.-]+",
    re.ASCII,
)
"""What systemd says of the unit."""

_IPV6: Final = re.compile(r"(?<![\w:])[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(?:%\w+)?", re.IGNORECASE | re.ASCII)
_FORMS: Final = (
    (re.compile(r"meshcall:\S+", re.IGNORECASE), "[link]"),
    (re.compile(r"/api/v1/([a-z]+)/\S+"), r"/api/v1/\1/[cut]"),
    (re.compile(r"\b[a-z2-7]{7}(?:-[a-z2-7]{7})+\b", re.IGNORECASE), "[id]"),
    (re.compile(r"\b[a-z2-7]{40,}\b", re.IGNORECASE), "[id]"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5,}[0-9a-f]{2}\b", re.IGNORECASE), "[hex]"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{16,}\b", re.IGNORECASE), "[hex]"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "[address]"),
    (re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.local\b", re.IGNORECASE), "[host]"),
    # a host with its port, or behind the scheme of a URI
    (re.compile(r"\b(?!\w+\.py:)[a-z0-9-]+(?:\.[a-z0-9-]+)+(?=:\d)", re.IGNORECASE), "[host]"),
    (re.compile(r"\b([a-z]+:(?://)?)[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE), r"\1[host]"),
)
_SHORTENED: Final = (
    (re.compile(r"\b[\w]{7,8}…"), "[id]"),
    (re.compile(r"\b\d{1,3}\.\d{1,3}\.x\.x"), "[address]"),
    (re.compile(r"\b[0-9a-f]{1,4}:x\b", re.IGNORECASE), "[address]"),
)
"""What :func:`meshcall.redaction.redact` has left in a log."""


class Scrubber:
    """Cuts from texts what it was told, and what it knows by its form."""

    def __init__(self, known: Mapping[str, str], *, names: Iterable[str] = ()) -> None:
        """``known``: texts and what takes their place, such as folders; ``names``: of people and machines."""
        # the longest first: one may be the start of another
        self._known = sorted(
            ((text, place) for text, place in known.items() if len(text) > 1), key=lambda pair: -len(pair[0])
        )
        words = sorted({name for name in names if name.strip()}, key=len, reverse=True)
        choices = "|".join(map(re.escape, words))
        self._names = re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE) if words else None

    def text(self, text: str) -> str:
        """A line or sentence of ours without who and where."""
        if len(text) > LINE_MAX:
            return CUT
        for found, place in self._known:
            text = text.replace(found, place)
        if self._names is not None:
            text = self._names.sub("[name]", text)
        for pattern, place in _FORMS:
            text = pattern.sub(place, text)
        text = _IPV6.sub(_cut_ipv6, text)
        text = redact(text)
        for pattern, place in _SHORTENED:
            text = pattern.sub(place, text)
        return text

    def document(self, value: Any, field: str = "") -> Any:
        """A document of the API; the names of its fields stay."""
        if isinstance(value, dict):
            return {key: self.document(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.document(inner, field) for inner in value]
        if not isinstance(value, str) or not value:
            return value
        return self.text(value) if field in _WORDS or field in _SENTENCES else CUT

    def log_line(self, line: str) -> str:
        """A line of the daemon's log, a traceback's included."""
        if len(line) > LINE_MAX:
            return CUT
        header = _HEADER.fullmatch(line)
        if header is not None:
            return header[1] + self._message(header[2], header[3])
        if frame := _FRAME.fullmatch(line):
            return f"  {frame[1]}, {frame[2]}, {frame[3]}"
        if _TRACE.fullmatch(line) or _MANAGER.fullmatch(line):
            return line
        if line.startswith("ready: "):
            return "ready"
        if line.startswith(("error: ", "hint: ")):  # of a start that failed
            return self.text(line)
        exception = _EXCEPTION.fullmatch(line)
        return f"{exception[1]}: {CUT}" if exception is not None else CUT

    def _message(self, logger: str, message: str) -> str:
        if logger == "meshcall.control.background":  # errors of calls, which name their peers
            return f"{message.partition(':')[0]}: {CUT}" if re.match(r"[a-z-]+: ", message) else CUT
        if logger != "meshcall.call_log":
            return self.text(message)
        call = _CALL.fullmatch(message)
        if call is None:
            return CUT
        if call[2]:
            return f"{call[1]} {call[2]}"
        end = _CALL_END.fullmatch(message)
        return f"{call[1]} {call[3]} [name]{'' if end is None else end[1]}"


def _cut_ipv6(match: re.Match[str]) -> str:
    text = match[0].rstrip(":.") if not match[0].endswith("::") else match[0]
    try:
        ipaddress.ip_address(text)
    except ValueError:  # a time of day
        return match[0]
    return "[address]" + match[0][len(text) :]
