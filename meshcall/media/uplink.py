"""Our own uplink: what it carries is shared among the members that we send to. Pure.

Each link has its own rate control, which knows nothing of the others. When several links are full at the same
moment, what they share is full: this machine's uplink. From then on what they carry together is divided anew,
and each gets a fair part of it.

Law 1: a link that is full alone is held down alone: one bad link is no reason to send the others less.
Law 2: a fair part is max-min: who wants less than an equal part gets what it wants, the rest is shared
equally by the others.
Law 3: the sum is what the links themselves are thought to carry, so it grows and shrinks with them; nothing
is shared any more ``UPLINK_LIFE`` after the last sign.
Law 4: sound is not shared: every member gets it whole, before any pictures.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from meshcall import limits
from meshcall.media.rate import RateControl

_Key = TypeVar("_Key", bound=Hashable)


def fair_parts(total: float, wants: Mapping[_Key, float]) -> dict[_Key, float]:
    """``total`` divided by max-min fairness."""
    parts: dict[_Key, float] = {}
    left = max(0.0, total)
    for number, (key, want) in enumerate(sorted(wants.items(), key=lambda item: item[1])):
        parts[key] = min(want, left / (len(wants) - number))
        left -= parts[key]
    return parts


class Uplink:
    """The links of one room, or of one machine."""

    def __init__(self) -> None:
        self._links: dict[Hashable, RateControl] = {}
        self._wants: dict[Hashable, int] = {}
        self._cuts: dict[Hashable, float] = {}
        self._signed_at: float | None = None

    @property
    def shared(self) -> bool:
        """Whether the links share one sum now."""
        return self._signed_at is not None

    def add(self, key: Hashable, control: RateControl, want: int = limits.RATE_MAX) -> None:
        """A member that we send to; ``want``: most bits per second that are any use to it."""
        self._links[key] = control
        self._wants[key] = want

    def want(self, key: Hashable, bits: int) -> None:
        """What is of use to it has changed: it asks for another layer."""
        if key in self._links:
            self._wants[key] = bits

    def remove(self, key: Hashable) -> None:
        """It left."""
        control = self._links.pop(key, None)
        if control is not None:
            control.share(None)
            self._wants.pop(key)
            self._cuts.pop(key, None)

    def look(self, now: float) -> None:
        """Divide anew; to be called at least every 0.1 s."""
        for key, control in self._links.items():
            if control.take_cut():
                self._cuts[key] = now
        self._cuts = {key: at for key, at in self._cuts.items() if now - at < limits.UPLINK_TOGETHER}
        together = len(self._cuts)
        if together >= 2 and together >= limits.UPLINK_SHARE * len(self._links):
            self._signed_at = now
            self._cuts.clear()
        if self._signed_at is None:
            return
        if now - self._signed_at > limits.UPLINK_LIFE or len(self._links) < 2:
            self._signed_at = None
            for control in self._links.values():
                control.share(None)
            return
        total = sum(control.wish for control in self._links.values())
        wants = {key: float(self._wants[key]) for key in self._links}
        for key, part in fair_parts(total, wants).items():
            self._links[key].share(max(round(part), limits.RATE_AUDIO))
