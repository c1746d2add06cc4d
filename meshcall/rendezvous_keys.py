"""Which rendezvous are ours now: the inbox, those of our rendezvous secret, those of open invites.

Law 1: a secret is on the disk before anybody is given it, and its successor before it is served no more.
Law 2: nothing is served for nobody: no contact rendezvous before a contact has our secret, no invite
rendezvous but those of open invites.
Law 3: in contacts-only mode there is no inbox, and a replaced secret is served on until every contact that
had it has the new one, a week at most.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from meshcall import limits
from meshcall.aio.clock import Clock
from meshcall.aio.files import StateDb
from meshcall.identity.keys import Random, sha256
from meshcall.identity.peer_id import PeerId
from meshcall.signaling.rendezvous import Rendezvous, RendezvousSecret, Series

_log = logging.getLogger("meshcall.post")

SECRETS: Final = "rendezvous-secrets"
"""Blob: our rendezvous secret, and replaced ones that are still served."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rendezvous of ours in one epoch."""

    series: Series
    epoch: int
    rendezvous: Rendezvous

    @property
    def name(self) -> str:
        """The same as long as it is served, and no other's; tells nobody the secret."""
        return f"{self.series.kind}/{sha256(self.series.secret)[:8].hex()}/{self.epoch}"


@dataclass(slots=True)
class _Replaced:
    secret: RendezvousSecret = field(repr=False)
    until_ms: int


class RendezvousKeys:
    """The secrets that lead to us, kept in the state database."""

    def __init__(
        self, me: PeerId, state: StateDb, *, clock: Clock, random: Random, contacts_only: bool = False
    ) -> None:
        """Reads what is on the disk, and makes a secret if there is none."""
        self.contacts_only = contacts_only
        self.serves_contacts: Callable[[], bool] = lambda: False
        """Whether any contact has been given our secret."""
        self._inbox = Series.of(me)
        self._state = state
        self._clock = clock
        self._random = random
        self._replaced: list[_Replaced] = []
        self._current = self._load()

    @property
    def current(self) -> RendezvousSecret:
        """What contacts are given now."""
        return self._current

    def secrets(self) -> list[bytes]:
        """All that a contact may have now, that of now first."""
        now_ms = self._clock.now_ms()
        return [self._current.secret] + [old.secret.secret for old in self._replaced if old.until_ms > now_ms]

    @property
    def serves_replaced(self) -> bool:
        """Whether a replaced secret still leads to us."""
        return bool(self._replaced)

    async def series(self, now_ms: int) -> list[Series]:
        """What is served at ``now_ms``."""
        invites = await self._state.run(self._state.invites, now_ms)
        served = [] if self.contacts_only else [self._inbox]
        if self.serves_contacts():
            served.append(Series("contact", self._current.secret))
        served += [Series("contact", old.secret.secret) for old in self._replaced if old.until_ms > now_ms]
        return served + [Series("invite", row.secret) for row in invites[-limits.INVITES_SERVED_MAX :]]

    def rotate(self) -> None:
        """A new secret takes the place of the present one: somebody who has that is no contact any more.

        Blocks for the disk, and may raise what :class:`StateDb` does; then nothing has changed.
        """
        now_ms = self._clock.now_ms()
        new = RendezvousSecret.after(self._current.generation, now_ms, self._random)
        replaced: list[_Replaced] = []
        if self.contacts_only:
            end_ms = now_ms + int(limits.RENDEZVOUS_GRACE * 1000)
            replaced = [*self._replaced, _Replaced(self._current, end_ms)][-limits.RENDEZVOUS_REPLACED_MAX :]
        self._save(new, replaced)
        self._current, self._replaced = new, replaced

    def retire(self) -> None:
        """Everybody has the new secret: serve no other. Blocks for the disk like :meth:`rotate`."""
        self._save(self._current, [])
        self._replaced = []

    def _save(self, current: RendezvousSecret, replaced: list[_Replaced]) -> None:
        value = {
            "current": current.encode().hex(),
            "replaced": [[old.secret.encode().hex(), old.until_ms] for old in replaced],
        }
        self._state.set_blob(SECRETS, json.dumps(value).encode())

    def _load(self) -> RendezvousSecret:
        blob = self._state.get_blob(SECRETS)
        if blob is not None:
            try:
                value = json.loads(blob)
                self._replaced = [_Replaced(_decode(text), int(end)) for text, end in value["replaced"]]
                return _decode(value["current"])
            except (KeyError, TypeError, ValueError, AttributeError):
                _log.warning("the rendezvous secret is damaged; contacts get a new one in their next calls")
                self._replaced = []
        current = RendezvousSecret.after(0, self._clock.now_ms(), self._random)
        self._save(current, [])
        return current


def _decode(text: str) -> RendezvousSecret:
    data = bytes.fromhex(text)
    if len(data) != 36:
        raise ValueError("a rendezvous secret has 36 octets")
    return RendezvousSecret(data[4:], int.from_bytes(data[:4], "big"))
