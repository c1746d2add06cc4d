"""Our own records: which are to be stored again, and when.

Law 1: a record is built afresh for each store, with a number above every number used before.
Law 2: the highest number used is in the state that the caller persists before it sends the record.
Law 3: what is wanted is given as a whole (:meth:`Publisher.want`); what is wanted no more is forgotten.

It knows neither keys nor contents: a publication is a name and a function that builds its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meshcall.errors import StateCorrupt
from meshcall.limits import REPUBLISH_INTERVAL, REPUBLISH_RETRY
from meshcall.record.codec import Record
from meshcall.record.sequence import SEQ_MAX, next_seq

Build = Callable[[int], Record]
"""Builds the record that carries a given sequence number."""


@dataclass(slots=True)
class _Publication:
    build: Build
    due: float
    interval: float = REPUBLISH_INTERVAL
    retry: float = REPUBLISH_RETRY


class Publisher:
    """What to publish and when. Times are monotonic seconds (``now``) or unix milliseconds (``now_ms``)."""

    def __init__(self, last_seq: int = 0) -> None:
        """``last_seq`` is the highest number used so far, from :meth:`to_state` of the last run."""
        self._last_seq = last_seq
        self._publications: dict[str, _Publication] = {}

    def want(self, builds: Mapping[str, Build], now: float) -> None:
        """From now on exactly the records ``builds`` are published.

        A name that is new is due at once; a name that stays keeps its time but uses the new function.
        """
        self._publications = {
            name: self._publications.get(name) or _Publication(build, now) for name, build in builds.items()
        }
        for name, build in builds.items():
            self._publications[name].build = build

    def names(self) -> list[str]:
        """What is published, sorted."""
        return sorted(self._publications)

    def hasten(self, now: float) -> None:
        """Make everything due: the network changed, or the contents did."""
        for publication in self._publications.values():
            publication.due = min(publication.due, now)

    def due(self, now: float) -> list[str]:
        """The names whose record is to be stored now, the longest due first."""
        ready = [(p.due, name) for name, p in self._publications.items() if p.due <= now]
        return [name for _, name in sorted(ready)]

    def deadline(self) -> float | None:
        """When :meth:`due` has something next; None when nothing is published."""
        return min((p.due for p in self._publications.values()), default=None)

    def next_record(self, name: str, now: float, now_ms: int) -> Record:
        """A fresh record of ``name``; it is due again after half its ttl, or 10 minutes.

        KeyError when it is not wanted.
        Persist :meth:`to_state` before sending it.
        """
        publication = self._publications[name]
        self._last_seq = next_seq(self._last_seq, now_ms)
        record = publication.build(self._last_seq)
        publication.interval = min(record.ttl / 2, REPUBLISH_INTERVAL)
        publication.due = now + publication.interval
        return record

    def report(self, name: str, copies: int, now: float) -> None:
        """Tell how many nodes acknowledged the record of ``name``; with none it is tried again soon."""
        publication = self._publications.get(name)
        if publication is None:
            return
        if copies > 0:
            publication.retry = REPUBLISH_RETRY
            return
        publication.due = min(publication.due, now + publication.retry)
        publication.retry = min(publication.retry * 2, publication.interval)

    @property
    def last_seq(self) -> int:
        """The highest number used."""
        return self._last_seq

    def to_state(self) -> dict[str, int]:
        """What must survive a restart."""
        return {"last_seq": self._last_seq}

    @classmethod
    def from_state(cls, state: object) -> Publisher:
        """A publisher that goes on above the numbers of ``state``; raises :class:`StateCorrupt`."""
        last = state.get("last_seq") if isinstance(state, dict) else None
        if not isinstance(last, int) or isinstance(last, bool) or not 0 <= last <= SEQ_MAX:
            raise StateCorrupt("the publisher's sequence number is damaged")
        return cls(last)
