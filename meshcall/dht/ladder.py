"""The bootstrap ladder: whom to ask next for a way into the DHT.

    saved table, LAN peers, configured hosts     at once, and again while nobody answers
    nodes of an invite                           when there is one
    Mainline                                     when all of these brought too few

Law 1: a decision needs the time and the number of contacts, nothing else.
Law 2: pauses double while nothing helps, and begin anew when the network has changed or enough was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import sha1

from meshcall.address import Address
from meshcall.limits import (
    BOOTSTRAP_RETRY,
    BOOTSTRAP_RETRY_MAX,
    LADDER_CONTACTS_ENOUGH,
    LADDER_LAN_AGAIN,
    LADDER_LAN_ASKED_MAX,
    LADDER_LAN_SOON,
    LADDER_MAINLINE_AFTER,
    LADDER_MAINLINE_RETRY,
    LADDER_MAINLINE_RETRY_MAX,
    LAN_ADDRESSES_MAX,
    LAN_SERVICES_MAX,
)

_DAY_MS = 24 * 3600 * 1000


class Rung(StrEnum):
    """A way in."""

    SAVED = "saved"
    LAN = "lan"
    INVITE = "invite"
    HOSTS = "hosts"
    MAINLINE = "mainline"


_AT_ONCE = (Rung.SAVED, Rung.LAN, Rung.HOSTS)


class Ladder:
    """Decides for one node which rungs are due."""

    def __init__(self, now: float, *, mainline: bool) -> None:
        """``mainline``: whether that rung is there at all."""
        self._mainline = mainline
        self._forced = True
        self._retry_at = now
        self._retry_pause = BOOTSTRAP_RETRY
        self._mainline_at = now + LADDER_MAINLINE_AFTER
        self._mainline_pause = LADDER_MAINLINE_RETRY
        self._lan_asked: dict[Address, tuple[float, float]] = {}
        """By address: when it may be asked again, and the pause before that, seconds."""

    def restart(self, now: float) -> None:
        """The network is another one: everything is asked again, from the first rung."""
        self._forced = True
        self._retry_pause = BOOTSTRAP_RETRY
        self._mainline_at = now + LADDER_MAINLINE_AFTER
        self._mainline_pause = LADDER_MAINLINE_RETRY
        self._lan_asked.clear()

    def due(self, contacts: int, useful: int, now: float) -> list[Rung]:
        """The rungs to try now; each is tried again after its pause only.

        ``contacts``: how many we have; ``useful``: those of the DHT that we want, where there are two.
        """
        rungs: list[Rung] = []
        if self._forced or (contacts == 0 and now >= self._retry_at):
            rungs += _AT_ONCE
            self._retry_at = now + self._retry_pause
            self._retry_pause = min(2 * self._retry_pause, BOOTSTRAP_RETRY_MAX)
            self._forced = False
        elif contacts:
            self._retry_pause = BOOTSTRAP_RETRY
        if useful >= LADDER_CONTACTS_ENOUGH:
            self._mainline_at = now + LADDER_MAINLINE_AFTER
            self._mainline_pause = LADDER_MAINLINE_RETRY
        elif self._mainline and now >= self._mainline_at:
            rungs.append(Rung.MAINLINE)
            self._mainline_at = now + self._mainline_pause
            self._mainline_pause = min(2 * self._mainline_pause, LADDER_MAINLINE_RETRY_MAX)
        return rungs

    def pick_lan(self, services: Iterable[Sequence[Address]], now: float) -> list[Address]:
        """Whom of the daemons on the LAN to ask, given the addresses of each: those not asked lately.

        Of each one IPv4 and one IPv6 address, link-local ones only where there is nothing else.
        """
        self._lan_asked = {
            a: (again, pause) for a, (again, pause) in self._lan_asked.items() if now < again + pause
        }
        picked: list[Address] = []
        for addresses in services:
            usable = [a for a in addresses if "%" not in a[0]] or list(addresses)[:1]
            best = {":" in a[0]: a for a in reversed(usable)}
            picked += [a for a in best.values() if now >= self._lan_asked.get(a, (now, 0.0))[0]]
        picked = picked[:LADDER_LAN_ASKED_MAX]
        for address in picked:
            # One that was not up yet is asked again soon, one that is never up ever more rarely.
            pause = min(2 * self._lan_asked.get(address, (now, LADDER_LAN_SOON / 2))[1], LADDER_LAN_AGAIN)
            if address in self._lan_asked or len(self._lan_asked) < LAN_SERVICES_MAX * LAN_ADDRESSES_MAX:
                self._lan_asked[address] = now + pause, pause
        return picked


def infohash(day: str) -> bytes:
    """Where meshcall's routers meet in the Mainline DHT on ``day`` (yyyymmdd, UTC): 20 octets."""
    return sha1(b"meshcall-bootstrap-v1|" + day.encode(), usedforsecurity=False).digest()


def infohashes(now_ms: int, margin: float) -> list[bytes]:
    """Today's infohash and, within ``margin`` seconds of midnight UTC, that of the neighbouring day."""
    spread_ms = int(margin * 1000)
    moments = (now_ms, now_ms - spread_ms, now_ms + spread_ms)
    days = dict.fromkeys(max(0, moment) // _DAY_MS for moment in moments)
    return [infohash(_date(day)) for day in days]


def _date(day: int) -> str:
    """``day`` days after 1 January 1970 as yyyymmdd, in the proleptic Gregorian calendar.

    Counted in years that begin on 1 March, so that the leap day is the last; 400 years have 146,097 days.
    """
    era, day_of_era = divmod(day + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day_of_month = day_of_year - (153 * month + 2) // 5 + 1
    return f"{400 * era + year + (month >= 10):04d}{(month + 2) % 12 + 1:02d}{day_of_month:02d}"
