"""Whether a node goes by UDP or by a tunnel, and when it tries what: a pure machine.

    DIRECT     --nothing is answered by UDP-->  SEEKING   gateways are tried, several at once
    SEEKING    --one has lent an address-->     TUNNELLED that one carries; another is kept warm
    TUNNELLED  --it ends, and no spare is there--> SEEKING
    any        --an answer comes by UDP-->      DIRECT

Law 1: an answer by UDP from beyond the LAN ends tunnelling at once, whatever is under way.
Law 2: drain all output (:meth:`Tunnelling.look`) after each input; time is an argument.
Law 3: at most ``TUNNEL_RACERS`` gateways are tried at a time, each no sooner than its pause allows.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from meshcall.address import Address
from meshcall.limits import (
    TUNNEL_AFTER,
    TUNNEL_PROBE,
    TUNNEL_PROBE_MAX,
    TUNNEL_RACERS,
    TUNNEL_SILENCE,
    TUNNEL_SILENT_NODES,
    TUNNEL_STAGGER,
)
from meshcall.turn.gateways import Gateway, Gateways


class State(StrEnum):
    """How the node reaches others."""

    DIRECT = "direct"
    SEEKING = "seeking"
    TUNNELLED = "tunnelled"


class Open(NamedTuple):
    """Try this gateway; answer with ``opened`` or ``failed``."""

    gateway: Gateway


class Carry(NamedTuple):
    """Go by the tunnel of this gateway from now on."""

    gateway: Gateway


class Release(NamedTuple):
    """That tunnel, open or being opened, carries nothing new."""

    gateway: Gateway


class Probe(NamedTuple):
    """Ask some nodes by UDP; tell ``heard`` of an answer."""


Command = Open | Carry | Release | Probe


class Tunnelling:
    """Decides for one node."""

    def __init__(self, gateways: Gateways, now: float) -> None:
        """``gateways`` may grow while it runs."""
        self.state = State.DIRECT
        self.current: Gateway | None = None
        """Whose tunnel carries."""
        self.spare: Gateway | None = None
        """Whose tunnel is kept warm."""
        self._gateways = gateways
        self._since = now
        self._worked = False
        self._silent: set[Address] = set()
        self._silent_since: float | None = None
        self._trying: set[Gateway] = set()
        self._next_start = now
        self._probe_due = now
        self._probe_pause = TUNNEL_PROBE
        self._commands: list[Command] = []

    # --- input ------------------------------------------------------------------------------------

    def sent(self, node: Address, now: float) -> None:
        """A node beyond the LAN was asked something by UDP."""
        if self.state is State.DIRECT and len(self._silent) < TUNNEL_SILENT_NODES:
            self._silent.add(node)
            if self._silent_since is None:
                self._silent_since = now

    def heard(self, now: float) -> None:
        """A node beyond the LAN has answered by UDP."""
        self._worked = True
        self._silent.clear()
        self._silent_since = None
        if self.state is State.DIRECT:
            return
        self.state = State.DIRECT
        for gateway in self._all():
            self._commands.append(Release(gateway))
        self.current = self.spare = None
        self._trying.clear()

    def network_changed(self, now: float) -> None:
        """We may be elsewhere, and what carried may be dead without a word."""
        self._since, self._worked = now, False
        self._silent.clear()
        self._silent_since = None
        self._gateways.forgive()
        if self.state is State.DIRECT:
            return
        for gateway in self._all():
            self._commands.append(Release(gateway))
        self.current = self.spare = None
        self._trying.clear()
        self._seek(now)
        self._commands.append(Probe())

    def opened(self, gateway: Gateway, now: float) -> None:
        """It has lent an address."""
        self._gateways.worked(gateway)
        self._trying.discard(gateway)
        if self.state is State.SEEKING:
            self._carry(gateway, now)
        elif self.spare is None and self.current is not None and self.current.host != gateway.host:
            self.spare = gateway
        else:
            self._commands.append(Release(gateway))

    def failed(self, gateway: Gateway, now: float) -> None:
        """It can't be reached, or lends nothing."""
        self._trying.discard(gateway)
        self._gateways.failed(gateway)

    def ended(self, gateway: Gateway, now: float) -> None:
        """A tunnel that was open is gone."""
        if gateway == self.spare:
            self.spare = None
        elif gateway == self.current:
            self.current = None
            if self.spare is not None:
                spare, self.spare = self.spare, None
                self._carry(spare, now)
            elif self.state is State.TUNNELLED:
                self._seek(now)

    # --- output -----------------------------------------------------------------------------------

    def look(self, now: float) -> list[Command]:
        """What is to be done now, in order; each is told once."""
        if self.state is State.DIRECT and self._is_blocked(now) and len(self._gateways):
            self._seek(now)
        if self.state is not State.DIRECT:
            self._open_more(now)
        if self.state is State.TUNNELLED and now >= self._probe_due:
            self._commands.append(Probe())
            self._probe_due = now + self._probe_pause
            self._probe_pause = min(2 * self._probe_pause, TUNNEL_PROBE_MAX)
        found, self._commands = self._commands, []
        return found

    def deadline(self) -> float | None:
        """When :meth:`look` is wanted at the latest; None: after the next input."""
        if self.state is State.DIRECT:
            if not len(self._gateways):
                return None
            if not self._worked:
                return self._since + TUNNEL_AFTER
            if self._silent_since is not None and len(self._silent) >= TUNNEL_SILENT_NODES:
                return self._silent_since + TUNNEL_SILENCE
            return None
        times = [self._probe_due] if self.state is State.TUNNELLED else []
        if self._wants_more() and (when := self._gateways.when(self._skips)) is not None:
            times.append(max(when, self._next_start))
        return min(times, default=None)

    # --- inside -----------------------------------------------------------------------------------

    def _is_blocked(self, now: float) -> bool:
        if not self._worked:
            return now >= self._since + TUNNEL_AFTER
        return (
            self._silent_since is not None
            and len(self._silent) >= TUNNEL_SILENT_NODES
            and now >= self._silent_since + TUNNEL_SILENCE
        )

    def _seek(self, now: float) -> None:
        self.state = State.SEEKING
        self._next_start = now

    def _carry(self, gateway: Gateway, now: float) -> None:
        self.state, self.current = State.TUNNELLED, gateway
        self._probe_pause = TUNNEL_PROBE
        self._probe_due = now + TUNNEL_PROBE
        self._commands.append(Carry(gateway))

    def _all(self) -> set[Gateway]:
        return self._trying | {one for one in (self.current, self.spare) if one is not None}

    def _skips(self, gateway: Gateway) -> bool:
        """Whether there is no sense in trying it now; a spare is to be at another host."""
        if gateway in self._trying:
            return True
        return self.current is not None and gateway.host == self.current.host

    def _wants_more(self) -> bool:
        if self.state is State.SEEKING:
            return len(self._trying) < TUNNEL_RACERS
        return self.spare is None and not self._trying

    def _open_more(self, now: float) -> None:
        while self._wants_more() and now >= self._next_start:
            gateway = self._gateways.next(now, self._skips)
            if gateway is None:
                return
            self._gateways.trying(gateway, now)
            self._trying.add(gateway)
            self._commands.append(Open(gateway))
            self._next_start = now + TUNNEL_STAGGER
